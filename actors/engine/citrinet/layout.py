"""What a checkpoint must hold for the fused engine: which tensors, of which shapes, and what is made of each.

It is found from the configuration and the shapes of the weights alone, so that a checkpoint that the engine cannot run
is refused when a run is planned, without torch and without reading a number.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol, TypeVar

import numpy as np

from actors.engine.citrinet.configuration import BlockConfig, FeaturesConfig, LayerShape
from actors.engine.citrinet.settings import ADVICE, Block, Encoder, Preprocessor, read_settings
from actors.engine.citrinet.tokens import check_classes, vocabulary_of
from actors.foreign.escape import describe
from actors.schema import SAMPLE_RATE, UsageError

MAX_FRAME = 8_192  # samples per frame of the spectrum: half a second
_FEATURES = "preprocessor.featurizer."

Shape = tuple[int | None, ...]  # None stands for any size but 0


class Described(Protocol):
    """A tensor, or what is known of one."""

    @property
    def shape(self) -> Sequence[int]: ...

    @property
    def dtype(self) -> object: ...

    def is_floating_point(self) -> bool: ...


T = TypeVar("T", bound=Described)


@dataclass(frozen=True)
class Copy:
    """A tensor that is taken over, without the dimension `squeezed`, of size 1."""

    target: str
    source: str
    shape: Shape
    squeezed: int | None = None

    def needs(self) -> Iterator[tuple[str, Shape]]:
        yield self.source, self.shape


@dataclass(frozen=True)
class Fold:
    """A pointwise convolution (out, in) and the batch norm after it, which become one weight and one bias."""

    target: str
    convolution: str
    norm: str
    shape: tuple[int, int]

    def needs(self) -> Iterator[tuple[str, Shape]]:
        yield self.convolution, (*self.shape, 1)
        for part in ("running_var", "weight", "bias", "running_mean"):
            yield f"{self.norm}.{part}", self.shape[:1]


@dataclass
class Layout:
    """What the engine is made of. `classes` counts the blank."""

    features: FeaturesConfig
    blocks: list[BlockConfig]
    classes: int
    steps: list[Copy | Fold]


def check_checkpoint(
    config: Mapping[str, object], weights: Mapping[str, Described], tokenizer: bytes | None
) -> list[str]:
    """The names of the weights that the fused engine reads.

    Raises UsageError if it cannot run the checkpoint, as far as configuration and shapes tell.
    """
    needs = [need for step in read_layout(config, weights, tokenizer).steps for need in step.needs()]
    for name, shape in needs:
        expect(weights, name, shape)
    return [name for name, _ in needs]


def read_layout(config: Mapping[str, object], weights: Mapping[str, Described], tokenizer: bytes | None) -> Layout:
    """The layout of a checkpoint. Of the weights, only those are looked at whose sizes decide over others.

    Raises UsageError for what the engine does not support, and for parts that do not fit each other.
    """
    preprocessor, encoder = read_settings(config)
    steps = list[Copy | Fold]()
    features, mels = _features(preprocessor, weights, steps)
    if encoder.feat_in not in (None, mels):
        raise UsageError(f"its encoder expects {encoder.feat_in} features, and its filters make {mels}")
    blocks = _blocks(encoder, mels, weights, steps)
    head, head_shape = "decoder.decoder_layers.0", (None, encoder.jasper[-1].filters, 1)
    classes = expect(weights, f"{head}.weight", head_shape).shape[0]
    steps += [Copy("head.weight", f"{head}.weight", head_shape, -1), Copy("head.bias", f"{head}.bias", (classes,))]
    check_classes(vocabulary_of(config, tokenizer), classes)
    return Layout(features, blocks, classes, steps)


def expect(weights: Mapping[str, T], name: str, shape: Shape) -> T:
    """A floating-point tensor of that shape. Raises UsageError."""
    if name not in weights:  # NeMo can compute features in other ways, with other names; else it has the same ones
        raise UsageError(f"its weights have no {name}{ADVICE if name.startswith(_FEATURES) else ''}")
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


def _features(
    settings: Preprocessor, weights: Mapping[str, Described], steps: list[Copy | Fold]
) -> tuple[FeaturesConfig, int]:
    """The settings of the features, and how many there are."""
    filters = Copy("features.filters", f"{_FEATURES}fb", (1, settings.features, None), 0)
    _, mels, bins = expect(weights, filters.source, filters.shape).shape
    size = (bins - 1) * 2
    if not 16 <= size <= MAX_FRAME or settings.n_fft not in (None, size):
        raise UsageError(f"its filters are for frames of {size} samples, and its n_fft is {settings.n_fft}")
    expected = None if settings.window_size is None else int(settings.window_size * SAMPLE_RATE)
    window = Copy("features.window", f"{_FEATURES}window", (expected,))
    (samples,) = expect(weights, window.source, window.shape).shape
    if samples > size:
        raise UsageError(f"its window has {samples} samples, more than the {size} of its frames")
    steps += [window, filters]
    features: FeaturesConfig = {
        "n_fft": size,
        "hop": round((settings.window_stride or 0.01) * SAMPLE_RATE),
        "preemphasis": settings.preemph,
        "power": settings.mag_power,
        "guard_type": settings.log_zero_guard_type,
        "guard": _guard(settings.log_zero_guard_value),
    }
    return features, mels


def _guard(value: float | str) -> float:
    limits = np.finfo(np.float32)
    return float({"tiny": limits.tiny, "eps": limits.eps}[value]) if isinstance(value, str) else value


def _blocks(
    encoder: Encoder, channels: int, weights: Mapping[str, Described], steps: list[Copy | Fold]
) -> list[BlockConfig]:
    """All blocks; the input of the first has that many channels."""
    blocks, mode = list[BlockConfig](), encoder.residual_mode
    for number, block in enumerate(encoder.jasper):
        mode = block.residual_mode or mode  # in NeMo a block's mode applies to later blocks until one has its own
        if block.residual and mode not in ("add", "stride_add"):
            raise UsageError(f"its block {number} has residual_mode: {describe(mode)}{ADVICE}")
        if block.residual and mode == "add" and block.stride > 1:
            raise UsageError(f"its block {number} has a stride, and its residual has none")
        blocks.append(_block(number, block, channels, weights, steps))
        channels = block.filters
    return blocks


def _block(
    number: int, block: Block, in_channels: int, weights: Mapping[str, Described], steps: list[Copy | Fold]
) -> BlockConfig:
    """One JasperBlock of NeMo: sub-blocks of depthwise and pointwise convolution, a gate, a residual."""
    prefix, index, channels = f"encoder.encoder.{number}", 0, in_channels
    layers = list[LayerShape]()
    for layer, stride in enumerate(block.strides):
        name, shape = f"blocks.{number}.layers.{layer}", LayerShape(kernel=1, stride=1, dilation=1)
        if block.separable:
            depthwise = f"{prefix}.mconv.{index}.conv.weight"
            steps.append(Copy(f"{name}.depthwise", depthwise, (channels, 1, block.width)))
            shape = LayerShape(kernel=block.width, stride=stride, dilation=block.dilation)
            index += 1
        elif block.width > 1:
            raise UsageError(f"its block {number} has a kernel of {block.width} and is not separable{ADVICE}")
        convolution, norm = f"{prefix}.mconv.{index}.conv.weight", f"{prefix}.mconv.{index + 1}"
        steps.append(Fold(name, convolution, norm, (block.filters, channels)))
        layers.append(shape)
        index, channels = index + 4, block.filters  # convolution, batch norm, activation, dropout
    if block.se:
        index -= 2  # no activation and dropout after the last layer
        gate = f"{prefix}.mconv.{index}.fc"
        width = expect(weights, f"{gate}.0.weight", (None, channels)).shape[0]
        steps.append(Copy(f"blocks.{number}.gate.down", f"{gate}.0.weight", (width, channels)))
        steps.append(Copy(f"blocks.{number}.gate.up", f"{gate}.2.weight", (channels, width)))
    if block.residual:
        residual, shape_2d = f"blocks.{number}.residual", (block.filters, in_channels)
        steps.append(Fold(residual, f"{prefix}.res.0.0.conv.weight", f"{prefix}.res.0.1", shape_2d))
    return {"layers": layers, "gate": block.se, "residual_stride": int(block.stride) if block.residual else None}
