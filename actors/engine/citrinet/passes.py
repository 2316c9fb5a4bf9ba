"""The passes before and after a product in int8 (`int8`), compiled by numba (`compiler`).

Rows are bfloat16, which numba does not know: they are the upper 16 bits of float32, as uint16. Values of a row depend
on nothing but that row, and all arithmetic is in float32, in an order of its own: the same bits in any batch.
"""

from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from actors.compiler import Compiler

_compiled = Compiler([Path(__file__)]).compiled

#: What a row's largest value counts as at least: the reciprocal of a subnormal number is infinite.
LEAST = np.float32(2.0**-100)
#: 1.5 * 2 ** 23: float32 of that size are whole numbers, so adding it rounds, to even, into the lowest bits.
_ROUNDS = np.float32(12_582_912)
_STEPS, _ZERO, _NOTHING = np.float32(127), np.uint32(128), np.float32(0)
_HALF, _ONE, _SIXTEEN, _NO_SIGN = np.uint32(0x7FFF), np.uint32(1), np.uint32(16), np.uint16(0x7FFF)


class Scaled(NamedTuple):
    """A product in float32 (rows, channels) as it comes from levels: to be multiplied by the scale of its row, plus the
    bias of its channel."""

    values: NDArray[np.float32]
    scales: NDArray[np.float32]
    bias: NDArray[np.float32]


@_compiled
def _widened(bits):
    """bfloat16 to float32."""
    return np.uint32(np.uint32(bits) << _SIXTEEN).view(np.float32)


@_compiled
def _narrowed(value):
    """float32 to bfloat16, to even."""
    bits = np.float32(value).view(np.uint32)
    return np.uint16((bits + _HALF + ((bits >> _SIXTEEN) & _ONE)) >> _SIXTEEN)


@_compiled
def quantise(rows, levels, scales):
    """Rows as whole numbers times a scale each: row = (levels - 128) * scale, levels from 1 to 255."""
    for each in range(len(rows)):
        row, own = rows[each], levels[each]
        largest = np.uint16(0)
        for channel in range(len(row)):
            largest = max(largest, np.uint16(row[channel] & _NO_SIGN))
        most = max(_widened(largest), LEAST)
        scales[each] = most / _STEPS
        inverse = _STEPS / most
        for channel in range(len(row)):
            rounded = np.float32(_widened(row[channel]) * inverse + _ROUNDS)
            own[channel] = np.uint8(rounded.view(np.uint32) ^ _ZERO)  # the low byte, 128 more modulo 256


@_compiled
def finish(product, factors, other, recording, y):
    """y = ReLU(product * factors of the recording + other product), without what is None; zero in rows of gaps."""
    for each in range(len(y)):
        own, number = y[each], recording[each]
        if number < 0:
            own[:] = 0
            continue
        row, scale, bias = product.values[each], product.scales[each], product.bias
        if factors is not None:
            factor = factors[number]
        if other is not None:
            added, added_scale, added_bias = other.values[each], other.scales[each], other.bias
        for channel in range(len(own)):
            value = row[channel] * scale + bias[channel]
            if factors is not None:
                value *= factor[channel]
            if other is not None:
                value += added[channel] * added_scale + added_bias[channel]
            own[channel] = _narrowed(max(value, _NOTHING))
