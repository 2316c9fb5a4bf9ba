"""Reads and writes plans: the objects that each run planned, and their units.

A run writes its plan before any work, under the next free number, by a conditional create: of two concurrent runs, the
one that loses the number reads the state and plans again. So does one that finds a higher number, since a later run may
have taken over the plan that had this one. If plans disagree about an object, the highest number wins. An object
remains in the unit that it was first planned in, even while it is removed.
"""

import io
import json
import re
from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import pyarrow as pa
import pyarrow.compute as pc

from actors import VERSION
from actors.foreign.arrow import read_arrow
from actors.foreign.errors import InvalidData, SchemaMismatch
from actors.foreign.plain_json import parse_object
from actors.parts.keys import ObjectKey
from actors.parts.part import METADATA
from actors.parts.stored import Commit
from actors.schema import SCHEMA_VERSION, UsageError
from actors.storage import outputs
from actors.storage.place import Place
from actors.units import ALL, HEX, Selection, Version
from jobs.planning.run_files import PLAN, RUNS, is_overtaken

ROWS_AT_ONCE = 50_000  # of a plan, which may have millions
MAX_FILE_BYTES = 1_000_000_000  # of a plan; a million objects take 23 MB
#: Limits of what plans may hold, so that a few kB cannot fill the memory. Plans of any size may hold this many objects
#: and bytes of rows (a million objects take 200 MB); beyond that, an object needs this many stored bytes, and a stored
#: byte may expand to this many bytes of rows.
MAX_OBJECTS, STORED_BYTES_PER_OBJECT = 4_000_000, 8
MAX_EXPANDED_BYTES, EXPANDED_BYTES_PER_STORED = 800_000_000, 30
MAX_RECIPES_BYTES = 1_000_000  # of JSON in a plan; a recipe has 1 kB
MAX_PLANS = 30  # a plan that finds as many takes over their objects and replaces them

_PLAN = pa.schema(
    [
        ("unit", pa.string()),
        ("key", pa.string()),
        ("uri", pa.string()),
        ("offset_s", pa.float64()),
        ("stretch_s", pa.float64()),
        ("channel", pa.int16()),
        ("listed_by", pa.dictionary(pa.int32(), pa.string())),
        ("version", pa.string()),
        ("companions", pa.string()),
        ("removed", pa.bool_()),
    ]
)
_NULLABLE = (*Selection._fields, "listed_by")


class PlannedObject(NamedTuple):
    """An object as recorded in a plan, with what it selects of its file, and the URI of the manifest that it is an
    entry of, if it is; and its version, in the columns `version`, of what is heard, and `companions`. A `removed` one
    keeps its unit, in case it comes back."""

    unit: str
    uri: str
    selection: Selection
    listed_by: str | None
    version: Version
    removed: bool = False

    @property
    def object_key(self) -> ObjectKey:
        """The key that its rows have."""
        return self.uri, self.selection


@dataclass
class State:
    """The state of an output: its plans, commits, parts and kept emissions."""

    objects: dict[str, PlannedObject] = field(default_factory=dict)  # by key
    commits: dict[str, list[Commit]] = field(default_factory=dict)  # by unit
    parts: dict[str, str] = field(default_factory=dict)  # unit -> digest of its part's version
    emissions: set[str] = field(default_factory=set)  # names of their files
    recipes: dict[str, dict[str, Any]] = field(default_factory=dict)  # recipe's digest -> its settings
    plans: list[Place] = field(default_factory=list)
    next_number: int = 1
    size: int = 0  # bytes of the plans' rows in memory, or more
    stored: int = 0  # bytes of the plan files

    def members(self) -> dict[str, dict[str, PlannedObject]]:
        """The objects of each unit by key."""
        members = defaultdict[str, dict[str, PlannedObject]](dict)
        for key, known in self.objects.items():
            members[known.unit][key] = known
        return members

    def commit_of(self, unit: str) -> Commit | None:
        """The unit's commit, if there is exactly one and it belongs to the part that exists."""
        commits = self.commits.get(unit, ())
        return commits[0] if len(commits) == 1 and commits[0].part == self.parts.get(unit) else None


def read_plan(file: Place, state: State) -> None:
    """Adds a plan to the state. Raises InvalidData if it is damaged."""
    data = outputs.read(file, MAX_FILE_BYTES)
    state.stored += len(data)
    table = read_arrow(data, _PLAN, _max_bytes(state.stored), _check_version)
    with_nulls = [name for name in _PLAN.names if name not in _NULLABLE and table.column(name).null_count]
    if with_nulls:
        raise InvalidData(f"its column {with_nulls[0]} has nulls")
    if any(pc.all(pc.is_finite(table.column(name))).as_py() is False for name in ("offset_s", "stretch_s")):
        raise InvalidData("it has offsets or stretches that are not finite")
    for unit in table.column("unit").unique().to_pylist():
        if not re.fullmatch(HEX, unit):
            raise InvalidData(f"{unit[:80]!r} is not a unit id, which is hexadecimal")
    recipes = (table.schema.metadata or {}).get(b"recipes", b"{}")
    if len(recipes) > MAX_RECIPES_BYTES:
        raise InvalidData(f"its recipes have more than {MAX_RECIPES_BYTES:,} bytes")
    for digest_, settings in parse_object(recipes).items():
        if not isinstance(settings, dict):
            raise InvalidData("one of its recipes is not an object of settings")
        state.recipes[digest_] = settings
    state.plans.append(file)
    units = dict[str, str]()  # texts that many objects have in common, to save memory
    for batch in table.to_batches(max_chunksize=ROWS_AT_ONCE):
        columns = [batch.column(name).to_pylist() for name in ("key", "unit", "uri", "removed")]
        versions = map(Version, *(batch.column(name).to_pylist() for name in ("version", "companions")))
        selections = map(Selection, *(batch.column(name).to_pylist() for name in Selection._fields))
        lists = batch.column("listed_by").dictionary.to_pylist()  # which may be long, and are shared by their objects
        listed_by = (None if at is None else lists[at] for at in batch.column("listed_by").indices.to_pylist())
        for selection, of_list, version, key, unit, uri, removed in zip(
            selections, listed_by, versions, *columns, strict=True
        ):
            unit, uri = units.setdefault(unit, unit), key if uri == key else uri
            selection = ALL if selection == ALL else selection
            state.objects[key] = PlannedObject(unit, uri, selection, of_list, version, removed)
        if len(state.objects) > (maximum := _max_objects(state.stored)):
            raise InvalidData(
                f"it brings the total to more than {maximum:,} objects, in {state.stored:,} bytes of plans"
            )
    state.size += table.nbytes
    if state.size > (maximum := _max_bytes(state.stored)):  # some of it may be of objects in earlier plans: recount
        state.size = sum(len("".join((key, each.uri, *each.version))) for key, each in state.objects.items())
        if state.size > maximum:
            raise InvalidData(
                f"it brings the objects to more than {maximum:,} bytes, in {state.stored:,} bytes of plans"
            )


def _check_version(schema: pa.Schema) -> None:
    """Raises SchemaMismatch if a plan was written in another schema than this version's."""
    metadata = schema.metadata or {}
    written = metadata.get(b"citrascribe_schema", b"1").decode("utf-8", "replace")[:20]
    if written != SCHEMA_VERSION:
        raise SchemaMismatch(
            f"was written in schema {written}, which citrascribe {VERSION}, of schema {SCHEMA_VERSION}, does not"
            " continue"
        )


def _max_objects(stored: int) -> int:
    """The maximum number of objects in plans of `stored` bytes."""
    return max(MAX_OBJECTS, stored // STORED_BYTES_PER_OBJECT)


def _max_bytes(stored: int) -> int:
    """The maximum bytes of rows in plans of `stored` bytes."""
    return max(MAX_EXPANDED_BYTES, stored * EXPANDED_BYTES_PER_STORED)


def write_plan(
    output: Place,
    state: State,
    objects: Mapping[str, PlannedObject],
    recipe: tuple[str, Mapping[str, object]],
    run_id: str,
    max_plans: int = MAX_PLANS,
) -> Place | None:
    """Writes a plan under the next number. Returns the run's folder, or None if another run took the number, or a
    higher one. In the latter case the plan may stay, since that run may have read it, like one of a killed run.

    `objects` are those that are new or changed since the state, `recipe` is its digest and settings. If there are
    `max_plans`, or MAX_PLANS, this one takes over their objects and they are deleted. Raises UsageError if there are
    too many objects.
    """
    compacts = len(state.plans) >= min(max_plans, MAX_PLANS)
    rows = {**state.objects, **objects} if compacts else objects
    recipes = {**(state.recipes if compacts else {}), recipe[0]: recipe[1]}
    metadata = METADATA | {"run_id": run_id, "recipes": json.dumps(recipes, sort_keys=True)}
    table = _table(rows, metadata)
    data = _serialized(table)
    stored = len(data) if compacts else state.stored + len(data)
    count = len(state.objects) + sum(key not in state.objects for key in objects)
    if count > _max_objects(stored) or table.nbytes > _max_bytes(stored):
        raise UsageError(
            f"input.uri: the output would have {count:,} objects, more than the next run would accept from plans of"
            f" {stored:,} bytes; split the input over several outputs"
        )
    folder = output / RUNS / f"{state.next_number:06d}"
    outputs.check_folder(folder)
    if is_overtaken(output, state.next_number):
        return None
    try:
        is_created = (folder / PLAN).create(data)
    except FileNotFoundError:  # a later run has already taken it over, and deleted it; or there is no such bucket
        if is_overtaken(output, state.next_number):
            return None
        raise
    # The create succeeds as well where the plan that had the number is gone since the state was read.
    if not is_created or is_overtaken(output, state.next_number):
        return None
    for plan in state.plans if compacts else ():
        plan.delete()
    return folder


def _table(objects: Mapping[str, PlannedObject], metadata: Mapping[str, str]) -> pa.Table:
    known = objects.values()
    columns: list[Iterable[Any]] = [(each.unit for each in known), objects, (each.uri for each in known)]
    columns += [[getattr(each.selection, name) for each in known] for name in Selection._fields]
    columns += [(each.listed_by for each in known), (each.version.heard for each in known)]
    columns += [(each.version.companions for each in known), (each.removed for each in known)]
    arrays = [pa.array(list(column), field.type) for column, field in zip(columns, _PLAN, strict=True)]
    return pa.Table.from_arrays(arrays, schema=_PLAN.with_metadata(metadata))


def _serialized(table: pa.Table) -> bytes:
    sink = io.BytesIO()
    with pa.ipc.new_file(sink, table.schema, options=pa.ipc.IpcWriteOptions(compression="zstd")) as writer:
        writer.write_table(table)
    return sink.getvalue()
