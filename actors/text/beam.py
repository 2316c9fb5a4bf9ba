"""CTC prefix beam search with a language model and phrases (shallow fusion), by max over paths.

Additions and comparisons only: a segment has the same text whatever it is decoded beside. Without a language model and
phrases, that is the greedy one.
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from actors.text.frames import Frames
from actors.text.language_model import LanguageModel
from actors.text.phrases import Phrases


class State(NamedTuple):
    """Where the language model and the phrases are after a text."""

    lm: int
    phrases: int


class Fusion(NamedTuple):
    """What is added to log-probabilities: for each token `lm_weight` times the language model's and `token_bonus`, and
    what phrases add."""

    lm: LanguageModel
    lm_weight: float
    token_bonus: float
    phrases: Phrases

    @property
    def start(self) -> State:
        return State(self.lm.start, 0)


class Found(NamedTuple):
    """A text that was found: its token ids (tokens,), its score in nats, and the state after it."""

    ids: NDArray[np.int32]
    score: float
    state: State


def search(
    frames: Frames,
    beam: int,
    fusion: Fusion,
    previous: int | None = None,
    state: State | None = None,
    is_followed: bool = False,
    count: int = 1,
) -> list[Found]:
    """The `count` best texts of a segment, the best first; fewer if the beam holds fewer.

    A first token that continues `previous`, the best class of the frame before, is no new one. `state` is that after
    the text before, None at the beginning of a sentence; if the segment `is_followed`, the sentence does not end. The
    first time in a process it takes a second to load the compiled code, and once per machine some to compile it.
    """
    from actors.text.compiled import arguments
    from actors.text.compiled import beam as compiled

    if beam < 1:
        raise ValueError(f"a beam of {beam}")
    classes = min(len(fusion.lm.unigrams), len(fusion.phrases.roots))
    if frames.ids.max(initial=-1) >= classes:
        raise ValueError(f"frames with a class {frames.ids.max()}, of which the fusion has {classes}")
    lm_state, phrase_state = state or fusion.start
    phrases = arguments(fusion.phrases._replace(most=float(fusion.phrases.most)))
    weights = float(fusion.lm_weight), float(fusion.token_bonus)
    added = compiled.Added(arguments(fusion.lm), *weights, phrases)
    live, scores, parents, tokens = compiled.decode(
        arguments(frames),
        beam,
        added,
        -1 if previous is None else int(previous),
        int(lm_state),
        int(phrase_state),
        bool(is_followed),
    )
    best = np.argsort(-scores, kind="stable")[:count]
    return [
        Found(
            compiled.tokens_to(parents, tokens, live["node"][each]),
            float(scores[each]),
            State(int(live["lm"][each]), int(live["phrases"][each])),
        )
        for each in best
    ]
