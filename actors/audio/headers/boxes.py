"""Durations of MP4 and QuickTime, Matroska and WebM, and ASF (WMA), which are stated in boxes within boxes.

Formats: ISO/IEC 14496-12 (MP4), RFC 9559 (Matroska), Microsoft's ASF specification. Functions return seconds, or None
if the file does not tell; for broken files they raise what `seconds.BROKEN` lists.
"""

import struct
from collections.abc import Iterator

from actors.audio.headers.excerpt import BLOCK_BYTES, Excerpt

MAX_BOXES = 100  # of one level, passed over on the way to the one with the duration
_SEGMENT, _INFO, _CLUSTER = 0x18538067, 0x1549A966, 0x1F43B675
_SCALE, _DURATION, _TIMESTAMP = 0x2AD7B1, 0x4489, 0xE7
_DEFAULT_SCALE = 1_000_000  # nanoseconds
_ASF_PROPERTIES = bytes.fromhex("a1dcab8c47a9cf118ee400c00c205365")


def mov(file: Excerpt) -> float | None:
    """By the duration of the first track of sound."""
    for moov in _within(file, 0, file.size, b"moov"):
        for track in _within(file, *moov, b"trak"):
            for media in _within(file, *track, b"mdia"):
                handlers = [file.read(at + 8, 4) for at, _ in _within(file, *media, b"hdlr")]
                if handlers[:1] == [b"soun"]:
                    return next((_media_seconds(file, at) for at, _ in _within(file, *media, b"mdhd")), None)
    return None


def _media_seconds(file: Excerpt, at: int) -> float | None:
    long = file.number(at, 1, "big") == 1
    scale = file.number(at + (20 if long else 12), 4, "big")
    duration = file.number(at + (24 if long else 16), 8 if long else 4, "big")
    return None if duration == (1 << (64 if long else 32)) - 1 else duration / scale  # all ones: unknown


def _within(file: Excerpt, at: int, end: int, wanted: bytes) -> Iterator[tuple[int, int]]:
    """Where the contents of the boxes of a kind begin and end, between two positions."""
    for _ in range(MAX_BOXES):
        header = file.read(at, 16)
        size, kind, body = int.from_bytes(header[:4], "big"), header[4:8], at + 8
        if size == 1:
            size, body = int.from_bytes(header[8:16], "big"), at + 16
        stop = min(at + size, end) if size else end
        if len(header) < 8 or stop < body:
            return
        if kind == wanted:
            yield body, stop
        at = stop


def matroska(file: Excerpt) -> float | None:
    """By the stated duration; of a live recording, which has none, by the last cluster's time."""
    scale = _DEFAULT_SCALE
    for kind, body, end in _elements(file, 0, file.size):
        if kind != _SEGMENT:
            continue
        for part, begin, stop in _elements(file, body, end):
            if part == _CLUSTER:
                return _last_cluster(file, scale)
            if part != _INFO:
                continue
            info = {name: file.read(at, min(close - at, 8)) for name, at, close in _elements(file, begin, stop)}
            scale = int.from_bytes(info.get(_SCALE, b""), "big") or scale
            if duration := info.get(_DURATION):
                return float(struct.unpack(">f" if len(duration) == 4 else ">d", duration)[0]) * scale / 1e9
    return None


def _last_cluster(file: Excerpt, scale: int) -> float | None:
    """The seconds by the time of the last cluster among the file's last bytes, or if they are missing, its first."""
    for begin in (max(file.size - 2 * BLOCK_BYTES, 0), 0):
        at = begin + file.read(begin, 2 * BLOCK_BYTES).rfind(_CLUSTER.to_bytes(4, "big"))
        if at <= begin:
            continue
        _, body, end = next(_elements(file, at, file.size))
        for name, start, stop in _elements(file, body, end):
            if name == _TIMESTAMP:
                time = file.number(start, min(stop - start, 8), "big") * scale / 1e9
                return time * file.size / at  # as if the sound were spread evenly over the bytes
    return None


def _elements(file: Excerpt, at: int, end: int) -> Iterator[tuple[int, int, int]]:
    """The elements between two positions: their numbers, and where their contents begin and end."""
    for _ in range(MAX_BOXES):
        header = file.read(at, 12)
        if at >= end or len(header) < 2 or not header[0]:
            return
        number_bytes = 9 - header[0].bit_length()
        size_bytes = 9 - header[number_bytes].bit_length()
        body, unknown = at + number_bytes + size_bytes, (1 << 7 * size_bytes) - 1
        size = int.from_bytes(header[number_bytes : number_bytes + size_bytes], "big") & unknown
        stop = end if size == unknown else min(body + size, end)
        yield int.from_bytes(header[:number_bytes], "big"), body, stop
        at = stop


def asf(file: Excerpt) -> float | None:
    """By the play duration, or for a broadcast by the greatest bit rate."""
    at = 30
    for _ in range(MAX_BOXES):
        kind, size = file.exactly(at, 16), file.number(at + 16, 8, "little")
        if kind == _ASF_PROPERTIES:
            duration, preroll = file.number(at + 64, 8, "little"), file.number(at + 80, 8, "little")
            is_broadcast, bits = file.number(at + 88, 4, "little") & 1, file.number(at + 100, 4, "little")
            return file.size * 8 / bits if is_broadcast or not duration else duration / 1e7 - preroll / 1e3
        at += max(size, 24)
    return None
