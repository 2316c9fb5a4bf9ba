"""Manifests and Kaldi's files, line by line, within a budget for all that an input has of them."""

from collections.abc import Iterator
from typing import NamedTuple

from actors.schema import ErrorKind, RecordingError
from actors.storage import files as storage

MAX_LINE_BYTES = 4_000_000  # bytes; an utterance's line has a few hundred
MIN_LINE_BYTES = 200  # bytes that a line counts for: its object takes a kilobyte of memory, however short it is


class Line(NamedTuple):
    """A line, and where it stands, as the name of its row."""

    here: str
    text: str


class Bad(NamedTuple):
    """What could not be read of a list, and where; `text` is what stood there, if anything did."""

    here: str
    problem: RecordingError
    text: str = ""


class Lists:
    """Reads lists. What is more than `max_bytes` in all is refused before it is read."""

    def __init__(self, max_bytes: float) -> None:
        self._most, self._left = max_bytes, max_bytes
        self.are_whole = True  # whether all that were asked for were read; else what they list is not deleted

    def refused(self, kind: ErrorKind, detail: str) -> RecordingError:
        """What is wrong with a list of which nothing is read."""
        self.are_whole = False
        return RecordingError(kind, detail)

    def _over(self, what: str) -> RecordingError:
        detail = f"{what} with all lists together more than input.max_list_megabytes ({self._most / 1e6:g})"
        return self.refused(ErrorKind.TOO_LARGE, detail)

    def lines(self, filesystem: storage.Filesystem, path: str) -> Iterator[str | RecordingError]:
        """The lines of a file as they are, ended by \\n alone; bad_entry for one that is too long.

        Raises FileNotFoundError, and RecordingError (too_large, bad_entry) where it is not read.
        """
        info = storage.info(filesystem, path)
        if info.get("type", "file") != "file":
            raise self.refused(ErrorKind.BAD_ENTRY, f"{path} is no file")
        size = int(info.get("size") or 0)
        if size > self._left:
            raise self._over(f"{size / 1e6:.0f} MB, and")
        file = storage.StoredFile(filesystem, path, size).open()
        is_first, is_cut = True, False
        while line := file.readline(MAX_LINE_BYTES):
            self._left -= max(len(line), MIN_LINE_BYTES)
            if self._left < 0:
                raise self._over("from here on not read: its short lines count as long ones, and it is")
            was_cut, is_cut = is_cut, len(line) == MAX_LINE_BYTES and not line.endswith(b"\n")
            if is_cut and not was_cut:
                yield RecordingError(ErrorKind.BAD_ENTRY, f"a line of more than {MAX_LINE_BYTES:,} bytes")
            elif not was_cut:
                yield line.decode("utf-8-sig" if is_first else "utf-8", "replace").rstrip("\r\n")
            is_first = False
