"""Reads recordings that a person names in a file: a URI on each line, or a table as a query on parts returns it.

A table (CSV, TSV, JSON or Parquet) has a column `uri`, and may have the other columns that identify a recording; all
others are ignored. Whatever a file states, memory for it is bounded by the limit on lists.
"""

import csv
import math
import os
import re
from collections.abc import Collection, Iterator, Mapping, Set
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
Name = tuple[str, Stated]  # a URI, or a path below a root, and what is stated besides

_CURRENT_FOLDERS = re.compile(r"(?:(?<=/)|^)(?:\./+)+")


@dataclass
class Named:
    """Recordings that were named: by URI or by a path below one of the folders `roots`, given by their URIs. What a
    name does not state may be anything.

    `times` tells how often each name was given; a path is one name, however many roots there are. `found` are the names
    that `holds` was true for. A look-up takes one step for each set of columns that names state, and these are few.
    """

    roots: frozenset[str] = frozenset()
    times: dict[Name, int] = field(default_factory=dict)
    found: set[Name] = field(default_factory=set)
    _spellings: set[str] = field(default_factory=set)
    _columns: set[tuple[int, ...]] = field(default_factory=set)  # that names state, as positions in KEY
    _has_paths: bool = False

    @property
    def count(self) -> int:
        """How many names were given."""
        return sum(self.times.values())

    @property
    def missing(self) -> int:
        """How many names were not found."""
        return self.count - sum(self.times[name] for name in self.found)

    def add(self, spelling: str, stated: Stated, times: int = 1) -> None:
        """Adds a name as `spelling_of` has it."""
        name = spelling, stated
        self.times[name] = self.times.get(name, 0) + times
        self._spellings.add(spelling)
        self._has_paths |= protocol_of(spelling) is None
        self._columns.add(tuple(at for at, _ in stated))

    def has_uri(self, uri: str) -> bool:
        """Whether some recording of an object with this URI is named."""
        return any(True for _ in self._spellings_of(uri))

    def holds(self, key: RecordingKey) -> bool:
        """Whether a recording, given by its columns of KEY, is named."""
        names = [
            name
            for spelling in self._spellings_of(str(key[0]))
            for columns in self._columns
            if (name := (spelling, tuple((at, key[at]) for at in columns))) in self.times
        ]
        self.found.update(names)
        return bool(names)

    def narrowed(self, columns: Collection[int]) -> "Named":
        """The same names without what they state of other columns than these, given by their positions in KEY."""
        narrowed = Named(self.roots)
        for (spelling, stated), times in self.times.items():
            narrowed.add(spelling, narrowed_to(columns, stated), times)
        return narrowed

    def _spellings_of(self, uri: str) -> Iterator[str]:
        """Those of a URI that a name has."""
        below = paths_below(self.roots, uri) if self._has_paths else ()
        return (each for each in (uri, *below) if each in self._spellings)


def narrowed_to(columns: Collection[int], stated: Stated) -> Stated:
    return tuple(each for each in stated if each[0] in columns)


def spelling_of(name: str) -> str:
    """The URI that a name stands for, as columns of parts have it; of a relative path, that path."""
    name = escape_surrogates(name)
    if protocol := protocol_of(name):
        return public_url(name) if is_web(name) else f"{protocol}://{name.partition('://')[2]}"
    if name.startswith(("/", "~")):
        return f"file://{os.path.abspath(os.path.expanduser(name))}"
    return _CURRENT_FOLDERS.sub("", name)


def paths_below(roots: Set[str], uri: str) -> Iterator[str]:
    """The path of a URI below each of the folders `roots` that it is in."""
    return (uri[len(folder) + 1 :] for folder in folders_of(uri) if folder.rstrip("/") in roots)


def folders_of(path: str) -> Iterator[str]:
    """The folders that a path or a URI is in, without the slash at their end."""
    at = path.find("/", path.find("://") + 3 if "://" in path else 1)
    while at > 0:
        yield path[:at]
        at = path.find("/", at + 1)


def read_named(named: Named, place: Place, key: str, max_bytes: float) -> None:
    """Adds the recordings that a file names; `key` is the configuration's for messages. Raises ConfigError if there is
    no such file, it is none of FORMS, or it has more than `max_bytes`."""
    try:
        for number, (name, stated) in enumerate(_names_in(place, ListReader(max_bytes)), 1):
            if not isinstance(name, str) or not name or "\0" in name:
                raise InvalidData(f"its entry {number} names no recording")
            named.add(spelling_of(name), stated)
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
        yield from map(_of_fields, _rows(_lines(opened, reader), delimiter))
    elif suffix in DELIMITED_SUFFIXES:
        raise InvalidData("it has no column uri")
    else:
        texts = map(str.strip, _lines(opened, reader))
        yield from ((text, ()) for text in texts if text and not text.startswith("#"))


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


def _rows(lines: Iterator[str], delimiter: str) -> Iterator[dict[str, object]]:
    """The rows of a table by the names of its columns. Raises InvalidData for one with more fields than columns: a name
    with an unquoted comma would be another name."""
    table = csv.DictReader((f"{line}\n" for line in lines), delimiter=delimiter, strict=True)
    table.fieldnames = [each.strip() for each in table.fieldnames or ()]
    for row in table:
        if None in row:
            raise InvalidData(
                f"its line {table.line_num} has more fields than the heading; put values with {delimiter!r} in quotes"
            )
        yield dict(row)


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
