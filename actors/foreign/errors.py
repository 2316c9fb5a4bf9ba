"""What is wrong with a file that others may have written."""

MAX_PROBLEM = 300  # characters


class NotPlain(ValueError):
    """A file is not what it should be: damaged, of another schema, or of types that are not plain data."""


class OtherColumns(NotPlain):
    """A file is of another schema, such as another version of this job's."""


def in_a_line(problem: Exception) -> str:
    """What a library says of a file, which may be long and hold lines of the file's own."""
    return " ".join(str(problem).split())[:MAX_PROBLEM]
