"""What the decoders share: their input, their output, and the translation of their errors.

libsndfile (`sndfile.py`) and FFmpeg (`ffmpeg.py`) are third-party code that runs on untrusted bytes and may raise any
exception over them (an attribute of a codec that is None, an array of negative length, …). So whatever they raise is an
error of the recording, unless the storage raised it or the machine ran out of memory.
"""

import io
from collections.abc import Callable, Generator, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import BinaryIO

from actors.audio.containers import recognise
from actors.audio.stated import HEADER_BYTES
from actors.audio.tracks import Track
from actors.foreign.errors import one_line
from actors.schema import RecordingError, WarningKind, Waveform
from actors.storage.stored_file import RANGE_BYTES, StoredFile, reraise

BLOCK_SAMPLES = 1 << 20  # decoded per block, all channels together: 4 MB of float32
RATES = range(1_000, 768_001)  # Hz; anything else is a broken header
CHANNELS = range(1, 1_025)  # the limit of libsndfile

#: Bytes per sample of the subtypes of fixed width, for which the file's size tells the number of samples.
SAMPLE_BYTES = {
    **dict.fromkeys(("PCM_S8", "PCM_U8", "ULAW", "ALAW"), 1),
    "PCM_16": 2,
    "PCM_24": 3,
    **dict.fromkeys(("PCM_32", "FLOAT"), 4),
    "DOUBLE": 8,
}


class Undecodable(Exception):
    """A decoder could not decode the bytes, or not all of them."""


class BrokenStream(Undecodable):
    """A decoder failed midway: the blocks before that are good."""


@dataclass(frozen=True)
class End:
    """Where a decoder came to an end: after `frames` of the stored file, counted from its first. It leaves what follows
    to another decoder if it `is_whole` is false; at byte `joined` another file begins that was joined to this one."""

    frames: int
    is_whole: bool = True
    joined: int | None = None


#: Decoded blocks in order, of shape (frames, channels): float32 with full scale at 1, or int16 where that is exact.
Blocks = Generator[Waveform, None, End]


@dataclass(frozen=True)
class Stream:
    """Decoded blocks at the stored rate, from the requested frame on.

    `frames` is the number of frames in the whole file if the file's size confirms it, since headers are untrusted.
    `stated_s` is what the header states or implies of the file's seconds, unconfirmed.
    """

    sample_rate: int
    channels: int
    codec: str
    blocks: Blocks
    frames: int | None = None
    stated_s: float | None = None


#: Maps the stored sample rate to the frame of the stored file at which decoding starts.
FirstFrame = Callable[[int], int]


@dataclass(frozen=True)
class Opening:
    """How a decoder opens a file: where it starts, in which audio track, and, for what follows in a recording, whose
    rate and channels it must have. It adds to `warnings`."""

    first_frame: FirstFrame
    track: Track = None
    like: Stream | None = None
    warnings: set[WarningKind] = field(default_factory=set)


class Source:
    """Stored bytes from byte `start` on, where a container begins, opened as files as often as needed. Storage errors
    are kept until `check`, since decoders take a failed read for the end of the file.

    `container` is what it was recognised as, None if it was not.
    """

    def __init__(self, content: bytes | StoredFile, start: int = 0, opened: list[BinaryIO] | None = None) -> None:
        self._content = content
        self._opened = list[BinaryIO]() if opened is None else opened  # of what was joined as well
        self.size = content.size if isinstance(content, StoredFile) else len(content)
        self.start = start
        self.container, before = recognise(self._reader(), self.size - start)
        self.start += before

    def header(self, count: int = HEADER_BYTES) -> bytes:
        """The container's first bytes."""
        return self._reader()(0, count)

    def open(self, range_bytes: int = RANGE_BYTES, offset: int = 0) -> BinaryIO:
        """The container from a byte on as a file, of which storage is asked for so many bytes at a time."""
        stored, start = self._content, self.start + offset
        if not isinstance(stored, StoredFile):
            return _BytesFile(stored, start)
        self._opened.append(file := replace(stored, range_bytes=min(range_bytes, stored.range_bytes)).open(start))
        return file

    def _reader(self) -> Callable[[int, int], bytes]:
        """Reads bytes of the container from a position on, a few at a time."""
        content, start = self._content, self.start
        if not isinstance(content, StoredFile):
            return lambda first, count: bytes(content[start + first : start + first + count])
        file = self.open(HEADER_BYTES)

        def read(first: int, count: int) -> bytes:
            file.seek(first)
            return file.read(count)

        return read

    def joined(self, offset: int) -> "Source":
        """What begins `offset` bytes after this container, to whose end it was joined. The container itself is done."""
        self.check()
        self._opened.clear()  # each has a buffer of megabytes, and there may be hundreds of files
        return Source(self._content, self.start + offset, self._opened)

    def until(self, end: int | None) -> "Source":
        """The first `end` bytes of this container; all if None."""
        if end is None:
            return self
        content, stop = self._content, self.start + end
        if isinstance(content, StoredFile):
            return Source(replace(content, size=stop), self.start, self._opened)
        return Source(content[self.start : stop], 0, self._opened)

    @property
    def length(self) -> int:
        """The bytes from the container's beginning on."""
        return self.size - self.start

    def check(self) -> None:
        """Raises the errors of the storage, if any."""
        for file in self._opened:
            reraise(file)


class _BytesFile(io.BytesIO):
    """Bytes from `start` on as a file. Seeking before its start, as broken headers request, seeks to the start: both
    decoders call this from C, where an exception would only be printed."""

    def __init__(self, content: bytes, start: int) -> None:
        super().__init__(content)  # which copies nothing
        self._start = start
        if start:
            super().seek(start)

    def seek(self, offset: int, whence: int = io.SEEK_SET, /) -> int:
        if whence == io.SEEK_SET:
            return super().seek(max(offset, 0) + self._start) - self._start
        return max(super().seek(offset, whence), self._start) - self._start

    def tell(self) -> int:
        return super().tell() - self._start


@contextmanager
def translate_errors(
    decoder: str, own_errors: tuple[type[Exception], ...], kind: type[Undecodable] = Undecodable
) -> Iterator[None]:
    """Translates what a decoder raises by `translated`."""
    try:
        yield
    except Exception as problem:  # noqa: BLE001 - third-party code on untrusted bytes may raise anything
        raise translated(problem, decoder, own_errors, kind) from None


def translated(
    problem: Exception, decoder: str, own_errors: tuple[type[Exception], ...], kind: type[Undecodable] = Undecodable
) -> Exception:
    """What to raise for what a decoder raised: a `kind`, of its `own_errors` by their message, of others as a failure
    of its code.

    An own error about missing memory means that absurd bytes requested it; any other MemoryError is the machine's and
    is passed on.
    """
    match problem:
        case Undecodable() | RecordingError():
            return problem
        case _ if isinstance(problem, own_errors):
            message = getattr(problem, "error_string", None) or getattr(problem, "strerror", None) or problem
            return kind(f"{decoder}: {message}")
        case MemoryError():
            return problem
    return kind(f"{decoder} fails: {type(problem).__name__}: {one_line(problem, 200)}")


def check_format(rate: int, channels: int, decoder: str) -> None:
    if rate not in RATES or channels not in CHANNELS:
        raise Undecodable(f"{decoder}: {rate} Hz and {channels} channels are not possible")
