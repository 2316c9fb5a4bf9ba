"""Checks and limits of what storage responds with: an endpoint is not trusted."""

import re
from collections.abc import Awaitable, Callable, Mapping

MAX_OBJECT_BYTES = 50 * 10**12  # S3's limit
MAX_RESPONSE_BYTES = 32_000_000  # of a response other than an object: a page of 1,000 keys has a few million at most
_CHUNK_BYTES = 1_000_000

_CONTENT_RANGE = re.compile(r"bytes (\d{1,20})-(\d{1,20})/(\d{1,20}|\*)", re.ASCII)

_TOTAL = re.compile(r"bytes (?:\d{1,20}-\d{1,20}|\*)/(\d{1,20})", re.ASCII)


class EndpointError(OSError):
    """Storage does not respond, or its response is invalid. A proxy's trouble may be temporary, so calls are
    retried."""


class NotRegularFile(OSError):
    """A device, a pipe or a socket instead of a file: reading it might never end, or have side effects."""


class ArchivedObject(OSError):
    """An object is in cold storage, such as S3's GLACIER, and has to be restored before it can be read."""


#: Errors of storage that concern one file: others may be read all the same.
OF_ONE_FILE = (FileNotFoundError, PermissionError, IsADirectoryError, NotRegularFile)


class FileTooLarge(OSError):
    """A file exceeds a limit. `size` is its size in bytes, or a lower bound of it."""

    def __init__(self, path: str, size: int, max_bytes: int) -> None:
        super().__init__(f"{path} has {size:,} bytes, more than the limit of {max_bytes:,}")
        self.path, self.size, self.max_bytes = path, size, max_bytes

    def __reduce__(self) -> tuple[type["FileTooLarge"], tuple[str, int, int]]:
        return FileTooLarge, (self.path, self.size, self.max_bytes)


def checked_size(size: object) -> int:
    """A size that storage reports. Raises EndpointError if no object can have it."""
    if not isinstance(size, int) or not 0 <= size <= MAX_OBJECT_BYTES:
        raise EndpointError(f"reports a size of {size!r:.40} bytes; 0 to {MAX_OBJECT_BYTES:,} are possible")
    return size


def range_length(status: int, content_range: str | None, start: int, end: int) -> int:
    """The length in bytes of a response to a request for bytes `start` up to `end`. Raises EndpointError.

    A valid response holds these bytes, or as many of them as exist. The whole object is valid too if it is not longer,
    which turns out while it is read. https://www.rfc-editor.org/rfc/rfc9110#name-range-requests. Some stores (rclone)
    send the requested part with a Content-Range, but with status 200.
    """
    problem = f"responded to a request for bytes {start} to {end - 1}"
    if status != 206 and not content_range:
        if start == 0:
            return end
        raise EndpointError(f"{problem} with the whole object; it must support ranges")
    match = _CONTENT_RANGE.fullmatch(content_range or "")
    if match is None:
        raise EndpointError(f"{problem} without a valid Content-Range ({content_range!r:.60})")
    first, last = int(match[1]), int(match[2])
    if first != start or last + 1 != (end if match[3] == "*" else min(end, int(match[3]))):
        raise EndpointError(f"{problem} with other bytes (Content-Range: {content_range!r:.60})")
    return last + 1 - first


def total_length(content_range: str | None) -> int | None:
    """The length in bytes of a whole file, from the Content-Range of a part of it; None if it is not stated."""
    match = _TOTAL.fullmatch(content_range or "")
    return int(match[1]) if match else None


async def read_bounded(read: Callable[[int], Awaitable[bytes]], max_bytes: int) -> bytes | None:
    """Reads a stream to its end; None if it has more than `max_bytes`."""
    chunks, size = list[bytes](), 0
    while chunk := await read(_CHUNK_BYTES):
        size += len(chunk)
        if size > max_bytes:
            return None
        chunks.append(chunk)
    return b"".join(chunks)


def content_length(headers: Mapping[str, str]) -> int | None:
    """The length in bytes that a response states, None if it states none."""
    length = headers.get("Content-Length", "")
    return int(length) if length.isascii() and length.isdigit() and len(length) <= 20 else None


class BodyReader:
    """Reads the body of a response: at most `limit` bytes, and of a range request exactly the requested ones.

    `where` begins its messages. With `may_skip`, a server that sends the whole object instead of a range is read up to
    the range's end.
    """

    def __init__(self, where: str, limit: int, byte_range: tuple[int, int] | None, may_skip: bool = False) -> None:
        self._where, self._limit, self._byte_range, self._may_skip = where, limit, byte_range, may_skip

    async def __call__(
        self, read: Callable[[int], Awaitable[bytes]], status: int, content_range: str | None, claimed: int | None
    ) -> bytes:
        if self._byte_range is None:
            data = None if (claimed or 0) > self._limit else await read_bounded(read, self._limit)
            if data is None:
                raise FileTooLarge(self._where, max(claimed or 0, self._limit + 1), self._limit)
            return data
        start, end = self._byte_range
        is_part = status == 206 or bool(content_range)
        if self._may_skip and not is_part:
            return await _read_slice(read, start, end)
        try:
            length = range_length(status, content_range, start, end)
        except EndpointError as problem:
            raise EndpointError(f"{self._where}: {problem}") from None
        data = None if (claimed or 0) > length else await read_bounded(read, length)
        if data is None or (is_part and len(data) != length):
            given = "too many" if data is None else f"{len(data):,}"
            raise EndpointError(f"{self._where}: responded to a request for bytes {start} to {end - 1} with {given}")
        return data


async def _read_slice(read: Callable[[int], Awaitable[bytes]], start: int, end: int) -> bytes:
    """Bytes `start` up to `end` of a stream, which is read no further; those before are read and forgotten."""
    chunks, at = list[bytes](), 0
    while at < end and (chunk := await read(min(_CHUNK_BYTES, end - at))):
        if at + len(chunk) > start:
            chunks.append(chunk[max(start - at, 0) :])
        at += len(chunk)
    return b"".join(chunks)
