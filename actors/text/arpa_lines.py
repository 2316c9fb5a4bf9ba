"""The lines of a large text, which may be hostile."""

import codecs
from typing import BinaryIO

from actors.schema import UsageError

MAX_LINE = 1 << 20  # bytes of a line that is read as one

_BLOCK = 1 << 24
_EMPTY_LINES = 1_000_000  # in all


class Lines:
    """The lines of a text, of which a block at a time is in memory."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self._decoder = codecs.getincrementaldecoder("utf-8")()
        self._is_first = True
        self._read = 0
        self._is_at_end = False
        self._empty = 0
        self.block = b""
        self.position = 0
        self.number = 0  # lines that were read

    def more(self) -> bool:
        """Reads on. False at the end."""
        if self._is_at_end:
            return False
        data = self._file.read(_BLOCK)
        self._is_at_end = not data
        self._read += len(data)
        if self._is_first:
            data, self._is_first = data.removeprefix(codecs.BOM_UTF8), False
        try:
            self._decoder.decode(data, final=self._is_at_end)
        except UnicodeDecodeError:
            raise UsageError(
                f"it is no text in UTF-8 (after line {self.number:,}); convert it, as with iconv"
            ) from None
        if b"\0" in data:
            raise UsageError("it is no text: it has NUL bytes")
        self.block = self.block[self.position :] + (data or b"\n")
        self.position = 0
        return True

    def line(self) -> str | None:
        """The next line that is not empty, without spaces around it; None at the end."""
        while True:
            end = self.block.find(b"\n", self.position)
            if end < 0:
                if len(self.block) - self.position > MAX_LINE:
                    raise UsageError(f"its line {self.number + 1:,} is longer than any of an ARPA file")
                if not self.more():
                    return None
                continue
            line = self.block[self.position : end].decode("utf-8", "replace").strip()
            self.position = end + 1
            self.number += 1
            if line:
                return line
            self.skipped(1)

    def skipped(self, count: int) -> None:
        """Counts empty lines. Raises UsageError if there are absurdly many."""
        self._empty += count
        if self._empty > _EMPTY_LINES:
            raise UsageError(f"it has more than {_EMPTY_LINES:,} empty lines before line {self.number + 1:,}")

    @property
    def bytes_before(self) -> int:
        return self._read - len(self.block) + self.position
