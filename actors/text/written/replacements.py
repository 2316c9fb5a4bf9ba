"""Replaces phrases in written texts by others, as a file of pairs states them: names, terms, ways of spelling."""

import re
from collections import defaultdict
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

from actors.schema import UsageError
from actors.text.lists import MAX_BYTES, items_in, shown
from actors.text.scripts import is_in_word

MAX_PAIRS = 1_000_000
MAX_CHARACTERS = 500  # of either side of a pair
_HOLDS = "a file of replacements has a pair a line, with a tab between what is replaced and by what"


class Pair(NamedTuple):
    """A line of a file of replacements: what is replaced, by what, and the line's number."""

    old: str
    new: str
    line: int


def read_pairs(path: Path) -> list[Pair]:
    """The pairs of a text file: one a line, with a tab between; empty lines and comments (#) are none. Raises
    UsageError, which names the line, but not the file."""
    with path.open("rb") as file:
        return pairs_in(file.read(MAX_BYTES + 1))


def pairs_in(data: bytes) -> list[Pair]:
    """The pairs in the content of a file, as `read_pairs`."""
    pairs = dict[str, Pair]()
    for line, number in items_in(data, _HOLDS):
        pair = _pair(line, number)
        before = pairs.setdefault(pair.old, pair)
        if before.new != pair.new:
            raise UsageError(f"line {number}: {shown(pair.old)} is replaced by something else on line {before.line}")
    if len(pairs) > MAX_PAIRS:
        raise UsageError(f"it has {len(pairs):,} pairs; at most {MAX_PAIRS:,} can be replaced")
    if not pairs:
        raise UsageError(f"it has no pairs; {_HOLDS}")
    return list(pairs.values())


def _pair(line: str, number: int) -> Pair:
    sides = [side.strip() for side in line.split("\t")]
    if len(sides) != 2:
        raise UsageError(f"line {number}: it has {_tabs(len(sides) - 1)}; {_HOLDS}")
    old, new = sides
    if not old or not new:  # a text must not become empty
        raise UsageError(f"line {number}: there is nothing {'after' if old else 'before'} the tab")
    if max(map(len, sides)) > MAX_CHARACTERS:
        raise UsageError(f"line {number}: either side of a pair has at most {MAX_CHARACTERS} characters")
    return Pair(old, new, number)


def _tabs(count: int) -> str:
    return f"{count} tabs" if count else "no tab"


def replacing(pairs: Sequence[Pair]) -> Callable[[str], str]:
    """A function that replaces what pairs say in a text, from its beginning on, the longest where several fit; what it
    puts in is not looked at again. In scripts with spaces between words, whole words are replaced.

    Its time is linear in the text: at each place it looks for at most MAX_CHARACTERS phrases, and only where one begins
    with that character.
    """
    known, sizes = {pair.old: pair.new for pair in pairs}, defaultdict[str, set[int]](set)
    for old in known:
        sizes[old[0]].add(len(old))
    longest_first = {first: sorted(each, reverse=True) for first, each in sizes.items()}
    begin = re.compile(f"[{re.escape(''.join(longest_first))}]")

    def replaced(text: str) -> str:
        parts, done = list[str](), 0
        for found in begin.finditer(text):
            start = found.start()
            if start < done:
                continue
            for size in longest_first[text[start]]:
                end = start + size
                new = known.get(text[start:end])
                if new and end <= len(text) and not (is_in_word(text, start) or is_in_word(text, end)):
                    parts += [text[done:start], new]
                    done = end
                    break
        return "".join([*parts, text[done:]]) if parts else text

    return replaced
