"""Stored files that are read in ranges: too large for memory, or little of them is needed."""

import contextlib
import io
from dataclasses import dataclass
from typing import TYPE_CHECKING

from actors.storage.answers import EndpointError
from actors.storage.place import Place
from actors.storage.range_reader import RangeReader

if TYPE_CHECKING:
    from _typeshed import WriteableBuffer

RANGE_BYTES = 4_000_000  # read per request


@dataclass(frozen=True)
class StoredFile:
    """A file that is read in ranges: its place, its size in bytes, and how many of them one request reads."""

    place: Place
    size: int
    range_bytes: int = RANGE_BYTES

    def open(self, start: int = 0, prefetch: tuple[int, int] = (0, 0)) -> io.BufferedReader:
        """Opens it as a seekable file that begins at byte `start`. The bytes of `prefetch`, (first, end), are read in
        one request."""
        size = max(prefetch[1] - prefetch[0], self.range_bytes)
        return io.BufferedReader(_StoredReader(self, start, prefetch[1]), buffer_size=size)


def reraise(file: object) -> None:
    """Raises the storage's error from reading a stored file: decoders treat a failed read as the end of the file."""
    problem = getattr(getattr(file, "raw", None), "problem", None)
    if problem:
        raise problem


class _StoredReader(RangeReader):
    """A stored file from byte `start` on; the bytes up to `prefetch_end` are one request."""

    def __init__(self, stored: StoredFile, start: int, prefetch_end: int) -> None:
        super().__init__(stored.place.read_range, stored.size, stored.range_bytes, start)
        self._stored, self._prefetch_end = stored, prefetch_end

    def readinto(self, buffer: "WriteableBuffer") -> int:
        length = super().readinto(buffer)
        if not length and len(memoryview(buffer)) and self._start + self._at < self._stored.size:
            self._end_early()
        return length

    def _max_bytes_at(self, first: int) -> int:
        return self._prefetch_end - first if first < self._prefetch_end else self._max_bytes

    def _end_early(self) -> None:
        """Raises EndpointError if a file ends before its size. One whose size has changed was replaced, which its
        reader checks itself."""
        place, size = self._stored.place, self._stored.size
        with contextlib.suppress(FileNotFoundError):
            if place.info().size == size:
                self.problem = EndpointError(f"{place.described}: ends before its {size:,} bytes")
                raise self.problem
