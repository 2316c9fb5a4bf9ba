"""Measures one side of a benchmark in its own process: start-up, speed and memory of one way to transcribe."""

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

import numpy as np
import soundfile
import torch

from actors.benchmark.reports import KernelReport, SideReport
from actors.engine.batching import padded_batches
from actors.engine.devices import cpu_has_int8
from actors.engine.interface import Emission, EngineSettings
from actors.engine.load import check_device
from actors.engine.models import ModelFile, fetch, read_vocabulary
from actors.schema import SAMPLE_RATE, Samples
from actors.storage.cache import cache_folder, is_intact, new_file
from actors.text.greedy import collapse
from actors.transcriber import EngineRunner, Sound

PASS_S = 4.0  # that a pass takes at least, about, on a GPU


@dataclass(frozen=True)
class Side:
    """One way to transcribe: method, precision, and batch size by supported device.

    Sizes are recordings for NeMo's transcribe(), else padded seconds. `package` is the package needed, mostly of the
    extra `bench`.
    """

    method: str
    precision: str
    sizes: Mapping[str, int]
    package: str = "nemo"


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
    "fused, int8": Side("fused", "int8", {"cpu": 30}, "torch"),
}


def available(device: str) -> list[str]:
    """The sides that a device and its instructions support and whose packages are installed."""
    has_int8 = cpu_has_int8()
    return [
        name
        for name, side in SIDES.items()
        if device in side.sizes and find_spec(side.package) and (side.precision != "int8" or has_int8)
    ]


def prepare(side: str, model: ModelFile) -> None:
    """Does what a side needs once and should not be measured: the export for the ONNX runtimes."""
    if "onnx" in SIDES[side].package:
        from actors.benchmark import peers

        peers.export(model)


def measure(
    side: str, model: ModelFile, sounds: Sequence[Samples], device: str, threads: int, repeats: int
) -> SideReport:
    """Measures medians over `repeats` passes, after a warm-up of a few batches, or of one pass on a GPU.

    A GPU goes over the audio as often as takes PASS_S in a pass: what the first and the last batch of it cost on the
    host counts for little there, as in a job.
    """
    spec, sounds = SIDES[side], list(sounds)
    began = time.perf_counter()
    transcribe = _transcribe_function(spec, model, device, threads)
    started, start_gb = time.perf_counter() - began, _peak_gb()
    began = time.perf_counter()
    transcribe(sounds if device == "cuda" else sounds[: 2 * threads])
    if device == "cuda":
        sounds *= max(round(PASS_S / (time.perf_counter() - began)), 1)
    passes = []
    for _ in range(repeats):
        began = time.perf_counter()
        transcribe(sounds)
        passes.append(time.perf_counter() - began)
    seconds = sum(map(len, sounds)) / SAMPLE_RATE
    return {
        "side": side,
        "rtfx": round(seconds / median(passes), 2),
        "padding": 0.0 if spec.method == "fused" else round(1 - seconds / _padded_seconds(spec, device, sounds), 4),
        "start_s": round(started, 1),
        "start_gb": round(start_gb, 2),
        "peak_gb": round(_peak_gb(), 2),
        "gpu_gb": round(torch.cuda.max_memory_reserved() / 1e9, 2) if device == "cuda" else None,
        "passes_s": [round(each, 2) for each in passes],
    }


def _transcribe_function(side: Side, model: ModelFile, device: str, threads: int) -> Callable[[list[Samples]], object]:
    """A function that transcribes recordings in batches of its own."""
    if side.method in ("nemo", "fused"):
        workers = EngineRunner(model, EngineSettings(side.method, device, side.precision, threads, side.sizes[device]))
        vocabulary = read_vocabulary(model).decoder()

        def transcribe_all(sounds: list[Samples]) -> None:
            for heard in workers.hear([Sound(sound, is_first=True) for sound in sounds]):
                if isinstance(heard, Emission):
                    vocabulary.text(collapse(heard.best, vocabulary.blank).tolist())

        return transcribe_all
    torch.set_num_threads(threads)
    from actors.benchmark import peers

    if side.method == "transcribe":
        return peers.nemo_as_shipped(model, device, side.sizes[device])
    one_batch = (peers.onnxruntime if side.method == "onnxruntime" else peers.sherpa_onnx)(model, threads)

    def transcribe(sounds: list[Samples]) -> None:
        for batch in _batches(side, device, sounds):
            one_batch(batch)

    return transcribe


def _batches(side: Side, device: str, sounds: list[Samples]) -> list[list[Samples]]:
    size = side.sizes[device]
    if side.method == "transcribe":  # in the order given
        return [sounds[first : first + size] for first in range(0, len(sounds), size)]
    indices = padded_batches([len(each) for each in sounds], size * SAMPLE_RATE)
    return [[sounds[index] for index in batch] for batch in indices]


def _padded_seconds(side: Side, device: str, sounds: list[Samples]) -> float:
    return sum(max(map(len, batch)) * len(batch) for batch in _batches(side, device, sounds)) / SAMPLE_RATE


def _peak_gb() -> float:
    """Peak resident memory of this process, in GB. (On Linux ru_maxrss starts with the parent's.)"""
    try:
        status = Path("/proc/self/status").read_text(encoding="utf-8")
        return int(status.split("VmHWM:")[1].split()[0]) * 1024 / 1e9
    except OSError:
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e9  # bytes on systems without /proc (macOS)


def generated_sounds(minutes: float, seed: int = 1) -> list[Samples]:
    """Noise in int16 recordings of 2 to 15 s: an engine's speed does not depend on the content."""
    draw, sounds, left = np.random.default_rng(seed), list[Samples](), minutes * 60
    while left > 0:
        seconds = min(draw.uniform(2, 15), max(left, 2))
        sounds.append(draw.normal(0, 2_000, round(seconds * SAMPLE_RATE)).astype(np.int16))
        left -= seconds
    return sounds


def device_name(device: str) -> str:
    """The device's name: of a CPU with its instruction sets for products, of a GPU with its memory.

    Raises UsageError if the device is not available.
    """
    check_device(device)
    if device == "cuda":
        card = torch.cuda.get_device_properties(0)
        return f"{card.name}, {card.total_memory / 1e9:.0f} GB, CUDA {torch.version.cuda}"
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    fields = {name.strip(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
    flags = [
        flag
        for flag in ("avx512f", "avx512_bf16", "avx512_vnni", "avx_vnni", "amx_bf16", "amx_int8")
        if flag in fields.get("flags", "").split()
    ]
    return " ".join([fields.get("model name", platform.machine()), *flags])


def write_shards(folder: Path, sounds: Sequence[Samples], kind: str, copies: int) -> None:
    """Writes recordings as WAV or FLAC to tars of up to half an hour; further copies of each tar are hard links."""
    left, shards = list(enumerate(sounds)), 0
    while left:
        shard, seconds = folder / f"{shards:05d}-00000.tar", 0.0
        with tarfile.open(shard, "w", encoding="utf-8") as tar:
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


def kernels(model: ModelFile, sounds: Sequence[Samples], device: str, repeats: int) -> KernelReport:
    """Runs `kernel_times` in bfloat16, for as many of the sounds as fill a batch."""
    from actors.benchmark.kernel_times import kernel_times

    ends = np.cumsum([len(each) for each in sounds])
    batch = sounds[: max(int(np.searchsorted(ends, SIDES["fused, bfloat16"].sizes["cuda"] * SAMPLE_RATE)), 1)]
    return kernel_times(fetch(model), model.sha256, cache_folder(), device, "bfloat16", batch, repeats)


def random_reference_model(folder: Path) -> Path:
    """A `.nemo` of the reference model's shape with random weights, made once: 584 MB, in almost a minute."""
    path = folder / "citrinet_1024_random.nemo"
    if not is_intact(path):
        from actors.benchmark.citrinets import build, reference_config

        torch.manual_seed(1)
        model = build(reference_config([chr(0x4E00 + number) for number in range(5206)]))
        with new_file(path, with_digest=True) as partial:
            model.eval().save_to(str(partial))
    return path
