"""Rows to a committed part: the only place that writes transcripts.

A unit is done when its part is there with exactly one commit, and that bears the fingerprint asked for and the version
of the part. So: the unit's commits away, the part in one atomic step, then the new commit. A crash between any two
leaves a whole part, old or new, and a unit that is not done; doing all three again gives the same. A run that was
paused and comes back in the midst of another's commit may leave two commits, or one that is not of the part that
stands: then the unit is not done, and the next run makes it.
"""

import io
import json
import re
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from actors import entries, storage
from actors.cer import character_errors
from actors.schema import PART_SCHEMA
from actors.texts import join
from actors.units import Fingerprint, Unit, digest, printable

COMMITS = "_commits"
MEASURED = ("began", "ended", "busy_seconds", "padded_seconds")
_COMMIT_NAME = re.compile(r"([0-9a-z]+)\.([0-9a-z]+)\.([0-9a-z]+)\.(\d+)r(\d+)e")


def part_name(unit_id: str) -> str:
    return f"part-{unit_id}.parquet"


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


def commit_unit(unit: Unit, rows: pa.Table, filesystem: storage.Filesystem, root: str) -> dict[str, Any]:
    """Commits a unit's rows, of PART_SCHEMA, below `root`, and returns the unit's summary. Safe to repeat."""
    part_path = f"{root}/{part_name(unit.id)}"
    _check_rows(unit, rows)
    measured = measured_in(rows)
    rows = rows.replace_schema_metadata(None)
    carried, is_complete = _carried_rows(unit, filesystem, part_path)
    part = pa.concat_tables([rows, carried]).unify_dictionaries().combine_chunks()
    # Where rows to carry over are gone, the commit bears no fingerprint that is ever asked for: done again when listed.
    fingerprint = unit.fingerprint if is_complete else Fingerprint.incomplete(unit.fingerprint)
    _delete_commits(unit.id, filesystem, root)
    sink = io.BytesIO()
    pq.write_table(part, sink, compression="zstd")
    version = storage.put(filesystem, part_path, sink.getvalue())
    recordings = _recordings(part)
    errors = _errors_by_kind(recordings)
    commit = Commit(unit.id, fingerprint, digest([version]), len(recordings), sum(errors.values()))
    body = json.dumps({"errors": errors}).encode()
    storage.write(filesystem, f"{root}/{COMMITS}/{commit.name}", body)
    return summarise(unit.id, rows) | measured


def measured_in(rows: pa.Table) -> dict[str, float]:
    """What the actor measured on the way, for the summary."""
    told = {name.decode(): value for name, value in (rows.schema.metadata or {}).items()}
    return {name: float(told[name]) for name in MEASURED if name in told}


def remove_unit(unit_id: str, filesystem: storage.Filesystem, root: str) -> None:
    """Takes a unit out of the output. The commits go first: a crash leaves a part that the next run removes."""
    _delete_commits(unit_id, filesystem, root)
    storage.delete(filesystem, f"{root}/{part_name(unit_id)}")


def _delete_commits(unit_id: str, filesystem: storage.Filesystem, root: str) -> None:
    for name in entries.names(filesystem, f"{root}/{COMMITS}", f"{unit_id}."):
        storage.delete(filesystem, f"{root}/{COMMITS}/{name}")


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


def _errors_by_kind(recordings: Iterable[dict[str, Any]]) -> dict[str, int]:
    return dict(Counter(each["error_kind"] for each in recordings if each["error_kind"]))


EXAMPLES = 3  # transcripts and errors of a unit that are shown to a person at the end of a run
LONGEST_EXAMPLE = 300  # characters


def summarise(unit_id: str, rows: pa.Table) -> dict[str, Any]:
    """What the driver wants to know of a unit: counts, hours, character errors, and a few rows to show."""
    recordings = _recordings(rows)
    wrong = [each for each in recordings if each["error_kind"]]
    right = [each for each in recordings if not each["error_kind"]]
    errors, characters = character_errors((each["reference"], each["text"]) for each in right)
    return {
        "unit": unit_id,
        "recordings": len(recordings),
        "segments": rows.num_rows,
        "errors": _errors_by_kind(recordings),
        "audio_seconds": float(sum(_durations(rows))),
        "character_errors": errors,
        "reference_characters": characters,
        "transcripts": [_shortened(each) for each in right[:EXAMPLES]],
        "failures": [_shortened(each) for each in wrong[:EXAMPLES]],
    }


def _shortened(recording: dict[str, Any]) -> dict[str, Any]:
    """For a person to glance at: hours of text would go through the driver otherwise."""
    return {
        name: f"{value[:LONGEST_EXAMPLE]} …" if isinstance(value, str) and len(value) > LONGEST_EXAMPLE else value
        for name, value in recording.items()
    }


def _recordings(rows: pa.Table) -> list[dict[str, Any]]:
    """One dictionary a recording: its first segment's, with the texts of all, and the first error of any."""
    names = ["recording_id", "uri", "member", "segment_index", "reference", "text", "error_kind", "error_detail"]
    recordings = list[dict[str, Any]]()
    for row in rows.select(names).to_pylist():
        if row["segment_index"] == 0:
            recordings.append(row)
            continue
        whole = recordings[-1]
        whole["text"] = join([whole["text"], row["text"]])
        if row["error_kind"] and not whole["error_kind"]:
            whole |= {"error_kind": row["error_kind"], "error_detail": row["error_detail"]}
    return recordings


def _durations(rows: pa.Table) -> Iterable[float]:
    columns = zip(rows.column("segment_index").to_pylist(), rows.column("duration_s").to_pylist(), strict=True)
    return (duration for segment, duration in columns if segment == 0 and duration is not None)
