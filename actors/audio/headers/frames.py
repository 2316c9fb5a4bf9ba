"""Durations of MP3, ADTS AAC, AMR and Ogg, whose frames or pages state their own.

Of MP3, AAC and AMR, the frames at the beginning are measured, and the others taken to be like them. Formats: ISO/IEC
11172-3 and 13818-3 (MP3), the Xing and VBRI headers of encoders, ISO/IEC 13818-7 (ADTS), RFC 4867 (AMR), RFC 3533 (Ogg)
and RFC 7845 (Opus). Functions return seconds, or None if the file does not tell; for broken files they raise what
`seconds.BROKEN` lists.
"""

from collections.abc import Callable
from typing import NamedTuple

from actors.audio.headers.excerpt import BLOCK_BYTES, Excerpt

_MP3_RATES = (44_100, 48_000, 32_000)
#: Kilobits per second by index: layers 1 to 3 of MPEG-1, then layer 1 and layers 2 and 3 of MPEG-2.
_MP3_KILOBITS = {
    (1, 1): (0, 32, 64, 96, 128, 160, 192, 224, 256, 288, 320, 352, 384, 416, 448),
    (1, 2): (0, 32, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320, 384),
    (1, 3): (0, 32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320),
    (2, 1): (0, 32, 48, 56, 64, 80, 96, 112, 128, 144, 160, 176, 192, 224, 256),
    (2, 2): (0, 8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160),
    (2, 3): (0, 8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160),
}
_AAC_RATES = (96_000, 88_200, 64_000, 48_000, 44_100, 32_000, 24_000, 22_050, 16_000, 12_000, 11_025, 8_000, 7_350)
_AMR_S = 0.02
_AMR_BYTES = {  # of a frame by its type, with its first byte
    b"#!AMR\n": (13, 14, 16, 18, 20, 21, 27, 32, 6, 6, 6, 6, 1, 1, 1, 1),
    b"#!AMR-WB\n": (18, 24, 33, 37, 41, 47, 51, 59, 61, 6, 1, 1, 1, 1, 1, 1),
}
_OGG_HEADER = 27  # bytes, before the table of segments
MAX_STREAMS = 8  # of an Ogg file, searched for one of sound
MAX_PAGE = 27 + 255 + 255 * 255
_LATE_S = 60.0  # a recording of a broadcast may begin at any time


class _Frame(NamedTuple):
    length: int  # bytes
    seconds: float


class _Page(NamedTuple):
    """An Ogg page: its stream's number, the position in samples at its end (None in a page that ends no packet), where
    its content begins and where it ends, in bytes."""

    serial: int
    granule: int | None
    is_first: bool
    body: int
    end: int


def mp3(file: Excerpt) -> float | None:
    data = file.read(0, 4_096)
    frame = _mp3_frame(data[:4])
    if frame is None:
        return None
    for at in range(4, 44):  # the offset depends on the version, the channels and a checksum
        if data[at : at + 4] in (b"Xing", b"Info"):
            flags, frames, stored = (int.from_bytes(data[at + step : at + step + 4], "big") for step in (4, 8, 12))
            if flags & 3 == 3 and stored:
                return frames * frame.seconds * file.size / stored  # more may have been appended, or be missing
            if flags & 1:
                return frames * frame.seconds
        elif data[at : at + 4] == b"VBRI":
            return int.from_bytes(data[at + 14 : at + 18], "big") * frame.seconds
    return _extrapolated(file, 0, _mp3_frame)


def _mp3_frame(header: bytes) -> _Frame | None:
    if len(header) < 4 or header[0] != 0xFF or header[1] & 0xE0 != 0xE0:
        return None
    version, layer = {3: 1, 2: 2, 0: 3}.get(header[1] >> 3 & 3, 0), 4 - (header[1] >> 1 & 3)
    index, rate_index = header[2] >> 4, header[2] >> 2 & 3
    if not version or layer == 4 or not 0 < index < 15 or rate_index == 3:
        return None
    rate = _MP3_RATES[rate_index] >> (version - 1)  # MPEG-2.5, here version 3, has a quarter of MPEG-1's
    samples = 384 if layer == 1 else 576 if layer == 3 and version > 1 else 1_152
    bits = 1_000 * _MP3_KILOBITS[min(version, 2), layer][index]
    unit = 4 if layer == 1 else 1  # of padding
    return _Frame((samples * bits // (8 * unit * rate) + (header[2] >> 1 & 1)) * unit, samples / rate)


def aac(file: Excerpt) -> float | None:
    return _extrapolated(file, 0, _aac_frame)


def _aac_frame(header: bytes) -> _Frame | None:
    if len(header) < 7 or header[0] != 0xFF or header[1] & 0xF6 != 0xF0 or header[2] >> 2 & 15 >= len(_AAC_RATES):
        return None
    length = (header[3] & 3) << 11 | header[4] << 3 | header[5] >> 5
    return _Frame(length, 1_024 * ((header[6] & 3) + 1) / _AAC_RATES[header[2] >> 2 & 15]) if length >= 7 else None


def amr(file: Excerpt) -> float | None:
    magic = file.read(0, 9)
    magic = magic[: magic.find(b"\n") + 1]
    lengths = _AMR_BYTES[magic]
    return _extrapolated(
        file, len(magic), lambda header: _Frame(lengths[header[0] >> 3 & 15], _AMR_S) if header else None
    )


def _extrapolated(file: Excerpt, at: int, measure: Callable[[bytes], _Frame | None]) -> float | None:
    """The seconds of all frames if they are like those in the first bytes, up to the first that is none; None if there
    is only one, since any bytes may look like a frame."""
    data, position, seconds, count = file.read(at, BLOCK_BYTES), 0, 0.0, 0
    while frame := measure(data[position : position + 8]):
        position, seconds, count = position + frame.length, seconds + frame.seconds, count + 1
    is_alone = count == 1 and position < len(data)
    return None if is_alone or not count else seconds * (file.size - at) / position


def ogg(file: Excerpt) -> float | None:
    """By the last page; if it is missing, or of another stream, by those at the beginning."""
    at, rate, serial = 0, 0, 0
    for _ in range(MAX_STREAMS):
        page = _page(file.read(at, _OGG_HEADER + 255), at)
        if page is None or not page.is_first:
            return None
        rate, serial, at = _ogg_rate(file.read(page.body, 64)), page.serial, page.end
        if rate:
            break
    pages = _pages(file.read(at, 2 * BLOCK_BYTES), at, serial)
    timed = [(page.granule, page.end) for page in pages if page.granule]
    if not rate or not timed:
        return None
    start = timed[0][0] if timed[0][0] > _LATE_S * rate else 0
    tail_at = max(file.size - 2 * MAX_PAGE, 0)
    tail = _pages(file.read(tail_at, 2 * MAX_PAGE), tail_at, serial) if file.read(file.size - 1, 1) else []
    last = [page.granule for page in tail if page.granule]
    if last:
        return (last[-1] - start) / rate
    return (timed[-1][0] - start) / rate * file.size / timed[-1][1]


def _ogg_rate(packet: bytes) -> int:
    """Positions per second in a stream, by its first packet; 0 if it is not of sound."""
    if packet.startswith(b"OpusHead"):
        return 48_000
    if packet.startswith(b"\x01vorbis"):
        return int.from_bytes(packet[12:16], "little")
    if packet.startswith(b"Speex   "):
        return int.from_bytes(packet[36:40], "little")
    if packet.startswith(b"\x7fFLAC"):
        return int.from_bytes(packet[27:30], "big") >> 4
    return 0


def _pages(data: bytes, offset: int, serial: int) -> list[_Page]:
    """The pages of a stream in the bytes at an offset."""
    found, at = list[_Page](), data.find(b"OggS")
    while at >= 0:
        page = _page(data[at : at + _OGG_HEADER + 255], offset + at)
        if page and page.serial == serial:
            found.append(page)
        at = data.find(b"OggS", at + 4)
    return found


def _page(header: bytes, at: int) -> _Page | None:
    """The page whose header is at a position."""
    if len(header) < _OGG_HEADER or header[:5] != b"OggS\0":
        return None
    segments = header[_OGG_HEADER : _OGG_HEADER + header[26]]
    granule = int.from_bytes(header[6:14], "little", signed=True)
    body = at + _OGG_HEADER + header[26]
    serial = int.from_bytes(header[14:18], "little")
    return _Page(serial, granule if granule >= 0 else None, bool(header[5] & 2), body, body + sum(segments))
