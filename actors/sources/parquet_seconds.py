"""The seconds of sound in a Parquet file, by the headers of a recording in some of its row groups.

The pages that hold them are not decoded as a whole: they may be large. The first bytes of a page are enough to find the
length and the header of its first recording (https://parquet.apache.org/docs/file-format/data-pages/).
"""

import io
import zlib

import pyarrow as pa

from actors.audio.containers import container_of, id3_length
from actors.audio.headers.excerpt import BLOCK_BYTES, Excerpt
from actors.audio.headers.seconds import BROKEN, MIN_BYTES_PER_SECOND, header_seconds
from actors.foreign.arrow import parquet_footer
from actors.foreign.parquet_pages import Chunk, pages, row_groups
from actors.foreign.snappy import first_bytes
from actors.storage.files import StoredFile

MAX_FOOTER_BYTES = 1_000_000
MAX_GROUPS = 4  # of which a recording is looked at
_BYTE_ARRAY = 6  # a Type in parquet.thrift
_SNAPPY, _GZIP, _ZSTD = 1, 2, 6  # codecs


def parquet_seconds(stored: StoredFile) -> float | None:
    """The seconds of sound in a Parquet file if all its recordings are like those that are looked at; None if they do
    not tell, or if its footer is large. Raises OSError if the storage fails."""
    file = _SeekableExcerpt(stored)
    try:
        groups = row_groups(parquet_footer(file, MAX_FOOTER_BYTES))
        chunks = [
            max(found, key=_stored_bytes) for group in groups if (found := list(filter(_is_binary, group.chunks)))
        ]
        looked_at = [_density(file, chunk) for chunk in chunks[:: max(len(chunks) // MAX_GROUPS, 1)][:MAX_GROUPS]]
        densities = [each for each in looked_at if each]
        if not densities:
            return None
        seconds = sum(map(_stored_bytes, chunks)) * sum(densities) / len(densities)
    except (*BROKEN, pa.ArrowException, zlib.error):
        return None
    return min(seconds, stored.size / MIN_BYTES_PER_SECOND)


class _SeekableExcerpt(io.RawIOBase):
    """An excerpt as a file."""

    def __init__(self, stored: StoredFile) -> None:
        self._excerpt, self._at = Excerpt(stored), 0

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        self._at = offset + (self._excerpt.size if whence == io.SEEK_END else 0)
        return self._at

    def read(self, size: int = -1) -> bytes:
        data = self._excerpt.read(self._at, size)
        self._at += len(data)
        return data


def _is_binary(chunk: Chunk) -> bool:
    return chunk.kind == _BYTE_ARRAY


def _stored_bytes(chunk: Chunk) -> int:
    return chunk.end - chunk.start


def _density(file: _SeekableExcerpt, chunk: Chunk) -> float | None:
    """The seconds per stored byte of the first recording in a chunk, or None if it is not found.

    The page begins with the recording, after the levels of nested columns, if any: each value has its length in the
    first four bytes, and so has each list of levels.
    """
    page = next(pages(file, chunk))
    file.seek(page.at)
    stored = file.read(min(page.stored, 2 * BLOCK_BYTES))
    data, at = _unpacked(stored, chunk.codec, min(page.unpacked, BLOCK_BYTES)), 0
    for _ in range(3):
        length, value = int.from_bytes(data[at : at + 4], "little"), data[at + 4 :]
        if length <= page.unpacked and container_of(value[id3_length(value) :][:128]):
            seconds = header_seconds(value[:length], length)
            return seconds / length * page.unpacked / page.stored if seconds else None
        at += 4 + length
    return None


def _unpacked(data: bytes, codec: int | None, wanted: int) -> bytes:
    """The first bytes of a page, decompressed from its first bytes; none if the codec is another."""
    if not codec:
        return data[:wanted]
    if codec == _SNAPPY:
        return first_bytes(data, wanted)
    if codec == _GZIP:
        return zlib.decompressobj(31).decompress(data, wanted)
    if codec == _ZSTD:
        try:
            with pa.CompressedInputStream(pa.BufferReader(data), "zstd") as stream:
                return bytes(stream.read(wanted))
        except OSError as problem:  # which is not the storage's
            raise ValueError(str(problem)) from None
    return b""
