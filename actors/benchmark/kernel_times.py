"""Measures the time of each operation of the engine on a device, against the minimum that the device allows.

The minimum is what the device needs at two rates that are measured too: of a large copy, for the bytes to read and
write, and of a large matrix product in the engine's precision, for the arithmetic.
"""

import re
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from statistics import median

import torch
from triton.runtime.errors import OutOfResources

from actors.benchmark.reports import ChoiceTime, KernelReport, KernelTime
from actors.benchmark.timed_layers import TimedLayers, Timer
from actors.engine.citrinet import checkpoint
from actors.engine.citrinet.encoder import Encoder
from actors.engine.citrinet.features import Features
from actors.engine.citrinet.gpu_layers import GpuLayers
from actors.engine.citrinet.layers import Affine
from actors.engine.citrinet.levels import Level, levels_of
from actors.engine.citrinet.tiles import ALTERNATIVES
from actors.schema import SAMPLE_RATE, Waveform

TAPS = 7  # of the depthwise convolution of which choices are timed


def kernel_times(
    nemo: Path, sha256: str, cache: Path, device: str, precision: str, sounds: Sequence[Waveform], repeats: int
) -> KernelReport:
    """Measures the operations of one batch, called one by one as the engine does.

    Returns milliseconds of each kind of operation (medians over passes), the device's rates, and the largest product in
    other tiles and by torch, and a depthwise convolution that slides and one that does not.
    """
    config, tensors = checkpoint.load(nemo, sha256, cache)
    plain = GpuLayers(torch.device(device), getattr(torch, precision))
    timer = Timer(plain.device)
    layers = TimedLayers(plain, timer)
    with torch.no_grad():
        copy, product = _device_rates(plain.device, plain.dtype)
        features = Features(layers, config["features"], tensors)
        encoder = Encoder(layers, config["blocks"], tensors)
        packings = encoder.packings(features.packing(sounds, encoder.gap))
        sound, ends = (each.to(device) for each in features.packed(sounds, packings[0]))
        levels = levels_of(packings, plain.device)
        for number in range(repeats + 1):
            layers.best(encoder(features(sound, ends, levels[0]), levels), levels[-1])
            if number == 0:
                timer.clear()  # kernels were compiled in this pass
        widest = max(
            (tensors[name] for name in sorted(tensors) if re.match(r"blocks\..*\.weight", name)), key=torch.numel
        )
        choices = list(_choice_times(widest, levels[1 % len(levels)], plain))
    rows = list[KernelTime]()
    for kind, times_ms in timer.times().items():
        calls, each = len(times_ms) // repeats, median(times_ms)
        minimum = max(kind.gigabytes / copy, kind.gigaflop / product) * 1e3
        rows.append(
            {
                "kernel": kind.name,
                "shape": kind.shape,
                "calls": calls,
                "ms": round(each, 4),
                "least_ms": round(minimum, 4),
                "batch_ms": round(calls * each, 4),
            }
        )
    seconds, total = sum(map(len, sounds)) / SAMPLE_RATE, sum(row["batch_ms"] for row in rows) / 1e3
    return {
        "seconds": round(seconds, 1),
        "precision": precision,
        "copy_gb_s": round(copy, 1),
        "product_gflop_s": round(product, 1),
        "kernels": sorted(rows, key=lambda row: -row["batch_ms"]),
        "rtfx": round(seconds / total, 1),
        "choices": choices,
    }


def _device_rates(device: torch.device, dtype: torch.dtype) -> tuple[float, float]:
    """GB/s of a copy, bytes read and written, and GFLOP/s of a square product of random matrices."""
    size, width = (1 << 32, 8_192) if device.type == "cuda" else (1 << 24, 256)
    source, target = (torch.ones(size, dtype=torch.uint8, device=device) for _ in range(2))
    copy = 2 * size / 1e6 / _milliseconds(lambda: target.copy_(source), device)
    one, other = (torch.randn(width, width, device=device).to(dtype) for _ in range(2))
    return copy, 2 * width**3 / 1e6 / _milliseconds(lambda: one @ other, device)


def _choice_times(weight: torch.Tensor, level: Level, layers: GpuLayers) -> Iterator[ChoiceTime]:
    """Times the largest product of the network in the engine's tile, in others, and by torch without its epilogue; and
    a depthwise convolution of its width."""
    device, dtype, own = layers.device, layers.dtype, layers.choice
    (out, inner), rows = weight.shape, len(level.recording)
    x = torch.randn(rows, inner, device=device).to(dtype)
    affine, by_torch = Affine(weight, torch.zeros(out)), weight.to(device, dtype)
    launches: dict[tuple[str, str], Callable[[], object]] = {
        ("a product", "torch"): lambda: torch.nn.functional.linear(x, by_torch)
    }
    others = ALTERNATIVES if dtype == torch.bfloat16 else ((own.plain, True),)
    for tile, shares in ((own.plain, own.shares), *others):
        product = GpuLayers(device, dtype, own._replace(plain=tile, shares=shares)).pointwise(affine)
        name = "{}x{}x{}, {} warps, {} stages".format(*tile) + ", shared" * shares
        launches["a product", name] = partial(product, x, level)
    taps = torch.randn(inner, 1, TAPS)
    for slides in (True, False):
        convolve = GpuLayers(device, dtype, own._replace(slides=slides)).depthwise(taps, 1, 1)
        launches[f"depthwise, kernel {TAPS}", "sliding" if slides else "at rest"] = partial(convolve, x, level)
    for (kernel, choice), launch in launches.items():
        try:
            times_ms = _milliseconds(launch, device)
        except OutOfResources:  # a tile for other cards
            continue
        operations = 2 * rows * inner * (out if kernel == "a product" else TAPS) / 1e9
        yield {
            "kernel": kernel,
            "choice": choice,
            "ms": round(times_ms, 4),
            "tflop_s": round(operations / times_ms, 2),
        }


def _milliseconds(launch: Callable[[], object], device: torch.device, repeats: int = 9) -> float:
    """Median of the calls after two for warm-up (one on a CPU)."""
    timer, warm_up = Timer(device), 2 if device.type == "cuda" else 1
    for number in range(repeats + 2 if device.type == "cuda" else 2):
        with timer.timed("", "", 0):
            launch()
        if number < warm_up:
            timer.clear()
    (times_ms,) = timer.times().values()
    return median(times_ms)
