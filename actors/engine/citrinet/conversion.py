"""Converts a `.nemo` to the configuration and tensors that the engine needs, with batch norms folded.

Folding: in evaluation a batch norm is y = (x - mean) * s + shift with s = scale / sqrt(variance + eps), one number per
channel. After a pointwise convolution W x it is the pointwise convolution (s W) x + (shift - s mean): one GEMM with a
bias. Computed in float64, so that only the folded weights are rounded.
"""

from collections.abc import Mapping

import torch

from actors.engine.citrinet.archive import Archive
from actors.engine.citrinet.configuration import Configuration
from actors.engine.citrinet.layout import Copy, Fold, expect, read_layout
from actors.schema import UsageError

EPSILON = 1e-3  # of every batch norm in NeMo's JasperBlock

Tensors = dict[str, torch.Tensor]


def convert(archive: Archive) -> tuple[Configuration, Tensors]:
    """Converts to the engine's configuration and its tensors.

    Raises UsageError for what the engine does not support, and for weights that do not fit the configuration or each
    other.

    Tensors: `blocks.B.layers.L.` depthwise (channels, 1, kernel), weight (out, in), bias (out); `blocks.B.gate.` down,
    up; `blocks.B.residual.` and `head.` weight, bias; `features.` window, filters.
    """
    layout = read_layout(archive.config, archive.weights, archive.tokenizer)
    tensors: Tensors = {}
    for step in layout.steps:
        if isinstance(step, Copy):
            tensor = expect(archive.weights, step.source, step.shape).float()
            tensors[step.target] = (tensor if step.squeezed is None else tensor.squeeze(step.squeezed)).contiguous()
        else:
            tensors[f"{step.target}.weight"], tensors[f"{step.target}.bias"] = _folded(step, archive.weights)
    for name, tensor in tensors.items():
        if not bool(torch.isfinite(tensor).all()):
            raise UsageError(f"its weights result in a {name} with values that are not finite")
    return {"features": layout.features, "blocks": layout.blocks, "classes": layout.classes}, tensors


def _folded(step: Fold, weights: Mapping[str, torch.Tensor]) -> tuple[torch.Tensor, torch.Tensor]:
    """One weight (out, in) and one bias (out)."""
    parts = [expect(weights, name, shape).double() for name, shape in step.needs()]
    weight, variance, gain, shift, mean = parts
    scale = gain / (variance + EPSILON).sqrt()
    return (weight.squeeze(-1) * scale[:, None]).float().contiguous(), (shift - mean * scale).float().contiguous()
