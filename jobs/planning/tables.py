"""Converts tables of recordings (CSV, TSV, Parquet) to manifest lines, one per row."""

import csv
import re
from collections.abc import Iterable, Iterator

from actors.foreign.errors import InvalidData, SchemaMismatch
from actors.foreign.parquet_rows import read_rows
from actors.foreign.plain_json import to_json
from actors.schema import ErrorKind, RecordingError
from actors.storage.stored_file import reraise
from jobs.planning.entries import as_line
from jobs.planning.files import DELIMITED_SUFFIXES, PARQUET_SUFFIXES, File
from jobs.planning.lists import MAX_LINE_BYTES, BadEntry, Line, ListReader, NamesNoAudio

MAX_UNPACKED_BYTES = 256_000_000  # of a row group's columns
_DELIMITERS = ",;\t|"


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
    opened = reader.open(file.place)
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
    names = [each.strip() for _, row in _rows([header], delimiter, is_tsv) if isinstance(row, list) for each in row]
    for number, values in _rows(lines, delimiter, is_tsv):
        yield from bad
        bad.clear()
        location = f"{file.name}:{number + 1}"
        if isinstance(values, RecordingError):
            yield BadEntry(location, values)
        elif any(values[len(names) :]):
            detail = f"{len(values)} values for {len(names)} columns: {delimiter.join(values)[:120]}"
            yield BadEntry(location, RecordingError(ErrorKind.BAD_ENTRY, detail))
        elif values:
            fields = dict(zip(names, values, strict=False))
            yield Line(location, as_line({name: value for name, value in fields.items() if value}))
    yield from bad


def _rows(lines: Iterable[str], delimiter: str, is_tsv: bool) -> Iterator[tuple[int, list[str] | NamesNoAudio]]:
    """The values of each row, with the number of its first line."""
    reader = csv.reader(lines, delimiter=delimiter, quoting=csv.QUOTE_NONE if is_tsv else csv.QUOTE_MINIMAL)
    while True:
        number = reader.line_num + 1
        try:
            values = next(reader)
        except StopIteration:
            return
        except csv.Error as problem:
            yield number, NamesNoAudio(f"not a row of the table: {problem}")
        else:
            yield number, [_unquoted(each) for each in values] if is_tsv else values


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
