"""Restricts the files that an input names to folders below the input and below input.allowed_roots.

Manifests, Kaldi's lists, companions and links are untrusted. A file that they name is checked before a filesystem is
created or anything is opened for it: first its protocol, then its real location.
"""

import os
from collections.abc import Iterable, Mapping
from typing import Any
from urllib.parse import unquote

from actors.schema import ErrorKind, RecordingError, UsageError
from actors.storage import files as storage
from actors.storage.answers import is_http

ADVICE = "to allow it, add its folder to input.allowed_roots"

Place = tuple[storage.Filesystem, str]


class AllowedFolders:
    """The folders of the input and of input.allowed_roots, below which its files must be."""

    def __init__(self, folders: Iterable[Place]) -> None:
        self._real_folders = dict[str, str]()  # of local folders
        self._roots = tuple({self._real_uri(*folder).rstrip("/") + "/" for folder in folders})
        self._protocols = {root.split("://", 1)[0] for root in self._roots}

    def contains(self, filesystem: storage.Filesystem, path: str) -> bool:
        """Whether a file is below one of the folders once links are resolved."""
        return self._real_uri(filesystem, path).startswith(self._roots) and not _has_encoded_parent(filesystem, path)

    def locate(self, filepath: str, folder: Place, options: Mapping[str, Any]) -> Place:
        """Resolves a URL, or a path relative to `folder`; `refusal` tells whether the result is allowed.

        Raises RecordingError: outside_input if no folder has its protocol, bad_entry if it cannot name a file.
        """
        try:
            if b"\0" in os.fsencode(filepath):
                raise UsageError("a file name cannot contain a zero byte")
            filesystem, path = folder[0], os.path.join(folder[1], filepath)
            protocol = storage.protocol_of(filepath)
            if protocol is not None and protocol not in self._protocols:  # checked before a filesystem is created
                raise self._outside(filepath)
            if protocol is not None:
                filesystem, path = storage.connect(filepath, options)
        except (UsageError, UnicodeEncodeError) as problem:
            raise RecordingError(ErrorKind.BAD_ENTRY, f"{problem}") from None
        return filesystem, _without_dots(path)

    def refusal(self, place: Place, filepath: str) -> RecordingError | None:
        """The error for a file outside the folders, or None."""
        return None if self.contains(*place) else self._outside(filepath)

    @staticmethod
    def _outside(filepath: str) -> RecordingError:
        return RecordingError(ErrorKind.OUTSIDE_INPUT, f"{filepath[:500]} is outside the input; {ADVICE}")

    def _real_uri(self, filesystem: storage.Filesystem, path: str) -> str:
        """The canonical URI of a file, with its links resolved."""
        if not storage.is_local(filesystem):
            return storage.canonical(filesystem, path)
        folder, name = os.path.split(path)
        if folder not in self._real_folders:  # resolved once per folder
            self._real_folders[folder] = os.path.realpath(folder)
        real = os.path.join(self._real_folders[folder], name)
        return storage.canonical(filesystem, os.path.realpath(real) if os.path.islink(real) else real)


def _without_dots(path: str) -> str:
    """A path with "." and ".." resolved. Empty parts are kept: they are names on S3."""
    parts = list[str]()
    for part in path.split("/"):
        if part == ".." and len(parts) > 1:
            parts.pop()
        elif part not in (".", ".."):
            parts.append(part)
    return "/".join(parts)


def _has_encoded_parent(filesystem: storage.Filesystem, path: str) -> bool:
    """Whether an HTTP server may decode a part of a path to "..": from %2e%2e, or between backslashes."""
    if not is_http(filesystem):
        return False
    return ".." in unquote(unquote(path)).replace("\\", "/").split("?")[0].split("/")
