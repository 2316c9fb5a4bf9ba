"""What two hearings of one stretch of sound, or two neighbours, are joined to."""

import numpy as np
import pytest

from actors.engine.interface import Emission
from actors.schema import SAMPLE_RATE
from actors.text.greedy import align
from actors.text.join import SegmentAudio, switch_frame


@pytest.mark.parametrize(
    ("left", "right", "place"),
    [
        ([1, 0, 0, 0, 0, 2], [1, 0, 0, 0, 0, 2], 3),
        ([5, 5, 1, 1, 1, 2], [5, 5, 1, 1, 1, 3], 3),  # nothing said near the middle: where both agree
        ([0, 0, 1, 2, 0, 0], [0, 0, 1, 3, 0, 0], 1),
        ([1, 2, 3, 4, 5, 6], [6, 5, 4, 3, 2, 1], 3),
    ],
)
def test_where_two_hearings_are_joined(left: list[int], right: list[int], place: int) -> None:
    assert switch_frame(np.array(left), np.array(right), blank=0) == place


def test_only_neighbours_are_joined() -> None:
    second = np.zeros(SAMPLE_RATE, np.int16)
    left = SegmentAudio(second, 10.0, 0, 3_200)  # up to 10.8 s, and heard to 11 s
    assert left.precedes(SegmentAudio(second, 10.8, 3_200, 0))
    assert not left.precedes(
        SegmentAudio(second, 11.8, 3_200, 0)
    )  # what lies between is not heard, for nobody speaks there
    assert not left.precedes(SegmentAudio(second, 10.8, 3_200, 0, is_first=True))
    assert not left.precedes(SegmentAudio(second, 10.8, 0, 0))
    assert not SegmentAudio(second, 10.0).precedes(SegmentAudio(second, 11.0, 3_200, 0))


def test_a_token_that_goes_on_over_a_cut_is_one() -> None:
    frames = Emission(np.array([7, 7, 0, 7]), np.array([0.5, 1.0, 1.0, 0.25], np.float32))
    assert align(frames, blank=0).ids.tolist() == [7, 7]
    assert align(frames, blank=0, before=7).ids.tolist() == [7]
    alone = align(frames, blank=0)
    assert (alone.begins.tolist(), alone.ends.tolist()) == ([0, 3], [2, 4])
    assert alone.confidences.tolist() == [0.75, 0.25]
