"""Safe access to the job's own files below an output.

Others who can write below an output may put anything there. So paths are built in one place, which keeps them below the
root; only files and folders with the job's own names are read or deleted; and links are refused.
"""

import os

from actors.foreign.errors import InvalidData
from actors.schema import UsageError
from actors.storage import files as storage

STATE_FOLDERS = ("_commits", "_pieces", "_runs")


def below(root: str, name: str) -> str:
    """The path of a file below an output. Raises ValueError if the name would lead elsewhere."""
    if any(part in ("", ".", "..") for part in name.split("/")) or "\\" in name or "\0" in name:
        raise ValueError(f"{name!r} is not a valid name of a file below an output")
    return f"{root}/{name}"


def check_folders(filesystem: storage.Filesystem, root: str) -> None:
    """Raises UsageError if an output, or one of the job's own folders in it, exists and is not a folder.

    The output itself may be a link to a folder; the folders in it may not, since a link's target may not belong to the
    output.
    """
    if storage.is_local(filesystem) and os.path.lexists(root) and not os.path.isdir(root):
        raise UsageError(f"output.uri: {storage.canonical(filesystem, root)} is not a folder; give another path")
    for name in STATE_FOLDERS:
        check_folder(filesystem, below(root, name))


def check_folder(filesystem: storage.Filesystem, path: str) -> None:
    """Raises UsageError if a path exists and is a link, or not a folder."""
    refuse_link(filesystem, path)
    if storage.is_local(filesystem) and os.path.lexists(path) and not os.path.isdir(path):
        where = storage.canonical(filesystem, path)
        raise UsageError(f"output.uri: {where} is not a folder, but must be one; remove it")


def refuse_link(filesystem: storage.Filesystem, path: str) -> None:
    """Raises UsageError if a path is a link."""
    if is_link(filesystem, path):
        where = storage.canonical(filesystem, path)
        raise UsageError(
            f"output.uri: {where} is a link, which is not followed; replace it by a folder or file, or remove it"
        )


def is_link(filesystem: storage.Filesystem, path: str) -> bool:
    return storage.is_local(filesystem) and os.path.islink(path)


def read(filesystem: storage.Filesystem, path: str, max_bytes: int) -> bytes:
    """Reads a file of at most `max_bytes`. Raises InvalidData if it is larger, or a link; FileNotFoundError."""
    if is_link(filesystem, path):
        raise InvalidData("it is a link, which is not followed")
    try:
        return storage.read(filesystem, path, max_bytes)
    except storage.FileTooLarge:
        raise InvalidData(f"it has more than {max_bytes:,} bytes") from None
    except storage.NotRegularFile:
        raise InvalidData("it is not a regular file") from None
