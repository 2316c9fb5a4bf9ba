"""Tells trouble with one file from trouble with its whole storage."""

import contextlib
import os

from fsspec.asyn import sync

from actors.storage.answers import EndpointError
from actors.storage.location import Location

_UNAVAILABLE = (502, 503, 504)  # HTTP's statuses of a gateway whose server does not respond


def check_access(place: Location) -> None:
    """Raises PermissionError or another OSError if the storage does not answer for the folder of a place.

    One request. It says nothing about the place itself, which need not exist.
    """
    folder = os.path.dirname(place.path)
    if place.is_local:
        _check_local(folder or "/")
    elif place.is_s3:
        bucket, _, key = folder.partition("/")
        prefix = key and key + "/"
        place.filesystem.call_s3(
            "list_objects_v2", Bucket=bucket or place.path, Prefix=prefix, MaxKeys=1, **place.filesystem.req_kw
        )
    elif place.is_http:
        _check_http(place, folder + "/")
    else:
        with contextlib.suppress(FileNotFoundError):  # that is an answer
            place.filesystem.info(folder)


def _check_local(folder: str) -> None:
    """Scans a folder, or, if it denies that or does not exist, one above it on the same disk."""
    while True:
        try:
            with os.scandir(folder) as scanned:
                next(scanned, None)
        except (PermissionError, FileNotFoundError, NotADirectoryError):
            if os.path.ismount(folder):
                raise
            folder = os.path.dirname(folder)
        else:
            return


def _check_http(place: Location, folder: str) -> None:
    """Any response counts but that of a gateway: a server need not have a page for a folder, nor know HEAD."""
    filesystem = place.filesystem

    async def status() -> int:
        session = await filesystem.set_session()
        async with session.head(filesystem.encode_url(folder), **filesystem.kwargs) as response:
            return int(response.status)

    found = sync(filesystem.loop, status)
    if found in _UNAVAILABLE:
        raise EndpointError(f"{Location(filesystem, folder).described}: responded with {found}")
