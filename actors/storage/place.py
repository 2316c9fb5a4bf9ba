"""A place in storage, and what can be done there: reads, and atomic writes.

Each call but `open` is repeated after a transient error of the storage, as `retried` describes.
"""

import contextlib
import io
import os
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import BinaryIO

from actors.storage import ranges
from actors.storage.access import check_access
from actors.storage.answers import EndpointError, FileTooLarge, NotRegularFile
from actors.storage.connect import connect, path_of
from actors.storage.file_info import FileInfo, version_of
from actors.storage.local_writes import finished, temporary_file
from actors.storage.location import Location
from actors.storage.range_reader import RangeReader
from actors.storage.retry import retried
from actors.storage.urls import is_web, join_url, public_url

_BLOCK_BYTES = 4_000_000  # of a request over HTTP


@dataclass(frozen=True, slots=True)
class Place(Location):
    """A file or folder in storage, whether it exists or not."""

    @classmethod
    def at(cls, uri: str, options: Mapping[str, object] = {}) -> "Place":
        """The place of a URL or local path; a relative path is made absolute. `options` are those of fsspec.

        Raises UsageError if the protocol is unknown, or the URL is chained.
        """
        return cls(*connect(uri, options))

    def __truediv__(self, name: str) -> "Place":
        """A place below this one. Raises ValueError if the name would lead elsewhere."""
        if any(part in ("", ".", "..") for part in name.split("/")) or "\\" in name or "\0" in name:
            raise ValueError(f"{name!r} is not below {self.path}")
        return self.with_path(f"{self.path.rstrip('/')}/{name}")

    @property
    def parent(self) -> "Place":
        return self.with_path(self.folder)

    def with_path(self, path: str) -> "Place":
        """Any other path in the same filesystem."""
        return Place(self.filesystem, path)

    def join(self, reference: str) -> "Place":
        """The place that a path relative to this folder names, or an absolute path of the same storage."""
        path = join_url(self.path, reference) if self.is_http else os.path.join(self.path, reference)
        return self.with_path(path)

    def signed_by(self, url: str) -> "Place":
        """This place by a URL that also has its signature; itself if the URL is of another file."""
        return self.with_path(url) if self.is_http and is_web(url) and public_url(url) == self.uri else self

    def with_uri(self, uri: str) -> "Place":
        """The place of a canonical URI in the same filesystem."""
        return Place(self.filesystem, path_of(self.filesystem, uri))

    def is_link(self) -> bool:
        return self.is_local and os.path.islink(self.path)

    @retried
    def exists(self) -> bool:
        if self.is_http:
            from actors.storage import web

            return web.exists(self)
        return bool(self.filesystem.exists(self.path))

    @retried
    def info(self) -> FileInfo:
        """A file's metadata. Raises FileNotFoundError."""
        return ranges.info_of(self)

    @retried
    def check_access(self) -> None:
        """Asks whether the storage answers at all for this place's folder, with our credentials.

        Raises PermissionError or another OSError if it does not: then trouble with one file concerns all of them.
        """
        check_access(self)

    @retried
    def modified(self) -> datetime:
        """A file's modification time, by the storage's clock. Raises FileNotFoundError."""
        time = self.filesystem.modified(self.path)
        if not isinstance(time, datetime):
            raise EndpointError(f"{self.described}: reports no modification time")
        return time

    def open(self, block_size: int | None = None) -> BinaryIO:
        """A file to read from its start on, in requests of `block_size` bytes."""
        if self.is_local:
            opened: BinaryIO = self.filesystem.open(self.path, "rb")
            return opened
        # Not by fsspec's own file: that of S3 raises its client's exceptions, which readers take for damage, and that
        # of HTTP has no file longer than a block where a server knows no ranges.
        block_size = block_size or _BLOCK_BYTES
        return io.BufferedReader(RangeReader(self.read_range, self.info().size, block_size), block_size)

    @retried
    def read(self, max_bytes: int | None = None) -> bytes:
        """Reads a whole file. Raises FileTooLarge if it exceeds `max_bytes`, of which at most that many are read."""
        return ranges.read_whole(self, max_bytes)

    @retried
    def read_range(self, start: int, end: int) -> bytes:
        """Reads bytes `start` up to `end`, or to the file's end if that comes first. Empty only at the file's end."""
        return ranges.read_part(self, start, end)

    @retried
    def copy_to(self, target: str, max_bytes: int) -> None:
        """Copies a file to a path on this machine. Raises FileTooLarge if it exceeds `max_bytes`."""
        ranges.copy(self, target, max_bytes)

    @retried
    def write(self, data: bytes) -> None:
        """Writes a file atomically: a reader sees the old or the new content, complete. One PUT, or write and
        rename."""
        if not self.is_local:
            self.filesystem.pipe_file(self.path, data)
            return
        with temporary_file(self.path) as file:
            file.write(data)
            os.replace(finished(file), self.path)

    @retried
    def put(self, data: bytes) -> str:
        """Like `write`; returns the version of the written file.

        Raises FileExistsError if another run replaced or removed it before its version could be read; the other run's
        file, which is complete, remains.
        """
        if self.is_local:
            with temporary_file(self.path) as file:
                file.write(data)
                version_written = str(os.stat(finished(file)).st_mtime_ns)  # a rename keeps it
                os.replace(file.name, self.path)
            return version_written
        self.filesystem.pipe_file(self.path, data)
        with contextlib.suppress(FileNotFoundError):
            version_found = version_of(self.filesystem.info(self.path))
            if self._has_content(data) and version_of(self.filesystem.info(self.path)) == version_found:
                return version_found
        raise FileExistsError(f"another run wrote or removed {self.path} at the same moment")

    @retried
    def create(self, data: bytes) -> bool:
        """Writes a file atomically unless it exists; returns whether it did. Of two concurrent calls, one succeeds.

        On S3 by If-None-Match. In a store that ignores this header the later call wins, so the file is read back and
        compared.
        """
        try:
            if self.is_local:
                with temporary_file(self.path) as file:
                    file.write(data)
                    os.link(finished(file), self.path)
            else:
                self.filesystem.pipe_file(self.path, data, mode="create")
        except FileExistsError:
            pass  # perhaps created by this very call, if its response was lost and it was retried: compare the content
        return self._has_content(data)

    def _has_content(self, data: bytes) -> bool:
        """Whether the file's content equals `data`; no more than that is read. Raises FileNotFoundError."""
        try:
            return ranges.read_whole(self, len(data)) == data
        except (FileTooLarge, NotRegularFile):
            return False

    @retried
    def delete(self) -> None:
        """Removes a file if it exists."""
        with contextlib.suppress(FileNotFoundError):
            self.filesystem.rm_file(self.path)
