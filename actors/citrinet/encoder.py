"""The network: blocks of separable convolutions with squeeze-and-excitation and residuals (arXiv:2104.01721).

Everything runs on packed rows (`packing`), batch norms folded (`conversion`), in evaluation. The only mask is that of
the gaps: rows between recordings are set to zero before a depthwise convolution may look at them, and nowhere else, for
a pointwise convolution sees one row at a time.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import torch

from actors.citrinet.layers import Depthwise, Pointwise
from actors.citrinet.packing import Packing

Tensors = Mapping[str, torch.Tensor]


class Layer:
    """A depthwise convolution, where there is one, and a pointwise convolution with its folded batch norm."""

    def __init__(
        self, shape: Mapping[str, int], name: str, tensors: Tensors, device: torch.device, dtype: torch.dtype
    ) -> None:
        self.stride = shape["stride"]
        self.reach = shape["dilation"] * (shape["kernel"] - 1) // 2
        weight = tensors.get(f"{name}.depthwise")
        self.depthwise = None
        if weight is not None:
            self.depthwise = Depthwise(weight, self.stride, shape["dilation"], device, dtype)
        self.pointwise = Pointwise(tensors[f"{name}.weight"], tensors[f"{name}.bias"], device, dtype)


class Gate:
    """Squeeze-and-excitation: a factor for each channel, from its mean over the recording (arXiv:1709.01507)."""

    def __init__(self, name: str, tensors: Tensors, device: torch.device) -> None:
        down, up = tensors[f"{name}.down"], tensors[f"{name}.up"]
        self._down = Pointwise(down, torch.zeros(len(down)), device, torch.float32)
        self._up = Pointwise(up, torch.zeros(len(up)), device, torch.float32)

    def apply_(self, x: torch.Tensor, packing: Packing) -> None:
        """Multiplies the rows of each recording by its factors, in place; in float32 whatever x is."""
        means = torch.stack([x[rows].mean(dim=0, dtype=torch.float32) for rows in packing.slices])
        for rows, factors in zip(packing.slices, self._up(self._down(means, relu=True)).sigmoid_(), strict=True):
            x[rows] *= factors


class Block:
    """Layers with ReLU between them; then gate, residual, and ReLU."""

    def __init__(
        self, config: Mapping[str, Any], name: str, tensors: Tensors, device: torch.device, dtype: torch.dtype
    ):
        self.layers = [
            Layer(shape, f"{name}.layers.{number}", tensors, device, dtype)
            for number, shape in enumerate(config["layers"])
        ]
        self.gate = Gate(f"{name}.gate", tensors, device) if config["gate"] else None
        self.residual_stride = config["residual_stride"]
        self.residual = None
        if self.residual_stride is not None:
            self.residual = Pointwise(
                tensors[f"{name}.residual.weight"], tensors[f"{name}.residual.bias"], device, dtype
            )

    @property
    def reach(self) -> int:
        """How many rows beyond a recording's end its convolutions look."""
        return max(layer.reach for layer in self.layers)

    def __call__(self, x: torch.Tensor, packing: Packing, next_gap: int) -> tuple[torch.Tensor, Packing]:
        """The block over packed rows (rows, channels), and the packing of what comes out; a stride brings a new gap."""
        entered, entry = x, packing
        for number, layer in enumerate(self.layers):
            x, packing = self._convolve(layer, x, packing, next_gap)
            is_last = number == len(self.layers) - 1
            x = layer.pointwise(x, relu=not is_last or (self.gate is None and self.residual is None))
            if not is_last:
                x.index_fill_(0, packing.gaps.to(x.device), 0)
        if self.gate:
            self.gate.apply_(x, packing)
        if self.residual:
            if self.residual_stride > 1:
                entered = entered[packing.rows_from(list(entry.starts), self.residual_stride).to(x.device)]
            x = self.residual.added_to(x, entered)
        if self.gate or self.residual:
            x.relu_()
        x.index_fill_(0, packing.gaps.to(x.device), 0)
        return x, packing

    @staticmethod
    def _convolve(layer: Layer, x: torch.Tensor, packing: Packing, next_gap: int) -> tuple[torch.Tensor, Packing]:
        if layer.depthwise is not None:
            x = layer.depthwise(x)
        if layer.stride == 1:
            return x, packing
        strided = packing.strided(next_gap)
        return x[strided.rows_from([start // 2 for start in packing.starts], 1).to(x.device)], strided


class Encoder:
    """All blocks and the head: packed features to the logits of every output frame."""

    def __init__(
        self, configs: Sequence[Mapping[str, Any]], tensors: Tensors, device: torch.device, dtype: torch.dtype
    ) -> None:
        self._blocks = [
            Block(config, f"blocks.{number}", tensors, device, dtype) for number, config in enumerate(configs)
        ]
        # In float32 always: the head is 2 % of the work, and the best of thousands of logits is a close call.
        self._head = Pointwise(tensors["head.weight"], tensors["head.bias"], device, torch.float32)
        self._dtype = dtype
        self.gap = max(block.reach for block in self._blocks)

    def __call__(self, features: torch.Tensor, packing: Packing) -> tuple[torch.Tensor, Packing]:
        """Logits (rows, classes) in float32, and where the recordings lie in them."""
        x = features.to(self._dtype)
        for block in self._blocks:
            x, packing = block(x, packing, self.gap)
        return self._head(x.float()), packing
