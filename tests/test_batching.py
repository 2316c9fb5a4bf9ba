"""Batches: everything once, within the limits, and as even or as alike as their engine likes them."""

from collections.abc import Callable
from functools import partial

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from actors.engine.batching import even_batches, make_batches, padded_batches, shrinking_batches
from actors.engine.interface import Capacity

LENGTHS = st.lists(st.integers(1, 500), max_size=60)
MAKERS: dict[str, Callable[[list[int], Capacity], list[list[int]]]] = {
    "even": even_batches,
    "shrinking": partial(shrinking_batches, streams=3),
    "padded": lambda lengths, limit: padded_batches(lengths, limit.samples),
}


@pytest.mark.parametrize("name", MAKERS)
@given(lengths=LENGTHS, samples=st.integers(1, 2_000), recordings=st.integers(1, 20))
def test_batches_hold_everything_once_and_keep_the_limits(
    name: str, lengths: list[int], samples: int, recordings: int
) -> None:
    batches = MAKERS[name](lengths, Capacity(samples, recordings))
    assert sorted(index for batch in batches for index in batch) == list(range(len(lengths)))
    for batch in batches:
        own = [lengths[index] for index in batch]
        assert len(own) == 1 or (max(own) * len(own) if name == "padded" else sum(own)) <= samples
        assert len(own) <= recordings or name == "padded"
        assert own == sorted(own, reverse=True)


@given(lengths=LENGTHS.filter(bool), samples=st.integers(500, 2_000))
def test_even_batches_differ_by_less_than_their_longest_recording(lengths: list[int], samples: int) -> None:
    batches = even_batches(lengths, Capacity(samples))
    sums = [sum(lengths[index] for index in batch) for batch in batches]
    assert max(sums) - min(sums) <= max(lengths)


def test_a_minute_too_much_makes_two_halves() -> None:
    lengths = np.random.default_rng(0).uniform(2, 15, 430).tolist()
    seconds = [round(1_000 * each * 3_660 / sum(lengths)) for each in lengths]  # 61 minutes
    batches = make_batches(seconds, Capacity(3_600_000), pads=False)
    sums = [sum(seconds[index] for index in batch) / 60_000 for batch in batches]
    assert [round(each, 1) for each in sums] == [30.5, 30.5]
    assert abs(len(batches[0]) - len(batches[1])) <= 2


def test_batches_without_padding_are_as_few_as_the_audio_fills() -> None:
    seconds = np.random.default_rng(1).uniform(2, 15, 1_058).astype(int).tolist()  # two and a half hours
    limit = -(-sum(seconds) // 3) + 1
    assert len(make_batches(seconds, Capacity(limit), pads=False)) == 3
    assert len(make_batches(seconds, Capacity(limit), pads=True)) > 3


def test_short_clips_are_counted() -> None:
    batches = even_batches([1] * 100, Capacity(samples=1_000, recordings=30))
    assert [len(batch) for batch in batches] == [25] * 4
