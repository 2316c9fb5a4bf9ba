"""Builds Citrinets from NeMo's own classes: small ones for the demo and tests, the reference's shape for benchmarks.

NeMo is imported only when one is built.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, NotRequired, TypedDict

if TYPE_CHECKING:
    from nemo.collections.asr.models import EncDecCTCModel

Part = dict[str, object]  # the configuration of one of NeMo's classes


class ModelConfig(TypedDict):
    """The configuration of one of NeMo's CTC models."""

    sample_rate: int
    labels: list[str]
    preprocessor: Part
    encoder: Part
    decoder: Part
    tokenizer: NotRequired[Part]


def citrinet_config(
    labels: list[str],
    filters: int = 160,
    repeat: int = 2,
    kernel_scale: float = 0.5,
    blocks_per_stage: int = 2,
    strides: tuple[int, ...] = (2, 2, 2),
    squeeze: bool = True,
) -> ModelConfig:
    """The config of a small Citrinet for `build`; with three strides of 2 it has one output frame per 80 ms.

    The layout is that of the paper (https://arxiv.org/abs/2104.01721): a prologue, three stages that each start with a
    strided block and have residuals and squeeze-and-excitation, and an epilogue.
    """

    layers = [_block(filters, 5 * kernel_scale, 1, squeeze=squeeze)]
    for stage_kernel, stride in zip((11, 13, 15), strides, strict=True):
        for number in range(blocks_per_stage):
            kernel, step = (stage_kernel + 2 * number) * kernel_scale, 1 if number else stride
            layers.append(_block(filters, kernel, repeat, step, residual=True, squeeze=squeeze))
    layers.append(_block(filters, 21 * kernel_scale, 1, squeeze=squeeze))
    return _model(labels, layers)


def reference_config(labels: list[str]) -> ModelConfig:
    """The config of Citrinet-1024 with gamma 0.25, the reference model's shape.

    Kernels and strides: NeMo, examples/asr/conf/citrinet/citrinet_1024.yaml.
    """
    kernels = [*range(11, 22, 2), *range(13, 26, 2), *range(25, 40, 2)]
    strided = (0, 6, 13)  # the first block of each stage
    layers = [_block(1024, 5 * 0.25, 1)]
    layers += [_block(1024, k * 0.25, 5, 2 if i in strided else 1, residual=True) for i, k in enumerate(kernels)]
    layers.append(_block(1024, 41 * 0.25, 1))
    return _model(labels, layers)


def _block(
    filters: int, kernel: float, repeat: int, stride: int = 1, *, residual: bool = False, squeeze: bool = True
) -> Part:
    whole = max(int(kernel), 1)
    shape: Part = {"filters": filters, "repeat": repeat, "kernel": [whole + (whole + 1) % 2], "stride": [stride]}
    shape |= {"dilation": [1], "dropout": 0.0, "residual": residual, "separable": True}
    shape |= {"se": squeeze, "se_context_size": -1, "kernel_size_factor": 1.0}
    return shape | ({"stride_last": True, "residual_mode": "stride_add"} if stride > 1 else {})


def _model(labels: list[str], layers: list[Part]) -> ModelConfig:
    asr = "nemo.collections.asr.modules."
    return {
        "sample_rate": 16_000,
        "labels": labels,
        "preprocessor": {
            "_target_": asr + "AudioToMelSpectrogramPreprocessor",
            "sample_rate": 16_000,
            "normalize": "per_feature",
            "window_size": 0.025,
            "window_stride": 0.01,
            "window": "hann",
            "features": 80,
            "n_fft": 512,
            "dither": 1e-5,
        },
        "encoder": {
            "_target_": asr + "ConvASREncoder",
            "feat_in": 80,
            "activation": "relu",
            "conv_mask": True,
            "jasper": layers,
        },
        "decoder": {
            "_target_": asr + "ConvASRDecoder",
            "feat_in": layers[-1]["filters"],
            "num_classes": len(labels),
            "vocabulary": labels,
        },
    }


def build(config: ModelConfig, tokenizer: Path | None = None) -> EncDecCTCModel:
    """Builds a NeMo model with random weights: of characters, or of SentencePiece if a tokenizer's folder is given."""
    from nemo.collections.asr.models import EncDecCTCModel, EncDecCTCModelBPE
    from omegaconf import OmegaConf

    if tokenizer is None:
        return EncDecCTCModel(cfg=OmegaConf.create(config))
    config = config | {
        "tokenizer": {"dir": str(tokenizer), "type": "bpe"},
        "decoder": config["decoder"] | {"num_classes": -1, "vocabulary": []},
    }
    return EncDecCTCModelBPE(cfg=OmegaConf.create(config))


def restore(path: Path) -> EncDecCTCModel:
    """Loads a saved character model."""
    from nemo.collections.asr.models import EncDecCTCModel

    return EncDecCTCModel.restore_from(str(path), map_location="cpu")
