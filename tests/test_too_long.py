"""More sound than audio.max_hours: one row, without text, however the recording is cut and whatever its header says."""

import json
import os
import struct
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from conftest import encoded, piece_of, tone
from test_audio import error_of
from test_pieces import cut, tar_of, unit_of, worked

from actors.audio.decode import DecodeRequest, decode
from actors.reader import read_piece
from actors.schema import ErrorKind
from actors.sources.objects import ReadSettings
from actors.storage import ranges
from actors.storage.place import Place
from actors.storage.stored_file import StoredFile
from jobs.cli.config import Audio, Input
from jobs.planning.listing import list_input
from jobs.planning.recipe import recipe_digest

HOUR = 3_600
SETTINGS = ReadSettings(max_hours=2.05)  # more than a piece may hold


def crc(data: bytes, bits: int, polynomial: int) -> int:
    value = 0
    for byte in data:
        value ^= byte << (bits - 8)
        for _ in range(8):
            value = (value << 1) ^ (polynomial if value >> (bits - 1) else 0)
            value &= (1 << bits) - 1
    return value


def constant_flac(hours: float, stated: int | None = None) -> bytes:
    """FLAC of frames that each say one value 65,535 times, at 8 kHz: 14 bytes for 8 s (RFC 9639)."""
    count = int(hours * HOUR * 8_000 / 65_535) + 1
    total = count * 65_535 if stated is None else stated
    info = struct.pack(">HH", 65_535, 65_535) + bytes(6) + (8_000 << 44 | 15 << 36 | total).to_bytes(8, "big")
    frames = [b"fLaC\x80\0\0\x22" + info + bytes(16)]
    for number in range(count):
        header = b"\xff\xf8\x74\x08" + chr(number).encode() + struct.pack(">H", 65_534)
        frame = header + bytes([crc(header, 8, 0x07)]) + bytes(3)
        frames.append(frame + struct.pack(">H", crc(frame, 16, 0x8005)))
    return b"".join(frames)


@pytest.fixture(scope="module")
def long_flac() -> bytes:
    """Two hours and some minutes, in 14 kB."""
    return constant_flac(2.15)


def test_the_sentence_names_the_key(long_flac: bytes) -> None:
    assert len(long_flac) < 14_000
    problem = error_of(long_flac, max_hours=2.05)
    assert (problem.kind, problem.detail) == (ErrorKind.TOO_LONG, "more sound than audio.max_hours (2.05) allows")
    assert decode(long_flac, DecodeRequest(max_hours=2.16)).duration_s == pytest.approx(2.15 * HOUR, abs=10)


def test_what_is_too_long_is_not_asked_for_in_finer_cuts(long_flac: bytes, tmp_path: Path) -> None:
    """Neither where decoding stops at what one piece may hold, nor where it does not get as far."""
    for most in (HOUR, 10 * HOUR):
        assert error_of(long_flac, max_hours=2.05, max_seconds=most).kind == ErrorKind.TOO_LONG
    (tmp_path / "a.flac").write_bytes(long_flac)
    (tmp_path / "a.txt").write_text("said")
    unit = unit_of(tmp_path)
    table = read_piece(cut(unit, seconds=60)[0], SETTINGS).to_pylist()
    assert [(row["error_kind"], row["pcm"], row["reference"]) for row in table] == [("too_long", None, "said")]


@pytest.mark.parametrize("stretches", [1, 3, 20])
def test_one_row_however_it_is_cut(long_flac: bytes, stretches: int, tmp_path: Path) -> None:
    (tmp_path / "t.tar").write_bytes(
        tar_of([("a.wav", encoded(tone(1))), ("b.flac", long_flac), ("b.txt", b"said"), ("c.wav", encoded(tone(1)))])
    )
    pieces = cut(unit_of(tmp_path / "t.tar"), stretches=stretches, seconds=600)
    rows = worked(pieces, tmp_path / "out", settings=SETTINGS)
    assert [row["error_kind"] for row in rows] == [None, "too_long", None]
    assert (rows[1]["member"], rows[1]["reference"], rows[1]["segment_index"]) == ("b.flac", "said", 0)
    assert rows[1]["text"] is rows[1]["start_s"] is rows[1]["duration_s"] is None


@pytest.mark.parametrize("stated", [0, 5, (1 << 36) - 1])
def test_what_flac_states_is_not_believed(stated: int) -> None:
    noise = np.random.default_rng(0).normal(0, 0.1, 30 * 16_000)
    data = bytearray(encoded(noise, kind="FLAC"))
    data[21:26] = (data[21] >> 4 << 36 | stated).to_bytes(5, "big")  # of total samples: RFC 9639, section 8.2
    assert decode(bytes(data), DecodeRequest(max_hours=31 / HOUR)).duration_s == 30
    assert error_of(bytes(data), max_hours=29 / HOUR).kind == ErrorKind.TOO_LONG


def with_size(kind: str, size: int) -> tuple[bytes, int]:
    """The header of a file of 8 kHz that states so many bytes of 16-bit sound, and where the sound begins."""
    honest = encoded(np.zeros(8_000, np.int16), 8_000, kind)
    width, order, more = {"WAV": (4, "little", 0), "W64": (8, "little", 24), "AU": (4, "big", 0), "CAF": (8, "big", 4)}[
        kind
    ]
    stated = (16_000 + more).to_bytes(width, order)  # type: ignore[arg-type]
    assert honest.count(stated) >= 1
    lying = honest.replace(stated, min(size + more, (1 << 8 * width) - 1).to_bytes(width, order))  # type: ignore[arg-type]
    return lying[:-16_000], len(lying) - 16_000


@pytest.mark.parametrize("kind", ["WAV", "AU", "CAF", "W64"])
def test_a_size_is_enough_to_tell(kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Thirty hours, of which nothing but the start is read; and one second that states as much."""
    size = 30 * HOUR * 16_000
    header, start = with_size(kind, size)
    (tmp_path / "a").write_bytes(header)
    os.truncate(tmp_path / "a", start + size)
    read, part = list[int](), ranges.read_part

    def counted(*args: Any) -> bytes:
        data = part(*args)
        read.append(len(data))
        return data

    monkeypatch.setattr(ranges, "read_part", counted)
    stored = StoredFile(Place.at(str(tmp_path / "a")), start + size)
    assert error_of(stored, max_hours=24).kind == ErrorKind.TOO_LONG
    assert 0 < sum(read) < 40_000_000  # of 1.7 GB
    assert decode(header + bytes(16_000), DecodeRequest(max_hours=24)).duration_s == 1.0
    assert decode(with_size(kind, 1 << 40)[0] + bytes(16_000), DecodeRequest(max_hours=24)).duration_s == 1.0


@pytest.mark.parametrize("stretches", [1, 20])
def test_a_size_is_enough_in_a_piece(stretches: int, tmp_path: Path) -> None:
    size = 3 * HOUR * 16_000
    (tmp_path / "a.wav").write_bytes(with_size("WAV", size)[0])
    os.truncate(tmp_path / "a.wav", (tmp_path / "a.wav").stat().st_size + size)
    rows = worked(cut(unit_of(tmp_path), stretches=stretches, seconds=600), tmp_path / "out", settings=SETTINGS)
    assert [row["error_kind"] for row in rows] == ["too_long"]


def test_a_manifest_counts_its_own_stretch(long_flac: bytes, tmp_path: Path) -> None:
    (tmp_path / "a.flac").write_bytes(long_flac)
    lines = [
        {"offset": 2.1 * HOUR, "duration": 30},
        {"offset": 60, "duration": 0.4 * HOUR},
        {"offset": 60, "duration": 0.6 * HOUR},
        {"offset": 60, "duration": 90 * HOUR},
        {"offset": 2 * HOUR, "duration": 90 * HOUR},
        {"offset": 2 * HOUR},
        {"offset": 0},
    ]
    (tmp_path / "m.jsonl").write_text("".join(json.dumps({"audio_filepath": "a.flac"} | each) + "\n" for each in lines))
    listing = list_input(Input(uri=str(tmp_path / "m.jsonl")), "/nowhere/out")
    wrong = dict[Any, Any]()
    for each in listing.objects:
        piece = piece_of([each])
        rows = read_piece(piece, ReadSettings(max_hours=0.5)).to_pylist()
        fields = json.loads(each.lines or "")
        wrong[fields["offset"], fields.get("duration")] = rows[0]["error_kind"]
    expected = [None, None, "too_long", "too_long", None, None, "too_long"]
    assert wrong == {(each["offset"], each.get("duration")): kind for each, kind in zip(lines, expected, strict=True)}


def test_an_output_of_before_the_key_still_matches() -> None:
    before = {"max_megabytes": 512.0, "channel": "average"}
    assert Audio().recipe() == Audio(max_hours=24).recipe() == before
    assert recipe_digest({"heard": Audio().recipe()}) == recipe_digest({"heard": before})
    assert Audio(max_hours=2).recipe() == before | {"max_hours": 2.0}
    assert Audio(channel=1, max_megabytes=1).recipe() == {"max_megabytes": 1.0, "channel": 1}
