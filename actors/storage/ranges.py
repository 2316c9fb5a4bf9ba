"""Reads bytes of stored files, with a bound on the memory taken whatever the storage sends."""

import errno
import os
import stat
import sys

from fsspec.asyn import sync

from actors.storage.answers import (
    ArchivedObject,
    BodyReader,
    EndpointError,
    FileTooLarge,
    NotRegularFile,
    checked_size,
)
from actors.storage.file_info import FileInfo
from actors.storage.location import Location

_COPY_BYTES = 1 << 24  # read at a time
_GROWTH_BYTES = 65_536  # read at a time beyond a file's size, since it may be growing


def info_of(place: Location) -> FileInfo:
    """A file's metadata. Raises FileNotFoundError, EndpointError."""
    if place.is_http:
        from actors.storage import web

        return web.info(place)
    try:
        metadata = dict(place.filesystem.info(place.path))
        if metadata.get("size") is not None:
            checked_size(metadata["size"])
    except OSError as problem:
        if problem.errno in (errno.ENAMETOOLONG, errno.ELOOP):  # no file can have this name, or links form a circle
            raise FileNotFoundError(place.path[:80]) from None
        if isinstance(problem, EndpointError):
            raise EndpointError(f"{place.described}: {problem}") from None
        raise
    except (KeyError, TypeError, ValueError) as problem:  # the client misses a field, or cannot parse a number
        what = f"sent incomplete or invalid metadata of a file ({type(problem).__name__}: {problem})"
        raise EndpointError(f"{place.described}: {what}") from None
    return FileInfo.of(metadata)


def copy(place: Location, target: str, max_bytes: int) -> None:
    """Copies a file to a path on this machine, chunk by chunk. Raises FileTooLarge if it exceeds `max_bytes`."""
    if place.is_http:
        from actors.storage import web

        with open(target, "wb") as file:
            web.copy(place, file, max_bytes)
        return
    size = 0
    with place.filesystem.open(place.path, "rb") as source, open(target, "wb") as sink:
        while chunk := source.read(_COPY_BYTES):
            size += len(chunk)
            if size > max_bytes:
                raise FileTooLarge(place.described, size, max_bytes)
            sink.write(chunk)


def read_whole(place: Location, max_bytes: int | None) -> bytes:
    """Reads a file. Raises FileTooLarge if it exceeds `max_bytes`, before reading it if its size is known."""
    limit = sys.maxsize if max_bytes is None else max_bytes
    if place.is_local:
        data = _local(place.path, 0, limit, is_whole=True)
    elif place.is_s3:
        data = _s3(place, limit)
    elif place.is_http:
        from actors.storage import web

        data = web.read(place, limit)
    elif max_bytes is None:
        data = bytes(place.filesystem.cat_file(place.path))
    else:
        with place.filesystem.open(place.path, "rb") as file:
            size = getattr(file, "size", None) or 0
            data = b"" if size > max_bytes else file.read(max_bytes + 1)
            if max(size, len(data)) > max_bytes:
                raise FileTooLarge(place.described, max(size, len(data)), max_bytes)
    return data


def read_part(place: Location, start: int, end: int) -> bytes:
    """Reads a file from byte `start` up to `end`, or to its end if that comes first."""
    if end <= start:
        return b""
    if place.is_local:
        return _local(place.path, start, end - start)
    if place.is_s3:
        return _s3(place, end - start, (start, end))
    if place.is_http:
        from actors.storage import web

        return web.read(place, end - start, (start, end))
    data = bytes(place.filesystem.cat_file(place.path, start=start, end=end))
    if len(data) > end - start:
        raise EndpointError(
            f"{place.described}: responded to a request for bytes {start} to {end - 1} with {len(data):,}"
        )
    return data


def _local(path: str, start: int, limit: int, is_whole: bool = False) -> bytes:
    if not _check_regular(os.stat(path), path):  # before it is opened, which might block or have side effects
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), path)
    with open(os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC), "rb", buffering=0) as file:
        file_status = os.fstat(file.fileno())
        _check_regular(file_status, path)
        if is_whole and file_status.st_size > limit:
            raise FileTooLarge(path, file_status.st_size, limit)
        file.seek(start)
        chunks, remaining, expected = list[bytes](), limit + is_whole, file_status.st_size - start
        while remaining and (chunk := file.read(min(remaining, max(expected, _GROWTH_BYTES)))):
            chunks.append(chunk)
            remaining, expected = remaining - len(chunk), expected - len(chunk)
    if is_whole and not remaining:
        raise FileTooLarge(path, limit + 1, limit)
    return chunks[0] if len(chunks) == 1 else b"".join(chunks)


def _check_regular(file_status: os.stat_result, path: str) -> bool:
    """Whether it is a regular file and not a folder. Raises NotRegularFile if it is neither."""
    if not (stat.S_ISREG(file_status.st_mode) or stat.S_ISDIR(file_status.st_mode)):
        raise NotRegularFile(f"{path} is a device, a pipe or a socket, not a regular file")
    return stat.S_ISREG(file_status.st_mode)


def _s3(place: Location, limit: int, byte_range: tuple[int, int] | None = None) -> bytes:
    from s3fs.core import _error_wrapper, version_id_kw

    filesystem = place.filesystem
    bucket, key, version = filesystem.split_path(place.path)
    options = {"Range": f"bytes={byte_range[0]}-{byte_range[1] - 1}"} if byte_range else {}

    async def get() -> bytes:
        response = await filesystem._call_s3(  # noqa: SLF001 - the call that s3fs itself makes, with its retries
            "get_object", Bucket=bucket, Key=key, **version_id_kw(version), **options, **filesystem.req_kw
        )
        try:
            status = response["ResponseMetadata"]["HTTPStatusCode"]
            return await read_body(
                response["Body"].read, status, response.get("ContentRange"), response.get("ContentLength")
            )
        finally:
            response["Body"].close()

    read_body = BodyReader(place.described, limit, byte_range)
    try:
        return bytes(sync(filesystem.loop, _error_wrapper, get, retries=filesystem.retries))
    except (ArchivedObject, PermissionError) as problem:
        raise type(problem)(f"{place.described}: {problem}") from None
