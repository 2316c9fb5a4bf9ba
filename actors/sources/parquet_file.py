"""A Parquet file in storage, read in few requests."""

import io
from typing import Any

from actors.schema import ErrorKind, RecordingError
from actors.storage.answers import FileTooLarge
from actors.storage.stored_file import StoredFile


class BufferedFile(io.RawIOBase):
    """A Parquet file with a buffer: one of at most `held_bytes` whole, else a row group at a time, in one request."""

    def __init__(self, stored: StoredFile, held_bytes: int) -> None:
        self._ranges, self._stored, self._at, self._held_bytes = stored.open(), stored, 0, held_bytes
        self._held, self._start, self._size = b"", 0, stored.size
        self.raw: Any = self._ranges.raw  # for `reraise`
        if stored.size <= held_bytes:
            try:
                self._held = stored.place.read(held_bytes)
            except FileTooLarge as problem:
                raise RecordingError(ErrorKind.TOO_LARGE, str(problem)) from None
            self._size = len(self._held)  # over HTTP it may have been unknown

    def hold(self, start: int, end: int) -> None:
        """Reads a range into the buffer, which replaces the earlier one."""
        if self._size > self._held_bytes:
            self._held, self._start = b"", start
            try:
                self._held = self._stored.place.read_range(start, end)
            except OSError as problem:
                self.raw.problem = problem
                raise

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        self._at = offset + {io.SEEK_SET: 0, io.SEEK_CUR: self._at, io.SEEK_END: self._size}[whence]
        return self._at

    def tell(self) -> int:
        return self._at

    def read(self, size: int = -1) -> bytes:
        at = self._at - self._start
        size = size if size >= 0 else self._size - self._at
        if at >= 0 and at + size <= len(self._held):
            data = self._held[at : at + size]
        else:
            self._ranges.seek(self._at)
            data = self._ranges.read(size)
        self._at += len(data)
        return data
