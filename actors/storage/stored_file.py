"""Stored files that are read in ranges: too large for memory, or little of them is needed."""

import contextlib
import io
import os
from dataclasses import dataclass
from typing import TYPE_CHECKING

from actors.storage.answers import EndpointError
from actors.storage.place import Place

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
        return io.BufferedReader(_RangeReader(self, start, prefetch[1]), buffer_size=size)


def reraise(file: object) -> None:
    """Raises the storage's error from reading a stored file: decoders treat a failed read as the end of the file."""
    problem = getattr(getattr(file, "raw", None), "problem", None)
    if problem:
        raise problem


class _RangeReader(io.RawIOBase):
    """A stored file, read in ranges. `problem` is the storage's error, for callers that swallow it."""

    def __init__(self, stored: StoredFile, start: int, prefetch_end: int) -> None:
        self._stored, self._start, self._prefetch_end, self._at = stored, start, prefetch_end, 0
        self.problem: OSError | None = None

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        length = max(self._stored.size - self._start, 0)
        self._at = max(offset + {os.SEEK_SET: 0, os.SEEK_CUR: self._at, os.SEEK_END: length}[whence], 0)
        return self._at

    def tell(self) -> int:
        return self._at

    def readinto(self, buffer: "WriteableBuffer") -> int:
        view, first = memoryview(buffer), self._start + self._at
        max_bytes = self._prefetch_end - first if first < self._prefetch_end else self._stored.range_bytes
        last = min(first + min(len(view), max_bytes), self._stored.size)
        if last <= first:
            return 0
        try:
            data = self._stored.place.read_range(first, last)
        except Exception as problem:  # noqa: BLE001 - third-party clients of storage
            failure = problem if isinstance(problem, OSError) else OSError(f"{type(problem).__name__}: {problem}")
            self.problem = failure
            raise failure from None
        view[: len(data)] = data
        self._at += len(data)
        if not data:
            self._end_early()
        return len(data)

    def _end_early(self) -> None:
        """Raises EndpointError if a file ends before its size. One whose size has changed was replaced, which its
        reader checks itself."""
        place, size = self._stored.place, self._stored.size
        with contextlib.suppress(FileNotFoundError):
            if place.info().size == size:
                self.problem = EndpointError(f"{place.described}: ends before its {size:,} bytes")
                raise self.problem
