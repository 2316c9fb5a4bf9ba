"""Lays out texts and tables for a width in columns of a terminal; characters of double width take two of them.

Pure functions: nothing is printed here, and nothing escaped.
"""

import re
from collections.abc import Iterator, Sequence

from rich.cells import cell_len

GAP = "  "  # between the columns of a table
MIN_SHARE = 3  # of the table's width, in which a column of texts stays readable: a third, and so a name and a sentence
MIN_CUT = 4  # columns of a cell at least

_NUMBER = re.compile(r"[-+]?[\d][\d,.]*( ?%)?")
_PATH = re.compile(r"\S*/\S*")


def cut(text: str, width: int, ellipsis: str = "…") -> str:
    """A text cut to a width: of a path the middle is left out, since its end tells it from others, else the end."""
    if cell_len(text) <= width:
        return text
    room = width - cell_len(ellipsis)
    if room <= 0:
        return ellipsis[:width]
    tail = _last(text, room * 2 // 3) if _PATH.fullmatch(text) else ""
    return _first(text, room - cell_len(tail)) + ellipsis + tail


def _first(text: str, width: int) -> str:
    """As many characters of a text as fit."""
    used = 0
    for at, char in enumerate(text):
        used += cell_len(char)
        if used > width:
            return text[:at]
    return text


def _last(text: str, width: int) -> str:
    """As many of the last characters of a text as fit."""
    used = 0
    for at, char in enumerate(reversed(text)):
        used += cell_len(char)
        if used > width:
            return text[len(text) - at :]
    return text


def wrapped(text: str, width: int) -> list[str]:
    """The lines of a text, broken at spaces. A longer word, such as a URL, stays whole: a terminal breaks it without
    tearing it apart for who copies it."""
    lines = list[str]()
    for word in re.findall(r"\s*\S+", text) or [""]:
        if lines and cell_len(lines[-1]) + cell_len(word) <= width:
            lines[-1] += word
        else:
            lines.append(word.lstrip() if lines else word)
    return lines


def reflowed(text: str, width: int) -> str:
    """A page of help for a width: paragraphs are broken anew, and indented lines, which are commands to copy, stay."""
    found, paragraph = list[str](), list[str]()
    for line in [*text.splitlines(), ""]:
        if line and not line[0].isspace():
            paragraph.append(line)
            continue
        if paragraph:
            is_fitting = all(cell_len(each) <= width for each in paragraph)
            found += paragraph if is_fitting else wrapped(" ".join(paragraph), width)
            paragraph = []
        found.append(line)
    return "\n".join(found[:-1])


def facts(rows: Sequence[Sequence[str]], width: int) -> Iterator[str]:
    """The lines of a table of names and values, of which nothing is left out: long values go on below, and those with a
    word that does not fit stand on lines of their own."""
    names = max((cell_len(row[0]) for row in rows if len(row) > 1), default=0)
    for *name, value in rows:
        if not name:
            first, *others = wrapped(value, width - len(GAP)) or [""]
            yield first
            yield from (GAP + line for line in others)
            continue
        room = width - names - len(GAP)
        if any(cell_len(word) > room for word in value.split()):
            yield name[0]
            yield from (GAP + line for line in wrapped(value, width - len(GAP)))
            continue
        first, *others = wrapped(value, room)
        yield (_padded(name[0], names) + GAP + first).rstrip()
        yield from (" " * names + GAP + line for line in others)


def table(header: Sequence[str], rows: Sequence[Sequence[str]], width: int, ellipsis: str = "…") -> Iterator[str]:
    """The lines of a table, the header first: one for each row, cut to the width. Columns of numbers are set flush
    right."""
    columns = list(zip(header, *rows, strict=True))
    numeric = [_is_numeric(column) for column in columns]
    widths = _fitted([max(map(cell_len, column)) for column in columns], numeric, width)
    for row in (header, *rows):
        cells = (
            _padded(cut(cell, fitted, ellipsis), fitted, is_right)
            for cell, fitted, is_right in zip(row, widths, numeric, strict=True)
        )
        yield cut(GAP.join(cells).rstrip(), width, ellipsis)


def without_spare(
    header: Sequence[str], rows: Sequence[Sequence[str]], width: int, spare: Sequence[str]
) -> tuple[list[str], list[list[str]], list[str]]:
    """A table without as many of its `spare` columns, the first ones first, as it takes to fit without being cut; and
    what they are."""
    columns, left_out = list(zip(header, *rows, strict=True)), list[str]()
    for name in spare:
        if sum(max(map(cell_len, column)) + len(GAP) for column in columns) - len(GAP) <= width:
            break
        columns = [column for column in columns if column[0] != name]
        left_out.append(name)
    first, *others = map(list, zip(*columns, strict=True))
    return first, others, left_out


def _is_numeric(column: Sequence[str]) -> bool:
    """Whether a column has numbers only, below its header."""
    found = [cell for cell in column[1:] if cell]
    return bool(found) and all(map(_NUMBER.fullmatch, found))


def _padded(text: str, width: int, is_right: bool = False) -> str:
    space = " " * max(width - cell_len(text), 0)
    return space + text if is_right else text + space


def _fitted(lengths: Sequence[int], numeric: Sequence[bool], width: int) -> list[int]:
    """The widths of columns, by the width of the longest cell of each: those of texts shrink, the widest first; the
    first one, of names, only if the others would be no longer readable; and numbers last."""
    widths = list(lengths)
    room = width - len(GAP) * (len(widths) - 1)
    texts = [at for at, is_number in enumerate(numeric) if not is_number]
    readable = max(room // MIN_SHARE, MIN_CUT)
    for some, least in ((texts[1:], readable), (texts, readable), (texts, MIN_CUT), (range(len(widths)), 1)):
        _shrink(widths, some, least, room)
    return widths


def _shrink(widths: list[int], some: Sequence[int], least: int, room: int) -> None:
    """Makes the widest of some columns narrower, not below `least`, until all fit in a room."""
    while sum(widths) > room and some:
        widest = max(widths[at] for at in some)
        if widest <= least:
            return
        level = [at for at in some if widths[at] == widest]
        below = max([least, *(widths[at] for at in some if widths[at] < widest)])
        surplus = -((room - sum(widths)) // len(level))  # of each, rounded up
        for at in level:
            widths[at] = max(widest - surplus, below)
