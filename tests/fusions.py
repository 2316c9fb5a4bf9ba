"""Small language models and phrases as arrays, and what they say of a text by their definition; frames from
log-probabilities. All in plain Python, to compare the compiled loops with."""

import itertools
import math
import random
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from actors.engine.interface import THRESHOLD, Candidates, log_prob_codes
from actors.text.beam import Fusion, State
from actors.text.emissions import Heard
from actors.text.frames import Frames
from actors.text.language_model import LanguageModel
from actors.text.phrases import Phrases

BEGIN, END = -1, -2
ORDER = 3
UNKNOWN = -7.5  # log-probability of a token that is not in a model
Text = tuple[int, ...]


class Grammar(NamedTuple):
    """An n-gram model: log-probabilities and back-off weights, of which those that are not there are 0."""

    log_probs: dict[Text, float]
    backoffs: dict[Text, float]

    def log_prob(self, context: Text, token: int) -> float:
        """Of a token after all those before it."""
        context = context[-(ORDER - 1) :]
        if (*context, token) in self.log_probs:
            return self.log_probs[*context, token]
        if not context:
            return UNKNOWN
        return self.backoffs.get(context, 0.0) + self.log_prob(context[1:], token)

    def state_of(self, context: Text) -> int:
        contexts = self._contexts()
        return next(contexts.index(context[at:]) for at in range(len(context) + 1) if context[at:] in contexts)

    def _contexts(self) -> list[Text]:
        return sorted({gram for gram in self.log_probs if len(gram) < ORDER and gram[-1] != END} | {()}, key=len)

    def arrays(self, tokens: int) -> LanguageModel:
        contexts = self._contexts()
        arcs = [
            [(token, *self._arc(context, token)) for token in range(tokens) if (*context, token) in self.log_probs]
            for context in contexts[1:]
        ]
        listed = list(itertools.chain(*arcs))
        unigrams = [self._arc((), token) for token in range(tokens)]
        return LanguageModel(
            np.cumsum([0, 0, *map(len, arcs)]).astype(np.uint32),
            np.array([each[0] for each in listed], np.uint16),
            np.array([each[1] for each in listed], np.float32),
            np.array([each[2] for each in listed], np.uint32),
            np.array([each[0] for each in unigrams], np.float32),
            np.array([each[1] for each in unigrams], np.uint32),
            np.array([self.backoffs.get(each, 0.0) for each in contexts], np.float32),
            np.array([self.state_of(each[1:]) for each in contexts], np.uint32),
            np.array([self.log_prob(each, END) for each in contexts], np.float32),
            self.state_of((BEGIN,)),
        )

    def _arc(self, context: Text, token: int) -> tuple[float, int]:
        return self.log_probs.get((*context, token), UNKNOWN), self.state_of((*context, token)[-(ORDER - 1) :])


def random_grammar(tokens: int, draw: random.Random) -> Grammar:
    """Weights are whole 16ths, so that sums are the same in any order; one token may be unknown."""
    known = [token for token in range(tokens) if draw.random() < 0.85] or [0]
    grams: list[Text] = [(BEGIN,), (END,), *((token,) for token in known)]
    for length in range(2, ORDER + 1):
        shorter = {gram for gram in grams if len(gram) == length - 1}
        longer = [(*gram, last) for gram in sorted(shorter) if gram[-1] != END for last in [END, *known]]
        grams += [gram for gram in longer if gram[1:] in shorter and draw.random() < 0.6]
    weights = {gram: -draw.randint(1, 60) / 16 for gram in grams}
    return Grammar(weights, {gram: -draw.randint(0, 30) / 16 for gram in grams if len(gram) < ORDER})


class Wanted(NamedTuple):
    """Phrases and their bonuses, and what is lent for each beginning of one."""

    bonuses: dict[Text, float]
    lent: dict[Text, float]

    def _states(self) -> list[Text]:
        return sorted({phrase[:end] for phrase in self.bonuses for end in range(len(phrase) + 1)} | {()}, key=len)

    def state_of(self, text: Text) -> int:
        """That of the longest beginning of a phrase with which a text ends."""
        states = self._states()
        return next(states.index(text[at:]) for at in range(len(text) + 1) if text[at:] in states)

    def lent_after(self, text: Text) -> float:
        return self.lent[self._states()[self.state_of(text)]]

    def bonus(self, text: Text) -> float:
        """The sum over all occurrences in a text."""
        return sum(
            bonus * sum(text[at : at + len(phrase)] == phrase for at in range(len(text)))
            for phrase, bonus in self.bonuses.items()
        )

    def arrays(self, tokens: int) -> Phrases:
        states = self._states()
        arcs = [[token for token in range(tokens) if (*state, token) in states] for state in states]
        arcs[0] = []
        earned = [sum(self.bonuses.get(state[at:], 0.0) for at in range(len(state))) for state in states]
        lent = [self.lent[state] for state in states]
        return Phrases(
            np.cumsum([0, *map(len, arcs)]).astype(np.uint32),
            np.array(list(itertools.chain(*arcs)), np.uint16),
            np.array(
                [
                    self.state_of((*state, token))
                    for state, listed in zip(states, arcs, strict=True)
                    for token in listed
                ],
                np.uint32,
            ),
            np.array([self.state_of((token,)) for token in range(tokens)], np.uint32),
            np.array([self.state_of(state[1:]) for state in states], np.uint32),
            np.array(lent, np.float32),
            np.array(earned, np.float32),
            max(map(sum, zip(earned, lent, strict=True))),
        )


def wanted(bonuses: dict[Text, float], draw: random.Random) -> Wanted:
    """Phrases of which any share is lent: what is given back does not depend on it."""
    beginnings = {phrase[:end] for phrase in bonuses for end in range(1, len(phrase) + 1)}
    return Wanted(bonuses, {(): 0.0} | {each: draw.randint(0, 40) / 16 for each in sorted(beginnings)})


NO_GRAMMAR = Grammar({(token,): 0.0 for token in range(64)} | {(END,): 0.0}, {})
NO_PHRASES = Wanted({}, {(): 0.0})


def nothing_fused(tokens: int) -> Fusion:
    unigrams = Grammar({(token,): 0.0 for token in range(tokens)} | {(END,): 0.0}, {}).arrays(tokens)
    start = unigrams._replace(unigram_targets=np.zeros(tokens, np.uint32), start=0)
    return Fusion(start, 0.0, 0.0, NO_PHRASES.arrays(tokens))


class Weighted(NamedTuple):
    """A fusion by its definition, of which `history` is the text before, None at the beginning of a sentence."""

    grammar: Grammar
    lm_weight: float
    token_bonus: float
    phrases: Wanted
    history: Text | None = None

    def fusion(self, tokens: int) -> Fusion:
        return Fusion(self.grammar.arrays(tokens), self.lm_weight, self.token_bonus, self.phrases.arrays(tokens))

    def state(self) -> State | None:
        if self.history is None:
            return None
        return self.state_after(())

    def state_after(self, text: Text) -> State:
        before = (BEGIN, *(self.history or ()))
        context = (*before, *text)[-(ORDER - 1) :]
        return State(self.grammar.state_of(context), self.phrases.state_of((*(self.history or ()), *text)))

    def score(self, text: Text, is_followed: bool) -> float:
        """What is added to the log-probability of a text."""
        before = self.history or ()
        ended = (*text,) if is_followed else (*text, END)
        lm = sum(self.grammar.log_prob((BEGIN, *before, *text[:at]), token) for at, token in enumerate(ended))
        bonus = self.phrases.bonus((*before, *text)) - self.phrases.bonus(before) - self.phrases.lent_after(before)
        lent = self.phrases.lent_after((*before, *text)) if is_followed else 0.0
        return self.lm_weight * lm + self.token_bonus * len(text) + bonus + lent


def heard_of(
    log_probs: NDArray[np.float32], most: int = 32, previous: int | None = None, is_followed: bool = False
) -> Heard:
    """A segment of log-probabilities, (frames, classes) with the blank last, as an engine gives it."""
    blank, counts, ids = log_probs.shape[1] - 1, list[int](), list[int]()
    best = [int(np.argmax(row)) for row in log_probs]
    for row, winner in zip(log_probs, best, strict=True):
        order = sorted(range(blank), key=lambda token: (-row[token], token))
        listed = [token for token in order if row[token] > THRESHOLD or token == winner][:most]
        counts.append(len(listed))
        ids += listed
    codes = log_prob_codes(log_probs)
    frames = np.repeat(np.arange(len(best)), counts)
    candidates = Candidates(
        np.array(counts, np.uint8), np.array(ids, np.uint16), codes[frames, np.array(ids, int)], codes[:, blank]
    )
    likely = np.exp(log_probs.max(1, initial=-np.inf))
    return Heard(
        0.0, 1.0, 0.08, previous, np.array(best, np.uint16), likely.astype(np.float32), is_followed, candidates
    )


def log_probs_in(frames: Frames, frame: int, blank: int) -> dict[int, float]:
    """The classes of a frame that have a log-probability."""
    own = slice(frames.begins[frame], frames.begins[frame + 1])
    listed = dict(zip(frames.ids[own].tolist(), frames.log_probs[own].tolist(), strict=True))
    return listed | {blank: float(frames.blank[frame])}


def text_of(path: Sequence[int], blank: int, previous: int | None) -> Text:
    before = [blank if previous is None else previous, *path[:-1]]
    return tuple(each for each, last in zip(path, before, strict=False) if each not in (blank, last))


def all_texts(frames: Frames, blank: int, previous: int | None) -> dict[Text, float]:
    """The log-probability of the best path of each text."""
    found = dict[Text, float]()
    each_frame = [log_probs_in(frames, frame, blank) for frame in range(len(frames.blank))]
    for path in itertools.product(*each_frame):
        text = text_of(path, blank, previous)
        score = sum(each[label] for each, label in zip(each_frame, path, strict=True))
        found[text] = max(found.get(text, score), score)
    return found


def random_log_probs(frames: int, classes: int, draw: np.random.Generator, spread: float = 0.7) -> NDArray[np.float32]:
    if not frames:
        return np.zeros((0, classes), np.float32)
    return np.log(draw.dirichlet(np.full(classes, spread), frames) + 1e-30).astype(np.float32)


def arpa_of(grammar: Grammar, words: dict[int, str]) -> str:
    """The text of an ARPA file; what has no log-probability of its own is <unk>."""
    names = words | {BEGIN: "<s>", END: "</s>"}
    lines = {order: list[str]() for order in range(1, ORDER + 1)}
    lines[1].append(f"{UNKNOWN / math.log(10):.9f}\t<unk>\t0")
    for gram, weight in sorted(grammar.log_probs.items(), key=lambda each: (len(each[0]), each[0])):
        backoff = f"\t{grammar.backoffs.get(gram, 0.0) / math.log(10):.9f}" if len(gram) < ORDER else ""
        lines[len(gram)].append(f"{weight / math.log(10):.9f}\t{' '.join(names[each] for each in gram)}{backoff}")
    counts = "\n".join(f"ngram {order}={len(each)}" for order, each in lines.items())
    grams = "\n\n".join("\n".join([f"\\{order}-grams:", *each]) for order, each in lines.items())
    return f"\\data\\\n{counts}\n\n{grams}\n\n\\end\\\n"
