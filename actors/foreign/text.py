"""Decodes untrusted text: as the encoding that it states, else as UTF-8, else as GB 18030 if that gives Chinese."""

import codecs
import re
from collections import Counter

from actors.foreign.errors import InvalidData

#: Byte order marks and their encodings. That of UTF-32 begins with that of UTF-16, so it comes first.
_MARKS = (
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)
#: Ranges of codes for punctuation and for the common characters, which both standards sort before the rare ones: see
#: https://en.wikipedia.org/wiki/GB_2312#Rows and https://en.wikipedia.org/wiki/Big5#Organization.
_COMMON = (("gb2312", 0xA1A1, 0xA3FE), ("gb2312", 0xB0A1, 0xD7F9), ("big5", 0xA440, 0xC67E))
_SPACED = re.compile(r"[^\x00-\x7f]{2} [^\x00-\x7f]{2}")  # words
MIN_LETTERS = 16  # of Chinese, of which 0.6 have such codes, are never all so
_MIN_COMMON = 0.75  # of the characters; Chinese has over 0.95, damaged UTF-8 and Big5 that are misread up to 0.6


def decode_text(data: bytes) -> str:
    """The text of a file in UTF-8, in UTF-16 or UTF-32 with a byte order mark, or in GB 18030, which contains GBK and
    GB 2312. Raises InvalidData if it is in none of them.

    Most bytes can be read as GB 18030, so it is tried last, and the result must look like Chinese: text in a western
    encoding and damaged UTF-8 would become rare characters.
    """
    encoding = next((encoding for mark, encoding in _MARKS if data.startswith(mark)), "utf-8")
    try:
        return data.decode(encoding)
    except UnicodeDecodeError as problem:
        place = f"byte {problem.start} is 0x{data[problem.start]:02x}"
    if encoding != "utf-8":
        raise InvalidData(f"it is not {encoding.removesuffix('-sig').upper()}, as its first bytes say: {place}")
    text = _chinese(data)
    if text is None:
        raise InvalidData(f"it is neither UTF-8, nor UTF-16 with a byte order mark, nor GB 18030: {place}")
    return text


def _chinese(data: bytes) -> str | None:
    """The text of data in GB 18030; None if it is not valid, or does not look like Chinese."""
    try:
        text = data.decode("gb18030")
    except UnicodeDecodeError:
        return None
    if _may_be_korean(text):
        return None
    counts = {char: count for char, count in Counter(text).items() if not char.isascii()}
    common = sum(count for char, count in counts.items() if _is_common(char))
    return text if common >= _MIN_COMMON * sum(counts.values()) else None


def _may_be_korean(text: str) -> bool:
    """Whether a text has only characters whose codes are Hangul in EUC-KR, which are common ones of Chinese, and spaces
    between them or very many."""
    codes = [int.from_bytes(char.encode("gb2312", "ignore"), "big") for char in text if not char.isascii()]
    letters = [code for code in codes if code >= 0xB0A1]
    are_hangul = all(code <= 0xC8FE for code in letters)
    return are_hangul and bool(letters) and (len(letters) >= MIN_LETTERS or bool(_SPACED.search(text)))


def _is_common(char: str) -> bool:
    codes = ((int.from_bytes(char.encode(name, "ignore"), "big"), first, last) for name, first, last in _COMMON)
    return any(first <= code <= last for code, first, last in codes)
