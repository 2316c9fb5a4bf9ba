"""JSON that others can read: what is written is strict and stands on one line, what is read has bounds.

Python's own json reads and writes more than the format has (NaN, halves of surrogate pairs), and raises a
RecursionError or a ValueError of another kind for what is nested too deeply or has too many digits.

Format: https://www.rfc-editor.org/rfc/rfc8259.
"""

import base64
import json
from collections.abc import Callable, Mapping
from datetime import date, time
from numbers import Integral, Real
from typing import Any, NoReturn

from actors.foreign.errors import NotPlain
from actors.foreign.escape import printable, steering

MAX_DEPTH = 100  # of arrays and objects in each other; MySQL reads no more
MAX_DIGITS = 308  # of a whole number: with more it is none to those who read numbers as 64-bit floats
_LARGEST = 10**MAX_DIGITS


class NotJson(NotPlain):
    """A text is not JSON, or not JSON that others would read."""


def parse_json(text: str, is_strict: bool = False) -> Any:
    """What a JSON text says. Raises NotJson, and nothing else.

    NaN and Infinity, which Python writes, are read as such unless this `is_strict`; of a key that comes twice the last
    value counts.
    """
    try:
        value = (_STRICT if is_strict else _DECODER).decode(text)
    except RecursionError:
        _refuse_depth()
    except NotJson:
        raise
    except ValueError as problem:
        raise NotJson(f"it is not JSON: {problem}") from None
    level = [value]
    for _ in range(MAX_DEPTH + 1):
        level = [inner for each in level for inner in _inside(each)]
        if not level:
            return value
    return _refuse_depth()


def read_object(data: bytes | str) -> dict[str, Any]:
    """The JSON object that a file of the job's own holds. Raises NotPlain for whatever else it is."""
    try:
        text = data if isinstance(data, str) else data.decode()
    except UnicodeDecodeError as problem:
        raise NotJson(f"it is not JSON: {problem}") from None
    found = parse_json(text, is_strict=True)
    if not isinstance(found, dict):
        raise NotPlain("it is no JSON object")
    return found


def to_json(value: object, text: Callable[[str], str] = str, is_ascii: bool = False) -> str:
    r"""A value as JSON on one line, whatever it holds; `text` is applied to every string in it first.

    A number that is none to others, such as NaN, is null. Bytes are base64; dates are as ISO 8601 has them; what else
    JSON does not know is its text. Halves of surrogate pairs are escaped as text is, `\udcb0`. What is nested deeper
    than MAX_DEPTH is "…". No character in it ends a line or steers a terminal: those are written as JSON's escapes.
    """
    line = json.dumps(_plain(value, text, MAX_DEPTH), ensure_ascii=is_ascii, allow_nan=False)
    return line.translate({ord(char): json.dumps(char)[1:-1] for char in steering(line)})


def _whole_number(digits: str) -> int:
    if len(digits.lstrip("-")) > MAX_DIGITS:
        raise NotJson(f"it has a number of {len(digits)} digits")
    return int(digits)


def _refuse_constant(name: str) -> NoReturn:
    raise NotJson(f"it is not JSON: {name} is no number of JSON")


_DECODER = json.JSONDecoder(parse_int=_whole_number)  # once: json.loads makes one for each text
_STRICT = json.JSONDecoder(parse_int=_whole_number, parse_constant=_refuse_constant)


def _refuse_depth() -> NoReturn:
    raise NotJson(f"it has arrays or objects that are nested more than {MAX_DEPTH} deep") from None


def _inside(value: object) -> list[Any]:
    if isinstance(value, dict):
        return list(value.values())
    return value if isinstance(value, list) else []


def _plain(value: object, text: Callable[[str], str], depth: int) -> Any:
    """A value of the types that JSON has, and no more than `depth` of them in each other."""
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, str):
        return printable(text(str(value)))
    if isinstance(value, Integral):
        return int(value) if abs(int(value)) < _LARGEST else None
    if isinstance(value, Real):
        number = float(value)
        return number if abs(number) < float("inf") else None
    if isinstance(value, (bytes, bytearray, memoryview)):
        return base64.b64encode(value).decode()
    if isinstance(value, (date, time)):
        return value.isoformat()
    if not isinstance(value, (Mapping, list, tuple, set, frozenset)):
        return printable(text(str(value)))
    if depth == 0:
        return "…"
    if isinstance(value, Mapping):
        return {printable(text(str(name))): _plain(inner, text, depth - 1) for name, inner in value.items()}
    return [_plain(inner, text, depth - 1) for inner in value]
