"""Finds where a stream of frames begins: MPEG audio, AAC, AC-3, DTS, transport and program streams.

Two or four bytes of sync are in any file by chance. So a stream is a chain: each header states the length of its frame,
at whose end the next header stands, with the same parameters.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass
from operator import itemgetter
from typing import NamedTuple

CHAIN = 8  # frames behind one another that make a stream, wherever they begin
HEADER_BYTES = 16  # that are read of a frame at most
MAX_ALIKE = 3  # places in a frame that look like its header; in pictures and tables of numbers there are more
ALIKE_BYTES = 2_048  # in which they are counted
MAX_SYNCS = 20  # bytes in a packet that look like its first one
MAX_FREE_BYTES = 8_192  # of an MPEG frame whose header does not state its length
_TRAILERS = (b"TAG", b"APETAGEX", b"LYRICSBEGIN", b"ID3", b"3DI")  # what may follow the last frame


class Header(NamedTuple):
    """What a frame's header states: the frame's bytes, its own included, and what must not change within a stream."""

    length: int
    parameters: object = None


@dataclass(frozen=True)
class Kind:
    """A kind of stream: its demuxer in FFmpeg, the bytes that a frame begins with, how a header is read (None if it is
    impossible), how many frames make a chain, and whether a chain is searched for behind junk."""

    container: str
    sync: re.Pattern[bytes]
    header_at: Callable[[bytes, int], Header | None]
    chain: int = CHAIN
    is_searched: bool = True


_RATES = ((11_025, 12_000, 8_000), None, (22_050, 24_000, 16_000), (44_100, 48_000, 32_000))  # 2.5, none, 2, 1
_KBIT_1 = (
    (32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320),  # layer III
    (32, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320, 384),
    (32, 64, 96, 128, 160, 192, 224, 256, 288, 320, 352, 384, 416, 448),  # layer I
)
_KBIT_2 = (
    (8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160),  # layers III and II
    (8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160),
    (32, 48, 56, 64, 80, 96, 112, 128, 144, 160, 176, 192, 224, 256),
)


def _mpeg_audio(data: bytes, at: int) -> Header | None:
    """MPEG-1, 2 and 2.5 audio, layers I to III (ISO/IEC 11172-3 and 13818-3)."""
    version, layer = data[at + 1] >> 3 & 3, data[at + 1] >> 1 & 3
    bit_rate, rate, padding = data[at + 2] >> 4, data[at + 2] >> 2 & 3, data[at + 2] >> 1 & 1
    rates = _RATES[version]
    if rates is None or not layer or bit_rate == 15 or rate == 3 or data[at + 3] & 3 == 2:
        return None
    if not bit_rate:
        return _of_free_rate(data, at, padding * (4 if layer == 3 else 1))
    bits = 1_000 * (_KBIT_1 if version == 3 else _KBIT_2)[layer - 1][bit_rate - 1]
    if layer == 3:
        length = (12 * bits // rates[rate] + padding) * 4
    else:
        length = (72 if layer == 1 and version != 3 else 144) * bits // rates[rate] + padding
    return Header(length, (version, layer, rate))


def _of_free_rate(data: bytes, at: int, padding: int) -> Header | None:
    """A frame of MPEG audio whose bit rate is free: its length is not stated, so it ends where the next one begins."""
    start, plain, padded = data[at : at + 2], data[at + 2] & 0xFD, data[at + 2] | 2
    places = (data.find(start + bytes([each]), at + 24, at + MAX_FREE_BYTES) for each in (plain, padded))
    length = min((place - at for place in places if place > 0), default=0)
    if not length or data[at : at + length] == data[at + length : at + 2 * length]:
        return None  # a pattern that repeats, as in pictures
    return Header(length, (start, plain, length - padding))


def _adts(data: bytes, at: int) -> Header | None:
    """AAC in ADTS (ISO/IEC 13818-7, 6.2). Profile, rate and channels stand in 28 bits that do not change."""
    length = (data[at + 3] & 3) << 11 | data[at + 4] << 3 | data[at + 5] >> 5
    if data[at + 2] >> 2 & 15 > 12 or length < 7:
        return None
    return Header(length, (data[at + 1], data[at + 2], data[at + 3] & 0xC0))


def _loas(data: bytes, at: int) -> Header | None:
    """AAC in LATM with a sync layer, LOAS (ISO/IEC 14496-3, 1.7.2)."""
    length = (data[at + 1] & 0x1F) << 8 | data[at + 2]
    return Header(length + 3) if length >= 4 else None


_AC3_KBIT = (32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320, 384, 448, 512, 576, 640)


def _ac3(data: bytes, at: int) -> Header | None:
    """AC-3 (ETSI TS 102 366, 4.3): bsid up to 10."""
    rate, size, version = data[at + 4] >> 6, data[at + 4] & 63, data[at + 5] >> 3
    if rate == 3 or size > 37 or version > 10:
        return None
    bits = _AC3_KBIT[size >> 1]
    words = (bits * 96_000 // 44_100 + (size & 1), bits * 3)[rate - 1] if rate else bits * 2
    return Header(words * 2, rate)


def _eac3(data: bytes, at: int) -> Header | None:
    """E-AC-3 (ETSI TS 102 366, annex E): bsid 11 to 16. On Blu-ray, frames of AC-3 stand between them."""
    if not 11 <= data[at + 5] >> 3 <= 16:
        return _ac3(data, at)
    rate = data[at + 4] >> 6
    if data[at + 2] >> 6 == 3 or (rate == 3 and data[at + 4] >> 4 & 3 == 3):
        return None
    length = ((data[at + 2] & 7) << 8 | data[at + 3]) * 2 + 2
    return Header(length, rate) if length >= 8 else None


def _dts(data: bytes, at: int) -> Header | None:
    """DTS (ETSI TS 102 114): core frames in words of 16 or 14 bits of either endianness, and the extensions that DTS-HD
    puts between them."""
    head = data[at : at + 16]
    if head[0] in (0xFE, 0xFF):  # little-endian
        head = bytes(head[place ^ 1] for place in range(16))
    if head.startswith(b"dX %"):
        length = (_bits(head, 55, 20) if _bits(head, 42, 1) else _bits(head, 51, 16)) + 1
        return Header(length) if length > 12 else None
    is_packed = head[0] == 0x1F  # 14 bits in each word
    if is_packed:
        words = (f"{_bits(head, 16 * number + 2, 14):014b}" for number in range(8))
        head = int("".join(words), 2).to_bytes(14, "big")
    blocks, length = _bits(head, 39, 7) + 1, _bits(head, 46, 14) + 1
    if blocks < 6 or length < 96:
        return None
    return Header(length * 16 // 14 if is_packed else length)


def _bits(data: bytes, first: int, count: int) -> int:
    """`count` bits of some bytes as a number, from bit `first` on, the highest of the first byte being 0."""
    return int.from_bytes(data, "big") >> 8 * len(data) - first - count & (1 << count) - 1


def _transport(packet_bytes: int) -> Callable[[bytes, int], Header | None]:
    """Packets of an MPEG transport stream (ISO/IEC 13818-1, 2.4.3.2): without errors, with a payload or a field."""

    def header_at(data: bytes, at: int) -> Header | None:
        if data[at + 1] & 0x80 or not data[at + 3] & 0x30:
            return None
        packet, is_null = data[at : at + 188], data[at + 1 : at + 3] == b"\x1f\xff"
        is_row = packet == data[at + packet_bytes : at + packet_bytes + 188] and not is_null  # of a picture
        is_table = packet.count(b"G") > MAX_SYNCS  # of numbers
        return None if is_row or is_table else Header(packet_bytes)

    return header_at


def _program(data: bytes, at: int) -> Header | None:
    """Packets and pack headers of an MPEG program stream (ISO/IEC 13818-1, 2.5.3, and 11172-1)."""
    if data[at + 3] != 0xBA:
        return Header(6 + int.from_bytes(data[at + 4 : at + 6], "big"))
    if data[at + 4] >> 6 == 1:
        return Header(14 + (data[at + 13] & 7))
    return Header(12) if data[at + 4] >> 4 == 2 else None


_DTS_SYNC = rb"\x7f\xfe\x80\x01|\xfe\x7f\x01\x80|\x1f\xff\xe8\0\x07|\xff\x1f\0\xe8.\x07|dX %"
_FREE_RATE = rb"\xff(?=[\xe2-\xe7\xf2-\xf7\xfa-\xff][\0-\x0f])"  # tables of records look like it

KINDS = (
    Kind("mp3", re.compile(rb"\xff(?=[\xe2-\xe7\xf2-\xf7\xfa-\xff][\x10-\xef])"), _mpeg_audio),
    Kind("mp3", re.compile(_FREE_RATE), _mpeg_audio, chain=16, is_searched=False),
    Kind("aac", re.compile(rb"\xff(?=[\xf0\xf1\xf8\xf9])"), _adts),
    Kind("ac3", re.compile(rb"\x0b(?=\x77)"), _ac3),
    Kind("eac3", re.compile(rb"\x0b(?=\x77)"), _eac3),
    Kind("dts", re.compile(_DTS_SYNC, re.DOTALL), _dts, chain=4),
    Kind("loas", re.compile(rb"\x56(?=[\xe0-\xff])"), _loas, chain=12),
    Kind("mpeg", re.compile(rb"\0(?=\0\x01[\xba\xbb\xbd-\xef])"), _program, chain=4),
    *(Kind("mpegts", re.compile(rb"G"), _transport(size), chain=20) for size in (188, 192, 204)),
)  # fmt: skip


def find_stream(data: bytes, is_all: bool) -> tuple[str, int] | None:
    """The container of the first stream of frames in `data`, and where it begins; None if there is none.

    A stream at the beginning of the data may break after half a chain. If the file ends with the data, as `is_all`
    tells, half a chain may reach to the end, and at the beginning a frame or two.
    """
    for kind in KINDS:
        at_end = max(kind.chain // 8, 1) if is_all else kind.chain
        if kind.sync.match(data) and _is_stream(kind, data, 0, kind.chain // 2, at_end):
            return kind.container, 0
    if data.isascii():
        return None
    found = list[tuple[int, str]]()
    end = len(data)
    for kind in (each for each in KINDS if each.is_searched):
        at_end = kind.chain // 2 if is_all else kind.chain
        places = (match.start() for match in kind.sync.finditer(data, 0, end))
        first = next((place for place in places if _is_stream(kind, data, place, kind.chain, at_end)), None)
        if first is not None:
            found.append((first if not _is_like(kind, data, 0, first) else 0, kind.container))
            end = first
    offset, container = min(found, key=itemgetter(0), default=(0, ""))
    return (container, offset) if container else None


def _is_stream(kind: Kind, data: bytes, at: int, chain: int, at_end: int) -> bool:
    """Whether `chain` frames follow one another from `at` on, or `at_end` up to the end of the data: to its last byte,
    a tag, padding, or a frame that was cut off."""
    frames, parameters = 0, None
    while frames < chain:
        rest = data[at : at + HEADER_BYTES]
        if len(rest) < HEADER_BYTES or not kind.sync.match(rest):
            if frames < at_end:
                return False
            return len(rest) < HEADER_BYTES or rest.startswith(_TRAILERS) or not any(data[at:])
        header = kind.header_at(data, at)
        if header is None or (frames and header.parameters != parameters):
            return False
        if data.count(rest[:3], at, at + min(header.length, ALIKE_BYTES)) > MAX_ALIKE:
            return False
        if at + header.length > len(data):
            return frames >= at_end
        parameters = header.parameters
        at += header.length
        frames += 1
    return True


def _is_like(kind: Kind, data: bytes, at: int, first: int) -> bool:
    """Whether a frame like the one at `first` begins at `at`: where the chain breaks behind it, it is damaged."""
    header = kind.header_at(data, at) if kind.sync.match(data, at) else None
    like = kind.header_at(data, first)
    return header is not None and like is not None and header.parameters == like.parameters
