"""Joins the emissions of a recording's segments.

Adjacent segments may overlap: both contain the same stretch of sound. They are joined at a frame within it, such that
no token is lost or repeated, and what is left of each emission is that of its segment alone.
"""

from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from actors.engine.interface import Tokens
from actors.schema import EMISSION, FRAMES, SAMPLE_RATE
from actors.text.emissions import TYPES, structs


@dataclass(slots=True)
class _Segment:
    """A segment that was heard: its row, where it begins in its recording, the samples of its sound, of which the first
    `before` and the last `after` belong to its neighbours, the best class of each frame (none if it has an error), and
    the frames that are its own."""

    row: int
    start_s: float
    samples: int
    before: int
    after: int
    is_first: bool  # of its recording, or of the piece's share of that
    best: NDArray[np.uint16] | None
    first: int = 0
    end: int = 0
    previous: int | None = None
    is_followed: bool = False

    def precedes(self, other: "_Segment") -> bool:
        """Whether `other` starts where this segment ends, in the same recording, and the two overlap."""
        end_s = self.start_s + (self.samples - self.before - self.after) / SAMPLE_RATE
        return bool(self.after and other.before and not other.is_first and abs(end_s - other.start_s) < 1e-6)


def join_segments(table: pa.Table, frame_samples: int, blank: int) -> pa.Array:
    """The emission of each row of EMISSION_SCHEMA alone, of the type EMISSION; null where there is none. Segments of
    one recording are adjacent. `frame_samples` is the stride of frames."""
    segments = _segments(table, frame_samples)
    for left, right in pairwise(segments):
        overlap = (left.after + right.before) // frame_samples
        if left.best is not None and right.best is not None and left.precedes(right):
            frame = switch_frame(left.best[-overlap:], right.best[:overlap], blank)
            left.end, right.first = len(left.best) - overlap + frame, frame
            right.previous, left.is_followed = int(left.best[left.end - 1]), True
    return _cut([each for each in segments if each.best is not None], table, frame_samples)


def _segments(table: pa.Table, frame_samples: int) -> list[_Segment]:
    names = ("start_s", "samples", "before", "after", "segment_index")
    columns = zip(table.column("best"), *(table.column(name).to_pylist() for name in names), strict=True)
    segments, is_first, follows = list[_Segment](), True, None
    for row, (best, start_s, samples, before, after, index) in enumerate(columns):
        is_first, follows = is_first or index != follows, index + 1
        if samples:
            frames = np.frombuffer(best.as_buffer(), TYPES["best"]) if best.is_valid else None
            segments.append(_Segment(row, start_s, samples, before, after, is_first, frames))
            segments[-1].first = before // frame_samples
            segments[-1].end = (0 if frames is None else len(frames)) - after // frame_samples
            is_first = False
    return segments


def _cut(segments: list[_Segment], table: pa.Table, frame_samples: int) -> pa.Array:
    """The emissions of segments, each cut to its own frames, for all rows of a table."""
    rows, frame_s = table.num_rows, frame_samples / SAMPLE_RATE
    values: dict[str, list[object]] = {
        name: [None] * rows for name in ("start_s", "end_s", "frame_s", "previous", "is_followed", *TYPES)
    }
    frames = {field.name: table.column(field.name) for field in FRAMES}
    for each in segments:
        row, first, end = each.row, each.first, max(each.end, each.first)
        # An output frame covers half a stride to either side of its centre: strided convolutions are centred.
        values["start_s"][row] = each.start_s - each.before / SAMPLE_RATE + (first - 0.5) * frame_s
        values["end_s"][row] = each.start_s + (each.samples - each.before) / SAMPLE_RATE
        values["frame_s"][row], values["previous"][row], values["is_followed"][row] = (
            frame_s,
            each.previous,
            each.is_followed,
        )
        bounds = {"best": (first, end), "probability": (first, end)}
        if (counts := frames["counts"][row]).is_valid:
            ends = np.concatenate([[0], np.cumsum(np.frombuffer(counts.as_buffer(), np.uint8), dtype=np.int64)])
            own = int(ends[min(first, len(ends) - 1)]), int(ends[min(end, len(ends) - 1)])
            bounds |= {"counts": (first, end), "blank": (first, end), "ids": own, "log_probs": own}
        for name, (begin, stop) in bounds.items():
            size = TYPES[name].itemsize
            values[name][row] = frames[name][row].as_buffer()[begin * size : stop * size].to_pybytes()
    arrays = {name: pa.array(each, EMISSION.field(name).type) for name, each in values.items()}
    return structs(arrays, np.array([each is not None for each in values["best"]], bool))


def switch_frame(left: Tokens, right: Tokens, blank: int) -> int:
    """Frame at which to switch hypotheses in the overlap; the result is left[:frame] + right[frame:].

    `left` and `right` are the best token ids of the same frames. Chosen is the frame nearest to the middle where both
    have a blank there and just before; else the nearest where both have the same tokens there and just before; else the
    middle.
    """
    places = np.arange(1, len(left))
    agree = left == right
    for fits in (agree & (left == blank), agree):
        fitting = places[fits[:-1] & fits[1:]]
        if len(fitting):
            return int(fitting[np.argmin(np.abs(fitting - len(left) // 2))])
    return len(left) // 2
