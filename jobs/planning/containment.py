"""Where a file may lie that the input names: below the input, or below a folder of input.allowed_roots.

Manifests, Kaldi's lists, companions and links come from whoever made the archive. What they name is judged before
anything is built or opened for it: by the name of its protocol, then by where it truly lies.
"""

import os
from collections.abc import Iterable, Mapping
from typing import Any
from urllib.parse import unquote

from actors.schema import ErrorKind, RecordingError, UsageError
from actors.storage import files as storage
from actors.storage.answers import is_http

ADVICE = "input.allowed_roots may name a folder that it may lie in"

Place = tuple[storage.Filesystem, str]


class Inside:
    """The folders below which the input's files lie, and those that are allowed besides."""

    def __init__(self, folders: Iterable[Place]) -> None:
        self._reals = dict[str, str]()  # of local folders
        self._roots = tuple({self._real(*folder).rstrip("/") + "/" for folder in folders})
        self._protocols = {root.split("://", 1)[0] for root in self._roots}

    def holds(self, filesystem: storage.Filesystem, path: str) -> bool:
        """Whether a file lies below one of the folders, wherever links lead."""
        return self._real(filesystem, path).startswith(self._roots) and not _is_disguised(filesystem, path)

    def locate(self, written: str, folder: Place, options: Mapping[str, Any]) -> Place:
        """Where a file lies that is named in a file of `folder`, by a URL or a path from there; `refuses` judges it.

        Raises RecordingError: outside_input for a protocol that no folder has, bad_entry for the name of no file.
        """
        try:
            if b"\0" in os.fsencode(written):
                raise UsageError("a file's name holds no zero bytes")
            filesystem, path = folder[0], os.path.join(folder[1], written)
            protocol = storage.protocol_of(written)
            if protocol is not None and protocol not in self._protocols:  # no class is built for it
                raise self._outside(written)
            if protocol is not None:
                filesystem, path = storage.connect(written, options)
        except (UsageError, UnicodeEncodeError) as problem:
            raise RecordingError(ErrorKind.BAD_ENTRY, f"{problem}") from None
        return filesystem, _without_dots(path)

    def refuses(self, place: Place, written: str) -> RecordingError | None:
        """What is wrong with a place that lies elsewhere."""
        return None if self.holds(*place) else self._outside(written)

    @staticmethod
    def _outside(written: str) -> RecordingError:
        return RecordingError(ErrorKind.OUTSIDE_INPUT, f"{written[:500]} lies outside the input; {ADVICE}")

    def _real(self, filesystem: storage.Filesystem, path: str) -> str:
        """The URI that says where a file truly lies: with its protocol, and no link that leads elsewhere."""
        if not storage.is_local(filesystem):
            return storage.canonical(filesystem, path)
        folder, name = os.path.split(path)
        if folder not in self._reals:  # one for all the files of a folder
            self._reals[folder] = os.path.realpath(folder)
        real = os.path.join(self._reals[folder], name)
        return storage.canonical(filesystem, os.path.realpath(real) if os.path.islink(real) else real)


def _without_dots(path: str) -> str:
    """A path without the parts "." and ".."; empty ones stay, which are names on S3."""
    parts = list[str]()
    for part in path.split("/"):
        if part == ".." and len(parts) > 1:
            parts.pop()
        elif part not in (".", ".."):
            parts.append(part)
    return "/".join(parts)


def _is_disguised(filesystem: storage.Filesystem, path: str) -> bool:
    """Whether an HTTP server may take a part of a path for "..": written as %2e%2e, or between other slashes."""
    if not is_http(filesystem):
        return False
    return ".." in unquote(unquote(path)).replace("\\", "/").split("?")[0].split("/")
