"""The bytes of untrusted tars, plain or compressed, as a stream that is read once, in small steps.

Any damage raises tarfile.ReadError; errors of the storage are passed on.
"""

import bz2
import lzma
import tarfile
import zlib
from collections.abc import Callable
from functools import partial
from typing import BinaryIO, Protocol

MAX_DICTIONARY = 256_000_000  # bytes that decompressing xz may take; xz -9 takes 65 MB
COMPRESSED_AT_ONCE = 10_240  # bytes, as tarfile reads; the position in the file decides which share a member is in
READ_AFTER_END = 100  # reads, see GuardedFile


class _Decompressor(Protocol):
    """Decompresses a stream piece by piece; `unused_data` are the bytes after its end."""

    @property
    def eof(self) -> bool: ...

    @property
    def unused_data(self) -> bytes: ...

    def decompress(self, data: bytes, max_length: int, /) -> bytes: ...


#: First bytes of compressed files, as in tarfile.
_COMPRESSIONS: dict[bytes, Callable[[], _Decompressor]] = {
    b"\x1f\x8b\x08": partial(zlib.decompressobj, 31),  # 31: gzip's own header, the largest window
    b"BZh": bz2.BZ2Decompressor,
    b"\xfd7zXZ": partial(lzma.LZMADecompressor, memlimit=MAX_DICTIONARY),
    b"\x5d\x00\x00\x80": partial(lzma.LZMADecompressor, memlimit=MAX_DICTIONARY),
}
MAGIC_BYTES = max(map(len, _COMPRESSIONS))


class GuardedFile:
    """A file that raises ReadError if it is read too often after its end: tarfile skips the size that a header claims,
    up to 8 EB, by reading blocks of 10 kB, even after the end. `position` is the number of bytes read; `progress` is
    called with each read."""

    def __init__(self, file: BinaryIO, progress: Callable[[], None] = lambda: None) -> None:
        self._file, self._progress = file, progress
        self._reads_after_end = 0
        self.position = 0

    def read(self, size: int) -> bytes:
        data = bytes(self._file.read(size))
        self._progress()
        self.position += len(data)
        self._reads_after_end += not data
        if self._reads_after_end > READ_AFTER_END:
            raise tarfile.ReadError("it ends before the size that its headers claim")
        return data


class TarStream:
    """The bytes of a plain or compressed tar, read from front to back."""

    has_foreign_end = False  # whether bytes that are no part of the tar follow its last compressed stream

    def __init__(self, file: GuardedFile, head: bytes) -> None:
        self._file, self._head = file, head

    def read(self, size: int) -> bytes:
        if self._head:
            data, self._head = self._head[:size], self._head[size:]
            return data
        return self._file.read(size)


def open_stream(file: GuardedFile) -> TarStream:
    """The content of a tar, decompressed if its first bytes are those of a known compression."""
    head = file.read(512)
    return _Decompressed(file, head) if _compression(head) else TarStream(file, head)


def _compression(head: bytes) -> Callable[[], _Decompressor] | None:
    return next((make for magic, make in _COMPRESSIONS.items() if head.startswith(magic)), None)


class _Decompressed(TarStream):
    """The content of a compressed file, all its streams in sequence, decompressed as requested: a few compressed bytes
    may expand to gigabytes. Parallel compressors and `cat` write several streams, cut anywhere."""

    def __init__(self, file: GuardedFile, head: bytes) -> None:
        super().__init__(file, b"")
        self._start_stream(head)

    def _start_stream(self, compressed: bytes) -> bool:
        """Starts a stream with its first bytes; False if they are of no known compression."""
        make = _compression(compressed)
        if make is None:
            return False
        self._stream, self._compressed = make(), compressed
        return True

    def read(self, size: int) -> bytes:
        while True:
            if self._stream.eof and not self._next_stream():
                return self._file.read(0)  # counted by GuardedFile, since tarfile would read on forever
            if not self._compressed and getattr(self._stream, "needs_input", True):
                self._compressed = self._file.read(COMPRESSED_AT_ONCE)
                if not self._compressed:
                    raise tarfile.ReadError("its compressed data ends early")
            data = self._decompress(size)
            if data:
                return data

    def _decompress(self, size: int) -> bytes:
        try:
            data: bytes = self._stream.decompress(self._compressed, size)
        except MemoryError:
            raise
        except Exception as problem:  # noqa: BLE001 - zlib.error, OSError of bz2, LZMAError
            raise tarfile.ReadError(f"its compressed data is damaged: {problem}") from None
        self._compressed = getattr(self._stream, "unconsumed_tail", b"")  # in zlib; the others keep it themselves
        return data

    def _next_stream(self) -> bool:
        """Starts the next stream, if there is one; zeros after the last stream are skipped, other bytes reported."""
        rest = self._stream.unused_data.lstrip(b"\0")
        while len(rest) < MAGIC_BYTES and (more := self._file.read(COMPRESSED_AT_ONCE)):
            rest = (rest + more).lstrip(b"\0")
        self.has_foreign_end = bool(rest) and not self._start_stream(rest)
        return bool(rest) and not self.has_foreign_end
