"""The operations of a Citrinet in plain torch, over packed rows: for CPUs, and as reference for the GPU kernels."""

from collections.abc import Mapping
from typing import Any

import torch
from torch.nn import functional

from actors.engine.citrinet.packing import Packing

#: The operations that torch.compile calls on a CPU: weights packed once, ReLU and addition fused into the GEMM. They
#: are private to torch, which has no public equivalent; the version of torch is pinned.
_ONEDNN = torch.ops.mkldnn
STD_GUARD = 1e-5  # NeMo adds it to every deviation


class Pointwise:
    """A convolution of kernel size 1: each row (in) times a weight (out, in), plus a bias; rows of gaps become zero.

    On a CPU the weight is packed for oneDNN, which is faster by a third than torch's linear. The sum for a row is
    bit-identical for any number of rows: batches never change a result.
    """

    def __init__(self, weight: torch.Tensor, bias: torch.Tensor, device: torch.device, dtype: torch.dtype) -> None:
        self._packs = device.type == "cpu" and torch.backends.mkldnn.is_available()  # type: ignore[no-untyped-call]
        weight, self._bias = weight.to(device, dtype), bias.to(device, dtype, copy=True)
        if self._packs:
            weight = _ONEDNN._reorder_linear_weight(weight.contiguous(), None)  # noqa: SLF001
        self._weight = weight

    def __call__(self, x: torch.Tensor, packing: Packing, relu: bool = True) -> torch.Tensor:
        return _zero_gaps(self.product(x, relu), packing)

    def combine(
        self,
        x: torch.Tensor,
        packing: Packing,
        factors: torch.Tensor | None,
        residual: "Pointwise | None",
        residual_input: torch.Tensor | None,
    ) -> torch.Tensor:
        """ReLU(self(x) * the recording's factors + residual(residual_input)); products with factors are float32."""
        y = self.product(x, relu=factors is None and residual is None)
        if factors is not None:
            for rows, factor in zip(packing.slices, factors, strict=True):
                y[rows] *= factor
        if residual is not None and residual_input is not None:
            y = residual.product_plus(y, residual_input)
        return _zero_gaps(y.relu_(), packing)

    def product(self, x: torch.Tensor, relu: bool = False) -> torch.Tensor:
        """x (rows, in) times the weight, plus the bias; gaps are not zeroed."""
        if self._packs:
            result: torch.Tensor = _ONEDNN._linear_pointwise(  # noqa: SLF001
                x, self._weight, self._bias, "relu" if relu else "none", [], ""
            )
            return result
        y = functional.linear(x, self._weight, self._bias)
        return y.relu_() if relu else y

    def product_plus(self, other: torch.Tensor, x: torch.Tensor) -> torch.Tensor:
        """`product(x)` plus `other`, in one pass."""
        if self._packs:
            fused = _ONEDNN._linear_pointwise.binary  # noqa: SLF001
            result: torch.Tensor = fused(x, other, self._weight, self._bias, "add")
            return result
        return self.product(x).add_(other)


class Depthwise:
    """A depthwise convolution along the rows, with zeros beyond the ends.

    Rows are frames, and the channels of a frame are adjacent: the channels-last layout of an image one pixel high.
    """

    def __init__(
        self, weight: torch.Tensor, stride: int, dilation: int, device: torch.device, dtype: torch.dtype
    ) -> None:
        channels, _, kernel = weight.shape
        shaped = weight.view(channels, 1, 1, kernel).to(device, dtype, copy=True)  # `weight` is a mapped file
        self._weight = shaped.contiguous(memory_format=torch.channels_last)
        self._stride, self._dilation = (1, stride), (1, dilation)
        self._padding = (0, dilation * (kernel - 1) // 2)

    def __call__(self, x: torch.Tensor, packing: Packing) -> torch.Tensor:
        """The rows of `packing`; with a stride, x has the rows of the finer packing."""
        rows, channels = x.shape
        image = x.view(1, 1, rows, channels).permute(0, 3, 1, 2)
        y = functional.conv2d(image, self._weight, None, self._stride, self._padding, self._dilation, channels)
        y = y.permute(0, 2, 3, 1).reshape(-1, channels)
        return y if self._stride == (1, 1) else y[torch.from_numpy(packing.source // 2)]


class Gate:
    """Squeeze-and-excitation: a factor for each channel of a pointwise convolution's output, from its mean over the
    recording (arXiv:1709.01507).

    The mean of the output is the convolution of the mean of the input. So the factors are computed from the input,
    before the output is known.
    """

    def __init__(
        self, down: torch.Tensor, up: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor, device: torch.device
    ) -> None:
        self._down = Pointwise(*fold_squeeze(down, weight, bias), device, torch.float32)
        self._up = Pointwise(up, torch.zeros(len(up)), device, torch.float32)

    def __call__(self, x: torch.Tensor, packing: Packing) -> torch.Tensor:
        """Factors (recordings, channels) in float32, for the convolution of x (rows, channels)."""
        means = torch.stack([x[rows].mean(dim=0, dtype=torch.float32) for rows in packing.slices])
        return self._up.product(self._down.product(means, relu=True)).sigmoid_()


def fold_squeeze(down: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Folds a convolution into the squeeze after it: weight and bias of down (W x + b) = (down W) x + down b."""
    return (down.double() @ weight.double()).float(), (down.double() @ bias.double()).float()


def subsample(x: torch.Tensor, packing: Packing) -> torch.Tensor:
    """Selects the rows of the finer packing that the rows of `packing` are centred on."""
    return x[torch.from_numpy(packing.source)]


class LogMel:
    """Log-mel spectrum of packed sound."""

    def __init__(
        self, config: Mapping[str, Any], window: torch.Tensor, filters: torch.Tensor, device: torch.device
    ) -> None:
        self._hop, self._window = int(config["hop"]), window.to(device)
        self._preemphasis, self._power = config["preemphasis"] or 0.0, float(config["power"])
        self._guard, self._clamps = float(config["guard"]), config["guard_type"] == "clamp"
        self._mel = Pointwise(filters, torch.zeros(len(filters)), device, torch.float32)

    def __call__(self, sound: torch.Tensor, ends: torch.Tensor, packing: Packing) -> torch.Tensor:
        """(rows, mels) in float32 of int16 sound. Row r covers len(window) samples from r * hop on; recording i ends
        before ends[i]. Rows of gaps have arbitrary values."""
        samples = sound.float() / 32_768
        emphasised = samples.clone()
        emphasised[1:] -= self._preemphasis * samples[:-1]
        emphasised.index_fill_(0, ends, 0)
        frames = emphasised.unfold(0, len(self._window), self._hop)[: packing.rows]
        spectrum = torch.fft.rfft(frames * self._window)
        power = spectrum.real.square() + spectrum.imag.square()
        if self._power != 2.0:
            power = power.pow(self._power / 2)
        mel = self._mel.product(power)
        return torch.log(mel.clamp(min=self._guard) if self._clamps else mel + self._guard)


def normalise(log: torch.Tensor, packing: Packing, dtype: torch.dtype) -> torch.Tensor:
    """Features (rows, mels) with mean 0 and deviation 1 of each over each recording; zero in gaps.

    Sums run in the same order as NeMo's for the recording alone: along time, with one masked frame at the end. In
    digital silence all frames are equal, and only the rounding error of the mean remains, amplified by STD_GUARD: there
    only the same sums in the same order result in NeMo's text.
    """
    features = torch.zeros_like(log, dtype=dtype)
    for rows in packing.slices:
        frames = rows.stop - rows.start
        wide = functional.pad(log[rows].T, (0, 1)).contiguous()
        wide[:, frames] = 0
        mean = wide.sum(dim=1, keepdim=True) / frames
        centred = wide - mean
        centred[:, frames] = 0
        deviation = (centred.square().sum(dim=1, keepdim=True) / (frames - 1)).sqrt()
        features[rows] = (centred[:, :frames] / (deviation + STD_GUARD)).T.to(dtype)
    return features


def best(logits: torch.Tensor, packing: Packing) -> tuple[torch.Tensor, torch.Tensor]:
    """The best class of each row and its probability, both (rows,)."""
    highest, ids = logits.max(dim=1)
    return ids, (highest - logits.logsumexp(dim=1)).exp().clamp(max=1)


class Head:
    """The last pointwise convolution, to the logits of the classes. Always in float32: it is 2 % of the work, and the
    best of thousands of logits is a close call."""

    def __init__(self, weight: torch.Tensor, bias: torch.Tensor, device: torch.device, dtype: torch.dtype) -> None:
        self._pointwise = Pointwise(weight, bias, device, torch.float32)

    def __call__(self, x: torch.Tensor, packing: Packing) -> torch.Tensor:
        return self._pointwise.product(x.float())


def _zero_gaps(x: torch.Tensor, packing: Packing) -> torch.Tensor:
    return x.index_fill_(0, packing.gaps, 0)
