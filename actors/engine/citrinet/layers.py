"""The operations that a Citrinet is made of, as a protocol: what a device offers in one precision.

`CpuLayers` and `GpuLayers` implement it. An operation gets its weights once, and is then a function of packed rows
(`packing`) and of their packing, which each device takes in a form of its own: a `Packing` on a CPU, a `Level` on a
GPU. In rows of gaps it may leave anything; what a depthwise convolution reads there counts as zero.
"""

from collections.abc import Callable
from typing import NamedTuple, Protocol, TypeVar

import torch

from actors.audio.pcm import FULL_SCALE
from actors.engine.citrinet.configuration import FeaturesConfig

STD_GUARD = 1e-5  # NeMo adds it to every deviation

Form = TypeVar("Form")
Form_contra = TypeVar("Form_contra", contravariant=True)

Operation = Callable[[torch.Tensor, Form], torch.Tensor]
#: (sound, ends, packing) to features.
SoundOperation = Callable[[torch.Tensor, torch.Tensor, Form], torch.Tensor]
#: (rows, packing, factors, input of the residual) to rows; the last two as far as there are any.
ClosingOperation = Callable[[torch.Tensor, Form, torch.Tensor | None, torch.Tensor | None], torch.Tensor]


class Affine(NamedTuple):
    """A pointwise convolution with its batch norm folded: a weight (out, in) and a bias (out,)."""

    weight: torch.Tensor
    bias: torch.Tensor


class Layers(Protocol[Form_contra]):
    """Makes the operations for a device and a precision. Rows are (rows, channels) in `dtype`, unless stated."""

    @property
    def dtype(self) -> torch.dtype: ...

    def log_mel(
        self, config: FeaturesConfig, window: torch.Tensor, filters: torch.Tensor
    ) -> SoundOperation[Form_contra]:
        """The log-mel spectrum (rows, mels) in float32 of packed sound, int16 or float32.

        Row r covers len(window) samples from r * hop on; recording i ends before ends[i]. Rows of gaps have arbitrary
        values.
        """
        ...

    def normalise(self, log: torch.Tensor, packing: Form_contra) -> torch.Tensor:
        """Features with mean 0 and deviation 1 of each over each recording. `log` is float32."""
        ...

    def depthwise(self, weight: torch.Tensor, stride: int, dilation: int) -> Operation[Form_contra]:
        """A depthwise convolution along the rows, with zeros beyond a recording's ends; weight (channels, 1, kernel).

        The packing is that of the result: after a stride, the coarser one.
        """
        ...

    def pointwise(self, affine: Affine) -> Operation[Form_contra]:
        """A pointwise convolution and ReLU."""
        ...

    def gate(self, down: torch.Tensor, up: torch.Tensor, affine: Affine) -> Operation[Form_contra]:
        """Squeeze-and-excitation: factors (recordings, channels) in float32 for the output of `affine`, by its mean
        over the recording (arXiv:1709.01507).

        The mean of the output is the convolution of the mean of the input. So the factors are computed from the input,
        before the output is known.
        """
        ...

    def closing(self, affine: Affine, residual: Affine | None) -> ClosingOperation[Form_contra]:
        """The end of a block: ReLU(affine(x) * the recording's factors + residual(its input))."""
        ...

    def subsample(self, x: torch.Tensor, packing: Form_contra) -> torch.Tensor:
        """Selects the rows of the finer packing that the rows of `packing` are centred on."""
        ...

    def head(self, affine: Affine) -> Operation[Form_contra]:
        """The last pointwise convolution, to logits in float32: the best of thousands is a close call."""
        ...

    def best(self, logits: torch.Tensor, packing: Form_contra) -> tuple[torch.Tensor, torch.Tensor]:
        """The best class of each row, the lowest of equals, and its probability, both (rows,)."""
        ...


def unit_of(sound: torch.Tensor) -> float:
    """What a packed sample of 1 stands for; full scale is 1."""
    return 1.0 if sound.is_floating_point() else 1 / FULL_SCALE


def fold_squeeze(down: torch.Tensor, affine: Affine) -> Affine:
    """Folds a convolution into the squeeze after it: weight and bias of down (W x + b) = (down W) x + down b."""
    weight, bias = (down.double() @ each.double() for each in affine)
    return Affine(weight.float(), bias.float())
