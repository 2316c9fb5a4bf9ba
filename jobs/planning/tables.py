"""Converts tables of recordings (CSV, TSV, Parquet) to manifest lines, one per row."""

import csv
import re
from collections import Counter
from collections.abc import Iterable, Iterator
from itertools import chain

from actors.foreign.errors import InvalidData, SchemaMismatch
from actors.foreign.parquet_rows import read_rows
from actors.foreign.plain_json import to_json
from actors.schema import ErrorKind, RecordingError
from actors.storage.stored_file import reraise
from jobs.planning.entries import as_line
from jobs.planning.files import COMMON_VOICE, DELIMITED_SUFFIXES, PARQUET_SUFFIXES, File
from jobs.planning.lists import MAX_LINE_BYTES, BadEntry, Line, ListReader, NamesNoAudio

MAX_ROW_LINES = 1_000  # of a row, whose values may have several
MAX_UNPACKED_BYTES = 256_000_000  # of a row group's columns
_CLIPS = "clips"  # Common Voice's folder of audio, which its tables leave out
_DELIMITERS = ",;\t|"

csv.field_size_limit(MAX_LINE_BYTES)  # as of a manifest's line; Python's own is 131,072


class _Csv(csv.excel):
    strict = True


class _Tsv(_Csv):
    quoting = csv.QUOTE_NONE


def is_table(file: File) -> bool:
    """Whether a file's name is that of a table, not of JSON."""
    return file.name.lower().endswith(DELIMITED_SUFFIXES + PARQUET_SUFFIXES)


def as_manifest(file: File, reader: ListReader, uri_column: str | None) -> Iterator[Line | BadEntry]:
    """Yields the rows of a table as manifest lines with its columns as fields, and a BadEntry for what could not be
    read. `uri_column` is the column that names the audio, which a Parquet file must have."""
    try:
        if file.name.lower().endswith(PARQUET_SUFFIXES):
            yield from _parquet_lines(file, reader, [uri_column] if uri_column else [])
        else:
            yield from _delimited_lines(file, reader, uri_column)
    except FileNotFoundError:
        yield BadEntry(file.name, RecordingError(ErrorKind.MISSING, "it was deleted while the input was listed"))
    except SchemaMismatch as problem:
        yield BadEntry(file.name, NamesNoAudio(str(problem)))
    except InvalidData as problem:
        yield BadEntry(file.name, reader.refusal(ErrorKind.BAD_ENTRY, str(problem)))
    except RecordingError as problem:
        yield BadEntry(file.name, problem)


def _parquet_lines(file: File, reader: ListReader, required: list[str]) -> Iterator[Line | BadEntry]:
    opened = reader.open(file.place, is_read_whole=False)
    try:
        for number, row in enumerate(read_rows(opened, required, MAX_UNPACKED_BYTES), 1):
            location = f"{file.name}:{number}"
            line = to_json({name: value for name, value in row.items() if value is not None})
            reader.charge(len(line))
            if len(line) > MAX_LINE_BYTES:
                detail = f"the row has more than {MAX_LINE_BYTES:,} bytes"
                yield BadEntry(location, RecordingError(ErrorKind.BAD_ENTRY, detail))
            else:
                yield Line(location, line)
    except InvalidData:
        reraise(opened)
        raise


def _delimited_lines(file: File, reader: ListReader, uri_column: str | None) -> Iterator[Line | BadEntry]:
    """The rows of a CSV (https://www.rfc-editor.org/rfc/rfc4180) or TSV with a header. Empty values are left out.

    In a TSV a quotation mark is a character, unless it encloses a whole value.
    """
    bad = list[BadEntry]()
    lines = _without_errors(file, reader, bad)
    header, is_tsv = next(lines, ""), file.name.lower().endswith(".tsv")
    delimiter = "\t" if is_tsv else _delimiter_of(header, uri_column)
    rows = _rows(chain([header] if header else [], lines), delimiter, is_tsv)
    first = next(rows, (1, []))[1]
    names = [each.strip() for each in first] if isinstance(first, list) else []
    if repeated := [name for name, count in Counter(names).items() if name and count > 1]:
        raise reader.refusal(ErrorKind.BAD_ENTRY, f"its column {repeated[0][:80]!r} is there twice")
    is_common_voice = is_tsv and file.place.name in COMMON_VOICE and {"path", "sentence"} <= set(names)
    for number, values in rows:
        yield from bad
        bad.clear()
        location = f"{file.name}:{number}"
        if isinstance(values, RecordingError):
            yield BadEntry(location, values)
        elif any(values[len(names) :]):
            detail = f"{len(values)} values for {len(names)} columns"  # not which ones: they may be private texts
            yield BadEntry(location, RecordingError(ErrorKind.BAD_ENTRY, detail))
        elif values:
            fields = dict(zip(names, values, strict=False))
            if is_common_voice and fields.get("path"):
                fields["path"] = f"{_CLIPS}/{fields['path']}"
            yield Line(location, as_line({name: value for name, value in fields.items() if value}))
    yield from bad


def _rows(lines: Iterable[str], delimiter: str, is_tsv: bool) -> Iterator[tuple[int, list[str] | NamesNoAudio]]:
    """The values of each row, with the number of its first line.

    A line that does not belong to a row, such as one with a quotation mark that nothing closes, is an error by itself,
    and what follows it is read as if it were not there.
    """
    dialect = _Tsv if is_tsv else _Csv
    source, taken, number = iter(lines), list[str](), 1

    def feed(again: list[str]) -> Iterator[str]:
        for line in chain(again, source):
            taken.append(line)
            if len(taken) > MAX_ROW_LINES:
                raise csv.Error("a value of it does not end")
            yield line

    reader = csv.reader(feed([]), dialect, delimiter=delimiter)
    while True:
        try:
            values = next(reader)
        except StopIteration:
            return
        except csv.Error as problem:
            yield number, NamesNoAudio(f"not a row of the table: {problem}")
            number, again = number + 1, taken[1:]
            taken.clear()
            reader = csv.reader(feed(again), dialect, delimiter=delimiter)
        else:
            yield number, [_unquoted(each) for each in values] if is_tsv else values
            number += len(taken)
            taken.clear()


def _without_errors(file: File, reader: ListReader, bad: list[BadEntry]) -> Iterator[str]:
    r"""The lines of a file with \n at their ends; those that cannot be read are added to `bad`."""
    for number, line in enumerate(reader.lines(reader.open_text(file.place)), 1):
        if isinstance(line, RecordingError):
            bad.append(BadEntry(f"{file.name}:{number}", line))
        else:
            yield line + "\n"


def _delimiter_of(header: str, uri_column: str | None) -> str:
    """The delimiter that finds the column in a header, or else the one that is there most often."""
    if uri_column:
        found = [each for each in _DELIMITERS if uri_column in re.split(rf'[{re.escape(each)}"\n]+', header)]
        if found:
            return found[0]
    return max(_DELIMITERS, key=header.count)


def _unquoted(value: str) -> str:
    """A value without the quotation marks that enclose it."""
    if len(value) >= 2 and value[0] == value[-1] == '"' and '"' not in value[1:-1].replace('""', ""):
        return value[1:-1].replace('""', '"')
    return value
