"""What is behind the sound that a file's header states: recorders append to files whose header they do not update,
sizes of over 4 GB wrap around, and files are joined as they are.

Formats: Microsoft and IBM, Multimedia Programming Interface and Data Specifications 1.0, chapter 3 (RIFF); EBU Tech
3306 (RF64, whose sizes of 64 bits are in the chunk ds64); Apple, Audio Interchange File Format AIFF-C, and Core Audio
Format Specification 1.0; Sun, audio(5) (AU).
"""

import os
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from typing import BinaryIO, Literal, NamedTuple

from actors.audio.codecs import SAMPLE_BYTES

MAX_CHUNKS = 1_000  # that are passed over
MAX_CHUNK_BYTES = 48  # of a chunk that are read: no description of a format has more
MIN_BYTES = 1_600  # of sound that is worth looking for: a tenth of a second, or less
MAX_POSITION = 1 << 62
PROBE_BYTES = 4_096  # that are read at a time

Order = Literal["little", "big"]


@dataclass(frozen=True)
class RawSound:
    """Samples without a header, from byte `start` on. `subtype` and `endian` are those of soundfile.SoundFile."""

    start: int
    subtype: str
    endian: str


@dataclass(frozen=True)
class Rest:
    """What is behind the sound that a header states: either `sound` that goes on to the file's end, or another file,
    which begins at byte `joined`, or nothing. The file `is_cut` if it ends before the sound does."""

    sound: RawSound | None = None
    joined: int | None = None
    is_cut: bool = False


class _Layout(NamedTuple):
    """How the chunks of a format are laid out: where the first one is, how many bytes their sizes have, whether odd
    ones are padded, and with which names another file begins."""

    first: int
    order: Order
    size_bytes: int
    is_padded: bool
    magics: tuple[bytes, ...]


_RIFF = (b"RIFF", b"RIFX", b"RF64", b"BW64")
_LAYOUTS = {
    b"FORM": _Layout(12, "big", 4, True, (b"FORM",)),
    b"caff": _Layout(8, "big", 8, False, (b"caff",)),
    b".snd": _Layout(24, "big", 4, False, (b".snd",)),
    **dict.fromkeys(_RIFF, _Layout(12, "little", 4, True, _RIFF)),
    b"RIFX": _Layout(12, "big", 4, True, _RIFF),
}


#: The containers that `rest_of` knows, by FFmpeg's names.
WITH_REST = frozenset({"wav", "aiff", "caf", "au"})


class _Chunk(NamedTuple):
    """A chunk by its header: its name, the bytes that it has and where they start, and the first ones."""

    name: bytes
    stated: int
    start: int
    body: bytes


class _Sound(NamedTuple):
    """The sound by its header: its first byte, how many it has, and what its samples are if of a fixed width."""

    start: int
    stated: int
    channels: int = 0
    subtype: str | None = None
    order: Order = "big"


def rest_of(file: BinaryIO) -> Rest:
    """What is behind the sound of a WAV, AIFF, CAF or AU file; nothing if its size is not known."""
    size, layout = file.seek(0, os.SEEK_END), _LAYOUTS.get(_read(file, 0, 4))
    sound = _sound(file, layout) if layout else None
    if not size or not layout or not sound or sound.stated in _UNKNOWN:
        return Rest()
    end = sound.start + sound.stated
    if end > size and sound.stated in _STREAMED:
        return Rest()
    if size - end < MIN_BYTES:
        return Rest(is_cut=end - size > MIN_BYTES)
    for position in (end, end + end % 2):  # not all writers pad
        chunks = list(_chunks(file, position, layout))
        if chunks and (chunks[0].name in layout.magics or chunks[0].start + chunks[0].stated <= size + 1):
            if any(each.name in (b"data", b"SSND") for each in chunks):  # more sound, which nothing reads
                return Rest(is_cut=True)
            header = len(chunks[0].name) + layout.size_bytes
            return Rest(joined=next((each.start - header for each in chunks if each.name in layout.magics), None))
    if not sound.subtype or not sound.channels or _is_padding(file, end, size):
        return Rest()
    left_over = sound.stated % (SAMPLE_BYTES[sound.subtype] * sound.channels)
    return Rest(sound=RawSound(end - left_over, sound.subtype, sound.order.upper()))


def _chunks(file: BinaryIO, position: int, layout: _Layout) -> Iterator[_Chunk]:
    """The chunks from a position on, as long as there are names in ASCII; the last may be another file's beginning."""
    for _ in range(MAX_CHUNKS):
        head = _read(file, position, MAX_CHUNK_BYTES)
        name, size, body = head[:4], head[4 : 4 + layout.size_bytes], head[4 + layout.size_bytes :]
        if len(size) < layout.size_bytes or not all(0x20 <= each < 0x7F for each in name):
            return
        stated = int.from_bytes(size, layout.order)
        position += len(name) + len(size)
        yield _Chunk(name, stated, position, body)
        if name in layout.magics:
            return
        position += stated + (stated % 2 if layout.is_padded else 0)


def _sound(file: BinaryIO, layout: _Layout) -> _Sound | None:
    """The sound that a file's header describes, None if there is none."""
    if b".snd" in layout.magics:
        return _au_sound(_read(file, 0, layout.first))
    chunks = dict[bytes, _Chunk]()
    for chunk in _chunks(file, layout.first, layout):
        chunks.setdefault(chunk.name, chunk)
        match chunk.name:
            case b"data" if b"caff" in layout.magics:
                return _caf_sound(chunk, chunks.get(b"desc"))
            case b"data":
                return _wav_sound(chunk, chunks.get(b"fmt "), chunks.get(b"ds64"), layout.order)
            case b"SSND":
                return _aiff_sound(chunk, chunks.get(b"COMM"))
    return None


_UNKNOWN = (0, -1, 0x7FFFFFFF, 0xFFFFFFFF, 0xFFFFFFFFFFFFFFFF)  # for a length that was not known when it was written
_STREAMED = range(0x7FFF0000, 0x80000001)  # the same, by tools that round down or count a header
_OPEN_ENDED = (0x38, 0x45, 0x64, 0x65)  # tags of NMS ADPCM, G.723 and G.721, which libsndfile reads to the file's end
_INTEGERS = {8: "PCM_S8", 16: "PCM_16", 24: "PCM_24", 32: "PCM_32"}
_FLOATS = {32: "FLOAT", 64: "DOUBLE"}
_LAWS = {b"ulaw": "ULAW", b"alaw": "ALAW"}
_EXTENSIBLE = 0xFFFE  # a WAV's tag, if the tag proper is further behind


def _wav_sound(data: _Chunk, form: _Chunk | None, sizes: _Chunk | None, order: Order) -> _Sound | None:
    stated = int.from_bytes(sizes.body[8:16], "little") if sizes and data.stated == 0xFFFFFFFF else data.stated
    if not form or len(form.body) < 16:
        return _Sound(data.start, stated)
    tag, channels, _, _, _, bits = struct.unpack("<HHIIHH" if order == "little" else ">HHIIHH", form.body[:16])
    if tag == _EXTENSIBLE and form.stated >= 26:
        tag = int.from_bytes(form.body[24:26], order)
    if tag in _OPEN_ENDED:
        return None
    kinds = {1: _INTEGERS | {8: "PCM_U8"}, 3: _FLOATS, 6: {8: "ALAW"}, 7: {8: "ULAW"}}
    return _Sound(data.start, stated, channels, kinds.get(tag, {}).get(bits), order)


def _aiff_sound(data: _Chunk, form: _Chunk | None) -> _Sound:
    """Its sound has an offset and a block size in front."""
    start, stated = data.start + 8, 0 if data.stated in _UNKNOWN else max(data.stated - 8, 0)
    if not form or len(form.body) < 8:
        return _Sound(start, stated)
    channels, _, bits = struct.unpack(">hIh", form.body[:8])
    kind = form.body[18:22].lower() if form.stated >= 22 else b"none"
    integers = _INTEGERS.get(bits) if kind in (b"none", b"twos", b"sowt") else None
    floats = _FLOATS.get({b"fl32": 32, b"fl64": 64}.get(kind, 0))
    return _Sound(
        start, stated, channels, integers or floats or _LAWS.get(kind), "little" if kind == b"sowt" else "big"
    )


def _caf_sound(data: _Chunk, form: _Chunk | None) -> _Sound:
    """Its sound has the number of edits in front."""
    start, stated = data.start + 4, data.stated - 4 if data.stated not in _UNKNOWN else 0
    if not form or len(form.body) < 32:
        return _Sound(start, stated)
    _, kind, flags, _, _, channels, bits = struct.unpack(">d4sIIIII", form.body[:32])
    numbers = _FLOATS if flags & 1 else _INTEGERS
    subtype = numbers.get(bits) if kind == b"lpcm" else _LAWS.get(kind)
    return _Sound(start, stated, channels, subtype, "little" if flags & 2 else "big")


def _au_sound(header: bytes) -> _Sound | None:
    if len(header) < 24:
        return None
    _, start, stated, kind, _, channels = struct.unpack(">4sIIIII", header)
    names = dict(enumerate(("ULAW", "PCM_S8", "PCM_16", "PCM_24", "PCM_32", "FLOAT", "DOUBLE"), start=1)) | {27: "ALAW"}
    return _Sound(start, stated, channels, names[kind]) if kind in names else None


def _is_padding(file: BinaryIO, start: int, end: int) -> bool:
    """Whether bytes are zeros, as far as samples of them tell: recorders reserve space that they may not use."""
    places = (start, (start + end) // 2, max(end - PROBE_BYTES, start))
    return not any(any(_read(file, place, PROBE_BYTES)) for place in places)


def _read(file: BinaryIO, position: int, size: int) -> bytes:
    """Bytes at a position, which a header may state beyond what a file can have."""
    if position >= MAX_POSITION:
        return b""
    file.seek(position)
    return file.read(size)
