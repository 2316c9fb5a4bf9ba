"""Alignment by Viterbi against all paths there are, and against the greedy path."""

import itertools
import math
import random

import numpy as np
import pytest
from fusions import heard_of, log_probs_in, random_log_probs, text_of
from hypothesis import given, settings
from test_beam import segments

from actors.engine.interface import THRESHOLD
from actors.text.alignment import align_tokens
from actors.text.emissions import Heard
from actors.text.frames import frames_of
from actors.text.greedy import align

LONG = 5_000  # frames: of more than two blocks of those that are aligned at once


def assert_greedy(heard: Heard, blank: int) -> None:
    greedy = align(heard.best, heard.probability, blank, heard.previous)
    aligned = align_tokens(greedy.ids.tolist(), frames_of(heard, blank), heard.previous)
    assert aligned is not None
    assert aligned.tokens.ids.tolist() == greedy.ids.tolist()
    assert aligned.tokens.begins.tolist() == greedy.begins.tolist()
    assert aligned.tokens.ends.tolist() == greedy.ends.tolist()
    assert aligned.tokens.confidences == pytest.approx(greedy.confidences, rel=3e-4, abs=1e-6)


@settings(max_examples=200, deadline=None)
@given(segments())
def test_the_greedy_text_is_on_the_greedy_path(segment: tuple[Heard, int]) -> None:
    assert_greedy(*segment)


@pytest.mark.parametrize("previous", [None, 0, 3])
def test_of_long_recordings_too(previous: int | None) -> None:
    log_probs = random_log_probs(LONG, 4, np.random.default_rng(5), spread=0.3)
    assert_greedy(heard_of(np.maximum(log_probs, -15), previous=previous), 3)


def test_the_best_class_of_many_is_less_likely_than_the_floor() -> None:
    """Of 20,000 classes that are nearly equal."""
    even = np.full((4, 20_001), -math.log(20_001), np.float32)
    even[[0, 1, 2, 3], [5, 20_000, 5, 7]] += 1e-3
    assert_greedy(heard_of(even), 20_000)


@pytest.mark.parametrize("seed", range(60))
def test_every_path(seed: int) -> None:
    """Of any text, whose tokens are no candidates in some frames."""
    draw, numbers = random.Random(seed), np.random.default_rng(seed)
    tokens, rows = draw.choice([1, 2, 3]), draw.randint(0, 6 if seed % 3 else 5)
    previous, floor = draw.choice([None, *range(tokens + 1)]), draw.choice([THRESHOLD, -20.0])
    frames = frames_of(heard_of(random_log_probs(rows, tokens + 1, numbers, 0.2), draw.choice([1, 32])), tokens)
    each_frame = [dict.fromkeys(range(tokens), floor) | log_probs_in(frames, frame, tokens) for frame in range(rows)]
    best = dict[tuple[int, ...], tuple[float, tuple[int, ...]]]()
    for path in itertools.product(range(tokens + 1), repeat=rows):
        text = text_of(path, tokens, previous)
        score = sum(each[label] for each, label in zip(each_frame, path, strict=True))
        best[text] = max(best.get(text, (score, path)), (score, path))
    for length in range(rows + 2):
        for text in itertools.product(range(tokens), repeat=length):
            aligned = align_tokens(text, frames, previous, floor)
            if text not in best:
                assert aligned is None
                continue
            assert aligned is not None
            assert aligned.log_prob == pytest.approx(best[text][0], abs=1e-9)
            path = [tokens] * rows
            if length == 0 or (rows and previous is not None and aligned.tokens.begins[0] > 0):
                continue  # frames that continue `previous` are no token's
            for token, begin, end, mean in zip(*aligned.tokens, strict=True):
                assert 0 <= begin < end <= rows
                path[begin:end] = [token] * (end - begin)
                own = [math.exp(each_frame[frame][token]) for frame in range(begin, end)]
                assert mean == pytest.approx(min(sum(own) / len(own), 1.0))
            assert text_of(path, tokens, previous) == text
            likely = sum(each[label] for each, label in zip(each_frame, path, strict=True))
            assert likely == pytest.approx(best[text][0], abs=1e-9)


def test_too_few_frames() -> None:
    frames = frames_of(heard_of(random_log_probs(3, 3, np.random.default_rng(1))), 2)
    assert align_tokens([0, 1, 0], frames) is not None
    assert align_tokens([0, 0, 1], frames) is None
    assert align_tokens([0, 0], frames) is not None
    assert align_tokens([0, 0], frames, previous=0) is None
    assert align_tokens([0, 1, 0, 1], frames) is None
    nothing = align_tokens([], frames)
    assert nothing is not None
    assert len(nothing.tokens.ids) == 0
    assert align_tokens([9], frames) is not None  # a token that no frame has


def test_of_equal_paths_that_which_moves_on_first() -> None:
    even = np.log(np.full((4, 2), 0.5, np.float32))
    heard = heard_of(even)
    frames = frames_of(heard, 1)
    frames = frames._replace(log_probs=frames.log_probs * 0 - 1.0, blank=frames.blank * 0 - 1.0)
    aligned = align_tokens([0], frames)
    assert aligned is not None
    assert (aligned.tokens.begins.tolist(), aligned.tokens.ends.tolist()) == ([0], [1])
