"""Reads recordings that a person names in a file: a URI on each line, or a table as a query on parts returns it.

A table (CSV, TSV, JSON or Parquet) has a column `uri`, and may have the other columns that identify a recording; all
others are ignored. Whatever a file states, memory for it is bounded by the limit on lists.
"""

import csv
import math
import os
import re
from collections.abc import Collection, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from typing import BinaryIO

from actors.foreign.errors import InvalidData
from actors.foreign.escape import escape_surrogates
from actors.foreign.parquet_rows import read_rows
from actors.foreign.plain_json import parse_json
from actors.schema import KEY, RecordingError
from actors.storage.connect import protocol_of
from actors.storage.place import Place
from actors.storage.stored_file import reraise
from actors.storage.urls import is_web, public_url
from jobs.cli.config import ConfigError
from jobs.planning.files import DELIMITED_SUFFIXES, PARQUET_SUFFIXES
from jobs.planning.json_documents import elements, is_document
from jobs.planning.lists import HEAD_BYTES, ListReader
from jobs.planning.tables import MAX_UNPACKED_BYTES

FORMS = "a text file with a URI on each line, or a CSV, JSON or Parquet file with a column uri"
_DELIMITERS = ",;\t|"
_PARQUET = b"PAR1"
_ARRAY_OF_TEXTS = re.compile(r'\s*\[\s*"')

RecordingKey = tuple[object, ...]  # the columns of KEY
Stated = tuple[tuple[int, object], ...]  # what a name states besides the URI: the position in KEY, and the value


@dataclass
class Named:
    """Recordings that were named: by URI, what each name states besides, with the number of the name. What a name does
    not state may be anything. `found` are the numbers of names that `holds` was true for."""

    by_uri: dict[str, list[tuple[Stated, int]]] = field(default_factory=dict)
    count: int = 0
    found: set[int] = field(default_factory=set)

    @property
    def uris(self) -> Collection[str]:
        return self.by_uri.keys()

    @property
    def missing(self) -> int:
        """How many names were not found."""
        return self.count - len(self.found)

    def add(self, name: str, stated: Stated, roots: Collection[str]) -> None:
        """Adds a name: a URI, a path, or a path below one of the folders `roots`, given by their URIs."""
        for uri in uris_of(name, roots):
            self.by_uri.setdefault(uri, []).append((stated, self.count))
        self.count += 1

    def holds(self, key: RecordingKey) -> bool:
        """Whether a recording, given by its columns of KEY, is named."""
        numbers = [
            number
            for stated, number in self.by_uri.get(str(key[0]), ())
            if all(key[at] == value for at, value in stated)
        ]
        self.found.update(numbers)
        return bool(numbers)


def uris_of(name: str, roots: Collection[str]) -> list[str]:
    """The URIs that a name may stand for, as columns of parts have them."""
    name = escape_surrogates(name)
    if protocol := protocol_of(name):
        return [public_url(name) if is_web(name) else f"{protocol}://{name.partition('://')[2]}"]
    if name.startswith(("/", "~")):
        return [f"file://{os.path.abspath(os.path.expanduser(name))}"]
    return [f"{root}/{name}" for root in roots]


def read_named(named: Named, place: Place, key: str, max_bytes: float, roots: Collection[str]) -> None:
    """Adds the recordings that a file names; `key` is the configuration's for messages. Raises ConfigError if there is
    no such file, it is none of FORMS, or it has more than `max_bytes`."""
    try:
        for number, (name, stated) in enumerate(_names_in(place, ListReader(max_bytes)), 1):
            if not isinstance(name, str) or not name or "\0" in name:
                raise InvalidData(f"its entry {number} names no recording")
            named.add(name, stated, roots)
    except FileNotFoundError:
        raise ConfigError(f"{key}: there is no file {place.described}") from None
    except PermissionError:
        raise ConfigError(f"{key}: {place.described} may not be read") from None
    except (InvalidData, csv.Error) as problem:
        raise ConfigError(f"{key}: {place.described} is no list of recordings: {problem}; give {FORMS}") from None
    except RecordingError as problem:
        raise ConfigError(f"{key}: {place.described}: {problem.detail}") from None


def _names_in(place: Place, reader: ListReader) -> Iterator[tuple[object, Stated]]:
    """Yields the name and what else is stated of each recording in a file."""
    suffix = os.path.splitext(place.name)[1].lower()
    opened = reader.open(place, is_read_whole=False)
    if opened.read(len(_PARQUET)) == _PARQUET or suffix in PARQUET_SUFFIXES:
        yield from _names_in_parquet(opened, reader)
        return
    opened = reader.open_text(place)
    start = opened.tell()
    head = opened.read(HEAD_BYTES).decode("utf-8", "replace")
    opened.seek(start)
    if "\0" in head:
        raise InvalidData("it is not a text")
    if is_document(head, suffix == ".json") or _ARRAY_OF_TEXTS.match(head) or suffix == ".json":
        yield from (_of_value(value) for value in _charged(opened, reader))
    elif head.lstrip().startswith("{"):
        yield from (_of_value(parse_json(line)) for line in _lines(opened, reader) if line.strip())
    elif delimiter := _delimiter_of(head.partition("\n")[0]):
        table = csv.DictReader((f"{line}\n" for line in _lines(opened, reader)), delimiter=delimiter, strict=True)
        table.fieldnames = [each.strip() for each in table.fieldnames or ()]
        yield from map(_of_fields, table)
    elif suffix in DELIMITED_SUFFIXES:
        raise InvalidData("it has no column uri")
    else:
        yield from ((line, ()) for line in _lines(opened, reader) if line.strip() and not line.startswith("#"))


def _names_in_parquet(opened: BinaryIO, reader: ListReader) -> Iterator[tuple[object, Stated]]:
    try:
        for row in read_rows(opened, ["uri"], MAX_UNPACKED_BYTES):
            reader.charge(sum(len(value) for value in row.values() if isinstance(value, str)))
            yield _of_fields(row)
    except InvalidData:
        reraise(opened)
        raise


def _charged(opened: BinaryIO, reader: ListReader) -> Iterator[object]:
    for _, value in elements(opened):
        reader.charge(0)
        yield value


def _lines(opened: BinaryIO, reader: ListReader) -> Iterator[str]:
    for line in reader.lines(opened):
        if isinstance(line, RecordingError):
            raise InvalidData(line.detail)
        yield line


def _delimiter_of(header: str) -> str | None:
    """What separates the names of columns, uri among them, in the first line of a table; None of any other text."""
    for delimiter in _DELIMITERS:
        with suppress(csv.Error):
            if "uri" in (each.strip() for row in csv.reader([header], delimiter=delimiter) for each in row):
                return delimiter
    return None


def _of_value(value: object) -> tuple[object, Stated]:
    if isinstance(value, str):
        return value, ()
    if not isinstance(value, dict):
        raise InvalidData(f"{str(value)[:80]!r} names no recording")
    return _of_fields(value)


def _of_fields(fields: Mapping[str, object]) -> tuple[object, Stated]:
    """The name in a row, and what its other columns of KEY state; a null states that the recording has none."""
    stated = tuple((at, _column(name, fields[name])) for at, name in enumerate(KEY) if at and name in fields)
    return fields.get("uri"), stated


def _column(name: str, value: object) -> object:
    """The value of a column of KEY, of any form that a table gave it. Raises InvalidData."""
    if value is None or value == "" or name == "member":
        return None if value is None or value == "" or _is_nan(value) else str(value)
    try:
        number = float(str(value))  # pandas writes channels as 1.0 where others have none
    except ValueError:
        raise InvalidData(f"{name} is {str(value)[:40]!r}, not a number") from None
    if name == "channel" and number.is_integer():
        return int(number)
    return None if math.isnan(number) else number


def _is_nan(value: object) -> bool:
    return isinstance(value, float) and math.isnan(value)
