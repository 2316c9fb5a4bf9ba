"""Cuts long recordings, at their quietest places, into segments of a length that Citrinets were trained on.

A Citrinet normalises its features, and squeezes, over its whole input, and was trained on utterances of up to about
20 s; so long sound has to be cut. Segments tile a recording: nothing is left out. If there is no pause near a cut, both
segments overlap it as context, and their emissions are joined at a frame (see `text.join`).

Every two minutes, at an anchor, there is a cut that depends only on the sound around it. So the segments between two
anchors can be determined without the rest, and a recording processed in stretches is cut as it would be in one.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import pairwise
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from actors.audio.pcm import as_float
from actors.schema import SAMPLE_RATE, Waveform

GRID = 1_280  # samples, 80 ms: cuts are at whole output frames, so that the frames of two segments coincide
LEVEL = 160  # samples per level: 10 ms
STEP = GRID // LEVEL
PAUSE = 30  # levels around a cut that must be quiet for it to be in a pause: with fewer a model may miss an onset
PAUSE_DB = 15.0  # how far below the loud levels nearby a pause is
DB_A_SECOND = 1.0  # how much louder a cut may be for each second that it is nearer to the ideal position
MIN_SECONDS = 4.0
SAMPLES_AT_ONCE = 400 * LEVEL  # measured per pass: a processor's cache holds them

Levels = NDArray[np.float32]


@dataclass(frozen=True)
class SegmentationSettings:
    """In seconds: target and maximum length of a segment, and the context beyond a cut that is not in a pause."""

    target_s: float = 12.0
    max_s: float = 20.0
    context_s: float = 1.6

    @property
    def max_samples(self) -> int:
        return int(self.max_s * SAMPLE_RATE)

    @property
    def context_samples(self) -> int:
        return _on_grid(self.context_s)

    @cached_property  # there may be a million recordings in a piece
    def anchor_distance(self) -> int:
        """Distance between anchors, in samples."""
        return _on_grid(max(10 * self.target_s, 4 * self.max_s))

    @property
    def anchor_reach(self) -> int:
        """The maximum distance of an anchor's cut from the anchor, in samples."""
        return _on_grid(self.target_s / 2)

    @cached_property
    def shortest_stretch_s(self) -> float:
        """The seconds of sound that the shortest stretch needs, with those of its neighbours."""
        begin, end = self.needed(self.stretch(0, 2, 4))
        return ((end or 0) - begin) / SAMPLE_RATE

    def stretch(self, seconds: float, number: int, count: int) -> "Stretch":
        """Stretch `number` of `count`, of about `seconds` each; the last goes to the recording's end."""
        length = max(round(seconds * SAMPLE_RATE / self.anchor_distance), 1) * self.anchor_distance
        return Stretch(number * length, None if number == count - 1 else (number + 1) * length)

    def needed(self, stretch: "Stretch") -> tuple[int, int | None]:
        """The range of samples needed to determine a stretch's segments, and those of its neighbours next to them."""
        before = stretch.start - self.anchor_distance
        start = max(before - _on_grid(self.target_s), 0) if before > 0 else 0
        return (
            start,
            None if stretch.end is None else stretch.end + self.anchor_reach + 2 * self.max_samples + SAMPLE_RATE,
        )


@dataclass(frozen=True)
class Stretch:
    """A share of a recording, in samples, between two anchors; `end` is None for the recording's end."""

    start: int = 0
    end: int | None = None


@dataclass(frozen=True, slots=True)
class Segment:
    """A segment, in samples: its text covers `start` to `end`, the model's input `input_start` to `input_end`.

    One that is not `own` belongs to the stretch before or after, and is only needed for the join with it.
    """

    start: int
    end: int
    input_start: int
    input_end: int
    own: bool = True


class _Cut(NamedTuple):
    position: int
    context_samples: int  # on either side


def segments_of(pcm: Waveform, settings: SegmentationSettings, stretch: Stretch = Stretch()) -> list[Segment]:
    """Cuts the waveform of a recording, or a stretch of one, into segments, in order.

    `pcm` holds the samples of `settings.needed`, as far as the recording has them; a recording that ends before the
    stretch starts has no segments there.
    """
    begin = settings.needed(stretch)[0]
    end = begin + len(pcm)
    if end <= stretch.start + settings.max_samples:  # too near its end for an anchor
        return [] if stretch.start else [Segment(0, end, 0, end)]
    sound = _Sound(pcm, begin, settings)
    start, stop = _Cut(0, 0), _Cut(end, 0)
    first_anchor = max(begin // settings.anchor_distance + 1, 1)
    anchors = range(first_anchor * settings.anchor_distance, end - settings.max_samples, settings.anchor_distance)
    cuts = {anchor: sound.cut_near(anchor) for anchor in anchors}
    bounds = [*([start] if not begin else []), *cuts.values(), stop]
    segments = [segment for left, right in pairwise(bounds) for segment in sound.between(left, right)]
    first, last = cuts.get(stretch.start, start).position, cuts.get(stretch.end or 0, stop).position
    own = [index for index, each in enumerate(segments) if first <= each.start and each.end <= last]
    before = own[0] - (segments[own[0]].input_start < first)
    after = own[-1] + (segments[own[-1]].input_end > last)
    return [replace(segments[index], own=index in range(own[0], own[-1] + 1)) for index in range(before, after + 1)]


class _Sound:
    """The loudness of a recording from sample `begin` on, and its best cuts. Positions are samples of the recording."""

    def __init__(self, pcm: Waveform, begin: int, settings: SegmentationSettings) -> None:
        self._settings, self._begin, self._end = settings, begin, begin + len(pcm)
        self._levels = _levels(pcm)
        self._loudness = _loudness(self._levels)

    def cut_near(self, anchor: int) -> _Cut:
        """The cut at an anchor."""
        reach = self._settings.anchor_reach
        return self._best_cut(anchor - reach, anchor + reach, anchor, loud_from=anchor - reach)

    def between(self, left: _Cut, right: _Cut) -> Iterator[Segment]:
        """The segments between two cuts."""
        settings = self._settings
        while right.position - left.position + left.context_samples + right.context_samples > settings.max_samples:
            first = left.position + int(MIN_SECONDS * SAMPLE_RATE)
            last = left.position + settings.max_samples - left.context_samples - settings.context_samples
            last = min(last, right.position - int(MIN_SECONDS * SAMPLE_RATE))
            cut = self._best_cut(first, last, left.position + settings.target_s * SAMPLE_RATE, loud_from=left.position)
            yield self._segment(left, cut)
            left = cut
        yield self._segment(left, right)

    def _segment(self, left: _Cut, right: _Cut) -> Segment:
        input_end = min(right.position + right.context_samples, self._end)
        return Segment(left.position, right.position, left.position - left.context_samples, input_end)

    def _best_cut(self, first: int, last: int, ideal: float, loud_from: int) -> _Cut:
        """The best cut between two positions: quiet, and near the ideal one."""
        begin = self._begin // GRID
        candidates = np.arange(first // GRID, last // GRID + 1)
        off_s = np.abs(candidates * GRID - ideal) / SAMPLE_RATE
        cut = int(candidates[np.argmin(self._loudness[candidates - begin] + DB_A_SECOND * off_s)])
        levels = self._levels[(loud_from - self._begin) // LEVEL : (last // GRID + 1 - begin) * STEP]
        quiet = self._loudness[cut - begin] <= np.percentile(levels, 95) - PAUSE_DB
        return _Cut(cut * GRID, 0 if quiet else self._settings.context_samples)


def _on_grid(seconds: float) -> int:
    return round(seconds * SAMPLE_RATE / GRID) * GRID


def _levels(pcm: Waveform) -> Levels:
    """Mean power of every 10 ms, in dB of full scale, at least -100; an incomplete last one is left out."""
    whole = len(pcm) // LEVEL * LEVEL
    parts = [
        np.square(as_float(pcm[first : min(first + SAMPLES_AT_ONCE, whole)])).reshape(-1, LEVEL).mean(axis=1)
        for first in range(0, whole, SAMPLES_AT_ONCE)
    ]
    levels: Levels = 10 * np.log10(np.maximum(np.concatenate(parts), 1e-10))
    return levels


def _loudness(levels: Levels) -> Levels:
    """The loudest level around each position of the grid."""
    padded = np.pad(levels, PAUSE // 2, mode="edge")
    windows: Levels = np.lib.stride_tricks.sliding_window_view(padded, PAUSE)[::STEP]
    loudness: Levels = windows.max(axis=1)
    return loudness
