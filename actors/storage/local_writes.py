"""Files on a local disk that are complete before they get their name."""

import contextlib
import errno
import os
import re
import uuid
from collections.abc import Iterator
from typing import BinaryIO

_TEMPORARY = re.compile(r"\.(.+)\.[0-9a-f]{32}\.tmp")
_IS_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
_MAX_NAME = 200  # bytes of a name that its temporary one begins with; disks allow 255


@contextlib.contextmanager
def temporary_file(path: str) -> Iterator[BinaryIO]:
    """A new file to write to, in the folder of `path` on a local disk; removed when the block is left.

    An error that the disk is full, or a quota is used up, names `path`: what is written to a file does not say where.
    """
    folder, name = os.path.split(path)
    os.makedirs(folder, exist_ok=True)
    temporary = os.path.join(folder, f".{os.fsdecode(os.fsencode(name)[:_MAX_NAME])}.{uuid.uuid4().hex}.tmp")
    try:
        with open(temporary, "xb") as file:
            yield file
    except OSError as problem:
        if is_full(problem) and problem.filename is None:
            problem.filename = path
        raise
    finally:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(temporary)


def is_full(problem: Exception) -> bool:
    """Whether an error says that a disk is full, a quota used up, or a limit of the size of files reached."""
    return isinstance(problem, OSError) and problem.errno in _IS_FULL


def finished(file: BinaryIO) -> str:
    """Writes a file through to its disk and closes it: some mounts store a file when it is closed. Returns its path."""
    file.flush()
    os.fsync(file.fileno())
    file.close()
    return file.name


def target_of(name: str) -> str | None:
    """The name that a temporary file, left by a killed process, was to get; None if it is no such file."""
    match = _TEMPORARY.fullmatch(name)
    return match[1] if match else None
