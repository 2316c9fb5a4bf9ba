"""Reads manifests and Kaldi's files line by line, within a byte budget for all lists of an input."""

from collections.abc import Iterator
from typing import NamedTuple

from actors.schema import ErrorKind, RecordingError
from actors.storage.place import Place
from actors.storage.stored_file import StoredFile

MAX_LINE_BYTES = 4_000_000  # an utterance's line has a few hundred
MIN_LINE_BYTES = 200  # charged per line at least: its object takes a kilobyte of memory, however short the line


class Line(NamedTuple):
    """A line of a list. `location`, its file and line number, names its row if the entry is bad."""

    location: str
    text: str


class BadEntry(NamedTuple):
    """An entry, or a whole list, that could not be used; `text` is the line, if there was one."""

    location: str
    problem: RecordingError
    text: str = ""


class ListReader:
    """Reads lists of at most `max_bytes` in total. A list that is larger than the remaining budget is not read."""

    def __init__(self, max_bytes: float) -> None:
        self._max_bytes, self._left = max_bytes, max_bytes
        self.is_complete = True  # else objects missing from the listing do not count as deleted

    def refusal(self, kind: ErrorKind, detail: str) -> RecordingError:
        """The error for a list that is not read; the listing is then incomplete."""
        self.is_complete = False
        return RecordingError(kind, detail)

    def _over_budget(self, what: str) -> RecordingError:
        detail = f"{what} together with the other lists exceeds input.max_list_megabytes ({self._max_bytes / 1e6:g})"
        return self.refusal(ErrorKind.TOO_LARGE, detail)

    def lines(self, place: Place) -> Iterator[str | RecordingError]:
        """Yields the lines of a file, split at \\n alone; a RecordingError (bad_entry) for one that is too long.

        Raises FileNotFoundError, and RecordingError (too_large, bad_entry) if the file is not read.
        """
        info = place.info()
        if not info.is_file:
            raise self.refusal(ErrorKind.BAD_ENTRY, f"{place.path} is not a file")
        size = info.size or 0
        if size > self._left:
            raise self._over_budget(f"{size / 1e6:.0f} MB, which")
        file = StoredFile(place, size).open()
        is_first, is_cut = True, False
        while line := file.readline(MAX_LINE_BYTES):
            self._left -= max(len(line), MIN_LINE_BYTES)
            if self._left < 0:
                raise self._over_budget("not read from here on: its size, with short lines counted as longer ones,")
            was_cut, is_cut = is_cut, len(line) == MAX_LINE_BYTES and not line.endswith(b"\n")
            if is_cut and not was_cut:
                yield RecordingError(ErrorKind.BAD_ENTRY, f"the line has more than {MAX_LINE_BYTES:,} bytes")
            elif not was_cut:
                yield line.decode("utf-8-sig" if is_first else "utf-8", "replace").rstrip("\r\n")
            is_first = False
