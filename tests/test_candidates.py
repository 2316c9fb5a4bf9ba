"""Candidates of frames: what counts as one, on every engine, and that asking for them changes nothing else."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from conftest import DEMO_MODEL
from hypothesis import given, settings
from hypothesis import strategies as st
from interpreter import DEVICE
from test_citrinet import MODELS, in_both_forms, sounds_of

from actors.engine.citrinet.candidates import CandidateTable, list_candidates
from actors.engine.citrinet.cpu_layers import CpuLayers
from actors.engine.citrinet.engine import CitrinetEngine
from actors.engine.citrinet.gpu_engine import GpuEngine
from actors.engine.citrinet.gpu_layers import GpuLayers
from actors.engine.citrinet.kernels import log_prob_code, tl, triton  # after the interpreter
from actors.engine.citrinet.levels import levels_of
from actors.engine.citrinet.packing import pack
from actors.engine.interface import CODES_PER_NAT, THRESHOLD, Candidates, Emission, Engine, log_prob_codes
from actors.engine.models import resolve
from actors.engine.nemo import NemoEngine

MOST = 8
Frame = list[tuple[int, int]]  # ids and codes of its candidates


def frames_of(found: Candidates) -> list[Frame]:
    """The candidates of each frame."""
    ends = np.cumsum(found.counts, dtype=int)
    assert len(found.ids) == len(found.log_probs) == (ends[-1] if len(ends) else 0)
    pairs = list(zip(found.ids.tolist(), found.log_probs.tolist(), strict=True))
    return [pairs[end - count : end] for end, count in zip(ends.tolist(), found.counts.tolist(), strict=True)]


def on_torch(logits: torch.Tensor, most: int) -> Candidates:
    packing = pack([len(logits)], 0)
    best, _ = CpuLayers(torch.float32).best(logits, packing)
    return list_candidates(logits, logits.logsumexp(1), best, most)


def on_kernels(logits: torch.Tensor, most: int) -> Candidates:
    (level,) = levels_of([pack([len(logits)], 0)], DEVICE, spare=3)
    wide = torch.full((len(logits) + 3, logits.shape[1]), float("nan"))
    wide[: len(logits)] = logits
    table = GpuLayers(DEVICE, torch.float32).candidates(wide.to(DEVICE), level, most)
    (found,) = CandidateTable(*(each.cpu() for each in table)).split([slice(0, len(logits))])
    return found


def as_defined(logits: torch.Tensor, most: int) -> list[Frame]:
    """The candidates by their definition, one frame at a time."""
    frames, blank = list[Frame](), logits.shape[1] - 1
    for row in logits:
        log_probs = (row - row.logsumexp(0)).numpy()
        order = sorted(range(blank), key=lambda token: (-float(row[token]), token))
        best = int(np.argmax(row.numpy()))
        listed = [token for token in order if log_probs[token] > np.float32(THRESHOLD) or token == best][:most]
        frames.append([(token, int(log_prob_codes(log_probs[token : token + 1])[0])) for token in listed])
    return frames


@pytest.mark.parametrize("on", [on_torch, on_kernels])
def test_what_a_candidate_is(on: Callable[[torch.Tensor, int], Candidates]) -> None:
    """Of logits among which there are many equals."""

    @settings(max_examples=150 if on is on_torch else 25, deadline=None)
    @given(st.data(), st.integers(1, 6), st.integers(2, 12), st.integers(1, MOST))
    def holds(data: Any, rows: int, classes: int, most: int) -> None:
        drawn = data.draw(st.lists(st.integers(-24, 24), min_size=rows * classes, max_size=rows * classes))
        logits = torch.tensor(drawn, dtype=torch.float32).view(rows, classes) / 2
        found = on(logits, most)
        frames, wanted = frames_of(found), as_defined(logits, most)
        assert [[token for token, _ in frame] for frame in frames] == [
            [token for token, _ in frame] for frame in wanted
        ]
        pairs = zip(*([code for frame in each for _, code in frame] for each in (frames, wanted)), strict=True)
        codes = [abs(ours - theirs) for ours, theirs in pairs]
        blank = log_prob_codes((logits[:, -1] - logits.logsumexp(1)).numpy()).astype(int)
        codes += np.abs(found.blank.astype(int) - blank).tolist()
        assert max(codes) <= (0 if on is on_torch else 1)
        assert (found.ids.dtype, found.log_probs.dtype, found.blank.dtype) == (np.uint16,) * 3
        assert found.counts.dtype == np.uint8

    holds()


@pytest.mark.parametrize("on", [on_torch, on_kernels])
@pytest.mark.parametrize("classes", [20_000, 65_536])
def test_the_best_class_is_listed_however_many_there_are(on: Any, classes: int) -> None:
    logits = torch.zeros(4, classes)
    logits[1, classes - 1] = 0.1
    logits[2, classes - 2] = 0.1
    logits[3, [7, 40_000 % classes]] = 12.0
    found = on(logits, 4)
    frames = [[token for token, _ in frame] for frame in frames_of(found)]
    assert frames == [[0], [], [classes - 2], sorted([7, 40_000 % classes])]
    flat = int(np.rint(np.log(classes) * CODES_PER_NAT))
    assert abs(int(found.blank[0]) - flat) <= 2


@triton.jit
def coded(x, y, SIZE: tl.constexpr, PER_NAT: tl.constexpr):
    at = tl.arange(0, SIZE)
    tl.store(y + at, log_prob_code(tl.load(x + at), PER_NAT))


def test_log_probabilities_are_rounded_alike_everywhere() -> None:
    """Halves of a step among them, and what lies beyond 16 bits."""
    draw = np.random.default_rng(1)
    halves = -(draw.integers(0, 65_536, 500) + 0.5) / CODES_PER_NAT
    log_probs = np.concatenate([halves, -draw.exponential(5, 519), [0.0, 1e-3, -16.0, -50.0, -np.inf]])
    log_probs = log_probs.astype(np.float32)
    codes = torch.empty(len(log_probs), dtype=torch.int16, device=DEVICE)
    coded[(1,)](torch.from_numpy(log_probs).to(DEVICE), codes, SIZE=len(log_probs), PER_NAT=CODES_PER_NAT)
    wanted = log_prob_codes(log_probs)
    assert np.array_equal(codes.cpu().numpy().view(np.uint16), wanted)
    assert wanted[-5:].tolist() == [0, 0, 65_535, 65_535, 65_535]
    inside = log_probs > -15.99
    assert np.abs(wanted[inside] / CODES_PER_NAT + np.minimum(log_probs[inside], 0)).max() <= 0.5 / CODES_PER_NAT + 1e-6


def fused(path: Path, folder: Path, candidates: int, precision: str = "float32") -> CitrinetEngine:
    return CitrinetEngine(path, resolve(str(path), None, {}).sha256, folder, precision, candidates)


def fused_on_kernels(path: Path, folder: Path, candidates: int, precision: str = "float32") -> GpuEngine:
    return GpuEngine(path, resolve(str(path), None, {}).sha256, folder, str(DEVICE), precision, 6, candidates)


def nemos(path: Path, _folder: Path, candidates: int, precision: str = "float32") -> NemoEngine:
    return NemoEngine(path, DEVICE.type, precision, candidates)


def check_against_greedy(emission: Emission, greedy: Emission, blank: int) -> None:
    assert greedy.candidates is None
    assert emission.candidates is not None
    assert np.array_equal(emission.best, greedy.best)
    assert np.array_equal(emission.probability, greedy.probability)
    frames = frames_of(emission.candidates)
    assert len(frames) == len(emission.best) == len(emission.candidates.blank)
    for frame, best, probability, unspoken in zip(*_columns(emission, frames), strict=True):
        codes = [code for _, code in frame]
        assert codes == sorted(codes)
        assert len(frame) <= MOST
        code = unspoken if best == blank else codes[0]
        assert best in (blank, *(token for token, _ in frame[:1]))
        assert code == min([unspoken, *codes])
        assert abs(code / CODES_PER_NAT + np.log(probability)) < 1e-3


def _columns(emission: Emission, frames: list[Frame]) -> tuple[list[Any], ...]:
    assert emission.candidates is not None
    return frames, emission.best.tolist(), emission.probability.tolist(), emission.candidates.blank.tolist()


@pytest.mark.parametrize(
    ("make", "precision"),
    [
        (fused, "float32"),
        (fused, "bfloat16"),
        (fused_on_kernels, "bfloat16"),
        (nemos, "float32"),
        (nemos, "bfloat16"),
    ],
)
def test_a_batch_changes_no_candidate_and_candidates_change_nothing(
    make: Callable[..., Engine], precision: str, lively_model: Callable[..., Path], tmp_path: Path
) -> None:
    path = lively_model("family pieces", **MODELS["pieces"])
    engine, greedy = make(path, tmp_path, MOST, precision), make(path, tmp_path, 0, precision)
    sounds = in_both_forms(sounds_of([0.4, 0.8, 0.1]))
    together = engine.transcribe(sounds)
    for emission, plain in zip(together, greedy.transcribe(sounds), strict=True):
        check_against_greedy(emission, plain, engine.blank)
    if make is nemos:
        return  # whose own forward pass may round otherwise in another batch
    for sound, emission in zip(sounds[::-1], together[::-1], strict=True):
        (alone,) = engine.transcribe([sound])
        assert alone.candidates is not None
        assert emission.candidates is not None
        for ours, theirs in zip(alone.candidates, emission.candidates, strict=True):
            assert np.array_equal(ours, theirs)


def test_engines_agree_on_candidates(speech: Any, tmp_path: Path) -> None:
    """But for those that are within the engines' tolerance of the last one, or of the threshold."""
    sounds = [(samples * 32_767).astype(np.int16) for samples, _ in speech[:1]]
    theirs, *others = (make(DEMO_MODEL, tmp_path, MOST).transcribe(sounds) for make in (nemos, fused, fused_on_kernels))
    tolerance = 5  # steps: 0.001 of a log-probability, and one of rounding
    for ours in others:
        for one, other in zip(ours, theirs, strict=True):
            assert one.candidates is not None
            assert other.candidates is not None
            assert np.abs(one.candidates.blank.astype(int) - other.candidates.blank).max() <= tolerance
            both = frames_of(one.candidates), frames_of(other.candidates)
            assert {len(frame) for frame in both[0]} >= {0, 1, 2}
            for frames in zip(*both, strict=True):
                codes = [dict(frame) for frame in frames]
                last = [frame[-1][1] if len(frame) == MOST else -THRESHOLD * CODES_PER_NAT for frame in frames]
                for token in codes[0].keys() | codes[1].keys():
                    here, there = (each.get(token, end) for each, end in zip(codes, last, strict=True))
                    assert abs(here - there) <= tolerance
