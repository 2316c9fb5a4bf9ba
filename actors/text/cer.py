"""Character error rate: edits from reference to transcript, by the characters of the reference."""

from collections.abc import Iterable

from actors.text.normalise import normalise


def character_errors(pairs: Iterable[tuple[str | None, str]]) -> tuple[int, int]:
    """Edits (substitutions, deletions, insertions) and reference characters over (reference, text) pairs.

    A pair without a reference, or with an empty one, does not count.
    """
    from rapidfuzz.distance import Levenshtein

    known = [(normalise(reference), normalise(text)) for reference, text in pairs if reference]
    known = [pair for pair in known if pair[0]]
    return sum(Levenshtein.distance(*pair) for pair in known), sum(len(reference) for reference, _ in known)
