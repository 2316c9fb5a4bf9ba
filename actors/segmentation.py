"""Long recordings into segments of a length that Citrinets were trained on, cut where it is quietest.

A Citrinet normalises its features, and squeezes, over the whole of what it hears, and was trained on utterances of up
to about 20 s; so long sound has to be cut. Segments tile a recording: nothing is left out. Where no pause is in reach,
the model hears some of both neighbours as well, and the two are joined by frames (see `decoding.joining`).
"""

from dataclasses import dataclass

import numpy as np

from actors.schema import SAMPLE_RATE, Samples

GRID = 1_280  # samples, 80 ms: cuts lie on whole output frames, so that the frames of two segments fall together
LEVEL = 160  # samples, 10 ms, that one level is of
STEP = GRID // LEVEL
PAUSE = 30  # levels that must be quiet around a cut for it to be in a pause: with less room a model may miss a start
PAUSE_DB = 15.0  # below the loud levels around, for the same
DB_A_SECOND = 1.0  # how much louder a place may be for each second that it is nearer to the target
LEAST_S = 4.0
AT_ONCE = 25_000 * LEVEL  # samples that are measured at a time, which bounds memory


@dataclass(frozen=True)
class Segmentation:
    """Seconds: the length aimed at, what no segment exceeds, and what is heard beyond a cut that is in no pause."""

    target_s: float = 12.0
    max_s: float = 20.0
    context_s: float = 1.6


@dataclass(frozen=True, slots=True)
class Segment:
    """A stretch in samples: its text is of `start` to `end`, and the model hears `heard_from` to `heard_to`."""

    start: int
    end: int
    heard_from: int
    heard_to: int


def segments_of(pcm: Samples, wanted: Segmentation) -> list[Segment]:
    """The segments of a mono int16 recording at 16 kHz, in order; one that is short enough is a single segment."""
    total, longest = len(pcm), int(wanted.max_s * SAMPLE_RATE)
    context = round(wanted.context_s * SAMPLE_RATE / GRID) * GRID
    if total <= longest:
        return [Segment(0, total, 0, total)]
    levels = _levels(pcm)
    loudness = _loudness(levels)
    cuts, contexts = [0], [0]
    while total - cuts[-1] + contexts[-1] > longest:
        start = cuts[-1]
        last = (start + longest - contexts[-1] - context) // GRID
        reach = np.arange(start // GRID + int(LEAST_S * SAMPLE_RATE) // GRID, last + 1)
        off_target = np.abs(reach * GRID - start - wanted.target_s * SAMPLE_RATE) / SAMPLE_RATE
        cut = int(reach[np.argmin(loudness[reach] + DB_A_SECOND * off_target)])
        loud = np.percentile(levels[start // LEVEL : (last + 1) * STEP], 95)
        cuts.append(cut * GRID)
        contexts.append(0 if loudness[cut] <= loud - PAUSE_DB else context)
    bounds = zip(cuts, [*cuts[1:], total], contexts, [*contexts[1:], 0], strict=True)
    return [Segment(start, end, start - before, min(end + after, total)) for start, end, before, after in bounds]


def _levels(pcm: Samples) -> np.ndarray[tuple[int], np.dtype[np.float32]]:
    """Mean power of every 10 ms, in dB of full scale, at least -100; less than that at the end counts for nothing."""
    whole = len(pcm) // LEVEL * LEVEL
    parts = [
        np.square(pcm[first : min(first + AT_ONCE, whole)].astype(np.float32) / 32_768).reshape(-1, LEVEL).mean(axis=1)
        for first in range(0, whole, AT_ONCE)
    ]
    levels: np.ndarray[tuple[int], np.dtype[np.float32]] = 10 * np.log10(np.maximum(np.concatenate(parts), 1e-10))
    return levels


def _loudness(levels: np.ndarray[tuple[int], np.dtype[np.float32]]) -> np.ndarray[tuple[int], np.dtype[np.float32]]:
    """The loudest level around each place of the grid where a cut may be."""
    padded = np.pad(levels, PAUSE // 2, mode="edge")
    loudness: np.ndarray[tuple[int], np.dtype[np.float32]] = np.lib.stride_tricks.sliding_window_view(padded, PAUSE)[
        ::STEP
    ].max(axis=1)
    return loudness
