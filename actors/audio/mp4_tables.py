"""The tables of an MP4 or QuickTime file, judged before FFmpeg unfolds them (ISO/IEC 14496-12).

They are run-length coded: twelve bytes may state four thousand million samples, of which FFmpeg makes an entry each,
and again for each edit. So 80 kB took 3 GB, and 100,000 edits no end.
"""

import os
import re
import zlib
from typing import BinaryIO

MAX_SAMPLES = 1 << 24  # packets in all tracks; 24 hours of AAC are 4 million. FFmpeg takes about 40 bytes for each
MAX_EDITS = 1_000  # of one track; players that cut without coding anew write some dozen
MAX_BYTES = 1 << 28  # of a track's tables, and of a header that is stored compressed

#: Boxes in which FFmpeg looks for tracks; a track's own boxes are searched as they lie, for it takes them anywhere.
_AROUND = frozenset({b"moov", b"hoov", b"free", b"udta", b"meta", b"ilst", b"mvex", b"dinf", b"tref", b"sinf", b"schi"})
_TABLED = frozenset({b"trak", b"moof", b"traf", b"mdia", b"minf", b"stbl", b"edts", b"wave"})
_TABLE = re.compile(rb"(stsz|stz2)[\s\S]{4}([\s\S]{4})([\s\S]{4})|(trun|elst)[\s\S]{4}([\s\S]{4})")
MAX_DEPTH = 10  # as FFmpeg has it


class _Absurd(Exception):
    pass


def absurd_tables(file: BinaryIO) -> str | None:
    """What is absurd about a file's tables, None where nothing is."""
    try:
        _count(file, 0, file.seek(0, os.SEEK_END), 0, 0)
    except _Absurd as problem:
        return str(problem)
    return None


def _count(file: BinaryIO, at: int, end: int, samples: int, depth: int) -> int:
    """The samples that boxes from one place to another state, added to those before. Raises _Absurd."""
    while at + 8 <= end and depth <= MAX_DEPTH:
        file.seek(at)
        header = file.read(16)
        size, kind, body = int.from_bytes(header[:4], "big"), header[4:8], at + 8
        if size == 1:
            size, body = int.from_bytes(header[8:16], "big"), at + 16
        stop = min(at + size, end) if size else end
        if len(header) < 8 or stop < body:
            return samples
        if kind in _AROUND:
            samples = _count(file, body + 4 * (kind == b"meta"), stop, samples, depth + 1)
        elif kind in _TABLED or kind == b"cmov":
            if stop - body > MAX_BYTES:
                raise _Absurd(f"tables of {stop - body:,} bytes")
            file.seek(body)
            samples = _count_tables(_inflated(file.read(stop - body), kind), samples)
        at = stop
    return samples


def _inflated(box: bytes, kind: bytes) -> bytes:
    """A header that is stored compressed, as QuickTime of old had it, as it was before."""
    if kind != b"cmov":
        return box
    try:
        return zlib.decompressobj().decompress(box[box.find(b"cmvd") + 8 :], MAX_BYTES)
    except zlib.error:
        return b""


def _count_tables(boxes: bytes, samples: int) -> int:
    edits = 0
    for sizes, same, count, table, entries in _TABLE.findall(boxes):
        number = int.from_bytes(count or entries, "big")
        if table == b"elst":
            edits = max(edits, number)
        elif table == b"trun" or (sizes and any(same)):
            samples += number
        else:
            samples += min(number, len(boxes))  # each has its size stored
    if edits > MAX_EDITS or samples > MAX_SAMPLES:
        raise _Absurd(f"a table of {max(edits, samples):,} entries cannot be")
    return samples
