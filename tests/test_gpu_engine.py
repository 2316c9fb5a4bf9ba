"""The engine on kernels gives what the one on plain torch does: on a GPU, or in Triton's interpreter."""

import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from conftest import DEMO_MODEL
from interpreter import DEVICE
from test_citrinet import MODELS, engine_of, in_both_forms, nemo_alone, sounds_of, texts_of

from actors.audio.pcm import as_float
from actors.engine.citrinet import checkpoint
from actors.engine.citrinet.cpu_layers import CpuLayers
from actors.engine.citrinet.encoder import Encoder
from actors.engine.citrinet.features import Features
from actors.engine.citrinet.gpu_engine import GpuEngine
from actors.engine.citrinet.gpu_layers import GpuLayers
from actors.engine.citrinet.graph import Network
from actors.engine.citrinet.graphs import Graphs
from actors.engine.faults import hear_within_memory
from actors.engine.interface import Emission, EngineSettings
from actors.engine.models import resolve
from actors.transcriber import EngineRunner, Sound

ON_A_GPU = pytest.mark.skipif(DEVICE.type == "cpu", reason="there is no GPU")


def on_kernels(path: Path, folder: Path, precision: str = "float32", seconds: float = 5) -> GpuEngine:
    return GpuEngine(path, resolve(str(path), None, {}).sha256, folder, str(DEVICE), precision, seconds)


def graphs_of(path: Path, folder: Path, seconds: float) -> Graphs:
    config, tensors = checkpoint.load(path, resolve(str(path), None, {}).sha256, folder)
    layers = GpuLayers(DEVICE, torch.float32)
    with torch.no_grad():
        features, encoder = (
            Features(layers, config["features"], tensors),
            Encoder(layers, config["blocks"], tensors),
        )
    return Graphs(Network(layers, features, encoder), seconds)


def demo_sounds(speech: list[tuple[np.ndarray, str]], count: int) -> list[np.ndarray]:
    return [(samples * 32_767).astype(np.int16) for samples, _ in speech[:count]]


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_demo_speech_reads_as_it_should(precision: str, speech: Any, tmp_path: Path) -> None:
    engine, twin = (
        on_kernels(DEMO_MODEL, tmp_path, precision, 120 if DEVICE.type == "cuda" else 6),
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


def test_a_graph_of_any_size_gives_the_same(lively_model: Callable[..., Path], tmp_path: Path) -> None:
    """Small and large batches take turns in the same memory, and each takes the smallest graph that holds it."""
    graphs, used = graphs_of(lively_model("family pieces", **MODELS["pieces"]), tmp_path, seconds=2), list[int]()
    for number, graph in enumerate(graphs.sizes):
        load = graph.load
        graph.load = lambda slot, number=number, load=load: [used.append(number), load(slot)]
    batches = [sounds_of(seconds) for seconds in ([0.2], [1.1, 0.8], [0.2], [0.3, 0.6], [0.2], [0.9, 1.1])]
    found = [graphs(batch) for batch in batches]
    assert used == [0, 7, 0, 5, 0, 7]
    for graph in graphs.sizes[:-1]:
        graph.layout.holds = lambda packings: False
    for batch, emissions in zip(batches, found, strict=True):
        for ours, theirs in zip(graphs(batch), emissions, strict=True):
            assert np.array_equal(ours.best, theirs.best)
            assert np.array_equal(ours.probability, theirs.probability)
    assert used[6:] == [7] * 6


def test_whatever_is_within_its_capacity_fits(tmp_path: Path) -> None:
    """Recordings as short as they may be, as many as it holds, and one as long as it holds; each of them exactly."""
    graphs = graphs_of(DEMO_MODEL, tmp_path, seconds=7)
    samples, recordings = graphs.capacity
    assert (samples, recordings) == (7 * 16_000, 6)
    most = samples // recordings
    for lengths in ([1_600] * recordings, [most] * recordings, [samples], [most - 160] * (recordings - 1) + [most]):
        packings = graphs.network.packings([np.zeros(length, np.int16) for length in lengths])
        assert graphs.sizes[-1].layout.holds(packings)


def test_short_clips_are_batched_by_what_fits(lively_model: Callable[..., Path], tmp_path: Path) -> None:
    """No batch is refused, and so none is split in halves."""
    path = lively_model("family pieces", **MODELS["pieces"])
    settings = EngineSettings("fused", str(DEVICE), "float32", 1, 3)
    with pytest.MonkeyPatch.context() as patch:
        engine = on_kernels(path, tmp_path, seconds=2)  # a small card: less than the settings ask for
        patch.setattr("actors.transcriber.load_engine", lambda *_: engine)
        runner = EngineRunner(resolve(str(path), None, {}), settings)
    calls, transcribe = list[int](), engine.transcribe
    engine.transcribe = lambda batch: (calls.append(len(batch)), transcribe(batch))[1]  # type: ignore[method-assign]
    heard = runner.hear([Sound(sound, is_first=True) for sound in sounds_of([0.1] * 5 + [1.4, 1.2])])
    assert all(isinstance(each, Emission) for each in heard)
    assert engine.capacity == (2 * 16_000, 2)
    assert sorted(calls) == [1, 2, 2, 2]


def test_sound_that_may_not_be_written_is_packed_without_a_word(tmp_path: Path) -> None:
    """As that over Ray's store. A warning would be an error here."""
    config, tensors = checkpoint.load(DEMO_MODEL, resolve(str(DEMO_MODEL), None, {}).sha256, tmp_path)
    features = Features(CpuLayers(torch.float32), config["features"], tensors)
    for batch in (sounds_of([0.1, 0.35]), in_both_forms(sounds_of([0.1, 0.35]))):
        packing = features.packing(batch, 4)
        for sound in batch:
            sound.flags.writeable = False
        packed, ends = features.packed(batch, packing)
        expected = np.zeros(features.samples(packing.rows), np.float32)
        for sound, start, end in zip(batch, packing.starts * features.hop + features.n_fft // 2, ends, strict=True):
            expected[start:end] = as_float(sound)
        packed_as_float = as_float(packed.numpy())
        assert np.array_equal(packed_as_float, expected)


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
        samples, recordings = engine.capacity
        assert samples < 3_600 * 16_000
        frames = engine.transcribe(sounds := sounds_of([samples / 16_000 / recordings] * recordings))
        assert np.array_equal(engine.transcribe(sounds[-1:])[0].best, frames[-1].best)
    finally:
        torch.cuda.set_per_process_memory_fraction(1.0)


@ON_A_GPU
def test_waiting_for_the_gpu_takes_no_processor_time(tmp_path: Path) -> None:
    graphs, sounds = graphs_of(DEMO_MODEL, tmp_path, seconds=60), sounds_of([2.0])
    graphs(sounds)
    with torch.cuda.stream(graphs.compute):
        torch.cuda._sleep(2_000_000_000)  # noqa: SLF001 - of torch's own tests; about a second
    began, processor = time.perf_counter(), time.thread_time()
    graphs(sounds)
    assert time.thread_time() - processor < 0.3 * (time.perf_counter() - began)


@ON_A_GPU
def test_batches_at_once_count_no_second_twice(tmp_path: Path) -> None:
    engine, sounds = on_kernels(DEMO_MODEL, tmp_path, "bfloat16", 600), sounds_of([15.0] * 40)
    engine.transcribe(sounds)
    before, began = engine.busy_seconds, time.perf_counter()
    with ThreadPoolExecutor(3) as pool:
        list(pool.map(engine.transcribe, [sounds] * 12))
    assert 0 < engine.busy_seconds - before <= time.perf_counter() - began


@ON_A_GPU
def test_it_says_how_long_the_gpu_worked(tmp_path: Path) -> None:
    engine = on_kernels(DEMO_MODEL, tmp_path, "bfloat16")
    engine.transcribe(sounds_of([2.0]))
    once = engine.busy_seconds
    engine.transcribe(sounds_of([2.0]))
    assert 0 < once < engine.busy_seconds < 5
