"""The configuration of a converted checkpoint, as JSON holds it: numbers that `conversion` has checked."""

from typing import TypedDict


class LayerShape(TypedDict):
    """A depthwise convolution along time; kernel and dilation in frames. All are 1 if the layer has none."""

    kernel: int
    stride: int
    dilation: int


class BlockConfig(TypedDict):
    """`residual_stride` is None if the block has no residual."""

    layers: list[LayerShape]
    gate: bool
    residual_stride: int | None


class FeaturesConfig(TypedDict):
    """`n_fft` and `hop` in samples; `guard` is what the logarithm adds or clamps to, by `guard_type`."""

    n_fft: int
    hop: int
    preemphasis: float | None
    power: float
    guard_type: str
    guard: float


class Configuration(TypedDict):
    """`classes` counts the blank."""

    features: FeaturesConfig
    blocks: list[BlockConfig]
    classes: int
