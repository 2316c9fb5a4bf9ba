"""The few things that the job asks of storage, on any fsspec filesystem: read, and write in one atomic step."""

import contextlib
import io
import os
import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import fsspec
from fsspec.implementations.local import LocalFileSystem

from actors.schema import UsageError
from actors.storage import ranges
from actors.storage.answers import EndpointError, place
from actors.storage.answers import Filesystem as Filesystem
from actors.storage.answers import NotRegular as NotRegular
from actors.storage.answers import TooMuch as TooMuch
from actors.storage.answers import is_local as is_local
from actors.storage.answers import is_s3 as is_s3
from actors.storage.ranges import version as version
from actors.storage.retry import patiently

BYTES_AT_ONCE = 4_000_000  # of a file that is read range by range

_SAME = {"local": "file", "s3a": "s3", "gcs": "gs"}
#: Protocols whose files lie within a file of another one, which the URL may name as it likes.
_WITHIN_OTHERS = ("zip", "tar", "libarchive", "reference", "dir", "cached", "blockcache", "filecache", "simplecache")

#: Of botocore: seconds that an answer may take, and no retries below those of s3fs and of `patiently`, or storage that
#: answers nothing would hold a run for the product of all three. Some stores answer a request for a range with the
#: checksum of the whole object, which botocore would hold against the range.
_S3_CLIENT = {
    "connect_timeout": 10,
    "read_timeout": 30,
    "retries": {"total_max_attempts": 1},
    "response_checksum_validation": "when_required",
}
_S3_TRIES = 2  # of s3fs, which has two loops around each other to read an object


copy = patiently(ranges.copy)


def protocol_of(uri: str) -> str | None:
    """The name of a URL's protocol, one for those that have several; None of a path."""
    named = uri.split("://", 1)[0].lower() if "://" in uri else None
    return _SAME.get(named, named) if named is not None else None


def connect(uri: str, options: Mapping[str, Any]) -> tuple[Filesystem, str]:
    """The filesystem of a URL or local path, and its path there; a relative path is made absolute.

    Listings are never cached: a run must see what other runs wrote. Raises UsageError where the URL names no known
    protocol, or is a chain ("zip::s3://…"), which could name any other file.
    """
    protocol, rest = protocol_of(uri) or "file", uri.split("://", 1)[-1]
    if "::" in protocol or protocol in _WITHIN_OTHERS:
        raise UsageError(f"{uri!r}: chained URLs are not read; name the stored object itself")
    if protocol == "file":
        return LocalFileSystem(), os.path.abspath(rest)
    given = dict(options)
    if protocol == "s3":
        from actors.storage.s3_session import BoundedSession

        client = _S3_CLIENT | {"http_session_cls": BoundedSession} | given.get("config_kwargs", {})
        given = {"use_listings_cache": False} | given | {"config_kwargs": client}
    try:
        filesystem = fsspec.filesystem(protocol, **given)
    except (ValueError, ImportError, TypeError) as problem:  # no such protocol, or one that wants more than a URL
        raise UsageError(f"{uri!r}: {problem}") from None
    if protocol == "s3":
        filesystem.retries = _S3_TRIES
    path = path_of(filesystem, f"{protocol}://{rest}")  # of which it knows no capitals
    return filesystem, (path.split("?", 1)[0] if protocol == "http" else path).rstrip("/")


def path_of(filesystem: Filesystem, uri: str) -> str:
    """A URI as the path that its filesystem takes."""
    return str(filesystem._strip_protocol(uri))  # noqa: SLF001 - fsspec has no public way


def canonical(filesystem: Filesystem, path: str) -> str:
    """The one URI of an object: absolute, without user or query."""
    return str(filesystem.unstrip_protocol(path))


@patiently
def exists(filesystem: Filesystem, path: str) -> bool:
    return bool(filesystem.exists(path))


@patiently
def info(filesystem: Filesystem, path: str) -> dict[str, Any]:
    """What the storage knows of a file; its `size` may be None over HTTP. Raises FileNotFoundError."""
    return ranges.known(filesystem, path)


@patiently
def modified(filesystem: Filesystem, path: str) -> datetime:
    """When a file was written, by the storage's clock. Raises FileNotFoundError."""
    at = filesystem.modified(path)
    if not isinstance(at, datetime):
        raise EndpointError(f"{place(filesystem, path)}: does not say when it was written")
    return at


@patiently
def read(filesystem: Filesystem, path: str, max_bytes: int | None = None) -> bytes:
    """A file, whole. Raises TooMuch where it has more than `max_bytes` bytes: then at most that many were read."""
    return ranges.whole(filesystem, path, max_bytes)


@patiently
def read_range(filesystem: Filesystem, path: str, start: int, end: int) -> bytes:
    """Bytes from `start` up to `end`, or to the file's end where that comes before. Not empty unless it does."""
    return ranges.part(filesystem, path, start, end)


@dataclass(frozen=True)
class Stored:
    """A file that is too large to be held: its size in bytes, and where it lies."""

    filesystem: Filesystem
    path: str
    size: int

    def open(self, start: int = 0, at_once: tuple[int, int] = (0, 0)) -> io.BufferedReader:
        """It as a seekable file, from a byte on. The bytes from one to another are asked for in one request."""
        size = max(at_once[1] - at_once[0], BYTES_AT_ONCE)
        return io.BufferedReader(_Ranges(self, start, at_once[1]), buffer_size=size)


def check(file: Any) -> None:
    """Raises what the storage raised while a stored file was read: decoders take a failed read for its end."""
    problem = getattr(getattr(file, "raw", None), "problem", None)
    if problem:
        raise problem


class _Ranges(io.RawIOBase):
    """A stored file, read range by range. `problem` is what the storage raised, for callers that swallow it."""

    def __init__(self, stored: Stored, start: int, ahead: int) -> None:
        self._stored, self._start, self._ahead, self._at = stored, start, ahead, 0
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

    def readinto(self, buffer: Any) -> int:
        first = self._start + self._at
        max_bytes = self._ahead - first if first < self._ahead else BYTES_AT_ONCE
        last = min(first + min(len(buffer), max_bytes), self._stored.size)
        if last <= first:
            return 0
        try:
            data = read_range(self._stored.filesystem, self._stored.path, first, last)
        except Exception as problem:  # noqa: BLE001 - the storage's clients are others' code
            told = problem if isinstance(problem, OSError) else OSError(f"{type(problem).__name__}: {problem}")
            self.problem = told
            raise told from None
        buffer[: len(data)] = data
        self._at += len(data)
        if not data:
            self._end_early()
        return len(data)

    def _end_early(self) -> None:
        """Raises where a file ends before its size: one that has another size by now was replaced, and who reads it
        asks for that."""
        filesystem, path = self._stored.filesystem, self._stored.path
        with contextlib.suppress(FileNotFoundError):
            if info(filesystem, path).get("size") == self._stored.size:
                self.problem = EndpointError(f"{place(filesystem, path)}: ends before its {self._stored.size:,} bytes")
                raise self.problem


@patiently
def write(filesystem: Filesystem, path: str, data: bytes) -> None:
    """Puts a file in one step: a reader sees the old one or the new one, whole. One PUT, or write and rename."""
    if not is_local(filesystem):
        filesystem.pipe_file(path, data)
        return
    with _written_beside(path, data) as temporary:
        os.replace(temporary, path)


@patiently
def put(filesystem: Filesystem, path: str, data: bytes) -> str:
    """Like `write`; returns the version of what was written.

    Raises FileExistsError where another run replaced or removed it before the version could be learned: then what
    stands is the other's, whole.
    """
    if is_local(filesystem):
        with _written_beside(path, data) as temporary:
            version_written = str(os.stat(temporary).st_mtime_ns)  # a rename keeps it
            os.replace(temporary, path)
        return version_written
    filesystem.pipe_file(path, data)
    with contextlib.suppress(FileNotFoundError):
        version_found = version(filesystem.info(path))
        if _holds(filesystem, path, data) and version(filesystem.info(path)) == version_found:
            return version_found
    raise FileExistsError(f"another run wrote or removed {path} at the same moment")


@patiently
def create(filesystem: Filesystem, path: str, data: bytes) -> bool:
    """Puts a file in one step unless it is there already; says whether it did. Of two at once, one wins.

    S3 decides by If-None-Match. A store that ignores that header lets the later one win, so what is stored is read
    back and compared: the loser learns of it.
    """
    try:
        if is_local(filesystem):
            with _written_beside(path, data) as temporary:
                os.link(temporary, path)
        else:
            filesystem.pipe_file(path, data, mode="create")
    except FileExistsError:
        pass  # perhaps by this very call, if its answer was lost and it was tried again: the content tells
    return _holds(filesystem, path, data)


def _holds(filesystem: Filesystem, path: str, data: bytes) -> bool:
    """Whether a file is just that; of another's, no more is read. Raises FileNotFoundError."""
    try:
        return ranges.whole(filesystem, path, len(data)) == data
    except (TooMuch, NotRegular):
        return False


@patiently
def delete(filesystem: Filesystem, path: str) -> None:
    """Removes a file; that it is gone already is as good."""
    with contextlib.suppress(FileNotFoundError):
        filesystem.rm_file(path)


@contextlib.contextmanager
def _written_beside(path: str, data: bytes) -> Any:
    """A complete, synced temporary file in the folder of `path`; gone when the block is left."""
    folder, name = os.path.split(path)
    os.makedirs(folder, exist_ok=True)
    temporary = os.path.join(folder, f".{name}.{uuid.uuid4().hex}.tmp")
    try:
        with open(temporary, "xb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        yield temporary
    finally:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(temporary)
