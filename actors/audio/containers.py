"""Recognises the container of a recording by its bytes, since file names are unreliable, and where it begins.

Sources of the signatures: the Library of Congress' format descriptions, FFmpeg's and libsndfile's lists of what they
read, RFC 3533 (Ogg), RFC 9639 (FLAC), RFC 4867 (AMR), RFC 9559 (Matroska), ISO/IEC 13818-1 (MPEG), SMPTE 377 (MXF).
"""

import re
from collections.abc import Callable
from typing import NamedTuple

from actors.audio.frames import find_stream

HEAD_BYTES = 128  # which tell of most files
SEARCHED_BYTES = 1 << 17  # behind the tags, where the sound of other files must begin
TAG_HEAD_BYTES = 10  # of an ID3v2 tag
MAX_SKIPS = 100  # tags, paddings and headers of protocols before the container

#: Signatures at the very beginning, or behind tags, padding or white space.
_AT_START = {
    "wav": rb"(?:RIFF|RF64|BW64|RIFX).{4}WAVE",
    "w64": rb"riff\x2e\x91\xcf\x11\xa5\xd6\x28\xdb\x04\xc1\0\0",
    "aiff": rb"FORM.{4}AIF[FC]",
    "au": rb"\.snd",
    "caf": rb"caff",
    "nistsphere": rb"NIST_1A",
    "ircam": rb"\x64\xa3[\0-\x04]\0|\0[\0-\x04]\xa3\x64",
    "flac": rb"fLaC",
    "ogg": rb"OggS",
    "mov": rb".{4}ftyp",
    "matroska": rb"\x1aE\xdf\xa3",
    "amr": rb"#!AMR",
    "ilbc": rb"#!iLBC[23]0\n",
    "qcp": rb"RIFF.{4}QLCM",
    "dss": rb"[\x02\x03]dss",
    "asf": rb"0&\xb2u\x8ef\xcf\x11",
    "rm": rb"\.RMF\0\0|\.ra\xfd\0[\x03-\x05]",
    "voc": rb"Creative Voice File\x1a",
    "wv": rb"wvpk",
    "tta": rb"TTA1[\x01-\x03]\0",
    "ape": rb"MAC [\0-\xff][\x0c-\x0f]",
    "tak": rb"tBaK",
    "shn": rb"ajkg",
    "mpc": rb"MP\+[\x07\x17]",
    "mpc8": rb"MPCK",
    "truehd": rb".{4}\xf8\x72\x6f\xba",
    "dsf": rb"DSD \x1c\0\0\0\0\0\0\0",
    "iff": rb"FRM8.{8}DSD |FORM.{4}(?:8SVX|16SV)",
    "oma": rb"ea3[\x03\x04]\0|EA3[\0-\xff]\0",
    "mmf": rb"MMMD.{4}CNTI",
    "sox": rb"\.SoX|XoS\.",
    "pvf": rb"PVF[12]\n",
    "dtshd": rb"DTSHDHDR",
    "avi": rb"RIFF.{4}AVI[ X\x19]|ON2 .{4}ON2f",
    "flv": rb"FLV\x01",
    "mpeg": rb"\0\0\x01\xba(?:[\x21-\x2f].{7}|[\x44-\x7f].{9,16})\0\0\x01[\xb9-\xff]",
    "wtv": rb"\xb7\xd8\0\x20\x37\x49\xda\x11\xa6\x4e\0\x07\xe9\x5e\xad\x8d",
    "mxf": rb"\x06\x0e\x2b\x34\x02\x05\x01\x01\x0d\x01\x02",
    "gxf": rb"\0\0\0\0\x01\xbc.{8}\xe1\xe2",
    "dv": rb"\x1f\x07\0[\x3f\xbf]",
    "nut": rb"nut/multimedia container\0",
}

#: Signatures that no other bytes have by chance, behind whatever precedes them: HTTP headers, junk, half a stream.
_ANYWHERE = {
    "wav": rb"(?:RIFF|RF64|BW64).{4}WAVE[\x20-\x7e]{4}.{3}\0|RIFX.{4}WAVE[\x20-\x7e]{4}\0",
    "w64": _AT_START["w64"],
    "aiff": rb"FORM.{4}AIF[FC][\x20-\x7e]{4}\0",
    "au": rb"\.snd\0\0[\0-\x10].{5}\0\0\0[\x01-\x1b]",
    "caf": rb"caff\0\x01\0\0desc\0",
    "nistsphere": rb"NIST_1A\n {3}\d{4}\n",
    "flac": rb"fLaC[\0\x80]\0\0\x22",
    "ogg": rb"OggS\0[\x02\x06].{22}(?:\x01vorbis|OpusHead|\x7fFLAC|Speex|\x80theora|fishead)",
    "mov": rb"\0\0[\0-\x03].ftyp[\x20-\x7e]{4}",
    "matroska": rb"\x1aE\xdf\xa3.{1,60}?\x42\x82.{1,8}?(?:webm|matroska)",
    "asf": rb"0&\xb2u\x8ef\xcf\x11\xa6\xd9\0\xaa\0b\xcel",
    "voc": _AT_START["voc"],
    "wv": rb"wvpk.{4}[\x02-\x10]\x04",
    "avi": rb"RIFF.{4}AVI LIST",
    "flv": rb"FLV\x01[\x01\x04\x05]\0\0\0\x09",
    "mxf": _AT_START["mxf"],
}

#: Files that hold others: sound in them is an attachment, and they are no recordings.
_OTHERS = (
    rb"PK\x03\x04|PK\x05\x06|%PDF|\x7fELF|MZ|\xca\xfe\xba\xbe|\xfe\xed\xfa[\xce\xcf]|[\xce\xcf]\xfa\xed\xfe"
    rb"|\xd0\xcf\x11\xe0|\xff\xd8\xff|\x89PNG|GIF8|II\*\0|MM\0\*|7z\xbc\xaf|Rar!|MSCF|\x1f\x8b\x08|BZh|\xfd7zXZ"
    rb"|\x28\xb5\x2f\xfd|SQLite format 3|PAR1|ARROW1|\x89HDF|\x93NUMPY|\{\\rtf|[FC]WS[\x03-\x20]|MThd|.{257}ustar"
)

#: What a server, a form or an editor may put before a file.
_PREAMBLE = (
    rb"\xef\xbb\xbf|[\t\n\r ]+|(?:\0(?!\0?\x01))+"  # not the zeros of a start code of MPEG
    rb"|(?:(?:HTTP/|ICY |--)[^\r\n]{1,200}\r?\n)?(?:[\w-]{1,60}:[^\r\n]{0,4000}\r?\n)+\r?\n"
)

#: The first atom of files from before there was ftyp.
_QUICKTIME = frozenset({b"moov", b"mdat", b"wide", b"free", b"skip", b"pnot"})


def _one_of(signatures: dict[str, bytes]) -> re.Pattern[bytes]:
    return re.compile(b"|".join(b"(?P<%s>%s)" % (name.encode(), each) for name, each in signatures.items()), re.DOTALL)


_STARTS, _FINDS = _one_of(_AT_START), _one_of(_ANYWHERE)
_OTHER, _BEFORE = re.compile(_OTHERS, re.DOTALL), re.compile(_PREAMBLE)


class Recognised(NamedTuple):
    """The FFmpeg name of a container, None if it is not one of those allowed, and the bytes that precede it."""

    container: str | None
    offset: int


def recognise(read: Callable[[int, int], bytes], size: int) -> Recognised:
    """The container in a file of `size` bytes, of which `read(first, count)` gets some.

    The first bytes tell for most files. If they do not, tags are passed over (there may be several, of any size), and
    zeros and white space, and then SEARCHED_BYTES are searched: for frames that follow one another, and for signatures
    that are no accident.
    """
    offset = before = 0
    data = b""
    for _ in range(MAX_SKIPS):
        head = read(offset, HEAD_BYTES)
        if container := container_of(head, size - offset):
            return Recognised(container, offset)
        length = tag_length(head)
        if not length:
            data = read(offset, SEARCHED_BYTES)
            before, container = _after_preamble(data, size - offset)
            if container:
                return Recognised(container, offset + before)
            if not (before and tag_length(data[before : before + HEAD_BYTES])):
                break
            length = before
        offset += length
    else:
        return Recognised(None, offset)
    if offset < size:
        found, start = _search(data, before, offset + len(data) >= size), offset
    else:  # a tag that states more than the file has may be followed by sound all the same
        data = read(TAG_HEAD_BYTES, SEARCHED_BYTES)
        found, start = _search(data, 0, False), TAG_HEAD_BYTES
    return Recognised(found[0], start + found[1]) if found else Recognised(None, offset)


def container_of(head: bytes, size: int) -> str | None:
    """The container that begins with some bytes, of a file that has `size` from there on; None if they do not tell, as
    of streams without a file header."""
    if match := _STARTS.match(head):
        return match.lastgroup
    return "mov" if _is_quicktime(head, size) else None


def _is_quicktime(head: bytes, size: int) -> bool:
    """Whether it begins with an atom of QuickTime, of a length that fits into the file, and so does what follows."""
    at = 0
    while at + 8 <= len(head):
        length, kind = int.from_bytes(head[at : at + 4], "big"), head[at + 4 : at + 8]
        if kind not in _QUICKTIME and not (at and kind.isalnum()):
            return False
        if length == 1:
            length = int.from_bytes(head[at + 8 : at + 16], "big")
        if not length:
            return kind == b"mdat"
        if not 8 <= length <= size - at:
            return False
        at += length
    return at > 0


def tag_length(head: bytes) -> int:
    """Bytes of the tag that some bytes begin with: ID3v2 (https://id3.org/id3v2.4.0), or what is left of its footer, or
    APEv2 (https://wiki.hydrogenaud.io/index.php?title=APEv2_specification); 0 if there is none."""
    if head[:3] == b"ID3" and len(head) >= TAG_HEAD_BYTES:
        bits = 7 if max(head[6:10]) < 0x80 else 8  # of each byte of its size; some writers use all eight
        return TAG_HEAD_BYTES + sum(byte << bits * place for place, byte in enumerate(reversed(head[6:10])))
    if head[:3] == b"3DI":
        return TAG_HEAD_BYTES
    return 32 + int.from_bytes(head[12:16], "little") if head[:8] == b"APETAGEX" and len(head) >= 32 else 0


def _after_preamble(data: bytes, size: int) -> tuple[int, str | None]:
    """Bytes of what precedes a container without being a part of it: padding, headers of HTTP, an empty line; and the
    container behind them, if its first bytes tell, of a file that has `size` bytes from the data's first on."""
    at = 0
    for _ in range(MAX_SKIPS):
        match = _BEFORE.match(data, at)
        if not match:
            break
        at = match.end()
        if container := container_of(data[at : at + HEAD_BYTES], size - at):
            return at, container
    return at, None


def _search(data: bytes, start: int, is_all: bool) -> tuple[str, int] | None:
    """The first container in some data, and where it begins. Frames may begin at `start`; `is_all` tells that the file
    ends with the data."""
    if data.isascii() or _OTHER.match(data) or _OTHER.match(data, start):
        return None
    stream = find_stream(data[start:], is_all)
    end = start + stream[1] if stream else len(data)
    match = _FINDS.search(data, 0, end + HEAD_BYTES) if end else None
    if match and match.lastgroup and match.start() < end:
        return match.lastgroup, match.start()
    return (stream[0], end) if stream else None
