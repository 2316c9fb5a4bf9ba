"""Reads files that may be gzipped, and may be bombs."""

import gzip
import io
import zlib
from typing import TYPE_CHECKING, BinaryIO

from actors.foreign.errors import InvalidData

if TYPE_CHECKING:
    from _typeshed import WriteableBuffer

MAGIC = b"\x1f\x8b"
MAX_EXPANSION = 100  # texts shrink to a quarter or a sixth
_SAFE_BYTES = 1 << 22  # that may expand by more


def unzipped(file: BinaryIO, size: int) -> BinaryIO:
    """A seekable file from its start on, expanded if it is gzipped, by its content. `size` is that in storage in bytes,
    0 if unknown.

    Reading one raises InvalidData where it is damaged, or expands to more than MAX_EXPANSION times its size or, where
    that is not known, what was read of it.
    """
    is_zipped = file.read(len(MAGIC)) == MAGIC
    file.seek(0)
    return io.BufferedReader(_Unzipped(file, size)) if is_zipped else file


class _Unzipped(io.RawIOBase):
    def __init__(self, file: BinaryIO, size: int) -> None:
        self._stored, self._file = file, gzip.GzipFile(fileobj=file)
        self._read, self._allowed = 0, max(_SAFE_BYTES, MAX_EXPANSION * size)

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: "WriteableBuffer") -> int:
        try:
            count = self._file.readinto(buffer)
        except (gzip.BadGzipFile, EOFError, zlib.error) as problem:
            raise InvalidData(f"it is damaged or incomplete: gzip says {problem}") from None
        self._read += count
        if self._read > self._allowed:
            self._allowed = max(self._allowed, MAX_EXPANSION * self._stored.tell())
        if self._read > self._allowed:
            raise InvalidData(f"it expands to more than {MAX_EXPANSION} times its size, as no text does")
        return count
