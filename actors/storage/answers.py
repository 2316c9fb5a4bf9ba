"""What storage may answer, and how much of it is taken: an endpoint is another's, and may say anything."""

import re
from collections.abc import Awaitable, Callable, Mapping
from typing import Any
from urllib.parse import urlsplit

from fsspec.implementations.local import LocalFileSystem

Filesystem = Any  # fsspec.AbstractFileSystem, which carries no types

MAX_OBJECT_BYTES = 50 * 10**12  # bytes; the largest that S3 keeps
MAX_ANSWER_BYTES = 32_000_000  # bytes that is no object: a page of 1,000 keys has a few million at most
_AT_ONCE = 1_000_000  # bytes
_MAX_PATH_SHOWN = 300  # characters of a path in a sentence

_CONTENT_RANGE = re.compile(r"bytes (\d{1,20})-(\d{1,20})/(\d{1,20}|\*)", re.ASCII)


class EndpointError(OSError):
    """Storage that answers nothing, or what it must not. Where a proxy was in trouble it may pass, so calls are tried
    again."""


class NotRegular(OSError):
    """A device, a pipe or a socket where a file should be: reading it might never end, or do something."""


class TooMuch(OSError):
    """A file of more bytes than are believed: `size` is how many there are, as far as that is known."""

    def __init__(self, path: str, size: int, max_bytes: int) -> None:
        super().__init__(f"{path} has {size:,} bytes, and no more than {max_bytes:,} are read")
        self.path, self.size, self.max_bytes = path, size, max_bytes

    def __reduce__(self) -> tuple[type["TooMuch"], tuple[str, int, int]]:
        return TooMuch, (self.path, self.size, self.max_bytes)


def is_s3(filesystem: Filesystem) -> bool:
    return "s3" in filesystem.protocol


def is_local(filesystem: Filesystem) -> bool:
    return isinstance(filesystem, LocalFileSystem)


def is_http(filesystem: Filesystem) -> bool:
    return "http" in filesystem.protocol


def place(filesystem: Filesystem, path: str) -> str:
    """How a sentence names what lies in storage: its URI, after the endpoint of S3; no credentials, no query."""
    path = path if len(path) <= _MAX_PATH_SHOWN else f"{path[:_MAX_PATH_SHOWN]}…"
    if is_s3(filesystem):
        url = urlsplit(filesystem.connect().meta.endpoint_url)
        return f"{url.scheme}://{url.netloc.rpartition('@')[2]} (s3://{path})"
    if is_http(filesystem):
        url = urlsplit(path)
        return f"{url.scheme}://{url.netloc.rpartition('@')[2]}{url.path}"
    return str(filesystem.unstrip_protocol(path))


def believed_size(size: object) -> int:
    """A size that storage tells. Raises EndpointError where no object can have it."""
    if not isinstance(size, int) or not 0 <= size <= MAX_OBJECT_BYTES:
        raise EndpointError(f"gives it a size of {size!r:.40} bytes; 0 to {MAX_OBJECT_BYTES:,} are possible")
    return size


def length_of_range(status: int, content_range: str | None, start: int, end: int) -> int:
    """How many bytes an answer to the question for bytes `start` up to `end` has. Raises EndpointError.

    Only these bytes are an answer, or as many of them as there are. The whole object is one where it is not longer,
    which shows while it is read. https://www.rfc-editor.org/rfc/rfc9110#name-range-requests. Some stores (rclone) give
    the part that was asked for, and say so, but with the status of a whole.
    """
    asked = f"answers for bytes {start} to {end - 1}"
    if status != 206 and not content_range:
        if start == 0:
            return end
        raise EndpointError(f"{asked} with the whole object; it must support ranges")
    given = _CONTENT_RANGE.fullmatch(content_range or "")
    if given is None:
        raise EndpointError(f"{asked} and does not say which bytes they are (Content-Range: {content_range!r:.60})")
    first, last = int(given[1]), int(given[2])
    if first != start or last + 1 != (end if given[3] == "*" else min(end, int(given[3]))):
        raise EndpointError(f"{asked} with others (Content-Range: {content_range!r:.60})")
    return last + 1 - first


async def held(read: Callable[[int], Awaitable[bytes]], max_bytes: int) -> bytes | None:
    """All that a stream gives, or None where that is more than `max_bytes` bytes."""
    chunks, size = list[bytes](), 0
    while chunk := await read(_AT_ONCE):
        size += len(chunk)
        if size > max_bytes:
            return None
        chunks.append(chunk)
    return b"".join(chunks)


def told_length(headers: Mapping[str, str]) -> int | None:
    """The bytes that an answer says it has, where it does."""
    length = headers.get("Content-Length", "")
    return int(length) if length.isascii() and length.isdigit() and len(length) <= 20 else None
