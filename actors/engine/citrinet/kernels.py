"""The Citrinet's operations as Triton kernels, over packed rows (`packing`); `gpu_layers` launches them.

Kernels are launched for a fixed number of programs, most of them for the maximum rows of a batch, and read the actual
number from the device: programs beyond it end at once, so that one CUDA graph serves batches of any size. No sum runs
across programs, and tiles are fixed: the result of a recording never depends on what it is packed with. Sums are
computed in float32.

Each has a twin in plain torch (`cpu_layers`), which runs on CPUs; tests compare the two under Triton's interpreter.
This file holds only kernels, since they are in Triton's language and not quite in Python.
"""

import triton
import triton.language as tl


@triton.jit
def frames(
    sound, window, ends, recording, count, first, y, UNIT: tl.constexpr, HOP: tl.constexpr, EMPHASIS: tl.constexpr,
    SIZE: tl.constexpr, BLOCK_ROWS: tl.constexpr,
):  # fmt: skip
    """The windowed frames of the rows from `first` on, with pre-emphasis up to the recording's end. UNIT is what the
    sample 1 stands for."""
    here = tl.program_id(0) * BLOCK_ROWS + tl.arange(0, BLOCK_ROWS)
    rows, samples = first + here, tl.arange(0, SIZE)
    of = tl.load(recording + rows, mask=rows < tl.load(count), other=-1)
    end = tl.load(ends + of, mask=of >= 0, other=0)
    at = rows[:, None].to(tl.int64) * HOP + samples[None, :]
    seen = at < end[:, None]
    now = tl.load(sound + at, mask=seen, other=0).to(tl.float32) * UNIT
    before = tl.load(sound + at - 1, mask=seen & (at > 0), other=0).to(tl.float32) * UNIT
    factor = tl.load(window + samples)
    tl.store(y + here[:, None] * SIZE + samples[None, :], (now - EMPHASIS * before) * factor[None, :])


@triton.jit
def log_mel(
    spectrum, filters, count, first, y, GUARD: tl.constexpr, CLAMPS: tl.constexpr, POWER: tl.constexpr,
    BINS: tl.constexpr, MELS: tl.constexpr, PRECISION: tl.constexpr,
    BLOCK_ROWS: tl.constexpr, BLOCK_BINS: tl.constexpr, BLOCK_MELS: tl.constexpr,
):  # fmt: skip
    """Row first + r of y = log(|spectrum[r]|^POWER filters^T), guarded; real and imaginary parts are neighbours."""
    here = tl.program_id(0) * BLOCK_ROWS + tl.arange(0, BLOCK_ROWS)
    rows, mels = first + here, tl.arange(0, BLOCK_MELS)
    known = rows < tl.load(count)
    total = tl.zeros((BLOCK_ROWS, BLOCK_MELS), tl.float32)
    for k in range(0, BINS, BLOCK_BINS):
        bins = k + tl.arange(0, BLOCK_BINS)
        seen = known[:, None] & (bins < BINS)[None, :]
        real = tl.load(spectrum + (here[:, None] * BINS + bins[None, :]) * 2, mask=seen, other=0.0)
        imaginary = tl.load(spectrum + (here[:, None] * BINS + bins[None, :]) * 2 + 1, mask=seen, other=0.0)
        power = real * real + imaginary * imaginary
        if POWER != 2.0:
            power = tl.exp2(tl.log2(power) * (POWER / 2))
        weights = tl.load(
            filters + mels[:, None] * BINS + bins[None, :],
            mask=(mels < MELS)[:, None] & (bins < BINS)[None, :],
            other=0.0,
        )
        total = tl.dot(power, weights.T, total, input_precision=PRECISION)
    total = tl.maximum(total, GUARD) if CLAMPS else total + GUARD
    tl.store(y + rows[:, None] * MELS + mels[None, :], tl.log(total), mask=known[:, None] & (mels < MELS)[None, :])


@triton.jit
def depthwise(
    x, weight, y, source, recording, rows_in, rows_out,
    CHANNELS: tl.constexpr, KERNEL: tl.constexpr, DILATION: tl.constexpr, STRIDED: tl.constexpr,
    BLOCK_ROWS: tl.constexpr, BLOCK_CHANNELS: tl.constexpr,
):  # fmt: skip
    """y[r] = sum over taps of weight[tap] * x[centre + (tap - half) * dilation], each channel by itself; centre is
    source[r] after a stride, else r. Rows of x that are of no recording count as zeros."""
    rows = tl.program_id(0) * BLOCK_ROWS + tl.arange(0, BLOCK_ROWS)
    ends = tl.load(rows_out)
    if tl.program_id(0) * BLOCK_ROWS >= ends:
        return
    channels = tl.program_id(1) * BLOCK_CHANNELS + tl.arange(0, BLOCK_CHANNELS)
    inside = channels < CHANNELS
    ends_in = tl.load(rows_in)
    centre = rows
    if STRIDED:
        centre = tl.load(source + rows, mask=rows < ends, other=0)
    total = tl.zeros((BLOCK_ROWS, BLOCK_CHANNELS), tl.float32)
    for tap in tl.static_range(KERNEL):
        at = centre + (tap - KERNEL // 2) * DILATION
        known = tl.load(recording + at, mask=(at >= 0) & (at < ends_in), other=-1) >= 0
        seen = known[:, None] & inside[None, :]
        value = tl.load(x + at[:, None] * CHANNELS + channels[None, :], mask=seen, other=0.0)
        factor = tl.load(weight + tap * CHANNELS + channels, mask=inside, other=0.0)
        total += value.to(tl.float32) * factor.to(tl.float32)[None, :]
    kept = (rows < ends)[:, None] & inside[None, :]
    tl.store(y + rows[:, None] * CHANNELS + channels[None, :], total.to(y.dtype.element_ty), mask=kept)


@triton.jit
def depthwise_slid(
    x, weight, y, recording, count, CHANNELS: tl.constexpr, KERNEL: tl.constexpr, DILATION: tl.constexpr,
    BLOCK_ROWS: tl.constexpr, BLOCK_CHANNELS: tl.constexpr,
):  # fmt: skip
    """`depthwise` without a stride, the same bits in less time: each thread slides along the rows of its channels, and
    loads and widens a row once for all taps."""
    first = tl.program_id(0) * BLOCK_ROWS
    ends = tl.load(count)
    if first >= ends:
        return
    channels = tl.program_id(1) * BLOCK_CHANNELS + tl.arange(0, BLOCK_CHANNELS)
    inside = channels < CHANNELS
    factors = ()
    for tap in tl.static_range(KERNEL):
        factor = tl.load(weight + tap * CHANNELS + channels, mask=inside, other=0.0)
        factors = factors + (factor.to(tl.float32),)  # noqa: RUF005 - Triton's language has no unpacking
    window = ()
    for row in tl.static_range(BLOCK_ROWS + (KERNEL - 1) * DILATION):
        at = first + row - (KERNEL // 2) * DILATION
        seen = (at >= 0) & (at < ends)
        known = tl.load(recording + at, mask=seen, other=-1) >= 0
        value = tl.load(x + at * CHANNELS + channels, mask=seen & inside, other=0.0)  # without waiting for `known`
        window = window + (tl.where(known, value.to(tl.float32), 0.0),)  # noqa: RUF005 - as above
    for row in tl.static_range(BLOCK_ROWS):
        total = tl.zeros((BLOCK_CHANNELS,), tl.float32)
        for tap in tl.static_range(KERNEL):
            total += window[row + tap * DILATION] * factors[tap]
        kept = (first + row < ends) & inside
        tl.store(y + (first + row) * CHANNELS + channels, total.to(y.dtype.element_ty), mask=kept)


@triton.jit
def sum_of_rows(x, start, length, channels, CHANNELS: tl.constexpr, BLOCK_ROWS: tl.constexpr):
    """The sum of `length` rows from `start` on, in an order that depends only on `length`."""
    total = tl.zeros((BLOCK_ROWS, channels.shape[0]), tl.float32)
    for first in range(0, length, BLOCK_ROWS):
        rows = first + tl.arange(0, BLOCK_ROWS)
        seen = (rows < length)[:, None] & (channels < CHANNELS)[None, :]
        value = tl.load(x + (start + rows)[:, None] * CHANNELS + channels[None, :], mask=seen, other=0.0)
        total += value.to(tl.float32)
    return tl.sum(total, axis=0)


@triton.jit
def means(
    x, starts, lengths, count, y,
    CHANNELS: tl.constexpr, BLOCK_ROWS: tl.constexpr, BLOCK_CHANNELS: tl.constexpr,
):  # fmt: skip
    """The mean of each recording's rows."""
    recording = tl.program_id(0)
    if recording >= tl.load(count):
        return
    channels = tl.program_id(1) * BLOCK_CHANNELS + tl.arange(0, BLOCK_CHANNELS)
    start, length = tl.load(starts + recording), tl.load(lengths + recording)
    mean = sum_of_rows(x, start, length, channels, CHANNELS, BLOCK_ROWS) / length
    tl.store(y + recording * CHANNELS + channels, mean, mask=channels < CHANNELS)


@triton.jit
def normalise(
    x, starts, lengths, count, y, GUARD: tl.constexpr,
    CHANNELS: tl.constexpr, BLOCK_ROWS: tl.constexpr, BLOCK_CHANNELS: tl.constexpr,
):  # fmt: skip
    """(x - mean) / (deviation + GUARD) over each recording's rows; the deviation is that of a sample (n - 1)."""
    recording = tl.program_id(0)
    if recording >= tl.load(count):
        return
    channels = tl.arange(0, BLOCK_CHANNELS)
    inside = channels < CHANNELS
    start, length = tl.load(starts + recording), tl.load(lengths + recording)
    mean = sum_of_rows(x, start, length, channels, CHANNELS, BLOCK_ROWS) / length
    squares = tl.zeros((BLOCK_CHANNELS,), tl.float32)
    for first in range(0, length, BLOCK_ROWS):
        rows = first + tl.arange(0, BLOCK_ROWS)
        seen = (rows < length)[:, None] & inside[None, :]
        value = tl.load(x + (start + rows)[:, None] * CHANNELS + channels[None, :], mask=seen, other=0.0)
        centred = tl.where(seen, value - mean[None, :], 0.0)
        squares += tl.sum(centred * centred, axis=0)
    scale = 1.0 / (tl.sqrt(squares / (length - 1)) + GUARD)
    for first in range(0, length, BLOCK_ROWS):
        rows = first + tl.arange(0, BLOCK_ROWS)
        seen = (rows < length)[:, None] & inside[None, :]
        at = (start + rows)[:, None] * CHANNELS + channels[None, :]
        value = tl.load(x + at, mask=seen, other=0.0)
        tl.store(y + at, ((value - mean[None, :]) * scale[None, :]).to(y.dtype.element_ty), mask=seen)


@triton.jit
def best(logits, stride, count, ids, probabilities, CLASSES: tl.constexpr, BLOCK: tl.constexpr):
    """The best class of each row of logits, `stride` apart, the lowest of equals, and its probability."""
    row = tl.program_id(0)
    if row >= tl.load(count):
        return
    classes = tl.arange(0, BLOCK)
    value = tl.load(logits + row.to(tl.int64) * stride + classes, mask=classes < CLASSES, other=float("-inf"))
    highest, which = tl.max(value, axis=0, return_indices=True, return_indices_tie_break_left=True)
    tl.store(ids + row, which)
    tl.store(probabilities + row, 1.0 / tl.sum(tl.exp(value - highest), axis=0))


@triton.jit
def log_prob_code(log_prob, PER_NAT: tl.constexpr):
    """The 16 bits of `interface.log_prob_codes`. Adding 2^23 rounds to whole numbers, halves to even."""
    steps = tl.minimum(tl.maximum(log_prob * -PER_NAT, 0.0), 65_535.0)
    return ((steps + 8_388_608.0) - 8_388_608.0).to(tl.int32).to(tl.int16)


@triton.jit
def candidates(
    logits, stride, count, counts, ids, codes, blanks,
    CLASSES: tl.constexpr, MOST: tl.constexpr, THRESHOLD: tl.constexpr, PER_NAT: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    """The candidates of each row of logits, `stride` apart: the likeliest token again and again, as long as it exceeds
    THRESHOLD, and the best class in any case. Most rows have one or two."""
    row = tl.program_id(0)
    if row >= tl.load(count):
        return
    classes, first = tl.arange(0, BLOCK), logits + row.to(tl.int64) * stride
    value = tl.load(first + classes, mask=classes < CLASSES, other=float("-inf"))
    highest = tl.max(value, axis=0)
    log_sum = highest + tl.log(tl.sum(tl.exp(value - highest), axis=0))
    blank = tl.load(first + (CLASSES - 1))
    tl.store(blanks + row, log_prob_code(blank - log_sum, PER_NAT))
    value = tl.where(classes < CLASSES - 1, value, float("-inf"))
    highest, which = tl.max(value, axis=0, return_indices=True, return_indices_tie_break_left=True)
    at, found = row.to(tl.int64) * MOST, 0
    while (found < MOST) & ((highest - log_sum > THRESHOLD) | ((found == 0) & (highest >= blank))):
        tl.store(ids + at + found, which.to(tl.int16))
        tl.store(codes + at + found, log_prob_code(highest - log_sum, PER_NAT))
        found += 1
        value = tl.where(classes == which, float("-inf"), value)
        highest, which = tl.max(value, axis=0, return_indices=True, return_indices_tie_break_left=True)
    tl.store(counts + row, found)
