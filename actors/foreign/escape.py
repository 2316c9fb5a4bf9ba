r"""Makes untrusted text safe to print on a terminal, in a message or on a line of a file.

Names, texts and messages come from archives and storage. A terminal obeys control characters, a newline forges a line,
direction marks reverse a name, and zero-width characters hide. Letters of any script, combining accents and emoji are
kept.
"""

import re
import unicodedata

MAX_SHOWN = 1_000  # characters of one text on a terminal
MAX_DESCRIBED = 60  # characters of a value in a message

#: Format characters that belong to the spelling of a text: ZWNJ and ZWJ, which separate or join letters in Persian and
#: Hindi and in emoji; tags, which make flags; and signs of Arabic, Syriac and Kaithi around numbers, which are visible.
#: https://www.unicode.org/reports/tr44/#Prepended_Concatenation_Mark
_KEPT_FORMATS = frozenset(
    map(chr, (0x200C, 0x200D, *range(0xE0020, 0xE0080), *range(0x600, 0x606), 0x6DD, 0x70F, 0x890, 0x891, 0x8E2))
) | {"\U000110bd", "\U000110cd"}

_INVISIBLE = ("Cc", "Cf", "Cs", "Zl", "Zp")  # categories: controls, formats, surrogates, line and paragraph separators

_URL = re.compile(r"[a-z][a-z0-9+.-]{0,20}://[^\s'\"<>]*", re.IGNORECASE)


def for_terminal(text: object, max_characters: int = MAX_SHOWN) -> str:
    r"""A text that is safe to print: on one line, control and invisible characters as escapes (`\x1b`, `\u202e`), the
    middle of a very long text left out, and URLs without credentials."""
    safe = without_credentials(str(text))
    if len(safe) > max_characters:
        end = max_characters // 4
        safe = f"{safe[: max_characters - end]} … {safe[-end:]}"
    return safe.translate(
        {ord(char): char.encode("unicode_escape").decode("ascii") for char in control_characters(safe)}
    )


def control_characters(text: str) -> set[str]:
    """The characters of a text that a terminal would obey or not show: all but Unicode's letters, marks, numbers,
    punctuation, symbols and spaces."""
    return {char for char in set(text) if not char.isprintable() and unicodedata.category(char) != "Zs"}


def single_line(text: str) -> str:
    """A text on one line, without control characters. White space of any kind becomes a space; format characters that a
    language's spelling needs are kept."""
    return "".join(
        " " if char.isspace() else char
        for char in text
        if char.isspace() or char in _KEPT_FORMATS or unicodedata.category(char) not in _INVISIBLE
    )


def describe(value: object) -> str:
    """An untrusted value for a message: short, on one line, and never the whole of a large value."""
    if value is None or isinstance(value, bool | int | float):
        return str(value)[:MAX_DESCRIBED]
    if isinstance(value, str):
        return value if len(value) <= MAX_DESCRIBED and value.isidentifier() else repr(value[:MAX_DESCRIBED])
    size = f" of {len(value)}" if isinstance(value, list | dict) else ""
    return {"list": "a list", "dict": "a mapping"}.get(type(value).__name__, f"a {type(value).__name__}") + size


def escape_surrogates(text: str) -> str:
    r"""A text that can be encoded as UTF-8: lone surrogates, from file names and JSON, become escapes like \udcb0.

    Names in old encodings are common in archives, and such a name must not fail its unit.
    """
    if text.isascii():
        return text
    return text.encode("utf-8", "backslashreplace").decode("utf-8")


def without_credentials(text: str) -> str:
    """A text whose URLs have neither a password nor a query, which may hold a signature.

    A name before the @ is kept if it may be part of the location: the container in `abfs://container@account/`.
    """
    return _URL.sub(lambda match: _redacted(match[0]), text) if "://" in text else text


def _redacted(url: str) -> str:
    protocol, *locations = url.split("://")  # a URL may contain another one in its path
    is_web = protocol.lower() in ("http", "https")
    redacted = "://".join([protocol, *(_without_user(location, is_web) for location in locations)])
    if is_web:
        return re.split("[?#]", redacted, maxsplit=1)[0]
    name, _, query = redacted.partition("?")
    return name if "=" in query else redacted  # a file's name may have a question mark


def _without_user(location: str, is_web: bool) -> str:
    authority, slash, path = location.partition("/")
    user, _, host = authority.rpartition("@")
    return host + slash + path if is_web or ":" in user else location
