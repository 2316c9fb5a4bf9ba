"""Untrusted values of Arrow arrays that Python cannot hold: what can be told of each, without losing its neighbours."""

import pyarrow as pa

from actors.foreign.errors import InvalidData, one_line
from actors.foreign.text import decode_text


def approximate(scalar: pa.Scalar, problem: Exception, problems: list[str]) -> object:
    """What can be told of a value whose conversion to Python raised `problem`.

    A date or time that Python cannot represent, such as one in the year 20,000, is the text of its number. Text in
    UTF-16 or GB 18030 is decoded. What remains is None, and `problems` says why.
    """
    kind = scalar.type
    if pa.types.is_string(kind) or pa.types.is_large_string(kind):
        try:
            if text := decode_text(scalar.as_buffer().to_pybytes()):
                return text
            problems.append("it is a byte order mark without text")
        except InvalidData as unknown:
            problems.append(str(unknown))
        return None
    if pa.types.is_struct(kind):
        return {kind.field(number).name: _value_of(scalar[number], problems) for number in range(kind.num_fields)}
    if isinstance(scalar, pa.ListScalar):  # maps among them, as lists of pairs
        return [_value_of(each, problems) for each in scalar.values]
    number = getattr(scalar, "value", None)
    if number is None:
        problems.append(one_line(problem))
    return None if number is None else str(number)


def _value_of(scalar: pa.Scalar, problems: list[str]) -> object:
    try:
        return scalar.as_py()
    except (MemoryError, pa.ArrowMemoryError):
        raise
    except Exception as problem:  # noqa: BLE001 - ValueError, OverflowError, ArrowException and others, by type
        return approximate(scalar, problem, problems)
