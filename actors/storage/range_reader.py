"""A file that is read in ranges, as Python's files are."""

import io
import os
from collections.abc import Callable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from _typeshed import WriteableBuffer


class RangeReader(io.RawIOBase):
    """A seekable file whose bytes `read` returns, from one position up to another, at most `max_bytes` at a time.

    It begins at byte `start`. Of an unknown size, it ends where nothing comes. `problem` is the last error of `read`,
    for callers that swallow it.
    """

    def __init__(self, read: Callable[[int, int], bytes], size: int | None, max_bytes: int, start: int = 0) -> None:
        self._read, self._size, self._max_bytes, self._start, self._at = read, size, max_bytes, start, 0
        self.problem: OSError | None = None

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return self._size is not None

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        length = max((self._size or 0) - self._start, 0)
        self._at = max(offset + {os.SEEK_SET: 0, os.SEEK_CUR: self._at, os.SEEK_END: length}[whence], 0)
        return self._at

    def tell(self) -> int:
        return self._at

    def readinto(self, buffer: "WriteableBuffer") -> int:
        view, first = memoryview(buffer), self._start + self._at
        last = first + min(len(view), self._max_bytes_at(first))
        last = last if self._size is None else min(last, self._size)
        if last <= first:
            return 0
        try:
            data = self._read(first, last)
        except Exception as problem:  # noqa: BLE001 - third-party clients of storage
            failure = problem if isinstance(problem, OSError) else OSError(f"{type(problem).__name__}: {problem}")
            self.problem = failure
            raise failure from None
        view[: len(data)] = data
        self._at += len(data)
        return len(data)

    def _max_bytes_at(self, first: int) -> int:
        """The most bytes of the request for those from `first` on."""
        return self._max_bytes
