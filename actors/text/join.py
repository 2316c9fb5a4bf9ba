"""Emissions of a recording's segments to text, token times and confidence.

Adjacent segments may overlap: both contain the same stretch of sound. They are joined at a frame within it, such that
no token is lost or repeated.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import TypedDict

import numpy as np

from actors.engine.interface import Emission, Engine, Tokens
from actors.schema import SAMPLE_RATE, RecordingError, Waveform
from actors.text.greedy import Aligned, align


@dataclass(frozen=True, slots=True)
class SegmentAudio:
    """A segment's waveform with its context.

    The first `before` and the last `after` samples are context, which belongs to the neighbours. `start_s` is where the
    segment itself begins in the recording.
    """

    pcm: Waveform
    start_s: float = 0.0
    before: int = 0
    after: int = 0
    is_first: bool = False  # of its recording, or of the piece's share of that

    def precedes(self, other: "SegmentAudio") -> bool:
        """Whether `other` starts where this segment ends, in the same recording, and the two overlap."""
        end_s = self.start_s + (len(self.pcm) - self.before - self.after) / SAMPLE_RATE
        return bool(self.after and other.before and not other.is_first and abs(end_s - other.start_s) < 1e-6)


class TimedToken(TypedDict):
    """A row of the column `tokens`."""

    token: str
    start_s: float
    end_s: float
    confidence: float


@dataclass(frozen=True, slots=True)
class Hypothesis:
    """The text decoded from a segment. Confidences are in 0..1, times in seconds from the recording's start."""

    text: str
    confidence: float | None
    tokens: list[TimedToken] | None = None


SegmentResult = Hypothesis | RecordingError


def decode_segments(
    segments: Sequence[SegmentAudio], emissions: Sequence[Emission | RecordingError], engine: Engine, with_tokens: bool
) -> list[SegmentResult]:
    """Decodes segments by their greedy paths, in order. Segments of one recording are adjacent.

    A hypothesis' confidence is the mean of its tokens', or of its frames' where it has no token.
    """
    firsts, ends, before_first = _bounds(segments, emissions, engine)
    results = list[SegmentResult]()
    for index, (segment, emission) in enumerate(zip(segments, emissions, strict=True)):
        if isinstance(emission, RecordingError):
            results.append(emission)
            continue
        frames = slice(firsts[index], ends[index])
        own = Emission(emission.best[frames], emission.probability[frames])
        aligned = align(own, engine.blank, before_first[index])
        confidences = aligned.confidences if len(aligned.ids) else own.probability
        confidence = float(confidences.mean()) if len(confidences) else 0.0
        tokens = _tokens(segment, firsts[index], aligned, engine) if with_tokens else None
        results.append(Hypothesis(engine.text(aligned.ids.tolist()), confidence, tokens))
    return results


def _tokens(segment: SegmentAudio, first: int, aligned: Aligned, engine: Engine) -> list[TimedToken]:
    """Rows of the column `tokens`; `first` is the first frame that is the segment's own.

    An output frame covers half a stride to either side of its centre: strided convolutions are centred.
    """
    frame_s = engine.frame_samples / SAMPLE_RATE
    began_s = segment.start_s - segment.before / SAMPLE_RATE + (first - 0.5) * frame_s
    ended_s = segment.start_s + (len(segment.pcm) - segment.before) / SAMPLE_RATE
    texts = _token_texts(aligned.ids.tolist(), engine)
    return [
        {
            "token": text,
            "start_s": max(began_s + begin * frame_s, 0.0),
            "end_s": min(began_s + end * frame_s, ended_s),
            "confidence": confidence,
        }
        for text, begin, end, confidence in zip(texts, *(column.tolist() for column in aligned[1:]), strict=True)
    ]


def _token_texts(ids: Sequence[int], engine: Engine) -> list[str]:
    """The text that each token adds to those before it: one that begins a word starts with a space."""
    texts, before = list[str](), ""
    for count in range(1, len(ids) + 1):
        now = engine.text(ids[:count])
        texts.append(now[len(before) :] if now.startswith(before) else engine.text(ids[count - 1 : count]))
        before = now
    return texts


def _bounds(
    segments: Sequence[SegmentAudio], emissions: Sequence[Emission | RecordingError], engine: Engine
) -> tuple[list[int], list[int], list[int | None]]:
    """For each segment: its first own frame, the end of its own frames, and the token id just before the first."""
    firsts = [segment.before // engine.frame_samples for segment in segments]
    ends = [
        0 if isinstance(emission, RecordingError) else len(emission.best) - segment.after // engine.frame_samples
        for segment, emission in zip(segments, emissions, strict=True)
    ]
    before_first: list[int | None] = [None] * len(segments)
    for index, (left, right) in enumerate(pairwise(emissions)):
        overlap = (segments[index].after + segments[index + 1].before) // engine.frame_samples
        if isinstance(left, RecordingError) or isinstance(right, RecordingError):
            continue
        if segments[index].precedes(segments[index + 1]):
            frame = switch_frame(left.best[-overlap:], right.best[:overlap], engine.blank)
            ends[index], firsts[index + 1] = len(left.best) - overlap + frame, frame
            before_first[index + 1] = int(left.best[ends[index] - 1])
    return firsts, ends, before_first


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
