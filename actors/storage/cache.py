"""The cache folder of this machine, which must be the user's own.

Whoever can write there can replace the model, so the folder is created with mode 700, and one that others can write to
is refused. A file that took long to make has its SHA-256 beside it, so that a damaged one is detected and made again.
"""

import contextlib
import hashlib
import os
import shutil
import stat
from collections.abc import Iterator
from io import BufferedIOBase
from pathlib import Path

import platformdirs

from actors.schema import MachineError, UsageError
from actors.storage.local_writes import is_full

_NO_ROOM_BYTES = 1_000_000  # with less room than that, a file was not written because of it
_ADVICE = "set CITRASCRIBE_CACHE to a folder of your own"


def cache_folder() -> Path:
    """The cache folder: `$CITRASCRIBE_CACHE`, or `citrascribe` in the user's cache folder. Created if necessary.

    Raises UsageError if others own it or can write to it. If others can only read it, its mode is changed to 700.
    """
    folder = Path(os.environ.get("CITRASCRIBE_CACHE") or platformdirs.user_cache_dir("citrascribe"))
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        own, mode = {folder.lstat().st_uid, folder.stat().st_uid} == {os.geteuid()}, folder.stat().st_mode
        if own and not mode & (stat.S_IWGRP | stat.S_IWOTH) and mode & (stat.S_IRWXG | stat.S_IRWXO):
            folder.chmod(0o700)
    except (OSError, ValueError) as problem:
        raise UsageError(f"the cache folder {folder} cannot be used ({problem}); {_ADVICE}") from None
    if not own:  # a link must be the user's as well as its target: another user could point it elsewhere
        raise UsageError(f"the cache folder {folder} belongs to another user, who can change its files; {_ADVICE}")
    if mode & (stat.S_IWGRP | stat.S_IWOTH):
        raise UsageError(
            f"the cache folder {folder} is writable by other users (mode {stat.S_IMODE(mode):o}); remove it, or run"
            f" chmod 700 {folder} if you trust the files in it, or {_ADVICE}"
        )
    return folder


def sha256_of(path: Path) -> str:
    """The SHA-256 of a file, in hexadecimal digits."""
    with path.open("rb") as file:
        return sha256_of_open(file)


def sha256_of_open(file: BufferedIOBase) -> str:
    """The SHA-256 of an open binary file, which is left at its beginning."""
    file.seek(0)
    digest = hashlib.file_digest(file, "sha256").hexdigest()
    file.seek(0)
    return digest


@contextlib.contextmanager
def new_file(path: Path, with_digest: bool = False) -> Iterator[Path]:
    """A path to write a file to that becomes `path` when the block ends: no reader ever sees half of it.

    If the block fails, nothing is left; MachineError is raised if the disk is full. With a digest, its SHA-256 is kept
    beside it, for `is_intact`. Processes that may write the same file at once need a lock.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f"{path.stem}.partial{path.suffix}")  # libraries choose a format by the suffix
    try:
        yield partial
        if with_digest:
            _digest_file(path).write_text(sha256_of(partial), encoding="utf-8")
        partial.replace(path)
    except Exception as problem:
        if not isinstance(problem, UsageError) and _is_full(path.parent, problem):
            raise MachineError(
                f"the cache folder {path.parent} is on a disk that is full, and has no room for {path.name}; free some"
                " there, or set CITRASCRIBE_CACHE to another folder"
            ) from None
        raise
    finally:
        partial.unlink(missing_ok=True)


def _is_full(folder: Path, problem: Exception) -> bool:
    """Whether writing to a folder failed because its disk is full: libraries say so in errors of their own."""
    return is_full(problem) or shutil.disk_usage(folder).free < _NO_ROOM_BYTES


def is_intact(path: Path) -> bool:
    """Whether a file exists and has the SHA-256 that was kept beside it."""
    try:
        return _digest_file(path).read_bytes() == sha256_of(path).encode()
    except FileNotFoundError:
        return False


def _digest_file(path: Path) -> Path:
    return path.with_suffix(".sha256")
