"""Steps through a language model and through phrases."""

import numpy as np

from actors.text.compiled import compiled
from actors.text.compiled.search import find
from actors.text.language_model import LanguageModel
from actors.text.phrases import Phrases

FEW = 32  # arcs of a state that are looked at for the most that it adds
MEMORY = 4_096  # steps; a power of two
STEP = np.dtype([("key", np.int64), ("weight", np.float64), ("target", np.int64)], align=True)


@compiled
def lm_step(lm: LanguageModel, state: int, token: int) -> tuple[float, int]:
    """The log-probability of a token in a state, and the state after it."""
    weight = 0.0
    while state:
        arc = find(lm.labels, np.int64(lm.begins[state]), np.int64(lm.begins[state + 1]), token)
        if arc >= 0:
            return weight + lm.weights[arc], np.int64(lm.targets[arc])
        weight += lm.backoffs[state]
        state = np.int64(lm.backoff_states[state])
    return weight + lm.unigrams[token], np.int64(lm.unigram_targets[token])


@compiled
def phrase_target(phrases: Phrases, state: int, token: int) -> int:
    """The state after a token."""
    while state:
        arc = find(phrases.labels, np.int64(phrases.begins[state]), np.int64(phrases.begins[state + 1]), token)
        if arc >= 0:
            return np.int64(phrases.targets[arc])
        state = np.int64(phrases.fails[state])
    return np.int64(phrases.roots[token])


@compiled
def phrase_step(phrases: Phrases, state: int, token: int) -> tuple[float, int]:
    """What a token adds in a state, and the state after it."""
    target = phrase_target(phrases, state, token)
    return np.float64(phrases.bonuses[target]) + phrases.lent[target] - phrases.lent[state], target


@compiled
def most_of_root(phrases: Phrases) -> float:
    """The most that phrases add in a step from the root."""
    most = 0.0
    for target in phrases.roots:
        most = max(most, np.float64(phrases.bonuses[target]) + phrases.lent[target])
    return most


@compiled
def most_of_step(phrases: Phrases, state: int, at_root: float) -> float:
    """The most that phrases add in a step from a state; `at_root` is that from the root."""
    most, each = at_root, state
    while each:
        begin, end = np.int64(phrases.begins[each]), np.int64(phrases.begins[each + 1])
        if end - begin > FEW:
            return phrases.most
        for arc in range(begin, end):
            target = phrases.targets[arc]
            most = max(most, np.float64(phrases.bonuses[target]) + phrases.lent[target])
        each = np.int64(phrases.fails[each])
    return most - phrases.lent[state]


@compiled
def remembered_step(lm: LanguageModel, state: int, token: int, memory: np.ndarray) -> tuple[float, int]:
    """`lm_step`, or what it gave before: two of three steps are the same as of a hypothesis beside or a frame ago."""
    key = state * np.int64(len(lm.unigrams)) + token + 1  # 0 where nothing is remembered
    known = memory[(key * np.int64(0x9E3779B97F4A7C1) >> np.int64(40)) & (MEMORY - 1)]
    if known.key != key:
        known.key = key
        known.weight, known.target = lm_step(lm, state, token)
    return known.weight, known.target
