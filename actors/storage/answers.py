"""Checks and limits of what storage responds with: an endpoint is not trusted."""

import re
from collections.abc import Awaitable, Callable, Mapping

MAX_OBJECT_BYTES = 50 * 10**12  # S3's limit
MAX_RESPONSE_BYTES = 32_000_000  # of a response other than an object: a page of 1,000 keys has a few million at most
_CHUNK_BYTES = 1_000_000

_CONTENT_RANGE = re.compile(r"bytes (\d{1,20})-(\d{1,20})/(\d{1,20}|\*)", re.ASCII)


class EndpointError(OSError):
    """Storage does not respond, or its response is invalid. A proxy's trouble may be temporary, so calls are
    retried."""


class NotRegularFile(OSError):
    """A device, a pipe or a socket instead of a file: reading it might never end, or have side effects."""


class ArchivedObject(OSError):
    """An object is in cold storage, such as S3's GLACIER, and has to be restored before it can be read."""


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
