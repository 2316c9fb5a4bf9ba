"""The seconds of sound that the header of a stored file implies.

No decoder runs: libsndfile and FFmpeg may crash or never return over hostile bytes, which a run survives because they
are used in processes of their own, but planning would not.
"""

import math
import struct
from collections.abc import Callable

from actors.audio.containers import container_of, id3_length
from actors.audio.headers import boxes, chunks, frames
from actors.audio.headers.excerpt import Excerpt
from actors.storage.files import StoredFile

MIN_BYTES_PER_SECOND = 500  # of sound; a header that states less lies. AMR has 600

#: What reading a broken header raises: a missing byte, an absurd number, a division by zero.
BROKEN = (LookupError, ValueError, ArithmeticError, struct.error)

_BY_CONTAINER: dict[str, Callable[[Excerpt], float | None]] = {
    "wav": chunks.wav,
    "w64": chunks.w64,
    "aiff": chunks.aiff,
    "caf": chunks.caf,
    "au": chunks.au,
    "nistsphere": chunks.nistsphere,
    "flac": chunks.flac,
    "mp3": frames.mp3,
    "aac": frames.aac,
    "amr": frames.amr,
    "ogg": frames.ogg,
    "mov": boxes.mov,
    "matroska": boxes.matroska,
    "asf": boxes.asf,
}


def header_seconds(content: bytes | StoredFile, size: int | None = None) -> float | None:
    """The seconds of sound that a file's header implies, capped at what so many bytes can hold; None if it tells
    nothing.

    `content` may be just the beginning of a file of `size` bytes. Raises OSError if the storage fails.
    """
    file = Excerpt(content, size)
    try:
        file.start = id3_length(file.read(0, 10))
        measure = _BY_CONTAINER.get(container_of(file.read(0, 128)) or "")
        seconds = measure(file) if measure else None
    except BROKEN:
        return None
    if seconds is None or not 0 < seconds < math.inf:
        return None
    return min(seconds, file.size / MIN_BYTES_PER_SECOND)
