"""One side of a benchmark in a process of its own: start-up, speed and memory of one way to transcribe."""

import io
import os
import platform
import resource
import tarfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import soundfile
import torch

from actors.engine.batching import make_batches
from actors.engine.interface import EngineSettings
from actors.engine.load import check_device
from actors.engine.models import ModelFile, fetch
from actors.schema import SAMPLE_RATE, Samples
from actors.storage.cache import add_to_cache, cache_folder, is_intact
from actors.text.join import SegmentAudio
from actors.transcriber import EngineRunner


@dataclass(frozen=True)
class Side:
    """One way to transcribe: how, in which precision, and the size of a batch by device, which must be among them:
    recordings for NeMo's transcribe(), else padded seconds. `needs` is a package, of the extra `bench` mostly."""

    how: str
    precision: str
    sizes: Mapping[str, int]
    needs: str = "nemo"


SIDES = {
    "NeMo transcribe(), batch 4": Side("transcribe", "float32", {"cpu": 4, "cuda": 4}),
    "NeMo transcribe(), batch 16": Side("transcribe", "float32", {"cpu": 16}),
    "NeMo transcribe(), batch 128": Side("transcribe", "float32", {"cuda": 128}),
    "NeMo forward, sorted": Side("nemo", "float32", {"cpu": 30, "cuda": 1_800}),
    "NeMo forward, sorted, autocast": Side("nemo", "bfloat16", {"cpu": 30, "cuda": 1_800}),
    "onnxruntime, sorted": Side("onnxruntime", "float32", {"cpu": 30}, "onnxruntime"),
    "sherpa-onnx, sorted": Side("sherpa-onnx", "float32", {"cpu": 30}, "sherpa_onnx"),
    "fused, float32": Side("fused", "float32", {"cpu": 30, "cuda": 3_600}, "torch"),
    "fused, bfloat16": Side("fused", "bfloat16", {"cpu": 30, "cuda": 3_600}, "torch"),
}


def available(device: str) -> list[str]:
    """The sides that a device has, and whose packages are installed."""
    return [name for name, side in SIDES.items() if device in side.sizes and find_spec(side.needs)]


def make_ready(side: str, model: ModelFile) -> None:
    """What a side needs once and should not be measured with: the export for the ONNX runtimes."""
    if "onnx" in SIDES[side].needs:
        from actors.benchmark import peers

        peers.export(model)


def measure(
    side: str, model: ModelFile, sounds: Sequence[Samples], device: str, threads: int, repeats: int
) -> dict[str, Any]:
    """Medians over `repeats` passes, after a few batches to warm up, or one pass on a GPU.

    rtfx: seconds of audio a second; start_s: from a process with torch to a loaded model; padding: share of the samples
    in batches that are filling (the fused engine has none, but a few rows of zeros between recordings); start_gb and
    peak_gb: resident memory of the process at its highest, once loaded and in the end; gpu_gb: the same of the GPU's.
    """
    made, sounds = SIDES[side], list(sounds)
    began = time.perf_counter()
    transcribe = _prepare(made, model, device, threads)
    started, start_peak = time.perf_counter() - began, _peak()
    transcribe(sounds if device == "cuda" else sounds[: 2 * threads])
    passes = []
    for _ in range(repeats):
        began = time.perf_counter()
        transcribe(sounds)
        passes.append(time.perf_counter() - began)
    seconds = sum(map(len, sounds)) / SAMPLE_RATE
    return {
        "side": side,
        "rtfx": round(seconds / median(passes), 2),
        "padding": 0.0 if made.how == "fused" else round(1 - seconds / _padded_seconds(made, device, sounds), 4),
        "start_s": round(started, 1),
        "start_gb": round(start_peak, 2),
        "peak_gb": round(_peak(), 2),
        "gpu_gb": round(torch.cuda.max_memory_reserved() / 1e9, 2) if device == "cuda" else None,
        "passes_s": [round(each, 2) for each in passes],
    }


def _prepare(side: Side, model: ModelFile, device: str, threads: int) -> Callable[[list[Samples]], Any]:
    """What transcribes recordings, in whatever batches it makes of them."""
    if side.how in ("nemo", "fused"):
        workers = EngineRunner(model, EngineSettings(side.how, device, side.precision, threads, side.sizes[device]))
        return lambda sounds: workers.transcribe([SegmentAudio(sound) for sound in sounds])
    torch.set_num_threads(threads)
    from actors.benchmark import peers

    if side.how == "transcribe":
        return peers.nemo_as_shipped(model, device, side.sizes[device])
    one_batch = (peers.onnxruntime if side.how == "onnxruntime" else peers.sherpa_onnx)(model, threads)

    def transcribe(sounds: list[Samples]) -> None:
        for batch in _batches(side, device, sounds):
            one_batch(batch)

    return transcribe


def _batches(side: Side, device: str, sounds: list[Samples]) -> list[list[Samples]]:
    size = side.sizes[device]
    if side.how == "transcribe":  # in the order given
        return [sounds[first : first + size] for first in range(0, len(sounds), size)]
    indices = make_batches([len(each) for each in sounds], size * SAMPLE_RATE)
    return [[sounds[index] for index in batch] for batch in indices]


def _padded_seconds(side: Side, device: str, sounds: list[Samples]) -> float:
    return sum(max(map(len, batch)) * len(batch) for batch in _batches(side, device, sounds)) / SAMPLE_RATE


def _peak() -> float:
    """Resident memory of this process at its highest, in GB. (Linux lets ru_maxrss begin with that of the parent.)"""
    try:
        status = Path("/proc/self/status").read_text()
        return int(status.split("VmHWM:")[1].split()[0]) * 1024 / 1e9
    except OSError:
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e9  # bytes where there is no /proc, as on a Mac


def generated_sounds(minutes: float, seed: int = 1) -> list[Samples]:
    """Noise in recordings of 2 to 15 s, int16; how long an engine takes does not depend on what is said."""
    draw, sounds, left = np.random.default_rng(seed), list[Samples](), minutes * 60
    while left > 0:
        seconds = min(draw.uniform(2, 15), max(left, 2))
        sounds.append(draw.normal(0, 2_000, round(seconds * SAMPLE_RATE)).astype(np.int16))
        left -= seconds
    return sounds


def processor(device: str) -> str:
    """The device's name: of a CPU with what it multiplies in, of a GPU with its memory.

    Raises UsageError where it is not there.
    """
    check_device(device)
    if device == "cuda":
        card = torch.cuda.get_device_properties(0)
        return f"{card.name}, {card.total_memory / 1e9:.0f} GB, CUDA {torch.version.cuda}"
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    facts = {name.strip(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
    able = [flag for flag in ("avx512f", "avx512_bf16", "amx_bf16") if flag in facts.get("flags", "").split()]
    return " ".join([facts.get("model name", platform.machine()), *able])


def write_shards(folder: Path, sounds: Sequence[Samples], kind: str, copies: int) -> None:
    """The recordings, as WAV or FLAC, in a tar of up to half an hour each; and that so many times, by hard links."""
    left, shards = list(enumerate(sounds)), 0
    while left:
        shard, seconds = folder / f"{shards:05d}-00000.tar", 0.0
        with tarfile.open(shard, "w") as tar:
            while left and seconds < 1_800:
                number, pcm = left.pop(0)
                file = io.BytesIO()
                soundfile.write(file, pcm, SAMPLE_RATE, format=kind)
                header = tarfile.TarInfo(f"{number:06d}.{kind.lower()}")
                header.size = len(file.getvalue())
                tar.addfile(header, io.BytesIO(file.getvalue()))
                seconds += len(pcm) / SAMPLE_RATE
        for copy in range(1, copies):
            os.link(shard, folder / f"{shards:05d}-{copy:05d}.tar")
        shards += 1


def kernels(model: ModelFile, sounds: Sequence[Samples], device: str, repeats: int) -> dict[str, Any]:
    """See `kernel_times`: in bfloat16, for as many of the sounds as make a batch."""
    from actors.benchmark.kernel_times import kernel_times

    ends = np.cumsum([len(each) for each in sounds])
    batch = sounds[: max(int(np.searchsorted(ends, SIDES["fused, bfloat16"].sizes["cuda"] * SAMPLE_RATE)), 1)]
    return kernel_times(fetch(model), model.sha256, cache_folder(), device, "bfloat16", batch, repeats)


def random_reference_model(folder: Path) -> Path:
    """A `.nemo` of the reference model's shape with random weights, made once: 584 MB, most of a minute."""
    path = folder / "citrinet_1024_random.nemo"
    if not is_intact(path):
        from actors.benchmark.citrinets import build, reference_config

        torch.manual_seed(1)
        model = build(reference_config([chr(0x4E00 + number) for number in range(5206)]))
        folder.mkdir(parents=True, exist_ok=True)
        partial = path.with_suffix(".partial.nemo")
        model.eval().save_to(str(partial))
        add_to_cache(path, partial)
    return path
