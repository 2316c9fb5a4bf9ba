"""Measures the time of each operation of the engine on a device, against the minimum that the device allows.

The minimum is what the device needs at two rates that are measured too: of a large copy, for the bytes to read and
write, and of a large matrix product in the engine's precision, for the arithmetic.
"""

import re
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from statistics import median
from types import SimpleNamespace
from typing import Any

import torch

from actors.engine.citrinet import checkpoint, gpu_layers
from actors.engine.citrinet.encoder import Encoder
from actors.engine.citrinet.features import Features
from actors.engine.citrinet.levels import Level, levels_of
from actors.engine.citrinet.tiles import ALTERNATIVES, tile_for
from actors.schema import SAMPLE_RATE, Samples


def kernel_times(
    nemo: Path, sha256: str, cache: Path, device: str, precision: str, sounds: Sequence[Samples], repeats: int
) -> dict[str, Any]:
    """Measures the operations of one batch, called one by one as the engine does.

    Returns milliseconds of each kind of operation (medians over passes), the device's rates, and the largest product in
    other tiles and by torch.
    """
    config, tensors = checkpoint.load(nemo, sha256, cache)
    target = torch.device(device), getattr(torch, precision)
    timer = TimedLayers(target[0])
    with torch.no_grad():
        copy, product = _device_rates(*target)
        features = Features(timer.layers, config["features"], tensors, *target)
        encoder = Encoder(timer.layers, config["blocks"], tensors, *target)
        packings = encoder.packings(features.packing(sounds, encoder.gap))
        sound, ends = (each.to(device) for each in features.packed(sounds, packings[0]))
        levels = levels_of(packings, target[0])
        for number in range(repeats + 1):
            timer.layers.best(encoder(features(sound, ends, levels[0]), levels), levels[-1])
            if number == 0:
                timer.records.clear()  # kernels were compiled in this pass
        widest = max(
            (tensors[name] for name in sorted(tensors) if re.match(r"blocks\..*\.weight", name)), key=torch.numel
        )
        tiles = list(_tile_times(widest, levels[1 % len(levels)], *target))
    rows: list[dict[str, Any]] = []
    for (name, shape, gigabytes, gigaflop), times_ms in timer.times().items():
        calls, each = len(times_ms) // repeats, median(times_ms)
        minimum = max(gigabytes / copy, gigaflop / product) * 1e3
        row: dict[str, Any] = {
            "kernel": name,
            "shape": shape,
            "calls": calls,
            "ms": each,
            "least_ms": minimum,
            "batch_ms": calls * each,
        }
        rows.append({key: round(value, 4) if isinstance(value, float) else value for key, value in row.items()})
    total = sum(row["batch_ms"] for row in rows) / 1e3
    seconds = sum(map(len, sounds)) / SAMPLE_RATE
    return {
        "seconds": round(seconds, 1),
        "precision": precision,
        "copy_gb_s": round(copy, 1),
        "product_gflop_s": round(product, 1),
        "kernels": sorted(rows, key=lambda row: -row["batch_ms"]),
        "rtfx": round(seconds / total, 1),
        "tiles": tiles,
    }


class TimedLayers:
    """`gpu_layers` with every call timed, and recorded with the bytes and operations that it needs."""

    def __init__(self, device: torch.device) -> None:
        self._is_cuda = device.type == "cuda"
        self.records: list[tuple[tuple[str, str, float, float], Any, Any]] = []
        self.layers = self._wrapped()

    def times(self) -> dict[tuple[str, str, float, float], list[float]]:
        """Milliseconds of each call by kind."""
        if self._is_cuda:
            torch.cuda.synchronize()
        times: dict[tuple[str, str, float, float], list[float]] = {}
        for kind, started, stopped in self.records:
            times_ms = started.elapsed_time(stopped) if self._is_cuda else (stopped - started) * 1e3
            times.setdefault(kind, []).append(times_ms)
        return times

    @contextmanager
    def timed(self, name: str, shape: str, bytes_moved: int, operations: int = 0) -> Iterator[None]:
        started = self._now()
        yield
        self.records.append(((name, shape, bytes_moved / 1e9, operations / 1e9), started, self._now()))

    def _now(self) -> Any:
        if not self._is_cuda:
            return time.perf_counter()
        event = torch.cuda.Event(enable_timing=True)  # type: ignore[no-untyped-call]
        event.record()
        return event

    def _wrapped(self) -> SimpleNamespace:
        timed = self.timed

        class Depthwise(gpu_layers.Depthwise):
            def __call__(self, x: torch.Tensor, level: Level) -> torch.Tensor:
                rows, (kernel, channels) = len(level.recording), self._weight.shape
                stride = ", stride 2" if self._strided else ""
                moved = (len(x) + rows) * channels * x.itemsize
                with timed("depthwise", f"{rows} x {channels}, kernel {kernel}{stride}", moved):
                    return super().__call__(x, level)

        class Pointwise(gpu_layers.Pointwise):
            def launch(self, x: torch.Tensor, *optional: Any) -> torch.Tensor:
                rows, (out, inner) = len(x), self.weight.shape
                residual = optional[4] if len(optional) > 4 else None
                depth = inner + (residual.weight.shape[1] if residual else 0)
                name = "pointwise" + (" with gate and residual" if residual else "")
                moved = (rows * (depth + out) + depth * out) * x.itemsize
                with timed(name, f"{rows} x {depth} x {out}", moved, 2 * rows * depth * out):
                    return super().launch(x, *optional)

        class Gate(gpu_layers.Gate):
            def __call__(self, x: torch.Tensor, level: Level) -> torch.Tensor:
                with timed("gate", f"{len(x)} x {x.shape[1]}", x.numel() * x.itemsize):
                    return super().__call__(x, level)

        class Head(gpu_layers.Head):
            def __call__(self, x: torch.Tensor, level: Level) -> torch.Tensor:
                (out, inner), rows = self._pointwise.weight.shape, len(x)
                products = 1 if self._remainder is None else 2
                moved = rows * (inner * x.itemsize + out * 4)
                with timed("head", f"{rows} x {inner} x {out}", moved, 2 * rows * inner * out * products):
                    return super().__call__(x, level)

        class LogMel(gpu_layers.LogMel):
            def __call__(self, sound: torch.Tensor, ends: torch.Tensor, level: Level) -> torch.Tensor:
                rows, mels = len(level.recording), len(self._filters)
                with timed("log-mel", f"{rows} x {mels}", 2 * len(sound) + 4 * rows * mels):
                    return super().__call__(sound, ends, level)

        def normalise(log: torch.Tensor, level: Level, dtype: torch.dtype) -> torch.Tensor:
            with timed("normalise", f"{len(log)} x {log.shape[1]}", log.numel() * (4 + dtype.itemsize)):
                return gpu_layers.normalise(log, level, dtype)

        def subsample(x: torch.Tensor, level: Level) -> torch.Tensor:
            rows = len(level.recording)
            with timed("subsample", f"{rows} x {x.shape[1]}", 2 * rows * x.shape[1] * x.itemsize):
                return gpu_layers.subsample(x, level)

        def best(logits: torch.Tensor, level: Level) -> tuple[torch.Tensor, torch.Tensor]:
            with timed("best", f"{len(logits)} x {logits.shape[1]}", 4 * logits.numel()):
                return gpu_layers.best(logits, level)

        return SimpleNamespace(**{name: value for name, value in locals().items() if name not in ("self", "timed")})


def _device_rates(device: torch.device, dtype: torch.dtype) -> tuple[float, float]:
    """GB/s of a copy, bytes read and written, and GFLOP/s of a square product of random matrices."""
    size, width = (1 << 32, 8_192) if device.type == "cuda" else (1 << 24, 256)
    source, target = (torch.ones(size, dtype=torch.uint8, device=device) for _ in range(2))
    copy = 2 * size / 1e6 / _milliseconds(lambda: target.copy_(source), device)
    one, other = (torch.randn(width, width, device=device).to(dtype) for _ in range(2))
    return copy, 2 * width**3 / 1e6 / _milliseconds(lambda: one @ other, device)


def _tile_times(
    weight: torch.Tensor, level: Level, device: torch.device, dtype: torch.dtype
) -> Iterator[dict[str, Any]]:
    """Times the largest product of the network in the engine's tile, in others, and by torch without its epilogue."""
    (out, inner), rows = weight.shape, len(level.recording)
    x = torch.randn(rows, inner, device=device).to(dtype)
    operations, bias = 2 * rows * out * inner / 1e9, torch.zeros(out)
    by_torch, own = weight.to(device, dtype), tile_for(device, dtype)
    launches: dict[str, Callable[[], Any]] = {"torch": lambda: torch.nn.functional.linear(x, by_torch)}
    tiles = [own, *ALTERNATIVES] if dtype == torch.bfloat16 else [own]
    for tile in tiles:
        pointwise = gpu_layers.Pointwise(weight, bias, device, dtype, tile)
        launches["{}x{}x{}, {} warps, {} stages".format(*tile)] = lambda each=pointwise: each(x, level)  # type: ignore[misc]
    for name, launch in launches.items():
        times_ms = _milliseconds(launch, device)
        yield {"tile": name, "ms": round(times_ms, 4), "tflop_s": round(operations / times_ms, 2)}


def _milliseconds(launch: Callable[[], Any], device: torch.device, repeats: int = 9) -> float:
    """Median of the calls after two for warm-up (one on a CPU)."""
    timer = TimedLayers(device)
    for number in range(repeats + 2 if device.type == "cuda" else 2):
        with timer.timed("", "", 0):
            launch()
        if number < (2 if device.type == "cuda" else 1):
            timer.records.clear()
    return median(timer.times()["", "", 0.0, 0.0])
