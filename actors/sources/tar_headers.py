"""Reads untrusted tars, plain or compressed, as a stream of members.

Nothing is extracted to disk, links and devices are skipped, compressed data is decompressed in small steps, and any
damage of an archive raises a single exception, tarfile's ReadError; errors of the storage are passed on.
"""

import bz2
import io
import lzma
import os
import tarfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any, BinaryIO, Protocol

MAX_EXTENDED_HEADER = 1_000_000  # bytes of a header that describes the next one: names and attributes
MAX_DICTIONARY = 256_000_000  # bytes that decompressing xz may take; xz -9 takes 65 MB
COMPRESSED_AT_ONCE = 10_240  # bytes, as tarfile reads; the position in the file decides which share a member is in
CONTENT_AT_ONCE = 1 << 20  # bytes
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


class Header(tarfile.TarInfo):
    """A header that raises an error if damaged; tarfile itself takes a damaged one after the first for the end."""

    @classmethod
    def frombuf(cls, buf: bytes | bytearray, encoding: str, errors: str) -> "Header":
        try:
            header = super().frombuf(buf, encoding, errors)
        except (tarfile.InvalidHeaderError, tarfile.TruncatedHeaderError) as problem:  # type: ignore[attr-defined]
            raise tarfile.ReadError(f"damaged header: {problem}") from None
        describes_next = header.type in (
            tarfile.XHDTYPE,
            tarfile.XGLTYPE,
            tarfile.GNUTYPE_LONGNAME,
            tarfile.GNUTYPE_LONGLINK,
        )
        if header.size < 0 or (describes_next and header.size > MAX_EXTENDED_HEADER):
            raise tarfile.ReadError(f"a header claims {header.size} bytes")
        return header

    def _proc_sparse(self, archive: tarfile.TarFile) -> tarfile.TarInfo:
        """Accepts holes that are listed in the header itself; a list that continues after it may be endless."""
        if self._sparse_structs[1]:  # type: ignore[attr-defined]
            raise tarfile.ReadError(f"{self.name[:200]} is sparse with many holes, which is not supported")
        header: tarfile.TarInfo = super()._proc_sparse(archive)  # type: ignore[misc]
        return header

    def _proc_gnusparse_10(self, member: tarfile.TarInfo, *_: object) -> None:
        raise tarfile.ReadError(f"{member.name[:200]} is sparse in POSIX format, which is not supported")


def open_tar(file: "GuardedFile") -> tarfile.TarFile:
    """Opens a tar, plain or compressed, to be read once from front to back. Raises tarfile.ReadError."""
    head = file.read(512)
    make = next((make for magic, make in _COMPRESSIONS.items() if head.startswith(magic)), None)
    stream: Any = _Decompressed(file, head, make) if make else _WithHead(file, head)
    with _as_read_error():
        return tarfile.open(fileobj=stream, mode="r|", tarinfo=Header)


def members(archive: tarfile.TarFile) -> Iterator[tarfile.TarInfo]:
    """The members of a tar, one by one and without keeping them. Raises tarfile.ReadError."""
    while True:
        with _as_read_error():
            member = archive.next()
        if member is None:
            return
        archive.members = []  # type: ignore[attr-defined]  # tarfile keeps all of them, a kilobyte each
        attributes = archive.pax_headers  # apply to all members, and are kept as well, whatever their names
        archive.pax_headers = {name: attributes[name] for name in tarfile.PAX_FIELDS if name in attributes}
        yield member


def member_content(archive: tarfile.TarFile, member: tarfile.TarInfo) -> bytes:
    """The content of a member: the bytes that exist, whatever its header claims. Raises tarfile.ReadError."""
    sink = io.BytesIO()
    with _as_read_error():
        file = archive.extractfile(member)
        while file and (chunk := file.read(CONTENT_AT_ONCE)):
            sink.write(chunk)
    return sink.getvalue()


@contextmanager
def _as_read_error() -> Iterator[None]:
    """Converts any exception of tarfile for damaged bytes, such as ValueError or OverflowError, to ReadError."""
    try:
        yield
    except (tarfile.ReadError, OSError, MemoryError):
        raise
    except Exception as problem:  # noqa: BLE001 - tarfile raises many kinds for damaged headers
        raise tarfile.ReadError(str(problem) or type(problem).__name__) from None


def is_plain_tar(head: bytes) -> bool:
    """Whether the first 512 bytes of a file are those of an uncompressed tar."""
    return head[257:262] == b"ustar"


def member_key(member: tarfile.TarInfo) -> tuple[str, str]:
    """The key and suffix of a member; empty for links and devices."""
    return split_key(member.name) if member.isreg() else ("", "")


def split_key(name: str) -> tuple[str, str]:
    """A member's key, which is its path up to the first dot of the file name, and its last suffix in lower case.

    WebDataset's rule: https://github.com/webdataset/webdataset, `base_plus_ext`.
    """
    folder, _, base = name.rpartition("/")
    stem = base.split(".", 1)[0] or base
    return (f"{folder}/{stem}" if folder else stem), os.path.splitext(base)[1].lower()


class GuardedFile:
    """A file that raises ReadError if it is read too often after its end: tarfile skips the size that a header claims,
    up to 8 EB, by reading blocks of 10 kB, even after the end. `position` is the number of bytes read."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self._reads_after_end = 0
        self.position = 0

    def read(self, size: int) -> bytes:
        data = bytes(self._file.read(size))
        self.position += len(data)
        self._reads_after_end += not data
        if self._reads_after_end > READ_AFTER_END:
            raise tarfile.ReadError("it ends before the size that its headers claim")
        return data


class _WithHead:
    """A file whose first bytes, `head`, were read already."""

    def __init__(self, file: GuardedFile, head: bytes) -> None:
        self._file, self._head = file, head

    def read(self, size: int) -> bytes:
        if self._head:
            data, self._head = self._head[:size], self._head[size:]
            return data
        return self._file.read(size)


class _Decompressed:
    """The content of a compressed file, all its streams in sequence, decompressed as requested: a few compressed bytes
    may expand to gigabytes."""

    def __init__(self, file: GuardedFile, head: bytes, make: "Callable[[], _Decompressor]") -> None:
        self._file, self._compressed, self._make = file, head, make
        self._stream = make()
        self._is_first = True

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
        """Starts the next stream, if there is one; zeros or other bytes after the last stream are skipped."""
        rest = self._stream.unused_data.lstrip(b"\0")
        while not rest:
            more = self._file.read(COMPRESSED_AT_ONCE)
            if not more:
                return False
            rest = more.lstrip(b"\0")
        if not any(rest.startswith(magic[: len(rest)]) for magic in _COMPRESSIONS):
            return False
        self._stream, self._compressed = self._make(), rest
        return True
