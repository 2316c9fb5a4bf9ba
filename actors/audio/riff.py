"""What follows the sound of a WAV file: recorders append to files whose header they do not update, and sizes of over
4 GB wrap around.

Format: Microsoft and IBM, Multimedia Programming Interface and Data Specifications 1.0, chapter 3; EBU Tech 3306 (RF64,
whose sizes of 64 bits are in the chunk ds64).
"""

import os
import struct
from dataclasses import dataclass, replace
from typing import BinaryIO, Literal

MAX_FORM_BYTES = 48  # of a chunk that are read: no known format has more
MAX_CHUNKS = 1_000  # that are passed over
MIN_BYTES = 1_600  # of sound that is worth looking for: a tenth of a second, or less
PROBE_BYTES = 4_096  # that are read at a time to see whether there is anything but zeros

Order = Literal["little", "big"]
_UNKNOWN = (0, 0x7FFFFFFF, 0xFFFFFFFF)  # sizes that stand for a length that was not known
_FORMS: dict[bytes, Order] = {b"RIFF": "little", b"RIFX": "big", b"RF64": "little", b"BW64": "little"}


#: libsndfile's names of samples of a fixed width, by tag and bits.
_SUBTYPES = {
    (1, 8): "PCM_U8",
    (1, 16): "PCM_16",
    (1, 24): "PCM_24",
    (1, 32): "PCM_32",
    (3, 32): "FLOAT",
    (3, 64): "DOUBLE",
    (6, 8): "ALAW",
    (7, 8): "ULAW",
}
_EXTENSIBLE = 0xFFFE  # the tag proper is further behind


@dataclass(frozen=True)
class RawSound:
    """Samples without a header, from byte `start` on; the other fields are those of soundfile.SoundFile."""

    start: int
    samplerate: int
    channels: int
    subtype: str
    endian: str


@dataclass(frozen=True)
class Rest:
    """What is behind the sound that a header states: either `sound` that goes on to the file's end, or another WAV,
    which begins at byte `joined`, or nothing. The file `is_cut` if it ends before the sound does."""

    sound: RawSound | None = None
    joined: int | None = None
    is_cut: bool = False


def rest_of(file: BinaryIO) -> Rest:
    """What is behind the sound of a WAV; nothing if the file's size is not known."""
    if not (size := file.seek(0, os.SEEK_END)):
        return Rest()
    order = _FORMS.get(_read(file, 0, 12)[:4])
    if not order or (found := _find_sound(file, order)) is None:
        return Rest()
    start, stated, form = found
    if stated in _UNKNOWN:
        return Rest()
    end = start + stated
    if size - end < MIN_BYTES:
        return Rest(is_cut=end - size > MIN_BYTES)
    for position in (end, end + end % 2):  # chunks begin at even bytes, but not in all files
        if _is_chunk(file, position, size, order):
            return Rest(joined=_joined(file, position, size, order))
    sound = _raw(form, order)
    if not sound or _is_padding(file, end, size):
        return Rest()
    frame_bytes = int.from_bytes(form[12:14], order)
    return Rest(sound=replace(sound, start=end - stated % frame_bytes))


def _find_sound(file: BinaryIO, order: Order) -> tuple[int, int, bytes] | None:
    """Where the sound begins, how many bytes it has, and the chunk with its format; None if there is no sound."""
    position, length, form = len(b"RIFFsizeWAVE"), None, b""
    for _ in range(MAX_CHUNKS):
        chunk = _read(file, position, MAX_FORM_BYTES)
        if len(chunk) < 8:
            return None
        name, stated = chunk[:4], int.from_bytes(chunk[4:8], order)
        if name == b"ds64":
            length = int.from_bytes(chunk[16:24], "little")
        if name == b"fmt ":
            form = chunk[8:]
        if name == b"data":
            return position + 8, length if length is not None and stated == 0xFFFFFFFF else stated, form
        position += 8 + stated + stated % 2
    return None


def _raw(form: bytes, order: Order) -> RawSound | None:
    """The samples that a format describes, None if they are not of a fixed width."""
    if len(form) < 16:
        return None
    tag, channels, rate, _, frame_bytes, bits = struct.unpack(f"{'<' if order == 'little' else '>'}HHIIHH", form[:16])
    if tag == _EXTENSIBLE and len(form) >= 26:
        tag = int.from_bytes(form[24:26], order)
    subtype = _SUBTYPES.get((tag, bits))
    if not subtype or frame_bytes != channels * bits // 8 or not frame_bytes:
        return None
    return RawSound(0, rate, channels, subtype, order.upper())


def _is_chunk(file: BinaryIO, position: int, size: int, order: Order) -> bool:
    """Whether a chunk is there that the file holds: a name in ASCII, and its size."""
    header = _read(file, position, 8)
    name, stated = header[:4], int.from_bytes(header[4:], order)
    is_name = len(header) == 8 and all(0x20 <= each < 0x7F for each in name)
    return is_name and (name in _FORMS or position + 8 + stated <= size + 1)


def _joined(file: BinaryIO, position: int, size: int, order: Order) -> int | None:
    """Where another WAV begins behind the chunks that start at a position."""
    for _ in range(MAX_CHUNKS):
        if not _is_chunk(file, position, size, order):
            return None
        header = _read(file, position, 12)
        if header[:4] in _FORMS and header[8:] == b"WAVE":
            return position
        stated = int.from_bytes(header[4:8], order)
        position += 8 + stated + stated % 2
    return None


def _is_padding(file: BinaryIO, start: int, end: int) -> bool:
    """Whether bytes are zeros, as far as samples of them tell: recorders reserve space that they may not use."""
    places = (start, (start + end) // 2, max(end - PROBE_BYTES, start))
    return not any(any(_read(file, place, PROBE_BYTES)) for place in places)


def _read(file: BinaryIO, position: int, size: int) -> bytes:
    file.seek(position)
    return file.read(size)
