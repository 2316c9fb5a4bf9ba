"""Writes recordings in any container and codec, of the demo's speech or of other sound, the same bytes each time."""

import io
import itertools
import json
import struct
import tempfile
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import soundfile
import soxr
from numpy.typing import NDArray

RATE = 16_000
AUDIO = Path(__file__).parent.parent / "demo" / "audio"

Sound = NDArray[np.float32]  # (frames,) or (frames, channels)


def scaled(pcm: NDArray[Any]) -> Sound:
    """Samples in -1..1, of integers or as they are."""
    full_scale = 32_768 if np.issubdtype(pcm.dtype, np.integer) else 1
    return pcm.astype(np.float32) / np.float32(full_scale)


def sndfile_file(samples: Sound, rate: int, kind: str, subtype: str, endian: str = "FILE") -> bytes:
    """A file by libsndfile, written in blocks: at once, its Vorbis overflows the stack."""
    file, channels = io.BytesIO(), 1 if samples.ndim == 1 else samples.shape[1]
    with soundfile.SoundFile(file, "w", rate, channels, subtype, endian, kind) as sink:
        for start in range(0, len(samples), rate):
            sink.write(samples[start : start + rate])
    data = bytearray(file.getvalue())
    peak = data.find(b"PEAK", 0, 100)
    if peak > 0:
        data[peak + 12 : peak + 16] = bytes(4)  # the time of writing
    return bytes(data)


def ffmpeg_file(
    samples: Sound,
    rate: int,
    container: str,
    codec: str,
    options: dict[str, str] | None = None,
    bit_rate: int = 64_000,
    layout: str = "",
) -> bytes:
    """A file by FFmpeg of samples in -1..1, of shape (frames,) or (frames, channels)."""
    import av  # not at the top: a GPU's machine may lack it, and its tests need none of this

    channels = 1 if samples.ndim == 1 else samples.shape[1]
    layout = layout or ("mono", "stereo")[channels - 1]
    with (
        tempfile.NamedTemporaryFile() as file,  # some containers are read again while they are written
        av.open(file.name, "w", format=container, options={"fflags": "+bitexact"} | (options or {})) as sink,
    ):
        stream = sink.add_stream(codec, rate=rate, layout=layout, options={"strict": "experimental"})
        context = stream.codec_context
        context.bit_rate = bit_rate
        context.flags |= av.codec.context.Flags.bitexact
        context.open()  # only now is the size of its frames known
        integers = np.ascontiguousarray((samples * 32_767).clip(-32_768, 32_767).astype(np.int16)).reshape(1, -1)
        frame = av.AudioFrame.from_ndarray(integers, "s16", layout)
        frame.sample_rate = rate
        size = context.frame_size or rate // 25  # codecs without frames take any, players expect short ones
        to_codec = av.AudioResampler(format=context.format, layout=layout, rate=rate, frame_size=size)
        for part in [*to_codec.resample(frame), *to_codec.resample(None)]:
            sink.mux(stream.encode(part))
        last = stream.encode(None)
        sink.mux([packet for packet in last if packet.size or container == "flac"])  # FLAC's last has a checksum alone
        sink.close()
        return Path(file.name).read_bytes()


def remuxed(content: bytes, container: str) -> bytes:
    """The packets of a file in another container."""
    import av

    file = io.BytesIO()
    options = {"fflags": "+bitexact"}
    with av.open(io.BytesIO(content)) as source, av.open(file, "w", format=container, options=options) as sink:
        stream = sink.add_stream_from_template(source.streams.audio[0])
        for packet in source.demux(source.streams.audio[0]):
            if packet.size:
                packet.stream = stream
                sink.mux(packet)
    return file.getvalue()


@cache
def speech(seconds: float, first: int = 0) -> Sound:
    """Sentences of the demo, float32 at 16 kHz."""
    names = [AUDIO / "loose" / f"{number:02d}.wav" for number in range(8)]
    parts, samples = list[Sound](), 0
    for path in itertools.islice(itertools.cycle(names), first, None):
        found, rate = soundfile.read(path, dtype="float32", always_2d=True)
        parts.append(soxr.resample(found[:, 0], rate, RATE) * 0.8)
        samples += len(parts[-1])
        if samples >= seconds * RATE:
            return np.concatenate(parts)[: round(seconds * RATE)].astype(np.float32)
    raise AssertionError("a cycle does not end")


def demo_sentences() -> list[tuple[Sound, str]]:
    """Recordings of the demo, float32 at 16 kHz, with their words."""
    folder, found = AUDIO / "manifest", list[tuple[Sound, str]]()
    for entry in map(json.loads, (folder / "manifest.jsonl").read_text(encoding="utf-8").splitlines()):
        start, frames = round(entry.get("offset", 0) * RATE), round(entry["duration"] * RATE)
        samples, _ = soundfile.read(folder / entry["audio_filepath"], frames, start, dtype="float32")
        found.append((samples, entry["text"]))
    return found


def spoken(rate: int, channels: int = 1, seconds: float = 7.0, first: int = 0) -> Sound:
    """Speech at a rate; the second channel is quieter than the first."""
    sound = soxr.resample(speech(seconds, first), RATE, rate)
    return sound if channels == 1 else np.stack([sound, sound * np.float32(0.6)], axis=1)


# Ogg, whose pages have a checksum


def _crc_table() -> list[int]:
    table = []
    for byte in range(256):
        value = byte << 24
        for _ in range(8):
            value = (value << 1 ^ (0x04C11DB7 if value >> 31 else 0)) & 0xFFFFFFFF
        table.append(value)
    return table


_CRCS = _crc_table()


def ogg_pages(data: bytes) -> list[tuple[int, int]]:
    """Where the pages of an Ogg file begin and end (RFC 3533), as far as each follows the last."""
    pages, at = [], 0
    while data[at : at + 4] == b"OggS" and at + 27 <= len(data):
        body = at + 27 + data[at + 26]
        end = body + sum(data[at + 27 : body])
        if end > len(data):
            break
        pages.append((at, end))
        at = end
    return pages


def with_checksums(data: bytes, serial: int | None = None) -> bytes:
    """An Ogg file whose pages have the checksums that fit them, and a serial number if one is given."""
    made = bytearray(data)
    for start, end in ogg_pages(data):
        if serial is not None:
            made[start + 14 : start + 18] = struct.pack("<I", serial)
        made[start + 22 : start + 26] = bytes(4)
        crc = 0
        for byte in made[start:end]:
            crc = (crc << 8 & 0xFFFFFFFF) ^ _CRCS[crc >> 24 ^ byte]
        made[start + 22 : start + 26] = struct.pack("<I", crc)
    return bytes(made)


def sndfile_ogg(samples: Sound, rate: int, subtype: str, serial: int = 1) -> bytes:
    return with_checksums(sndfile_file(samples, rate, "OGG", subtype), serial)  # libsndfile draws the serial number


# Tags


def id3(size: int, version: int = 4) -> bytes:
    """An ID3v2 tag of so many bytes in all, with a title and padding (https://id3.org/id3v2.4.0)."""
    frame = b"TIT2\0\0\0\x05\0\0\0talk"
    length = size - 10
    sizes = bytes(length >> shift & 0x7F for shift in (21, 14, 7, 0))
    return b"ID3" + bytes((version, 0, 0)) + sizes + frame + bytes(length - len(frame))


ID3V1 = b"TAG" + b"talk".ljust(30, b"\0") + bytes(95)


def ape_tag() -> bytes:
    """An APEv2 tag with header, one item and footer (https://wiki.hydrogenaudio.org/index.php?title=APEv2_specification)."""
    item = struct.pack("<II", 4, 0) + b"Title\0talk"
    fields = struct.pack("<III", 2_000, len(item) + 32, 1)
    return b"".join(b"APETAGEX" + fields + struct.pack("<I", flags) + bytes(8) + item * (not index)
                    for index, flags in enumerate((0xA0000000, 0x80000000)))  # fmt: skip
