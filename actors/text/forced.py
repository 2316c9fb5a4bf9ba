"""Forced alignment: when each word of a reference is said in a recording, and how well the reference fits the sound.

The segments of a recording are aligned together, in one path over all of their frames, so that the reference is divided
among them by the sound alone.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from enum import StrEnum

import numpy as np
from numpy.typing import NDArray

from actors.engine.vocabulary import Vocabulary
from actors.text.alignment import align_tokens
from actors.text.anchors import anchors
from actors.text.emissions import Heard
from actors.text.frames import STEP
from actors.text.joined import JoinedFrames, Stretch, join_heard
from actors.text.references import Reference, Referring

_BEFORE_S, _AFTER_S = 0.12, 0.16  # how far a token may reach beyond its frames
_PART_STEPS = 1_000_000  # frames times tokens that are aligned at once, where there is a place to divide: 2 minutes
_MAX_STEPS = 5_000_000_000  # that are aligned at all, in 20 seconds: 3 hours without such a place


class Unaligned(StrEnum):
    """Why a segment's share of a reference, or the whole of it, has no score."""

    UNSPELLABLE = "unspellable"  # the vocabulary has nothing of it
    TOO_LONG = "too_long"  # it has more tokens than there are frames
    UNLIKE = "unlike"  # it is long, and nowhere like what is heard
    NOT_HEARD = "not_heard"  # there are no emissions, for the recording or the segment has an error or no speech
    OF_ALL_CHANNELS = "of_all_channels"  # it is the reference of several channels, which are recordings of their own


@dataclass(frozen=True, slots=True)
class Span:
    """A token, or a word, with its begin and end in seconds from the recording's start, and its score: the mean of
    log-probabilities above those of the best class, in the frames that are its own; 0 where it is the best in all."""

    text: str
    start_s: float
    end_s: float
    score: float


@dataclass(frozen=True, slots=True)
class Segment:
    """A segment's share of a reference. `score` is in nats a token, None where `unaligned` says why, or where neither
    the reference nor the model has a token."""

    reference: str
    score: float | None
    tokens: list[Span] = field(default_factory=list)
    words: list[Span] = field(default_factory=list)
    unaligned: Unaligned | None = None


@dataclass(frozen=True, slots=True)
class ForcedAlignment:
    """A reference aligned to a recording: each segment's share, and a score of all of them. `left_out` counts the
    characters that the vocabulary cannot write, which were left out."""

    segments: list[Segment]
    score: float | None
    left_out: int = 0
    unaligned: Unaligned | None = None


class Aligner:
    """Aligns references to what one model heard. Thread-safe."""

    def __init__(self, vocabulary: Vocabulary) -> None:
        self._referring, self._blank = Referring(vocabulary), vocabulary.decoder().blank

    def __call__(
        self, reference: str, heard: Sequence[Heard | None], unheard: Sequence[Stretch | None]
    ) -> ForcedAlignment:
        """Aligns a reference to the segments of a recording. `unheard` has the begin and end of segments that
        were not heard for an error, for words may be said there; None for others.

        The score of a segment is the log-probability of the reference's path in its frames above that of the best path
        there, divided by the tokens of whichever of the two has more. It is 0 for what the model hears itself, and
        about the same for any length and loudness: a word that is not said, or not in the reference, costs 5 to 15
        nats. Raises InvalidData for emissions without candidates, or of another vocabulary.
        """
        if not any(each is not None and len(each.best) for each in heard):
            return self.unaligned(reference, len(heard), Unaligned.NOT_HEARD)
        spelled = self._referring(reference)
        if not spelled.ids:
            return self.unaligned(reference, len(heard), Unaligned.UNSPELLABLE, spelled.left_out)
        joined = join_heard(heard, unheard, self._blank, spelled.ids)
        found = _aligned(spelled.ids, joined)
        if isinstance(found, Unaligned):
            return self.unaligned(reference, len(heard), found, spelled.left_out)
        return _divided(spelled, joined, *found, len(heard))

    @staticmethod
    def unaligned(reference: str, segments: int, why: Unaligned, left_out: int = 0) -> ForcedAlignment:
        """A reference that has no times: all of it is the first segment's."""
        shares = [Segment("" if number else reference, None, unaligned=why) for number in range(segments)]
        return ForcedAlignment(shares, None, left_out, why)


def _aligned(ids: Sequence[int], joined: JoinedFrames) -> tuple[NDArray[np.int64], NDArray[np.int64]] | Unaligned:
    """The frames of tokens, from and to. What is long is aligned in parts, between places that are sure; if those were
    none after all, as a whole."""
    divisions = list(_divisions(ids, joined))
    found = _in_parts(ids, joined, divisions)
    return _in_parts(ids, joined, []) if found is Unaligned.TOO_LONG and divisions else found


def _in_parts(
    ids: Sequence[int], joined: JoinedFrames, divisions: list[tuple[int, int]]
) -> tuple[NDArray[np.int64], NDArray[np.int64]] | Unaligned:
    firsts, lasts = list[NDArray[np.integer]](), list[NDArray[np.integer]]()
    token = frame = 0
    for next_token, next_frame in [*divisions, (len(ids), len(joined.segments))]:
        if (next_token - token) * (next_frame - frame) > _MAX_STEPS:
            return Unaligned.UNLIKE
        found = align_tokens(
            ids[token:next_token], joined.part(frame, next_frame), floor=joined.floor[frame:next_frame]
        )
        if found is None:
            return Unaligned.TOO_LONG
        firsts.append(found.tokens.begins + frame)
        lasts.append(found.tokens.ends + frame)
        token, frame = next_token, next_frame
    return np.concatenate(firsts).astype(np.int64), np.concatenate(lasts).astype(np.int64)


def _divisions(ids: Sequence[int], joined: JoinedFrames) -> Iterator[tuple[int, int]]:
    """Where to divide a long alignment: the first token and the first frame of each part but the first."""
    if len(ids) * len(joined.segments) <= _PART_STEPS:
        return
    token = frame = 0
    starts = np.flatnonzero(joined.said >= 0)
    for place, other in anchors(ids, joined.said[starts]):
        if (place - token) * (starts[other] - frame) >= _PART_STEPS:
            token, frame = place, int(starts[other])
            yield token, frame


def _divided(
    spelled: Reference, joined: JoinedFrames, firsts: NDArray[np.integer], lasts: NDArray[np.integer], count: int
) -> ForcedAlignment:
    """Divides an aligned reference among segments: `firsts` and `lasts` are the frames of its tokens, from and to."""
    segments, costs = joined.segments, _costs(spelled.ids, joined, firsts, lasts)
    of_token = segments[firsts]
    # A path may stay on a token through what is between two segments, but the token ends with its segment.
    lasts = np.minimum(lasts, np.searchsorted(segments, of_token, "right"))
    begins, ends = _times(joined, of_token, firsts, lasts)
    sums = np.concatenate([[0.0], np.cumsum(costs)])
    of_tokens, lengths = sums[lasts] - sums[firsts], lasts - firsts
    means = of_tokens / lengths
    texts = spelled.token_texts
    tokens = [Span(*each) for each in zip(texts, begins.tolist(), ends.tolist(), means.tolist(), strict=True)]
    words = list(_words(spelled, begins, ends, of_tokens, lengths))
    # A segment's words are those that begin in it, so that the shares of all segments are the reference.
    of_word = of_token[np.array([each.first for each in spelled.words], np.int64)]
    weights = np.where(joined.is_heard, costs, 0.0)
    lost = np.bincount(segments, weights, minlength=count)
    said = np.bincount(segments, joined.said >= 0, minlength=count)
    meant = np.bincount(of_token, minlength=count)
    is_heard = np.bincount(segments, joined.is_heard, minlength=count) > 0
    larger, numbers = np.maximum(said, meant), np.arange(count)
    shares = list[Segment]()
    for number, first, end, first_word, end_word in zip(
        range(count),
        np.searchsorted(of_token, numbers).tolist(),
        np.searchsorted(of_token, numbers, "right").tolist(),
        np.searchsorted(of_word, numbers).tolist(),
        np.searchsorted(of_word, numbers, "right").tolist(),
        strict=True,
    ):
        score = float(lost[number] / larger[number]) if is_heard[number] and larger[number] else None
        why = None if is_heard[number] else Unaligned.NOT_HEARD
        own = spelled.text_of(first_word, end_word)
        shares.append(Segment(own, score, tokens[first:end], words[first_word:end_word], why))
    total = float(larger[is_heard].sum())
    return ForcedAlignment(shares, float(lost.sum()) / total if total else None, spelled.left_out)


def _times(
    joined: JoinedFrames, of_token: NDArray[np.int64], firsts: NDArray[np.integer], lasts: NDArray[np.integer]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """When tokens begin and end. CTC is on a token for a frame or two, while it is said for longer: what is between two
    tokens is divided evenly among them, but not more than _AFTER_S of it and _BEFORE_S."""
    begins, ends = joined.begins[firsts], joined.ends[lasts - 1]
    segment_begins = joined.begins[np.searchsorted(joined.segments, of_token)]
    segment_ends = joined.ends[np.searchsorted(joined.segments, of_token, "right") - 1]
    before, after = begins - segment_begins, segment_ends - ends
    is_next = of_token[1:] == of_token[:-1]  # in the same segment
    halves = (begins[1:] - ends[:-1]) / 2
    before[1:], after[:-1] = np.where(is_next, halves, before[1:]), np.where(is_next, halves, after[:-1])
    return begins - np.minimum(before, _BEFORE_S), ends + np.minimum(after, _AFTER_S)


def _costs(
    ids: Sequence[int], joined: JoinedFrames, firsts: NDArray[np.integer], lasts: NDArray[np.integer]
) -> NDArray[np.float64]:
    """What the path of the reference has in each frame above the best path: 0 or less."""
    frames, count, lengths = joined.frames, len(joined.segments), lasts - firsts
    label = np.full(count, -1, np.int64)  # blank
    within = np.arange(lengths.sum()) - np.repeat(np.cumsum(lengths) - lengths, lengths)
    label[np.repeat(firsts, lengths) + within] = np.repeat(ids, lengths)
    log_probs = np.where(label < 0, frames.blank, np.minimum(joined.floor, joined.best - STEP))
    of_frame = np.repeat(np.arange(count), np.diff(frames.begins))
    found = frames.ids == label[of_frame]
    log_probs[of_frame[found]] = frames.log_probs[found]
    return log_probs - joined.best


def _words(
    spelled: Reference,
    begins: NDArray[np.float64],
    ends: NDArray[np.float64],
    lost: NDArray[np.float64],
    lengths: NDArray[np.integer],
) -> Iterator[Span]:
    """The words of a reference, each with the times of its tokens; of a token that it shares with other words, its part
    by characters. Each token has `lost` so much, in so many frames."""
    lost, frames = (np.concatenate([[0.0], np.cumsum(each)]) for each in (lost, lengths))
    for word in spelled.words:
        first, last = word.first, word.end - 1
        start = begins[first] + word.from_first * (ends[first] - begins[first])
        end = begins[last] + word.to_last * (ends[last] - begins[last])
        score = (lost[word.end] - lost[first]) / (frames[word.end] - frames[first])
        yield Span(word.text, float(start), float(end), float(score))
