"""What is listed, less what is done, into units: the plan of a run.

All state lies below the output, and no part is opened to plan. Each run writes its plan before any work, under the next
free number, by a conditional create: of two runs at once, the one that loses the number reads again and plans again.
Where plans disagree about an object, the highest number holds.
"""

import io
import json
import uuid
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

import pyarrow as pa

from actors import storage
from actors.parts import COMMITS, Commit
from actors.schema import UsageError
from actors.units import SourceObject, Unit, digest, printable
from jobs.listing import Listing

RUNS = "_runs"
RECIPE = "1"  # part of every fingerprint; raised when a change of this code changes what a part holds
TRIES = 20  # to win a plan's number against other runs

#: Seconds of audio in a byte, by suffix, to size units: stored at 16 kHz mono 16 bit, or as speech is usually coded.
_SECONDS_PER_BYTE = {
    **dict.fromkeys((".wav", ".wave", ".w64", ".aif", ".aiff", ".au", ".snd", ".caf", ".sph"), 1 / 32_000),
    **dict.fromkeys((".mp3", ".m4a", ".mp4", ".aac", ".wma", ".ogg", ".webm"), 1 / 8_000),
    **dict.fromkeys((".opus", ".amr"), 1 / 3_000),
}
_SECONDS_PER_BYTE_ELSE = 1 / 16_000  # FLAC, and shards, which mostly hold it

_PLAN = pa.schema(
    [
        ("unit", pa.string()),
        ("fingerprint", pa.string()),
        ("pieces", pa.int32()),
        ("key", pa.string()),
        ("uri", pa.string()),
        ("offset_s", pa.float64()),
        ("etag", pa.string()),
        ("size", pa.int64()),
        ("version", pa.string()),
    ]
)


@dataclass(frozen=True)
class Known:
    """An object as an earlier plan knew it."""

    uri: str
    offset_s: float | None
    version: str


@dataclass
class State:
    """What earlier runs left below an output."""

    next_number: int = 1
    unit_of: dict[str, str] = field(default_factory=dict)  # object key -> unit
    members: dict[str, dict[str, Known]] = field(default_factory=lambda: defaultdict(dict))  # unit -> key -> object
    commits: dict[str, list[Commit]] = field(default_factory=dict)  # unit -> its commits
    parts: set[str] = field(default_factory=set)  # units that have a part

    def is_done(self, unit: str, fingerprint: str) -> bool:
        commits = self.commits.get(unit, [])
        return unit in self.parts and len(commits) == 1 and commits[0].fingerprint == fingerprint


@dataclass(frozen=True)
class Plan:
    """The units to do now: `new` ones, and those to do `again`; beside them the units that are `done` already."""

    new: list[Unit]
    again: list[Unit]
    done: list[str]
    state: State

    @property
    def units(self) -> list[Unit]:
        return self.again + self.new


def load_state(filesystem: storage.Filesystem, root: str) -> State:
    """Reads plans, names of commits and names of parts below an output. Raises UsageError naming a broken plan."""
    state = State()
    for path in sorted(storage.find(filesystem, f"{root}/{RUNS}")):
        if not path.endswith("/plan.arrow"):
            continue
        state.next_number = max(state.next_number, int(path.split("/")[-2]) + 1)
        try:
            rows = pa.ipc.open_file(io.BytesIO(storage.read(filesystem, path))).read_all().to_pylist()
        except pa.ArrowException as problem:
            raise UsageError(f"{storage.canonical(filesystem, path)} is not a plan: {problem}") from None
        for row in rows:
            before = state.unit_of.get(row["key"])
            if before is not None and before != row["unit"]:
                state.members[before].pop(row["key"])
            state.unit_of[row["key"]] = row["unit"]
            state.members[row["unit"]][row["key"]] = Known(row["uri"], row["offset_s"], row["version"])
    state.commits = load_commits(filesystem, root)
    for name in storage.names(filesystem, root, "part-"):
        state.parts.add(name.removeprefix("part-").removesuffix(".parquet"))
    return state


def load_commits(filesystem: storage.Filesystem, root: str) -> dict[str, list[Commit]]:
    """The commits below an output by unit, read off their names."""
    commits = defaultdict[str, list[Commit]](list)
    for name in storage.names(filesystem, f"{root}/{COMMITS}"):
        if commit := Commit.from_name(name):
            commits[commit.unit].append(commit)
    return commits


def make_plan(listing: Listing, state: State, settings: Mapping[str, Any], target_seconds: float) -> Plan:
    """The set difference. `settings` are all that can change a row, the model's SHA-256 among them."""
    listed = {each.key: each for each in listing.objects}
    recipe = digest([RECIPE, json.dumps(settings, sort_keys=True)])
    again, done = list[Unit](), list[str]()
    touched = dict.fromkeys(state.unit_of[key] for key in listed if key in state.unit_of)
    for unit_id in touched:
        members = state.members[unit_id]
        versions = {key: listed[key].version if key in listed else known.version for key, known in members.items()}
        fingerprint = _fingerprint(recipe, versions)
        if state.is_done(unit_id, fingerprint):
            done.append(unit_id)
        else:
            objects = tuple(each for key, each in listed.items() if key in members)
            carried = tuple((known.uri, known.offset_s) for key, known in members.items() if key not in listed)
            again.append(Unit(unit_id, fingerprint, objects, carried))
    fresh = [each for key, each in listed.items() if key not in state.unit_of]
    new = []
    for group in _grouped(fresh, target_seconds):
        fingerprint = _fingerprint(recipe, {each.key: each.version for each in group})
        new.append(Unit(digest(each.key for each in group), fingerprint, tuple(group)))
    return Plan(new, again, done, state)


def _fingerprint(recipe: str, versions: Mapping[str, str]) -> str:
    return digest([recipe, *(f"{key}\n{version}" for key, version in sorted(versions.items()))])


def _grouped(objects: list[SourceObject], target_seconds: float) -> list[list[SourceObject]]:
    """Objects in their order, cut into groups of about the target; one that is larger is alone."""
    groups, filled = list[list[SourceObject]](), 0.0
    for each in objects:
        seconds = estimated_seconds(each)
        if not groups or filled + seconds > target_seconds:
            groups.append([])
            filled = 0.0
        groups[-1].append(each)
        filled += seconds
    return groups


def estimated_seconds(source: SourceObject) -> float:
    """About how much audio an object holds, by its manifest's word or its size and suffix."""
    if source.format == "manifest":
        duration = json.loads(source.lines or "{}").get("duration")
        if duration is not None:
            return float(duration)
    suffix = "." + source.uri.rsplit(".", 1)[-1].lower()
    return source.size * _SECONDS_PER_BYTE.get(suffix, _SECONDS_PER_BYTE_ELSE)


def claim(
    filesystem: storage.Filesystem, root: str, plan: Plan, settings: Mapping[str, Any], run_id: str
) -> str | None:
    """Writes a plan under the next number. Returns the run's folder, or None where another run took the number."""
    rows = [
        {
            "unit": unit.id,
            "fingerprint": unit.fingerprint,
            "pieces": 1,
            "key": each.key,
            "uri": printable(each.uri),
            "offset_s": offset_of(each),
            "etag": each.etag,
            "size": each.size,
            "version": each.version,
        }
        for unit in plan.units
        for each in unit.objects
    ]
    metadata = {"run_id": run_id, "settings": json.dumps(settings, sort_keys=True)}
    table = pa.Table.from_pylist(rows, schema=_PLAN.with_metadata(metadata))
    sink = io.BytesIO()
    with pa.ipc.new_file(sink, table.schema, options=pa.ipc.IpcWriteOptions(compression="zstd")) as writer:
        writer.write_table(table)
    folder = f"{root}/{RUNS}/{plan.state.next_number:06d}"
    return folder if storage.create(filesystem, f"{folder}/plan.arrow", sink.getvalue()) else None


def offset_of(source: SourceObject) -> float | None:
    """Where in its file an object begins, in seconds, as its rows say it; None for a whole file."""
    if source.format != "manifest" or source.refusal:
        return None
    return float(json.loads(source.lines or "{}").get("offset") or 0.0)


def new_run_id() -> str:
    return f"{datetime.now(UTC):%Y%m%dT%H%M%SZ}-{uuid.uuid4().hex[:6]}"
