"""Operations on stored files, on any fsspec filesystem: reads, and atomic writes."""

import contextlib
import io
import os
import uuid
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, BinaryIO

import fsspec
from fsspec.implementations.local import LocalFileSystem

from actors.schema import UsageError
from actors.storage import ranges
from actors.storage.answers import EndpointError, location
from actors.storage.answers import Filesystem as Filesystem
from actors.storage.answers import FileTooLarge as FileTooLarge
from actors.storage.answers import NotRegularFile as NotRegularFile
from actors.storage.answers import is_local as is_local
from actors.storage.answers import is_s3 as is_s3
from actors.storage.ranges import version as version
from actors.storage.retry import retried

RANGE_BYTES = 4_000_000  # read per request from a file that is read in ranges

_ALIASES = {"local": "file", "s3a": "s3", "gcs": "gs"}
#: Protocols whose files are within another file, which such a URL could choose freely.
_NESTED = ("zip", "tar", "libarchive", "reference", "dir", "cached", "blockcache", "filecache", "simplecache")

#: Options of botocore: timeouts in seconds, and no retries beside those of s3fs and of `retried`, since storage that
#: does not respond would delay a run for the product of all three. Some stores send the checksum of the whole object
#: with a range, which botocore would compare with that of the range.
_S3_CLIENT = {
    "connect_timeout": 10,
    "read_timeout": 30,
    "retries": {"total_max_attempts": 1},
    "response_checksum_validation": "when_required",
}
_S3_TRIES = 2  # of s3fs, which reads an object in two nested retry loops


copy = retried(ranges.copy)


def protocol_of(uri: str) -> str | None:
    """A URL's protocol, with aliases resolved; None for a path."""
    name = uri.split("://", 1)[0].lower() if "://" in uri else None
    return _ALIASES.get(name, name) if name is not None else None


def connect(uri: str, options: Mapping[str, Any]) -> tuple[Filesystem, str]:
    """The filesystem of a URL or local path, and its path there; a relative path is made absolute.

    Listings are never cached: a run must see what other runs wrote. Raises UsageError if the protocol is unknown, or
    the URL is chained ("zip::s3://…"), which could name any other file.
    """
    protocol, rest = protocol_of(uri) or "file", uri.split("://", 1)[-1]
    if "::" in protocol or protocol in _NESTED:
        raise UsageError(f"{uri!r}: chained URLs are not read; name the stored object itself")
    if protocol == "file":
        return LocalFileSystem(), os.path.abspath(rest)
    arguments = dict(options)
    if protocol == "s3":
        from actors.storage.s3_session import BoundedSession

        client = _S3_CLIENT | {"http_session_cls": BoundedSession} | arguments.get("config_kwargs", {})
        arguments = {"use_listings_cache": False} | arguments | {"config_kwargs": client}
    try:
        filesystem = fsspec.filesystem(protocol, **arguments)
    except (ValueError, ImportError, TypeError) as problem:  # no such protocol, or one that needs more than a URL
        raise UsageError(f"{uri!r}: {problem}") from None
    if protocol == "s3":
        filesystem.retries = _S3_TRIES
    path = path_of(filesystem, f"{protocol}://{rest}")  # which must be in lower case
    return filesystem, (path.split("?", 1)[0] if protocol == "http" else path).rstrip("/")


def path_of(filesystem: Filesystem, uri: str) -> str:
    """The path that a filesystem takes for a URI."""
    return str(filesystem._strip_protocol(uri))  # noqa: SLF001 - fsspec has no public method


def canonical(filesystem: Filesystem, path: str) -> str:
    """The canonical URI of an object: absolute, without user or query."""
    return str(filesystem.unstrip_protocol(path))


@retried
def exists(filesystem: Filesystem, path: str) -> bool:
    return bool(filesystem.exists(path))


@retried
def info(filesystem: Filesystem, path: str) -> dict[str, Any]:
    """A file's metadata; its `size` may be None over HTTP. Raises FileNotFoundError."""
    return ranges.file_info(filesystem, path)


@retried
def modified(filesystem: Filesystem, path: str) -> datetime:
    """A file's modification time, by the storage's clock. Raises FileNotFoundError."""
    time = filesystem.modified(path)
    if not isinstance(time, datetime):
        raise EndpointError(f"{location(filesystem, path)}: reports no modification time")
    return time


@retried
def read(filesystem: Filesystem, path: str, max_bytes: int | None = None) -> bytes:
    """Reads a whole file. Raises FileTooLarge if it exceeds `max_bytes`, of which at most that many are read."""
    return ranges.read_whole(filesystem, path, max_bytes)


@retried
def read_range(filesystem: Filesystem, path: str, start: int, end: int) -> bytes:
    """Reads bytes `start` up to `end`, or to the file's end if that comes first. Empty only at the file's end."""
    return ranges.read_part(filesystem, path, start, end)


@dataclass(frozen=True)
class StoredFile:
    """A file that is read in ranges because it is too large for memory, or little of it is needed: its path, its size
    in bytes, and how many of them one request reads."""

    filesystem: Filesystem
    path: str
    size: int
    range_bytes: int = RANGE_BYTES

    def open(self, start: int = 0, prefetch: tuple[int, int] = (0, 0)) -> io.BufferedReader:
        """Opens it as a seekable file that begins at byte `start`. The bytes of `prefetch`, (first, end), are read in
        one request."""
        size = max(prefetch[1] - prefetch[0], self.range_bytes)
        return io.BufferedReader(_RangeReader(self, start, prefetch[1]), buffer_size=size)


def reraise(file: Any) -> None:
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

    def readinto(self, buffer: Any) -> int:
        first = self._start + self._at
        max_bytes = self._prefetch_end - first if first < self._prefetch_end else self._stored.range_bytes
        last = min(first + min(len(buffer), max_bytes), self._stored.size)
        if last <= first:
            return 0
        try:
            data = read_range(self._stored.filesystem, self._stored.path, first, last)
        except Exception as problem:  # noqa: BLE001 - third-party clients of storage
            failure = problem if isinstance(problem, OSError) else OSError(f"{type(problem).__name__}: {problem}")
            self.problem = failure
            raise failure from None
        buffer[: len(data)] = data
        self._at += len(data)
        if not data:
            self._end_early()
        return len(data)

    def _end_early(self) -> None:
        """Raises EndpointError if a file ends before its size. One whose size has changed was replaced, which its
        reader checks itself."""
        filesystem, path = self._stored.filesystem, self._stored.path
        with contextlib.suppress(FileNotFoundError):
            if info(filesystem, path).get("size") == self._stored.size:
                self.problem = EndpointError(
                    f"{location(filesystem, path)}: ends before its {self._stored.size:,} bytes"
                )
                raise self.problem


@retried
def write(filesystem: Filesystem, path: str, data: bytes) -> None:
    """Writes a file atomically: a reader sees the old or the new content, complete. One PUT, or write and rename."""
    if not is_local(filesystem):
        filesystem.pipe_file(path, data)
        return
    with temporary_file(path) as file:
        file.write(data)
        os.replace(finished(file), path)


@retried
def put(filesystem: Filesystem, path: str, data: bytes) -> str:
    """Like `write`; returns the version of the written file.

    Raises FileExistsError if another run replaced or removed it before its version could be read; the other run's file,
    which is complete, remains.
    """
    if is_local(filesystem):
        with temporary_file(path) as file:
            file.write(data)
            version_written = str(os.stat(finished(file)).st_mtime_ns)  # a rename keeps it
            os.replace(file.name, path)
        return version_written
    filesystem.pipe_file(path, data)
    with contextlib.suppress(FileNotFoundError):
        version_found = version(filesystem.info(path))
        if _has_content(filesystem, path, data) and version(filesystem.info(path)) == version_found:
            return version_found
    raise FileExistsError(f"another run wrote or removed {path} at the same moment")


@retried
def create(filesystem: Filesystem, path: str, data: bytes) -> bool:
    """Writes a file atomically unless it exists; returns whether it did. Of two concurrent calls, one succeeds.

    On S3 by If-None-Match. In a store that ignores this header the later call wins, so the file is read back and
    compared.
    """
    try:
        if is_local(filesystem):
            with temporary_file(path) as file:
                file.write(data)
                os.link(finished(file), path)
        else:
            filesystem.pipe_file(path, data, mode="create")
    except FileExistsError:
        pass  # perhaps created by this very call, if its response was lost and it was retried: compare the content
    return _has_content(filesystem, path, data)


def _has_content(filesystem: Filesystem, path: str, data: bytes) -> bool:
    """Whether a file's content equals `data`; no more than that is read. Raises FileNotFoundError."""
    try:
        return ranges.read_whole(filesystem, path, len(data)) == data
    except (FileTooLarge, NotRegularFile):
        return False


@retried
def delete(filesystem: Filesystem, path: str) -> None:
    """Removes a file if it exists."""
    with contextlib.suppress(FileNotFoundError):
        filesystem.rm_file(path)


@contextlib.contextmanager
def temporary_file(path: str) -> Iterator[BinaryIO]:
    """A new file to write to, in the folder of `path` on a local disk; removed when the block is left."""
    folder, name = os.path.split(path)
    os.makedirs(folder, exist_ok=True)
    temporary = os.path.join(folder, f".{name}.{uuid.uuid4().hex}.tmp")
    try:
        with open(temporary, "xb") as file:
            yield file
    finally:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(temporary)


def finished(file: BinaryIO) -> str:
    """Writes a file through to its disk and closes it: some mounts store a file when it is closed. Returns its path."""
    file.flush()
    os.fsync(file.fileno())
    file.close()
    return file.name
