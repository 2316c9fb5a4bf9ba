"""Rows to a committed part: the only place that writes transcripts.

A unit is done when its part is there with exactly one commit, and that bears the fingerprint asked for. So: the unit's
commits away, the part in one atomic step, then the new commit. A crash between any two leaves a whole part, old or new,
and a unit that is not done; doing all three again gives the same.
"""

import io
import json
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from actors import storage
from actors.cer import character_errors
from actors.schema import PART_SCHEMA
from actors.units import Unit, digest, printable

COMMITS = "_commits"


def part_name(unit_id: str) -> str:
    return f"part-{unit_id}.parquet"


@dataclass(frozen=True)
class Commit:
    """What a commit's name says: `<unit>.<fingerprint>.<r>r<e>e`, r recordings and e of them with an error."""

    unit: str
    fingerprint: str
    recordings: int
    errors: int

    @property
    def name(self) -> str:
        return f"{self.unit}.{self.fingerprint}.{self.recordings}r{self.errors}e"

    @classmethod
    def from_name(cls, name: str) -> "Commit | None":
        """None where a name is not a commit's: a stranger's file in the folder is passed over."""
        parts = name.split(".")
        if len(parts) != 3 or not parts[2].endswith("e"):
            return None
        recordings, _, errors = parts[2][:-1].partition("r")
        return cls(parts[0], parts[1], int(recordings), int(errors)) if (recordings + errors).isdigit() else None


def commit_unit(unit: Unit, rows: pa.Table, filesystem: storage.Filesystem, root: str) -> dict[str, Any]:
    """Commits a unit's rows, of PART_SCHEMA, below `root`, and returns the unit's summary. Safe to repeat."""
    part_path = f"{root}/{part_name(unit.id)}"
    _check_rows(unit, rows)
    measured = {name.decode(): float(value) for name, value in (rows.schema.metadata or {}).items()}
    rows = rows.replace_schema_metadata(None)
    carried, is_complete = _carried_rows(unit, filesystem, part_path)
    part = pa.concat_tables([rows, carried]).unify_dictionaries().combine_chunks()
    # Where rows to carry over are gone, the commit bears no fingerprint that is ever asked for: done again when listed.
    fingerprint = unit.fingerprint if is_complete else digest(["incomplete", unit.fingerprint])
    commit = Commit(unit.id, fingerprint, *_count(part))
    for old in storage.names(filesystem, f"{root}/{COMMITS}", f"{unit.id}."):
        storage.delete(filesystem, f"{root}/{COMMITS}/{old}")
    sink = io.BytesIO()
    pq.write_table(part, sink, compression="zstd")
    storage.write(filesystem, part_path, sink.getvalue())
    body = json.dumps({"errors": _errors_by_kind(part)}).encode()
    storage.write(filesystem, f"{root}/{COMMITS}/{commit.name}", body)
    return summarise(unit.id, rows) | measured


def _check_rows(unit: Unit, rows: pa.Table) -> None:
    """Raises RuntimeError where an object of the unit has no row: nothing may be lost on the way, not even by a bug."""
    absent = {printable(each.uri) for each in unit.objects}.difference(rows.column("uri").to_pylist())
    if absent:
        raise RuntimeError(f"{len(absent)} objects of unit {unit.id} have no row, {min(absent)} among them")


def _carried_rows(unit: Unit, filesystem: storage.Filesystem, part_path: str) -> tuple[pa.Table, bool]:
    """Rows of the part that stands whose objects were not listed this time, and whether all of these have some."""
    if not unit.carried:
        return PART_SCHEMA.empty_table(), True
    try:
        standing = pq.read_table(io.BytesIO(storage.read(filesystem, part_path)), schema=PART_SCHEMA)
    except FileNotFoundError:
        return PART_SCHEMA.empty_table(), False
    carried, seen = set(unit.carried), set[tuple[str, float | None]]()
    keep = []
    for uri, offset in zip(standing.column("uri").to_pylist(), standing.column("offset_s").to_pylist(), strict=True):
        key = (uri, offset) if (uri, offset) in carried else (uri, None)
        keep.append(key in carried)
        seen.add(key)
    return standing.filter(pa.array(keep, pa.bool_())), carried <= seen


def _count(part: pa.Table) -> tuple[int, int]:
    """Recordings of a part, and those of them with an error. Every recording has one segment 0."""
    first = part.filter(pc.equal(part.column("segment_index"), 0))
    return first.num_rows, first.num_rows - first.column("error_kind").null_count


def _errors_by_kind(part: pa.Table) -> dict[str, int]:
    return dict(Counter(kind for kind in part.column("error_kind").to_pylist() if kind))


EXAMPLES = 3  # transcripts and errors of a unit that are shown to a person at the end of a run


def summarise(unit_id: str, rows: pa.Table) -> dict[str, Any]:
    """What the driver wants to know of a unit: counts, hours, character errors, and a few rows to show."""
    recordings, _ = _count(rows)
    shown = rows.select(
        ["recording_id", "uri", "member", "reference", "text", "error_kind", "error_detail"]
    ).to_pylist()
    wrong = [row for row in shown if row["error_kind"]]
    right = [row for row in shown if row["text"] is not None]
    errors, characters = character_errors((row["reference"], row["text"]) for row in right)
    return {
        "unit": unit_id,
        "recordings": recordings,
        "segments": rows.num_rows,
        "errors": _errors_by_kind(rows),
        "audio_seconds": float(sum(_durations(rows))),
        "character_errors": errors,
        "reference_characters": characters,
        "transcripts": right[:EXAMPLES],
        "failures": wrong[:EXAMPLES],
    }


def _durations(rows: pa.Table) -> Iterable[float]:
    columns = zip(rows.column("segment_index").to_pylist(), rows.column("duration_s").to_pylist(), strict=True)
    return (duration for segment, duration in columns if segment == 0 and duration is not None)
