"""The network: blocks of separable convolutions with squeeze-and-excitation and residuals (arXiv:2104.01721).

Everything runs in evaluation, on packed rows (`packing`), with batch norms folded (`conversion`). The only mask is that
of the gaps: rows between recordings are zeroed before a depthwise convolution can read them. A pointwise convolution
reads one row at a time and needs no mask. The operations depend on the device: `layers` or `gpu_layers`.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import torch

from actors.engine.citrinet.packing import Packing

Tensors = Mapping[str, torch.Tensor]


class Layer:
    """An optional depthwise convolution, and a pointwise convolution with its folded batch norm."""

    def __init__(
        self,
        layers: Any,
        shape: Mapping[str, int],
        name: str,
        tensors: Tensors,
        device: torch.device,
        dtype: torch.dtype,
    ) -> None:
        self.stride = shape["stride"]
        weight = tensors.get(f"{name}.depthwise")
        self.depthwise = None
        if weight is not None:
            self.depthwise = layers.Depthwise(weight, self.stride, shape["dilation"], device, dtype)
        self.pointwise = layers.Pointwise(tensors[f"{name}.weight"], tensors[f"{name}.bias"], device, dtype)


class Block:
    """Layers with ReLU between them; then gate, residual, and ReLU."""

    def __init__(
        self,
        layers: Any,
        config: Mapping[str, Any],
        name: str,
        tensors: Tensors,
        device: torch.device,
        dtype: torch.dtype,
    ):
        names = [f"{name}.layers.{number}" for number in range(len(config["layers"]))]
        self.layers = [
            Layer(layers, shape, each, tensors, device, dtype)
            for shape, each in zip(config["layers"], names, strict=True)
        ]
        self.gate = self.residual = None
        if config["gate"]:
            last = (tensors[f"{names[-1]}.weight"], tensors[f"{names[-1]}.bias"])
            self.gate = layers.Gate(tensors[f"{name}.gate.down"], tensors[f"{name}.gate.up"], *last, device)
        self._residual_is_strided = (config["residual_stride"] or 1) > 1
        if config["residual_stride"] is not None:
            weight, bias = tensors[f"{name}.residual.weight"], tensors[f"{name}.residual.bias"]
            self.residual = layers.Pointwise(weight, bias, device, dtype)
        self._subsample = layers.subsample

    def __call__(self, x: torch.Tensor, level: Any, coarser: Iterator[Any]) -> tuple[torch.Tensor, Any]:
        """Applies the block to packed rows (rows, channels) of a level. Returns the output and its level: each stride
        takes the next one of `coarser`."""
        residual_input: torch.Tensor | None = x
        for layer in self.layers:
            if layer.stride > 1:
                level = next(coarser)
            if layer.depthwise is not None:
                x = layer.depthwise(x, level)
            if layer is not self.layers[-1]:
                x = layer.pointwise(x, level)
        if self.residual is None:
            residual_input = None
        elif self._residual_is_strided:
            residual_input = self._subsample(residual_input, level)
        factors = self.gate(x, level) if self.gate else None
        return self.layers[-1].pointwise.combine(x, level, factors, self.residual, residual_input), level


class Encoder:
    """All blocks and the head: packed features to the logits of every output frame."""

    def __init__(
        self,
        layers: Any,
        configs: Sequence[Mapping[str, Any]],
        tensors: Tensors,
        device: torch.device,
        dtype: torch.dtype,
    ) -> None:
        self._blocks = [
            Block(layers, config, f"blocks.{number}", tensors, device, dtype) for number, config in enumerate(configs)
        ]
        self._head = layers.Head(tensors["head.weight"], tensors["head.bias"], device, dtype)
        self.dtype = dtype
        shapes = [shape for config in configs for shape in config["layers"]]
        self.strides = sum(shape["stride"] > 1 for shape in shapes)
        #: Rows beyond a recording's end that the convolutions read.
        self.gap = max(shape["dilation"] * (shape["kernel"] - 1) // 2 for shape in shapes)

    def packings(self, packing: Packing) -> list[Packing]:
        """The packing of the features, and the packing after each stride."""
        packings = [packing]
        for _ in range(self.strides):
            packings.append(packings[-1].strided(self.gap))
        return packings

    def __call__(self, features: torch.Tensor, levels: Sequence[Any]) -> torch.Tensor:
        """Logits (rows, classes) in float32, packed as the last level, from features packed as the first.

        A level is the form of a packing that the layers take.
        """
        x, (level, *others) = features, levels
        coarser = iter(others)
        for block in self._blocks:
            x, level = block(x, level, coarser)
        logits: torch.Tensor = self._head(x, level)
        return logits
