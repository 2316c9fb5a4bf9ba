"""Writes the segments of a recording such that no cut halves a number: 百分之六 before 百六十九 is not 6%."""

from bisect import bisect_right
from collections.abc import Callable, Sequence
from itertools import accumulate, groupby

from actors.text.written.spans import units_of

_SEEN = 128  # characters on either side of a cut: no number is longer, also in English


def written_across(texts: Sequence[str], write: Callable[[str], str], between: str) -> list[str]:
    """The written forms of texts that follow one another, with `between` between two of them, as `write` makes them.

    What is written differently beside its neighbours is written as it is there. A number that a cut falls in stays as
    it was said, on either side.
    """
    found, begin, before = [write(text) for text in texts], 0, ""
    for end in range(1, len(texts) + 1):
        before = f"{before}{between}{texts[end - 1]}"[-_SEEN:]
        if end < len(texts):
            after = _beginning(texts, end, between)
            if write(before + between + after) != write(before) + between + write(after):
                continue
        if end - begin > 1:
            found[begin:end] = _together(texts[begin:end], write, between)
        begin = end
    return found


def _beginning(texts: Sequence[str], first: int, between: str) -> str:
    """How the texts from one on begin."""
    found, number = texts[first], first + 1
    while len(found) < _SEEN and number < len(texts):
        found, number = found + between + texts[number], number + 1
    return found[:_SEEN]


def _together(texts: Sequence[str], write: Callable[[str], str], between: str) -> list[str]:
    """The written forms of texts, some of which depend on their neighbours."""
    joined = between.join(texts)
    begins = [0, *accumulate(len(text) + len(between) for text in texts[:-1])]
    parts: list[list[str]] = [[] for _ in texts]
    for (begin, end), units in groupby(units_of(joined, write(joined)), lambda unit: (unit.begin, unit.end)):
        written = "".join(unit.written for unit in units)
        spaces = len(joined[begin:end]) - len(joined[begin:end].lstrip()) if between else 0  # they go with what follows
        first, last = bisect_right(begins, begin + spaces) - 1, bisect_right(begins, max(end - 1, begin)) - 1
        if first == last:
            parts[first].append(written)
            continue
        for number in range(first, last + 1):
            parts[number].append(joined[max(begin, begins[number]) : min(end, begins[number] + len(texts[number]))])
    if between:
        return ["".join(part).strip() or text for part, text in zip(parts, texts, strict=True)]
    return ["".join(part) for part in parts]
