"""Commits the rows of a unit as a part: the only place that writes transcripts.

A unit is done if its part exists with exactly one commit, and that has the expected fingerprint and the part's version.
So a commit first deletes the unit's commits, then writes the part in one atomic step, then the new commit. A crash
between any two leaves a whole part, old or new, and a unit that is not done; repeating all three gives the same result.
A run that was paused and resumes while another commits may leave two commits, or one that does not match the part: then
the unit is not done, and the next run redoes it.
"""

import io
import json
import logging
import re
from collections.abc import Callable, Container, Iterable, Iterator
from dataclasses import dataclass
from typing import BinaryIO

import pyarrow as pa

from actors.foreign.errors import InvalidData
from actors.foreign.escape import escape_surrogates
from actors.outcomes import Committed, Work
from actors.parts.part import METADATA, Part, PartWriter, check_rows
from actors.parts.summary import Tally
from actors.schema import TRIED_AGAIN
from actors.sources.account import Entries
from actors.storage import listing
from actors.storage.place import Place
from actors.storage.stored_file import StoredFile
from actors.units import ALL, FINGERPRINT, HEX, Fingerprint, Selection, Unit, digest

COMMITS = "_commits"
HELD_BYTES = 32_000_000  # bytes; a larger part is read in ranges, not whole
_PART_NAME = re.compile(rf"part-({HEX})\.parquet")
_COUNT = r"(0|[1-9][0-9]{0,11})"
_COMMIT_NAME = re.compile(rf"({HEX})\.({FINGERPRINT})\.({HEX})\.{_COUNT}r{_COUNT}e{_COUNT}a")

_log = logging.getLogger(__name__)

ObjectKey = tuple[str, Selection]  # of an object and of its rows


def part_name(unit_id: str) -> str:
    return f"part-{unit_id}.parquet"


def unit_of_part(name: str) -> str | None:
    """The unit id in a part's name; None for any other name."""
    match = _PART_NAME.fullmatch(name)
    return match[1] if match else None


@dataclass(frozen=True, slots=True)
class Commit:
    """A commit, as its name states it: `<unit>.<fingerprint>.<part>.<r>r<e>e<a>a`, r recordings, e of them with an
    error, and a of these with one that a later run tries again by itself.

    `part` is a digest of the part's version in storage.
    """

    unit: str
    fingerprint: str
    part: str
    recordings: int
    errors: int
    again: int = 0

    @property
    def name(self) -> str:
        return f"{self.unit}.{self.fingerprint}.{self.part}.{self.recordings}r{self.errors}e{self.again}a"

    @classmethod
    def from_name(cls, name: str) -> "Commit | None":
        """Parses a commit's name; None for any other: unknown files in the folder are skipped."""
        match = _COMMIT_NAME.fullmatch(name)
        return cls(match[1], match[2], match[3], *map(int, match.group(4, 5, 6))) if match else None


def commit_unit(
    unit: Unit, tables: Iterable[pa.Table], output: Place, work: Work | None = None, entries: Entries | None = None
) -> Committed:
    """Commits a unit's rows, tables of PART_SCHEMA, below `output`, with what was found in its containers. Safe to
    repeat.

    The tables are written one after the other, without holding them. What the unit carries over is not counted in the
    outcome. Raises RuntimeError if an object has no row.
    """
    part, tally, without_rows = PartWriter(), Tally(), {escape_surrogates(each.uri) for each in unit.objects}
    for table in tables:
        without_rows.difference_update(table.column("uri").unique().to_pylist())
        tally.add(table)
        part.add(table)
    if without_rows:  # no object may be lost, not even by a bug
        raise RuntimeError(f"{len(without_rows)} objects of unit {unit.id} have no row, {min(without_rows)} among them")
    tally.end()
    found, shown, failed = (entries or Entries()).to_dict(), tuple(tally.transcripts), tuple(tally.failures)
    committed = Committed(unit.id, tally.counts, work, shown, failed, found)
    missing = {(each.uri, each.selection) for each in unit.carried}
    for table in _carried_rows(unit, output, missing):
        tally.add(table)
        part.add(table)
    tally.end()
    # If rows to carry over are missing, the commit gets a fingerprint that no plan has: redone when listed again.
    fingerprint = Fingerprint.incomplete(unit.fingerprint) if missing else unit.fingerprint
    _delete_commits(unit.id, output)
    version = (output / part_name(unit.id)).put(part.finish())
    again = sum(count for kind, count in tally.errors.items() if kind in TRIED_AGAIN)
    commit = Commit(unit.id, fingerprint, digest([version]), tally.recordings, sum(tally.errors.values()), again)
    body = METADATA | {"errors": dict(tally.errors)} | ({"entries": found} if found["found"] else {})
    (output / COMMITS / commit.name).write(json.dumps(body).encode())
    return committed


def object_keys(rows: pa.Table) -> Iterator[ObjectKey]:
    """The keys of the objects that rows belong to; for those of a container, with what they select in it."""
    uris, *selections = (rows.column(name).to_pylist() for name in ("uri", *Selection._fields))
    return zip(uris, map(Selection, *selections), strict=True)


def owner_of(row: ObjectKey, known: Container[ObjectKey]) -> ObjectKey:
    """The key of the object, of those known, that a row with this key belongs to: what selects the very same, else the
    same of all channels, each of which is a recording of its own; else the file as a whole."""
    uri, selection = row
    every_channel = (uri, selection._replace(channel=None))
    return next((each for each in (row, every_channel) if each in known), (uri, ALL))


def open_part(unit_id: str, output: Place, check: Callable[[pa.Table], None] = check_rows) -> Part:
    """Opens the part of a unit, whose rows have to pass `check`.

    Raises FileNotFoundError, and InvalidData if the part is damaged, foreign or a link.
    """
    place = output / part_name(unit_id)
    if place.is_link():
        raise InvalidData("it is a link, which is not followed")
    stored = StoredFile(place, place.info().size or 0)
    file: BinaryIO = io.BytesIO(place.read()) if stored.size <= HELD_BYTES else stored.open()
    return Part(file, check)


def remove_unit(unit_id: str, output: Place) -> None:
    """Removes a unit from the output. The commits go first: a crash leaves a part that the next run removes."""
    _delete_commits(unit_id, output)
    (output / part_name(unit_id)).delete()


def _delete_commits(unit_id: str, output: Place) -> None:
    folder = output / COMMITS
    for entry in listing.in_folder(folder, f"{unit_id}."):
        if Commit.from_name(entry.name):
            (folder / entry.name).delete()


def _carried_rows(unit: Unit, output: Place, missing: set[ObjectKey]) -> Iterator[pa.Table]:
    """Rows of the committed part whose objects were not listed this time; objects that have some leave `missing`.

    A part that is not valid has none.
    """
    if not unit.carried:
        return
    try:
        committed = open_part(unit.id, output)
    except FileNotFoundError:
        return
    except InvalidData as problem:
        where = (output / part_name(unit.id)).uri
        _log.warning("%s: %s; its rows of objects that are no longer listed are lost", where, problem)
        return
    carried = frozenset(missing)
    known = carried | {(escape_surrogates(each.uri), each.selection) for each in unit.objects}
    for table in committed.tables():
        keep = []
        for key in object_keys(table):
            owner = owner_of(key, known)
            keep.append(owner in carried)
            missing.discard(owner)
        yield table.filter(pa.array(keep, pa.bool_()))
