"""Finds the filesystem of a URL or path, and the path there."""

import os
from collections.abc import Mapping
from typing import Any

import fsspec
from fsspec import AbstractFileSystem
from fsspec.implementations.local import LocalFileSystem

from actors.schema import UsageError

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


def protocol_of(uri: str) -> str | None:
    """A URL's protocol, with aliases resolved; None for a path."""
    name = uri.split("://", 1)[0].lower() if "://" in uri else None
    return _ALIASES.get(name, name) if name is not None else None


def connect(uri: str, options: Mapping[str, object]) -> tuple[AbstractFileSystem, str]:
    """The filesystem of a URL or local path, and its path there; a relative path is made absolute.

    Listings are never cached: a run must see what other runs wrote. Raises UsageError if the protocol is unknown, or
    the URL is chained ("zip::s3://…"), which could name any other file.
    """
    protocol, rest = protocol_of(uri) or "file", uri.split("://", 1)[-1]
    if "::" in protocol or protocol in _NESTED:
        raise UsageError(f"{uri!r}: chained URLs are not read; name the stored object itself")
    if protocol == "file":
        return LocalFileSystem(), os.path.abspath(rest)
    arguments: dict[str, Any] = dict(options)
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


def path_of(filesystem: AbstractFileSystem, uri: str) -> str:
    """The path that a filesystem takes for a URI."""
    return str(filesystem._strip_protocol(uri))  # noqa: SLF001 - fsspec has no public method
