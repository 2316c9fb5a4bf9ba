"""What the header of a container states of its codec, for files that no decoder reads."""

import re

HEADER_BYTES = 1 << 16  # in which it is looked for
_ASF_AUDIO = b"\x40\x9e\x69\xf8\x4d\x5b\xcf\x11\xa8\xfd\x00\x80\x5f\x5c\x44\x2b"  # type of a stream
_ASF_ENCRYPTION = (  # content encryption, and its extended form
    b"\xfb\xb3\x11\x22\x23\xbd\xd2\x11\xb4\xb7\x00\xa0\xc9\x55\xfc\x6e",
    b"\x14\xe6\x8a\x29\x22\x26\x17\x4c\xb9\x35\xda\xe0\x7e\xe9\x28\x9c",
)

MAY_BE_ENCRYPTED = frozenset({"asf"})  # MP4 may be too, which `mp4_tables.py` finds

#: Where a number of Microsoft's registry, little-endian, names the codec (RFC 2361).
_TAGS = {
    "wav": rb"fmt .{4}(..)",
    "w64": rb"fmt \xf3\xac\xd3\x11\x8c\xd1\x00\xc0\x4f\x8e\xdb\x8a.{8}(..)",
    "avi": rb"auds.{1,100}?strf.{4}(..)",
    "asf": re.escape(_ASF_AUDIO) + rb".{38}(..)",
}
#: Where characters do.
_NAMES = {
    "matroska": b"|".join(b"\x86%c(A_[\x20-\x7e]{%d})" % (0x80 + size, size - 2) for size in range(3, 60)),
    "mov": rb"soun.{1,500}?stsd.{12}(.{4})",
    "caf": rb"desc.{16}(.{4})",
    "aiff": rb"COMM.{22}(.{4})",
    "nistsphere": rb"sample_coding -s\d+ ([\x20-\x7e]{1,40})",
}


def stated_codec(container: str, header: bytes) -> str | None:
    """The codec that a container's first bytes state: "tag 0x0133" or "A_MPEG/L4"; None if they do not tell."""
    if pattern := _TAGS.get(container):
        tag = re.search(pattern, header, re.DOTALL)
        return f"tag 0x{int.from_bytes(tag[1], 'little'):04X}" if tag else None
    name = re.search(_NAMES[container], header, re.DOTALL) if container in _NAMES else None
    if name is None:
        return None
    letters = name[name.lastindex or 0]
    return "".join(chr(each) if 32 <= each < 127 else f"\\x{each:02x}" for each in letters)


def is_encrypted(header: bytes) -> bool:
    """Whether a file of Windows Media states that its content is encrypted; FFmpeg decodes it to noise all the same."""
    return any(each in header for each in _ASF_ENCRYPTION)
