"""Errors of untrusted files."""

import re

from actors.foreign.escape import single_line

MAX_MESSAGE = 300  # characters

_HARMLESS = (OSError, ImportError, NameError, AttributeError)  # they name files and code
_QUOTED = re.compile(r"""(?<!\w)(['"])(?:\\.|(?!\1)[^\\])*(?:\1|\\?$)|[^\x00-\x7f]+""")


class InvalidData(ValueError):
    """A file is damaged, of another schema, or of types that are not plain data."""


class SchemaMismatch(InvalidData):
    """A file has another schema, such as that of another version of this job."""


def one_line(problem: Exception, max_characters: int = MAX_MESSAGE) -> str:
    """A library's message on one line, truncated: it may be long and quote lines of the file."""
    return " ".join(single_line(str(problem)).split())[:max_characters]


def unforeseen(problem: Exception, max_characters: int = MAX_MESSAGE) -> str:
    """An exception by its type and its message. Of one that nobody foresaw, what the message quotes is left out, for it
    may be a transcript: `KeyError: …`. Our own, those of storage, and those that name code quote no texts.

    >>> unforeseen(ValueError("invalid literal for int() with base 10: 'three'"))
    'ValueError: invalid literal for int() with base 10: …'
    """
    name, is_own = type(problem).__name__, type(problem).__module__.partition(".")[0] in ("actors", "jobs")
    if is_own or type(problem) is TypeError or isinstance(problem, _HARMLESS):
        return f"{name}: {problem!s:.{max_characters}}"
    return f"{name}: {_QUOTED.sub('…', one_line(problem, max_characters))}"
