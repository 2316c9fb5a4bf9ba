"""Recognises audio containers by their first bytes, since file names are unreliable."""

_MAGICS = {
    b"fLaC": "flac",
    b"OggS": "ogg",
    b".snd": "au",
    b"caff": "caf",
    b"NIST_1A": "nistsphere",
    b"\x1aE\xdf\xa3": "matroska",
    b"#!AMR": "amr",
    b"0&\xb2u\x8ef\xcf\x11": "asf",
}


def container_of(head: bytes) -> str | None:
    """The FFmpeg name of a container by its first bytes, or None if it is not one of those allowed.

    Signatures: the Library of Congress' format descriptions, and RFC 3533 (Ogg), RFC 9639 (FLAC), RFC 4867 (AMR).
    """
    if head[:4] in (b"RIFF", b"RF64", b"RIFX") and head[8:12] == b"WAVE":
        return "wav"
    if head[:16] == b"riff\x2e\x91\xcf\x11\xa5\xd6\x28\xdb\x04\xc1\x00\x00":
        return "w64"
    if head[:4] == b"FORM" and head[8:12] in (b"AIFF", b"AIFC"):
        return "aiff"
    if head[4:8] == b"ftyp":
        return "mov"
    for magic, name in _MAGICS.items():
        if head.startswith(magic):
            return name
    if len(head) >= 4 and head[0] == 0xFF and head[1] & 0xF6 == 0xF0:
        return "aac"  # ADTS: 12 bits of sync, layer 00
    if len(head) >= 4 and head[0] == 0xFF and head[1] & 0xE0 == 0xE0 and head[1] & 0x06 and head[2] & 0xF0 != 0xF0:
        return "mp3"  # 11 bits of sync, a layer, a bit rate that exists
    return None


def id3_length(head: bytes) -> int:
    """Size in bytes of a leading ID3v2 tag, which may precede MP3, AAC and FLAC (https://id3.org/id3v2.4.0)."""
    if head[:3] != b"ID3" or len(head) < 10:
        return 0
    return 10 + sum((byte & 0x7F) << shift for byte, shift in zip(head[6:10], (21, 14, 7, 0), strict=True))
