"""Tells trouble with one file from trouble with its whole storage."""

import contextlib
import os

from actors.storage.answers import EndpointError
from actors.storage.location import Location

_UNAVAILABLE = (502, 503, 504)  # HTTP's statuses of a gateway whose server does not respond


def check_access(place: Location) -> None:
    """Raises PermissionError or another OSError if the storage does not answer for the folder of a place.

    One request. It says nothing about the place itself, which need not exist.
    """
    folder = place.folder
    if place.is_local:
        _check_local(folder or "/")
    elif place.is_s3:
        bucket, key, _ = place.filesystem.split_path(folder)
        prefix = key and key + "/"
        place.filesystem.call_s3(
            "list_objects_v2", Bucket=bucket or place.path, Prefix=prefix, MaxKeys=1, **place.filesystem.req_kw
        )
    elif place.is_http:
        _check_http(Location(place.filesystem, place.folder + "/"))
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


def _check_http(folder: Location) -> None:
    """Any response counts but that of a gateway: a server need not have a page for a folder, nor know HEAD."""
    from actors.storage import web

    status = web.status_of(folder)
    if status in _UNAVAILABLE:
        raise EndpointError(f"{folder.described}: responded with {status}")
