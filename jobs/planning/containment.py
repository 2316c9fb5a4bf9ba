"""Restricts the files that an input names to folders below the input and below input.allowed_roots.

Manifests, Kaldi's lists, companions and links are untrusted. A file that they name is checked before a filesystem is
created or anything is opened for it: first its protocol, then its real location.
"""

import os
from collections.abc import Iterable, Mapping
from urllib.parse import unquote

from actors.schema import ErrorKind, RecordingError, UsageError
from actors.storage.connect import protocol_of
from actors.storage.place import Place

ADVICE = "to allow it, add its folder to input.allowed_roots"


class AllowedFolders:
    """The folders of the input and of input.allowed_roots, below which its files must be."""

    def __init__(self, folders: Iterable[Place]) -> None:
        self._real_folders = dict[str, str]()  # of local folders
        folders = list(folders)
        self._protocols = {folder.uri.split("://", 1)[0] for folder in folders}
        # Local folders by path, which is faster to compare than a URI; one of another protocol never begins with "/".
        self._roots = tuple({self._real_name(folder).rstrip("/") + "/" for folder in folders})
        local = {folder.path.rstrip("/"): os.path.realpath(folder.path) for folder in folders if folder.is_local}
        #: Real paths of folders that were listed by another path, which is that of their files.
        self._listed_as = {f"{real}/": f"{path}/" for path, real in local.items() if real not in local}

    def contains(self, place: Place) -> bool:
        """Whether a file is below one of the folders once links are resolved."""
        return self._real_name(place).startswith(self._roots) and not _has_encoded_parent(place)

    def locate(self, filepath: str, folder: Place, options: Mapping[str, object]) -> Place:
        """Resolves a URL, or a path relative to `folder`; `refusal` tells whether the result is allowed.

        Raises RecordingError: outside_input if no folder has its protocol, bad_entry if it cannot name a file.
        """
        try:
            if b"\0" in os.fsencode(filepath):
                raise UsageError("a file name cannot contain a zero byte")
            place = folder.join(filepath)
            protocol = protocol_of(filepath)
            if protocol is not None and protocol not in self._protocols:  # checked before a filesystem is created
                raise self._outside(filepath)
            if protocol is not None:
                place = Place.at(filepath, options)
        except (UsageError, UnicodeEncodeError) as problem:
            raise RecordingError(ErrorKind.BAD_ENTRY, f"{problem}") from None
        for real, listed in self._listed_as.items() if place.is_local else ():
            if place.path.startswith(real):
                place = place.with_path(listed + place.path[len(real) :])
                break
        if "/." not in place.path:
            return place
        address, mark, query = place.path.partition("?") if place.is_http else (place.path, "", "")
        return place.with_path(f"{_without_dots(address)}{mark}{query}")

    def refusal(self, place: Place, filepath: str) -> RecordingError | None:
        """The error for a file outside the folders, or None."""
        return None if self.contains(place) else self._outside(filepath)

    @staticmethod
    def _outside(filepath: str) -> RecordingError:
        return RecordingError(ErrorKind.OUTSIDE_INPUT, f"{filepath[:500]} is outside the input; {ADVICE}")

    def _real_name(self, place: Place) -> str:
        """The path of a local file with its links resolved; the canonical URI of another."""
        if not place.is_local:
            return place.uri
        folder, name = os.path.split(place.path)
        if folder not in self._real_folders:  # resolved once per folder
            self._real_folders[folder] = os.path.realpath(folder)
        real = os.path.join(self._real_folders[folder], name)
        return os.path.realpath(real) if os.path.islink(real) else real


def _without_dots(path: str) -> str:
    """A path with "." and ".." resolved. Empty parts are kept: they are names on S3."""
    parts = list[str]()
    for part in path.split("/"):
        if part == ".." and len(parts) > 1:
            parts.pop()
        elif part not in (".", ".."):
            parts.append(part)
    return "/".join(parts)


def _has_encoded_parent(place: Place) -> bool:
    """Whether an HTTP server may decode a part of a path to "..": from %2e%2e, or between backslashes."""
    if not place.is_http:
        return False
    return ".." in unquote(unquote(place.path)).replace("\\", "/").split("?")[0].split("/")
