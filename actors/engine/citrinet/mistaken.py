"""Says what a file is that was taken for a `.nemo`."""

import io
import os
import stat
from contextlib import suppress
from pathlib import Path

from actors.foreign.errors import one_line

_HEAD_BYTES = 4_096
_TAR = slice(257, 262)  # where the first header of a tar has its magic
_BEGINNINGS = {
    b"PK\x03\x04": "it is a zip archive, as .ckpt, .pt and .zip files are; a .nemo is a tar",
    b"version https://git-lfs": "it is a pointer of Git LFS; run git lfs pull",
    b"<!doctype html": "it is a web page; give the URL of the file itself",
    b"<html": "it is a web page; give the URL of the file itself",
    b"7z\xbc\xaf\x27\x1c": "it is a 7z archive; unpack it first",
    b"Rar!": "it is a RAR archive; unpack it first",
    b"\x28\xb5\x2f\xfd": "it is compressed with zstd; unpack it first",
    b"BZh": "it is compressed with bzip2; unpack it first",
    b"\xfd7zXZ": "it is compressed with xz; unpack it first",
}


def what_it_is(file: io.BufferedIOBase, problem: Exception) -> str:
    """Why an open file is no `.nemo`, as a phrase, by how it begins and what was raised when it was read."""
    file.seek(0)
    head = file.read(_HEAD_BYTES)
    if not head:
        return "it is empty; copy or download it again"
    for beginning, told in _BEGINNINGS.items():
        if head.lower().startswith(beginning.lower()):
            return told
    reason = one_line(problem, 80) or type(problem).__name__
    is_tar = head[_TAR] == b"ustar"
    if isinstance(problem, EOFError) or "end of data" in reason or (is_tar and reason == "empty header"):
        return "it ends early; copy or download it again"
    if not is_tar and _is_text(head):
        return "it is a text file"
    inside = " in its gzip" if head[:2] == b"\x1f\x8b" else ""
    return f"its tar{inside} is damaged: {reason}" if is_tar else f"it is no tar{inside}: {reason}"


def _is_text(head: bytes) -> bool:
    """Whether a file that begins so is a text in UTF-8; a character may be cut at the end."""
    try:
        text = head[:-3].decode("utf-8") if len(head) == _HEAD_BYTES else head.decode("utf-8")
    except UnicodeDecodeError as problem:
        if problem.start < len(head) - 6:
            return False
        text = head[: problem.start].decode("utf-8")
    return all(char.isprintable() or char in "\t\r\n\f\ufeff" for char in text)


def no_file(path: Path) -> str:
    """What is at a path instead of a file, as a phrase; for a folder with the first `.nemo` in it."""
    if not stat.S_ISDIR(path.stat().st_mode):
        return "it is not a regular file"
    found = list[str]()
    with suppress(OSError):
        found = sorted(each for each in os.listdir(path) if each.endswith(".nemo"))
    return "it is a folder; give a .nemo file" + (f", such as {path / found[0]}" if found else "")
