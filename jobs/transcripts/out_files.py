"""Writes exports and scores: atomically, and never through links out of their folder."""

import os
import posixpath
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from actors.storage import files as storage


class LinkOutside(PermissionError):
    """A folder is a link that leads out of the folder to write to."""


def write_below(filesystem: storage.Filesystem, root: str, name: str, data: bytes) -> None:
    """Writes a file below `root` atomically and creates missing folders; a link in the file's place is replaced.

    Raises LinkOutside if one of those folders is a link out of `root`, ValueError if the name leads out, and OSError.
    """
    root = root.rstrip("/")
    path = f"{root}/{name}"
    if posixpath.normpath(name) != name or name.split("/")[0] in ("", ".", ".."):
        raise ValueError(f"{name!r} is not below {root}")
    if storage.is_local(filesystem):
        folder = os.path.dirname(path)
        if not f"{os.path.realpath(folder)}/".startswith(f"{os.path.realpath(root or '/').rstrip('/')}/"):
            raise LinkOutside(f"{folder} is, or is below, a link that leads out of {root}")
    storage.write(filesystem, path, data)


@contextmanager
def atomic_file(filesystem: storage.Filesystem, path: str) -> Iterator[Any]:
    """A file to write bytes to, which appears when the block is left, and not at all if that raises.

    A link in its place is replaced. Raises OSError.
    """
    if not storage.is_local(filesystem):
        with filesystem.transaction, filesystem.open(path, "wb") as file:
            yield file
        return
    with storage.temporary_file(path) as file:
        yield file
        os.replace(storage.finished(file), path)
