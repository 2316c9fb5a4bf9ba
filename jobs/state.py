"""What earlier runs left below an output, and the plan that each run adds to it.

A run writes its plan before any work, under the next free number, by a conditional create: of two runs at once, the one
that loses the number reads again and plans again. Where plans disagree about an object, the highest number holds. An
object stays with the unit that it was first planned in, also while it is removed.
"""

import io
import json
import time
from collections import defaultdict
from collections.abc import Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any

import pyarrow as pa

from actors import entries, storage
from actors.parts import COMMITS, Commit
from actors.schema import UsageError
from actors.units import digest

RUNS = "_runs"
READS_AT_ONCE = 16
ROWS_AT_ONCE = 50_000  # of a plan, which may be of millions
PLANS_KEPT = 30  # a plan that finds more of them takes all that they know into itself

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
class Known:
    """An object as a plan knows it. One that is `removed` keeps its unit, for the day that it comes back."""

    unit: str
    uri: str
    offset_s: float | None
    version: str
    removed: bool = False


@dataclass
class State:
    """What earlier runs left below an output."""

    objects: dict[str, Known] = field(default_factory=dict)  # by key
    commits: dict[str, list[Commit]] = field(default_factory=dict)  # by unit
    parts: dict[str, str] = field(default_factory=dict)  # unit -> digest of its part's version
    recipes: dict[str, dict[str, Any]] = field(default_factory=dict)  # recipe's digest -> its settings
    plans: list[str] = field(default_factory=list)  # paths
    next_number: int = 1

    def members(self) -> dict[str, dict[str, Known]]:
        """The objects of each unit by key."""
        members = defaultdict[str, dict[str, Known]](dict)
        for key, known in self.objects.items():
            members[known.unit][key] = known
        return members

    def commit_of(self, unit: str) -> Commit | None:
        """The commit of a unit's part, where there is exactly one and it speaks of the part that stands."""
        commits = self.commits.get(unit, ())
        return commits[0] if len(commits) == 1 and commits[0].part == self.parts.get(unit) else None


def load_state(filesystem: storage.Filesystem, root: str) -> State:
    """Reads plans, names of commits, and names and versions of parts. Raises UsageError naming a broken plan."""
    state = _read_plans(filesystem, root)
    while state is None:
        state = _read_plans(filesystem, root)
    state.commits = load_commits(filesystem, root)
    for entry in entries.in_folder(filesystem, root, "part-", is_hashed=True, may_be_link=True):
        unit = entry.name.removeprefix("part-").removesuffix(".parquet")
        state.parts[unit] = digest([entry.version])
    return state


def _read_plans(filesystem: storage.Filesystem, root: str) -> State | None:
    """All plans in their order; None where one went between listing and reading: a newer one has taken it in."""
    state = State()
    for path in sorted(each.path for each in entries.below(filesystem, f"{root}/{RUNS}")):
        if path.endswith("/plan.arrow"):
            state.next_number = int(path.split("/")[-2]) + 1
            try:
                _read_plan(filesystem, path, state)
            except FileNotFoundError:
                return None
    return state


def _read_plan(filesystem: storage.Filesystem, path: str, state: State) -> None:
    try:
        table = pa.ipc.open_file(io.BytesIO(storage.read(filesystem, path))).read_all()
    except pa.ArrowException as problem:
        raise UsageError(f"{storage.canonical(filesystem, path)} is not a plan: {problem}") from None
    if not table.schema.equals(_PLAN):
        where = storage.canonical(filesystem, path)
        raise UsageError(f"output.uri: {where} is of another version of this job; give a new output.uri")
    state.plans.append(path)
    state.recipes |= json.loads((table.schema.metadata or {}).get(b"recipes", b"{}"))
    units = dict[str, str]()  # one string for all objects of a unit
    for batch in table.to_batches(max_chunksize=ROWS_AT_ONCE):
        columns = [batch.column(name).to_pylist() for name in ("key", "unit", "uri", "offset_s", "version", "removed")]
        for key, unit, uri, *known in zip(*columns, strict=True):
            state.objects[key] = Known(units.setdefault(unit, unit), key if uri == key else uri, *known)


def load_commits(filesystem: storage.Filesystem, root: str) -> dict[str, list[Commit]]:
    """The commits below an output by unit, read off their names."""
    commits = defaultdict[str, list[Commit]](list)
    for name in entries.names(filesystem, f"{root}/{COMMITS}", is_hashed=True):
        if commit := Commit.from_name(name):
            commits[commit.unit].append(commit)
    return commits


def units_with(kinds: frozenset[str], state: State, output: tuple[storage.Filesystem, str]) -> frozenset[str]:
    """The units whose commits show errors of these kinds; only commits that count errors are opened."""
    filesystem, root = output
    wrong = [commit for each in state.commits.values() for commit in each if kinds and commit.errors]

    def shows(commit: Commit) -> bool:
        try:
            body = json.loads(storage.read(filesystem, f"{root}/{COMMITS}/{commit.name}"))
        except (FileNotFoundError, ValueError):
            return False  # gone meanwhile: another run is at work on it
        return bool(kinds & set(body["errors"]))

    with ThreadPoolExecutor(READS_AT_ONCE) as pool:
        return frozenset(commit.unit for commit, does in zip(wrong, pool.map(shows, wrong), strict=True) if does)


def sweep(filesystem: storage.Filesystem, root: str, older_than_s: float) -> None:
    """Removes half-written temporary files that killed processes left on a local disk; elsewhere there are none."""
    if storage.is_local(filesystem):
        for folder in (root, f"{root}/{COMMITS}"):
            for entry in entries.in_folder(filesystem, folder, ".", may_be_link=folder == root):
                if entry.name.endswith(".tmp") and time.time_ns() - int(entry.version) > older_than_s * 1e9:
                    storage.delete(filesystem, entry.path)


def write_plan(
    filesystem: storage.Filesystem,
    root: str,
    state: State,
    objects: Mapping[str, Known],
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
    folder = f"{root}/{RUNS}/{state.next_number:06d}"
    if not storage.create(filesystem, f"{folder}/plan.arrow", _as_file(rows, metadata)):
        return None
    for path in state.plans if compacts else ():
        storage.delete(filesystem, path)
    return folder


def _as_file(objects: Mapping[str, Known], metadata: Mapping[str, str]) -> bytes:
    known = objects.values()
    columns: list[Iterable[Any]] = [(each.unit for each in known), objects, (each.uri for each in known)]
    columns += [(each.offset_s for each in known), (each.version for each in known), (each.removed for each in known)]
    arrays = [pa.array(list(column), field.type) for column, field in zip(columns, _PLAN, strict=True)]
    table = pa.Table.from_arrays(arrays, schema=_PLAN.with_metadata(metadata))
    sink = io.BytesIO()
    with pa.ipc.new_file(sink, table.schema, options=pa.ipc.IpcWriteOptions(compression="zstd")) as writer:
        writer.write_table(table)
    return sink.getvalue()
