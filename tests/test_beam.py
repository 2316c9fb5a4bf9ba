"""The beam search against all paths there are, the greedy text and other libraries."""

import random
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from conftest import ROOT
from fusions import (
    NO_PHRASES,
    Weighted,
    all_texts,
    heard_of,
    nothing_fused,
    random_grammar,
    random_log_probs,
    wanted,
)
from hypothesis import given, settings
from hypothesis import strategies as st

from actors.engine.interface import Candidates
from actors.foreign.errors import InvalidData
from actors.text.beam import State, search
from actors.text.emissions import Heard
from actors.text.frames import frames_of
from actors.text.greedy import align

WIDE = 256


@st.composite
def segments(draw: Any) -> tuple[Heard, int]:
    """A segment and the blank of its model: of log-probabilities among which are many equals, also such as become equal
    only when they are rounded, some frames without a candidate, and candidates that were cut at a few."""
    blank = draw(st.integers(1, 6))
    rows = draw(st.integers(0, 14))
    drawn = draw(st.lists(st.integers(0, 24), min_size=rows * (blank + 1), max_size=rows * (blank + 1)))
    fine = draw(st.lists(st.integers(-3, 3), min_size=len(drawn), max_size=len(drawn)))
    log_probs = -np.array(drawn, np.float32) / 2 + np.array(fine, np.float32) / 100_000
    log_probs = np.minimum(log_probs, 0).reshape(rows, blank + 1)
    previous = draw(st.none() | st.integers(0, blank))
    return heard_of(log_probs, draw(st.integers(1, blank)), previous), blank


@settings(max_examples=200, deadline=None)
@given(segments(), st.integers(1, 12))
def test_nothing_fused_gives_the_greedy_text(segment: tuple[Heard, int], beam: int) -> None:
    heard, blank = segment
    (found,) = search(frames_of(heard, blank), beam, nothing_fused(blank), heard.previous)
    greedy = align(heard.best, heard.probability, blank, heard.previous)
    assert found.ids.tolist() == greedy.ids.tolist()


@pytest.mark.parametrize("seed", range(120))
def test_every_path(seed: int) -> None:
    """All texts with their scores, of a few frames, with a language model and phrases, of which some contain others."""
    draw, numbers = random.Random(seed), np.random.default_rng(seed)
    tokens, rows = draw.choice([2, 2, 3]), seed % 7
    rows = min(rows, 5) if tokens == 3 else rows
    previous = draw.choice([None, None, *range(tokens + 1)])
    is_followed = draw.random() < 0.5
    history = draw.choice([None, (), (0,), (1, 0), (0, 1, 1)])
    phrases = {(0, 1): 0.75, (0, 1, 0): 1.25, (1,): 0.5, (1, 0): 1.0, (1, 1): 2.0}
    some = {phrase: bonus for phrase, bonus in phrases.items() if draw.random() < 0.7}
    weighted = Weighted(
        random_grammar(tokens, draw),
        draw.choice([0.0, 0.5, 1.0]),
        draw.choice([-0.5, 0.0, 1.0]),
        wanted(some, draw),
        history,
    )
    frames = frames_of(heard_of(random_log_probs(rows, tokens + 1, numbers), 32, previous), tokens)
    wanted_scores = {
        text: score + weighted.score(text, is_followed) for text, score in all_texts(frames, tokens, previous).items()
    }
    fusion = weighted.fusion(tokens)
    found = search(frames, WIDE, fusion, previous, weighted.state(), is_followed, count=10_000)
    scores = {tuple(each.ids.tolist()): each.score for each in found}
    assert len(scores) == len(found) == len(wanted_scores)
    assert scores == pytest.approx(wanted_scores, abs=1e-9)
    assert [each.score for each in found] == sorted((each.score for each in found), reverse=True)
    for each in found:
        state = weighted.state_after(tuple(each.ids.tolist()))
        assert each.state == state
    (best,) = search(frames, WIDE, fusion, previous, weighted.state(), is_followed)
    assert best.score == found[0].score
    assert best.ids.tolist() == found[0].ids.tolist()


def test_repeated_tokens_need_a_blank_between_them() -> None:
    likely = np.log(np.array([[0.98, 0.02], [0.98, 0.02], [0.02, 0.98], [0.98, 0.02]], np.float32))
    fusion = nothing_fused(1)
    for previous, text in ((None, [0, 0]), (1, [0, 0]), (0, [0])):
        frames = frames_of(heard_of(likely, previous=previous), 1)
        assert search(frames, 4, fusion, previous)[0].ids.tolist() == text


def test_no_frames_and_one() -> None:
    fusion = nothing_fused(2)
    (found,) = search(frames_of(heard_of(np.zeros((0, 3), np.float32)), 2), 16, fusion, count=5)
    assert (found.ids.tolist(), found.score, found.state) == ([], 0.0, State(0, 0))
    one = np.log(np.array([[0.2, 0.7, 0.1]], np.float32))
    found_of_one = search(frames_of(heard_of(one), 2), 16, fusion, count=5)
    assert [each.ids.tolist() for each in found_of_one] == [[1], [0], []]
    assert found_of_one[0].score == pytest.approx(np.log(0.7), abs=2e-4)


def test_of_equal_texts_the_first() -> None:
    """With what is added all three tokens are equal: those of the lower rank among the candidates come first."""
    draw = random.Random(1)
    even = np.log(np.full((1, 4), 0.25, np.float32))
    fusion = Weighted(random_grammar(3, draw), 0.0, 2.0, NO_PHRASES).fusion(3)
    found = search(frames_of(heard_of(even), 3), 3, fusion, count=3)
    assert [each.ids.tolist() for each in found] == [[0], [1], [2]]


def test_a_narrow_beam_keeps_the_best() -> None:
    """Of any width the texts are some of all there are, with their scores, the best of which is no better than a wider
    beam's."""
    draw, numbers = random.Random(3), np.random.default_rng(3)
    weighted = Weighted(random_grammar(3, draw), 0.5, 1.0, wanted({(0, 1): 1.5, (2,): 0.5}, draw))
    frames = frames_of(heard_of(random_log_probs(6, 4, numbers)), 3)
    every = {text: score + weighted.score(text, False) for text, score in all_texts(frames, 3, None).items()}
    fusion = weighted.fusion(3)
    for beam in (1, 2, 5, 16, 64):
        found = search(frames, beam, fusion, count=beam)
        assert len(found) <= beam
        assert all(each.score <= every[tuple(each.ids.tolist())] + 1e-9 for each in found)
    assert found[0].score == pytest.approx(max(every.values()), abs=1e-9)


def test_what_is_no_emission_of_the_model() -> None:
    heard = heard_of(np.log(np.array([[0.7, 0.2, 0.1], [0.1, 0.2, 0.7]], np.float32)))
    assert heard.candidates is not None
    with pytest.raises(InvalidData, match="without candidates"):
        frames_of(heard._replace(candidates=None), 2)
    with pytest.raises(InvalidData, match="more than the 2 classes"):
        frames_of(heard, 1)
    for damaged in (
        heard._replace(best=np.array([1, 2], np.uint16)),
        heard._replace(candidates=heard.candidates._replace(ids=1 - heard.candidates.ids)),
        heard._replace(
            best=np.array([0], np.uint16), candidates=Candidates(*(np.zeros(each, "u1") for each in (1, 0, 0, 1)))
        ),
    ):
        with pytest.raises(InvalidData, match="not their first candidates"):
            frames_of(damaged, 2)
    with pytest.raises(ValueError, match="of which the fusion has 1"):
        search(frames_of(heard, 2), 4, nothing_fused(1))


STEP = """
import sys
sys.path[:0] = ["tests"]
from fusions import nothing_fused
from actors.text.compiled import arguments
from actors.text.compiled.steps import lm_step
print(lm_step(arguments(nothing_fused(2).lm), 0, 1))
"""


@pytest.mark.parametrize("own", ["CITRASCRIBE_CACHE", "NUMBA_CACHE_DIR"])
def test_compiled_code_is_kept_in_the_cache_folder(own: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """By two processes that compile at once, and not beside the source, which may be read-only."""
    monkeypatch.delenv("NUMBA_CACHE_DIR", raising=False)
    monkeypatch.setenv("CITRASCRIBE_CACHE", str(tmp_path / "others"))
    monkeypatch.setenv(own, str(tmp_path / "own"))
    command = [sys.executable, "-c", STEP]
    both = [subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) for _ in range(2)]
    assert [each.communicate()[0] for each in both] == ["(0.0, 0)\n"] * 2
    kept = list((tmp_path / "own").rglob("*.nbi"))
    assert {each.name.split("-")[0] for each in kept} == {"search.find", "steps.lm_step"}
    assert not list((ROOT / "actors").rglob("*.nbi"))
    before = {each: each.stat().st_mtime_ns for each in (tmp_path / "own").rglob("*.nb*")}
    assert subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout == "(0.0, 0)\n"
    assert {each: each.stat().st_mtime_ns for each in (tmp_path / "own").rglob("*.nb*")} == before
