"""Writes exports and scores: atomically, and never through links out of their folder."""

import errno
import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import BinaryIO

from actors.storage.answers import OF_ONE_FILE
from actors.storage.local_writes import finished, temporary_file
from actors.storage.place import Place

_FILE_ERRORS = (*OF_ONE_FILE, FileExistsError, NotADirectoryError)
_FILE_ERRNOS = (errno.ENAMETOOLONG, errno.EINVAL, errno.EILSEQ, errno.ELOOP, errno.ENOTEMPTY)


class LinkOutside(PermissionError):
    """A folder is a link that leads out of the folder to write to."""


def concerns_one_file(problem: OSError) -> bool:
    """Whether others can be written or removed all the same."""
    return isinstance(problem, _FILE_ERRORS) or problem.errno in _FILE_ERRNOS


def write_below(target: Place, name: str, data: bytes) -> None:
    """Writes a file below `target` atomically and creates missing folders; a link in the file's place is replaced.

    Raises LinkOutside if one of those folders is a link out of `target`, ValueError if the name leads out, and OSError.
    """
    _below(target, name).write(data)


def remove_below(target: Place, name: str) -> None:
    """Removes a file below `target`, and the folders there that are empty without it. Raises what `write_below` does;
    a link is left, and what is reached through one, which may have another name too, and LinkOutside raised."""
    file = target / name
    if file.is_local and os.path.realpath(file.path) != os.path.join(os.path.realpath(target.path), name):
        raise LinkOutside(f"{file.path} is, or is below, a link")
    file.delete()
    folder = file.parent.path
    while file.is_local and len(folder) > len(target.path.rstrip("/")):
        try:
            os.rmdir(folder)
        except OSError:
            return
        folder = os.path.dirname(folder)


def _below(target: Place, name: str) -> Place:
    """A file below `target`. Raises LinkOutside and ValueError as `write_below` does."""
    file = target / name
    if file.is_local:
        folder, real_root = file.parent.path, os.path.realpath(target.path).rstrip("/")
        if not f"{os.path.realpath(folder)}/".startswith(f"{real_root}/"):
            raise LinkOutside(f"{folder} is, or is below, a link that leads out of {target.path}")
    return file


@contextmanager
def atomic_file(place: Place) -> Iterator[BinaryIO]:
    """A file to write bytes to, which appears when the block is left, and not at all if that raises.

    A link in its place is replaced. Raises OSError.
    """
    if not place.is_local:
        with place.filesystem.transaction, place.filesystem.open(place.path, "wb") as file:
            yield file
        return
    with temporary_file(place.path) as file:
        yield file
        os.replace(finished(file), place.path)
