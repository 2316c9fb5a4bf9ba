"""The network: blocks of separable convolutions with squeeze-and-excitation and residuals (arXiv:2104.01721).

Everything runs in evaluation, on packed rows (`packing`), with batch norms folded (`conversion`). The only mask is that
of the gaps: rows between recordings count as zeros where a depthwise convolution reads them. A pointwise convolution
reads one row at a time and needs no mask. The operations are those of a device (`layers`).
"""

from collections.abc import Mapping, Sequence
from typing import Generic

import torch

from actors.engine.citrinet.configuration import BlockConfig
from actors.engine.citrinet.layers import Affine, Form, Layers, Operation
from actors.engine.citrinet.packing import Packing

Tensors = Mapping[str, torch.Tensor]


class Block(Generic[Form]):
    """Depthwise and pointwise convolutions in turn, with ReLU between them; then gate, residual, and ReLU."""

    def __init__(self, layers: Layers[Form], config: BlockConfig, name: str, tensors: Tensors, level: int) -> None:
        """`level` is that of the block's input: the number of strides before it."""
        *others, last = [f"{name}.layers.{number}" for number in range(len(config["layers"]))]
        self._operations = list[tuple[Operation[Form], int]]()  # and the level of their output
        for shape, part in zip(config["layers"], [*others, last], strict=True):
            level += shape["stride"] > 1
            weight = tensors.get(f"{part}.depthwise")  # a block may be pointwise only
            if weight is not None:
                self._operations.append((layers.depthwise(weight, shape["stride"], shape["dilation"]), level))
            if part != last:
                self._operations.append((layers.pointwise(_affine(tensors, part)), level))
        self.level = level  # of its output
        affine, self._gate = _affine(tensors, last), None
        if config["gate"]:
            self._gate = layers.gate(tensors[f"{name}.gate.down"], tensors[f"{name}.gate.up"], affine)
        self._has_residual = config["residual_stride"] is not None
        self._subsample = layers.subsample if (config["residual_stride"] or 1) > 1 else None
        self._close = layers.closing(affine, _affine(tensors, f"{name}.residual") if self._has_residual else None)

    def __call__(self, x: torch.Tensor, levels: Sequence[Form]) -> torch.Tensor:
        """Applies the block to packed rows (rows, channels)."""
        entered: torch.Tensor | None = x if self._has_residual else None
        for operation, level in self._operations:
            x = operation(x, levels[level])
        own = levels[self.level]
        if entered is not None and self._subsample is not None:
            entered = self._subsample(entered, own)
        factors = self._gate(x, own) if self._gate is not None else None
        return self._close(x, own, factors, entered)


class Encoder(Generic[Form]):
    """All blocks and the head: packed features to the logits of every output frame."""

    def __init__(self, layers: Layers[Form], configs: Sequence[BlockConfig], tensors: Tensors) -> None:
        self._blocks, self.strides = list[Block[Form]](), 0
        for number, config in enumerate(configs):
            self._blocks.append(Block(layers, config, f"blocks.{number}", tensors, self.strides))
            self.strides = self._blocks[-1].level
        self._head = layers.head(_affine(tensors, "head"))
        shapes = [shape for config in configs for shape in config["layers"]]
        #: Rows beyond a recording's end that the convolutions read.
        self.gap = max(shape["dilation"] * (shape["kernel"] - 1) // 2 for shape in shapes)

    def packings(self, packing: Packing) -> list[Packing]:
        """The packing of the features, and the packing after each stride."""
        packings = [packing]
        for _ in range(self.strides):
            packings.append(packings[-1].strided(self.gap))
        return packings

    def __call__(self, features: torch.Tensor, levels: Sequence[Form]) -> torch.Tensor:
        """Logits (rows, classes) in float32, packed as the last level, from features packed as the first.

        The levels are `packings` in the form that the layers take.
        """
        x = features
        for block in self._blocks:
            x = block(x, levels)
        return self._head(x, levels[-1])


def _affine(tensors: Tensors, name: str) -> Affine:
    return Affine(tensors[f"{name}.weight"], tensors[f"{name}.bias"])
