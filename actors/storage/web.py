"""HTTP: metadata, whole files and ranges, from servers as they are.

A server may know no HEAD, no ranges and no lengths. https://www.rfc-editor.org/rfc/rfc9110
"""

from collections.abc import Awaitable, Callable, Mapping
from typing import BinaryIO, TypeVar

import aiohttp
import yarl
from fsspec.asyn import sync
from fsspec.implementations.http import HTTPFileSystem

from actors.foreign.escape import without_credentials
from actors.schema import UsageError
from actors.storage.answers import (
    BodyReader,
    EndpointError,
    FileTooLarge,
    checked_size,
    content_length,
    total_length,
)
from actors.storage.file_info import FileInfo, version_of
from actors.storage.location import Location
from actors.storage.urls import Signatures, normal_url, public_url

Result = TypeVar("Result")

TIMEOUT = aiohttp.ClientTimeout(total=None, sock_connect=10, sock_read=30)  # seconds; a large file may take hours
_IDENTITY = {"Accept-Encoding": "identity"}  # sizes and ranges refer to the file
_NO_HEAD = (400, 403, 405, 501)  # statuses of servers that refuse HEAD, or whose URLs are signed for GET
_ABSENT = (404, 405, 406, 410, 414)  # statuses that mean that a file does not exist, permanently
_COPY_BYTES = 1 << 24  # read at a time


class Web(HTTPFileSystem):  # type: ignore[misc]
    """Web servers as a filesystem of fsspec, whose paths are URLs.

    Those with `signatures` are known by their public form: that is their path, and the signature is added to each
    request.
    """

    def __init__(self, signatures: Signatures, **options: object) -> None:
        super().__init__(**options)
        self._signatures = signatures

    def unstrip_protocol(self, name: str) -> str:
        return public_url(name)

    def encode_url(self, url: str) -> yarl.URL:
        return yarl.URL(self._signatures.sign(normal_url(url)), encoded=True)

    async def _pipe_file(self, path: str, *_: object, **__: object) -> None:
        raise UsageError(
            f"{public_url(path)}: HTTP cannot be written to; give a folder, or the storage's own URL (s3://…)"
        )


def info(place: Location) -> FileInfo:
    """A file's metadata. Raises FileNotFoundError, PermissionError, EndpointError.

    Its version is the ETag, else the date of modification, else the size.
    """
    status, reason, headers = _head(place, "HEAD", {})
    if status in _NO_HEAD:
        status, reason, headers = _head(place, "GET", {"Range": "bytes=0-0"})
    size = None
    if status in (206, 416):
        size = total_length(headers.get("Content-Range"))
    elif headers.get("Content-Encoding", "identity") == "identity":  # else the length is that of what is sent
        size = content_length(headers)
    if status >= 400 and not (status == 416 and size == 0):  # the first byte of an empty file
        raise _error(place, status, reason)
    try:
        size = None if size is None else checked_size(size)
    except EndpointError as problem:
        raise EndpointError(f"{place.described}: {problem}") from None
    etag, date = headers.get("ETag", "").removeprefix("W/"), headers.get("Last-Modified")
    version = version_of({"ETag": etag, "Last-Modified": date, "size": size})
    return FileInfo(size, version, is_file=True, media_type=headers.get("Content-Type", "").partition(";")[0] or None)


def exists(place: Location) -> bool:
    """Whether there is a file or page."""
    try:
        info(place)
    except FileNotFoundError:
        return False
    return True


def status_of(place: Location) -> int:
    """The status with which a server responds."""
    return _head(place, "HEAD", {})[0]


def read(place: Location, limit: int, byte_range: tuple[int, int] | None = None) -> bytes:
    """Reads a file of at most `limit` bytes, or a range of it. Raises as `info`, and FileTooLarge."""
    headers = {"Range": f"bytes={byte_range[0]}-{byte_range[1] - 1}"} if byte_range else {}
    read_body = BodyReader(place.described, limit, byte_range, may_skip=True)

    async def received(response: aiohttp.ClientResponse) -> bytes:
        if response.status == 416 and byte_range:
            size = total_length(response.headers.get("Content-Range"))
            if size is not None and size <= byte_range[0]:
                return b""  # it ends before
        if response.status >= 400:
            raise _error(place, response.status, response.reason)
        got = response.headers
        return await read_body(response.content.read, response.status, got.get("Content-Range"), content_length(got))

    return _request(place, "GET", headers, received)


def copy(place: Location, sink: BinaryIO, max_bytes: int) -> None:
    """Copies a file, chunk by chunk. Raises as `read`."""

    async def received(response: aiohttp.ClientResponse) -> None:
        if response.status >= 400:
            raise _error(place, response.status, response.reason)
        size = 0
        while chunk := await response.content.read(_COPY_BYTES):
            size += len(chunk)
            if size > max_bytes:
                raise FileTooLarge(place.described, size, max_bytes)
            sink.write(chunk)

    _request(place, "GET", {}, received)


def _head(place: Location, method: str, headers: Mapping[str, str]) -> tuple[int, object, Mapping[str, str]]:
    """The status, its reason and the headers of a response, without its body."""

    async def received(response: aiohttp.ClientResponse) -> tuple[int, object, Mapping[str, str]]:
        return response.status, response.reason, response.headers

    return _request(place, method, headers, received)


def _request(
    place: Location,
    method: str,
    headers: Mapping[str, str],
    received: Callable[[aiohttp.ClientResponse], Awaitable[Result]],
) -> Result:
    """What `received` makes of a response, from wherever it is redirected. Raises EndpointError."""
    filesystem = place.filesystem
    options = {"allow_redirects": True} | filesystem.kwargs
    headers = dict(options.pop("headers", {})) | _IDENTITY | dict(headers)

    async def request() -> Result:
        session = await filesystem.set_session()
        url = filesystem.encode_url(place.path)
        async with session.request(method, url, headers=headers, **options) as response:
            return await received(response)

    try:
        result: Result = sync(filesystem.loop, request)
    except (aiohttp.ClientError, TimeoutError, ValueError) as problem:  # ValueError: no URL, or no number
        what = without_credentials(f"{type(problem).__name__}: {problem}")
        raise EndpointError(f"{place.described}: {what}") from None
    return result


def _error(place: Location, status: int, reason: object) -> OSError:
    """The error for an HTTP status; its message leaves out the URL's query, which may hold a signature."""
    kind = FileNotFoundError if status in _ABSENT else PermissionError if status in (401, 403) else EndpointError
    return kind(f"{place.described}: responded with {status} {reason!s:.80}")
