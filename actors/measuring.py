"""One side of a benchmark in a process of its own: start-up, speed and memory of one way to transcribe."""

import resource
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import torch

from actors.batching import make_batches
from actors.models import ModelFile, fetch
from actors.schema import SAMPLE_RATE
from actors.transcriber import EngineSettings, load_engine

Samples = np.ndarray[Any, np.dtype[Any]]

#: name -> (how, precision, size of a batch: recordings for transcribe(), else padded seconds)
SIDES: dict[str, tuple[str, str, int]] = {
    "NeMo transcribe(), batch 4": ("transcribe", "float32", 4),
    "NeMo transcribe(), batch 16": ("transcribe", "float32", 16),
    "NeMo forward, sorted": ("nemo", "float32", 30),
    "NeMo forward, sorted, autocast": ("nemo", "bfloat16", 30),
    "fused, float32": ("fused", "float32", 30),
    "fused, bfloat16": ("fused", "bfloat16", 30),
}


def measure(
    side: str, model: ModelFile, sounds: Sequence[Samples], device: str, threads: int, repeats: int
) -> dict[str, Any]:
    """Medians over `repeats` passes, after one to warm up on the longest batch.

    rtfx: seconds of audio a second; start_s: from a process with torch to a loaded model; padding: share of the samples
    in batches that are filling (the fused engine has none, but a few rows of zeros between recordings); peak_gb:
    resident memory of the process at its highest.
    """
    how, precision, size = SIDES[side]
    began = time.perf_counter()
    transcribe, batches = _prepare(how, precision, size, model, sounds, device, threads)
    started = time.perf_counter() - began
    transcribe(batches[0])
    passes = []
    for _ in range(repeats):
        began = time.perf_counter()
        for batch in batches:
            transcribe(batch)
        passes.append(time.perf_counter() - began)
    seconds = sum(map(len, sounds)) / SAMPLE_RATE
    padded = sum(max(map(len, batch)) * len(batch) for batch in batches) / SAMPLE_RATE
    if how == "transcribe":  # batches of its own making, in the order given
        rows = [sounds[first : first + size] for first in range(0, len(sounds), size)]
        padded = sum(max(map(len, row)) * len(row) for row in rows) / SAMPLE_RATE
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)
    return {
        "side": side,
        "rtfx": round(seconds / median(passes), 2),
        "padding": 0.0 if how == "fused" else round(1 - seconds / padded, 4),
        "start_s": round(started, 1),
        "peak_gb": round(peak / 1e9, 2),
        "passes_s": [round(each, 2) for each in passes],
    }


def _prepare(
    how: str, precision: str, size: int, model: ModelFile, sounds: Sequence[Samples], device: str, threads: int
) -> tuple[Callable[[list[Samples]], Any], list[list[Samples]]]:
    """What transcribes a batch, and the batches it is given."""
    if how != "transcribe":
        engine = load_engine(model, EngineSettings(how, device, precision, threads, size))
        indices = make_batches([len(each) for each in sounds], size * SAMPLE_RATE)
        return engine.transcribe, [[sounds[index] for index in batch] for batch in indices]
    torch.set_num_threads(threads)
    from nemo.collections.asr.models import ASRModel

    nemo = ASRModel.restore_from(str(fetch(model)), map_location=device).eval()

    def as_shipped(batch: list[Samples]) -> Any:
        floats = [pcm.astype(np.float32) / 32_768 for pcm in batch]
        return nemo.transcribe(floats, batch_size=size, verbose=False)

    return as_shipped, [list(sounds)]


def generated_sounds(minutes: float, seed: int = 1) -> list[Samples]:
    """Noise in recordings of 2 to 15 s, int16; how long an engine takes does not depend on what is said."""
    draw, sounds, left = np.random.default_rng(seed), list[Samples](), minutes * 60
    while left > 0:
        seconds = min(draw.uniform(2, 15), max(left, 2))
        sounds.append(draw.normal(0, 2_000, round(seconds * SAMPLE_RATE)).astype(np.int16))
        left -= seconds
    return sounds


def random_reference_model(folder: Path) -> Path:
    """A `.nemo` of the reference model's shape with random weights, made once: 584 MB, most of a minute."""
    path = folder / "citrinet_1024_random.nemo"
    if not path.exists():
        from actors.nemo_models import build, reference_config

        torch.manual_seed(1)
        model = build(reference_config([chr(0x4E00 + number) for number in range(5206)]))
        folder.mkdir(parents=True, exist_ok=True)
        partial = path.with_suffix(".partial.nemo")
        model.eval().save_to(str(partial))
        partial.replace(path)
    return path
