"""Patterns in input.uri: ranges and choices of names, and globs."""

import re
from collections.abc import Iterator

from jobs.cli.errors import ConfigError

MAX_NAMES = 1_000_000  # that one pattern may stand for

_GLOB = re.compile(r"[*?\[]")
#: {0..511}, {000..511}, {0..511..2} and {a,b}; NeMo writes _OP_ and _CL_ for the braces, which shells would expand.
_RANGE = r"(\d+)\.\.(\d+)(?:\.\.(\d+))?"
_NAME = r"(?:(?!_OP_)[^{}])*?"
_CHOICE = re.compile(rf"(?:_OP_|\{{)(?:{_RANGE}|({_NAME},{_NAME}))(?:_CL_|\}})")


def glob_start(path: str) -> int | None:
    """Where the first wildcard of a path is, or None."""
    found = _GLOB.search(path)
    return found.start() if found else None


def has_choices(uri: str) -> bool:
    """Whether a URI is a pattern that stands for several names, each of which should exist."""
    return _CHOICE.search(uri) is not None


def is_pattern(uri: str) -> bool:
    return has_choices(uri) or glob_start(uri) is not None


def expand(uri: str) -> list[str]:
    """The names that a pattern stands for, each once, in order; a number has as many digits as the longer end of a
    range with leading zeros. Raises ConfigError if there are more than MAX_NAMES."""
    names = dict.fromkeys([uri])
    while any(map(has_choices, names)):
        longer = dict[str, None]()
        for name in names:
            for each in _one_expanded(name):
                longer[each] = None
                if len(longer) > MAX_NAMES:
                    raise ConfigError(f"input.uri: {uri} stands for more than {MAX_NAMES:,} names")
        names = longer
    return list(names)


def _one_expanded(name: str) -> Iterator[str]:
    """The names that the first choice of a name makes."""
    found = _CHOICE.search(name)
    if found is None:
        yield name
        return
    first, last, step, choices = found.groups()
    for each in choices.split(",") if choices else _numbers(first, last, int(step or 1) or 1):
        yield f"{name[: found.start()]}{each}{name[found.end() :]}"


def _numbers(first: str, last: str, step: int) -> Iterator[str]:
    is_padded = any(len(each) > 1 and each.startswith("0") for each in (first, last))
    width = max(len(first), len(last)) if is_padded else 0
    start, end = int(first), int(last)
    numbers = range(start, end + 1, step) if start <= end else range(start, end - 1, -step)
    return (f"{number:0{width}d}" for number in numbers)
