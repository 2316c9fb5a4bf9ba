"""State that would expand to more than a machine holds is told from its own words, before memory is taken for it."""

import io
import json
import subprocess
import sys
from collections.abc import Iterable
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from conftest import ROOT
from hostile_emissions import HOSTILE
from kinds import emissions_of, heard_of, objects, rows_of
from transcribing import commit_piece

from actors.foreign import parquet_pages, thrift
from actors.foreign.arrow import open_parquet, parquet_footer, read_arrow
from actors.foreign.arrow_sizes import expanded_bytes
from actors.foreign.errors import InvalidData
from actors.foreign.parquet_pages import pages, row_groups
from actors.outcomes import Committed, Kept
from actors.parts import kept
from actors.parts.part import BATCH_BYTES, Part
from actors.pieces import Cut, cut_unit
from actors.schema import HEARD_SCHEMA, PART_SCHEMA
from actors.sources.tar_ranges import Chain, ChainSummary, are_complete
from actors.storage.place import Place
from actors.units import SourceObject, Unit

UNIT = Unit.of("0a", "f" * 32, objects(1))
ROW = rows_of(UNIT).slice(0, 1).to_pylist()[0]
HEARD = heard_of(UNIT).slice(0, 1).to_pylist()[0]


def arrow_file(table: pa.Table, compression: str | None = "zstd") -> bytes:
    sink = io.BytesIO()
    with pa.ipc.new_file(sink, table.schema, options=pa.ipc.IpcWriteOptions(compression=compression)) as writer:
        writer.write_table(table, max_chunksize=1_000)
    return sink.getvalue()


def part(rows: Iterable[dict[str, Any]], **options: Any) -> io.BytesIO:
    sink = io.BytesIO()
    pq.write_table(pa.Table.from_pylist(list(rows), schema=PART_SCHEMA), sink, compression="zstd", **options)
    return sink


@pytest.mark.parametrize("compression", [None, "zstd", "lz4"])
def test_the_size_of_an_arrow_file_is_known_before(compression: str | None) -> None:
    table = pa.concat_tables([rows_of(UNIT)] * 1_000).unify_dictionaries().combine_chunks()
    data = arrow_file(table, compression)
    footer = data[-10 - int.from_bytes(data[-10:-6], "little") : -10]
    told = expanded_bytes(data, footer, 1 << 60)
    assert table.nbytes <= told <= 1.5 * table.nbytes
    assert read_arrow(data, PART_SCHEMA, told).equals(table)
    with pytest.raises(InvalidData, match="would expand to more than"):
        read_arrow(data, PART_SCHEMA, table.nbytes // 2)


def test_an_arrow_file_that_claims_terabytes_is_told() -> None:
    table = pa.table({"x": ["x" * 1_000_000]})
    data = arrow_file(table)
    claim = (1_000_000).to_bytes(8, "little")
    assert data.count(claim) >= 1
    for size in (1 << 41, (1 << 63) - 1):
        with pytest.raises(InvalidData, match="would expand to more than"):
            read_arrow(data.replace(claim, size.to_bytes(8, "little")), table.schema, 10_000_000)


def test_what_a_row_group_takes_is_known_before() -> None:
    rows = [ROW | {"text": "x" * 1_000_000, "start_s": float(at)} for at in range(9)]
    for version in ("1.0", "2.0"):
        file = part(rows, data_page_version=version, row_group_size=3, use_dictionary=["model"])
        groups = row_groups(parquet_footer(file, 1_000_000))
        found = [{chunk.path: list(pages(file, chunk)) for chunk in group.chunks} for group in groups]
        largest = [sum(max(page.unpacked for page in each) for each in columns.values()) for columns in found]
        assert [3_000_000 < size < 3_100_000 for size in largest] == [True] * 3
        tokens = [sum(page.values for page in columns["tokens.list.element.token"]) for columns in found]
        assert tokens == [3 * len(ROW["tokens"])] * 3


def test_a_value_that_is_that_of_every_row_is_taken_row_by_row() -> None:
    file = part([ROW | {"text": "x" * 8_000_000}] * 64, dictionary_pagesize_limit=1 << 30)
    assert len(file.getvalue()) < 20_000
    tables = list(Part(file).tables())
    assert sum(table.num_rows for table in tables) == 64
    assert max(table.nbytes for table in tables) < BATCH_BYTES + 9_000_000


@pytest.mark.parametrize(
    ("row", "options"),
    [
        ({"text": "x" * 20_000_000}, {}),
        ({"text": "x" * 100_000_000}, {}),
        ({"tokens": ROW["tokens"] * 20_000}, {}),
        ({"text": "x" * 1_000}, {"use_dictionary": False, "column_encoding": {"text": "DELTA_BYTE_ARRAY"}}),
        ({"text": "x" * 1_000}, {"use_dictionary": False, "column_encoding": {"uri": "DELTA_LENGTH_BYTE_ARRAY"}}),
        ({"start_s": float("nan")}, {}),
    ],
    ids=["row", "page", "tokens", "prefixes", "lengths", "nan"],
)
def test_a_part_that_no_run_wrote_is_told(row: dict[str, Any], options: dict[str, Any]) -> None:
    assert Part(part([ROW]))
    with pytest.raises(InvalidData):
        Part(part([ROW | row] * 3, **options))


def piece_files(folder: Path) -> list[Path]:
    return sorted((folder / kept.PIECES).iterdir())


@pytest.mark.parametrize(
    "change",
    [
        {"segment_index": 3},
        {"uri": "s3://archive/other.wav"},
        {"error_kind": "no such kind"},
        {"end_s": None},
        {"duration_s": None},
        {"start_s": float("inf")},
        *({"emission": each} for each in HOSTILE.values()),
    ],
    ids=["index", "uri", "error", "end", "duration", "start", *HOSTILE],
)
def test_a_piece_that_no_run_kept_is_made_again(tmp_path: Path, change: dict[str, Any]) -> None:
    output = Place.at(str(tmp_path))
    piece = cut_unit(UNIT, Cut(60, stretches=2))[0]
    kept.keep(piece, heard_of(UNIT), output)
    assert kept.is_kept(piece, output)
    kept.keep(piece, pa.Table.from_pylist([HEARD | change], schema=HEARD_SCHEMA), output)
    assert not kept.is_kept(piece, output)


@pytest.mark.parametrize(
    "change",
    [
        {"objects": [1]},
        {"objects": {"a": 1}},
        {"objects": [asdict(UNIT.objects[0]) | {"uri": 5}]},
        {"objects": [asdict(UNIT.objects[0]) | {"size": "9"}]},
        {"count": "2"},
        {"cut": {"seconds": 60, "shares": 0}},
        {"unit": 1},
        {"number": 7},
        {},
    ],
    ids=str,
)
def test_what_a_kept_piece_says_of_itself_is_checked(tmp_path: Path, change: dict[str, Any]) -> None:
    output, piece = Place.at(str(tmp_path)), cut_unit(UNIT, Cut(60, stretches=2))[0]
    kept.keep(piece, heard_of(UNIT), output)
    (path,) = (tmp_path / kept.PIECES).iterdir()
    table = pa.ipc.open_file(path.read_bytes()).read_all()
    text = json.dumps(json.loads(piece.as_kept().to_json()) | change)
    path.write_bytes(arrow_file(table.replace_schema_metadata(table.schema.metadata | {b"piece": text.encode()})))
    assert kept.is_kept(piece, output) == (not change)


def test_impossible_durations_are_not_kept(tmp_path: Path) -> None:
    output, piece = Place.at(str(tmp_path)), cut_unit(UNIT, Cut(60, stretches=2))[0]
    kept.keep(piece, pa.Table.from_pylist([HEARD | {"duration_s": 1.7e308}], schema=HEARD_SCHEMA), output)
    assert not kept.is_kept(piece, output)


def test_a_streamed_tar_with_chains_is_not_cut_again_and_again(tmp_path: Path) -> None:
    tar = SourceObject("t", "s3://archive/t.tar", "t.tar", "tar", "1", 10_000)
    output, pieces = Place.at(str(tmp_path)), cut_unit(Unit.of("0b", "f" * 32, [tar]), Cut(60, 2, is_streamed=True))
    rows = pa.Table.from_pylist([HEARD | {"uri": tar.uri, "member": "a.wav"}], schema=HEARD_SCHEMA)
    kept.keep(pieces[0], rows.replace_schema_metadata({"chain": Chain(0, 512).summary().to_text()}), output)
    with pytest.raises(InvalidData, match="read from the start of its tar"):
        commit_piece(pieces[1], emissions_of(Unit("0b", "f", (tar,)), 1), output, "one")
    assert not piece_files(tmp_path)


def test_a_piece_that_is_changed_before_its_unit_is_committed_is_made_by_the_next_run(tmp_path: Path) -> None:
    output = Place.at(str(tmp_path))
    first, second = cut_unit(UNIT, Cut(60, stretches=2))
    two = pa.concat_tables([heard_of(UNIT)] * 2)  # valid, and of more recordings than the other piece
    kept.keep(first, two, output)
    assert kept.is_kept(first, output)
    with pytest.raises(InvalidData, match="do not have the same recordings"):
        commit_piece(second, emissions_of(UNIT), output, "one")
    assert not piece_files(tmp_path)
    told = commit_piece(first, emissions_of(UNIT), output, "two")
    assert isinstance(told, Kept)
    assert (told.unit, told.audio_seconds) == ("0a", 60.0)
    assert isinstance(commit_piece(second, emissions_of(UNIT), output, "two"), Committed)


def test_names_in_a_tar_are_no_types(tmp_path: Path) -> None:
    output = Place.at(str(tmp_path))
    names = ["ARROW:extension:name", "ARROW:extension:name.wav", "\udcff"]
    text = Chain(0, 512, names, names).summary().to_text()
    piece = cut_unit(UNIT, Cut(60, stretches=2))[0]
    kept.keep(piece, heard_of(UNIT).replace_schema_metadata({"chain": text}), output)
    assert kept.is_kept(piece, output)
    assert are_complete([ChainSummary.from_text(text.encode())], 512)
    apart = [Chain(0, 512, ["a"], ["b"]).summary(), Chain(512, 1_024, ["b"], []).summary()]
    assert not are_complete(apart, 1_024)
    for bad in (b"{}", b"[]", b'{"began": "0", "ended": 1, "sounds": "", "texts": ""}', text[:-4].encode(), b"\xff"):
        with pytest.raises(InvalidData):
            ChainSummary.from_text(bad)
    assert np.array_equal(ChainSummary.from_text(text.encode()).texts, Chain(0, 512, names, names).summary().texts)


def test_a_unit_of_very_many_rows_is_committed_in_little_memory() -> None:
    """The short form of tests/campaigns/million.py."""
    command = [sys.executable, "tests/campaigns/million.py", "--rows", "200000", "--pieces", "10"]
    done = subprocess.run(command, cwd=ROOT, env={"PYTHONPATH": str(ROOT)}, capture_output=True, text=True, check=True)
    assert float(done.stdout.split()[-2]) < 0.5  # GB; each row as a dictionary would take 0.6 more


def varint(number: int) -> bytes:
    return bytes([number & 127 | 128]) + varint(number >> 7) if number > 127 else bytes([number])


def test_a_footer_is_counted_before_memory_is_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of three bytes of a column that is nowhere Arrow makes 700, of one of an empty struct Python makes 70."""
    monkeypatch.setattr(parquet_pages, "MAX_CHUNKS", 50_000)
    monkeypatch.setattr(thrift, "MAX_VALUES", 500_000)
    columns = b"\x09\x08\x1c\x19\xfc" + varint(60_000) + 60_000 * b"\x26\x00\x00" + b"\x16\x00\x16\x00\x00"
    structs = b"\x09\xc8\x01\xfc" + varint(600_000) + 600_000 * b"\x00"
    file = io.BytesIO()
    pq.write_table(pa.table({"audio": [b"x"]}), file)
    for more, told in ((columns, "50,000 columns"), (structs, "500,000 values"), (b"", None)):
        footer = parquet_footer(file, 10_000)[:-1] + more + b"\0"
        longer = io.BytesIO(b"PAR1" + footer + len(footer).to_bytes(4, "little") + b"PAR1")
        if told is None:
            assert open_parquet(longer)[0].metadata.num_rows == 1
            continue
        with pytest.raises(InvalidData, match=told):
            open_parquet(longer)
