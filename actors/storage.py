"""The few things that the job asks of storage, on any fsspec filesystem: read, and write in one atomic step."""

import contextlib
import errno
import functools
import io
import os
import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, ParamSpec, TypeVar

import fsspec
from fsspec.implementations.local import LocalFileSystem
from tenacity import retry, retry_if_exception, stop_after_attempt, wait_exponential_jitter

from actors.schema import UsageError

Filesystem = Any  # fsspec.AbstractFileSystem, which carries no types

Result = TypeVar("Result")
Parameters = ParamSpec("Parameters")

_PERMANENT = (FileNotFoundError, FileExistsError, PermissionError, NotADirectoryError, IsADirectoryError)
_PERMANENT_ERRNOS = (errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.ENAMETOOLONG)
BYTES_AT_ONCE = 4_000_000  # of a file that is read range by range

_CLIENTS = ("botocore", "aiobotocore", "aiohttp", "asyncio")  # whose exceptions are no OSErrors

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


def patiently(call: Callable[Parameters, Result]) -> Callable[Parameters, Result]:
    """Tries a call to storage again, at growing, jittered distances, while what it raises may pass: three tries in all,
    beside those that the storage's own client makes.

    A full disk, a missing key or a refused permission is told at once. What a client raises of its own, such as an
    endpoint that does not answer, becomes an OSError, or a PermissionError where credentials are missing.
    """

    @functools.wraps(call)
    def translated(*args: Parameters.args, **kwargs: Parameters.kwargs) -> Result:
        try:
            return call(*args, **kwargs)
        except Exception as problem:
            kind = type(problem)
            if isinstance(problem, OSError) or kind.__module__.split(".")[0] not in _CLIENTS:
                raise
            refused = "Credentials" in kind.__name__
            raise (PermissionError if refused else OSError)(f"{kind.__name__}: {problem}") from problem

    return retry(
        retry=retry_if_exception(_is_transient),
        wait=wait_exponential_jitter(initial=0.5, max=8),
        stop=stop_after_attempt(3),
        reraise=True,
    )(translated)


def _is_transient(problem: BaseException) -> bool:
    if not isinstance(problem, OSError) or isinstance(problem, _PERMANENT):
        return False
    return problem.errno not in _PERMANENT_ERRNOS


def connect(uri: str, options: Mapping[str, Any]) -> tuple[Filesystem, str]:
    """The filesystem of a URL or local path, and its path there; a relative path is made absolute.

    Listings are never cached: a run must see what other runs wrote. Raises UsageError where the URL names no known
    protocol, or is a chain ("zip::s3://…"), which could name any other file.
    """
    if "::" in uri:
        raise UsageError(f"{uri!r}: chained URLs are not read; name the stored object itself")
    protocol = uri.split("://", 1)[0] if "://" in uri else "file"
    if protocol in ("file", "local"):
        return LocalFileSystem(), os.path.abspath(uri.removeprefix(f"{protocol}://"))
    given = dict(options)
    if protocol in ("s3", "s3a"):
        given = {"use_listings_cache": False} | given | {"config_kwargs": _S3_CLIENT | given.get("config_kwargs", {})}
    try:
        filesystem = fsspec.filesystem(protocol, **given)
    except (ValueError, ImportError) as problem:
        raise UsageError(f"{uri!r}: {problem}") from None
    if protocol in ("s3", "s3a"):
        filesystem.retries = _S3_TRIES
    path = filesystem._strip_protocol(uri).split("?", 1)[0] if protocol == "http" else filesystem._strip_protocol(uri)
    return filesystem, path.rstrip("/")


def canonical(filesystem: Filesystem, path: str) -> str:
    """The one URI of an object: absolute, without user or query."""
    return str(filesystem.unstrip_protocol(path))


def is_s3(filesystem: Filesystem) -> bool:
    return "s3" in filesystem.protocol


def is_local(filesystem: Filesystem) -> bool:
    return isinstance(filesystem, LocalFileSystem)


def version(info: Mapping[str, Any]) -> str:
    """What tells two versions of an object apart: its ETag, or the modification time in ns on a local disk."""
    if "ino" in info and os.path.exists(info["name"]):
        return str(os.stat(info["name"]).st_mtime_ns)
    for key in (
        "ETag",
        "etag",
        "md5Hash",
        "content_md5",
        "LastModified",
        "last_modified",
        "updated",
        "mtime",
        "created",
    ):
        if info.get(key) is not None:
            return str(info[key]).strip('"')
    return f"size-{info.get('size')}"


@patiently
def exists(filesystem: Filesystem, path: str) -> bool:
    return bool(filesystem.exists(path))


@patiently
def info(filesystem: Filesystem, path: str) -> dict[str, Any]:
    """What the storage knows of a file. Raises FileNotFoundError."""
    try:
        return dict(filesystem.info(path))
    except OSError as problem:
        if problem.errno == errno.ENAMETOOLONG:  # no file can have that name
            raise FileNotFoundError(path[:80]) from None
        raise


@patiently
def modified(filesystem: Filesystem, path: str) -> datetime:
    """When a file was written, by the storage's clock. Raises FileNotFoundError."""
    at: datetime = filesystem.modified(path)
    return at


@patiently
def read(filesystem: Filesystem, path: str) -> bytes:
    return bytes(filesystem.cat_file(path))


@patiently
def read_range(filesystem: Filesystem, path: str, start: int, end: int) -> bytes:
    """Bytes from `start` up to `end`, or to the file's end where that comes before. Not empty unless it does."""
    return bytes(filesystem.cat_file(path, start=start, end=end))


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
        most = self._ahead - first if first < self._ahead else BYTES_AT_ONCE
        last = min(first + min(len(buffer), most), self._stored.size)
        if last <= first:
            return 0
        try:
            data = read_range(self._stored.filesystem, self._stored.path, first, last)
        except Exception as problem:  # of any kind: the storage's clients are others' code
            told = problem if isinstance(problem, OSError) else OSError(f"{type(problem).__name__}: {problem}")
            self.problem = told
            raise told from None
        buffer[: len(data)] = data
        self._at += len(data)
        return len(data)


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
        if bytes(filesystem.cat_file(path)) == data and version(filesystem.info(path)) == version_found:
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
    return bytes(filesystem.cat_file(path)) == data


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
