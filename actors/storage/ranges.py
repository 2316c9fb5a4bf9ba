"""Bytes of a stored file, and never more in memory than were asked for or are believed."""

import contextlib
import errno
import os
import stat
import sys
from collections.abc import Mapping
from datetime import datetime
from typing import Any

from fsspec.asyn import sync

from actors.storage.answers import (
    EndpointError,
    Filesystem,
    NotRegular,
    TooMuch,
    believed_size,
    held,
    is_http,
    is_local,
    is_s3,
    length_of_range,
    place,
    told_length,
)

_VERSIONS = "ETag etag md5Hash content_md5 LastModified Last-Modified last_modified updated mtime created".split()
_ABSENT = (404, 405, 406, 410, 414)  # HTTP's statuses of a URL under which there is, and will be, nothing
_COPIED_AT_ONCE = 1 << 24  # bytes
_BEYOND = 65_536  # bytes asked for at once where a file goes on after its size, for it may grow


def version(info: Mapping[str, Any]) -> str:
    """What tells two versions of an object apart: its ETag, or the modification time in ns on a local disk."""
    if "ino" in info:
        with contextlib.suppress(FileNotFoundError):
            return str(os.stat(info["name"]).st_mtime_ns)
    for key in _VERSIONS:
        if told := info.get(key):  # S3 without ETags says "" where a file is asked for, and nothing in a listing
            if key == "LastModified" and isinstance(told, datetime):
                told = told.replace(microsecond=0)  # a listing may say it finer than a file's own header can
            return str(told).strip('"')
    return f"size-{info.get('size')}"


def known(filesystem: Filesystem, path: str) -> dict[str, Any]:
    """What the storage knows of a file. Raises FileNotFoundError, EndpointError."""
    try:
        info = dict(filesystem.info(path))
        if info.get("size") is not None:
            believed_size(info["size"])
    except FileNotFoundError as problem:
        cause = problem.__cause__  # over HTTP any failure at all
        if not is_http(filesystem) or cause is None:
            raise
        if not hasattr(cause, "status"):
            raise cause from None
        raise _refused(filesystem, path, cause.status, getattr(cause, "message", "")) from None
    except OSError as problem:
        if problem.errno in (errno.ENAMETOOLONG, errno.ELOOP):  # no file can have that name; or links lead to none
            raise FileNotFoundError(path[:80]) from None
        if isinstance(problem, EndpointError):
            raise EndpointError(f"{place(filesystem, path)}: {problem}") from None
        raise
    except (KeyError, TypeError, ValueError) as problem:  # a client that misses something, or cannot read a number
        what = f"does not say of a file what it must ({type(problem).__name__}: {problem})"
        raise EndpointError(f"{place(filesystem, path)}: {what}") from None
    return info


def copy(filesystem: Filesystem, path: str, target: str, max_bytes: int) -> None:
    """Copies a file to a path on this machine, bit by bit. Raises TooMuch once it has more than `max_bytes` bytes."""
    size = 0
    with filesystem.open(path, "rb") as source, open(target, "wb") as sink:
        while some := source.read(_COPIED_AT_ONCE):
            size += len(some)
            if size > max_bytes:
                raise TooMuch(place(filesystem, path), size, max_bytes)
            sink.write(some)


def whole(filesystem: Filesystem, path: str, max_bytes: int | None) -> bytes:
    """A file. Raises TooMuch, before it is read where its size is known, where it has more than `max_bytes` bytes."""
    limit = sys.maxsize if max_bytes is None else max_bytes
    if is_local(filesystem):
        data = _local(path, 0, limit, is_whole=True)
    elif is_s3(filesystem):
        data = _s3(filesystem, path, limit)
    elif is_http(filesystem):
        data = _http(filesystem, path, limit)
    elif max_bytes is None:
        data = bytes(filesystem.cat_file(path))
    else:
        with filesystem.open(path, "rb") as file:
            size = getattr(file, "size", None) or 0
            data = b"" if size > max_bytes else file.read(max_bytes + 1)
            if max(size, len(data)) > max_bytes:
                raise TooMuch(place(filesystem, path), max(size, len(data)), max_bytes)
    return data


def part(filesystem: Filesystem, path: str, start: int, end: int) -> bytes:
    """The bytes of a file from `start` up to `end`, or to its end where that comes before."""
    if end <= start:
        return b""
    if is_local(filesystem):
        return _local(path, start, end - start)
    if is_s3(filesystem):
        return _s3(filesystem, path, end - start, (start, end))
    if is_http(filesystem):
        return _http(filesystem, path, end - start, (start, end))
    data = bytes(filesystem.cat_file(path, start=start, end=end))
    if len(data) > end - start:
        raise EndpointError(f"{place(filesystem, path)}: answers for bytes {start} to {end - 1} with {len(data):,}")
    return data


def _local(path: str, start: int, limit: int, is_whole: bool = False) -> bytes:
    if not _is_file(os.stat(path), path):  # before it is opened, which might wait or do something
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), path)
    with open(os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC), "rb", buffering=0) as file:
        known = os.fstat(file.fileno())
        _is_file(known, path)
        if is_whole and known.st_size > limit:
            raise TooMuch(path, known.st_size, limit)
        file.seek(start)
        chunks, wanted, expected = list[bytes](), limit + is_whole, known.st_size - start
        while wanted and (chunk := file.read(min(wanted, max(expected, _BEYOND)))):
            chunks.append(chunk)
            wanted, expected = wanted - len(chunk), expected - len(chunk)
    if is_whole and not wanted:
        raise TooMuch(path, limit + 1, limit)
    return chunks[0] if len(chunks) == 1 else b"".join(chunks)


def _is_file(known: os.stat_result, path: str) -> bool:
    if not (stat.S_ISREG(known.st_mode) or stat.S_ISDIR(known.st_mode)):
        raise NotRegular(f"{path} is a device, a pipe or a socket, and no file")
    return stat.S_ISREG(known.st_mode)


def _s3(filesystem: Filesystem, path: str, limit: int, asked: tuple[int, int] | None = None) -> bytes:
    from s3fs.core import _error_wrapper, version_id_kw

    bucket, key, version = filesystem.split_path(path)
    ranged = {"Range": f"bytes={asked[0]}-{asked[1] - 1}"} if asked else {}

    async def get() -> bytes:
        told = await filesystem._call_s3(  # noqa: SLF001 - the call that s3fs itself makes, with its retries
            "get_object", Bucket=bucket, Key=key, **version_id_kw(version), **ranged, **filesystem.req_kw
        )
        try:
            status = told["ResponseMetadata"]["HTTPStatusCode"]
            return await taken(told["Body"].read, status, told.get("ContentRange"), told.get("ContentLength"))
        finally:
            told["Body"].close()

    taken = _Taking(filesystem, path, limit, asked)
    return bytes(sync(filesystem.loop, _error_wrapper, get, retries=filesystem.retries))


def _http(filesystem: Filesystem, path: str, limit: int, asked: tuple[int, int] | None = None) -> bytes:
    options = dict(filesystem.kwargs)
    headers = dict(options.pop("headers", {})) | {"Accept-Encoding": "identity"}  # sizes and ranges are of the file
    headers |= {"Range": f"bytes={asked[0]}-{asked[1] - 1}"} if asked else {}

    async def get() -> bytes:
        session = await filesystem.set_session()
        async with session.get(filesystem.encode_url(path), headers=headers, **options) as answer:
            if answer.status >= 400:
                raise _refused(filesystem, path, answer.status, answer.reason)
            told = answer.headers
            return await taken(answer.content.read, answer.status, told.get("Content-Range"), told_length(told))

    taken = _Taking(filesystem, path, limit, asked)
    return bytes(sync(filesystem.loop, get))


def _refused(filesystem: Filesystem, path: str, status: int, reason: object) -> OSError:
    """What an HTTP status says, without a query, which may hold a signature."""
    kind = FileNotFoundError if status in _ABSENT else PermissionError if status in (401, 403) else EndpointError
    return kind(f"{place(filesystem, path)}: answers {status} {reason!s:.80}")


class _Taking:
    """Takes the body of an answer, of no more than `limit` bytes, and of just those that were asked for."""

    def __init__(self, filesystem: Filesystem, path: str, limit: int, asked: tuple[int, int] | None) -> None:
        self._where, self._limit, self._asked = place(filesystem, path), limit, asked

    async def __call__(self, read: Any, status: int, content_range: str | None, told: int | None) -> bytes:
        if self._asked is None:
            data = None if (told or 0) > self._limit else await held(read, self._limit)
            if data is None:
                raise TooMuch(self._where, max(told or 0, self._limit + 1), self._limit)
            return data
        start, end = self._asked
        try:
            length = length_of_range(status, content_range, start, end)
        except EndpointError as problem:
            raise EndpointError(f"{self._where}: {problem}") from None
        data = None if (told or 0) > length else await held(read, length)
        is_part = status == 206 or bool(content_range)
        if data is None or (is_part and len(data) != length):
            given = "too many" if data is None else f"{len(data):,}"
            raise EndpointError(f"{self._where}: answers for bytes {start} to {end - 1} with {given}")
        return data
