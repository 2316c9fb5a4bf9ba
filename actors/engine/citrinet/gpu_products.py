"""Products of a Citrinet on a GPU: they launch `product_kernels`. Weights are copied to the device once."""

from __future__ import annotations

import torch
from triton import cdiv
from triton.tools.tensor_descriptor import TensorDescriptor

from actors.engine.citrinet import product_kernels
from actors.engine.citrinet.layers import Affine
from actors.engine.citrinet.levels import Level
from actors.engine.citrinet.tiles import Choice, multiprocessors_of
from actors.schema import UsageError

ALIGNED = 8  # channels: rows start at multiples of 16 bytes, as the tensor memory accelerator requires


class Product:
    """Rows (rows, in) times a weight (out, in), plus a bias."""

    def __init__(
        self, affine: Affine, device: torch.device, dtype: torch.dtype, choice: Choice, precision: str
    ) -> None:
        channels = affine.weight.shape[1]
        if channels % ALIGNED:
            raise UsageError(
                f"a layer of {channels} channels: on a GPU the fused engine needs a multiple of {ALIGNED};"
                " model.engine=nemo may run it"
            )
        self.weight = affine.weight.to(device, dtype, copy=True).contiguous()
        self.bias = affine.bias.to(device, torch.float32, copy=True)
        self._choice, self._precision = choice, precision
        self._programs = multiprocessors_of(device)

    def rectified(self, x: torch.Tensor, level: Level) -> torch.Tensor:
        """ReLU(self(x))."""
        if not self._choice.shares:
            return self.close(x, level, x.dtype, relu=True)
        tile, (out, inner) = self._choice.plain, self.weight.shape
        y = _rows(level, out, x.device, x.dtype)
        product_kernels.pointwise[(self._programs,)](
            TensorDescriptor.from_tensor(x, [tile.rows, tile.inner]),
            TensorDescriptor.from_tensor(self.weight, [tile.out, tile.inner]),
            self.bias,
            level.rows,
            TensorDescriptor.from_tensor(y, [tile.rows, tile.out // 2]),
            INNER=inner,
            OUTER=out,
            RELU=True,
            PRECISION=self._precision,
            PROGRAMS=self._programs,
            BLOCK_ROWS=tile.rows,
            BLOCK_OUT=tile.out,
            BLOCK_IN=tile.inner,
            num_warps=tile.warps,
            num_stages=tile.stages,
        )
        return y

    def close(
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
        is_plain = factors is None and residual is None
        tile, (out, inner) = self._choice.plain if is_plain else self._choice.closing, self.weight.shape
        y = _rows(level, out, x.device, dtype)
        other = self if residual is None else residual  # every argument of a kernel is required
        second = x if entered is None else entered
        product_kernels.closing[(cdiv(len(y), tile.rows) * cdiv(out, tile.out),)](
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
            PRECISION=self._precision,
            BLOCK_ROWS=tile.rows,
            BLOCK_OUT=tile.out,
            BLOCK_IN=tile.inner,
            num_warps=tile.warps,
            num_stages=tile.stages,
        )
        return y


def _rows(level: Level, channels: int, device: torch.device, dtype: torch.dtype) -> torch.Tensor:
    """Rows of a level to be written (rows, channels), each aligned."""
    return torch.empty(len(level.recording), channels + -channels % ALIGNED, device=device, dtype=dtype)[:, :channels]
