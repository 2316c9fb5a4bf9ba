"""Files of the job's own below an output: where they may lie, what they are called, and how they are read.

Whoever may write below an output may put anything there. So a path is made in one place, which holds it below the
root; of files and folders, only those of the job's own names are read, or deleted; and none that is a link.
"""

import os

from actors.foreign.errors import InvalidData
from actors.schema import UsageError
from actors.storage import files as storage

STATE_FOLDERS = ("_commits", "_pieces", "_runs")


def below(root: str, name: str) -> str:
    """The path of a file below an output. Raises ValueError where the name would lead elsewhere."""
    if any(part in ("", ".", "..") for part in name.split("/")) or "\\" in name or "\0" in name:
        raise ValueError(f"{name!r} is no name of a file below an output")
    return f"{root}/{name}"


def check_folders(filesystem: storage.Filesystem, root: str) -> None:
    """Raises UsageError where an output, or one of the folders of the job's own in it, is there and is no folder.

    The output itself may be a link to one. Of those below, what a link leads to is not the output's.
    """
    if storage.is_local(filesystem) and os.path.lexists(root) and not os.path.isdir(root):
        raise UsageError(f"output.uri: {storage.canonical(filesystem, root)} is no folder; give another")
    for name in STATE_FOLDERS:
        check_folder(filesystem, below(root, name))


def check_folder(filesystem: storage.Filesystem, path: str) -> None:
    """Raises UsageError where what is there is a link, or no folder."""
    refuse_link(filesystem, path)
    if storage.is_local(filesystem) and os.path.lexists(path) and not os.path.isdir(path):
        where = storage.canonical(filesystem, path)
        raise UsageError(f"output.uri: {where} is no folder, and one has to be there; remove it")


def refuse_link(filesystem: storage.Filesystem, path: str) -> None:
    """Raises UsageError where a path is a link."""
    if is_link(filesystem, path):
        where = storage.canonical(filesystem, path)
        raise UsageError(
            f"output.uri: {where} is a link, which is not followed; put a folder or file there, or remove it"
        )


def is_link(filesystem: storage.Filesystem, path: str) -> bool:
    return storage.is_local(filesystem) and os.path.islink(path)


def read(filesystem: storage.Filesystem, path: str, max_bytes: int) -> bytes:
    """A file of at most so many bytes. Raises InvalidData where it is larger, or a link, and FileNotFoundError."""
    if is_link(filesystem, path):
        raise InvalidData("it is a link, which is not followed")
    try:
        return storage.read(filesystem, path, max_bytes)
    except storage.TooMuch:
        raise InvalidData(f"it has more than {max_bytes:,} bytes") from None
    except storage.NotRegular:
        raise InvalidData("it is no file") from None
