"""Reads manifests and Kaldi's files line by line, within a byte budget for all lists of an input."""

import codecs
import contextlib
import io
from collections.abc import Iterator
from typing import BinaryIO, NamedTuple, cast

from actors.foreign.errors import InvalidData
from actors.foreign.text import decode_text
from actors.schema import ErrorKind, RecordingError
from actors.storage.answers import FileTooLarge
from actors.storage.place import Place
from actors.storage.stored_file import StoredFile

MAX_LINE_BYTES = 4_000_000  # an utterance's line has a few hundred
MIN_LINE_BYTES = 200  # charged per line at least: its object takes a kilobyte of memory, however short the line
HELD_BYTES = 64_000_000  # a larger list is read in ranges, as UTF-8
HEAD_BYTES = 64_000  # that tell a JSON document from JSON lines
NOT_DECODED = (
    f"the list is in none of UTF-8, UTF-16 and GB18030 (GBK), or has over {HELD_BYTES // 10**6} MB and is not in UTF-8"
)


class Line(NamedTuple):
    """A line of a list. `location`, its file and line number, names its row if the entry is bad."""

    location: str
    text: str


class BadEntry(NamedTuple):
    """An entry, or a whole list, that could not be used; `text` is the line, if there was one."""

    location: str
    problem: RecordingError
    text: str = ""


class NamesNoAudio(RecordingError):
    """A line that names no audio: where no line of a list does, it is no manifest."""

    def __init__(self, detail: str) -> None:
        super().__init__(ErrorKind.BAD_ENTRY, detail)


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

    def charge(self, size: int) -> None:
        """Charges an entry of `size` bytes to the budget. Raises RecordingError (too_large) if that exceeds it."""
        self._left -= max(size, MIN_LINE_BYTES)
        if self._left < 0:
            raise self._over_budget("not read from here on: its size, with short lines counted as longer ones,")

    def open(self, place: Place) -> BinaryIO:
        """Opens a list as a seekable file. Raises FileNotFoundError, and RecordingError (too_large, bad_entry)."""
        info = place.info()
        if not info.is_file:
            raise self.refusal(ErrorKind.BAD_ENTRY, f"{place.path} is not a file")
        size = info.size or 0  # over HTTP it may be unknown
        if size > self._left:
            raise self._over_budget(f"{size / 1e6:.0f} MB, which")
        if size > HELD_BYTES:
            return cast(BinaryIO, StoredFile(place, size).open())
        try:
            return io.BytesIO(place.read(int(min(HELD_BYTES, self._left))))
        except FileTooLarge:
            raise self._over_budget("its size") from None

    def open_text(self, place: Place) -> BinaryIO:
        """Opens a list as UTF-8. One of at most HELD_BYTES may also have another encoding of `decode_text`; which, is
        decided for the list as a whole. Raises as `open` does.

        A text in none of them is opened as it is: its lines that are not UTF-8 are refused.
        """
        file = self.open(place)
        if isinstance(file, io.BytesIO):
            data = file.getbuffer()
            try:
                codecs.decode(data, "utf-8")
            except UnicodeDecodeError:
                with contextlib.suppress(InvalidData):
                    return io.BytesIO(decode_text(bytes(data)).encode())
        if file.read(len(codecs.BOM_UTF8)) != codecs.BOM_UTF8:
            file.seek(0)
        return file

    def lines(self, file: BinaryIO) -> Iterator[str | RecordingError]:
        r"""Yields the lines of a list, which end at \n alone; a RecordingError (bad_entry) for one that is too long, or
        of an unknown encoding.

        Raises RecordingError (too_large) if they exceed the budget.
        """
        is_cut = False
        while line := file.readline(MAX_LINE_BYTES):
            self.charge(len(line))
            was_cut, is_cut = is_cut, len(line) == MAX_LINE_BYTES and not line.endswith(b"\n")
            if is_cut and not was_cut:
                yield NamesNoAudio(f"the line has more than {MAX_LINE_BYTES:,} bytes")
            elif not was_cut:
                try:
                    yield line.decode().rstrip("\r\n")
                except UnicodeDecodeError:
                    yield UndecodableLine(line)


class UndecodableLine(RecordingError):
    """A line of a list in an encoding that is not known; `readable` is its text without what could not be decoded."""

    def __init__(self, line: bytes) -> None:
        self.readable = line.decode("utf-8", "replace").rstrip("\r\n")
        super().__init__(ErrorKind.BAD_ENTRY, f"{NOT_DECODED}: {self.readable[:120]}")
