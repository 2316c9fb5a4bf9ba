"""Checks the tables of an MP4 or QuickTime file before FFmpeg expands them (ISO/IEC 14496-12), and whether its sound is
encrypted, which FFmpeg would decode to noise.

Tables are run-length coded: twelve bytes may state four billion samples, and FFmpeg allocates an entry for each, once
more for each edit. So 80 kB took 3 GB, and 100,000 edits never ended.
"""

import os
import re
import zlib
from typing import BinaryIO

MAX_SAMPLES = 1 << 24  # packets in all tracks; 24 hours of AAC have 4 million. FFmpeg takes about 40 bytes for each
MAX_EDITS = 1_000  # of one track; tools that cut without re-encoding write a few dozen
MAX_BYTES = 1 << 28  # of a track's tables, and of a compressed header

#: Boxes in which FFmpeg looks for tracks. The boxes within a track are searched as a whole, since FFmpeg accepts them
#: in any nesting.
_PARENTS = frozenset(
    {b"moov", b"hoov", b"free", b"udta", b"meta", b"ilst", b"mvex", b"dinf", b"tref", b"sinf", b"schi"}
)
_WITH_TABLES = frozenset({b"trak", b"moof", b"traf", b"mdia", b"minf", b"stbl", b"edts", b"wave"})
_TABLE = re.compile(rb"(stsz|stz2)[\s\S]{4}([\s\S]{4})([\s\S]{4})|(trun|elst)[\s\S]{4}([\s\S]{4})")
MAX_BOXES = 100_000  # of a file, among which another is looked for: a fragment has two, and lasts seconds
_ENCRYPTED = re.compile(rb"stsd[\s\S]{12}(enca|drms|aavd)")  # Common Encryption, FairPlay, Audible
MAX_DEPTH = 10  # the limit of FFmpeg


class _TableError(Exception):
    pass


def table_error(file: BinaryIO) -> str | None:
    """What is wrong with a file's tables, or None."""
    try:
        _count_samples(file, 0, file.seek(0, os.SEEK_END), 0, 0)
    except _TableError as problem:
        return str(problem)
    return None


def second_movie(file: BinaryIO) -> int | None:
    """The byte at which another file begins that was joined to this one, None if there is none. FFmpeg would pass over
    its header, and take its fragments for the first one's."""
    end, position = file.seek(0, os.SEEK_END), 0
    for _ in range(MAX_BOXES):
        file.seek(position)
        header = file.read(16)
        if header[4:8] == b"ftyp" and position:
            return position
        size = int.from_bytes(header[:4], "big")
        size = int.from_bytes(header[8:], "big") if size == 1 else size
        position += size
        if size < 8 or position >= end:
            break
    return None


def _count_samples(file: BinaryIO, position: int, end: int, samples: int, depth: int) -> int:
    """Adds the samples that the boxes between two positions state to `samples`. Raises _TableError."""
    while position + 8 <= end and depth <= MAX_DEPTH:
        file.seek(position)
        header = file.read(16)
        size, kind, body = int.from_bytes(header[:4], "big"), header[4:8], position + 8
        if size == 1:
            size, body = int.from_bytes(header[8:16], "big"), position + 16
        stop = min(position + size, end) if size else end
        if len(header) < 8 or stop < body:
            return samples
        if kind in _PARENTS:
            samples = _count_samples(file, body + 4 * (kind == b"meta"), stop, samples, depth + 1)
        elif kind in _WITH_TABLES or kind == b"cmov":
            if stop - body > MAX_BYTES:
                raise _TableError(f"tables of {stop - body:,} bytes")
            file.seek(body)
            samples = _count_tables(_inflate(file.read(stop - body), kind), samples)
        position = stop
    return samples


def _inflate(box: bytes, kind: bytes) -> bytes:
    """Decompresses a header that is stored compressed, as old versions of QuickTime did."""
    if kind != b"cmov":
        return box
    try:
        return zlib.decompressobj().decompress(box[box.find(b"cmvd") + 8 :], MAX_BYTES)
    except zlib.error:
        return b""


def _count_tables(boxes: bytes, samples: int) -> int:
    if encrypted := _ENCRYPTED.search(boxes):
        raise _TableError(f"the sound is encrypted ({encrypted[1].decode()})")
    edits = 0
    for sizes, same, count, table, entries in _TABLE.findall(boxes):
        number = int.from_bytes(count or entries, "big")
        if table == b"elst":
            edits = max(edits, number)
        elif table == b"trun" or (sizes and any(same)):
            samples += number
        else:
            samples += min(number, len(boxes))  # each has a stored size
    if edits > MAX_EDITS or samples > MAX_SAMPLES:
        raise _TableError(f"a table of {max(edits, samples):,} entries is not possible")
    return samples
