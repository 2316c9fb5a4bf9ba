"""What the decoders have in common: the bytes they are given, the samples they return, and their errors.

libsndfile (`sndfile.py`) and FFmpeg (`ffmpeg.py`) are others' code, and anyone may have made the bytes that they are
given. They raise anything over those (an attribute of a codec that is None, an array of negative length, …), so
whatever they raise is an error of the recording, unless the storage raised it or the machine ran out of memory.
"""

import io
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import BinaryIO

from actors.audio.containers import id3_length
from actors.schema import Samples
from actors.storage import files as storage
from actors.storage.files import StoredFile

BLOCK_SAMPLES = 1 << 20  # decoded at once, all channels together: 4 MB of float32
RATES = range(1_000, 768_001)  # Hz; what lies outside is a broken header
CHANNELS = range(1, 1_025)  # as libsndfile has it


class Undecodable(Exception):
    """A decoder got nothing out of the bytes, or not what is there."""


class Broken(Undecodable):
    """A decoder fails midway: what came before stands."""


@dataclass(frozen=True)
class Stream:
    """Decoded blocks of shape (frames, channels), float32 in -1..1, at the stored rate, from where it is wanted.

    `frames` is how many there are in the whole file, where its size says so; what a header says is not believed.
    """

    sample_rate: int
    channels: int
    codec: str
    blocks: Iterator[Samples]
    frames: int | None = None


#: By the rate, the frame of the stored file at which decoding begins.
First = Callable[[int], int]


class Source:
    """Stored bytes, opened as files once or twice. What is wrong with the storage is kept for the end, since decoders
    take a failed read for the end of the file."""

    def __init__(self, content: bytes | StoredFile) -> None:
        self._opened = list[BinaryIO]()
        self._content, self._start = content, 0
        self.size = content.size if isinstance(content, StoredFile) else len(content)
        self._start = self.tag = id3_length(self._read_head())
        if self.tag and not isinstance(content, StoredFile):
            self._content, self._start = content[self.tag :], 0  # once, and not with each opening
        self.head = self._read_head()

    def open(self) -> BinaryIO:
        stored = self._content
        file: BinaryIO = stored.open(self._start) if isinstance(stored, StoredFile) else _Held(stored)
        self._opened.append(file)
        return file

    def check(self) -> None:
        """Raises what the storage raised."""
        for file in self._opened:
            storage.reraise(file)

    def _read_head(self) -> bytes:
        return self.open().read(128)


class _Held(io.BytesIO):
    """Bytes as a file. To seek before its start, as broken headers ask for, leads to the start: both decoders call
    this from C, where an exception would be printed, and seen by nobody."""

    def seek(self, offset: int, whence: int = io.SEEK_SET, /) -> int:
        return super().seek(max(offset, 0) if whence == io.SEEK_SET else offset, whence)


@contextmanager
def translate_errors(
    decoder: str, own: tuple[type[Exception], ...], kind: type[Undecodable] = Undecodable
) -> Iterator[None]:
    """Whatever a decoder raises becomes `kind`: its `own` errors in its words, any other as a failure of its code.

    Memory that an own error says to lack is what absurd bytes asked for; a MemoryError else is the machine's.
    """
    try:
        yield
    except Undecodable:
        raise
    except own as problem:
        said = getattr(problem, "error_string", None) or getattr(problem, "strerror", None) or problem
        raise kind(f"{decoder}: {said}") from None
    except MemoryError:
        raise
    except Exception as problem:  # noqa: BLE001 - anyone's bytes make others' code raise anything
        raise kind(f"{decoder} fails: {type(problem).__name__}: {problem!s:.200}") from None


def check_format(rate: int, channels: int, decoder: str) -> None:
    if rate not in RATES or channels not in CHANNELS:
        raise Undecodable(f"{decoder}: {rate} Hz and {channels} channels cannot be")
