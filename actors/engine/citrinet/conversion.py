"""Converts a `.nemo` to the configuration and tensors that the engine needs, with batch norms folded.

Folding: in evaluation a batch norm is y = (x - mean) * s + shift with s = scale / sqrt(variance + eps), one number per
channel. After a pointwise convolution W x it is the pointwise convolution (s W) x + (shift - s mean): one GEMM with a
bias. Computed in float64, so that only the folded weights are rounded.
"""

from collections.abc import Mapping

import torch

from actors.engine.citrinet.archive import Archive
from actors.engine.citrinet.configuration import BlockConfig, Configuration, FeaturesConfig, LayerShape
from actors.engine.citrinet.settings import ADVICE, Block, Encoder, Preprocessor, read_labels, read_settings
from actors.engine.citrinet.text import SentencePieces
from actors.foreign.escape import describe
from actors.schema import SAMPLE_RATE, UsageError

EPSILON = 1e-3  # of every batch norm in NeMo's JasperBlock
MAX_FRAME = 8_192  # samples per frame of the spectrum: half a second

Tensors = dict[str, torch.Tensor]


def convert(archive: Archive) -> tuple[Configuration, Tensors]:
    """Converts to the engine's configuration and its tensors.

    Raises UsageError for what the engine does not support, and for weights that do not fit the configuration or each
    other.

    Tensors: `blocks.B.layers.L.` depthwise (channels, 1, kernel), weight (out, in), bias (out); `blocks.B.gate.` down,
    up; `blocks.B.residual.` and `head.` weight, bias; `features.` window, filters; `tokenizer` as bytes.
    """
    weights = archive.weights
    preprocessor, encoder = read_settings(archive.config)
    tensors: Tensors = {}
    features = _features(preprocessor, weights, tensors)
    mels = len(tensors["features.filters"])
    if encoder.feat_in not in (None, mels):
        raise UsageError(f"its encoder expects {encoder.feat_in} features, and its filters make {mels}")
    blocks = _blocks(encoder, mels, weights, tensors)
    head = _get(weights, "decoder.decoder_layers.0.weight", None, encoder.jasper[-1].filters, 1)
    tensors["head.weight"], classes = head.squeeze(-1).float(), len(head)
    tensors["head.bias"] = _get(weights, "decoder.decoder_layers.0.bias", classes).float()
    vocabulary = None
    if archive.config.get("tokenizer") is None:
        vocabulary = read_labels(archive.config)
        if len(vocabulary) != classes - 1:
            raise UsageError(
                f"its vocabulary has {len(vocabulary)} characters, and its head {classes} classes with the blank"
            )
    else:
        tensors["tokenizer"] = _tokenizer(archive.tokenizer, classes - 1)
    contiguous = {name: tensor.contiguous() for name, tensor in tensors.items()}
    for name, tensor in contiguous.items():
        if not bool(torch.isfinite(tensor).all()):
            raise UsageError(f"its weights result in a {name} with values that are not finite")
    return {"features": features, "blocks": blocks, "vocabulary": vocabulary, "classes": classes}, contiguous


def _get(weights: Mapping[str, torch.Tensor], name: str, *shape: int | None) -> torch.Tensor:
    """A floating-point tensor of that shape; None stands for any size but 0."""
    if name not in weights:
        raise UsageError(f"its weights have no {name}{ADVICE}")
    tensor = weights[name]
    if not tensor.is_floating_point():
        raise UsageError(f"its {name} is of {tensor.dtype}, and should be floating-point")
    fits = len(tensor.shape) == len(shape) and all(
        size == expected or (expected is None and size) for size, expected in zip(tensor.shape, shape, strict=True)
    )
    if not fits:
        expected = ", ".join("any" if size is None else str(size) for size in shape)
        raise UsageError(f"its {name} has the shape {tuple(tensor.shape)}, and should have ({expected})")
    return tensor


def _tokenizer(model: bytes | None, pieces: int) -> torch.Tensor:
    """A SentencePiece model of that many pieces, as bytes, checked by decoding every piece once."""
    if model is None:
        raise UsageError(f"its tokenizer is not a SentencePiece model{ADVICE}")
    stored = torch.frombuffer(bytearray(model), dtype=torch.uint8) if model else torch.empty(0, dtype=torch.uint8)
    try:
        text = SentencePieces(stored)
        for piece in range(len(text)):
            text([piece])
    except (MemoryError, UsageError):
        raise
    except Exception as problem:  # noqa: BLE001 - a C++ library may raise anything for invalid bytes
        raise UsageError(f"its tokenizer is not a SentencePiece model: {type(problem).__name__}") from None
    if len(text) != pieces:
        raise UsageError(f"its tokenizer has {len(text)} pieces, and its head {pieces + 1} classes with the blank")
    return stored


def _features(settings: Preprocessor, weights: Mapping[str, torch.Tensor], tensors: Tensors) -> FeaturesConfig:
    filters = _get(weights, "preprocessor.featurizer.fb", 1, settings.features, None).squeeze(0).float()
    size = (filters.shape[1] - 1) * 2
    if not 16 <= size <= MAX_FRAME or settings.n_fft not in (None, size):
        raise UsageError(f"its filters are for frames of {size} samples, and its n_fft is {settings.n_fft}")
    expected = None if settings.window_size is None else int(settings.window_size * SAMPLE_RATE)
    window = _get(weights, "preprocessor.featurizer.window", expected).float()
    if len(window) > size:
        raise UsageError(f"its window has {len(window)} samples, more than the {size} of its frames")
    tensors["features.window"], tensors["features.filters"] = window, filters
    return {
        "n_fft": size,
        "hop": round((settings.window_stride or 0.01) * SAMPLE_RATE),
        "preemphasis": settings.preemph,
        "power": settings.mag_power,
        "guard_type": settings.log_zero_guard_type,
        "guard": _guard(settings.log_zero_guard_value),
    }


def _guard(value: float | str) -> float:
    values = {"tiny": torch.finfo(torch.float32).tiny, "eps": torch.finfo(torch.float32).eps}
    return values[value] if isinstance(value, str) else value


def _blocks(
    encoder: Encoder, channels: int, weights: Mapping[str, torch.Tensor], tensors: Tensors
) -> list[BlockConfig]:
    """All blocks; the input of the first has that many channels."""
    blocks, mode = list[BlockConfig](), encoder.residual_mode
    for number, block in enumerate(encoder.jasper):
        mode = block.residual_mode or mode  # in NeMo a block's mode applies to later blocks until one has its own
        if block.residual and mode not in ("add", "stride_add"):
            raise UsageError(f"its block {number} has residual_mode: {describe(mode)}{ADVICE}")
        if block.residual and mode == "add" and block.stride > 1:
            raise UsageError(f"its block {number} has a stride, and its residual has none")
        blocks.append(_block(number, block, channels, weights, tensors))
        channels = block.filters
    return blocks


def _block(
    number: int, block: Block, in_channels: int, weights: Mapping[str, torch.Tensor], tensors: Tensors
) -> BlockConfig:
    """Converts one JasperBlock of NeMo: sub-blocks of depthwise and pointwise convolution, a gate, a residual."""
    prefix, index, channels = f"encoder.encoder.{number}", 0, in_channels
    layers = list[LayerShape]()
    for layer, stride in enumerate(block.strides):
        name, shape = f"blocks.{number}.layers.{layer}", LayerShape(kernel=1, stride=1, dilation=1)
        if block.separable:
            depthwise = _get(weights, f"{prefix}.mconv.{index}.conv.weight", channels, 1, block.width).float()
            tensors[f"{name}.depthwise"] = depthwise
            shape = LayerShape(kernel=block.width, stride=stride, dilation=block.dilation)
            index += 1
        elif block.width > 1:
            raise UsageError(f"its block {number} has a kernel of {block.width} and is not separable{ADVICE}")
        shape_2d = block.filters, channels
        _fold(weights, f"{prefix}.mconv.{index}.conv.weight", f"{prefix}.mconv.{index + 1}", shape_2d, name, tensors)
        layers.append(shape)
        index, channels = index + 4, block.filters  # convolution, batch norm, activation, dropout
    if block.se:
        index -= 2  # no activation and dropout after the last layer
        down = _get(weights, f"{prefix}.mconv.{index}.fc.0.weight", None, channels).float()
        up = _get(weights, f"{prefix}.mconv.{index}.fc.2.weight", channels, len(down)).float()
        tensors[f"blocks.{number}.gate.down"], tensors[f"blocks.{number}.gate.up"] = down, up
    if block.residual:
        shape_2d = block.filters, in_channels
        _fold(
            weights,
            f"{prefix}.res.0.0.conv.weight",
            f"{prefix}.res.0.1",
            shape_2d,
            f"blocks.{number}.residual",
            tensors,
        )
    return {"layers": layers, "gate": block.se, "residual_stride": int(block.stride) if block.residual else None}


def _fold(
    weights: Mapping[str, torch.Tensor],
    convolution: str,
    norm: str,
    shape: tuple[int, int],
    name: str,
    tensors: Tensors,
) -> None:
    """Folds a pointwise convolution and the batch norm after it into one weight (out, in) and one bias (out)."""
    out = shape[0]
    weight = _get(weights, convolution, *shape, 1).double()
    variance = _get(weights, f"{norm}.running_var", out).double()
    scale = _get(weights, f"{norm}.weight", out).double() / (variance + EPSILON).sqrt()
    shift = _get(weights, f"{norm}.bias", out).double() - _get(weights, f"{norm}.running_mean", out).double() * scale
    tensors[f"{name}.weight"] = (weight.squeeze(-1) * scale[:, None]).float()
    tensors[f"{name}.bias"] = shift.float()
