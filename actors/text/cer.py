"""Character error rate: edits between reference and hypothesis, divided by the reference's characters."""

from collections.abc import Iterable

from actors.text.normalise import normalise


def character_errors(pairs: Iterable[tuple[str | None, str]]) -> tuple[int, int]:
    """Counts edits (substitutions, deletions, insertions) and reference characters over (reference, text) pairs.

    A pair without a reference, or with an empty one, does not count. Of a reference that has only punctuation, what was
    heard counts as inserted.
    """
    normalised = [(normalise(reference), normalise(text)) for reference, text in pairs if reference]
    if not normalised:
        return 0, 0  # as of most units: without what takes long to import
    from rapidfuzz.distance import Levenshtein

    return sum(Levenshtein.distance(*pair) for pair in normalised), sum(len(reference) for reference, _ in normalised)
