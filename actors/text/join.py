"""Frames of the segments of a recording to what is said in them: text, times and confidence.

Where two neighbours both heard a stretch, they are joined in it, such that no token is lost or doubled.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np

from actors.engine.interface import Engine, Frames, Tokens
from actors.schema import SAMPLE_RATE, RecordingError, Samples
from actors.text.greedy import Aligned, align


@dataclass(frozen=True, slots=True)
class Heard:
    """A segment as a model hears it: mono int16 PCM at 16 kHz, of which the first `before` and the last `after` samples
    belong to its neighbours. `start_s` is where in the recording the segment itself begins."""

    pcm: Samples
    start_s: float = 0.0
    before: int = 0
    after: int = 0
    is_first: bool = False  # of its recording, or of what a piece has of that

    def precedes(self, other: "Heard") -> bool:
        """Whether another segment of the recording begins where this one ends, and both were heard beyond that."""
        end_s = self.start_s + (len(self.pcm) - self.before - self.after) / SAMPLE_RATE
        return bool(self.after and other.before and not other.is_first and abs(end_s - other.start_s) < 1e-6)


@dataclass(frozen=True, slots=True)
class Spoken:
    """What is said in a segment. Confidences are from 0 to 1, times in seconds of the recording."""

    text: str
    confidence: float | None
    tokens: list[dict[str, Any]] | None = None


Said = Spoken | RecordingError  # of a segment: what is said, or what is wrong with it


def spoken(
    heard: Sequence[Heard], frames: Sequence[Frames | RecordingError], engine: Engine, with_tokens: bool
) -> list[Said]:
    """What is said in each segment, from its frames. Those of a recording follow one another.

    A segment's confidence is the mean of its tokens', and where nothing is said that of its frames.
    """
    firsts, ends, before_first = _bounds(heard, frames, engine)
    said = list[Said]()
    for index, (segment, each) in enumerate(zip(heard, frames, strict=True)):
        if isinstance(each, RecordingError):
            said.append(each)
            continue
        own = Frames(*(of_frames[firsts[index] : ends[index]] for of_frames in each))
        aligned = align(own, engine.blank, before_first[index])
        sure = aligned.confidences if len(aligned.ids) else own.probability
        confidence = float(sure.mean()) if len(sure) else 0.0
        tokens = _tokens(segment, firsts[index], aligned, engine) if with_tokens else None
        said.append(Spoken(engine.text(aligned.ids.tolist()), confidence, tokens))
    return said


def _tokens(segment: Heard, first: int, aligned: Aligned, engine: Engine) -> list[dict[str, Any]]:
    """Rows of the column `tokens`; `first` is the segment's first frame that counts.

    An output frame stands for the sound half a frame to either side of its place: strided convolutions are centred.
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
    """What each token adds to the text of those before it: one that begins a word begins with the space before it."""
    texts, before = list[str](), ""
    for count in range(1, len(ids) + 1):
        now = engine.text(ids[:count])
        texts.append(now[len(before) :] if now.startswith(before) else engine.text(ids[count - 1 : count]))
        before = now
    return texts


def _bounds(
    heard: Sequence[Heard], frames: Sequence[Frames | RecordingError], engine: Engine
) -> tuple[list[int], list[int], list[int | None]]:
    """Of each segment the first of its frames that counts, the one after the last, and the token just before it."""
    firsts = [segment.before // engine.frame_samples for segment in heard]
    ends = [
        0 if isinstance(each, RecordingError) else len(each.best) - segment.after // engine.frame_samples
        for segment, each in zip(heard, frames, strict=True)
    ]
    before_first: list[int | None] = [None] * len(heard)
    for index, (left, right) in enumerate(pairwise(frames)):
        overlap = (heard[index].after + heard[index + 1].before) // engine.frame_samples
        if isinstance(left, RecordingError) or isinstance(right, RecordingError):
            continue
        if heard[index].precedes(heard[index + 1]):
            place = join_at(left.best[-overlap:], right.best[:overlap], engine.blank)
            ends[index], firsts[index + 1] = len(left.best) - overlap + place, place
            before_first[index + 1] = int(left.best[ends[index] - 1])
    return firsts, ends, before_first


def join_at(left: Tokens, right: Tokens, blank: int) -> int:
    """Where to go over from one hearing of a stretch to the other: both are the best ids of the same frames.

    The frame nearest to the middle before which, and at which, both heard nothing; else the nearest where both heard
    the same on either side; else the middle. What is taken is left[:frame] and right[frame:].
    """
    places = np.arange(1, len(left))
    agree = left == right
    for fits in (agree & (left == blank), agree):
        fitting = places[fits[:-1] & fits[1:]]
        if len(fitting):
            return int(fitting[np.argmin(np.abs(fitting - len(left) // 2))])
    return len(left) // 2
