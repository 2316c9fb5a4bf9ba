"""Where a file or folder is: a filesystem of fsspec, and a path there."""

import os
from dataclasses import dataclass
from urllib.parse import urlsplit

from fsspec import AbstractFileSystem
from fsspec.implementations.local import LocalFileSystem

from actors.storage.urls import address_of

_MAX_PATH_SHOWN = 300  # characters of a path in a message


@dataclass(frozen=True, slots=True)
class Location:
    """A path in a filesystem: its names, and the kind of storage that it is in."""

    filesystem: AbstractFileSystem
    path: str

    @property
    def uri(self) -> str:
        """The canonical URI: absolute, without a user, a password or a signature."""
        return str(self.filesystem.unstrip_protocol(self.path))

    @property
    def name(self) -> str:
        """The last part of the path."""
        return os.path.basename(self._address)

    @property
    def folder(self) -> str:
        """The path of the folder that the path is in."""
        return os.path.dirname(self._address)

    @property
    def _address(self) -> str:
        """The path, over HTTP without the query, which may contain slashes."""
        return address_of(self.path) if self.is_http else self.path

    @property
    def described(self) -> str:
        """The location as it appears in messages: its URI, for S3 after the endpoint; no credentials, no query."""
        path = self.path if len(self.path) <= _MAX_PATH_SHOWN else f"{self.path[:_MAX_PATH_SHOWN]}…"
        if self.is_s3:
            url = urlsplit(self.filesystem.connect().meta.endpoint_url)
            return f"{url.scheme}://{url.netloc.rpartition('@')[2]} (s3://{path})"
        if self.is_http:
            url = urlsplit(path)
            return f"{url.scheme}://{url.netloc.rpartition('@')[2]}{url.path}"
        return str(self.filesystem.unstrip_protocol(path))

    @property
    def store(self) -> str:
        """What files share permissions and outages with: their bucket, web server, or kind of storage."""
        if self.is_s3:
            return f"s3://{self.path.partition('/')[0]}"
        return urlsplit(self.path).netloc if self.is_http else str(self.filesystem.protocol)

    @property
    def is_local(self) -> bool:
        return isinstance(self.filesystem, LocalFileSystem)

    @property
    def is_s3(self) -> bool:
        return "s3" in self.filesystem.protocol

    @property
    def is_http(self) -> bool:
        return "http" in self.filesystem.protocol
