"""Phrases that a beam prefers, as one automaton (Aho and Corasick 1975, https://doi.org/10.1145/360825.360855).

The bonus of a text is the sum of those of all occurrences of phrases in it, overlapping and nested ones too. A phrase
that has begun is lent a part of its bonus, and what is not completed is given back exactly.
"""

import math
import re
from collections import Counter
from collections.abc import Sequence
from itertools import chain, pairwise
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from actors.schema import UsageError
from actors.text.lists import MAX_BYTES as MAX_BYTES
from actors.text.lists import items_in, shown
from actors.text.spelling import CannotSpell, Speller

MAX_PHRASES = 1_000_000
MAX_CHARACTERS = 500  # of a phrase
MAX_WEIGHT = 100.0  # nats a token; that of the least likely candidate that is kept is 9
SHOWN = 8  # phrases that are named where many cannot be written
_LABEL_BITS = 16
_MAX_LABEL = (1 << _LABEL_BITS) - 1
_NUMBER = re.compile(r"[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]+)?")


class Phrases(NamedTuple):
    """An automaton's arrays, read-only. State 0 is the root, with `roots` (tokens,) the state after each token there.

    The arcs of state s are begins[s] to begins[s + 1] (states + 1,) of `labels` and `targets` (arcs,), in the order of
    their tokens; where there is none, that of `fails` (states,) counts. `lent` (states,) is what a state has been lent,
    `bonuses` (states,) what is earned by entering it. `most` is the most that a step adds.
    """

    begins: NDArray[np.uint32]
    labels: NDArray[np.uint16]
    targets: NDArray[np.uint32]
    roots: NDArray[np.uint32]
    fails: NDArray[np.uint32]
    lent: NDArray[np.float32]
    bonuses: NDArray[np.float32]
    most: float


class Phrase(NamedTuple):
    """A line of a file of phrases: its text, its weight for each token in nats (None: the file's), and its number."""

    text: str
    weight: float | None
    line: int


class Unspelled(NamedTuple):
    """A phrase that the vocabulary cannot write, and the characters that are to blame."""

    phrase: Phrase
    characters: tuple[str, ...]


def no_phrases(tokens: int) -> Phrases:
    """The automaton of no phrase."""
    return automaton_of({}, tokens)


def read_phrases(path: Path) -> list[Phrase]:
    """The phrases of a text file: one a line, with a weight after a tab if wanted; empty lines and comments (#) are
    none. Raises UsageError, which names the line, but not the file.

    A weight below 0 makes a phrase less likely.
    """
    with path.open("rb") as file:
        return phrases_in(file.read(MAX_BYTES + 1))


def phrases_in(data: bytes) -> list[Phrase]:
    """The phrases in the content of a file, as `read_phrases`."""
    phrases = [_phrase(line, number) for line, number in items_in(data, "a file of phrases has a phrase a line")]
    if len(phrases) > MAX_PHRASES:
        raise UsageError(f"it has {len(phrases):,} phrases; at most {MAX_PHRASES:,} can be preferred")
    if not phrases:
        raise UsageError("it has no phrases; write one a line, with a weight after a tab if wanted")
    return phrases


def _phrase(line: str, number: int) -> Phrase:
    text, *fields = line.rstrip().split("\t")
    text, fields = text.strip(), [field.strip() for field in fields]
    if not text:
        raise UsageError(f"line {number}: it has a weight, but no phrase before the tab")
    if len(text) > MAX_CHARACTERS:
        raise UsageError(f"line {number}: a phrase has at most {MAX_CHARACTERS} characters, and this one {len(text):,}")
    if len(fields) > 1:
        raise UsageError(f"line {number}: it has {len(fields)} tabs; a phrase has at most one, before its weight")
    return Phrase(text, _weight(fields[0], number) if fields else None, number)


def _weight(field: str, number: int) -> float:
    weight = float(field) if _NUMBER.fullmatch(field) else math.nan
    if not abs(weight) <= MAX_WEIGHT:
        raise UsageError(
            f"line {number}: the weight after the tab is {shown(field)}; it must be a number of nats for each token,"
            f" from {-MAX_WEIGHT:g} to {MAX_WEIGHT:g}"
        )
    return weight


def build_phrases(
    phrases: Sequence[Phrase], speller: Speller, tokens: int, weight: float
) -> tuple[Phrases, list[Unspelled]]:
    """The automaton of those phrases that the vocabulary of `tokens` tokens can write, and the others.

    Of phrases that are spelled alike, the last counts.
    """
    weights, unspelled = dict[tuple[int, ...], float](), list[Unspelled]()
    for phrase in phrases:
        try:
            spellings = speller.phrase_ids(phrase.text)
        except CannotSpell as problem:
            unspelled.append(Unspelled(phrase, problem.characters))
            continue
        if not spellings[0]:
            unspelled.append(Unspelled(phrase, tuple(dict.fromkeys(phrase.text))))
            continue
        for ids in spellings:
            weights[tuple(ids)] = weight if phrase.weight is None else phrase.weight
    return automaton_of(weights, tokens), unspelled


def sentences_about(unspelled: Sequence[Unspelled], phrases: int) -> list[str]:
    """Says which of so many phrases cannot be written, and which characters are most often to blame."""
    if not unspelled:
        return []
    named = [
        f"line {phrase.line} {shown(phrase.text)} ({', '.join(map(shown, characters[:SHOWN]))}"
        + (", …)" if len(characters) > SHOWN else ")")
        for phrase, characters in unspelled[:SHOWN]
    ]
    more = f"; and {len(unspelled) - SHOWN:,} more" if len(unspelled) > SHOWN else ""
    told = [f"{len(unspelled):,} of {phrases:,} phrases cannot be written by the model: {'; '.join(named)}{more}"]
    if more:
        blamed = Counter(char for _, characters in unspelled for char in characters).most_common(SHOWN)
        told.append(f"most often for {', '.join(f'{shown(char)} (in {count:,})' for char, count in blamed)}")
    return told


def automaton_of(weights: dict[tuple[int, ...], float], tokens: int) -> Phrases:
    """The automaton of spellings, each with its weight for each token.

    A state is lent the most that any of its suffixes, as the beginning of a longer phrase, has earned so far.
    """
    keys, levels, ends, partial = _trie(weights)
    sources, labels = keys >> _LABEL_BITS, keys & _MAX_LABEL
    states = len(keys) + 1
    fails, bonuses, lent = np.zeros(states, np.int64), np.zeros(states), partial
    bonuses[ends] = [weight * len(ids) for ids, weight in weights.items()]
    for begin, end in pairwise(levels[2:]):  # from depth 2, as those of depth 1 fall back to the root
        arcs = slice(begin - 1, end - 1)
        shorter = _targets(keys, fails, fails[sources[arcs]], labels[arcs])
        fails[begin:end] = shorter
        bonuses[begin:end] += bonuses[shorter]
        lent[begin:end] = np.maximum(lent[begin:end], lent[shorter])
    roots = np.zeros(tokens, np.uint32)
    at_root = sources == 0
    roots[labels[at_root]] = 1 + np.flatnonzero(at_root)
    given, earned = lent.astype(np.float32), bonuses.astype(np.float32)
    built = Phrases(
        begins=np.searchsorted(sources, np.arange(states + 1)).astype(np.uint32),
        labels=labels.astype(np.uint16),
        targets=np.arange(1, states, dtype=np.uint32),
        roots=roots,
        fails=fails.astype(np.uint32),
        lent=given,
        bonuses=earned,
        most=float((earned[1:].astype(np.float64) + given[1:] - given[sources]).max(initial=0)),
    )
    for array in built[:-1]:
        array.setflags(write=False)
    return built


class _Trie(NamedTuple):
    """A trie whose states are numbered by depth, then by the state before and the token: the arc with `keys[i]`, which
    has its source above its token's _LABEL_BITS bits, leads to state i + 1, and keys are in order.

    `levels` has the first state of each depth and the number of states. For each spelling, `ends` has its state. For
    each state, `partial` has what the best longer spelling is worth up to there, at least 0.
    """

    keys: NDArray[np.int64]
    levels: list[int]
    ends: NDArray[np.int64]
    partial: NDArray[np.float64]


def _trie(weights: dict[tuple[int, ...], float]) -> _Trie:
    count = len(weights)
    lengths = np.fromiter(map(len, weights), np.int64, count)
    weight = np.fromiter(weights.values(), np.float64, count)
    tokens = np.fromiter(chain.from_iterable(weights), np.int64, int(lengths.sum()))
    firsts, reached, states = np.cumsum(lengths) - lengths, np.zeros(count, np.int64), 1
    keys, levels, partial, those = [np.empty(0, np.int64)], [0, 1], [np.zeros(1)], np.arange(count)
    for depth in range(1, lengths.max(initial=0) + 1):
        those = those[lengths[those] >= depth]
        found, place = np.unique(reached[those] << _LABEL_BITS | tokens[firsts[those] + depth - 1], return_inverse=True)
        reached[those] = states + place
        states += len(found)
        best, is_longer = np.zeros(len(found)), lengths[those] > depth
        np.maximum.at(best, place[is_longer], weight[those[is_longer]] * depth)
        keys.append(found)
        levels.append(states)
        partial.append(best)
    return _Trie(np.concatenate(keys), levels, reached, np.concatenate(partial))


def _targets(
    keys: NDArray[np.int64], fails: NDArray[np.int64], states: NDArray[np.int64], labels: NDArray[np.int64]
) -> NDArray[np.int64]:
    """The states after tokens: of the first of each state's suffixes that has such an arc, else the root."""
    targets, searched = np.zeros(len(states), np.int64), np.arange(len(states))
    while len(searched):
        wanted = states << _LABEL_BITS | labels[searched]
        arcs = np.searchsorted(keys, wanted)
        is_found = keys[np.minimum(arcs, len(keys) - 1)] == wanted
        targets[searched[is_found]] = arcs[is_found] + 1
        remaining = ~is_found & (states > 0)
        searched, states = searched[remaining], fails[states[remaining]]
    return targets
