"""Files that a job writes for others, outside its output: each is there once it is whole, and below its folder."""

import os
import posixpath
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any

from actors.storage import files as storage


class LeadsOut(PermissionError):
    """A folder is a link to elsewhere, as a sentence."""


def write_below(filesystem: storage.Filesystem, root: str, name: str, data: bytes) -> None:
    """Writes a file below a folder in one step, its folders where they are not there yet; a link in its place is
    replaced. Raises LeadsOut where one of those folders is a link out of `root`, ValueError where the name leads out,
    and OSError."""
    root = root.rstrip("/")
    path = f"{root}/{name}"
    if posixpath.normpath(name) != name or name.split("/")[0] in ("", ".", ".."):
        raise ValueError(f"{name!r} does not lie below {root}")
    if storage.is_local(filesystem):
        folder = os.path.dirname(path)
        if not f"{os.path.realpath(folder)}/".startswith(f"{os.path.realpath(root or '/').rstrip('/')}/"):
            raise LeadsOut(f"{folder} is, or is below, a link that leads out of {root}")
    storage.write(filesystem, path, data)


@contextmanager
def whole_file(filesystem: storage.Filesystem, path: str) -> Iterator[Any]:
    """A file to write bytes to, bit by bit: it is there once the block is left, and not at all if that raises. A link
    in its place is replaced. Raises OSError."""
    if not storage.is_local(filesystem):
        with filesystem.transaction, filesystem.open(path, "wb") as file:
            yield file
        return
    folder, name = os.path.split(path)
    os.makedirs(folder, exist_ok=True)
    temporary = os.path.join(folder, f".{name}.{uuid.uuid4().hex}.tmp")
    try:
        with open(temporary, "xb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    finally:
        with suppress(FileNotFoundError):
            os.unlink(temporary)
