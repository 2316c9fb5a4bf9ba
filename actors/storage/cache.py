"""The cache folder of this machine: the user's own, and no file in it is believed for its name.

Whoever may write there decides what is transcribed with, so it is made with mode 700, and one that others may write to
is refused. A file that took long to make has its SHA-256 beside it, so that a damaged one is noticed and made anew.
"""

import hashlib
import os
import stat
from pathlib import Path
from typing import Any

import platformdirs

from actors.schema import UsageError

_ELSEWHERE = "set CITRASCRIBE_CACHE to a folder of your own"


def cache_folder() -> Path:
    """The cache folder: `$CITRASCRIBE_CACHE`, or `citrascribe` under the user's cache folder. It is made if need be.

    Raises UsageError where it is not the user's alone. One that others may merely read is closed to them.
    """
    folder = Path(os.environ.get("CITRASCRIBE_CACHE") or platformdirs.user_cache_dir("citrascribe"))
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        own, mode = {folder.lstat().st_uid, folder.stat().st_uid} == {os.geteuid()}, folder.stat().st_mode
        if own and not mode & (stat.S_IWGRP | stat.S_IWOTH) and mode & (stat.S_IRWXG | stat.S_IRWXO):
            folder.chmod(0o700)
    except (OSError, ValueError) as problem:
        raise UsageError(f"the cache folder {folder} cannot be used ({problem}); {_ELSEWHERE}") from None
    if not own:  # a link of another user's may lead anywhere, so it counts as well as what it leads to
        raise UsageError(
            f"the cache folder {folder} belongs to another user, who may change what is in it; {_ELSEWHERE}"
        )
    if mode & (stat.S_IWGRP | stat.S_IWOTH):
        raise UsageError(
            f"the cache folder {folder} may be written to by others (mode {stat.S_IMODE(mode):o}); remove it, or run"
            f" chmod 700 {folder} if what is in it is yours, or {_ELSEWHERE}"
        )
    return folder


def sha256_of(path: Path) -> str:
    """The SHA-256 of a file's content, in hexadecimal digits."""
    with path.open("rb") as file:
        return sha256_of_open(file)


def sha256_of_open(file: Any) -> str:
    """That of a binary file that is open, which is left at its beginning."""
    file.seek(0)
    found = hashlib.file_digest(file, "sha256").hexdigest()
    file.seek(0)
    return found


def vouch(path: Path, made: Path) -> None:
    """Puts a finished file in its place, `path`, with its SHA-256 beside it. `made` is in the same folder."""
    _digest_beside(path).write_text(sha256_of(made))
    made.replace(path)


def is_vouched(path: Path) -> bool:
    """Whether a file is there, and is the one that was put there."""
    try:
        return _digest_beside(path).read_bytes() == sha256_of(path).encode()
    except FileNotFoundError:
        return False


def _digest_beside(path: Path) -> Path:
    return path.with_suffix(".sha256")
