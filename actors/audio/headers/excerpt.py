"""A few ranges of a stored file, read when they are asked for."""

from typing import Literal

from actors.storage import files as storage
from actors.storage.files import StoredFile

BLOCK_BYTES = 1 << 16  # of a stored file, read in one request
MAX_BLOCKS = 24  # of a stored file; a header that leads to more says nothing

Order = Literal["little", "big"]


class Excerpt:
    """The bytes of a file from its `start` on, of which only those that are asked for are read.

    `content` may be the beginning of a file of `size` bytes: the others are missing, as those after the last are.
    """

    def __init__(self, content: bytes | StoredFile, size: int | None = None) -> None:
        stored_size = content.size if isinstance(content, StoredFile) else len(content)
        self._content, self._whole_size = content, stored_size if size is None else size
        self._blocks = dict[int, bytes]()
        self.start = 0

    @property
    def size(self) -> int:
        """The number of bytes from the start on, including missing ones."""
        return max(self._whole_size - self.start, 0)

    def read(self, at: int, length: int) -> bytes:
        """The bytes at a position; fewer where they are missing. Raises OSError if the storage fails."""
        first = self.start + max(at, 0)
        last = min(first + length, self._whole_size)
        if not isinstance(self._content, StoredFile):
            return self._content[first:last]
        blocks = range(first // BLOCK_BYTES, -(-last // BLOCK_BYTES))
        found = b"".join(self._block(self._content, number) for number in blocks)
        offset = first - blocks.start * BLOCK_BYTES
        return found[offset : offset + last - first]

    def exactly(self, at: int, length: int) -> bytes:
        """The bytes at a position. Raises IndexError where some are missing."""
        data = self.read(at, length)
        if at < 0 or len(data) < length:
            raise IndexError(f"no {length} bytes at {at}")
        return data

    def number(self, at: int, length: int, order: Order) -> int:
        """The unsigned integer at a position. Raises IndexError where it is missing."""
        return int.from_bytes(self.exactly(at, length), order)

    def _block(self, stored: StoredFile, number: int) -> bytes:
        if number not in self._blocks:
            if len(self._blocks) == MAX_BLOCKS:
                raise IndexError("too many ranges")
            begin = number * BLOCK_BYTES
            end = min(begin + BLOCK_BYTES, stored.size)
            data = storage.read_range(stored.filesystem, stored.path, begin, end) if begin < end else b""
            self._blocks[number] = data
        return self._blocks[number]
