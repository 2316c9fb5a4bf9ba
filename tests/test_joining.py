"""What two hearings of one stretch of sound, or two neighbours, are joined to."""

from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from actors.schema import EMISSION_SCHEMA, SAMPLE_RATE
from actors.text.emissions import check_emissions
from actors.text.greedy import align
from actors.text.join import join_segments, switch_frame


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


def joined(*segments: tuple[float, int, int, int | None], frames: int = 12) -> list[dict[str, Any] | None]:
    """What is left of segments of 12 frames of 1,000 samples, each given by its start in seconds, the samples before
    and after it that belong to its neighbours, and its number in its recording, None if it was not heard."""
    best = np.arange(frames, dtype="<u2")
    rows = [
        {
            "recording_id": "a",
            "uri": "a",
            "etag": "e",
            "segment_index": index if number is None else number,
            "start_s": start_s,
            "samples": 12_000,
            "before": before,
            "after": after,
            "own": True,
            "best": None if number is None else best.tobytes(),
            "probability": None if number is None else np.ones(frames, "<f4").tobytes(),
        }
        for index, (start_s, before, after, number) in enumerate(segments)
    ]
    table = pa.Table.from_pylist(rows, schema=EMISSION_SCHEMA)
    left: list[dict[str, Any] | None] = join_segments(table, 1_000, blank=0).to_pylist()
    return left


def frames_of(emission: dict[str, Any] | None) -> list[int]:
    return [] if emission is None else np.frombuffer(emission["best"], "<u2").tolist()


def test_only_neighbours_are_joined() -> None:
    ends = 10 + 8_000 / SAMPLE_RATE  # of a segment that is heard for a quarter of a second more
    left, right = joined((10.0, 0, 4_000, 0), (ends, 4_000, 0, 1))
    assert (frames_of(left), frames_of(right)) == ([*range(8)], [*range(4, 12)])
    assert right
    assert right["previous"] == 7
    for other in (
        (ends + 1, 4_000, 0, 1),  # what lies between is not heard, for nobody speaks there
        (ends, 4_000, 0, 0),  # of another recording
        (ends, 0, 0, 1),  # it has nothing of its neighbour
        (ends, 4_000, 0, None),  # it has an error
    ):
        left, right = joined((10.0, 0, 4_000, 0), other)
        assert frames_of(left) == [*range(8)]
        assert right is None or right["previous"] is None


def test_candidates_are_cut_where_the_best_classes_are() -> None:
    draw, frames = np.random.default_rng(3), 12
    counts = draw.integers(0, 4, frames).astype("<u1")
    ids, blank = np.arange(counts.sum(), dtype="<u2"), np.arange(frames, dtype="<u2")
    row = {"recording_id": "a", "uri": "a", "etag": "e", "segment_index": 0, "start_s": 1.0, "samples": 12_000}
    row |= {"before": 3_000, "after": 2_000, "own": True, "counts": counts.tobytes(), "blank": blank.tobytes()}
    row |= {"ids": ids.tobytes(), "log_probs": ids[::-1].tobytes()}
    row |= {"best": blank.tobytes(), "probability": np.ones(frames, "<f4").tobytes()}
    array = join_segments(pa.Table.from_pylist([row], schema=EMISSION_SCHEMA), 1_000, blank=0)
    check_emissions(pa.chunked_array([array]))
    (left,) = array.to_pylist()
    own = np.repeat(np.arange(frames), counts)
    own = (own >= 3) & (own < 10)
    assert np.array_equal(np.frombuffer(left["ids"], "<u2"), ids[own])
    assert np.array_equal(np.frombuffer(left["log_probs"], "<u2"), ids[::-1][own])
    assert np.array_equal(np.frombuffer(left["counts"], "<u1"), counts[3:10])
    assert np.array_equal(np.frombuffer(left["blank"], "<u2"), blank[3:10])


def test_a_token_that_goes_on_over_a_cut_is_one() -> None:
    best, probability = np.array([7, 7, 0, 7], np.uint16), np.array([0.5, 1.0, 1.0, 0.25], np.float32)
    assert align(best, probability, blank=0).ids.tolist() == [7, 7]
    assert align(best, probability, blank=0, previous=7).ids.tolist() == [7]
    alone = align(best, probability, blank=0)
    assert (alone.begins.tolist(), alone.ends.tolist()) == ([0, 3], [2, 4])
    assert alone.confidences.tolist() == [0.75, 0.25]
