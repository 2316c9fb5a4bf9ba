"""Units to rows: every layout, counts that match, and whatever is wrong as a row."""

import gzip
import io
import json
import os
import tarfile
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from conftest import encoded, piece_of, sound_of, tone
from numpy._core import multiarray

from actors.reader import read_piece
from actors.schema import SPEECH_SCHEMA, RecordingError
from actors.sources.objects import ReadSettings
from actors.sources.parquet_columns import columns_of
from actors.sources.tar_names import parse_name
from jobs.cli.config import Input
from jobs.planning.listing import list_input

SETTINGS = ReadSettings()


def rows_of(uri: Path | str | list[str], settings: ReadSettings = SETTINGS, **config: Any) -> list[dict[str, Any]]:
    """The rows of an input, listed and read as the job does it, in one unit."""
    listing = list_input(Input(uri=uri if isinstance(uri, list) else str(uri), **config), "/nowhere/out")
    table = read_piece(piece_of(listing.objects), settings)
    assert table.schema == SPEECH_SCHEMA
    return table.to_pylist()


def tar_of(members: list[tuple[str, bytes]]) -> bytes:
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w") as archive:
        for name, data in members:
            header = tarfile.TarInfo(name)
            header.size = len(data)
            archive.addfile(header, io.BytesIO(data))
    return file.getvalue()


def test_the_demo_in_full() -> None:
    rows = rows_of("demo/audio")
    assert len({(row["uri"], row["member"], row["offset_s"]) for row in rows}) == 23 + 16 + 12 + 12 + 14
    wrong = {row["recording_id"]: row["error_kind"] for row in rows if row["error_kind"]}
    assert wrong == {
        "loose/broken-empty.wav": "empty",
        "loose/broken-half.m4a": "unreadable",
        "loose/broken-text.wav": "not_audio",
    }
    assert all(row["reference"] for row in rows if not row["error_kind"] and not row["segment_index"])
    short = [row for row in rows if row["pcm"] and row["duration_s"] < 20]
    assert all(len(sound_of(row)) == round(row["duration_s"] * 16_000) for row in short)
    assert len(short) == 72
    assert sum(row["segment_index"] > 0 for row in rows) == 58
    codecs = {row["source_codec"] for row in rows}
    assert {"wav/pcm_16", "wav/pcm_u8", "wav/float", "flac/pcm_24", "ogg/vorbis", "ogg/opus", "mov/aac"} <= codecs


def test_sound_takes_pages_of_ordinary_size() -> None:
    multiarray._set_madvise_hugepage(True)  # type: ignore[attr-defined]  # noqa: SLF001 - as numpy starts
    rows_of("demo/audio/manifest")
    assert multiarray._set_madvise_hugepage(False) is False  # type: ignore[attr-defined]  # noqa: SLF001 - what it was


def test_a_tree_with_texts_beside_the_audio(tmp_path: Path) -> None:
    (tmp_path / "day").mkdir()
    (tmp_path / "day" / "a.wav").write_bytes(encoded(tone(1)))
    (tmp_path / "day" / "a.txt").write_text("  what was said \n")
    (tmp_path / "day" / "b.flac").write_bytes(encoded(tone(2), kind="FLAC"))
    (tmp_path / "day" / "b.json").write_text('{"text": "words", "speaker": 7}')
    first, second = rows_of(tmp_path)
    assert (first["recording_id"], first["reference"], first["duration_s"]) == ("day/a.wav", "what was said", 1.0)
    assert first["uri"] == f"file://{tmp_path}/day/a.wav"
    assert first["etag"] == str((tmp_path / "day" / "a.wav").stat().st_mtime_ns)
    assert (second["reference"], json.loads(second["extra"])) == ("words", {"speaker": 7})


def test_members_of_a_tar_join_in_any_order(tmp_path: Path) -> None:
    wav = encoded(tone(1))
    members = [
        ("x/two.wav", wav),
        ("x/one.json", b'{"text": "first", "lang": "zh"}'),
        ("x/picture.png", b"no sound"),
        ("x/one.left.flac", encoded(tone(0.5), kind="FLAC")),
        ("x/two.txt", "第二".encode()),
        ("x/three.WAV", b""),
    ]
    for name, data in (("a.tar", tar_of(members)), ("b.tar.gz", gzip.compress(tar_of(members)))):
        (tmp_path / name).write_bytes(data)
    for part in (rows_of(tmp_path / "a.tar"), rows_of(tmp_path / "b.tar.gz")):
        two, one, three = part
        assert (two["recording_id"], two["member"], two["reference"]) == ("x/two", "x/two.wav", "第二")
        assert (one["recording_id"], one["reference"], one["extra"]) == ("x/one", "first", '{"lang": "zh"}')
        assert (three["member"], three["error_kind"]) == ("x/three.WAV", "empty")


def test_keys_follow_webdataset() -> None:
    names = ("dir.v1/a.b.left.WAV", "a.flac", "dir/.hidden", "./a.b.wav")
    assert [parse_name(name)[1:] for name in names] == [
        ("dir.v1/a", "dir.v1/a.b.left", ".wav"),
        ("a", "a", ".flac"),
        ("dir/.hidden", "dir/.hidden", ""),
        ("a", "a.b", ".wav"),
    ]


def test_a_tar_that_breaks_off_says_so(tmp_path: Path) -> None:
    whole = tar_of([(f"{number}.wav", encoded(tone(1))) for number in range(3)])
    (tmp_path / "cut.tar").write_bytes(whole[: 2 * 32_768 + 9_000])
    rows = rows_of(tmp_path / "cut.tar")
    assert [row["error_kind"] for row in rows] == [None, None, "truncated"]
    assert rows[2]["member"] == "2.wav"

    bad_header = bytearray(whole)
    bad_header[32_768 : 32_768 + 100] = b"\xaa" * 100  # tarfile by itself would take this for the end
    (tmp_path / "bad.tar").write_bytes(bad_header)
    assert [row["error_kind"] for row in rows_of(tmp_path / "bad.tar")] == [None, "truncated"]

    squeezed = gzip.compress(np.random.default_rng(1).bytes(10) + whole)  # not a tar inside
    (tmp_path / "not.tar.gz").write_bytes(squeezed)
    assert [row["error_kind"] for row in rows_of(tmp_path / "not.tar.gz")] == ["unreadable"]
    noisy = tar_of(
        [(f"{number}.wav", encoded(tone(1) * np.random.default_rng(1).random(16_000))) for number in range(3)]
    )
    (tmp_path / "half.tar.gz").write_bytes(gzip.compress(noisy)[:-2_000])
    kinds = [row["error_kind"] for row in rows_of(tmp_path / "half.tar.gz")]
    assert kinds == [None, None, "truncated"]


def test_archives_that_lie(tmp_path: Path) -> None:
    header = tarfile.TarInfo("huge.wav")
    header.size = 10**15
    (tmp_path / "huge.tar").write_bytes(header.tobuf() + bytes(2_000))
    kinds = [row["error_kind"] for row in rows_of(tmp_path / "huge.tar")]
    assert kinds == ["too_large"] or kinds[-1] == "truncated"

    bomb = tarfile.TarInfo("pax")
    bomb.type, bomb.size = tarfile.XHDTYPE, 10**10
    (tmp_path / "bomb.tar").write_bytes(bomb.tobuf() + bytes(2_000))
    assert [row["error_kind"] for row in rows_of(tmp_path / "bomb.tar")] == ["unreadable"]

    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w") as archive:
        link = tarfile.TarInfo("link.wav")
        link.type, link.linkname = tarfile.SYMTYPE, "/etc/passwd"
        archive.addfile(link)
    (tmp_path / "link.tar").write_bytes(file.getvalue())
    assert [row["error_kind"] for row in rows_of(tmp_path / "link.tar")] == ["empty"]


def test_a_container_without_a_recording_has_a_row(tmp_path: Path) -> None:
    (tmp_path / "none.tar").write_bytes(tar_of([("readme.md", b"nothing here")]))
    pq.write_table(pa.table({"audio": pa.array([], pa.binary())}), tmp_path / "none.parquet")
    (tmp_path / "zero.tar").write_bytes(b"")
    assert [row["error_kind"] for row in rows_of(tmp_path)] == ["empty"] * 3


def test_parquet_with_bytes_or_hugging_faces_struct(tmp_path: Path) -> None:
    wav = encoded(tone(1))
    plain = {"id": ["a", "b"], "wav": [wav, None], "text": ["x", "y"], "speaker": [1, 2]}
    pq.write_table(pa.table(plain), tmp_path / "plain.parquet")
    struct = [{"bytes": wav, "path": "clip.wav"}, {"bytes": b"noise", "path": "bad.wav"}]
    pq.write_table(pa.table({"audio": struct, "sentence": ["s", "t"]}), tmp_path / "struct.parquet")
    a, b, clip, bad = rows_of(tmp_path)
    assert (a["recording_id"], a["member"], a["reference"], a["extra"]) == ("a", "0", "x", '{"id": "a", "speaker": 1}')
    assert (b["recording_id"], b["error_kind"]) == ("b", "bad_entry")
    assert (clip["recording_id"], clip["reference"], clip["error_kind"]) == ("clip.wav", "s", None)
    assert (bad["recording_id"], bad["member"], bad["error_kind"]) == ("bad.wav", "1", "not_audio")


def test_parquet_without_audio_or_whole(tmp_path: Path) -> None:
    pq.write_table(pa.table({"text": ["a"]}), tmp_path / "text.parquet")
    (tmp_path / "torn.parquet").write_bytes(b"PAR1" + bytes(100))
    for row in rows_of(tmp_path):
        assert row["error_kind"] == "unreadable"
    two = pa.schema([("left", pa.binary()), ("right", pa.binary())])
    with pytest.raises(RecordingError, match="left, right"):
        columns_of(two)
    assert columns_of(two.append(pa.field("audio", pa.binary()))) == ("audio", ["audio"])


def test_a_manifest_names_stretches(tmp_path: Path) -> None:
    steps = np.concatenate([tone(1, hertz=hertz) for hertz in (500, 1_000)])
    (tmp_path / "tape.wav").write_bytes(encoded(steps))
    lines = [
        {"audio_filepath": "tape.wav", "offset": 1.0, "duration": 1.0, "text": "high", "channel": "left"},
        {"audio_filepath": "tape.wav", "offset": 0.0, "duration": 1.0, "text": "low", "id": "first"},
        {"audio_filepath": "gone.wav", "duration": 3.0},
        {"audio_filepath": "../outside.wav"},
        {"audio_filepath": "/etc/passwd"},
        {"audio_filepath": "tape.wav", "offset": "soon"},
        {"duration": 1.0},
    ]
    text = "".join(json.dumps(line) + "\n" for line in lines) + "not json\n"
    (tmp_path / "manifest.json").write_text(text)
    rows = {row["recording_id"]: row for row in rows_of(tmp_path)}
    assert len(rows) == len(lines) + 1  # the two stretches of the tape bear its name, and the second an id
    spectrum = np.abs(np.fft.rfft(sound_of(rows["tape.wav"])))
    assert spectrum.argmax() == 1_000
    assert (rows["tape.wav"]["offset_s"], rows["tape.wav"]["duration_s"]) == (1.0, 1.0)
    assert json.loads(rows["tape.wav"]["extra"]) == {"channel": "left"}
    assert rows["first"]["reference"] == "low"
    kinds = {name: row["error_kind"] for name, row in rows.items() if row["error_kind"]}
    assert kinds == {
        "gone.wav": "missing",
        "../outside.wav": "outside_input",
        "/etc/passwd": "outside_input",
        "manifest.json:6": "bad_entry",
        "manifest.json:7": "bad_entry",
        "manifest.json:8": "bad_entry",
    }


def test_manifest_lines_that_name_nothing_a_file_can_be_called(tmp_path: Path) -> None:
    names = ["nosuch://a/b.wav", "zip://a.wav::/etc/x.zip", "a\0b.wav", "\ud800.wav", "x" * 5_000 + ".wav"]
    text = "".join(json.dumps({"audio_filepath": name}) + "\n" for name in names)
    text += "".join(
        f'{{"audio_filepath": "a.wav", "offset": {value}}}\n' for value in ("NaN", "Infinity", "1e300", 10**400)
    )
    (tmp_path / "manifest.jsonl").write_text(text)
    kinds = [row["error_kind"] for row in rows_of(tmp_path)]
    assert sorted(kinds) == ["bad_entry"] * 6 + ["missing"] + ["outside_input"] * 2


def test_manifest_lines_that_name_no_files_cost_no_other(tmp_path: Path) -> None:
    (tmp_path / "a.wav").write_bytes(encoded(tone(0.5)))
    (tmp_path / "folder.wav").mkdir()
    os.mkfifo(tmp_path / "pipe.wav")
    (tmp_path / "device.wav").symlink_to("/dev/zero")
    names = ["a.wav", "device.wav", "folder.wav", "pipe.wav"]
    (tmp_path / "m.jsonl").write_text("\n".join(json.dumps({"audio_filepath": name}) for name in names))
    found = {row["uri"].rpartition("/")[2]: row["error_kind"] for row in rows_of(tmp_path)}
    assert found == {"a.wav": None, "device.wav": "outside_input", "folder.wav": "bad_entry", "pipe.wav": "bad_entry"}


def test_allowed_roots_and_links_that_lead_out(tmp_path: Path) -> None:
    inside, outside = tmp_path / "in", tmp_path / "out"
    inside.mkdir()
    outside.mkdir()
    (outside / "a.wav").write_bytes(encoded(tone(1)))
    (inside / "link.wav").symlink_to(outside / "a.wav")
    lines = [{"audio_filepath": str(outside / "a.wav")}, {"audio_filepath": "link.wav"}]
    (inside / "manifest.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    manifest = inside / "manifest.jsonl"
    assert [row["error_kind"] for row in rows_of(manifest)] == ["outside_input"] * 2
    assert [row["error_kind"] for row in rows_of(manifest, allowed_roots=[str(outside)])] == [None] * 2


def test_nemo_tarred_shards(tmp_path: Path) -> None:
    for shard in range(2):
        members = [(f"s{shard}-{number}.wav", encoded(tone(2))) for number in range(2)]
        (tmp_path / f"audio_{shard}.tar").write_bytes(tar_of(members))
    lines = [
        {"audio_filepath": "s0-0.wav", "duration": 2.0, "text": "a", "shard_id": 0},
        {"audio_filepath": "s0-1.wav", "offset": 0.0, "duration": 0.5, "text": "b", "shard_id": 0},
        {"audio_filepath": "s0-1-sub1.wav", "offset": 0.5, "duration": 1.0, "text": "c", "shard_id": 0},
        {"audio_filepath": "s1-0.wav", "duration": 2.0, "text": "d", "shard_id": 1},
        {"audio_filepath": "s1-7.wav", "duration": 2.0, "text": "e", "shard_id": 1},
    ]
    (tmp_path / "tarred_audio_manifest.json").write_text("".join(json.dumps(line) + "\n" for line in lines))
    manifest = str(tmp_path / "tarred_audio_manifest.json")
    for uri in (str(tmp_path), [manifest, f"{tmp_path}/audio__OP_0..1_CL_.tar"]):
        rows = rows_of(uri)
        said = {row["recording_id"]: (row["reference"], row["duration_s"], row["error_kind"]) for row in rows}
        assert said == {
            "s0-0.wav": ("a", 2.0, None),
            "s0-1.wav": ("b", 0.5, None),
            "s0-1-sub1.wav": ("c", 1.0, None),
            "s1-0.wav": ("d", 2.0, None),
            "s1-1": (None, 2.0, None),  # in the shard and not in the manifest: not lost
            "s1-7.wav": (None, None, "missing"),
        }


def test_what_changes_or_goes_meanwhile(tmp_path: Path) -> None:
    for name in ("stays", "changes", "goes"):
        (tmp_path / f"{name}.wav").write_bytes(encoded(tone(1)))
    listing = list_input(Input(uri=str(tmp_path)), "/nowhere/out")
    (tmp_path / "goes.wav").unlink()
    (tmp_path / "changes.wav").write_bytes(encoded(tone(2)))
    rows = read_piece(piece_of(listing.objects), SETTINGS).to_pylist()
    kinds = {Path(row["uri"]).stem: row["error_kind"] for row in rows}
    assert kinds == {"stays": None, "changes": "changed", "goes": "changed"}


def test_a_limit_on_bytes_is_for_what_lies_in_archives(tmp_path: Path) -> None:
    (tmp_path / "a.wav").write_bytes(encoded(tone(20)))
    (tmp_path / "b.tar").write_bytes(tar_of([("c.wav", encoded(tone(20)))]))
    rows = rows_of(tmp_path, ReadSettings(max_megabytes=0.5))
    assert {row["error_kind"] for row in rows if row["member"] is None} == {None}
    (refused,) = (row for row in rows if row["member"])
    assert (refused["error_kind"], refused["error_detail"]) == (
        "too_large",
        "1 MB, more than audio.max_megabytes (0.5)",
    )
    assert {row["error_kind"] for row in rows_of(tmp_path)} == {None}


def test_names_and_texts_that_are_not_utf8(tmp_path: Path) -> None:
    wav = encoded(tone(1))
    (tmp_path / "t.tar").write_bytes(tar_of([("录音.wav".encode("gbk").decode("utf-8", "surrogateescape"), wav)]))
    (tmp_path / os.fsdecode("录音.wav".encode("gbk"))).write_bytes(wav)
    (tmp_path / "a.wav").write_bytes(wav)
    (tmp_path / "a.json").write_text('{"text": "\\ud800x", "by": "\\udfff"}')
    (tmp_path / "a.txt").write_bytes("今天".encode("gbk"))
    rows = rows_of(tmp_path)
    assert [row["error_kind"] for row in rows] == [None] * 3
    names = {row["recording_id"] for row in rows}
    assert names == {"a.wav", "¼\\udcd2\\udcf4", "¼\\udcd2\\udcf4.wav"}
    (tmp_path / "a.txt").unlink()
    (row,) = rows_of(tmp_path / "a.wav")  # alone: what lies beside it was not asked for
    assert row["reference"] is None
    row = next(row for row in rows_of(tmp_path) if row["recording_id"] == "a.wav")
    assert row["reference"] == "\\ud800x"
