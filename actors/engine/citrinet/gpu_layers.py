"""The layers of a Citrinet on a GPU: they launch `kernels`, each of which has a twin in `cpu_layers`.

They take a level (`levels`) as packing. Weights are copied to the device once. All results have the maximum number of
rows of the level.
"""

from __future__ import annotations

import torch
from triton import cdiv, next_power_of_2
from triton.tools.tensor_descriptor import TensorDescriptor

from actors.engine.citrinet import kernels
from actors.engine.citrinet.candidates import CandidateTable
from actors.engine.citrinet.configuration import FeaturesConfig
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
from actors.engine.citrinet.tiles import Tile, tile_for
from actors.engine.interface import CODES_PER_NAT, THRESHOLD
from actors.schema import UsageError

ALIGNED = 8  # channels: rows start at multiples of 16 bytes, as the tensor memory accelerator requires
FFT_ROWS = 65_536  # frames per Fourier transform: 270 MB


class GpuLayers:
    """`Layers` on a GPU, of levels. `tile` overrides the default tile of products."""

    def __init__(self, device: torch.device, dtype: torch.dtype, tile: Tile | None = None) -> None:
        self.device, self.dtype, self.tile = device, dtype, tile or tile_for(device, dtype)

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
                spectrum = torch.view_as_real(torch.fft.rfft(windowed))
                kernels.log_mel[(cdiv(rows, 32),)](
                    spectrum,
                    own_filters,
                    level.rows,
                    first,
                    log,
                    GUARD=float(config["guard"]),
                    CLAMPS=config["guard_type"] == "clamp",
                    POWER=float(config["power"]),
                    BINS=bins,
                    MELS=mels,
                    BLOCK_ROWS=32,
                    BLOCK_BINS=32,
                    BLOCK_MELS=next_power_of_2(mels),
                )
            return log

        return log_mel

    def normalise(self, log: torch.Tensor, level: Level) -> torch.Tensor:
        rows, mels = log.shape
        features = torch.zeros(rows, mels, device=log.device, dtype=self.dtype)
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

    def pointwise(self, affine: Affine) -> Operation[Level]:
        product = self._product(affine)
        return lambda x, level: product.launch(x, level, x.dtype, relu=True)

    def gate(self, down: torch.Tensor, up: torch.Tensor, affine: Affine) -> Operation[Level]:
        squeeze, shift = (each.to(self.device) for each in fold_squeeze(down, affine))
        excite = up.float().to(self.device, copy=True)
        (hidden, channels), outer = squeeze.shape, len(excite)
        block_channels, block_recordings, block = min(next_power_of_2(channels), 128), 16, 64

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
            y = torch.empty(max_recordings, outer, device=x.device)
            kernels.factors[(cdiv(max_recordings, block_recordings), cdiv(outer, block))](
                means,
                squeeze,
                shift,
                excite,
                level.recordings,
                y,
                CHANNELS=channels,
                HIDDEN=hidden,
                OUTER=outer,
                BLOCK_RECORDINGS=block_recordings,
                BLOCK_HIDDEN=max(next_power_of_2(hidden), 16),
                BLOCK=block,
                num_warps=8,
            )
            return y

        return factors

    def closing(self, affine: Affine, residual: Affine | None) -> ClosingOperation[Level]:
        """One launch, rounded once."""
        product, other = self._product(affine), None if residual is None else self._product(residual)
        return lambda x, level, factors, entered: product.launch(x, level, x.dtype, True, factors, other, entered)

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
        return lambda x, level: product.launch(x, level, torch.float32, False, None, remainder, x)

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
        return Product(affine, self.device, self.dtype, self.tile)


class Product:
    """Rows (rows, in) times a weight (out, in), plus a bias; zero in gaps."""

    def __init__(self, affine: Affine, device: torch.device, dtype: torch.dtype, tile: Tile) -> None:
        channels = affine.weight.shape[1]
        if channels % ALIGNED:
            raise UsageError(
                f"a layer of {channels} channels: on a GPU the fused engine needs a multiple of {ALIGNED};"
                " model.engine=nemo may run it"
            )
        self.weight = affine.weight.to(device, dtype, copy=True).contiguous()
        self.bias = affine.bias.to(device, torch.float32, copy=True)
        self._tile = tile

    def launch(
        self,
        x: torch.Tensor,
        level: Level,
        dtype: torch.dtype,
        relu: bool,
        factors: torch.Tensor | None = None,
        residual: Product | None = None,
        entered: torch.Tensor | None = None,
    ) -> torch.Tensor:
        """(self(x) * the recording's factors + residual(entered)) in `dtype`; each part of it is optional."""
        tile, (out, inner) = self._tile, self.weight.shape
        rows = len(level.recording)
        y = torch.empty(rows, out + -out % ALIGNED, device=x.device, dtype=dtype)[:, :out]
        other = self if residual is None else residual  # every argument of a kernel is required
        second = x if entered is None else entered
        kernels.pointwise[(cdiv(rows, tile.rows) * cdiv(out, tile.out),)](
            TensorDescriptor.from_tensor(x, [tile.rows, tile.inner]),
            TensorDescriptor.from_tensor(self.weight, [tile.out, tile.inner]),
            self.bias,
            TensorDescriptor.from_tensor(second, [tile.rows, tile.inner]),
            TensorDescriptor.from_tensor(other.weight, [tile.out, tile.inner]),
            other.bias,
            self.bias if factors is None else factors,
            level.recording,
            level.rows,
            TensorDescriptor.from_tensor(y, [tile.rows, tile.out]),
            INNER=inner,
            OUTER=out,
            ENTERED=0 if residual is None else other.weight.shape[1],
            GATED=factors is not None,
            RELU=relu,
            BLOCK_ROWS=tile.rows,
            BLOCK_OUT=tile.out,
            BLOCK_IN=tile.inner,
            num_warps=tile.warps,
            num_stages=tile.stages,
        )
        return y
