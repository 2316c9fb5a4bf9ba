"""The products of `kernels`, whose rules hold here too: the pointwise convolutions, and the two of a gate.

Float32 is multiplied as PRECISION says (`tiles.float32_products`), and everything is summed in float32.
"""

import triton
import triton.language as tl


@triton.jit
def pointwise(
    x, weight, bias, count, y,
    INNER: tl.constexpr, OUTER: tl.constexpr, RELU: tl.constexpr, PRECISION: tl.constexpr, PROGRAMS: tl.constexpr,
    BLOCK_ROWS: tl.constexpr, BLOCK_OUT: tl.constexpr, BLOCK_IN: tl.constexpr,
):  # fmt: skip
    """y = ReLU(x weight^T + bias); x, weight and y are tensor descriptors, ReLU is optional.

    PROGRAMS programs share the tiles, so that a program loads its next tile while it stores one; that is stored in two
    halves, or its shared memory would leave no room for loads ahead. Tiles of the same rows are neighbours, so that
    they find x in the cache.
    """
    tiles_out: tl.constexpr = (OUTER + BLOCK_OUT - 1) // BLOCK_OUT
    HALF: tl.constexpr = BLOCK_OUT // 2
    tiles = tl.cdiv(tl.load(count), BLOCK_ROWS) * tiles_out
    for tile in tl.range(tl.program_id(0), tiles, PROGRAMS, flatten=True):
        row = (tile // tiles_out) * BLOCK_ROWS
        column = (tile % tiles_out) * BLOCK_OUT
        total = tl.zeros((BLOCK_ROWS, BLOCK_OUT), tl.float32)
        for k in range(0, INNER, BLOCK_IN):
            total = tl.dot(x.load([row, k]), weight.load([column, k]).T, total, input_precision=PRECISION)
        left, right = tl.split(tl.permute(tl.reshape(total, (BLOCK_ROWS, 2, HALF)), (0, 2, 1)))
        columns = column + tl.arange(0, HALF)
        left += tl.load(bias + columns, mask=columns < OUTER, other=0.0)[None, :]
        if RELU:
            left = tl.maximum(left, 0.0)
        y.store([row, column], left.to(y.dtype))
        columns += HALF
        right += tl.load(bias + columns, mask=columns < OUTER, other=0.0)[None, :]
        if RELU:
            right = tl.maximum(right, 0.0)
        y.store([row, column + HALF], right.to(y.dtype))


@triton.jit
def closing(
    x, weight, bias, entered, residual, residual_bias, factors, recording, count, y,
    INNER: tl.constexpr, OUTER: tl.constexpr, ENTERED: tl.constexpr, GATED: tl.constexpr, RELU: tl.constexpr,
    PRECISION: tl.constexpr, BLOCK_ROWS: tl.constexpr, BLOCK_OUT: tl.constexpr, BLOCK_IN: tl.constexpr,
):  # fmt: skip
    """y = ReLU((x weight^T + bias) * factors[recording] + entered residual^T + residual_bias).

    x, weight, entered, residual and y are tensor descriptors. Gate, residual (ENTERED = 0: none) and ReLU are
    optional. A tile has rows of one to three recordings, as a rule: the gate goes from one to the next, for a factor
    per row would not fit the registers.
    """
    tiles_out: tl.constexpr = (OUTER + BLOCK_OUT - 1) // BLOCK_OUT
    row = (tl.program_id(0) // tiles_out) * BLOCK_ROWS
    column = (tl.program_id(0) % tiles_out) * BLOCK_OUT
    ends = tl.load(count)
    if row >= ends:
        return
    columns = column + tl.arange(0, BLOCK_OUT)
    inside = columns < OUTER
    total = tl.zeros((BLOCK_ROWS, BLOCK_OUT), tl.float32)
    for k in range(0, INNER, BLOCK_IN):
        total = tl.dot(x.load([row, k]), weight.load([column, k]).T, total, input_precision=PRECISION)
    total += tl.load(bias + columns, mask=inside, other=0.0)[None, :]
    if GATED:
        rows = row + tl.arange(0, BLOCK_ROWS)
        of = tl.load(recording + rows, mask=rows < ends, other=-1)
        last = tl.max(of, axis=0)
        for one in tl.range(tl.min(tl.where(of < 0, last, of), axis=0), last + 1, num_stages=1):
            factor = tl.load(factors + one * OUTER + columns, mask=inside & (one >= 0), other=0.0)
            total = tl.where((of == one)[:, None], total * factor[None, :], total)
    if ENTERED > 0:
        for k in range(0, ENTERED, BLOCK_IN):
            total = tl.dot(entered.load([row, k]), residual.load([column, k]).T, total, input_precision=PRECISION)
        total += tl.load(residual_bias + columns, mask=inside, other=0.0)[None, :]
    if RELU:
        total = tl.maximum(total, 0.0)
    y.store([row, column], total.to(y.dtype))


@triton.jit
def affine(
    x, weight, bias, count, y, INNER: tl.constexpr, OUTER: tl.constexpr, SIGMOID: tl.constexpr,
    PRECISION: tl.constexpr, BLOCK_ROWS: tl.constexpr, BLOCK_OUT: tl.constexpr, BLOCK_IN: tl.constexpr,
):  # fmt: skip
    """y = ReLU(x weight^T + bias), or the sigmoid of that sum, in float32: of a row per recording, so of few rows."""
    rows = tl.program_id(0) * BLOCK_ROWS + tl.arange(0, BLOCK_ROWS)
    ends = tl.load(count)
    if tl.program_id(0) * BLOCK_ROWS >= ends:
        return
    columns, known = tl.program_id(1) * BLOCK_OUT + tl.arange(0, BLOCK_OUT), (rows < ends)[:, None]
    inside = columns < OUTER
    total = tl.zeros((BLOCK_ROWS, BLOCK_OUT), tl.float32)
    for k in range(0, INNER, BLOCK_IN):
        at = k + tl.arange(0, BLOCK_IN)
        there = at < INNER
        value = tl.load(x + rows[:, None] * INNER + at[None, :], mask=known & there[None, :], other=0.0)
        factor = tl.load(
            weight + columns[:, None] * INNER + at[None, :], mask=inside[:, None] & there[None, :], other=0.0
        )
        total = tl.dot(value, factor.T, total, input_precision=PRECISION)
    total += tl.load(bias + columns, mask=inside, other=0.0)[None, :]
    total = tl.sigmoid(total) if SIGMOID else tl.maximum(total, 0.0)
    tl.store(y + rows[:, None] * OUTER + columns[None, :], total, mask=known & inside[None, :])
