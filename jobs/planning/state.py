"""What earlier runs left below an output, and the plan that each run adds to it.

A run writes its plan before any work, under the next free number, by a conditional create: of two runs at once, the one
that loses the number reads again and plans again. Where plans disagree about an object, the highest number holds. An
object stays with the unit that it was first planned in, also while it is removed.

Others may have put files there too. A name that is not the job's is passed over; a plan that is not what it should be
is told by name, for without it nobody knows what is done.
"""

import io
import json
import re
import time
from collections import defaultdict
from collections.abc import Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any

import pyarrow as pa

from actors.foreign.arrow import read_arrow
from actors.foreign.errors import InvalidData, SchemaMismatch
from actors.foreign.plain_json import parse_object
from actors.parts.commit import COMMITS, Commit, unit_of_part
from actors.parts.kept import PIECES, is_piece
from actors.schema import UsageError
from actors.storage import files as storage
from actors.storage import listing, outputs
from actors.storage.outputs import below
from actors.units import HEX, digest
from jobs.planning.run_files import LAST_RUN, PLAN, RUNS, run_files

READS_AT_ONCE = 16
ROWS_AT_ONCE = 50_000  # of a plan, which may be of millions
MAX_FILE_BYTES = 1_000_000_000  # bytes of a plan; a million objects have 23 MB
#: What plans are believed to hold, however small they are: objects, and bytes of rows; a million have 200 MB. Beyond,
#: there are as many bytes stored to an object, and as many of rows to a byte stored: a few kB cannot fill the memory.
MAX_OBJECTS, STORED_AN_OBJECT = 4_000_000, 8
MAX_EXPANDED_BYTES, EXPANDED_A_BYTE = 800_000_000, 30
MAX_RECIPES_BYTES = 1_000_000  # bytes of JSON in a plan; a recipe has 1 kB
MAX_BODY_BYTES = 100_000  # bytes of a commit
PLANS_KEPT = 30  # a plan that finds more of them takes all that they know into itself

_TEMPORARY = re.compile(r"\.(.+)\.[0-9a-f]{32}\.tmp")  # as storage names a file while it is written on a local disk

_PLAN = pa.schema(
    [
        ("unit", pa.string()),
        ("key", pa.string()),
        ("uri", pa.string()),
        ("offset_s", pa.float64()),
        ("version", pa.string()),
        ("removed", pa.bool_()),
    ]
)


@dataclass(frozen=True, slots=True)
class PlannedObject:
    """An object as a plan knows it. One that is `removed` keeps its unit, for the day that it comes back."""

    unit: str
    uri: str
    offset_s: float | None
    version: str
    removed: bool = False


@dataclass
class State:
    """What earlier runs left below an output."""

    objects: dict[str, PlannedObject] = field(default_factory=dict)  # by key
    commits: dict[str, list[Commit]] = field(default_factory=dict)  # by unit
    parts: dict[str, str] = field(default_factory=dict)  # unit -> digest of its part's version
    recipes: dict[str, dict[str, Any]] = field(default_factory=dict)  # recipe's digest -> its settings
    plans: list[str] = field(default_factory=list)  # paths
    next_number: int = 1
    size: int = 0  # of what plans say of the objects, in bytes, or more
    stored: int = 0  # bytes of the plans

    def members(self) -> dict[str, dict[str, PlannedObject]]:
        """The objects of each unit by key."""
        members = defaultdict[str, dict[str, PlannedObject]](dict)
        for key, known in self.objects.items():
            members[known.unit][key] = known
        return members

    def commit_of(self, unit: str) -> Commit | None:
        """The commit of a unit's part, where there is exactly one and it speaks of the part that stands."""
        commits = self.commits.get(unit, ())
        return commits[0] if len(commits) == 1 and commits[0].part == self.parts.get(unit) else None


def load_state(filesystem: storage.Filesystem, root: str) -> State:
    """Reads plans, names of commits, and names and versions of parts. Raises UsageError naming a broken plan, and a
    folder of the state that is a link, or none."""
    outputs.check_folders(filesystem, root)
    state = _read_plans(filesystem, root)
    while state is None:
        state = _read_plans(filesystem, root)
    state.commits = load_commits(filesystem, root)
    for entry in listing.in_folder(filesystem, root, "part-", is_hashed=True, may_be_link=True):
        if unit := unit_of_part(entry.name):
            state.parts[unit] = digest([entry.version])
    return state


def _read_plans(filesystem: storage.Filesystem, root: str) -> State | None:
    """All plans in their order; None where one went between listing and reading: a newer one has taken it in."""
    state = State()
    for file in run_files(filesystem, root):
        if file.name == PLAN:
            try:
                _read_plan(filesystem, file.path, state)
            except FileNotFoundError:
                return None
            except (InvalidData, IsADirectoryError) as problem:
                where = storage.canonical(filesystem, file.path)
                why = f"is not a plan: {problem}; put back what it was"
                if isinstance(problem, SchemaMismatch):
                    why = "is of another version of this job"
                raise UsageError(f"output.uri: {where} {why}, or give a new output.uri") from None
            state.next_number = file.run + 1
    if state.next_number > LAST_RUN:
        raise UsageError(
            f"output.uri: {storage.canonical(filesystem, root)} holds run {LAST_RUN}, the last that can be"
        )
    return state


def _read_plan(filesystem: storage.Filesystem, path: str, state: State) -> None:
    """Takes a plan into the state. Raises InvalidData."""
    data = outputs.read(filesystem, path, MAX_FILE_BYTES)
    state.stored += len(data)
    table = read_arrow(data, _PLAN, _max_bytes(state.stored))
    wanting = [name for name in _PLAN.names if name != "offset_s" and table.column(name).null_count]
    if wanting:
        raise InvalidData(f"its column {wanting[0]} has nulls")
    for unit in table.column("unit").unique().to_pylist():
        if not re.fullmatch(HEX, unit):
            raise InvalidData(f"{unit[:80]!r} is no unit's id, which is hexadecimal")
    recipes = (table.schema.metadata or {}).get(b"recipes", b"{}")
    if len(recipes) > MAX_RECIPES_BYTES:
        raise InvalidData(f"its recipes have more than {MAX_RECIPES_BYTES:,} bytes")
    for digest_, settings in parse_object(recipes).items():
        if not isinstance(settings, dict):
            raise InvalidData("a recipe in it holds no settings")
        state.recipes[digest_] = settings
    state.plans.append(path)
    units = dict[str, str]()  # one string for all objects of a unit
    for batch in table.to_batches(max_chunksize=ROWS_AT_ONCE):
        columns = [batch.column(name).to_pylist() for name in ("key", "unit", "uri", "offset_s", "version", "removed")]
        for key, unit, uri, *known in zip(*columns, strict=True):
            state.objects[key] = PlannedObject(units.setdefault(unit, unit), key if uri == key else uri, *known)
        if len(state.objects) > (most := _max_objects(state.stored)):
            raise InvalidData(f"with it there are more than {most:,} objects, in {state.stored:,} bytes of plans")
    state.size += table.nbytes
    if state.size > (most := _max_bytes(state.stored)):  # of which much may be of objects that were known before
        state.size = sum(len(key) + len(each.uri) + len(each.version) for key, each in state.objects.items())
        if state.size > most:
            raise InvalidData(f"with it the objects have more than {most:,} bytes, in {state.stored:,} bytes of plans")


def _max_objects(stored: int) -> int:
    """How many objects plans of so many bytes are believed to hold."""
    return max(MAX_OBJECTS, stored // STORED_AN_OBJECT)


def _max_bytes(stored: int) -> int:
    """How many bytes of rows plans of so many bytes are believed to hold."""
    return max(MAX_EXPANDED_BYTES, stored * EXPANDED_A_BYTE)


def load_commits(filesystem: storage.Filesystem, root: str) -> dict[str, list[Commit]]:
    """The commits below an output by unit, read off their names."""
    commits = defaultdict[str, list[Commit]](list)
    for entry in listing.in_folder(filesystem, below(root, COMMITS), is_hashed=True):
        if commit := Commit.from_name(entry.name):
            commits[commit.unit].append(commit)
    return commits


def units_with(kinds: frozenset[str], state: State, output: tuple[storage.Filesystem, str]) -> frozenset[str]:
    """The units whose commits show errors of these kinds; only commits that count errors are opened."""
    filesystem, root = output
    wrong = [commit for each in state.commits.values() for commit in each if kinds and commit.errors]

    def shows(commit: Commit) -> bool:
        try:
            body = parse_object(outputs.read(filesystem, below(root, f"{COMMITS}/{commit.name}"), MAX_BODY_BYTES))
        except (FileNotFoundError, InvalidData):
            return False  # gone meanwhile, for another run is at work on it; or it tells of none
        errors = body.get("errors")
        return isinstance(errors, dict) and not kinds.isdisjoint(errors)

    with ThreadPoolExecutor(READS_AT_ONCE) as pool:
        return frozenset(commit.unit for commit, does in zip(wrong, pool.map(shows, wrong), strict=True) if does)


def sweep(filesystem: storage.Filesystem, root: str, older_than_s: float) -> None:
    """Removes half-written temporary files that killed processes left on a local disk; elsewhere there are none."""
    if not storage.is_local(filesystem):
        return
    for folder, is_own in (
        (root, unit_of_part),
        (below(root, COMMITS), Commit.from_name),
        (below(root, PIECES), is_piece),
    ):
        for entry in listing.in_folder(filesystem, folder, ".", may_be_link=folder == root):
            match = _TEMPORARY.fullmatch(entry.name)
            if match and is_own(match[1]) and time.time_ns() - int(entry.version) > older_than_s * 1e9:
                storage.delete(filesystem, below(folder, entry.name))


def write_plan(
    filesystem: storage.Filesystem,
    root: str,
    state: State,
    objects: Mapping[str, PlannedObject],
    recipe: tuple[str, Mapping[str, Any]],
    run_id: str,
) -> str | None:
    """Writes a plan under the next number. Returns the run's folder, or None where another run took the number.

    `objects` are those that the run plans otherwise than the state knows them, `recipe` its digest and settings. Plans
    that grew many are taken into this one, and away.
    """
    compacts = len(state.plans) >= PLANS_KEPT
    rows = {**state.objects, **objects} if compacts else objects
    recipes = {**(state.recipes if compacts else {}), recipe[0]: recipe[1]}
    metadata = {"run_id": run_id, "recipes": json.dumps(recipes, sort_keys=True)}
    table = _table(rows, metadata)
    data = _as_file(table)
    stored = len(data) if compacts else state.stored + len(data)
    count = len(state.objects) + sum(key not in state.objects for key in objects)
    if count > _max_objects(stored) or table.nbytes > _max_bytes(stored):
        raise UsageError(
            f"input.uri: the output would have {count:,} objects, which the next run would not believe of plans of"
            f" {stored:,} bytes; give each part of them an output of its own"
        )
    folder = below(root, f"{RUNS}/{state.next_number:06d}")
    outputs.check_folder(filesystem, folder)
    if not storage.create(filesystem, f"{folder}/{PLAN}", data):
        return None
    for path in state.plans if compacts else ():
        storage.delete(filesystem, path)
    return folder


def _table(objects: Mapping[str, PlannedObject], metadata: Mapping[str, str]) -> pa.Table:
    known = objects.values()
    columns: list[Iterable[Any]] = [(each.unit for each in known), objects, (each.uri for each in known)]
    columns += [(each.offset_s for each in known), (each.version for each in known), (each.removed for each in known)]
    arrays = [pa.array(list(column), field.type) for column, field in zip(columns, _PLAN, strict=True)]
    return pa.Table.from_arrays(arrays, schema=_PLAN.with_metadata(metadata))


def _as_file(table: pa.Table) -> bytes:
    sink = io.BytesIO()
    with pa.ipc.new_file(sink, table.schema, options=pa.ipc.IpcWriteOptions(compression="zstd")) as writer:
        writer.write_table(table)
    return sink.getvalue()
