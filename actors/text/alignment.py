"""Aligns token ids to frames: the best path of CTC that spells them (Viterbi)."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from actors.engine.interface import THRESHOLD, Tokens
from actors.text.frames import STEP, Frames
from actors.text.greedy import Aligned


class Alignment(NamedTuple):
    """An alignment, and the log-probability of its path in nats."""

    tokens: Aligned
    log_prob: float


def align_tokens(
    ids: Sequence[int] | Tokens,
    frames: Frames,
    previous: int | None = None,
    floor: float | NDArray[np.float64] = THRESHOLD,
) -> Alignment | None:
    """Aligns token ids; None if there are too few frames for them.

    A token that is no candidate of a frame has log-probability `floor` there, which may be one of each frame; -inf
    where there can be no other. A token spans the frames in which the path is on it; its confidence is the mean of its
    probabilities there. A first token that continues `previous`, the best class of the frame before, is no new one: a
    blank comes before it. Of equal paths it is that which moves on first.

    It takes time by frames times tokens: an hour of 45,000 frames and 15,000 tokens two seconds. Memory is 20 MB for
    it: kept are only the scores of every so many frames, and the decisions between them are made again, where the path
    can be.
    """
    from actors.text.compiled import arguments, viterbi

    tokens = np.array(ids, np.int32)
    if tokens.min(initial=0) < 0:
        raise ValueError(f"a token {tokens.min()}")
    before = -1 if previous is None else int(previous)
    floors = np.full(len(frames.blank), floor, np.float64)
    log_prob, begins, ends, confidences = viterbi.best_path(tokens, arguments(frames), before, STEP, floors)
    if log_prob == -np.inf:
        return None
    confidences = np.minimum(confidences, 1.0)  # the best class has half a code more than it should
    return Alignment(Aligned(tokens, begins, ends, confidences), log_prob)
