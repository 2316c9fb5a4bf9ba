"""The candidates of a segment's frames as a beam reads them."""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from actors.engine.interface import CODES_PER_NAT
from actors.foreign.errors import InvalidData
from actors.text.emissions import Heard

#: All log-probabilities are whole multiples of it.
STEP = 1 / (2 * CODES_PER_NAT)


class Frames(NamedTuple):
    """The candidates of output frames: those of frame t are begins[t] to begins[t + 1] of `ids` and `log_probs`, the
    likeliest first. `blank` has the blank's log-probability in each frame.

    `begins` is (frames + 1,), `ids` and `log_probs` (candidates,), `blank` (frames,). Log-probabilities are whole
    multiples of STEP, so that sums of them are exact, and that of the best class is half a code more
    than the rounded one, so that the best path is the greedy one also where rounding made others equal.
    """

    begins: NDArray[np.int64]
    ids: NDArray[np.int32]
    log_probs: NDArray[np.float64]
    blank: NDArray[np.float64]


def frames_of(heard: Heard, blank: int) -> Frames:
    """The frames of a segment, of a model whose blank is `blank`.

    No class is likelier in them than the best one. Raises InvalidData if the segment has no candidates, such as the
    model has not, or a best class that is not the first of them.
    """
    candidates = heard.candidates
    if candidates is None:
        raise InvalidData("it has emissions without candidates, from which a beam cannot decode")
    begins = np.concatenate([[0], np.cumsum(candidates.counts, dtype=np.int64)])
    if candidates.ids.max(initial=0) >= blank or heard.best.max(initial=0) > blank:
        raise InvalidData(f"it has emissions of more than the {blank + 1} classes of the model")
    is_token = heard.best != blank
    firsts = begins[:-1][is_token]
    if not candidates.counts[is_token].all() or (candidates.ids[firsts] != heard.best[is_token]).any():
        raise InvalidData("it has emissions whose best classes are not their first candidates")
    best = candidates.blank.copy()
    best[is_token] = candidates.log_probs[firsts]
    log_probs = np.maximum(candidates.log_probs, np.repeat(best, candidates.counts)) * -2.0
    log_probs[firsts] += 1
    blanks = np.maximum(candidates.blank, best) * -2.0 + ~is_token
    return Frames(begins, candidates.ids.astype(np.int32), log_probs * STEP, blanks * STEP)
