"""Long recordings into segments of a length that Citrinets were trained on, cut where it is quietest.

A Citrinet normalises its features, and squeezes, over the whole of what it hears, and was trained on utterances of up
to about 20 s; so long sound has to be cut. Segments tile a recording: nothing is left out. Where no pause is in reach,
the model hears some of both neighbours as well, and the two are joined by frames (see `decoding.joining`).

Every two minutes, at an anchor, there is a cut that depends on the sound around it alone. So the segments between two
anchors can be told without the rest, and a recording that is worked in stretches is cut as it would be in one.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Any, NamedTuple

import numpy as np

from actors.schema import SAMPLE_RATE, Samples

GRID = 1_280  # samples, 80 ms: cuts lie on whole output frames, so that the frames of two segments fall together
LEVEL = 160  # samples, 10 ms, that one level is of
STEP = GRID // LEVEL
PAUSE = 30  # levels that must be quiet around a cut for it to be in a pause: with less room a model may miss a start
PAUSE_DB = 15.0  # below the loud levels around, for the same
DB_A_SECOND = 1.0  # how much louder a place may be for each second that it is nearer to where a cut should be
MIN_SECONDS = 4.0
AT_ONCE = 25_000 * LEVEL  # samples that are measured at a time, which bounds memory

Levels = np.ndarray[tuple[int], np.dtype[np.float32]]


@dataclass(frozen=True)
class SegmentationSettings:
    """Seconds: the length aimed at, what no segment exceeds, and what is heard beyond a cut that is in no pause."""

    target_s: float = 12.0
    max_s: float = 20.0
    context_s: float = 1.6

    @property
    def longest(self) -> int:
        return int(self.max_s * SAMPLE_RATE)

    @property
    def context(self) -> int:
        return _on_grid(self.context_s)

    @property
    def anchor(self) -> int:
        """Samples from one anchor to the next."""
        return _on_grid(max(10 * self.target_s, 4 * self.max_s))

    @property
    def around(self) -> int:
        """Samples to either side of an anchor where its cut may lie."""
        return _on_grid(self.target_s / 2)

    def stretch(self, seconds: float, number: int, count: int) -> "Stretch":
        """One of the stretches of about so many seconds that a recording is worked in; the last goes to its end."""
        length = max(round(seconds * SAMPLE_RATE / self.anchor), 1) * self.anchor
        return Stretch(number * length, None if number == count - 1 else (number + 1) * length)

    def heard(self, stretch: "Stretch") -> tuple[int, int | None]:
        """The samples that must be known to tell a stretch's segments, and its neighbours' next to them."""
        before = stretch.start - self.anchor
        start = max(before - _on_grid(self.target_s), 0) if before > 0 else 0
        return start, None if stretch.end is None else stretch.end + self.around + 2 * self.longest + SAMPLE_RATE


@dataclass(frozen=True)
class Stretch:
    """A share of a recording in samples, from one anchor to another, or to the recording's end where that is None."""

    start: int = 0
    end: int | None = None


@dataclass(frozen=True, slots=True)
class Segment:
    """A stretch in samples: its text is of `start` to `end`, and the model hears `heard_from` to `heard_to`.

    One that is not `own` belongs to the stretch before or after, and is there for the join with it.
    """

    start: int
    end: int
    heard_from: int
    heard_to: int
    own: bool = True


class _Cut(NamedTuple):
    place: int
    context: int  # samples that are heard beyond it from either side


def segments_of(pcm: Samples, wanted: SegmentationSettings, stretch: Stretch = Stretch()) -> list[Segment]:
    """The segments of a mono int16 recording at 16 kHz, or of a stretch of one, in order.

    `pcm` are the samples that `wanted.heard` asks for, as far as there are any; a recording that ends before a stretch
    begins has no segments there.
    """
    begin = wanted.heard(stretch)[0]
    end = begin + len(pcm)
    if end <= stretch.start + wanted.longest:  # too near its end for an anchor
        return [] if stretch.start else [Segment(0, end, 0, end)]
    sound = _Sound(pcm, begin, wanted)
    start, stop = _Cut(0, 0), _Cut(end, 0)
    first_anchor = max(begin // wanted.anchor + 1, 1)
    anchors = range(first_anchor * wanted.anchor, end - wanted.longest, wanted.anchor)
    cuts = {anchor: sound.cut_near(anchor) for anchor in anchors}
    bounds = [*([start] if not begin else []), *cuts.values(), stop]
    segments = [segment for left, right in pairwise(bounds) for segment in sound.between(left, right)]
    first, last = cuts.get(stretch.start, start).place, cuts.get(stretch.end or 0, stop).place
    own = [index for index, each in enumerate(segments) if first <= each.start and each.end <= last]
    before = own[0] - (segments[own[0]].heard_from < first)
    after = own[-1] + (segments[own[-1]].heard_to > last)
    return [replace(segments[index], own=index in range(own[0], own[-1] + 1)) for index in range(before, after + 1)]


class _Sound:
    """How loud sound is, and where it is best cut. Places are samples of the recording, of which it holds those from
    `begin` on."""

    def __init__(self, pcm: Samples, begin: int, wanted: SegmentationSettings) -> None:
        self._wanted, self._begin, self._end = wanted, begin, begin + len(pcm)
        self._levels = _levels(pcm)
        self._loudness = _loudness(self._levels)

    def cut_near(self, anchor: int) -> _Cut:
        """The cut at an anchor."""
        around = self._wanted.around
        return self._quietest(anchor - around, anchor + around, anchor, loud_from=anchor - around)

    def between(self, left: _Cut, right: _Cut) -> Iterator[Segment]:
        """The segments from one cut to another."""
        wanted = self._wanted
        while right.place - left.place + left.context + right.context > wanted.longest:
            first = left.place + int(MIN_SECONDS * SAMPLE_RATE)
            last = left.place + wanted.longest - left.context - wanted.context
            last = min(last, right.place - int(MIN_SECONDS * SAMPLE_RATE))
            cut = self._quietest(first, last, left.place + wanted.target_s * SAMPLE_RATE, loud_from=left.place)
            yield self._segment(left, cut)
            left = cut
        yield self._segment(left, right)

    def _segment(self, left: _Cut, right: _Cut) -> Segment:
        heard_to = min(right.place + right.context, self._end)
        return Segment(left.place, right.place, left.place - left.context, heard_to)

    def _quietest(self, first: int, last: int, ideal: float, loud_from: int) -> _Cut:
        """The best cut of those from one place to another, such as is near the ideal one."""
        begin = self._begin // GRID
        reach = np.arange(first // GRID, last // GRID + 1)
        off_s = np.abs(reach * GRID - ideal) / SAMPLE_RATE
        cut = int(reach[np.argmin(self._loudness[reach - begin] + DB_A_SECOND * off_s)])
        levels = self._levels[(loud_from - self._begin) // LEVEL : (last // GRID + 1 - begin) * STEP]
        quiet = self._loudness[cut - begin] <= np.percentile(levels, 95) - PAUSE_DB
        return _Cut(cut * GRID, 0 if quiet else self._wanted.context)


def _on_grid(seconds: float) -> int:
    return round(seconds * SAMPLE_RATE / GRID) * GRID


def _levels(pcm: Samples) -> Levels:
    """Mean power of every 10 ms, in dB of full scale, at least -100; less than that at the end counts for nothing."""
    whole = len(pcm) // LEVEL * LEVEL
    parts = [
        np.square(pcm[first : min(first + AT_ONCE, whole)].astype(np.float32) / 32_768).reshape(-1, LEVEL).mean(axis=1)
        for first in range(0, whole, AT_ONCE)
    ]
    levels: Levels = 10 * np.log10(np.maximum(np.concatenate(parts), 1e-10))
    return levels


def _loudness(levels: Levels) -> Levels:
    """The loudest level around each place of the grid where a cut may be."""
    padded = np.pad(levels, PAUSE // 2, mode="edge")
    windows: Any = np.lib.stride_tricks.sliding_window_view(padded, PAUSE)[::STEP]
    loudness: Levels = windows.max(axis=1)
    return loudness
