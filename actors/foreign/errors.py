"""Errors of untrusted files."""

from actors.foreign.escape import single_line

MAX_MESSAGE = 300  # characters


class InvalidData(ValueError):
    """A file is damaged, of another schema, or of types that are not plain data."""


class SchemaMismatch(InvalidData):
    """A file has another schema, such as that of another version of this job."""


def one_line(problem: Exception, max_characters: int = MAX_MESSAGE) -> str:
    """A library's message on one line, truncated: it may be long and quote lines of the file."""
    return " ".join(single_line(str(problem)).split())[:max_characters]
