"""The frames of all segments of a recording, one after the other, as a text is aligned to them."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from actors.engine.interface import THRESHOLD
from actors.text.emissions import Heard
from actors.text.frames import Frames, frames_of

_UNHEARD_S = 0.08  # of a frame that stands for sound that was not heard
_MAX_UNHEARD = 5_000_000  # candidates of such frames of a recording; two minutes of 3,000 different tokens
_UNHEARD = -4.0  # log-probability of any token there: less than where it is heard, more than where it is not

Stretch = tuple[float, float]  # begin and end in seconds


class JoinedFrames(NamedTuple):
    """The frames of all segments, one after the other. `best` is the best log-probability of each frame, `floor` that
    of a token which is no candidate of it, and `said` the token that the greedy path begins in it, -1 if none;
    `segments` is the segment of each, `begins` and `ends` its times, and `is_heard` whether it was heard. All are
    (frames,)."""

    frames: Frames
    best: NDArray[np.float64]
    floor: NDArray[np.float64]
    said: NDArray[np.int64]
    segments: NDArray[np.int64]
    begins: NDArray[np.float64]
    ends: NDArray[np.float64]
    is_heard: NDArray[np.bool_]

    def part(self, first: int, end: int) -> Frames:
        """Frames `first` to `end`."""
        frames = self.frames
        begins, own = frames.begins[first : end + 1], slice(frames.begins[first], frames.begins[end])
        return Frames(begins - begins[0], frames.ids[own], frames.log_probs[own], frames.blank[first:end])


def join_heard(
    heard: Sequence[Heard | None], unheard: Sequence[Stretch | None], blank: int, ids: Sequence[int]
) -> JoinedFrames:
    """Joins the frames of segments. Between two that do not continue each other a frame is put in which only the blank
    may be, so that the same token may end the one and begin the other; where a segment was not heard for an error,
    frames in which any token of the reference may be."""
    parts, follows = list[JoinedFrames](), False
    distinct = np.unique(np.asarray(ids, np.int32))
    room = max(1, _MAX_UNHEARD // (len(distinct) * max(1, sum(map(bool, unheard)))))
    for number, (each, stretch) in enumerate(zip(heard, unheard, strict=True)):
        if each is None or not len(each.best):
            if stretch:
                frames = int(np.clip(round((stretch[1] - stretch[0]) / _UNHEARD_S), 1, room))
                parts.append(_filler(frames, distinct, number, *stretch))
            follows = False
            continue
        part = _heard(each, number, blank)
        if parts and not (follows and each.previous is not None):
            parts.append(_filler(1, distinct[:0], number, part.begins[0], part.begins[0]))
        parts.append(part)
        follows = True
    joined = Frames(
        np.concatenate([[0], np.cumsum(np.concatenate([np.diff(each.frames.begins) for each in parts]))]),
        *(np.concatenate([getattr(each.frames, name) for each in parts]) for name in ("ids", "log_probs", "blank")),
    )
    return JoinedFrames(
        joined, *(np.concatenate([each[at] for each in parts]) for at in range(1, len(JoinedFrames._fields)))
    )


def _heard(heard: Heard, number: int, blank: int) -> JoinedFrames:
    frames, count = frames_of(heard, blank), len(heard.best)
    best, first = frames.blank.copy(), frames.begins[:-1]
    there = np.diff(frames.begins) > 0
    best[there] = np.maximum(best[there], frames.log_probs[first[there]])
    classes = heard.best.astype(np.int64)
    before = np.concatenate([[-1 if heard.previous is None else heard.previous], classes[:-1]])
    edges = heard.start_s + np.arange(count + 1) * heard.frame_s
    edges = np.minimum(np.maximum(edges, 0.0), heard.end_s)
    said = np.where((classes != blank) & (classes != before), classes, -1)
    heard_all = np.ones(count, bool)
    floor = np.full(count, THRESHOLD)
    return JoinedFrames(frames, best, floor, said, np.full(count, number), edges[:-1], edges[1:], heard_all)


def _filler(count: int, ids: NDArray[np.int32], number: int, start_s: float, end_s: float) -> JoinedFrames:
    """Frames that were not heard, in which each of `ids` may be, and no other token."""
    begins = np.arange(count + 1, dtype=np.int64) * len(ids)
    frames = Frames(begins, np.tile(ids, count), np.full(count * len(ids), _UNHEARD), np.zeros(count))
    edges, segments = np.linspace(start_s, end_s, count + 1), np.full(count, number)
    nothing = np.full(count, -1)
    # Their cost is in no score, so no token may be here only because it fits nowhere.
    best, floor = np.zeros(count), np.full(count, -np.inf)
    return JoinedFrames(frames, best, floor, nothing, segments, edges[:-1], edges[1:], np.zeros(count, bool))
