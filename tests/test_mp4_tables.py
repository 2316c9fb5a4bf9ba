"""MP4 files of some kB whose tables unfold to gigabytes, hours or no end."""

import struct

import pytest
from conftest import tone
from test_audio import FILES, error_of, ffmpeg_file

from actors.audio.codecs import Opening, Source, Undecodable
from actors.audio.decode import DecodeRequest, decode
from actors.audio.ffmpeg import open_ffmpeg
from actors.audio.mp4_tables import MAX_SAMPLES
from actors.schema import ErrorKind


def boxes(data: bytes) -> list[tuple[bytes, bytes]]:
    found, at = [], 0
    while at + 8 <= len(data):
        size = int.from_bytes(data[at : at + 4], "big")
        found.append((data[at + 4 : at + 8], data[at + 8 : at + size]))
        at += size
    return found


def with_box(data: bytes, path: list[bytes], body: bytes) -> bytes:
    """An MP4 file with the body of a box replaced; the box is added where there is none."""
    inner = boxes(data)
    if path[0] not in dict(inner):
        inner.append((path[0], b""))
    return b"".join(
        struct.pack(">I", len(now) + 8) + kind + now
        for kind, old in inner
        for now in [old if kind != path[0] else with_box(old, path[1:], body) if path[1:] else body]
    )


def without_edits(data: bytes) -> bytes:
    return data.replace(b"edts", b"free")


TABLES = [b"moov", b"trak", b"mdia", b"minf", b"stbl"]
MANY = MAX_SAMPLES + 1
BOMBS = {
    "sizes": ([*TABLES, b"stsz"], struct.pack(">III", 0, 1, MANY)),
    "sizes elsewhere": ([b"moov", b"trak", b"udta", b"meta", b"stz2"], struct.pack(">III", 0, 8, MANY)),
    "edits": ([b"moov", b"trak", b"edts", b"elst"], struct.pack(">II", 0, 100_000) + bytes(1_200_000)),
    "fragments": ([b"moof", b"traf", b"trun"], struct.pack(">II", 0, MANY)),
}


@pytest.mark.parametrize("name", BOMBS)
def test_tables_that_unfold_without_end(name: str) -> None:
    data = with_box(FILES["m4a"](), *BOMBS[name])
    if name == "sizes elsewhere":  # stz2 of a size that each sample has
        data = data.replace(b"stz2" + bytes(4), b"stsz" + bytes(4))
    with pytest.raises(Undecodable, match="entries is not possible"):
        open_ffmpeg(Source(data), "mov", Opening(lambda rate: 0))
    assert error_of(data).kind == ErrorKind.UNREADABLE


@pytest.mark.parametrize("hours", [0.01, 1, 13])
def test_packets_that_claim_hours_are_owed_nothing(hours: float) -> None:
    whole = without_edits(ffmpeg_file(tone(4, 44_100), 44_100, "mp4", "libmp3lame"))
    times = struct.pack(">IIII", 0, 1, 155, round(hours * 3_600 * 44_100))
    data = bytearray(with_box(whole, [*TABLES, b"stts"], times))
    middle = data.index(b"mdat") + 26_000  # damage, beyond the packets that make up for where decoding began
    data[middle : middle + 1_500] = bytes(1_500)
    assert decode(bytes(data), DecodeRequest(max_seconds=60)).duration_s == pytest.approx(4, abs=0.2)
