r"""What others wrote, as it may go where it could do harm: to a screen, or onto a line of a file.

Names, texts and messages come from archives and storage. A terminal obeys control characters, a newline begins what
looks like another's line, marks of direction turn a name around, and what has no width hides. Letters of any script,
accents that combine and emoji are none of these.
"""

import re
import unicodedata

MAX_SHOWN = 1_000  # characters of one text on a screen

#: Of the format characters, those that belong to how a text is written: ZWNJ and ZWJ, which keep letters apart or
#: together in Persian and Hindi and in emoji; tags, which make flags; and signs of Arabic, Syriac and Kaithi around
#: numbers, which have a form. https://www.unicode.org/reports/tr44/#Prepended_Concatenation_Mark
_WRITTEN = frozenset(
    map(chr, (0x200C, 0x200D, *range(0xE0020, 0xE0080), *range(0x600, 0x606), 0x6DD, 0x70F, 0x890, 0x891, 0x8E2))
) | {"\U000110bd", "\U000110cd"}

_UNSEEN = ("Cc", "Cf", "Cs", "Zl", "Zp")  # categories: controls, formats, surrogates, ends of lines and paragraphs

_URL = re.compile(r"[a-z][a-z0-9+.-]{0,20}://[^\s'\"<>]*", re.IGNORECASE)


def shown(text: object, max_characters: int = MAX_SHOWN) -> str:
    r"""A text as it may stand on a screen: on one line, what steers or hides as its escape (`\x1b`, `\u202e`), what is
    very long without its middle, and URLs without credentials."""
    whole = without_credentials(str(text))
    if len(whole) > max_characters:
        end = max_characters // 4
        whole = f"{whole[: max_characters - end]} … {whole[-end:]}"
    return whole.translate({ord(char): char.encode("unicode_escape").decode("ascii") for char in steering(whole)})


def steering(text: str) -> set[str]:
    """The characters of a text that a screen would obey or not show: those that Unicode calls other than letters,
    marks, numbers, signs and spaces."""
    return {char for char in set(text) if not char.isprintable() and unicodedata.category(char) != "Zs"}


def written(text: str) -> str:
    """A text on one line of a file for people, without what steers. White space of any kind is a space; what belongs to
    how a language is written stays."""
    return "".join(
        " " if char.isspace() else char
        for char in text
        if char.isspace() or char in _WRITTEN or unicodedata.category(char) not in _UNSEEN
    )


def printable(text: str) -> str:
    r"""A text as UTF-8 can hold it: file names and JSON may bring lone surrogates, which become escapes like \udcb0.

    Names in old encodings are common in archives, and a name that fails must not take its unit with it.
    """
    if text.isascii():
        return text
    return text.encode("utf-8", "backslashreplace").decode("utf-8")


def without_credentials(text: str) -> str:
    """A text whose URLs have neither a password, nor a query, in which signatures stand.

    A name before the @ stays where it may be a part of the place: the container in `abfs://container@account/`.
    """
    return _URL.sub(lambda found: _bare(found[0]), text) if "://" in text else text


def _bare(url: str) -> str:
    protocol, *places = url.split("://")  # of several, the later stand in the path of the first
    is_web = protocol.lower() in ("http", "https")
    whole = "://".join([protocol, *(_without_user(place, is_web) for place in places)])
    if is_web:
        return re.split("[?#]", whole, maxsplit=1)[0]
    name, _, query = whole.partition("?")
    return name if "=" in query else whole  # a file's name may have a question mark


def _without_user(place: str, is_web: bool) -> str:
    authority, slash, path = place.partition("/")
    user, _, host = authority.rpartition("@")
    return host + slash + path if is_web or ":" in user else place
