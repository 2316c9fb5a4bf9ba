"""The loops of the alignment: the best path through tokens with blanks between them."""

import math

import numpy as np

from actors.text.compiled import allocating, compiled
from actors.text.frames import Frames

NONE = -np.inf
#: Frames between those whose scores are kept, and for as many of which every decision is.
BLOCK = 2_048  # even
BLANK, TOKEN = 0, 1


@compiled
def advance(
    frames: Frames,
    begin: int,
    end: int,
    horizon: int,
    labels: np.ndarray,
    skips: np.ndarray,
    base: int,
    margin: float,
    floors: np.ndarray,
    log_prob_of: np.ndarray,
    now: np.ndarray,
    then: np.ndarray,
    moves: np.ndarray,
) -> None:
    """Takes scores over frames `begin` to `end`, in turn from `now` to `then` and back; both are (2, positions): of the
    blank after each position, and of its token. Position 0 here is `base`; the path is to be on the last one at
    `horizon`, the end of a frame, from which the others count only if they can still lead there.

    What leads to each goes to `moves`, (frames, 2, positions), over and over if it has fewer frames: how many states
    it came by.
    """
    positions = len(labels)
    for frame in range(begin, end):
        first, last, blank = frames.begins[frame], frames.begins[frame + 1], frames.blank[frame]
        best = blank
        for candidate in range(first, last):
            log_prob_of[frames.ids[candidate]] = frames.log_probs[candidate]
            best = max(best, frames.log_probs[candidate])
        low_prob = min(floors[frame], best - margin)
        moved = moves[(frame - begin) % len(moves)]
        lowest = max(0, positions - (horizon - frame))
        highest = min(positions - 1, frame + 1 - base)
        for at in range(lowest, highest + 1):
            log_prob = log_prob_of[labels[at]]
            if log_prob == NONE:
                # That before the first may be the blank itself.
                log_prob = low_prob if base + at else min(low_prob, blank)
            score, move = now[TOKEN, at], 0
            if at:
                if now[BLANK, at - 1] > score:
                    score, move = now[BLANK, at - 1], 1
                if now[TOKEN, at - 1] + skips[at] > score:
                    score, move = now[TOKEN, at - 1] + skips[at], 2
            then[TOKEN, at], moved[TOKEN, at] = score + log_prob, move
            score, move = now[BLANK, at], 0
            if now[TOKEN, at] > score:
                score, move = now[TOKEN, at], 1
            then[BLANK, at], moved[BLANK, at] = score + blank, move
        for candidate in range(first, last):
            log_prob_of[frames.ids[candidate]] = NONE
        now, then = then, now


@allocating
def best_path(
    ids: np.ndarray, frames: Frames, previous: int, margin: float, floors: np.ndarray
) -> tuple[float, np.ndarray, np.ndarray, np.ndarray]:
    """The log-probability of the best path, -inf if there is none, and of its tokens the first frames, the ends, and
    the means of probabilities. `floors`, (frames,), are the log-probabilities of what is no candidate.

    Position 0 is `previous`, where the path begins, in the blank after it if it is none (-1).
    """
    count, positions = len(frames.blank), len(ids) + 1
    labels = np.empty(positions, np.int64)
    # No token has the label of a `previous` that is none, which is never reached.
    labels[0], labels[1:] = previous if previous >= 0 else (ids.max() + 1 if len(ids) else 0), ids
    skips = np.where(labels == np.append(-1, labels[:-1]), NONE, 0.0)
    log_prob_of = np.full(max(labels.max(), frames.ids.max() if len(frames.ids) else 0) + 1, NONE)

    blocks = max(1, (count + BLOCK - 1) // BLOCK)
    kept = np.full((blocks, 2, positions), NONE)
    kept[0, TOKEN if previous >= 0 else BLANK, 0] = 0.0
    scratch = np.empty((1, 2, positions), np.int8)
    now, then = kept[0].copy(), np.full((2, positions), NONE)
    for block in range(1, blocks):
        begin, end = (block - 1) * BLOCK, block * BLOCK
        advance(frames, begin, end, count, labels, skips, 0, margin, floors, log_prob_of, now, then, scratch)
        kept[block] = now  # BLOCK is even

    begins, ends, sums = np.zeros(positions, np.int64), np.zeros(positions, np.int64), np.zeros(positions)
    log_prob, at, state = NONE, positions - 1, BLANK
    for block in range(blocks - 1, -1, -1):
        begin, end = block * BLOCK, min(count, block * BLOCK + BLOCK)
        base = max(0, at - (end - begin))  # a frame leads on by one position at most
        moves = np.empty((max(1, end - begin), 2, at + 1 - base), np.int8)
        now, then = kept[block][:, base : at + 1].copy(), np.full((2, at + 1 - base), NONE)
        own, gaps = labels[base : at + 1], skips[base : at + 1]
        advance(frames, begin, end, end, own, gaps, base, margin, floors, log_prob_of, now, then, moves)
        scores = then if (end - begin) % 2 else now
        if block == blocks - 1:
            state = TOKEN if scores[TOKEN, at - base] > scores[BLANK, at - base] else BLANK
            log_prob = scores[state, at - base]
            if log_prob == NONE:
                break
        for frame in range(end - 1, begin - 1, -1):
            move = moves[frame - begin, state, at - base]
            if state == TOKEN:
                if not ends[at]:
                    ends[at] = frame + 1
                begins[at] = frame
                sums[at] += math.exp(log_prob_in(frames, frame, labels[at], margin, floors[frame]))
                at -= 1 if move else 0
                state = BLANK if move == 1 else TOKEN
            elif move:
                state = TOKEN
    return log_prob, begins[1:], ends[1:], sums[1:] / np.maximum(ends[1:] - begins[1:], 1)


@compiled
def log_prob_in(frames: Frames, frame: int, token: int, margin: float, floor: float) -> float:
    """The log-probability of a token in a frame."""
    best = frames.blank[frame]
    for candidate in range(frames.begins[frame], frames.begins[frame + 1]):
        if frames.ids[candidate] == token:
            return frames.log_probs[candidate]
        best = max(best, frames.log_probs[candidate])
    return min(floor, best - margin)
