"""Tars, plain or compressed, as a stream of members; nothing in one is believed before it is checked.

Nothing is extracted to disk, links and devices are passed over, what is compressed is unpacked a little at a time, and
whatever is wrong with an archive is one exception, tarfile's ReadError; what the storage raises is its own.
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
from typing import Any

MAX_DESCRIBED = 1_000_000  # bytes of a header that describes the next one: names and attributes
MAX_DICTIONARY = 256_000_000  # bytes that unpacking xz may take; xz -9 takes 65 MB
PACKED_AT_ONCE = 10_240  # bytes, as tarfile reads; by how many were read, shares of a tar are told apart
CONTENT_AT_ONCE = 1 << 20  # bytes
READ_AFTER_END = 100  # reads, see Counted

#: First bytes of what is compressed, as tarfile knows them.
_COMPRESSIONS: dict[bytes, Callable[[], Any]] = {
    b"\x1f\x8b\x08": partial(zlib.decompressobj, 31),  # 31: gzip's own header, the largest window
    b"BZh": bz2.BZ2Decompressor,
    b"\xfd7zXZ": partial(lzma.LZMADecompressor, memlimit=MAX_DICTIONARY),
    b"\x5d\x00\x00\x80": partial(lzma.LZMADecompressor, memlimit=MAX_DICTIONARY),
}


class Header(tarfile.TarInfo):
    """A header whose damage is an error; tarfile itself takes a bad one after the first for the archive's end."""

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
        if header.size < 0 or (describes_next and header.size > MAX_DESCRIBED):
            raise tarfile.ReadError(f"a header claims {header.size} bytes")
        return header

    def _proc_sparse(self, archive: tarfile.TarFile) -> Any:
        """Holes that the header itself lists are read; a list that goes on behind it may go on without end."""
        if self._sparse_structs[1]:  # type: ignore[attr-defined]
            raise tarfile.ReadError(f"{self.name[:200]} is sparse with many holes, which is not read")
        return super()._proc_sparse(archive)  # type: ignore[misc]

    def _proc_gnusparse_10(self, member: tarfile.TarInfo, *_: object) -> None:
        raise tarfile.ReadError(f"{member.name[:200]} is sparse in POSIX format, which is not read")


def open_tar(file: "Counted") -> tarfile.TarFile:
    """A tar, plain or compressed, read once from front to back. Raises tarfile.ReadError."""
    head = file.read(512)
    make = next((make for magic, make in _COMPRESSIONS.items() if head.startswith(magic)), None)
    stream: Any = _Unpacked(file, head, make) if make else _Pushed(file, head)
    with _one_exception():
        return tarfile.open(fileobj=stream, mode="r|", tarinfo=Header)


def members(archive: tarfile.TarFile) -> Iterator[tarfile.TarInfo]:
    """The members of a tar one by one; none is kept. Raises tarfile.ReadError."""
    while True:
        with _one_exception():
            member = archive.next()
        if member is None:
            return
        archive.members = []  # type: ignore[attr-defined]  # tarfile remembers all of them, a kilobyte each
        told = archive.pax_headers  # for all members, and remembered as well, whatever their names are
        archive.pax_headers = {name: told[name] for name in tarfile.PAX_FIELDS if name in told}
        yield member


def content(archive: tarfile.TarFile, member: tarfile.TarInfo) -> bytes:
    """What a member holds: as many bytes as there are, whatever its header claims. Raises tarfile.ReadError."""
    sink = io.BytesIO()
    with _one_exception():
        file = archive.extractfile(member)
        while file and (some := file.read(CONTENT_AT_ONCE)):
            sink.write(some)
    return sink.getvalue()


@contextmanager
def _one_exception() -> Iterator[None]:
    """Whatever tarfile makes of strange bytes, be it a ValueError or an OverflowError, as a ReadError."""
    try:
        yield
    except (tarfile.ReadError, OSError, MemoryError):
        raise
    except Exception as problem:  # noqa: BLE001 - tarfile lets through what odd headers make it raise
        raise tarfile.ReadError(str(problem) or type(problem).__name__) from None


def is_plain_tar(head: bytes) -> bool:
    """Whether the first 512 bytes of a file are a tar's, and not those of one that is compressed."""
    return head[257:262] == b"ustar"


def member_key(member: tarfile.TarInfo) -> tuple[str, str]:
    """The key and suffix of a member; none of links and devices."""
    return split_key(member.name) if member.isreg() else ("", "")


def split_key(name: str) -> tuple[str, str]:
    """A member's key, up to the first dot of its last part, and its last suffix in lower case.

    WebDataset's rule: https://github.com/webdataset/webdataset, `base_plus_ext`.
    """
    folder, _, base = name.rpartition("/")
    stem = base.split(".", 1)[0] or base
    return (f"{folder}/{stem}" if folder else stem), os.path.splitext(base)[1].lower()


class Counted:
    """A file that says so when it is read again and again after its end: tarfile skips what a header claims, up to
    8 EB, by reading on in blocks of 10 kB, whether any come or not."""

    def __init__(self, file: Any) -> None:
        self._file = file
        self._reads_after_end = 0
        self.position = 0

    def read(self, size: int) -> bytes:
        data = bytes(self._file.read(size))
        self.position += len(data)
        self._reads_after_end += not data
        if self._reads_after_end > READ_AFTER_END:
            raise tarfile.ReadError("it ends before what its headers claim")
        return data


class _Pushed:
    """A file whose first bytes were read already."""

    def __init__(self, file: Counted, head: bytes) -> None:
        self._file, self._head = file, head

    def read(self, size: int) -> bytes:
        if self._head:
            data, self._head = self._head[:size], self._head[size:]
            return data
        return self._file.read(size)


class _Unpacked:
    """The bytes of a compressed file, of all its streams one after the other, unpacked as they are asked for: a few
    packed bytes may stand for gigabytes."""

    def __init__(self, file: Counted, head: bytes, make: Callable[[], Any]) -> None:
        self._file, self._packed, self._make = file, head, make
        self._stream = make()
        self._is_first = True

    def read(self, size: int) -> bytes:
        while True:
            if self._stream.eof and not self._go_on():
                return self._file.read(0)  # counted: tarfile would read on for ever
            if not self._packed and getattr(self._stream, "needs_input", True):
                self._packed = self._file.read(PACKED_AT_ONCE)
                if not self._packed:
                    raise tarfile.ReadError("its compressed bytes break off")
            data = self._unpack(size)
            if data:
                return data

    def _unpack(self, size: int) -> bytes:
        try:
            data: bytes = self._stream.decompress(self._packed, size)
        except MemoryError:
            raise
        except Exception as problem:  # noqa: BLE001 - zlib.error, OSError of bz2, LZMAError
            raise tarfile.ReadError(f"its compressed bytes are damaged: {problem}") from None
        self._packed = getattr(self._stream, "unconsumed_tail", b"")  # of zlib; the others keep it themselves
        return data

    def _go_on(self) -> bool:
        """Begins with the next stream, where there is one; zeros, or other bytes, behind the last are passed over."""
        rest = self._stream.unused_data.lstrip(b"\0")
        while not rest:
            more = self._file.read(PACKED_AT_ONCE)
            if not more:
                return False
            rest = more.lstrip(b"\0")
        if not any(rest.startswith(magic[: len(rest)]) for magic in _COMPRESSIONS):
            return False
        self._stream, self._packed = self._make(), rest
        return True
