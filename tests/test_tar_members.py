"""Members of tars as people have them: joined, compressed in several streams, linked, with dots in their names."""

import bz2
import gzip
import json
import lzma
import tarfile
from pathlib import Path
from typing import Any

import pytest
from conftest import piece_of
from containers import END, WAVS, link, member, read, read_tar_of
from test_pieces import cut, unit_of, worked

from actors.reader import read_piece
from actors.sources import recordings
from actors.sources.objects import ReadSettings

PARTS = [member(f"{number}.wav", WAVS[number]) for number in range(4)]
COMPRESSIONS: list[Any] = [gzip.compress, bz2.compress, lzma.compress]


@pytest.mark.parametrize("pack", COMPRESSIONS)
def test_compressed_streams_may_be_cut_anywhere(tmp_path: Path, pack: Any) -> None:
    whole = b"".join(PARTS) + END
    for name, blocks in (
        ("members", [*PARTS, END]),
        ("blocks", [whole[at : at + 5_000] for at in range(0, len(whole), 5_000)]),
        ("empty", [whole[:700], b"", whole[700:], b""]),
    ):
        data = b"".join(map(pack, blocks))
        found = read_tar_of(tmp_path, data, f"{name}.tar.gz")  # the name does not decide
        assert found.names == {str(number): number for number in range(4)}
        assert read_tar_of(tmp_path, data, f"{name}.tar.gz", shares=3).entries == found.entries
    mixed = gzip.compress(PARTS[0]) + bz2.compress(PARTS[1]) + lzma.compress(PARTS[2] + END)
    assert read_tar_of(tmp_path, mixed, "mixed.tgz").names == {"0": 0, "1": 1, "2": 2}


@pytest.mark.parametrize("form", [tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT, tarfile.PAX_FORMAT])
def test_joined_tars_are_read_to_their_end(tmp_path: Path, form: int) -> None:
    long = "folder/" * 20 + "a.wav"
    first = member(long, WAVS[0], form) + member("b.wav", WAVS[1], form) + bytes(10_240)
    second = member("c.wav", WAVS[2], form) + member("c.txt", b"sea", form) + bytes(512)
    data = first + second + member("d.wav", WAVS[3], form) + END
    right = {long.removesuffix(".wav"): 0, "b": 1, "c": 2, "d": 3}
    assert read_tar_of(tmp_path, data).names == right
    for pack in COMPRESSIONS:
        packed = pack(first) + pack(data[len(first) :])
        assert read_tar_of(tmp_path, packed, "t.tgz").names == right
    for shares in (2, 3, 7):
        unit = unit_of(tmp_path / "t.tar")
        assert worked(cut(unit, shares), tmp_path / f"{shares}") == worked(cut(unit), tmp_path / "whole")


def test_tars_of_old_unix_have_no_magic_word(tmp_path: Path) -> None:
    header = bytearray(member("a.wav", WAVS[0]))
    header[257:265] = bytes(8)
    header[148:156] = b"%06o\0 " % (sum(header[:148]) + 256 + sum(header[156:512]))
    found = read_tar_of(tmp_path, bytes(header) + member("b.wav", WAVS[1]) + END, shares=2)
    assert found.names == {"a": 0, "b": 1}


def test_members_of_one_name_are_recordings_each_with_its_own_text(tmp_path: Path) -> None:
    once = member("x.wav", WAVS[0]) + member("x.txt", b"first") + member("y.wav", WAVS[2])
    again = member("x.wav", WAVS[1]) + member("x.txt", b"second")
    found = read_tar_of(tmp_path, once + END + again + END)
    assert found.names == {"x": 0, "y": 2, "x.wav (2)": 1}
    assert found.members == ["x.wav", "y.wav", "x.wav (2)"]
    assert found.references == {"x": "first", "x.wav (2)": "second"}
    unit = unit_of(tmp_path / "t.tar")
    for shares in (2, 3, 5):
        assert worked(cut(unit, shares), tmp_path / f"{shares}") == worked(cut(unit), tmp_path / "whole")
    day = [member(f"{number}.wav", WAVS[number % 6]) for number in range(20)]
    (tmp_path / "t.tar").write_bytes(b"".join((*day, END, *day[::-1], END)))
    unit = unit_of(tmp_path / "t.tar")
    assert worked(cut(unit, 4), tmp_path / "4") == worked(cut(unit), tmp_path / "days")
    replaced = read_tar_of(tmp_path, once + member("x.txt", b"corrected") + END)  # as `tar -r` does
    assert replaced.references == {"x": "corrected"}
    formats = read_tar_of(tmp_path, member("x.wav", WAVS[0]) + member("x.flac", WAVS[1]) + member("x.txt", b"x") + END)
    assert formats.references == {"x": "x", "x.flac": "x"}


def test_names_with_dots_have_ids_and_texts_of_their_own(tmp_path: Path) -> None:
    names = [f"day/call.2026.{number:02d}" for number in range(4)]
    members = [
        part
        for number, name in enumerate(names)
        for part in (member(f"{name}.wav", WAVS[number]), member(f"{name}.txt", f"text {number}".encode()))
    ]
    right = {name: f"text {number}" for number, name in enumerate(names)}
    for order in (members, members[::2] + members[1::2], members[1::2] + members[::2], members[::-1]):
        found = read_tar_of(tmp_path, b"".join(order) + END)
        assert found.references == right
        assert found.names == {name: number for number, name in enumerate(names)}
    alone = read_tar_of(tmp_path, member("call.2026.01.wav", WAVS[0]) + member("call.2026.02.txt", b"of 02") + END)
    assert alone.references == {}
    lacking = read_tar_of(tmp_path, b"".join([*members[:-1], member("day/call.2026.99.txt", b"none")]) + END)
    assert lacking.references == {name: right[name] for name in names[:3]}  # and no text goes to another one


def test_a_long_tar_of_names_with_dots_is_read_in_ranges(tmp_path: Path) -> None:
    members = [
        part
        for number in range(60)
        for part in (
            member(f"call.2026.{number:02d}.wav", WAVS[number % 6]),
            member(f"call.2026.{number:02d}.txt", f"text {number}".encode()),
        )
    ]
    (tmp_path / "t.tar").write_bytes(b"".join(members) + END)
    unit = unit_of(tmp_path / "t.tar")
    rows = worked(cut(unit), tmp_path / "whole")
    assert [row["reference"] for row in rows] == [f"text {number}" for number in range(60)]
    pieces = cut(unit, 3)
    assert worked(pieces, tmp_path / "3") == rows
    assert max(read_piece(piece, ReadSettings()).num_rows for piece in pieces) < 40


@pytest.mark.parametrize(
    ("tars", "references"),
    [
        ([["a.wav", "a.txt"], ["a.wav", "a.json"]], ["0 a.txt", "1 a.json"]),
        ([["a.wav", "a.txt"], ["a.wav"], ["a.wav", "a.txt"]], ["0 a.txt", None, "2 a.txt"]),
        ([["a.wav"], ["a.wav", "a.txt"]], [None, "1 a.txt"]),
        ([["a.wav", "a.flac", "a.txt"], ["a.wav", "a.txt"]], ["0 a.txt", "0 a.txt", "1 a.txt"]),
        ([["a.wav"], ["a.txt"]], [None]),
    ],
)
def test_each_of_several_joined_tars_has_its_own_texts(
    tmp_path: Path, tars: list[list[str]], references: list[str | None]
) -> None:
    def content(number: int, name: str) -> bytes:
        said = f"{number} {name}"
        return (
            WAVS[number] if name[-4:] in (".wav", "flac") else (json.dumps(said) if "json" in name else said).encode()
        )

    joined = b"".join(b"".join(member(name, content(n, name)) for name in tar) + END for n, tar in enumerate(tars))
    (tmp_path / "t.tar").write_bytes(joined)
    rows = worked(cut(unit_of(tmp_path / "t.tar")), tmp_path / "out")
    assert [row["reference"] for row in rows] == references


def test_samples_of_webdataset_keep_their_keys_and_texts(tmp_path: Path) -> None:
    data = b"".join(
        (
            member("a.left.wav", WAVS[0]) + member("a.json", b'{"text": "a"}'),
            member("b.txt", b"b") + member("b.seg.flac", WAVS[1]),
            member("c.wav", WAVS[2]) + member("c.words.txt", b"c"),
            member("d.audio.wav", WAVS[3]) + member("d.meta.json", b'{"text": "d"}'),
        )
    )
    found = read_tar_of(tmp_path, data + END)
    assert found.names == {"a": 0, "b": 1, "c": 2, "d": 3}
    assert found.references == {"a": "a", "b": "b", "c": "c", "d": "d"}
    channels = member("k.left.wav", WAVS[0]) + member("k.right.wav", WAVS[1]) + member("k.json", b'"both"')
    found = read_tar_of(tmp_path, channels + member("k.right.txt", b"right") + END)
    assert found.names == {"k.left": 0, "k.right": 1}
    assert found.references == {"k.left": "both", "k.right": "right"}


@pytest.mark.parametrize("pack", [bytes, gzip.compress])
def test_links_are_read_as_what_they_point_to(tmp_path: Path, pack: Any) -> None:
    data = b"".join(
        (
            member("./a.wav", WAVS[0]) + member("store/1", WAVS[1]) + member("b.txt", b"bee"),
            link("b.wav", "a.wav") + link("c.wav", "store/1") + link("c.TXT", "b.txt"),
            member("./a.wav", WAVS[2]) + link("d.wav", "./a.wav"),  # of the second a.wav
            link("lost.wav", "none.wav") + link("sub/e.wav", "../later.wav", tarfile.SYMTYPE),
            link("f.wav", "b.wav", tarfile.SYMTYPE) + link("out.wav", "/etc/passwd", tarfile.SYMTYPE),
            link("round.wav", "round.wav", tarfile.SYMTYPE) + member("later.wav", WAVS[3]),
        )
    )
    found = read_tar_of(tmp_path, pack(data + END))
    assert found.names == {"./a": 0, "./a.wav (2)": 2, "later": 3, "lost": "unreadable", "b": 0, "c": 1, "d": 2} | {
        "sub/e": 3,
        "f": 0,
    }
    assert found.references == {"b": "bee", "c": "bee"}
    assert found.entries.skipped == {"unknown type (none)": 1, "symbolic link": 2}
    assert found.entries.unaccounted == 0
    unit = unit_of(tmp_path / "t.tar")
    whole = worked(cut(unit), tmp_path / "whole")
    for shares in (2, 4):
        rows = worked(cut(unit, shares), tmp_path / f"{shares}")
        assert sorted(rows, key=lambda row: str(row["member"])) == sorted(whole, key=lambda row: str(row["member"]))


def test_what_macos_adds_is_passed_over(tmp_path: Path) -> None:
    apple = bytes.fromhex("00051607000200004d6163204f532058") + bytes(100)
    data = (
        member("./._b.wav", apple) + member("./b.wav", WAVS[0]) + member("./._b.txt", apple) + member("./b.txt", b"b")
    )
    found = read_tar_of(tmp_path, data + member("__MACOSX/sub/x.wav", apple) + member("sub/._c.wav", apple) + END)
    assert (found.names, found.references) == ({"./b": 0}, {"./b": "b"})
    assert found.entries.skipped == {"AppleDouble": 4}


def test_texts_of_any_case_order_and_size(tmp_path: Path) -> None:
    words = json.dumps({"text": "big", "words": ["x" * 10] * 100_000}).encode()
    texts = [member("a.JSON", b'{"text": "json", "by": 1}'), member("a.TXT", b"txt")]
    for order in (texts, texts[::-1]):
        found = read_tar_of(tmp_path, member("a.Wav", WAVS[0]) + b"".join(order) + END)
        assert found.texts == {"a": ("txt", {"by": 1})}
    found = read_tar_of(tmp_path, member("b.wav", WAVS[0]) + member("b.json", words) + END)
    assert found.references == {"b": "big"}
    assert len(found.texts["b"][1]["words"]) == 100_000  # type: ignore[arg-type]
    huge = json.dumps({"text": "huge", "words": ["x" * 10] * 500_000}).encode()
    found = read_tar_of(tmp_path, member("c.wav", WAVS[0]) + member("c.json", huge) + END)
    assert found.texts["c"] == ("huge", {"unread_text": f"{len(huge)} bytes of JSON, of which only the text is kept"})


def test_texts_in_other_encodings_are_read_or_said_to_be_unread(tmp_path: Path) -> None:
    texts = {
        "gbk": "今天早上".encode("gbk"),
        "utf16": "今天早上".encode("utf-16"),
        "latin": "Grüße".encode("latin-1"),
        "binary": b"a\0b",
    }
    data = b"".join(member(f"{name}.wav", WAVS[0]) + member(f"{name}.txt", text) for name, text in texts.items())
    found = read_tar_of(tmp_path, data + END)
    assert found.references == {"gbk": "今天早上", "utf16": "今天早上", "latin": None, "binary": None}
    assert "neither UTF-8" in str(found.texts["latin"][1]["unread_text"])
    assert "zero bytes" in str(found.texts["binary"][1]["unread_text"])
    (tmp_path / "t.tar").unlink()
    for name, text in texts.items():
        (tmp_path / f"{name}.wav").write_bytes(WAVS[0])
        (tmp_path / f"{name}.txt").write_bytes(text)
    rows = read_piece(piece_of(unit_of(tmp_path).objects), ReadSettings()).to_pylist()
    assert {row["recording_id"]: row["reference"] for row in rows} == {
        f"{name}.wav": reference for name, reference in found.references.items()
    }


def test_a_text_that_may_not_be_read_costs_no_recording(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "a.wav").write_bytes(WAVS[0])
    (tmp_path / "a.txt").write_bytes(b"x" * 100)
    monkeypatch.setattr("actors.sources.objects.MAX_COMPANION_BYTES", 10)
    (recording,) = read(tmp_path).recordings
    assert (recording.content, recording.reference) == (WAVS[0], None)
    assert recordings.UNREAD_TEXT in (recording.extra or {})


LINES = [
    {"audio_filepath": "a.wav", "text": "a"},
    {"audio_filepath": "a-sub1.wav", "offset": 0.05, "text": "real"},
    {"audio_filepath": "b.wav", "offset": 0.1, "text": "to the end"},
    {"audio_filepath": "b-sub1.wav", "offset": 0.1, "duration": 0.1, "text": "stretch"},
    {"audio_filepath": "./c.wav", "text": "c"},
    {"audio_filepath": "deep/d.wav", "text": "d"},
    {"audio_filepath": "gone-sub2.wav", "text": "none"},
]


@pytest.mark.parametrize("order", [1, -1])
@pytest.mark.parametrize("shares", [1, 2, 4])
def test_lines_of_nemo_name_members_in_many_ways(tmp_path: Path, order: int, shares: int) -> None:
    names = ["./a.wav", "a-sub1.wav", "b.wav", "sub/c.wav", "d.wav"][::order]
    data = b"".join(member(name, WAVS[number]) for number, name in enumerate(names))
    (tmp_path / "audio_0.tar").write_bytes(data + END)
    text = "".join(json.dumps(line | {"shard_id": 0}) + "\n" for line in LINES)
    (tmp_path / "manifest.jsonl").write_text(text)
    rows = worked(cut(unit_of(tmp_path), shares), tmp_path / "out")
    found = {row["recording_id"]: (row["member"], row["offset_s"], row["reference"]) for row in rows}
    assert found == {
        "a.wav": ("./a.wav", None, "a"),
        "a-sub1.wav": ("a-sub1.wav", 0.05, "real"),
        "b.wav": ("b.wav", 0.1, "to the end"),
        "b-sub1.wav": ("b.wav", 0.1, "stretch"),
        "./c.wav": ("sub/c.wav", None, "c"),
        "deep/d.wav": ("d.wav", None, "d"),
        "gone-sub2.wav": ("gone-sub2.wav", None, None),
    }
    assert {row["recording_id"] for row in rows if row["error_kind"]} == {"gone-sub2.wav"}
    assert len(rows) == len(LINES)


def test_a_line_of_nemo_is_given_to_the_first_member_of_its_name_in_any_shares(tmp_path: Path) -> None:
    once = member("a.wav", WAVS[0]) + member("b.wav", WAVS[1])
    (tmp_path / "audio_0.tar").write_bytes(once + END + member("a.wav", WAVS[2]) + member("c.wav", WAVS[3]) + END)
    offsets = {"a.wav": 0.1, "a-sub1.wav": 0.2}
    lines = [{"audio_filepath": name, "offset": offset, "shard_id": 0} for name, offset in offsets.items()]
    (tmp_path / "manifest.jsonl").write_text("\n".join(map(json.dumps, lines)))
    unit = unit_of(tmp_path)
    whole = worked(cut(unit), tmp_path / "whole")
    names = [(row["recording_id"], row["member"]) for row in whole]
    assert names == [
        ("a.wav", "a.wav"),
        ("b", "b.wav"),
        ("a.wav (2)", "a.wav (2)"),
        ("c", "c.wav"),
        ("a-sub1.wav", "a.wav"),
    ]
    for shares in (2, 3, 4):
        rows = worked(cut(unit, shares), tmp_path / f"{shares}")
        assert sorted(map(str, rows)) == sorted(map(str, whole))
