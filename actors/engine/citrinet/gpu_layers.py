"""The layers of a Citrinet on a GPU: they launch `kernels`, each of which has a twin in `cpu_layers`.

They take a level (`levels`) as packing. Weights are copied to the device once. All results have the maximum number of
rows of the level.
"""

from __future__ import annotations

import torch
from triton import cdiv, next_power_of_2

from actors.engine.citrinet import kernels, product_kernels
from actors.engine.citrinet.candidates import CandidateTable
from actors.engine.citrinet.configuration import FeaturesConfig
from actors.engine.citrinet.gpu_products import Product
from actors.engine.citrinet.layers import (
    STD_GUARD,
    Affine,
    ClosingOperation,
    Operation,
    SoundOperation,
    fold_squeeze,
    unit_of,
)
from actors.engine.citrinet.levels import Level
from actors.engine.citrinet.tiles import Choice, choice_for, float32_products
from actors.engine.interface import CODES_PER_NAT, THRESHOLD

FFT_ROWS = 65_536  # frames per Fourier transform: 270 MB
#: Rows of a program of `depthwise_slid`, and the most rows and taps that a thread holds without spilling registers.
SLID_ROWS, MAX_HELD = 16, 57


class GpuLayers:
    """`Layers` on a GPU, of levels. `choice` overrides the card's own."""

    def __init__(self, device: torch.device, dtype: torch.dtype, choice: Choice | None = None) -> None:
        self.device, self.dtype, self.choice = device, dtype, choice or choice_for(device, dtype)
        self._precision = float32_products(device)

    def log_mel(self, config: FeaturesConfig, window: torch.Tensor, filters: torch.Tensor) -> SoundOperation[Level]:
        """A fixed number of rows at a time, so that one FFT plan serves all sizes: another might round otherwise."""
        size, (mels, bins) = len(window), filters.shape
        own_window, own_filters = window.to(self.device), filters.to(self.device).contiguous()
        rows = FFT_ROWS if self.device.type == "cuda" else 64  # in the interpreter a row costs time

        def log_mel(sound: torch.Tensor, ends: torch.Tensor, level: Level) -> torch.Tensor:
            log = torch.empty(len(level.recording), mels, device=sound.device)
            windowed = torch.empty(rows, size, device=sound.device)
            for first in range(0, (len(sound) - size) // config["hop"], rows):
                kernels.frames[(cdiv(rows, 4),)](
                    sound,
                    own_window,
                    ends,
                    level.recording,
                    level.rows,
                    first,
                    windowed,
                    UNIT=unit_of(sound),
                    HOP=config["hop"],
                    EMPHASIS=config["preemphasis"] or 0.0,
                    SIZE=size,
                    BLOCK_ROWS=4,
                )
                kernels.log_mel[(cdiv(rows, 32),)](
                    torch.view_as_real(torch.fft.rfft(windowed)),  # without a name, which would keep it beside the next
                    own_filters,
                    level.rows,
                    first,
                    log,
                    GUARD=float(config["guard"]),
                    CLAMPS=config["guard_type"] == "clamp",
                    POWER=float(config["power"]),
                    BINS=bins,
                    MELS=mels,
                    PRECISION=self._precision,
                    BLOCK_ROWS=32,
                    BLOCK_BINS=32,
                    BLOCK_MELS=next_power_of_2(mels),
                )
            return log

        return log_mel

    def normalise(self, log: torch.Tensor, level: Level) -> torch.Tensor:
        rows, mels = log.shape
        features = torch.empty(rows, mels, device=log.device, dtype=self.dtype)
        kernels.normalise[(len(level.starts),)](
            log,
            level.starts,
            level.lengths,
            level.recordings,
            features,
            GUARD=STD_GUARD,
            CHANNELS=mels,
            BLOCK_ROWS=32,
            BLOCK_CHANNELS=next_power_of_2(mels),
        )
        return features

    def depthwise(self, weight: torch.Tensor, stride: int, dilation: int) -> Operation[Level]:
        taps = weight.squeeze(1).T.to(self.device, self.dtype, copy=True).contiguous()  # (kernel, channels)
        (kernel, channels), is_strided = taps.shape, stride > 1
        held = SLID_ROWS + (kernel - 1) * dilation + kernel
        if self.choice.slides and not is_strided and held <= MAX_HELD:
            return self._slid(taps, dilation)
        block_rows, block_channels = 32, min(next_power_of_2(channels), 128)

        def convolve(x: torch.Tensor, level: Level) -> torch.Tensor:
            rows = len(level.recording)
            y = torch.empty(rows, channels, device=x.device, dtype=x.dtype)
            before = level.finer if is_strided and level.finer else level
            kernels.depthwise[(cdiv(rows, block_rows), cdiv(channels, block_channels))](
                x,
                taps,
                y,
                level.source,
                before.recording,
                before.rows,
                level.rows,
                CHANNELS=channels,
                KERNEL=kernel,
                DILATION=dilation,
                STRIDED=is_strided,
                BLOCK_ROWS=block_rows,
                BLOCK_CHANNELS=block_channels,
                num_warps=8,
            )
            return y

        return convolve

    def _slid(self, taps: torch.Tensor, dilation: int) -> Operation[Level]:
        kernel, channels = taps.shape
        block = min(max(next_power_of_2(channels), 128), 512)  # four channels of a thread

        def convolve(x: torch.Tensor, level: Level) -> torch.Tensor:
            rows = len(level.recording)
            y = torch.empty(rows, channels, device=x.device, dtype=x.dtype)
            kernels.depthwise_slid[(cdiv(rows, SLID_ROWS), cdiv(channels, block))](
                x,
                taps,
                y,
                level.recording,
                level.rows,
                CHANNELS=channels,
                KERNEL=kernel,
                DILATION=dilation,
                BLOCK_ROWS=SLID_ROWS,
                BLOCK_CHANNELS=block,
                num_warps=block // 128,
            )
            return y

        return convolve

    def pointwise(self, affine: Affine) -> Operation[Level]:
        product = self._product(affine)
        return lambda x, level: product.rectified(x, level)

    def gate(self, down: torch.Tensor, up: torch.Tensor, affine: Affine) -> Operation[Level]:
        (squeeze, shift), excite = (each.to(self.device) for each in fold_squeeze(down, affine)), up.float()
        excite, unmoved = excite.to(self.device, copy=True), torch.zeros(len(up), device=self.device)
        channels, block_channels = squeeze.shape[1], 64

        def factors(x: torch.Tensor, level: Level) -> torch.Tensor:
            max_recordings = len(level.starts)
            means = torch.empty(max_recordings, channels, device=x.device)
            kernels.means[(max_recordings, cdiv(channels, block_channels))](
                x,
                level.starts,
                level.lengths,
                level.recordings,
                means,
                CHANNELS=channels,
                BLOCK_ROWS=32,
                BLOCK_CHANNELS=block_channels,
            )
            squeezed = self._affine(means, squeeze, shift, level, is_sigmoid=False)
            return self._affine(squeezed, excite, unmoved, level, is_sigmoid=True)

        return factors

    def _affine(
        self, x: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor, level: Level, is_sigmoid: bool
    ) -> torch.Tensor:
        """A product of a row per recording, in float32."""
        (outer, inner), block_rows, block = weight.shape, 16, 32
        y = torch.empty(len(x), outer, device=x.device)
        product_kernels.affine[(cdiv(len(x), block_rows), cdiv(outer, block))](
            x,
            weight,
            bias,
            level.recordings,
            y,
            INNER=inner,
            OUTER=outer,
            SIGMOID=is_sigmoid,
            PRECISION=self._precision,
            BLOCK_ROWS=block_rows,
            BLOCK_OUT=block,
            BLOCK_IN=64,
        )
        return y

    def closing(self, affine: Affine, residual: Affine | None) -> ClosingOperation[Level]:
        """One launch, rounded once."""
        product, other = self._product(affine), None if residual is None else self._product(residual)
        return lambda x, level, factors, entered: product.close(x, level, x.dtype, True, factors, other, entered)

    def subsample(self, x: torch.Tensor, level: Level) -> torch.Tensor:
        return x.index_select(0, level.source)

    @property
    def head_products(self) -> int:
        """Products that the head takes.

        For bfloat16 rows, bfloat16 products are precise enough: a weight is the sum of two, its rounded value and the
        remainder, which hold 16 of its 24 bits, and sums are always float32.
        """
        return 1 if self.dtype == torch.float32 else 2

    def head(self, affine: Affine) -> Operation[Level]:
        product, remainder = self._product(affine), None
        if self.head_products > 1:
            lost = affine.weight.float() - affine.weight.to(self.dtype).float()
            remainder = self._product(Affine(lost, torch.zeros(len(affine.bias))))
        return lambda x, level: product.close(x, level, torch.float32, False, None, remainder, x)

    def best(self, logits: torch.Tensor, level: Level) -> tuple[torch.Tensor, torch.Tensor]:
        rows, classes = logits.shape
        ids = torch.empty(rows, device=logits.device, dtype=torch.int32)
        probabilities = torch.empty(rows, device=logits.device)
        kernels.best[(rows,)](
            logits, logits.stride(0), level.rows, ids, probabilities, CLASSES=classes, BLOCK=next_power_of_2(classes)
        )
        return ids, probabilities

    def candidates(self, logits: torch.Tensor, level: Level, most: int) -> CandidateTable:
        """The candidates of each row, at most `most`. Its twin is `list_candidates`."""
        rows, classes = logits.shape
        table = CandidateTable.of_size(rows, most, logits.device)
        kernels.candidates[(rows,)](
            logits,
            logits.stride(0),
            level.rows,
            *table,
            CLASSES=classes,
            MOST=most,
            THRESHOLD=THRESHOLD,
            PER_NAT=CODES_PER_NAT,
            BLOCK=next_power_of_2(classes),
            num_warps=8,
        )
        return table

    def _product(self, affine: Affine) -> Product:
        return Product(affine, self.device, self.dtype, self.choice, self._precision)
