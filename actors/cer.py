"""Character error rate: edits from reference to transcript, by the characters of the reference."""

import unicodedata
from collections.abc import Iterable


def normalise(text: str) -> str:
    """A text as characters are compared: one width and case, without spaces and punctuation."""
    folded = unicodedata.normalize("NFKC", text).casefold()
    return "".join(char for char in folded if not char.isspace() and not unicodedata.category(char).startswith("P"))


def character_errors(pairs: Iterable[tuple[str | None, str]]) -> tuple[int, int]:
    """Edits (substitutions, deletions, insertions) and reference characters over (reference, text) pairs.

    A pair without a reference, or with an empty one, does not count.
    """
    known = [(normalise(reference), normalise(text)) for reference, text in pairs if reference]
    known = [pair for pair in known if pair[0]]
    if not known:
        return 0, 0
    import jiwer

    result = jiwer.process_characters([pair[0] for pair in known], [pair[1] for pair in known])
    edits = result.substitutions + result.deletions + result.insertions
    return edits, result.hits + result.substitutions + result.deletions
