"""A `.nemo` to a converted checkpoint: what the engine needs, batch norms folded, as safetensors.

Folding. In evaluation a batch norm is y = (x - mean) * s + shift with s = scale / sqrt(variance + eps), one number a
channel. After a pointwise convolution W x it is the pointwise convolution (s W) x + (shift - s mean): one GEMM with a
bias. The sums are made in float64, so that the only rounding is that of the folded weights.
"""

from collections.abc import Mapping
from typing import Any

import torch

from actors.citrinet.archive import Archive
from actors.schema import SAMPLE_RATE, UsageError

EPSILON = 1e-3  # of every batch norm in NeMo's JasperBlock
ADVICE = "; model.engine=nemo may run it"

Tensors = dict[str, torch.Tensor]


def convert(archive: Archive) -> tuple[dict[str, Any], Tensors]:
    """The engine's configuration, of JSON types, and its tensors. Raises UsageError for what it does not know.

    Configuration: `features`, `blocks` (each a list of layers with kernel, stride and dilation, and whether it has a
    gate and a residual), `vocabulary` (None with SentencePiece), `classes` with the blank.

    Tensors: `blocks.B.layers.L.` depthwise (channels, 1, kernel), weight (out, in), bias (out); `blocks.B.gate.` down,
    up; `blocks.B.residual.` and `head.` weight, bias; `features.` window, filters; `tokenizer` as bytes.
    """
    config, weights = archive.config, archive.weights
    _expect(config, "preprocessor", "AudioToMelSpectrogramPreprocessor")
    _expect(config, "encoder", "ConvASREncoder")
    _expect(config, "decoder", "ConvASRDecoder")
    tensors: Tensors = {}
    features = _features(config["preprocessor"], weights, tensors)
    blocks = _blocks(config["encoder"], weights, tensors)
    tensors["head.weight"] = _get(weights, "decoder.decoder_layers.0.weight").squeeze(-1).float()
    tensors["head.bias"] = _get(weights, "decoder.decoder_layers.0.bias").float()
    classes = len(tensors["head.bias"])
    vocabulary = None if "tokenizer" in config else _labels(config)
    if vocabulary is None:
        if archive.tokenizer is None:
            raise UsageError(f"its tokenizer is not of SentencePiece{ADVICE}")
        tensors["tokenizer"] = torch.frombuffer(bytearray(archive.tokenizer), dtype=torch.uint8)
    elif len(vocabulary) != classes - 1:
        raise UsageError(
            f"its vocabulary has {len(vocabulary)} characters, and its head {classes} classes with the blank"
        )
    contiguous = {name: tensor.contiguous() for name, tensor in tensors.items()}
    return {"features": features, "blocks": blocks, "vocabulary": vocabulary, "classes": classes}, contiguous


def _expect(config: Mapping[str, Any], part: str, wanted: str) -> None:
    name = str((config.get(part) or {}).get("_target_", "nothing")).rsplit(".", 1)[-1]
    if name != wanted:
        raise UsageError(f"its {part} is {name}, and the fused engine knows {wanted}{ADVICE}")


def _get(weights: Mapping[str, torch.Tensor], name: str) -> torch.Tensor:
    if name not in weights:
        raise UsageError(f"its weights have no {name}{ADVICE}")
    return weights[name]


def _labels(config: Mapping[str, Any]) -> list[str]:
    labels = (config.get("decoder") or {}).get("vocabulary") or config.get("labels")
    if not labels:
        raise UsageError(f"it has neither a vocabulary nor a tokenizer{ADVICE}")
    return [str(label) for label in labels]


def _features(config: Mapping[str, Any], weights: Mapping[str, torch.Tensor], tensors: Tensors) -> dict[str, Any]:
    rate = config.get("sample_rate", SAMPLE_RATE)
    for key, known in {"normalize": "per_feature", "frame_splicing": 1, "log": True, "exact_pad": False}.items():
        if config.get(key, known) != known:
            raise UsageError(f"its preprocessor has {key}: {config[key]}, and the fused engine knows {known}{ADVICE}")
    if rate != SAMPLE_RATE:
        raise UsageError(f"it wants audio at {rate} Hz, and this job makes {SAMPLE_RATE} Hz")
    tensors["features.window"] = _get(weights, "preprocessor.featurizer.window").float()
    tensors["features.filters"] = _get(weights, "preprocessor.featurizer.fb").squeeze(0).float()
    return {
        "n_fft": (tensors["features.filters"].shape[1] - 1) * 2,
        "hop": round((config.get("window_stride") or 0.01) * rate),
        "preemphasis": config.get("preemph", 0.97),
        "power": config.get("mag_power", 2.0),
        "guard_type": config.get("log_zero_guard_type", "add"),
        "guard": _guard(config.get("log_zero_guard_value", 2**-24)),
    }


def _guard(value: Any) -> float:
    named = {"tiny": torch.finfo(torch.float32).tiny, "eps": torch.finfo(torch.float32).eps}
    return float(named.get(value, value))


def _blocks(config: Mapping[str, Any], weights: Mapping[str, torch.Tensor], tensors: Tensors) -> list[dict[str, Any]]:
    known = {"activation": "relu", "normalization_mode": "batch", "conv_mask": True, "frame_splicing": 1}
    for key, value in known.items():
        if config.get(key, value) != value:
            raise UsageError(f"its encoder has {key}: {config[key]}, and the fused engine knows {value}{ADVICE}")
    blocks, mode = [], config.get("residual_mode", "add")
    for number, block in enumerate(config["jasper"]):
        mode = block.get(
            "residual_mode", mode
        )  # in NeMo a block's mode holds for those after it, until one names its own
        blocks.append(_block(number, block, mode, weights, tensors))
    return blocks


def _block(
    number: int, config: Mapping[str, Any], mode: str, weights: Mapping[str, torch.Tensor], tensors: Tensors
) -> dict[str, Any]:
    """One block of NeMo's JasperBlock: sub-blocks of depthwise and pointwise convolution, a gate, a residual."""
    known = {"groups": 1, "heads": -1, "residual_dense": False, "se_context_size": -1, "future_context": -1}
    for key, value in known.items():
        if config.get(key, value) != value:
            raise UsageError(f"its block {number} has {key}: {config[key]}, and the fused engine knows {value}{ADVICE}")
    if config.get("residual") and mode not in ("add", "stride_add"):
        raise UsageError(f"its block {number} has residual_mode: {mode}{ADVICE}")
    here, place = f"encoder.encoder.{number}", 0
    stride, dilation, repeat = _one(config["stride"]), _one(config["dilation"]), int(config["repeat"])
    layers = []
    for layer in range(repeat):
        name, shape = f"blocks.{number}.layers.{layer}", {"kernel": 1, "stride": 1, "dilation": 1}
        if config.get("separable"):
            depthwise = _get(weights, f"{here}.mconv.{place}.conv.weight").float()
            tensors[f"{name}.depthwise"] = depthwise
            last = layer == repeat - 1 or not config.get("stride_last")
            shape = {"kernel": depthwise.shape[-1], "stride": stride if last else 1, "dilation": dilation}
            place += 1
        _fold(weights, f"{here}.mconv.{place}.conv.weight", f"{here}.mconv.{place + 1}", name, tensors)
        layers.append(shape)
        place += 4  # convolution, batch norm, activation, dropout; after the last there is no activation
    if config.get("se"):
        place -= 2
        tensors[f"blocks.{number}.gate.down"] = _get(weights, f"{here}.mconv.{place}.fc.0.weight").float()
        tensors[f"blocks.{number}.gate.up"] = _get(weights, f"{here}.mconv.{place}.fc.2.weight").float()
    residual_stride = None
    if config.get("residual"):
        residual_stride = stride if mode == "stride_add" else 1
        _fold(weights, f"{here}.res.0.0.conv.weight", f"{here}.res.0.1", f"blocks.{number}.residual", tensors)
    return {"layers": layers, "gate": bool(config.get("se")), "residual_stride": residual_stride}


def _one(value: Any) -> int:
    return int(value[0] if isinstance(value, list) else value)


def _fold(weights: Mapping[str, torch.Tensor], convolution: str, norm: str, name: str, tensors: Tensors) -> None:
    """Files a pointwise convolution with the batch norm after it as one weight (out, in) and one bias (out)."""
    weight = _get(weights, convolution).double()
    if weight.shape[-1] != 1:
        raise UsageError(f"its {convolution} has a kernel of {weight.shape[-1]} and is not separable{ADVICE}")
    scale = _get(weights, f"{norm}.weight").double() / (_get(weights, f"{norm}.running_var").double() + EPSILON).sqrt()
    shift = _get(weights, f"{norm}.bias").double() - _get(weights, f"{norm}.running_mean").double() * scale
    tensors[f"{name}.weight"] = (weight.squeeze(-1) * scale[:, None]).float()
    tensors[f"{name}.bias"] = shift.float()
