"""The layers of a Citrinet on CPUs that multiply int8: the products of its blocks, with a scale for each row.

A row is rounded to whole numbers from -127 to 127 times a scale of its own, its largest value through 127; so are the
weights of each output channel. Their products and sums are exact in 32 bits, so a recording's result depends neither on
its batch nor on the number of threads. Rows between products are bfloat16; features, gates and the head are float32.
"""

import numpy as np
import torch
from numpy.typing import NDArray

from actors.engine.citrinet import passes
from actors.engine.citrinet.cpu_layers import CpuLayers
from actors.engine.citrinet.layers import Affine, ClosingOperation, Operation
from actors.engine.citrinet.packing import Packing
from actors.engine.devices import cpu_has_bfloat16
from actors.schema import UsageError

#: The operations that torch's quantised models call on a CPU. They are private to torch, whose version is pinned.
_ONEDNN = torch.ops.onednn
_ZERO = 128  # the level of 0: levels are unsigned, as the instructions take them
_STEPS = 127.0
#: Channels of a row. Sums of more products, each at most 255 * 127, might not fit 32 bits.
MOST_CHANNELS = 2**31 // (255 * 127)

Levels = tuple[torch.Tensor, NDArray[np.float32]]  # (rows, channels) uint8, and the scale of each row


class Int8Layers(CpuLayers):
    """`Layers` on CPUs whose products are in int8. Everything between them is as in bfloat16, up to rounding."""

    def __init__(self) -> None:
        """Raises UsageError if this machine's products are not exact: without VNNI, the sums of two of them are cut off
        at 16 bits."""
        super().__init__(torch.bfloat16)
        check_exact()

    def depthwise(self, weight: torch.Tensor, stride: int, dilation: int) -> Operation[Packing]:
        """In float32 where the CPU does not multiply in bfloat16: oneDNN has nothing fast for that there. Weights, rows
        and results are bfloat16 all the same, so only the rounding of a sum may differ from other CPUs'."""
        if cpu_has_bfloat16():
            return super().depthwise(weight, stride, dilation)
        convolve = CpuLayers(torch.float32).depthwise(weight.bfloat16(), stride, dilation)
        return lambda x, packing: convolve(x.float(), packing).bfloat16()

    def pointwise(self, affine: Affine) -> Operation[Packing]:
        product = Int8Product(affine)
        return lambda x, packing: _finished(product(x), None, None, packing)

    def closing(self, affine: Affine, residual: Affine | None) -> ClosingOperation[Packing]:
        product, other = Int8Product(affine), None if residual is None else Int8Product(residual)

        def close(
            x: torch.Tensor, packing: Packing, factors: torch.Tensor | None, entered: torch.Tensor | None
        ) -> torch.Tensor:
            added = None if other is None or entered is None else other(entered)
            return _finished(product(x), None if factors is None else factors.numpy(), added, packing)

        return close


class Int8Product:
    """Rows (rows, in) times a weight (out, in)."""

    def __init__(self, affine: Affine) -> None:
        """Raises UsageError if a row has too many channels."""
        weight = affine.weight.float()
        if weight.shape[1] > MOST_CHANNELS:
            raise UsageError(
                f"model.precision: int8 takes at most {MOST_CHANNELS:,} channels, and the model has"
                f" {weight.shape[1]:,}; use bfloat16 or float32"
            )
        self._scales = (weight.abs().amax(dim=1) / _STEPS).clamp(min=float(passes.LEAST))
        levels = (weight / self._scales[:, None]).round().to(torch.int8)
        self._packed = _ONEDNN.qlinear_prepack(levels, None)
        self._zeros = torch.zeros(len(weight), dtype=torch.int64)
        self._bias = affine.bias.float().numpy().copy()

    def __call__(self, x: torch.Tensor) -> passes.Scaled:
        levels, scales = quantised(x)
        return passes.Scaled(self.of_levels(levels).numpy(), scales, self._bias)

    def of_levels(self, levels: torch.Tensor) -> torch.Tensor:
        """The exact sums of (levels - 128) times the weight's levels, times the weight's scales, in float32.

        Not in bfloat16, for which oneDNN has nothing fast on CPUs without AVX-512.
        """
        result: torch.Tensor = _ONEDNN.qlinear_pointwise(
            levels, 1.0, _ZERO, self._packed, self._scales, self._zeros, None, 1.0, 0, torch.float32, "none", [], ""
        )
        return result


def quantised(x: torch.Tensor) -> Levels:
    """The levels and scales of rows."""
    levels, scales = torch.empty(x.shape, dtype=torch.uint8), np.empty(len(x), np.float32)
    passes.quantise(_bits(x.contiguous()), levels.numpy(), scales)
    return levels, scales


def check_exact() -> None:
    """Raises UsageError if this machine's products are not those of whole numbers."""
    weight = torch.tensor([[127.0, 127.0, 0.5, -127.0]]).repeat(16, 16)
    levels = torch.full((16, weight.shape[1]), 255, dtype=torch.uint8)
    exact = (levels.float() - _ZERO) @ weight.round().T
    if not torch.equal(Int8Product(Affine(weight, torch.zeros(len(weight)))).of_levels(levels), exact):
        raise UsageError(
            "model.precision: products in int8 are not exact on this machine's CPU; use bfloat16 or float32"
        )


def _finished(
    product: passes.Scaled, factors: NDArray[np.float32] | None, other: passes.Scaled | None, packing: Packing
) -> torch.Tensor:
    y = torch.empty(product.values.shape, dtype=torch.bfloat16)
    passes.finish(product, factors, other, packing.recording, _bits(y))
    return y


def _bits(x: torch.Tensor) -> NDArray[np.uint16]:
    return x.view(torch.uint16).numpy()
