"""The layers of a GPU with every call timed, beside the bytes and operations that it needs."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import NamedTuple

import torch

from actors.engine.citrinet.configuration import FeaturesConfig
from actors.engine.citrinet.gpu_layers import GpuLayers
from actors.engine.citrinet.layers import Affine, ClosingOperation, Operation, SoundOperation
from actors.engine.citrinet.levels import Level


class Kind(NamedTuple):
    """A kind of call: the operation's name, the shape, and the least that it has to move and compute."""

    name: str
    shape: str
    gigabytes: float
    gigaflop: float


class Timer:
    """Times calls on a device: by events on a GPU, which run in order with its kernels, else by the clock."""

    def __init__(self, device: torch.device) -> None:
        self._is_cuda = device.type == "cuda"
        self._events = list[tuple[Kind, torch.cuda.Event, torch.cuda.Event]]()
        self._times_ms = list[tuple[Kind, float]]()

    @contextmanager
    def timed(self, name: str, shape: str, bytes_moved: int, operations: int = 0) -> Iterator[None]:
        kind = Kind(name, shape, bytes_moved / 1e9, operations / 1e9)
        if self._is_cuda:
            started, stopped = (
                torch.cuda.Event(enable_timing=True)  # type: ignore[no-untyped-call]  # torch has no types here
                for _ in range(2)
            )
            started.record()
            yield
            stopped.record()
            self._events.append((kind, started, stopped))
        else:
            began = time.perf_counter()
            yield
            self._times_ms.append((kind, (time.perf_counter() - began) * 1e3))

    def times(self) -> dict[Kind, list[float]]:
        """Milliseconds of each call by kind, since the last `clear`."""
        if self._is_cuda:
            torch.cuda.synchronize()
        by_event = [(kind, started.elapsed_time(stopped)) for kind, started, stopped in self._events]
        times = dict[Kind, list[float]]()
        for kind, milliseconds in [*self._times_ms, *by_event]:
            times.setdefault(kind, []).append(milliseconds)
        return times

    def clear(self) -> None:
        self._events.clear()
        self._times_ms.clear()


class TimedLayers:
    """`Layers` of levels: those of a GPU, each call of which goes through a timer."""

    def __init__(self, layers: GpuLayers, timer: Timer) -> None:
        self._layers, self._timed, self.dtype = layers, timer.timed, layers.dtype

    def log_mel(self, config: FeaturesConfig, window: torch.Tensor, filters: torch.Tensor) -> SoundOperation[Level]:
        log_mel = self._layers.log_mel(config, window, filters)

        def call(sound: torch.Tensor, ends: torch.Tensor, level: Level) -> torch.Tensor:
            rows, mels = len(level.recording), len(filters)
            with self._timed("log-mel", f"{rows} x {mels}", 2 * len(sound) + 4 * rows * mels):
                return log_mel(sound, ends, level)

        return call

    def normalise(self, log: torch.Tensor, level: Level) -> torch.Tensor:
        moved = log.numel() * (log.itemsize + self.dtype.itemsize)
        with self._timed("normalise", f"{len(log)} x {log.shape[1]}", moved):
            return self._layers.normalise(log, level)

    def depthwise(self, weight: torch.Tensor, stride: int, dilation: int) -> Operation[Level]:
        convolve = self._layers.depthwise(weight, stride, dilation)
        channels, _, kernel = weight.shape
        suffix = ", stride 2" if stride > 1 else ""

        def call(x: torch.Tensor, level: Level) -> torch.Tensor:
            rows = len(level.recording)
            moved = (len(x) + rows) * channels * x.itemsize
            with self._timed("depthwise", f"{rows} x {channels}, kernel {kernel}{suffix}", moved):
                return convolve(x, level)

        return call

    def pointwise(self, affine: Affine) -> Operation[Level]:
        pointwise = self._layers.pointwise(affine)

        def call(x: torch.Tensor, level: Level) -> torch.Tensor:
            with self._timed("pointwise", *_product(x, affine)):
                return pointwise(x, level)

        return call

    def gate(self, down: torch.Tensor, up: torch.Tensor, affine: Affine) -> Operation[Level]:
        gate = self._layers.gate(down, up, affine)

        def call(x: torch.Tensor, level: Level) -> torch.Tensor:
            with self._timed("gate", f"{len(x)} x {x.shape[1]}", x.numel() * x.itemsize):
                return gate(x, level)

        return call

    def closing(self, affine: Affine, residual: Affine | None) -> ClosingOperation[Level]:
        close, name = self._layers.closing(affine, residual), "pointwise" + " with gate and residual" * bool(residual)

        def call(
            x: torch.Tensor, level: Level, factors: torch.Tensor | None, entered: torch.Tensor | None
        ) -> torch.Tensor:
            with self._timed(name, *_product(x, affine, residual)):
                return close(x, level, factors, entered)

        return call

    def subsample(self, x: torch.Tensor, level: Level) -> torch.Tensor:
        rows = len(level.recording)
        with self._timed("subsample", f"{rows} x {x.shape[1]}", 2 * rows * x.shape[1] * x.itemsize):
            return self._layers.subsample(x, level)

    def head(self, affine: Affine) -> Operation[Level]:
        head, (out, inner) = self._layers.head(affine), affine.weight.shape

        def call(x: torch.Tensor, level: Level) -> torch.Tensor:
            moved = len(x) * (inner * x.itemsize + out * 4)
            operations = 2 * len(x) * inner * out * self._layers.head_products
            with self._timed("head", f"{len(x)} x {inner} x {out}", moved, operations):
                return head(x, level)

        return call

    def best(self, logits: torch.Tensor, level: Level) -> tuple[torch.Tensor, torch.Tensor]:
        with self._timed("best", f"{len(logits)} x {logits.shape[1]}", 4 * logits.numel()):
            return self._layers.best(logits, level)


def _product(x: torch.Tensor, affine: Affine, residual: Affine | None = None) -> tuple[str, int, int]:
    """The shape of a product, with that of the residual as part of its sum, and the bytes and operations it takes."""
    rows, (out, depth) = len(x), affine.weight.shape
    if residual is not None:
        depth += residual.weight.shape[1]
    moved = (rows * (depth + out) + depth * out) * x.itemsize
    return f"{rows} x {depth} x {out}", moved, 2 * rows * depth * out
