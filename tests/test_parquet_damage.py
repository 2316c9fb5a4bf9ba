"""Parquet files with values that Python cannot hold, and with damage: each costs its own field, or its own rows."""

import io
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from conftest import encoded, tone
from containers import WAVS, Found, read

from actors.foreign.arrow import open_parquet, parquet_footer
from actors.foreign.errors import InvalidData
from actors.foreign.parquet_pages import pages, row_groups
from actors.schema import RecordingError
from actors.storage.place import Place
from jobs.planning.listing import count_in_parquet

STRUCT = pa.struct([("bytes", pa.binary()), ("path", pa.string())])
SOUNDS = [encoded(tone(0.2, hertz=200 + 10 * number)) for number in range(20)]
MANY = pa.table({"audio": SOUNDS, "text": [f"text {number}" for number in range(20)], "n": list(range(20))})


def strings(values: list[bytes]) -> pa.Array:
    """A column of strings of any bytes."""
    return pa.Array.from_buffers(pa.string(), len(values), pa.array(values, pa.binary()).buffers())


def damaged(path: Path, column: str, group: int = 0, at: float = 0.4) -> Found:
    """A file of four row groups, with some bytes of a column of one overwritten."""
    sink = io.BytesIO()
    pq.write_table(MANY, sink, row_group_size=5, use_dictionary=False, compression="zstd", write_page_checksum=True)
    data, metadata = bytearray(sink.getvalue()), pq.ParquetFile(sink).metadata
    chunk = metadata.row_group(group).column(MANY.schema.get_field_index(column))
    start = chunk.data_page_offset + int(chunk.total_compressed_size * at)
    data[start : start + 8] = bytes(byte ^ 0xFF for byte in data[start : start + 8])
    path.write_bytes(data)
    return read(path)


def test_text_in_other_encodings_costs_its_own_field(tmp_path: Path) -> None:
    texts = strings([b"ok", b"caf\xe9", "今天".encode("gbk")])
    table = pa.table({"audio": WAVS[:3], "text": texts, "id": strings([b"a", b"\xff", b"c"])})
    pq.write_table(table, tmp_path / "t.parquet")
    found = read(tmp_path / "t.parquet")
    assert found.names == {"a": 0, "t.parquet:1": 1, "c": 2}
    assert [each.reference for each in found.recordings] == ["ok", None, "今天"]
    note = str((found.recordings[1].extra or {})["unread_text"])
    assert ("column text: it is neither UTF-8" in note, "column id: " in note) == (True, True)


def test_a_path_in_no_encoding_costs_no_audio(tmp_path: Path) -> None:
    columns = [pa.array(WAVS[:2], pa.binary()), strings([b"caf\xe9.wav", b"b.wav"])]
    audio = pa.StructArray.from_arrays(columns, ["bytes", "path"])
    pq.write_table(pa.table({"audio": audio}), tmp_path / "t.parquet")
    assert read(tmp_path / "t.parquet").names == {"t.parquet:0": 0, "b.wav": 1}


def test_values_that_python_cannot_hold_cost_no_others(tmp_path: Path) -> None:
    hard = {
        "day": pa.array([10**7, 1], pa.date32()),
        "days": pa.array([[1, 10**7], [1]], pa.list_(pa.date32())),
        "at": pa.array([2**62, 1], pa.timestamp("ms")),
        "utc": pa.array([2**62, 1], pa.timestamp("ms", tz="Asia/Shanghai")),
        "price": pa.array([1, 2], pa.decimal128(38, 2)),
        "pair": pa.StructArray.from_arrays([pa.array([10**7, 1], pa.date32()), strings([b"\xe9", b"x"])], ["a", "b"]),
        "map": pa.array([[("k", 10**7)], []], pa.map_(pa.string(), pa.date32())),
        "nano": pa.array([1, 2], pa.timestamp("ns")),
    }
    pq.write_table(pa.table({"audio": WAVS[:2], "text": ["a", "b"]} | hard), tmp_path / "t.parquet")
    found = read(tmp_path / "t.parquet")
    assert found.names == {"t.parquet:0": 0, "t.parquet:1": 1}
    first, second = (each.extra or {} for each in found.recordings)
    assert (first["day"], str(second["day"])) == ("10000000", "1970-01-02")
    assert [str(each) for each in list(first["days"])] == ["1970-01-02", "10000000"]  # type: ignore[call-overload]
    assert first["at"] == first["utc"] == str(2**62)
    assert (first["pair"], "column pair: " in str(first["unread_text"])) == ({"a": "10000000", "b": None}, True)
    assert set(first) - {"unread_text"} == set(second) == set(hard)
    assert first["map"] == [{"key": "k", "value": "10000000"}]


def test_other_columns_of_audio_are_left_out(tmp_path: Path) -> None:
    column = pa.array([{"bytes": each, "path": "x.wav"} for each in WAVS[:2]], STRUCT)
    raw = pa.array(WAVS[:2], pa.binary())
    other = {"clean": column, "raw": raw, "list": pa.array([[b"x"], []], pa.list_(pa.binary()))}
    pq.write_table(pa.table({"audio": column, "text": ["a", "b"]} | other), tmp_path / "t.parquet")
    found = read(tmp_path / "t.parquet")
    assert [(each.reference, each.extra) for each in found.recordings] == [("a", {}), ("b", {})]


def outcomes(found: Found) -> list[str]:
    """Of each row, its error's kind, or its reference."""
    kinds = [each.content.kind if isinstance(each.content, RecordingError) else None for each in found.recordings]
    return [str(kind or each.reference) for kind, each in zip(kinds, found.recordings, strict=True)]


TEXTS = MANY.column("text").to_pylist()


@pytest.mark.parametrize("at", [0.0, 0.4])
def test_a_broken_row_group_costs_its_own_rows(tmp_path: Path, at: float) -> None:
    found = damaged(tmp_path / "t.parquet", "audio", 1, at)
    assert outcomes(found) == TEXTS[:5] + ["unreadable"] * 5 + TEXTS[10:]
    assert found.members == [str(number) for number in range(20)]
    assert (found.entries.recordings, found.entries.unaccounted) == (20, 0)
    assert read(tmp_path / "t.parquet", 2).entries == found.entries


@pytest.mark.parametrize("at", [0.0, 0.4])
def test_a_broken_column_costs_its_own_fields(tmp_path: Path, at: float) -> None:
    found = damaged(tmp_path / "t.parquet", "text", 2, at)
    assert outcomes(found) == [*TEXTS[:10], *["None"] * 5, *TEXTS[15:]]
    assert found.recordings[12].extra == {"n": 12, "unread_columns": ["text"]}
    assert all(isinstance(each.content, bytes) for each in found.recordings)


def test_a_broken_page_costs_no_row_before_it(tmp_path: Path) -> None:
    options: dict[str, Any] = {"data_page_size": 4_000, "write_batch_size": 1, "use_dictionary": False}
    sink = io.BytesIO()
    pq.write_table(MANY, sink, compression="zstd", **options)
    chunk = pq.ParquetFile(sink).metadata.row_group(0).column(0)
    group = row_groups(parquet_footer(sink, 10**6))[0]
    page = list(pages(sink, group.chunks[0]))[10]
    data = bytearray(sink.getvalue())
    data[page.at : page.at + 4] = bytes(4)  # no longer the magic word of zstd
    assert chunk.total_compressed_size > page.at
    (tmp_path / "t.parquet").write_bytes(data)
    found = read(tmp_path / "t.parquet")
    assert outcomes(found)[:10] == TEXTS[:10]
    assert set(outcomes(found)[10:]) == {"unreadable"}
    assert len(found.recordings) == 20


def test_a_footer_that_only_arrow_refuses_is_a_row_with_and_without_a_limit(tmp_path: Path) -> None:
    sink = io.BytesIO()
    pq.write_table(MANY.select(["audio"]), sink)
    column = b"\x15\x0c%\x02\x18\x05audio"  # in the schema, which is not needed to find the row groups: of type 6
    data = sink.getvalue().replace(column, column.replace(b"\x0c", b"\x7f"))
    assert data != sink.getvalue()
    (tmp_path / "t.parquet").write_bytes(data)
    with pytest.raises(InvalidData, match="not a Parquet file"):
        open_parquet(io.BytesIO(data))
    assert count_in_parquet(Place.at(str(tmp_path / "t.parquet"))) == 1
    for config in ({}, {"limit": 3}):
        found = read(tmp_path / "t.parquet", **config)
        assert found.names == {"t.parquet": "unreadable"}
        assert found.entries.unaccounted == 0
