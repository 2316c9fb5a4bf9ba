"""The engine on kernels gives what the one on plain torch does: on a GPU, or in Triton's interpreter."""

import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from conftest import DEMO_MODEL
from interpreter import DEVICE
from test_citrinet import MODELS, engine_of, in_both_forms, nemo_alone, sounds_of, texts_of

from actors.audio.pcm import as_float
from actors.engine.citrinet.gpu_engine import GpuEngine
from actors.engine.models import resolve
from actors.transcriber import hear_within_memory

ON_A_GPU = pytest.mark.skipif(DEVICE.type == "cpu", reason="there is no GPU")


def on_kernels(path: Path, folder: Path, precision: str = "float32", seconds: float = 5) -> GpuEngine:
    return GpuEngine(path, resolve(str(path), None, {}).sha256, folder, str(DEVICE), precision, seconds)


def demo_sounds(speech: list[tuple[np.ndarray, str]], count: int) -> list[np.ndarray]:
    return [(samples * 32_767).astype(np.int16) for samples, _ in speech[:count]]


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_demo_speech_reads_as_it_should(precision: str, speech: Any, tmp_path: Path) -> None:
    engine, twin = (
        on_kernels(DEMO_MODEL, tmp_path, precision, 60 if DEVICE.type == "cuda" else 6),
        engine_of(DEMO_MODEL, tmp_path, precision),
    )
    count = len(speech) if DEVICE.type == "cuda" else 1
    sounds = demo_sounds(speech, count)
    assert texts_of(DEMO_MODEL, engine, sounds) == [text for _, text in speech[:count]]
    for ours, theirs in zip(engine.transcribe(sounds), twin.transcribe(sounds), strict=True):
        assert (ours.best == theirs.best).mean() > (0.999 if precision == "float32" else 0.97)
        assert np.abs(ours.probability - theirs.probability).max() < (1e-3 if precision == "float32" else 0.2)


@pytest.mark.parametrize("name", ["small kernels", "stride of 4", "without gates", "pieces", "quartznet"])
def test_the_family_gives_nemos_text(name: str, lively_model: Callable[..., Path], tmp_path: Path) -> None:
    path = lively_model(f"family {name}", **MODELS[name])
    sounds = sounds_of([0.1, 0.35, 1.234])
    engine, (log_probs, texts) = on_kernels(path, tmp_path), nemo_alone(path, sounds)
    for ours, text, wanted in zip(texts_of(path, engine, sounds), texts, log_probs, strict=True):
        best, second = wanted.topk(2, dim=1).values.T
        assert ours == text or bool((best - second < 2e-3).any())


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_a_batch_never_changes_a_result_to_the_bit(
    precision: str, lively_model: Callable[..., Path], tmp_path: Path
) -> None:
    engine = on_kernels(lively_model("family pieces", **MODELS["pieces"]), tmp_path, precision)
    sounds = in_both_forms(sounds_of([0.7, 1.5, 0.1, 1.2]))
    together = engine.transcribe(sounds)
    for sound, frames in zip(sounds[::-1], together[::-1], strict=True):  # what lies beyond it is of the batch before
        (alone,) = engine.transcribe([sound])
        assert np.array_equal(alone.best, frames.best)
        assert np.array_equal(alone.probability, frames.probability)


@pytest.mark.parametrize("on", ["kernels", "torch"])
def test_the_same_sound_in_either_form_is_the_same_to_the_bit(
    on: str, lively_model: Callable[..., Path], tmp_path: Path
) -> None:
    engine = (on_kernels if on == "kernels" else engine_of)(lively_model("family pieces", **MODELS["pieces"]), tmp_path)
    sounds = sounds_of([0.7, 1.1])
    for ours, theirs in zip(
        engine.transcribe([as_float(each) for each in sounds]), engine.transcribe(sounds), strict=True
    ):
        assert np.array_equal(ours.best, theirs.best)
        assert np.array_equal(ours.probability, theirs.probability)


def test_batches_beyond_its_memory_are_split(lively_model: Callable[..., Path], tmp_path: Path) -> None:
    engine = on_kernels(lively_model("family pieces", **MODELS["pieces"]), tmp_path, seconds=3)
    sounds = sounds_of([2.5, 0.5, 2.4, 1.5])
    with pytest.raises(torch.OutOfMemoryError):
        engine.transcribe(sounds)
    split = hear_within_memory(engine, sounds)
    for sound, frames in zip(sounds, split, strict=True):
        assert np.array_equal(engine.transcribe([sound])[0].best, frames.best)


def test_threads_share_it(lively_model: Callable[..., Path], tmp_path: Path) -> None:
    engine = on_kernels(lively_model("family pieces", **MODELS["pieces"]), tmp_path)
    batches = [sounds_of([0.2, 0.7], seed) for seed in range(4)]
    expected = [engine.transcribe(batch) for batch in batches]
    found: dict[int, Any] = {}
    threads = [
        threading.Thread(target=lambda each=each: found.update({each: engine.transcribe(batches[each])}))
        for each in range(len(batches))
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for number, frames in enumerate(expected):
        for ours, theirs in zip(found[number], frames, strict=True):
            assert np.array_equal(ours.best, theirs.best)


@ON_A_GPU
def test_a_small_card_has_smaller_batches(tmp_path: Path) -> None:
    """Simulated by the share of the memory that this process may have."""
    free, whole = torch.cuda.mem_get_info()
    torch.cuda.set_per_process_memory_fraction(min(torch.cuda.memory_reserved() + 600e6, free) / whole)
    try:
        engine = on_kernels(DEMO_MODEL, tmp_path, "bfloat16", seconds=3_600)
        assert engine.max_seconds < 3_600
        sounds = sounds_of([20.0] * 180)
        frames = hear_within_memory(engine, sounds)
        assert np.array_equal(engine.transcribe(sounds[-1:])[0].best, frames[-1].best)
    finally:
        torch.cuda.set_per_process_memory_fraction(1.0)


@ON_A_GPU
def test_it_says_how_long_the_gpu_worked(tmp_path: Path) -> None:
    engine = on_kernels(DEMO_MODEL, tmp_path, "bfloat16")
    engine.transcribe(sounds_of([2.0]))
    once = engine.busy_seconds
    engine.transcribe(sounds_of([2.0]))
    assert 0 < once < engine.busy_seconds < 5
