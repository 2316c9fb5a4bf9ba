"""Small Citrinets made of NeMo's own classes, for the demo and for tests; NeMo is imported when one is built."""

from pathlib import Path
from typing import Any


def citrinet_config(
    labels: list[str],
    filters: int = 160,
    repeat: int = 2,
    kernel_scale: float = 0.5,
    blocks_per_stage: int = 2,
    strides: tuple[int, ...] = (2, 2, 2),
    squeeze: bool = True,
) -> dict[str, Any]:
    """The config of a Citrinet for `build`; with three strides of 2 it gives one output frame per 80 ms.

    The layout is that of the paper (https://arxiv.org/abs/2104.01721) in small: a prologue, three stages that
    each begin with a strided block and have residuals and squeeze-and-excitation, and an epilogue.
    """

    def block(kernel: int, repeat: int, stride: int, residual: bool) -> dict[str, Any]:
        scaled = max(int(kernel * kernel_scale), 1)
        shape = {"filters": filters, "repeat": repeat, "kernel": [scaled + (scaled + 1) % 2], "stride": [stride]}
        shape |= {"dilation": [1], "dropout": 0.0, "residual": residual, "separable": True}
        shape |= {"se": squeeze, "se_context_size": -1, "kernel_size_factor": 1.0}
        return shape | ({"stride_last": True, "residual_mode": "stride_add"} if stride > 1 else {})

    layers = [block(5, 1, 1, False)]
    for stage_kernel, stride in zip((11, 13, 15), strides, strict=True):
        layers.append(block(stage_kernel, repeat, stride, True))
        layers += [block(stage_kernel + 2 * i, repeat, 1, True) for i in range(1, blocks_per_stage)]
    layers.append(block(21, 1, 1, False))
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
            "feat_in": filters,
            "num_classes": len(labels),
            "vocabulary": labels,
        },
    }


def build(config: dict[str, Any], tokenizer: Path | None = None) -> Any:
    """A NeMo model of random weights: of characters, or of SentencePiece where a tokenizer's folder is given."""
    from nemo.collections.asr.models import EncDecCTCModel, EncDecCTCModelBPE
    from omegaconf import OmegaConf

    if tokenizer is None:
        return EncDecCTCModel(cfg=OmegaConf.create(config))
    config = config | {"tokenizer": {"dir": str(tokenizer), "type": "bpe"}}
    config["decoder"] = config["decoder"] | {"num_classes": -1, "vocabulary": []}
    return EncDecCTCModelBPE(cfg=OmegaConf.create(config))
