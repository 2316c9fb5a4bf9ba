"""What the decoders share: their input, their output, and the translation of their errors.

libsndfile (`sndfile.py`) and FFmpeg (`ffmpeg.py`) are third-party code that runs on untrusted bytes and may raise any
exception over them (an attribute of a codec that is None, an array of negative length, …). So whatever they raise is an
error of the recording, unless the storage raised it or the machine ran out of memory.
"""

import io
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import BinaryIO

from actors.audio.containers import recognise
from actors.audio.stated import HEADER_BYTES
from actors.foreign.errors import one_line
from actors.schema import Floats
from actors.storage.stored_file import StoredFile, reraise

BLOCK_SAMPLES = 1 << 20  # decoded per block, all channels together: 4 MB of float32
RATES = range(1_000, 768_001)  # Hz; anything else is a broken header
CHANNELS = range(1, 1_025)  # the limit of libsndfile


class Undecodable(Exception):
    """A decoder could not decode the bytes, or not all of them."""


class BrokenStream(Undecodable):
    """A decoder failed midway: the blocks before that are good."""


@dataclass(frozen=True)
class Stream:
    """Decoded blocks of shape (frames, channels), float32 in -1..1, at the stored rate, from the requested frame on.

    `frames` is the number of frames in the whole file if the file's size confirms it, since headers are untrusted.
    `stated_s` is what the header states or implies of the file's seconds, unconfirmed.
    """

    sample_rate: int
    channels: int
    codec: str
    blocks: Iterator[Floats]
    frames: int | None = None
    stated_s: float | None = None


#: Maps the stored sample rate to the frame of the stored file at which decoding starts.
FirstFrame = Callable[[int], int]


class Source:
    """Stored bytes, opened as files once or twice. Storage errors are kept until `check`, since decoders take a failed
    read for the end of the file.

    `container` is what it was recognised as, None if it was not. It begins behind `tag_bytes` bytes, which are no part
    of it, and so do the files.
    """

    def __init__(self, content: bytes | StoredFile) -> None:
        self._opened = list[BinaryIO]()
        self._content, self._start = content, 0
        self.size = content.size if isinstance(content, StoredFile) else len(content)
        file = self.open()  # one for all that is read to recognise it: a stored file's first bytes are one request

        def read(first: int, count: int) -> bytes:
            file.seek(first)
            return file.read(count)

        self.container, self.tag_bytes = recognise(read, self.size)
        if self.tag_bytes:
            if isinstance(content, StoredFile):
                self._start = self.tag_bytes
            else:
                self._content = content[self.tag_bytes :]  # copied once, not at each opening

    def header(self, count: int = HEADER_BYTES) -> bytes:
        """The container's first bytes."""
        return self.open().read(count)

    def open(self) -> BinaryIO:
        stored = self._content
        file: BinaryIO = stored.open(self._start) if isinstance(stored, StoredFile) else _BytesFile(stored)
        self._opened.append(file)
        return file

    def check(self) -> None:
        """Raises the errors of the storage, if any."""
        for file in self._opened:
            reraise(file)


class _BytesFile(io.BytesIO):
    """Bytes as a file. Seeking before its start, as broken headers request, seeks to the start: both decoders call this
    from C, where an exception would only be printed."""

    def seek(self, offset: int, whence: int = io.SEEK_SET, /) -> int:
        return super().seek(max(offset, 0) if whence == io.SEEK_SET else offset, whence)


@contextmanager
def translate_errors(
    decoder: str, own_errors: tuple[type[Exception], ...], kind: type[Undecodable] = Undecodable
) -> Iterator[None]:
    """Translates what a decoder raises to `kind`: its `own_errors` by their message, others as a failure of its code.

    An own error about missing memory means that absurd bytes requested it; any other MemoryError is the machine's and
    is passed on.
    """
    try:
        yield
    except Undecodable:
        raise
    except own_errors as problem:
        message = getattr(problem, "error_string", None) or getattr(problem, "strerror", None) or problem
        raise kind(f"{decoder}: {message}") from None
    except MemoryError:
        raise
    except Exception as problem:  # noqa: BLE001 - third-party code on untrusted bytes may raise anything
        raise kind(f"{decoder} fails: {type(problem).__name__}: {one_line(problem, 200)}") from None


def check_format(rate: int, channels: int, decoder: str) -> None:
    if rate not in RATES or channels not in CHANNELS:
        raise Undecodable(f"{decoder}: {rate} Hz and {channels} channels are not possible")
