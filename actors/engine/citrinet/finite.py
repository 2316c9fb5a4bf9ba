"""Looks for weights that are no numbers, without torch."""

import io
from collections.abc import Iterable, Mapping

import numpy as np

from actors.engine.citrinet.records import TensorSpec

_BYTES = 1 << 24  # read at once


def find_not_finite(
    file: io.BufferedIOBase, tensors: Mapping[str, TensorSpec], starts: Mapping[str, int], names: Iterable[str]
) -> str | None:
    """The first of the named tensors of floating-point numbers with one that is infinite or not a number, or None."""
    for name in names:
        tensor = tensors[name]
        number = tensor.record.dtype
        kind = np.dtype("uint16" if number.name == "bfloat16" else number.name)
        file.seek(starts[tensor.record.key] + tensor.offset * number.itemsize)
        left = (tensor.end - tensor.offset) * number.itemsize if tensor.is_floating_point() else 0
        while left > 0:
            numbers = np.frombuffer(file.read(min(left, _BYTES)), kind)
            left -= numbers.nbytes
            if not numbers.size:
                return None  # cut off, which reading the weights tells
            # bfloat16 is infinite or no number where all 8 bits of its exponent are set.
            finite = (numbers & 0x7F80) != 0x7F80 if number.name == "bfloat16" else np.isfinite(numbers)
            if not finite.all():
                return name
    return None
