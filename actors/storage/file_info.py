"""What storage tells of a file: its size, its version, and what it is."""

import contextlib
import os
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime

_VERSIONS = "ETag etag md5Hash content_md5 LastModified Last-Modified last_modified updated mtime created".split()


@dataclass(frozen=True, slots=True)
class FileInfo:
    """A file's metadata. `size` is in bytes; over HTTP it may be unknown, as is the media type elsewhere."""

    size: int | None
    version: str
    is_file: bool
    media_type: str | None = None

    @classmethod
    def of(cls, metadata: Mapping[str, object]) -> "FileInfo":
        """The metadata as returned by fsspec."""
        size, media_type = metadata.get("size"), metadata.get("mimetype")
        return cls(
            int(size) if isinstance(size, (int, float, str)) else None,
            version_of(metadata),
            metadata.get("type", "file") == "file",
            str(media_type) if media_type else None,
        )


def version_of(metadata: Mapping[str, object]) -> str:
    """An identifier of an object's version: its ETag, or on a local disk its modification time in ns."""
    if "ino" in metadata:
        with contextlib.suppress(FileNotFoundError):
            return str(os.stat(str(metadata["name"])).st_mtime_ns)
    for key in _VERSIONS:
        if value := metadata.get(key):  # S3 without ETags gives "" for a single file, and none in a listing
            if key == "LastModified" and isinstance(value, datetime):
                value = value.replace(microsecond=0)  # a listing may be more precise than a file's own header
            elif isinstance(value, (int, float)):  # seconds, from a client that lists the same time as a date
                value = datetime.fromtimestamp(value, UTC)
            return str(value).strip('"')
    return f"size-{metadata.get('size')}"
