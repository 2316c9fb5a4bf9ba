"""Writes what was said as people write it: the column `written`, which is made of `text` alone."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Literal, TypeVar

import numpy as np
import pyarrow as pa

from actors.schema import KEY, UsageError
from actors.storage.fetched import StoredFile, fetch_file
from actors.text.punctuation import Punctuator
from actors.text.written.across import written_across
from actors.text.written.forms import written_form
from actors.text.written.replacements import read_pairs, replacing

#: The column `written` of rows with the column `text`, the rows of each recording together (`whole_recordings`).
Write = Callable[[pa.Table], pa.Array]
_Step = Callable[[list[str]], list[str]]  # of the texts of a recording
_Loaded = TypeVar("_Loaded")

#: Rows of a recording that are written together at most: a day of segments of ten seconds. They are held as rows
#: until the last of them is there.
STRETCH_ROWS = 10_000
_OF_RECORDING = ["recording_id", *KEY]
_SPACED = frozenset({"en"})  # languages with spaces between words


@dataclass(frozen=True)
class TextSettings:
    """How texts are written: by the inverse text normalisation of a language, with replacements after it, and with
    punctuation by a model."""

    itn: Literal["none", "zh", "en"] = "none"
    replace: StoredFile | None = None
    punctuation: StoredFile | None = None

    def to_dict(self) -> dict[str, object]:
        """What decides what is written, nothing by default; a file by its SHA-256."""
        told: dict[str, object] = {} if self.itn == "none" else {"itn": self.itn}
        files = {"replace": self.replace, "punctuation": self.punctuation}
        return told | {name: file.sha256 for name, file in files.items() if file}

    @property
    def described(self) -> str:
        """`none`, or `itn=zh replace=4f0c1a2b3c4d5e6f`."""
        return " ".join(f"{name}={str(value)[:16]}" for name, value in self.to_dict().items()) or "none"


def load_write(settings: TextSettings) -> Write:
    """Loads what makes the column `written`: null in every row where nothing is asked for, else null without a text.

    The segments of a recording are written together, for a cut may halve a number. The marks of punctuation are found
    in `text`, as models are trained on what is said; then they are put into what the other steps make of each text,
    which no mark disturbs so.

    Raises UsageError, which names the key, if a library is not there, or a file is not what it should be.
    """
    steps = list[_Step]()
    if settings.itn != "none":
        steps.append(_itn(settings.itn))
    if settings.replace:
        replace = _loaded(settings.replace, lambda path: replacing(read_pairs(path)))
        steps.append(lambda texts: [replace(text) for text in texts])
    punctuate = _loaded(settings.punctuation, lambda path: Punctuator(str(path))) if settings.punctuation else None
    return lambda rows: _written(rows, steps, punctuate)


def _loaded(file: StoredFile, load: Callable[[Path], _Loaded]) -> _Loaded:
    path = fetch_file(file)
    try:
        return load(path)
    except UsageError as problem:
        raise UsageError(f"{file.key}: {file.place.described}: {problem}") from None


def _itn(language: str) -> _Step:
    try:
        written_form("twenty three", language)  # a number, so that its library is loaded
    except (ValueError, ModuleNotFoundError) as problem:
        raise UsageError(f"text.itn: {problem}") from None
    write, between = partial(written_form, language=language), " " if language in _SPACED else ""
    return lambda texts: written_across(texts, write, between)


def _written(rows: pa.Table, steps: Sequence[_Step], punctuate: Punctuator | None) -> pa.Array:
    if not steps and not punctuate:
        return pa.nulls(rows.num_rows, pa.string())
    texts = rows.column("text").to_pylist()
    written = list(texts)
    for stretch, is_whole in _stretches(rows):
        spoken = [row for row in stretch if texts[row]]
        said, found = [texts[row] for row in spoken], list[str]()
        for together in _adjacent(spoken):
            part = [texts[row] for row in together]
            for step in steps:
                part = step(part)
            found += part
        if punctuate:
            found = punctuate(said, found, is_whole)
        for row, text in zip(spoken, found, strict=True):
            written[row] = text
    return pa.array(written, pa.string())


def _adjacent(rows: Sequence[int]) -> Iterator[list[int]]:
    """The rows in lists of those that follow one another: beyond silence, or an error, no number goes on."""
    found = list[int]()
    for row in rows:
        if found and row != found[-1] + 1:
            yield found
            found = []
        found.append(row)
    if found:
        yield found


def _stretches(rows: pa.Table) -> Iterator[tuple[range, bool]]:
    """The rows that are written together, and whether they are to the end of a recording: that is not known where
    there are as many as may be."""
    indices = rows.column("segment_index").to_pylist()
    recordings = list(zip(*(rows.column(name).to_pylist() for name in _OF_RECORDING), strict=True))
    begin = 0
    for row in range(1, rows.num_rows + 1):
        if row == rows.num_rows or indices[row] % STRETCH_ROWS == 0 or recordings[row] != recordings[row - 1]:
            yield range(begin, row), row - begin < STRETCH_ROWS
            begin = row


def whole_recordings(tables: Iterable[pa.Table]) -> Iterator[pa.Table]:
    """The rows of tables, each of whose recordings is in one table, up to STRETCH_ROWS of it from its beginning on."""
    held, count = list[pa.Table](), 0
    for table in tables:
        begins = np.flatnonzero(table.column("segment_index").to_numpy() % STRETCH_ROWS == 0)
        last = int(begins[-1]) if len(begins) else 0 if count >= STRETCH_ROWS else None
        if last is None:
            held.append(table)
            count += table.num_rows
            continue
        if count + last:
            yield _joined([*held, table.slice(0, last)])
        held, count = [table.slice(last)], table.num_rows - last
    if count:
        yield _joined(held)


def _joined(tables: list[pa.Table]) -> pa.Table:
    tables = [table for table in tables if table.num_rows]
    return tables[0] if len(tables) == 1 else pa.concat_tables(tables).unify_dictionaries()
