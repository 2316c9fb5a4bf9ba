"""What is stored never runs: no function that reads from storage turns an extension type's cells into objects.

Ray Data registers a type, in every process that imports it, whose cells are unpickled when they become Python's. Files
whose every column is of that type, nested and not, are given to each function that reads; each cell would make a file.
"""

import io
import json
import os
import pickle
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from conftest import encoded, piece_of, tone

from actors import blocks
from actors.foreign import arrow
from actors.foreign.errors import InvalidData
from actors.outcomes import Failed
from actors.parts import kept
from actors.parts.commit import commit_unit
from actors.parts.emissions import EMISSIONS, EmissionFile, digest_of, emissions_name
from actors.parts.recordings import rows_in
from actors.parts.stored import Commit, open_part, part_name
from actors.pieces import Cut, cut_unit
from actors.reader import read_piece
from actors.schema import EMISSION, HEARD_SCHEMA, PART_SCHEMA, SPEECH_SCHEMA, UsageError
from actors.sources.objects import ReadSettings
from actors.storage.place import Place
from actors.units import Carried, Fingerprint, SourceObject, Unit, Version, digest
from jobs.cli.config import Input
from jobs.cli.loading import load
from jobs.planning.listing import list_input
from jobs.planning.plans import _PLAN
from jobs.planning.state import load_state
from jobs.transcripts.read import transcripts

SOURCE, CARRIED = SourceObject("s3://b/x", "s3://b/x", "x", "audio", "e", 9), Carried("y", Version("1"), "s3://b/y")
UNIT = Unit.of("0a", "f" * 32, [SOURCE], [CARRIED])
PIECE = cut_unit(UNIT, Cut(60, stretches=2))[0]
KIND = {b"ARROW:extension:name": b"ray.data.arrow_pickled_object", b"ARROW:extension:metadata": b""}


class Touch:
    """Unpickled, it makes a file: a mark that code was run."""

    def __init__(self, path: str) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, tuple[str, str]]:
        return open, (self.path, "w")


@pytest.fixture(autouse=True, scope="module")
def _ray_registers_its_type() -> None:
    import ray.data  # noqa: F401


@pytest.fixture
def mark(tmp_path: Path) -> Iterator[Path]:
    """Where a file appears if any cell is unpickled."""
    path = tmp_path / "MARK"
    cell = pickle.dumps(Touch(str(path)))
    pickle.loads(cell)  # such a cell does what it says
    assert path.exists()
    path.unlink()
    yield path
    assert not path.exists()


def hostile(schema: pa.Schema, mark: Path) -> list[pa.Table]:
    """Tables with the columns of a schema, of the extension type: themselves, in structs, lists, maps, dictionaries."""
    cell = pickle.dumps(Touch(str(mark)))
    plain = pa.array([cell], pa.large_binary())
    inner = pa.field("x", pa.large_binary(), metadata=KIND)

    def table(array: pa.Array, field: pa.Field) -> pa.Table:
        fields = [field.with_name(name) for name in schema.names]
        return pa.table([array] * len(fields), schema=pa.schema(fields))

    struct = pa.StructArray.from_arrays([plain], fields=[inner])
    listed = pa.LargeListArray.from_arrays(pa.array([0, 1], pa.int64()), plain, type=pa.large_list(inner))
    deep = pa.ListArray.from_arrays(pa.array([0, 1], pa.int32()), struct)
    mapped = pa.MapArray.from_arrays(
        pa.array([0, 1], pa.int32()), pa.array(["k"]), plain, type=pa.map_(pa.string(), inner)
    )
    words = pa.DictionaryArray.from_arrays(pa.array([0], pa.int32()), plain)
    return [
        table(plain, pa.field("c", pa.large_binary(), metadata=KIND)),
        table(words, pa.field("c", words.type, metadata=KIND)),
        *(table(array, pa.field("c", array.type)) for array in (struct, listed, deep, mapped)),
    ]


def arrow_file(table: pa.Table) -> bytes:
    sink = io.BytesIO()
    with pa.ipc.new_file(sink, table.schema) as writer:
        writer.write_table(table)
    return sink.getvalue()


def arrow_stream(table: pa.Table) -> bytes:
    sink = io.BytesIO()
    with pa.ipc.new_stream(sink, table.schema) as writer:
        writer.write_table(table)
    return sink.getvalue()


def parquet_file(table: pa.Table) -> bytes:
    sink = io.BytesIO()
    pq.write_table(table, sink)
    return sink.getvalue()


def write(folder: Path, name: str, data: bytes) -> Place:
    (folder / name).parent.mkdir(parents=True, exist_ok=True)
    (folder / name).write_bytes(data)
    return Place.at(str(folder))


def read_plan(folder: Path, table: pa.Table) -> None:
    with pytest.raises(UsageError, match=r"000001/plan\.arrow"):
        load_state(write(folder, "_runs/000001/plan.arrow", arrow_file(table)))


def read_kept_piece(folder: Path, table: pa.Table) -> None:
    name = f"{UNIT.id}.{Fingerprint.of_hearing(UNIT.fingerprint)}.{PIECE.name}.arrow"
    assert not kept.is_kept(PIECE, write(folder, f"{kept.PIECES}/{name}", arrow_file(table)))


def read_emissions(folder: Path, table: pa.Table) -> None:
    data = arrow_file(table)
    name = emissions_name(UNIT.id, UNIT.fingerprint, digest_of(data))
    with pytest.raises(InvalidData):
        EmissionFile(name, write(folder, f"{EMISSIONS}/{name}", data))


def read_part(folder: Path, table: pa.Table) -> None:
    output = write(folder, part_name(UNIT.id), parquet_file(table))
    with pytest.raises(InvalidData):
        list(rows_in(open_part(UNIT.id, output).tables()))


def carry_over(folder: Path, table: pa.Table) -> None:
    output = write(folder, part_name(UNIT.id), parquet_file(table))
    row = dict.fromkeys(("recording_id", "etag", "model", "model_sha256", "decoding", "run_id", "unit"), "x")
    row |= {"uri": "s3://b/x", "segment_index": 0, "transcribed_at": 0}
    assert commit_unit(UNIT, [pa.Table.from_pylist([row], PART_SCHEMA)], output).counts.recordings == 1
    assert load_state(output).commits[UNIT.id][0].fingerprint.endswith("incomplete")


def read_transcripts(folder: Path, table: pa.Table) -> None:
    write(folder, part_name(UNIT.id), parquet_file(table))
    version = str((folder / part_name(UNIT.id)).stat().st_mtime_ns)
    write(folder, f"_commits/{Commit(UNIT.id, UNIT.fingerprint, digest([version]), 1, 0).name}", b"{}")
    config, wrong = load("configs/demo.yaml", [f"output.uri={folder}"]), list[str]()
    assert not list(transcripts(config, wrong))
    assert part_name(UNIT.id) in wrong[0]


def read_block(folder: Path, table: pa.Table) -> None:
    rows = pa.array([arrow_stream(table)], pa.large_binary())
    block = pa.table({"piece": [PIECE.to_json()], "rows": rows, "outcome": pa.nulls(1, pa.string())})
    told = blocks.outcome_of(blocks.advance(block, lambda _, rows: Failed("0a", json.dumps(rows.to_pylist()))))
    assert isinstance(told, Failed)
    assert told.reason.startswith("InvalidData")


def read_shard(folder: Path, table: pa.Table) -> None:
    """As input, whole and in shares; the columns themselves, and beside audio that is right."""
    whole = table.append_column("audio", pa.array([encoded(tone(1))], pa.binary()))
    write(folder, "a.parquet", parquet_file(table))
    write(folder, "b.parquet", parquet_file(whole))
    for limit in (None, 1):  # with a limit, its rows are counted
        objects = list_input(Input(uri=str(folder), limit=limit), "/nowhere/out").objects
        for piece in cut_unit(Unit("0a", "f", tuple(objects)), Cut(60, 2 * len(objects))):
            kinds = [row["error_kind"] for row in read_piece(piece, ReadSettings()).to_pylist()]
            assert set(kinds) <= {None, "not_audio", "unreadable"}
    (row,) = read_piece(piece_of(objects[-1:]), ReadSettings()).to_pylist()
    assert row["uri"].endswith("/a.parquet")
    (row,) = shard_rows(folder / "b.parquet")
    assert row["duration_s"] == 1.0


def shard_rows(path: Path) -> list[dict[str, Any]]:
    objects = list_input(Input(uri=str(path)), "/nowhere/out").objects
    rows: list[dict[str, Any]] = read_piece(piece_of(objects), ReadSettings()).to_pylist()
    return rows


READERS: list[tuple[pa.Schema, Callable[[Path, pa.Table], None]]] = [
    (_PLAN, read_plan),
    (HEARD_SCHEMA, read_kept_piece),
    (pa.schema([("emission", EMISSION)]), read_emissions),
    (PART_SCHEMA, read_part),
    (PART_SCHEMA, carry_over),
    (PART_SCHEMA, read_transcripts),
    (SPEECH_SCHEMA, read_block),
    (pa.schema([("text", pa.string()), ("id", pa.string()), ("extra", pa.binary())]), read_shard),
]


@pytest.mark.parametrize(("schema", "read"), READERS, ids=lambda each: getattr(each, "__name__", ""))
@pytest.mark.parametrize("shape", range(6))
def test_no_cell_is_unpickled(
    tmp_path: Path, mark: Path, schema: pa.Schema, read: Callable[[Path, pa.Table], None], shape: int
) -> None:
    read(tmp_path / "out", hostile(schema, mark)[shape])


@pytest.mark.parametrize("shape", range(6))
def test_a_foreign_parquet_file_is_as_it_is_stored(mark: Path, shape: int) -> None:
    file = io.BytesIO(parquet_file(hostile(pa.schema([("audio", pa.binary())]), mark)[shape]))
    found = arrow.open_parquet(file)[0].read().to_pylist()
    assert pickle.dumps(Touch(str(mark))) in _bytes_in(found)


def _bytes_in(value: Any) -> list[bytes]:
    if isinstance(value, dict):
        value = list(value.values())
    if isinstance(value, (list, tuple)):
        return [found for each in value for found in _bytes_in(each)]
    return [value] if isinstance(value, bytes) else []


def test_the_cells_are_what_ray_unpickles(mark: Path) -> None:
    table = pq.read_table(io.BytesIO(parquet_file(hostile(pa.schema([("audio", pa.binary())]), mark)[0])))
    table.to_pylist()
    assert mark.exists()
    os.unlink(mark)
