"""Tars and Parquet files that claim or hold more than they should: rows, within bounds, and nothing else is lost."""

import bz2
import gzip
import io
import json
import lzma
import struct
import subprocess
import sys
import tarfile
import zlib
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from conftest import ROOT, encoded, piece_of, tone
from test_pieces import tar_of

from actors.reader import read_piece
from actors.sources import parquet_groups, tar
from actors.sources.objects import ReadSettings
from actors.sources.parquet_columns import columns_of
from jobs.cli.config import Input
from jobs.planning.listing import list_input

WAV = encoded(tone(0.5))
SETTINGS = ReadSettings()


def rows_of(uri: Path, settings: ReadSettings = SETTINGS, **config: Any) -> list[dict[str, Any]]:
    objects = list_input(Input(uri=str(uri), **config), "/nowhere/out").objects
    rows: list[dict[str, Any]] = read_piece(piece_of(objects), settings).to_pylist()
    return rows


def kinds(rows: Iterable[dict[str, Any]]) -> list[str | None]:
    return [row["error_kind"] for row in rows]


PROGRAM = """
import sys
sys.path.insert(0, "tests")
from pathlib import Path
from conftest import forget_peak, peak_bytes
from test_hostile_shards import kinds, rows_of
held = forget_peak()
found = kinds(rows_of(Path(sys.argv[1])))
print({kind: found.count(kind) for kind in found}, peak_bytes() - held)
"""


def peak_of(path: Path) -> tuple[dict[str | None, int], int]:
    """How many rows of each kind a process of its own makes of an input, and the most bytes that it held for that."""
    command = [sys.executable, "-c", PROGRAM, str(path)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    told, peak = done.stdout.strip().rsplit(" ", 1)
    return eval(told), int(peak)


@pytest.mark.parametrize("packed", [bz2.compress, gzip.compress, lzma.compress], ids=["bz2", "gz", "xz"])
def test_a_packed_tar_is_unpacked_member_by_member(tmp_path: Path, packed: Any) -> None:
    zeros = tar_of((f"{number}.wav", bytes(80_000_000)) for number in range(3))
    (tmp_path / f"a.tar.{packed.__module__.replace('lzma', 'xz').replace('gzip', 'gz')}").write_bytes(packed(zeros))
    del zeros
    found, peak = peak_of(tmp_path)
    assert found == {"not_audio": 3}
    assert peak < 300_000_000  # one member, three times at times


def test_streams_that_follow_one_another_and_what_comes_behind(tmp_path: Path) -> None:
    whole = tar_of([("a.wav", WAV), ("b.wav", WAV)])
    for name, pack in (("gz", gzip.compress), ("bz2", bz2.compress), ("xz", lzma.compress)):
        halves = pack(whole[:700]) + bytes(64) * (name == "gz") + pack(whole[700:])
        (tmp_path / f"{name}.tar.{name}").write_bytes(halves + b"\0" * 512 + b"not a stream")
    assert kinds(rows_of(tmp_path)) == [None] * 6


def test_a_dictionary_of_four_gigabytes_is_not_made(tmp_path: Path) -> None:
    packed = bytearray(lzma.compress(tar_of([("a.wav", WAV)]), filters=[{"id": lzma.FILTER_LZMA2, "preset": 0}]))
    place = packed.index(b"\x21\x01", 12) + 2  # LZMA2's flag, the length of its properties, and those
    packed[place] = 40  # 4 GB less a byte
    header = bytes(packed[12 : 12 + (packed[12] + 1) * 4 - 4])
    packed[12 + len(header) : 16 + len(header)] = struct.pack("<I", zlib.crc32(header))
    (tmp_path / "a.tar.xz").write_bytes(packed)
    (row,) = rows_of(tmp_path)
    assert (row["error_kind"], "emory" in row["error_detail"]) == ("unreadable", True)


def test_very_many_members_are_rows_up_to_a_bound(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "a.tar.gz").write_bytes(gzip.compress(tar_of((f"{number}.wav", b"x") for number in range(10_000)), 1))
    found, peak = peak_of(tmp_path)
    assert found == {"not_audio": 10_000}
    assert peak < 150_000_000
    monkeypatch.setattr(tar, "MAX_RECORDINGS", 100)
    rows = rows_of(tmp_path)
    assert kinds(rows) == ["not_audio"] * 100 + ["too_large"]


def test_headers_that_are_not_believed(tmp_path: Path) -> None:
    def written(name: str, header: bytes, data: bytes = b"") -> None:
        (tmp_path / f"{name}.tar").write_bytes(
            tar_of([("a.wav", WAV)])[: 512 + -(-len(WAV) // 512) * 512] + header + data
        )

    huge = tarfile.TarInfo("huge.wav")
    huge.size = 400_000_000
    written("claims", huge.tobuf(tarfile.GNU_FORMAT), bytes(5_000))
    holes = tarfile.TarInfo("holes.wav")
    holes.type = tarfile.GNUTYPE_SPARSE
    sparse = bytearray(holes.tobuf(tarfile.GNU_FORMAT))
    sparse[482] = 1  # there are more holes in the blocks behind
    sparse[148:156] = b"%06o\0 " % (sum(sparse[:148]) + 256 + sum(sparse[156:512]))
    written("holes", bytes(sparse), bytes(20_000))
    posix = tarfile.TarInfo("posix.wav")
    posix.pax_headers = {"GNU.sparse.major": "1", "GNU.sparse.minor": "0", "GNU.sparse.name": "p.wav"}
    written("posix", posix.tobuf(tarfile.PAX_FORMAT), b"9999999999\n" * 90)
    digits = tarfile.TarInfo("digits.wav")
    digits.pax_headers = {"size": "9" * 5_000}
    written("digits", digits.tobuf(tarfile.PAX_FORMAT))
    long = tarfile.TarInfo("x" * 900_000 + ".wav")
    written("long", long.tobuf(tarfile.PAX_FORMAT), bytes(1_024))
    rows = rows_of(tmp_path)
    assert [row["member"] for row in rows if row["error_kind"] is None] == ["a.wav"] * 5
    told = {Path(row["uri"]).stem: row["error_kind"] for row in rows if row["error_kind"]}
    assert told == dict.fromkeys(("claims", "holes", "posix"), "truncated") | dict.fromkeys(("digits", "long"), "empty")
    assert max(len(row["recording_id"]) for row in rows) < 5_000


def test_texts_of_a_tar_are_bounded_and_said_to_be_left_out(tmp_path: Path) -> None:
    members = [
        ("a.wav", WAV),
        ("a.txt", b"x" * 13_000_000),
        ("b.json", b'{"text": "b"}'),
        ("b.wav", WAV),
        ("b.txt", b""),
    ]
    (tmp_path / "t.tar").write_bytes(tar_of(members))
    a, b = rows_of(tmp_path)
    assert (a["reference"], json.loads(a["extra"])) == (None, {"unread_text": "13000000 bytes"})
    assert (b["reference"], b["extra"]) == ("", None)


def test_lines_of_a_tarred_manifest_that_are_odd(tmp_path: Path) -> None:
    (tmp_path / "audio_0.tar").write_bytes(tar_of([("a.wav", WAV), ("b.wav", WAV), ("c.wav", WAV)]))
    lines = [
        {"audio_filepath": "a.wav", "offset": 0.1, "text": "no duration", "shard_id": 0},
        {"audio_filepath": "b.wav", "text": "one\u2028line\x85only", "shard_id": 0},
        {"audio_filepath": "c.wav", "duration": 0.2, "text": "no offset", "shard_id": 0},
    ]
    text = "".join(json.dumps(line, ensure_ascii=False) + "\n" for line in lines)
    (tmp_path / "manifest.jsonl").write_text(text, encoding="utf-8")
    rows = {row["recording_id"]: row for row in rows_of(tmp_path)}
    assert kinds(rows.values()) == [None] * 3
    assert rows["a.wav"]["duration_s"] == pytest.approx(0.4)
    assert rows["b.wav"]["reference"] == "one\u2028line\x85only"


def test_a_dictionary_that_stands_for_more_than_memory(tmp_path: Path) -> None:
    """A few kB, of which each of 64 rows is one value of 300 MB; a cell of 600 MB; and texts that are as large."""
    big = pa.array([bytes(300_000_000)], pa.large_binary())
    column = pa.DictionaryArray.from_arrays(pa.array([0] * 64, pa.int32()), big)
    options: dict[str, Any] = {"compression": "zstd", "store_schema": False, "dictionary_pagesize_limit": 1 << 30}
    pq.write_table(pa.table({"audio": column}), tmp_path / "a.parquet", **options)
    cell = pa.table({"audio": pa.array([bytes(600_000_000), b"x"], pa.large_binary())})
    pq.write_table(cell, tmp_path / "b.parquet", compression="zstd", use_dictionary=False)
    words = pa.DictionaryArray.from_arrays(column.indices, big.cast(pa.large_string()))
    pq.write_table(pa.table({"audio": [WAV] * 64, "text": words}), tmp_path / "c.parquet", **options)
    found, peak = peak_of(tmp_path)
    assert found == {"too_large": 130}
    assert peak < 700_000_000


def test_pages_that_are_larger_than_the_footer_says(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    sink = io.BytesIO()
    pq.write_table(pa.table({"audio": [WAV, WAV]}), sink, use_dictionary=False, compression="gzip")
    data = sink.getvalue()
    start = pq.ParquetFile(io.BytesIO(data)).metadata.row_group(0).column(0).data_page_offset
    assert data[start : start + 3] == b"\x15\x00\x15"  # two fields, i32: the page's type, and its size unpacked
    lie = data[start + 3 : start + 6]  # of three bytes of seven bits, the sign in the first
    assert [byte >= 0x80 for byte in lie] == [True, True, False]
    for name, told in (("large", b"\xfe\xff\x7f"), ("negative", bytes([lie[0] | 1]) + lie[1:])):
        (tmp_path / f"{name}.parquet").write_bytes(data[: start + 3] + told + data[start + 6 :])
    monkeypatch.setattr(parquet_groups, "BYTES_AT_ONCE", 100_000)
    rows = rows_of(tmp_path, ReadSettings(max_megabytes=0.5))
    assert {Path(row["uri"]).stem: row["error_kind"] for row in rows} == {
        "large": "too_large",
        "negative": "unreadable",
    }


def test_values_that_python_cannot_hold(tmp_path: Path) -> None:
    latin = pa.Array.from_buffers(pa.string(), 2, pa.array([b"caf\xe9", b"ok"], pa.binary()).buffers())
    days = pa.array([9_000_000, 1], pa.date32())
    seconds = pa.array([10**14, 1], pa.timestamp("us"))
    table = pa.table({"audio": [WAV, WAV], "text": latin, "day": days, "at": seconds, "raw": [b"\xff", b"\xff"]})
    pq.write_table(table, tmp_path / "a.parquet")
    first, second = rows_of(tmp_path)
    assert kinds([first, second]) == [None, None]
    assert (first["reference"], second["reference"]) == (None, "ok")
    assert "neither UTF-8" in json.loads(first["extra"])["unread_text"]
    assert json.loads(first["extra"])["day"] == "9000000"
    assert "raw" not in json.loads(first["extra"])


def test_only_columns_that_are_needed_are_read(tmp_path: Path) -> None:
    kind = pa.struct([("bytes", pa.binary()), ("path", pa.string()), ("array", pa.list_(pa.float64()))])
    other = pa.struct([("deep", pa.list_(pa.binary()))])
    schema = pa.schema([("audio", kind), ("other", other), ("second", pa.large_binary()), ("speaker", pa.string())])
    assert columns_of(schema) == ("audio", ["audio.bytes", "audio.path", "speaker"])
