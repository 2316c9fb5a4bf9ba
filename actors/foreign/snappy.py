"""Decompresses the beginning of Snappy data, which Arrow only decompresses whole.

Format: https://github.com/google/snappy/blob/main/format_description.txt.
"""


def first_bytes(data: bytes, wanted: int) -> bytes:
    """The first bytes that the beginning of compressed data expands to: `wanted` of them, or as many as there are.

    Raises IndexError if an element ends after the data, ValueError if it refers to bytes before the first.
    """
    found, at = bytearray(), next(index for index, byte in enumerate(data) if byte < 128) + 1 if data else 0
    while at < len(data) and len(found) < wanted:
        tag, at = data[at], at + 1
        if tag & 3 == 0:
            length = (tag >> 2) + 1
            extra = max(length - 60, 0)
            if extra:
                length = int.from_bytes(data[at : at + extra], "little") + 1
            found += data[at + extra : at + extra + min(length, wanted)]
            at += extra + length
            continue
        if tag & 3 == 1:
            length, offset, extra = (tag >> 2 & 7) + 4, tag >> 5 << 8 | data[at], 1
        else:
            extra = 2 if tag & 3 == 2 else 4
            length, offset = (tag >> 2) + 1, int.from_bytes(data[at : at + extra], "little")
        if not 0 < offset <= len(found):
            raise ValueError("a reference to bytes before the first")
        copied = bytes(found[-offset:])[:length]
        found += (copied * (length // len(copied) + 1))[:length]
        at += extra
    return bytes(found[:wanted])
