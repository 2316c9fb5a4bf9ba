"""Splits chained Ogg files at their links, which FFmpeg refuses to follow where rates or channels differ.

A link begins with the first pages of its streams, which are marked as such (RFC 3533, section 6).
"""

import os
from typing import BinaryIO

READ_BYTES = 1 << 16
MAX_FIRST_PAGE = 2_048  # bytes of a stream's first page, which holds the codec's header only: some dozens

_HEADER_BYTES = 27
_FLAGS, _NUMBER, _SEGMENTS = 5, slice(18, 22), 26  # where these are in a page's header
_IS_FIRST = 2  # a bit of the flags


def link_behind(file: BinaryIO) -> int | None:
    """The byte at which the link behind the first one of a file begins, None if there is none."""
    link = OggLink(file)
    while link.read(READ_BYTES):
        pass
    return link.next_link


class OggLink:
    """The first link of an Ogg file, as a file. At its end, `next_link` is the byte at which another link begins, None
    if there is none."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self._ready = self._pending = b""  # read, and found to be the link's own; read, but not yet looked at
        self._passed = 0  # bytes before `_pending`
        self._has_begun = self._has_ended = False
        self.next_link: int | None = None

    def tell(self) -> int:
        return self._passed - len(self._ready)

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        """Goes elsewhere, as FFmpeg does to find out how long a file is."""
        if whence == os.SEEK_CUR:
            offset, whence = offset + self.tell(), os.SEEK_SET
        self._passed = self._file.seek(offset if whence == os.SEEK_END else max(offset, 0), whence)
        self._ready = self._pending = b""
        self._has_begun, self._has_ended, self.next_link = self._passed > 0, False, None
        return self._passed

    def read(self, size: int) -> bytes:
        while not self._ready and not self._has_ended:
            more = self._file.read(READ_BYTES)
            self._pending += more
            own = max(len(self._pending) - MAX_FIRST_PAGE, 0) if more else len(self._pending)
            if (end := self._next_link(own)) is not None:
                own, self.next_link = end, self._passed + end
            self._has_ended = not more or end is not None
            self._ready, self._pending = self._pending[:own], self._pending[own:]
            self._passed += own
        data, self._ready = self._ready[:size], self._ready[size:]
        return data

    def _next_link(self, stop: int) -> int | None:
        """Where in `_pending`, before `stop`, the next link begins: with a first page that follows others."""
        at = -1
        while (at := self._pending.find(b"OggS\0", at + 1, stop + 4)) >= 0:
            header = self._pending[at : at + _HEADER_BYTES]
            if len(header) == _HEADER_BYTES and not header[_FLAGS] & _IS_FIRST:
                self._has_begun = True
            elif self._has_begun and self._is_first_page(at):
                return at
        return None

    def _is_first_page(self, at: int) -> bool:
        """Whether a stream's first page begins there, and another page follows it."""
        header = self._pending[at : at + _HEADER_BYTES]
        if len(header) < _HEADER_BYTES or any(header[_NUMBER]):
            return False
        table = self._pending[at + _HEADER_BYTES : at + _HEADER_BYTES + header[_SEGMENTS]]
        end = at + _HEADER_BYTES + len(table) + sum(table)
        return self._pending[end : end + 4] == b"OggS"
