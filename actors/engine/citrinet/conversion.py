"""A `.nemo` to a converted checkpoint: what the engine needs, batch norms folded, as safetensors.

Folding. In evaluation a batch norm is y = (x - mean) * s + shift with s = scale / sqrt(variance + eps), one number a
channel. After a pointwise convolution W x it is the pointwise convolution (s W) x + (shift - s mean): one GEMM with a
bias. The sums are made in float64, so that the only rounding is that of the folded weights.
"""

from collections.abc import Mapping
from typing import Any

import torch

from actors.engine.citrinet.archive import Archive
from actors.engine.citrinet.settings import ADVICE, Block, Encoder, Preprocessor, read_labels, read_settings, shown
from actors.engine.citrinet.text import SentencePieces
from actors.schema import SAMPLE_RATE, UsageError

EPSILON = 1e-3  # of every batch norm in NeMo's JasperBlock
MAX_FRAME = 8_192  # samples, half a second, of which a spectrum is made

Tensors = dict[str, torch.Tensor]


def convert(archive: Archive) -> tuple[dict[str, Any], Tensors]:
    """The engine's configuration, of JSON types, and its tensors. Raises UsageError for what it does not know, and for
    weights that do not fit the configuration or each other.

    Configuration: `features`, `blocks` (each a list of layers with kernel, stride and dilation, and whether it has a
    gate and a residual), `vocabulary` (None with SentencePiece), `classes` with the blank.

    Tensors: `blocks.B.layers.L.` depthwise (channels, 1, kernel), weight (out, in), bias (out); `blocks.B.gate.` down,
    up; `blocks.B.residual.` and `head.` weight, bias; `features.` window, filters; `tokenizer` as bytes.
    """
    weights = archive.weights
    preprocessor, encoder = read_settings(archive.config)
    tensors: Tensors = {}
    features = _features(preprocessor, weights, tensors)
    mels = len(tensors["features.filters"])
    if encoder.feat_in not in (None, mels):
        raise UsageError(f"its encoder wants {encoder.feat_in} features, and its filters make {mels}")
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
            raise UsageError(f"its weights make a {name} with values that are not finite")
    return {"features": features, "blocks": blocks, "vocabulary": vocabulary, "classes": classes}, contiguous


def _get(weights: Mapping[str, torch.Tensor], name: str, *shape: int | None) -> torch.Tensor:
    """A tensor of floating type of that shape; None stands for any size but 0."""
    if name not in weights:
        raise UsageError(f"its weights have no {name}{ADVICE}")
    tensor = weights[name]
    if not tensor.is_floating_point():
        raise UsageError(f"its {name} is of {tensor.dtype}, and should be of floating type")
    fits = len(tensor.shape) == len(shape) and all(
        size == wanted or (wanted is None and size) for size, wanted in zip(tensor.shape, shape, strict=True)
    )
    if not fits:
        wanted = ", ".join("any" if size is None else str(size) for size in shape)
        raise UsageError(f"its {name} has the shape {tuple(tensor.shape)}, and ({wanted}) is what fits")
    return tensor


def _tokenizer(model: bytes | None, pieces: int) -> torch.Tensor:
    """A SentencePiece model of so many pieces, as bytes, after every piece of it was decoded once."""
    if model is None:
        raise UsageError(f"its tokenizer is not of SentencePiece{ADVICE}")
    stored = torch.frombuffer(bytearray(model), dtype=torch.uint8) if model else torch.empty(0, dtype=torch.uint8)
    try:
        text = SentencePieces(stored)
        for piece in range(len(text)):
            text([piece])
    except (MemoryError, UsageError):
        raise
    except Exception as problem:  # noqa: BLE001 - a C++ library raises anything for bytes that are not its own
        raise UsageError(f"its tokenizer is no SentencePiece model: {type(problem).__name__}") from None
    if len(text) != pieces:
        raise UsageError(f"its tokenizer has {len(text)} pieces, and its head {pieces + 1} classes with the blank")
    return stored


def _features(settings: Preprocessor, weights: Mapping[str, torch.Tensor], tensors: Tensors) -> dict[str, Any]:
    filters = _get(weights, "preprocessor.featurizer.fb", 1, settings.features, None).squeeze(0).float()
    size = (filters.shape[1] - 1) * 2
    if not 16 <= size <= MAX_FRAME or settings.n_fft not in (None, size):
        raise UsageError(f"its filters are for frames of {size} samples, and its n_fft is {settings.n_fft}")
    wanted = None if settings.window_size is None else int(settings.window_size * SAMPLE_RATE)
    window = _get(weights, "preprocessor.featurizer.window", wanted).float()
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
    named = {"tiny": torch.finfo(torch.float32).tiny, "eps": torch.finfo(torch.float32).eps}
    return named[value] if isinstance(value, str) else value


def _blocks(
    encoder: Encoder, channels: int, weights: Mapping[str, torch.Tensor], tensors: Tensors
) -> list[dict[str, Any]]:
    """All blocks, the first of which sees so many channels."""
    blocks, mode = [], encoder.residual_mode
    for number, block in enumerate(encoder.jasper):
        mode = block.residual_mode or mode  # in NeMo a block's mode holds for those after it, until one names its own
        if block.residual and mode not in ("add", "stride_add"):
            raise UsageError(f"its block {number} has residual_mode: {shown(mode)}{ADVICE}")
        if block.residual and mode == "add" and block.stride > 1:
            raise UsageError(f"its block {number} has a stride, and its residual has none")
        blocks.append(_block(number, block, channels, weights, tensors))
        channels = block.filters
    return blocks


def _block(
    number: int, block: Block, entering: int, weights: Mapping[str, torch.Tensor], tensors: Tensors
) -> dict[str, Any]:
    """One block of NeMo's JasperBlock: sub-blocks of depthwise and pointwise convolution, a gate, a residual."""
    here, place, channels = f"encoder.encoder.{number}", 0, entering
    layers = []
    for layer, stride in enumerate(block.strides):
        name, shape = f"blocks.{number}.layers.{layer}", {"kernel": 1, "stride": 1, "dilation": 1}
        if block.separable:
            depthwise = _get(weights, f"{here}.mconv.{place}.conv.weight", channels, 1, block.width).float()
            tensors[f"{name}.depthwise"] = depthwise
            shape = {"kernel": block.width, "stride": stride, "dilation": block.dilation}
            place += 1
        elif block.width > 1:
            raise UsageError(f"its block {number} has a kernel of {block.width} and is not separable{ADVICE}")
        into = block.filters, channels
        _fold(weights, f"{here}.mconv.{place}.conv.weight", f"{here}.mconv.{place + 1}", into, name, tensors)
        layers.append(shape)
        place, channels = place + 4, block.filters  # convolution, batch norm, activation, dropout
    if block.se:
        place -= 2  # after the last there is no activation
        down = _get(weights, f"{here}.mconv.{place}.fc.0.weight", None, channels).float()
        up = _get(weights, f"{here}.mconv.{place}.fc.2.weight", channels, len(down)).float()
        tensors[f"blocks.{number}.gate.down"], tensors[f"blocks.{number}.gate.up"] = down, up
    if block.residual:
        into = block.filters, entering
        _fold(weights, f"{here}.res.0.0.conv.weight", f"{here}.res.0.1", into, f"blocks.{number}.residual", tensors)
    return {"layers": layers, "gate": block.se, "residual_stride": int(block.stride) if block.residual else None}


def _fold(
    weights: Mapping[str, torch.Tensor],
    convolution: str,
    norm: str,
    shape: tuple[int, int],
    name: str,
    tensors: Tensors,
) -> None:
    """Files a pointwise convolution with the batch norm after it as one weight (out, in) and one bias (out)."""
    out = shape[0]
    weight = _get(weights, convolution, *shape, 1).double()
    variance = _get(weights, f"{norm}.running_var", out).double()
    scale = _get(weights, f"{norm}.weight", out).double() / (variance + EPSILON).sqrt()
    shift = _get(weights, f"{norm}.bias", out).double() - _get(weights, f"{norm}.running_mean", out).double() * scale
    tensors[f"{name}.weight"] = (weight.squeeze(-1) * scale[:, None]).float()
    tensors[f"{name}.bias"] = shift.float()
