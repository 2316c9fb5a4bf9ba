"""The layers of a Citrinet on CPUs, in plain torch: also the reference for the GPU kernels."""

import torch
from torch.nn import functional

from actors.engine.citrinet.configuration import FeaturesConfig
from actors.engine.citrinet.layers import (
    STD_GUARD,
    Affine,
    ClosingOperation,
    Operation,
    SoundOperation,
    fold_squeeze,
    unit_of,
)
from actors.engine.citrinet.packing import Packing

#: The operations that torch.compile calls on a CPU: weights packed once, ReLU and addition fused into the GEMM. They
#: are private to torch, which has no public equivalent; the version of torch is pinned.
_ONEDNN = torch.ops.mkldnn


class CpuLayers:
    """`Layers` on CPUs, of packings as they are."""

    def __init__(self, dtype: torch.dtype) -> None:
        self.dtype = dtype

    def log_mel(self, config: FeaturesConfig, window: torch.Tensor, filters: torch.Tensor) -> SoundOperation[Packing]:
        preemphasis, exponent = config["preemphasis"] or 0.0, config["power"] / 2
        guard, clamps = float(config["guard"]), config["guard_type"] == "clamp"
        product = Product(Affine(filters, torch.zeros(len(filters))), torch.float32)

        def log_mel(sound: torch.Tensor, ends: torch.Tensor, packing: Packing) -> torch.Tensor:
            samples = sound.float() * unit_of(sound)
            emphasised = samples.clone()
            emphasised[1:] -= preemphasis * samples[:-1]
            emphasised.index_fill_(0, ends, 0)
            frames = emphasised.unfold(0, len(window), config["hop"])[: packing.rows]
            spectrum = torch.fft.rfft(frames * window)
            power = spectrum.real.square() + spectrum.imag.square()
            if exponent != 1:
                power = power.pow(exponent)
            mel = product(power)
            return torch.log(mel.clamp(min=guard) if clamps else mel + guard)

        return log_mel

    def normalise(self, log: torch.Tensor, packing: Packing) -> torch.Tensor:
        """Sums run in the same order as NeMo's for the recording alone: along time, with one masked frame at the end.

        In digital silence all frames are equal, and only the rounding error of the mean remains, amplified by
        STD_GUARD: there only the same sums in the same order result in NeMo's text.
        """
        features = torch.zeros_like(log, dtype=self.dtype)
        for rows in packing.slices:
            frames = rows.stop - rows.start
            wide = functional.pad(log[rows].T, (0, 1)).contiguous()
            wide[:, frames] = 0
            mean = wide.sum(dim=1, keepdim=True) / frames
            centred = wide - mean
            centred[:, frames] = 0
            deviation = (centred.square().sum(dim=1, keepdim=True) / (frames - 1)).sqrt()
            features[rows] = (centred[:, :frames] / (deviation + STD_GUARD)).T.to(self.dtype)
        return features

    def depthwise(self, weight: torch.Tensor, stride: int, dilation: int) -> Operation[Packing]:
        """Rows are frames, and the channels of a frame are adjacent: the channels-last layout of an image one pixel
        high."""
        channels, _, kernel = weight.shape
        shaped = weight.view(channels, 1, 1, kernel).to(self.dtype, copy=True)  # `weight` is a mapped file
        taps = shaped.contiguous(memory_format=torch.channels_last)
        padding = dilation * (kernel - 1) // 2

        def convolve(x: torch.Tensor, packing: Packing) -> torch.Tensor:
            image = x.view(1, 1, *x.shape).permute(0, 3, 1, 2)
            y = functional.conv2d(image, taps, None, (1, stride), (0, padding), (1, dilation), channels)
            y = y.permute(0, 2, 3, 1).reshape(-1, channels)
            return y if stride == 1 else y[torch.from_numpy(packing.source // 2)]

        return convolve

    def pointwise(self, affine: Affine) -> Operation[Packing]:
        product = Product(affine, self.dtype)
        return lambda x, packing: _zero_gaps(product(x, relu=True), packing)

    def gate(self, down: torch.Tensor, up: torch.Tensor, affine: Affine) -> Operation[Packing]:
        squeeze = Product(fold_squeeze(down, affine), torch.float32)
        excite = Product(Affine(up, torch.zeros(len(up))), torch.float32)

        def factors(x: torch.Tensor, packing: Packing) -> torch.Tensor:
            means = torch.stack([x[rows].mean(dim=0, dtype=torch.float32) for rows in packing.slices])
            return excite(squeeze(means, relu=True)).sigmoid_()

        return factors

    def closing(self, affine: Affine, residual: Affine | None) -> ClosingOperation[Packing]:
        product = Product(affine, self.dtype)
        other = None if residual is None else Product(residual, self.dtype)

        def close(
            x: torch.Tensor, packing: Packing, factors: torch.Tensor | None, entered: torch.Tensor | None
        ) -> torch.Tensor:
            y = product(x, relu=factors is None and other is None)
            if factors is not None:
                for rows, factor in zip(packing.slices, factors, strict=True):
                    y[rows] *= factor  # in float32
            if other is not None and entered is not None:
                y = other.plus(y, entered)
            return _zero_gaps(y.relu_(), packing)

        return close

    def subsample(self, x: torch.Tensor, packing: Packing) -> torch.Tensor:
        return x[torch.from_numpy(packing.source)]

    def head(self, affine: Affine) -> Operation[Packing]:
        """Always in float32, which is 2 % of the work."""
        product = Product(affine, torch.float32)
        return lambda x, packing: product(x.float())

    def best(self, logits: torch.Tensor, packing: Packing) -> tuple[torch.Tensor, torch.Tensor]:
        highest, ids = logits.max(dim=1)
        return ids, (highest - logits.logsumexp(dim=1)).exp().clamp(max=1)


class Product:
    """Rows (rows, in) times a weight (out, in), plus a bias.

    The weight is packed for oneDNN, which is faster by a third than torch's linear. The sum for a row is bit-identical
    for any number of rows: batches never change a result.
    """

    def __init__(self, affine: Affine, dtype: torch.dtype) -> None:
        self._packs = torch.backends.mkldnn.is_available()  # type: ignore[no-untyped-call]  # torch has no types here
        weight, self._bias = affine.weight.to(dtype), affine.bias.to(dtype, copy=True)
        if self._packs:
            weight = _ONEDNN._reorder_linear_weight(weight.contiguous(), None)  # noqa: SLF001 - see _ONEDNN
        self._weight = weight

    def __call__(self, x: torch.Tensor, relu: bool = False) -> torch.Tensor:
        if self._packs:
            result: torch.Tensor = _ONEDNN._linear_pointwise(  # noqa: SLF001 - see _ONEDNN
                x, self._weight, self._bias, "relu" if relu else "none", [], ""
            )
            return result
        y = functional.linear(x, self._weight, self._bias)
        return y.relu_() if relu else y

    def plus(self, other: torch.Tensor, x: torch.Tensor) -> torch.Tensor:
        """The product of x plus `other`, in one pass."""
        if self._packs:
            fused = _ONEDNN._linear_pointwise.binary  # noqa: SLF001 - see _ONEDNN
            result: torch.Tensor = fused(x, other, self._weight, self._bias, "add")
            return result
        return self(x).add_(other)


def _zero_gaps(x: torch.Tensor, packing: Packing) -> torch.Tensor:
    return x.index_fill_(0, packing.gaps, 0)
