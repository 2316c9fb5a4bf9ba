"""The operations of a Citrinet on a GPU: `kernels` behind the interface of their twins in `layers`.

They take a level (`levels`) as packing. Weights are prepared once. All results have the maximum number of rows of the
level.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from triton import cdiv, next_power_of_2
from triton.tools.tensor_descriptor import TensorDescriptor

from actors.engine.citrinet import kernels
from actors.engine.citrinet.layers import STD_GUARD, fold_squeeze
from actors.engine.citrinet.levels import Level
from actors.engine.citrinet.tiles import Tile, tile_for
from actors.schema import UsageError

ALIGNED = 8  # channels: rows start at multiples of 16 bytes, as the tensor memory accelerator requires
FFT_ROWS = 65_536  # frames per Fourier transform: 270 MB


class Pointwise:
    """A convolution of kernel size 1; rows of gaps become zero. `tile` overrides the default tile."""

    def __init__(
        self,
        weight: torch.Tensor,
        bias: torch.Tensor,
        device: torch.device,
        dtype: torch.dtype,
        tile: Tile | None = None,
    ) -> None:
        if weight.shape[1] % ALIGNED:
            raise UsageError(
                f"a layer of {weight.shape[1]} channels: on a GPU the fused engine needs a multiple of {ALIGNED};"
                " model.engine=nemo may run it"
            )
        self.weight = weight.to(device, dtype, copy=True).contiguous()
        self.bias = bias.to(device, torch.float32, copy=True)
        self._tile = tile or tile_for(device, dtype)

    def __call__(self, x: torch.Tensor, level: Level, relu: bool = True) -> torch.Tensor:
        return self.launch(x, level, x.dtype, relu)

    def combine(
        self,
        x: torch.Tensor,
        level: Level,
        factors: torch.Tensor | None,
        residual: Pointwise | None,
        residual_input: torch.Tensor | None,
    ) -> torch.Tensor:
        """ReLU(self(x) * the recording's factors + residual(residual_input)), rounded once."""
        return self.launch(x, level, x.dtype, True, factors, residual, residual_input)

    def launch(
        self,
        x: torch.Tensor,
        level: Level,
        dtype: torch.dtype,
        relu: bool,
        factors: torch.Tensor | None = None,
        residual: Pointwise | None = None,
        residual_input: torch.Tensor | None = None,
    ) -> torch.Tensor:
        """As `combine`; each part of it is optional."""
        tile, (out, inner) = self._tile, self.weight.shape
        rows = len(level.recording)
        y = torch.empty(rows, out + -out % ALIGNED, device=x.device, dtype=dtype)[:, :out]
        other = self if residual is None else residual  # every argument of a kernel is required
        second = x if residual_input is None else residual_input
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


class Head:
    """The last pointwise convolution, to logits in float32: the best of thousands is a close call.

    For bfloat16 rows, bfloat16 products are precise enough: a weight is the sum of two, its rounded value and the
    remainder, which hold 16 of its 24 bits, and sums are always float32.
    """

    def __init__(self, weight: torch.Tensor, bias: torch.Tensor, device: torch.device, dtype: torch.dtype) -> None:
        self._pointwise = Pointwise(weight, bias, device, dtype)
        self._remainder = None
        if dtype != torch.float32:
            remainder = weight.float() - weight.to(dtype).float()
            self._remainder = Pointwise(remainder, torch.zeros(len(bias)), device, dtype)

    def __call__(self, x: torch.Tensor, level: Level) -> torch.Tensor:
        return self._pointwise.launch(x, level, torch.float32, False, None, self._remainder, x)


class Depthwise:
    """A depthwise convolution along the rows, with zeros beyond the ends."""

    def __init__(
        self, weight: torch.Tensor, stride: int, dilation: int, device: torch.device, dtype: torch.dtype
    ) -> None:
        self._weight = weight.squeeze(1).T.to(device, dtype, copy=True).contiguous()  # (kernel, channels)
        self._strided, self._dilation = stride > 1, dilation

    def __call__(self, x: torch.Tensor, level: Level) -> torch.Tensor:
        rows, (kernel, channels) = len(level.recording), self._weight.shape
        block_rows, block_channels = 32, min(next_power_of_2(channels), 128)
        y = torch.empty(rows, channels, device=x.device, dtype=x.dtype)
        before = level.finer if self._strided and level.finer else level
        kernels.depthwise[(cdiv(rows, block_rows), cdiv(channels, block_channels))](
            x,
            self._weight,
            y,
            level.source,
            before.rows,
            level.rows,
            CHANNELS=channels,
            KERNEL=kernel,
            DILATION=self._dilation,
            STRIDED=self._strided,
            BLOCK_ROWS=block_rows,
            BLOCK_CHANNELS=block_channels,
            num_warps=8,
        )
        return y


class Gate:
    """Squeeze-and-excitation, folded as in `layers.Gate`."""

    def __init__(
        self, down: torch.Tensor, up: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor, device: torch.device
    ) -> None:
        self._down, self._shift = (each.to(device) for each in fold_squeeze(down, weight, bias))
        self._up = up.float().to(device, copy=True)

    def __call__(self, x: torch.Tensor, level: Level) -> torch.Tensor:
        """Factors (recordings, channels) in float32, for the convolution of x (rows, channels)."""
        (hidden, channels), outer = self._down.shape, len(self._up)
        max_recordings, block_recordings, block = len(level.starts), 16, 64
        means = torch.empty(max_recordings, channels, device=x.device)
        block_channels = min(next_power_of_2(channels), 128)
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
        factors = torch.empty(max_recordings, outer, device=x.device)
        kernels.factors[(cdiv(max_recordings, block_recordings), cdiv(outer, block))](
            means,
            self._down,
            self._shift,
            self._up,
            level.recordings,
            factors,
            CHANNELS=channels,
            HIDDEN=hidden,
            OUTER=outer,
            BLOCK_RECORDINGS=block_recordings,
            BLOCK_HIDDEN=max(next_power_of_2(hidden), 16),
            BLOCK=block,
            num_warps=8,
        )
        return factors


def subsample(x: torch.Tensor, level: Level) -> torch.Tensor:
    """Selects the rows of the finer level that the rows of `level` are centred on."""
    return x.index_select(0, level.source)


class LogMel:
    """Log-mel spectrum of packed sound, a fixed number of rows at a time, so that one FFT plan serves all sizes."""

    def __init__(
        self, config: Mapping[str, Any], window: torch.Tensor, filters: torch.Tensor, device: torch.device
    ) -> None:
        self._config, self._window = config, window.to(device)
        self._filters = filters.to(device).contiguous()
        self._max_rows = FFT_ROWS if device.type == "cuda" else 128  # in the interpreter a row costs time

    def __call__(self, sound: torch.Tensor, ends: torch.Tensor, level: Level) -> torch.Tensor:
        """(rows, mels) in float32, as `layers.LogMel`; `sound` may have room for more rows than it holds."""
        config, size, (mels, bins) = self._config, len(self._window), self._filters.shape
        log = torch.empty(len(level.recording), mels, device=sound.device)
        rows = min(self._max_rows, len(log) + -len(log) % 32)  # whole blocks of both kernels
        windowed = torch.empty(rows, size, device=sound.device)
        for first in range(0, (len(sound) - size) // config["hop"], rows):
            kernels.frames[(cdiv(rows, 4),)](
                sound,
                self._window,
                ends,
                level.recording,
                level.rows,
                first,
                windowed,
                HOP=config["hop"],
                EMPHASIS=config["preemphasis"] or 0.0,
                SIZE=size,
                BLOCK_ROWS=4,
            )
            spectrum = torch.view_as_real(torch.fft.rfft(windowed))
            kernels.log_mel[(cdiv(rows, 32),)](
                spectrum,
                self._filters,
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


def normalise(log: torch.Tensor, level: Level, dtype: torch.dtype) -> torch.Tensor:
    """Features (rows, mels) with mean 0 and deviation 1 of each over each recording; zero in gaps."""
    rows, mels = log.shape
    features = torch.zeros(rows, mels, device=log.device, dtype=dtype)
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


def best(logits: torch.Tensor, level: Level) -> tuple[torch.Tensor, torch.Tensor]:
    """The best class of each row and its probability, both (rows,)."""
    rows, classes = logits.shape
    ids = torch.empty(rows, device=logits.device, dtype=torch.int32)
    probabilities = torch.empty(rows, device=logits.device)
    kernels.best[(rows,)](
        logits, logits.stride(0), level.rows, ids, probabilities, CLASSES=classes, BLOCK=next_power_of_2(classes)
    )
    return ids, probabilities
