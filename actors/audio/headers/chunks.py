"""Durations of WAV, W64, AIFF, CAF, AU, SPHERE and FLAC, whose headers state the format of the samples.

Formats: the Library of Congress' format descriptions (WAV, AIFF, CAF, AU), libsndfile's w64.c, NIST's SPHERE manual,
and RFC 9639 (FLAC). Functions return seconds, or None if the header does not tell; for broken headers they raise what
`seconds.BROKEN` lists.
"""

import struct
from collections.abc import Iterator
from typing import NamedTuple

from actors.audio.codecs import CHANNELS, RATES
from actors.audio.headers.excerpt import Excerpt, Order

MAX_CHUNKS = 100  # passed over on the way to the one with the samples
_PLAIN_WAVES = {1: 0, 3: 0, 0xFFFE: 0, 6: 1, 7: 1}  # tags of WAV's formats: bytes per sample, 0 if stated as bits
_AIFF_BYTES = {b"ulaw": 1.0, b"ULAW": 1.0, b"alaw": 1.0, b"ALAW": 1.0, b"ima4": 34 / 64}  # by compression
_AU_BYTES = {1: 1, 2: 1, 3: 2, 4: 3, 5: 4, 6: 4, 7: 8, 23: 0.5, 24: 0.5, 25: 0.375, 26: 0.625, 27: 1}  # by encoding


class _Layout(NamedTuple):
    """The layout of chunks: the bytes of a name and of a size, to what multiple of bytes they are padded, and whether a
    size includes the header."""

    name_bytes: int
    size_bytes: int
    order: Order
    padding: int
    counts_header: bool = False


def wav(file: Excerpt) -> float | None:
    return _wave(file, 12, _Layout(4, 4, "big" if file.read(0, 4) == b"RIFX" else "little", 2))


def w64(file: Excerpt) -> float | None:
    return _wave(file, 40, _Layout(16, 8, "little", 8, counts_header=True))


def _wave(file: Excerpt, at: int, layout: _Layout) -> float | None:
    bytes_per_second = 0.0
    for name, body, length in _chunks(file, at, layout):
        if name == b"fmt ":
            bytes_per_second = _wave_bytes_per_second(file, body, layout.order)
        elif name == b"data" and bytes_per_second:
            return _present(file, body, length) / bytes_per_second
    return None


def _wave_bytes_per_second(file: Excerpt, at: int, order: Order) -> float:
    tag, channels, bits = (file.number(at + offset, 2, order) for offset in (0, 2, 14))
    rate, stated = (file.number(at + offset, 4, order) for offset in (4, 8))
    _check(rate, channels)
    if tag in _PLAIN_WAVES:
        return rate * channels * (_PLAIN_WAVES[tag] or (bits + 7) // 8)
    return stated  # ADPCM, GSM, MP3, …


def aiff(file: Excerpt) -> float | None:
    rate, sample_bytes, frames = 0.0, 0.0, 0
    for name, body, length in _chunks(file, 12, _Layout(4, 4, "big", 2)):
        if name == b"COMM":
            channels, bits = (file.number(body + offset, 2, "big") for offset in (0, 6))
            frames = file.number(body + 2, 4, "big")
            exponent, mantissa = file.number(body + 8, 2, "big"), file.number(body + 10, 8, "big")
            rate = mantissa * 2.0 ** (exponent - 16_383 - 63)  # an 80-bit floating-point number
            _check(rate, channels)
            kind = file.read(body + 18, 4) if length >= 22 else b""
            sample_bytes = channels * _AIFF_BYTES.get(kind, (bits + 7) // 8)
        elif name == b"SSND" and rate and sample_bytes:
            return _present(file, body + 8, length - 8) / sample_bytes / rate
    return frames / rate if rate else None


def caf(file: Excerpt) -> float | None:
    frames_per_byte, rate, frames = 0.0, 0.0, 0
    for name, body, length in _chunks(file, 8, _Layout(4, 8, "big", 1)):
        if name == b"desc":
            rate = struct.unpack(">d", file.exactly(body, 8))[0]
            packet_bytes, packet_frames, channels = (file.number(body + offset, 4, "big") for offset in (16, 20, 24))
            _check(rate, channels)
            frames_per_byte = packet_frames / packet_bytes if packet_bytes else 0.0
        elif name == b"pakt":
            frames = file.number(body + 8, 8, "big")
        elif name == b"data" and frames_per_byte:
            return _present(file, body + 4, length - 4) * frames_per_byte / rate
    return frames / rate if rate else None


def au(file: Excerpt) -> float | None:
    at, length, encoding, rate, channels = (file.number(offset, 4, "big") for offset in range(4, 24, 4))
    _check(rate, channels)
    if encoding not in _AU_BYTES:
        return None
    return _present(file, at, length) / (rate * channels * _AU_BYTES[encoding])


def nistsphere(file: Excerpt) -> float | None:
    fields = dict[bytes, bytes]()
    for line in file.read(16, 4_096).partition(b"end_head")[0].splitlines():
        name, _, value = line.partition(b" ")
        fields[name] = value.partition(b" ")[2]
    rate, channels, samples = (int(fields[name]) for name in (b"sample_rate", b"channel_count", b"sample_count"))
    _check(rate, channels)
    if b"shorten" not in fields.get(b"sample_coding", b""):
        sample_bytes = int(fields[b"sample_n_bytes"])
        samples = min(samples, (file.size - int(file.exactly(8, 8))) // (channels * sample_bytes))
    return samples / rate


def flac(file: Excerpt) -> float | None:
    return stream_info_seconds(file.exactly(8, 34))


def stream_info_seconds(stream_info: bytes) -> float | None:
    """The seconds that FLAC's STREAMINFO states: 20 bits of sample rate, 8 of the format, 36 of the samples."""
    bits = int.from_bytes(stream_info[10:18], "big")
    rate, samples = bits >> 44, bits & ((1 << 36) - 1)
    _check(rate, 1)
    return samples / rate or None


def _chunks(file: Excerpt, at: int, layout: _Layout) -> Iterator[tuple[bytes, int, int]]:
    """The chunks from a position on: the first four bytes of each one's name, its position, and its length."""
    header = layout.name_bytes + layout.size_bytes
    for _ in range(MAX_CHUNKS):
        name = file.read(at, header)
        if len(name) < header:
            return
        length = int.from_bytes(name[layout.name_bytes :], layout.order) - header * layout.counts_header
        if length < 0:
            return
        yield name[:4], at + header, length
        at += header + length
        at += -at % layout.padding


def _present(file: Excerpt, at: int, length: int) -> int:
    """How many of the stated bytes the file has; all the rest if none are stated, as programs do that stream."""
    rest = file.size - at
    return length if 0 < length < rest else rest


def _check(rate: float, channels: int) -> None:
    if not (RATES.start <= rate < RATES.stop and channels in CHANNELS):
        raise ValueError(f"{rate} Hz and {channels} channels are not possible")
