"""Reads untrusted tars, plain or compressed, as a stream of members.

Nothing is extracted to disk, and any damage of an archive raises a single exception, tarfile's ReadError; errors of the
storage are passed on.
"""

import io
import tarfile
from collections.abc import Iterator
from typing import IO, Any, BinaryIO

from actors.sources.tar_streams import GuardedFile, TarStream, open_stream

BLOCK = 512  # bytes of a header
ENCODING = "utf-8"  # of names, whatever the locale; tarfile takes that of this machine's disks
MAX_EXTENDED_HEADER = 1_000_000  # bytes of a header that describes the next one: names and attributes
CONTENT_AT_ONCE = 1 << 16  # bytes; larger blocks are returned to the system each time, and cost twice the time


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

    @classmethod
    def fromtarfile(cls, archive: tarfile.TarFile) -> "Header":
        """The next header. Two blocks of zeros end a tar, and are skipped here, because `cat` joins tars; what follows
        them and is no header is not damage."""
        assert isinstance(archive, Archive)
        block = archive.file.read(BLOCK)
        try:
            header = cls.frombuf(block, ENCODING, "surrogateescape")
        except tarfile.EOFHeaderError:  # type: ignore[attr-defined]
            archive.zeros, archive.pax_headers = archive.zeros + 1, {}
            raise
        except tarfile.ReadError:
            if archive.zeros < 2:
                raise
            archive.has_foreign_block = any(block)
            raise tarfile.EmptyHeaderError("the end") from None  # type: ignore[attr-defined]
        archive.part += archive.zeros >= 2
        archive.zeros = 0
        header.offset = archive.file.tell() - BLOCK
        member: Header = header._proc_member(archive)  # type: ignore[attr-defined]  # noqa: SLF001 - as tarfile does
        return member

    def _proc_sparse(self, archive: tarfile.TarFile) -> tarfile.TarInfo:
        """Accepts holes that are listed in the header itself; a list that continues after it may be endless."""
        if self._sparse_structs[1]:  # type: ignore[attr-defined]
            raise tarfile.ReadError(f"{self.name[:200]} is sparse with many holes, which is not supported")
        header: tarfile.TarInfo = super()._proc_sparse(archive)  # type: ignore[misc]
        return header

    def _proc_gnusparse_10(self, member: tarfile.TarInfo, *_: object) -> None:
        raise tarfile.ReadError(f"{member.name[:200]} is sparse in POSIX format, which is not supported")


class Archive(tarfile.TarFile):
    """A tar, or several that were joined."""

    zeros = 0  # blocks of zeros before the next one
    part = 0  # the number of the tar that the last header is of
    has_foreign_block = False  # whether a block that is no header follows the end
    stream: TarStream | None = None

    @property
    def file(self) -> BinaryIO:
        return self.fileobj  # type: ignore[return-value]

    @property
    def has_foreign_end(self) -> bool:
        """Whether bytes that are no part of a tar follow its end."""
        return self.has_foreign_block or (self.stream is not None and self.stream.has_foreign_end)


def open_tar(file: GuardedFile) -> Archive:
    """Opens a tar, plain or compressed, to be read once from front to back. Raises tarfile.ReadError."""
    stream: Any = open_stream(file)
    try:
        archive = Archive.open(fileobj=stream, mode="r|", tarinfo=Header, ignore_zeros=True, encoding=ENCODING)
    except Exception as problem:  # noqa: BLE001 - tarfile raises many kinds for damaged headers
        raise _as_read_error(problem) from None
    archive.stream = stream
    return archive


def open_plain_tar(file: BinaryIO) -> Archive:
    """Opens a plain tar at the header where the file is. Raises tarfile.ReadError."""
    try:
        return Archive(fileobj=file, mode="r", tarinfo=Header, ignore_zeros=True, encoding=ENCODING)
    except Exception as problem:  # noqa: BLE001 - tarfile raises many kinds for damaged headers
        raise _as_read_error(problem) from None


def members(archive: tarfile.TarFile) -> Iterator[tarfile.TarInfo]:
    """The members of a tar, one by one and without keeping them. Raises tarfile.ReadError."""
    while True:
        try:
            member = archive.next()
        except Exception as problem:  # noqa: BLE001 - tarfile raises many kinds for damaged headers
            raise _as_read_error(problem) from None
        if member is None:
            return
        archive.members = []  # type: ignore[attr-defined]  # tarfile keeps all of them, a kilobyte each
        if attributes := archive.pax_headers:  # apply to all members, and are kept as well, whatever their names
            archive.pax_headers = {name: attributes[name] for name in tarfile.PAX_FIELDS if name in attributes}
        yield member


def member_content(archive: Archive, member: tarfile.TarInfo) -> bytes:
    """The content of the member whose header was read last. Raises tarfile.ReadError if the tar ends within it."""
    try:
        if member.issparse():
            return _copied(archive.extractfile(member), None)
        archive.file.seek(member.offset_data)
        size = member.size
        data = archive.file.read(size) if size <= CONTENT_AT_ONCE else _copied(archive.file, size)
    except Exception as problem:  # noqa: BLE001 - tarfile raises many kinds for damaged headers
        raise _as_read_error(problem) from None
    if len(data) < size:
        raise tarfile.ReadError("unexpected end of data")
    return data


def _copied(file: IO[bytes] | None, size: int | None) -> bytes:
    """The first bytes of a file, as many as exist of `size`, or all: a header may claim any size."""
    sink = io.BytesIO()
    while file and (chunk := file.read(CONTENT_AT_ONCE if size is None else min(size - sink.tell(), CONTENT_AT_ONCE))):
        sink.write(chunk)
    return sink.getvalue()


def _as_read_error(problem: Exception) -> Exception:
    """A ReadError in place of what tarfile raises for damaged bytes, such as ValueError or OverflowError."""
    if isinstance(problem, (tarfile.ReadError, OSError, MemoryError)):
        return problem
    return tarfile.ReadError(str(problem) or type(problem).__name__)


def is_plain_tar(head: bytes) -> bool:
    """Whether the first 512 bytes of a file are those of an uncompressed tar."""
    return head[257:262] == b"ustar"
