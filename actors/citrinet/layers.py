"""The two convolutions that a Citrinet is made of, over packed rows."""

import torch
from torch.nn import functional

_ONEDNN = (
    torch.ops.mkldnn
)  # what torch.compile calls on a CPU: weights laid out once, ReLU and addition inside the GEMM


class Pointwise:
    """A convolution of kernel 1: each row (in) times a weight (out, in), plus a bias.

    On a CPU the weight is laid out for oneDNN beforehand, which is faster by a third than torch's linear, and whose sum
    for a row is the same, to the bit, however many rows there are: batches never change a result.
    """

    def __init__(self, weight: torch.Tensor, bias: torch.Tensor, device: torch.device, dtype: torch.dtype) -> None:
        self._packs = device.type == "cpu" and torch.backends.mkldnn.is_available()  # type: ignore[no-untyped-call]
        weight, self._bias = weight.to(device, dtype), bias.to(device, dtype, copy=True)
        self._weight = _ONEDNN._reorder_linear_weight(weight.contiguous(), None) if self._packs else weight

    def __call__(self, x: torch.Tensor, relu: bool = False) -> torch.Tensor:
        if self._packs:
            result: torch.Tensor = _ONEDNN._linear_pointwise(
                x, self._weight, self._bias, "relu" if relu else "none", [], ""
            )
            return result
        y = functional.linear(x, self._weight, self._bias)
        return y.relu_() if relu else y

    def added_to(self, other: torch.Tensor, x: torch.Tensor) -> torch.Tensor:
        """other + self(x)."""
        if self._packs:
            result: torch.Tensor = _ONEDNN._linear_pointwise.binary(x, other, self._weight, self._bias, "add")
            return result
        return functional.linear(x, self._weight, self._bias).add_(other)


class Depthwise:
    """A convolution along the rows, each channel by itself, with zeros beyond the ends.

    Rows are frames and channels lie side by side, which is the channels-last layout of an image one pixel high.
    """

    def __init__(
        self, weight: torch.Tensor, stride: int, dilation: int, device: torch.device, dtype: torch.dtype
    ) -> None:
        channels, _, kernel = weight.shape
        shaped = weight.view(channels, 1, 1, kernel).to(
            device, dtype, copy=True
        )  # of its own: `weight` is a mapped file
        self._weight = shaped.contiguous(memory_format=torch.channels_last)
        self._stride, self._dilation = (1, stride), (1, dilation)
        self._padding = (0, dilation * (kernel - 1) // 2)

    def __call__(self, x: torch.Tensor) -> torch.Tensor:
        rows, channels = x.shape
        image = x.view(1, 1, rows, channels).permute(0, 3, 1, 2)
        y = functional.conv2d(image, self._weight, None, self._stride, self._padding, self._dilation, channels)
        return y.permute(0, 2, 3, 1).reshape(-1, channels)
