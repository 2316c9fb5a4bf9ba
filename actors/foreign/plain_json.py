"""Strict JSON on one line, and bounded reading of untrusted JSON.

Python's own json reads and writes more than the format allows (NaN, lone surrogates), and raises a RecursionError or
another ValueError for deep nesting or too many digits.

Format: https://www.rfc-editor.org/rfc/rfc8259.
"""

import base64
import json
from collections.abc import Callable, Mapping
from datetime import date, time
from numbers import Integral, Real
from typing import NoReturn

from actors.foreign.errors import InvalidData
from actors.foreign.escape import control_characters, escape_surrogates

MAX_DEPTH = 100  # of nested arrays and objects; MySQL reads no more
MAX_DIGITS = 308  # of an integer: one with more overflows in readers that use 64-bit floats
_INT_LIMIT = 10**MAX_DIGITS


class InvalidJson(InvalidData):
    """A text is not JSON, or exceeds the limits of nesting or digits."""


def parse_json(text: str, is_strict: bool = False) -> object:
    """Parses JSON. Raises InvalidJson, and nothing else.

    NaN and Infinity, which Python writes, are accepted unless `is_strict`; of a repeated key the last value counts.
    """
    try:
        value: object = (_STRICT if is_strict else _DECODER).decode(text)
    except RecursionError:
        _raise_too_deep()
    except InvalidJson:
        raise
    except ValueError as problem:
        raise InvalidJson(f"it is not JSON: {problem}") from None
    level = [value]
    for _ in range(MAX_DEPTH + 1):
        level = [inner for each in level for inner in _children(each)]
        if not level:
            return value
    return _raise_too_deep()


def parse_object(data: bytes | str) -> dict[str, object]:
    """Parses a file of the job's own that holds a JSON object. Raises InvalidData if it holds anything else."""
    try:
        text = data if isinstance(data, str) else data.decode()
    except UnicodeDecodeError as problem:
        raise InvalidJson(f"it is not JSON: {problem}") from None
    value = parse_json(text, is_strict=True)
    if not isinstance(value, dict):
        raise InvalidData("it is not a JSON object")
    return value


def to_json(value: object, text: Callable[[str], str] = str, is_ascii: bool = False) -> str:
    r"""Any value as JSON on one line; `text` is applied to every string in it first.

    Numbers that JSON readers cannot represent, such as NaN, become null, bytes base64, dates ISO 8601, and values of
    other types their `str`. Lone surrogates become escapes in the text, `\udcb0`. Values nested deeper than MAX_DEPTH
    become "…". Line ends and control characters are written as JSON's escapes.
    """
    line = json.dumps(_to_plain(value, text, MAX_DEPTH), ensure_ascii=is_ascii, allow_nan=False)
    return line.translate({ord(char): json.dumps(char)[1:-1] for char in control_characters(line)})


def _parse_int(digits: str) -> int:
    if len(digits.lstrip("-")) > MAX_DIGITS:
        raise InvalidJson(f"it has a number of {len(digits)} digits")
    return int(digits)


def _refuse_constant(name: str) -> NoReturn:
    raise InvalidJson(f"it is not JSON: {name} is not a number in JSON")


_DECODER = json.JSONDecoder(parse_int=_parse_int)  # made once: json.loads makes one per call
_STRICT = json.JSONDecoder(parse_int=_parse_int, parse_constant=_refuse_constant)


def _raise_too_deep() -> NoReturn:
    raise InvalidJson(f"it has arrays or objects that are nested more than {MAX_DEPTH} deep") from None


def _children(value: object) -> list[object]:
    if isinstance(value, dict):
        return list(value.values())
    return value if isinstance(value, list) else []


def _to_plain(value: object, text: Callable[[str], str], depth: int) -> object:
    """A value converted to JSON's types, nested at most `depth` levels."""
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, str):
        return escape_surrogates(text(str(value)))
    if isinstance(value, Integral):
        return int(value) if abs(int(value)) < _INT_LIMIT else None
    if isinstance(value, Real):
        number = float(value)
        return number if abs(number) < float("inf") else None
    if isinstance(value, (bytes, bytearray, memoryview)):
        return base64.b64encode(value).decode()
    if isinstance(value, (date, time)):
        return value.isoformat()
    if not isinstance(value, (Mapping, list, tuple, set, frozenset)):
        return escape_surrogates(text(str(value)))
    if depth == 0:
        return "…"
    if isinstance(value, Mapping):
        return {escape_surrogates(text(str(name))): _to_plain(inner, text, depth - 1) for name, inner in value.items()}
    return [_to_plain(inner, text, depth - 1) for inner in value]
