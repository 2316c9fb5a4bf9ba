"""Claims of an input that cost it nothing: columns that stand for more than memory, headers without end, folders."""

import io
import json
import os
import tarfile
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from test_hostile_shards import WAV, kinds, peak_of, rows_of, tar_of

from actors.foreign import thrift
from actors.foreign.parquet_pages import pages, row_groups
from actors.foreign.parquet_reach import columns_to_skip, row_bytes
from actors.sources import parquet, parquet_groups, tar, tar_texts

PACKED: dict[str, Any] = {"compression": "zstd", "store_schema": False, "dictionary_pagesize_limit": 1 << 30}


def in_one_row(values: pa.Array) -> pa.Array:
    return pa.LargeListArray.from_arrays(pa.array([0, len(values)], pa.int64()), values)


def repeated(value: str, times: int) -> pa.Array:
    return pa.DictionaryArray.from_arrays(
        pa.nulls(times, pa.int32()).fill_null(0), pa.array([value], pa.large_string())
    )


def delta(column: str) -> dict[str, Any]:
    return PACKED | {
        "use_dictionary": False,
        "column_encoding": {column: "DELTA_BYTE_ARRAY"},
        "data_page_size": 1 << 30,
    }


def flags(number: int) -> pa.Array:
    return pa.Array.from_buffers(pa.bool_(), number, [None, pa.py_buffer(bytes(-(-number // 8)))])


@pytest.mark.parametrize(
    ("values", "options"),
    [
        (lambda: repeated("y" * 1_000_000, 4_000), PACKED),
        (lambda: repeated("y" * 1_000_000, 500).dictionary_decode(), delta("x.list.element")),
        (lambda: pa.array(memoryview(bytes(60_000_000)).cast("b")), PACKED),
        (lambda: flags(100_000_000), PACKED | {"column_encoding": {"x.list.element": "RLE"}, "use_dictionary": False}),
        (lambda: pa.nulls(60_000_000), PACKED),
        (lambda: pa.StructArray.from_arrays([repeated("y" * 1_000_000, 4_000)], ["leaf"]), PACKED),
    ],
    ids=["dictionary", "prefixes", "numbers", "flags", "nulls", "struct"],
)
def test_a_list_that_stands_for_more_than_memory_is_left_out(
    tmp_path: Path, values: Any, options: dict[str, Any]
) -> None:
    table = pa.table({"audio": [WAV], "x": in_one_row(values()), "y": [["a", "b"]], "text": ["said"]})
    pq.write_table(table, tmp_path / "a.parquet", **options)
    assert (tmp_path / "a.parquet").stat().st_size < 1_000_000
    del table
    found, peak = peak_of(tmp_path)
    assert found == {None: 1}
    assert peak < 300_000_000
    (row,) = rows_of(tmp_path)
    assert (row["reference"], json.loads(row["extra"])) == ("said", {"y": ["a", "b"], "unread_columns": ["x"]})


def test_columns_are_read_together_as_far_as_they_fit(tmp_path: Path) -> None:
    texts = {f"c{number}": repeated("z" * 30_000_000, 4) for number in range(10)}
    pq.write_table(pa.table({"audio": [WAV] * 4} | texts), tmp_path / "a.parquet", **PACKED)
    found, peak = peak_of(tmp_path)
    assert found == {None: 4}
    assert peak < 2_500_000_000
    assert columns_to_skip({"a": 5, "b": 1, "c": 9}, 100_000) == set()
    assert columns_to_skip({"a": 50_000, "b": 1, "c": 90_000}, 120_000) == {"c"}


def test_an_honest_list_is_not_left_out(tmp_path: Path) -> None:
    words = [[f"word{number % 5_000}" for number in range(row, row + 40)] for row in range(2_000)]
    for version in ("1.0", "2.0"):
        sink = io.BytesIO()
        pq.write_table(pa.table({"words": words}), sink, compression="snappy", data_page_version=version)
        length = int.from_bytes(sink.getvalue()[-8:-4], "little")
        ((chunk,),) = (group.chunks for group in row_groups(sink.getvalue()[-8 - length : -8]))
        told = row_bytes(sink, chunk, list(pages(sink, chunk)), is_in_list=True)
        assert 80_000 * 64 < told < 80_000 * 80


def test_very_many_columns_and_rows(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    table = pa.table({"audio": [WAV]} | {f"c{number}": [number] for number in range(3_000)})
    pq.write_table(table, tmp_path / "a.parquet")
    pq.write_table(pa.table({"audio": pa.nulls(5_000, pa.binary())}), tmp_path / "b.parquet")
    monkeypatch.setattr(parquet_groups, "BYTES_AT_ONCE", 20_000_000)
    monkeypatch.setattr(parquet, "MAX_ROWS", 100)
    first, *rows = rows_of(tmp_path)
    extra = json.loads(first["extra"])
    assert len(extra["unread_columns"]) == parquet_groups.MAX_UNREAD_NAMES
    assert 500 < len(extra) < 1_001
    assert kinds([first, *rows]) == [None] + ["bad_entry"] * 100 + ["too_large"]
    assert "rows from 100 to 4999" in rows[-1]["error_detail"]


def test_a_column_without_a_name_and_names_of_any_length(tmp_path: Path) -> None:
    pq.write_table(pa.table({"": [WAV], "id": ["n" * 100_000]}), tmp_path / "a.parquet")
    (row,) = rows_of(tmp_path)
    assert (row["error_kind"], len(row["recording_id"]) < 1_000) == (None, True)


def test_a_footer_of_values_without_end(tmp_path: Path) -> None:
    """Fields that nobody knows, of a byte each: Arrow passes them over."""
    sink = io.BytesIO()
    pq.write_table(pa.table({"audio": [WAV]}), sink)
    data = sink.getvalue()
    length = int.from_bytes(data[-8:-4], "little")
    unknown = b"\x0c\xc8\x01" + b"\x11" * (thrift.MAX_VALUES + 1) + b"\0"
    footer = data[-8 - length : -9] + unknown + b"\0"
    (tmp_path / "a.parquet").write_bytes(data[: -8 - length] + footer + len(footer).to_bytes(4, "little") + b"PAR1")
    (row,) = rows_of(tmp_path)
    assert (row["error_kind"], "values" in row["error_detail"]) == ("unreadable", True)


def test_headers_for_all_members_do_not_pile_up(tmp_path: Path) -> None:
    def headers(number: int) -> bytes:
        return tarfile.TarInfo.create_pax_global_header({f"k{number}": "v" * 900_000})

    one = tar_of([("a.wav", WAV)])[: 512 + -(-len(WAV) // 512) * 512]
    with (tmp_path / "a.tar").open("wb") as file:
        for number in range(400):
            file.write(headers(number) + one)
        file.write(bytes(1_024))
    found, peak = peak_of(tmp_path)
    assert found == {None: 400}
    assert peak < 300_000_000


def test_texts_and_names_of_a_tar_are_bounded_in_number(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tar_texts, "MAX_TEXTS", 50_000)
    monkeypatch.setattr(tar, "MAX_NAMES", 60_000)
    texts = [(f"{number}{'k' * 600}.txt", b"") for number in range(1_000)]
    sounds = [(f"{number}{'k' * 600}.wav", WAV) for number in range(100)]
    (tmp_path / "a.tar").write_bytes(tar_of([*texts, *sounds]))
    rows = rows_of(tmp_path)
    assert kinds(rows)[-1] == "too_large"
    assert 30 < len(rows) < 60


@pytest.mark.parametrize("name", [".", "../lists", "d", "d/", "pipe", "link", "d.wav"])
def test_a_line_that_names_what_is_no_file_is_a_row(tmp_path: Path, name: str) -> None:
    folder = tmp_path / "lists"
    (folder / "d").mkdir(parents=True)
    (folder / "d.wav").mkdir()
    os.mkfifo(folder / "pipe")
    (folder / "link").symlink_to("d")
    (folder / "b.wav").write_bytes(WAV)
    (folder / "m.jsonl").write_text("".join(json.dumps({"audio_filepath": each}) + "\n" for each in (name, "b.wav")))
    told = {row["recording_id"]: row["error_kind"] for row in rows_of(tmp_path) if row["member"] is None}
    assert (told[name], told["b.wav"]) == ("bad_entry", None)
