"""Rows to a committed part: the only place that writes transcripts.

A unit is done when its part is there with exactly one commit, and that bears the fingerprint asked for and the version
of the part. So: the unit's commits away, the part in one atomic step, then the new commit. A crash between any two
leaves a whole part, old or new, and a unit that is not done; doing all three again gives the same. A run that was
paused and comes back in the midst of another's commit may leave two commits, or one that is not of the part that
stands: then the unit is not done, and the next run makes it.
"""

import io
import json
import logging
import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any, BinaryIO

import pyarrow as pa

from actors.foreign.errors import InvalidData
from actors.foreign.escape import escape_surrogates
from actors.parts.part import Part, PartWriter, check_rows
from actors.parts.summary import Tally
from actors.storage import files as storage
from actors.storage import listing, outputs
from actors.storage.outputs import below
from actors.units import FINGERPRINT, HEX, Fingerprint, Unit, digest

COMMITS = "_commits"
MEASURED = ("began", "ended", "busy_seconds", "padded_seconds")
HELD_BYTES = 32_000_000  # a larger part is read range by range, not whole
_PART_NAME = re.compile(rf"part-({HEX})\.parquet")
_COMMIT_NAME = re.compile(rf"({HEX})\.({FINGERPRINT})\.({HEX})\.(0|[1-9][0-9]{{0,11}})r(0|[1-9][0-9]{{0,11}})e")

_log = logging.getLogger(__name__)


def part_name(unit_id: str) -> str:
    return f"part-{unit_id}.parquet"


def unit_of_part(name: str) -> str | None:
    """The unit of a part's name; None where a name is not a part's."""
    match = _PART_NAME.fullmatch(name)
    return match[1] if match else None


@dataclass(frozen=True, slots=True)
class Commit:
    """What a commit's name says: `<unit>.<fingerprint>.<part>.<r>r<e>e`, r recordings and e of them with an error.

    `part` is a digest of the part's version in storage.
    """

    unit: str
    fingerprint: str
    part: str
    recordings: int
    errors: int

    @property
    def name(self) -> str:
        return f"{self.unit}.{self.fingerprint}.{self.part}.{self.recordings}r{self.errors}e"

    @classmethod
    def from_name(cls, name: str) -> "Commit | None":
        """None where a name is not a commit's: a stranger's file in the folder is passed over."""
        match = _COMMIT_NAME.fullmatch(name)
        return cls(match[1], match[2], match[3], int(match[4]), int(match[5])) if match else None


def commit_unit(
    unit: Unit, rows: pa.Table | Iterable[pa.Table], filesystem: storage.Filesystem, root: str
) -> dict[str, Any]:
    """Commits a unit's rows, of PART_SCHEMA, below `root`, and returns the unit's summary. Safe to repeat.

    Rows that come in several tables are taken one after the other, and not held. Of them nothing is measured.
    """
    measured = measured_in(rows) if isinstance(rows, pa.Table) else {}
    part, tally, absent = PartWriter(), Tally(), {escape_surrogates(each.uri) for each in unit.objects}
    for table in [rows] if isinstance(rows, pa.Table) else rows:
        absent.difference_update(table.column("uri").unique().to_pylist())
        tally.add(table)
        part.add(table)
    if absent:  # nothing may be lost on the way, not even by a bug
        raise RuntimeError(f"{len(absent)} objects of unit {unit.id} have no row, {min(absent)} among them")
    summary = tally.summary(unit.id)
    missing = set(unit.carried)
    for table in _carried_rows(unit, filesystem, root, missing):
        tally.add(table)
        part.add(table)
    tally.end()
    # Where rows to carry over are gone, the commit bears no fingerprint that is ever asked for: done again when listed.
    fingerprint = Fingerprint.incomplete(unit.fingerprint) if missing else unit.fingerprint
    _delete_commits(unit.id, filesystem, root)
    version = storage.put(filesystem, below(root, part_name(unit.id)), part.end())
    commit = Commit(unit.id, fingerprint, digest([version]), tally.recordings, sum(tally.errors.values()))
    body = json.dumps({"errors": dict(tally.errors)}).encode()
    storage.write(filesystem, below(root, f"{COMMITS}/{commit.name}"), body)
    return summary | measured


def open_part(
    unit_id: str, filesystem: storage.Filesystem, root: str, check: Callable[[pa.Table], None] = check_rows
) -> Part:
    """The part of a unit, whose rows pass `check`. Raises InvalidData where it is damaged, foreign or a link, and
    FileNotFoundError."""
    path = below(root, part_name(unit_id))
    if outputs.is_link(filesystem, path):
        raise InvalidData("it is a link, which is not followed")
    stored = storage.StoredFile(filesystem, path, int(storage.info(filesystem, path).get("size") or 0))
    file: BinaryIO = io.BytesIO(storage.read(filesystem, path)) if stored.size <= HELD_BYTES else stored.open()
    return Part(file, check)


def measured_in(rows: pa.Table) -> dict[str, float]:
    """What the actor measured on the way, for the summary."""
    told = {name.decode(): value for name, value in (rows.schema.metadata or {}).items()}
    return {name: float(told[name]) for name in MEASURED if name in told}


def remove_unit(unit_id: str, filesystem: storage.Filesystem, root: str) -> None:
    """Takes a unit out of the output. The commits go first: a crash leaves a part that the next run removes."""
    _delete_commits(unit_id, filesystem, root)
    storage.delete(filesystem, below(root, part_name(unit_id)))


def _delete_commits(unit_id: str, filesystem: storage.Filesystem, root: str) -> None:
    for entry in listing.in_folder(filesystem, below(root, COMMITS), f"{unit_id}."):
        if Commit.from_name(entry.name):
            storage.delete(filesystem, below(root, f"{COMMITS}/{entry.name}"))


def _carried_rows(
    unit: Unit, filesystem: storage.Filesystem, root: str, missing: set[tuple[str, float | None]]
) -> Iterator[pa.Table]:
    """Rows of the part that stands whose objects were not listed this time; `missing` is left with those without.

    A part that is not what it should be holds none.
    """
    if not unit.carried:
        return
    try:
        standing = open_part(unit.id, filesystem, root)
    except FileNotFoundError:
        return
    except InvalidData as problem:
        path = storage.canonical(filesystem, below(root, part_name(unit.id)))
        _log.warning("%s: %s; its rows of objects that are no longer listed are gone", path, problem)
        return
    carried = frozenset(unit.carried)
    for table in standing.tables():
        keep = []
        for uri, offset in zip(table.column("uri").to_pylist(), table.column("offset_s").to_pylist(), strict=True):
            key = (uri, offset) if (uri, offset) in carried else (uri, None)
            keep.append(key in carried)
            missing.discard(key)
        yield table.filter(pa.array(keep, pa.bool_()))
