"""Turns n-grams into a back-off automaton, as `language_model.LanguageModel` describes it."""

import math

import numpy as np
from numpy.typing import NDArray

from actors.schema import UsageError
from actors.text.arpa import Ngrams

#: The log-probability of a token that is not in a model without <unk>.
UNKNOWN = math.log(1e-10)
_MAX_ARCS = 1 << 30

Arrays = dict[str, NDArray[np.generic]]


def automaton(ngrams: Ngrams, tokens: int) -> tuple[Arrays, int]:
    """The arrays of a LanguageModel, by name, and its start.

    Its states are the n-grams that others continue, or that have a back-off weight. A token without a unigram has the
    probability of <unk>, and continues n-grams as <unk> does.
    """
    begin, end, unknown = tokens, tokens + 1, tokens + 2
    orders, words, contexts = ngrams.orders, ngrams.words, ngrams.contexts
    is_state = (np.diff(ngrams.begins) > 0) | (ngrams.backoffs != 0)
    is_state[orders[-2] :] = False
    is_state[: orders[1]] &= ngrams.is_there
    is_state[words == end] = False
    states = np.cumsum(is_state, dtype=np.uint32) * is_state  # the n-gram's own; 0, the empty context, if it is none
    links = _links(ngrams, is_state)
    suffixes = np.where(links < 0, np.uint32(0), states[links])
    targets = np.where(is_state, states, suffixes).astype(np.uint32)
    log_probs = ngrams.log_probs

    found = np.flatnonzero(is_state)
    backoffs = np.concatenate([np.zeros(1, np.float32), ngrams.backoffs[found]])
    backoff_states = np.concatenate([np.zeros(1, np.uint32), suffixes[found].astype(np.uint32)])
    finals = _finals(ngrams, end, states, log_probs, backoffs, backoff_states)

    is_token = ngrams.is_there[:tokens]
    is_known = ngrams.is_there[unknown]
    least = log_probs[unknown] if is_known else np.float32(UNKNOWN)
    unigrams = np.where(is_token, log_probs[:tokens], least).astype(np.float32)
    unigram_targets = np.where(is_token, targets[:tokens], targets[unknown] if is_known else 0).astype(np.uint32)

    longer = np.arange(orders[1], len(words))
    is_arc = (words[longer] != end) & (words[longer] != unknown)
    others = longer[words[longer] == unknown]
    arcs = longer[is_arc]
    sources, labels = states[contexts[arcs]], words[arcs]
    unseen = np.flatnonzero(~is_token).astype(np.uint32)
    if len(others) and len(unseen):
        if len(arcs) + len(others) * len(unseen) > _MAX_ARCS:
            raise UsageError(
                f"it has {len(others):,} n-grams that end in <unk>, which stands for {len(unseen):,} tokens of the"
                " model: too many; train it without <unk> as a word"
            )
        arcs = np.concatenate([arcs, np.repeat(others, len(unseen))])
        sources = np.concatenate([sources, np.repeat(states[contexts[others]], len(unseen))])
        labels = np.concatenate([labels, np.tile(unseen, len(others))])
        in_order = np.lexsort((labels, sources))
        arcs, sources, labels = arcs[in_order], sources[in_order], labels[in_order]
    count = len(found) + 1
    arrays: Arrays = {
        "begins": np.searchsorted(sources, np.arange(count + 1, dtype=np.uint32)).astype(np.uint32),
        "labels": labels.astype(np.uint16),
        "weights": log_probs[arcs],
        "targets": targets[arcs],
        "unigrams": unigrams,
        "unigram_targets": unigram_targets,
        "backoffs": backoffs,
        "backoff_states": backoff_states,
        "finals": finals,
    }
    return arrays, int(states[begin])


def _links(ngrams: Ngrams, is_state: NDArray[np.bool_]) -> NDArray[np.int64]:
    """The longest suffix of each n-gram that is a state, -1 if that is the empty one."""
    from actors.text.compiled.arpa import Trie, link_suffixes

    links = np.full(len(ngrams.words), -1, np.int64)
    trie = Trie(ngrams.words, ngrams.begins, ngrams.is_there)
    for first, last in zip(ngrams.orders[1:], ngrams.orders[2:], strict=False):
        link_suffixes(trie, ngrams.contexts, is_state, links, first, last)
    return links


def _finals(
    ngrams: Ngrams,
    end: int,
    states: NDArray[np.uint32],
    log_probs: NDArray[np.float32],
    backoffs: NDArray[np.float32],
    backoff_states: NDArray[np.uint32],
) -> NDArray[np.float32]:
    """The log-probability of </s> in each state: 0 everywhere if the model does not know where sentences end."""
    finals = np.full(len(backoffs), np.nan)
    if not ngrams.is_there[end]:
        return np.zeros(len(backoffs), np.float32)
    ends = np.flatnonzero(ngrams.words == end)
    ends = ends[ends >= ngrams.orders[1]]
    finals[0] = log_probs[end]
    finals[states[ngrams.contexts[ends]]] = log_probs[ends]
    # States are in the order of their lengths, so what is backed off to is known first.
    lengths = np.searchsorted(np.flatnonzero(states), ngrams.orders[1:]) + 1
    for first, last in zip([1, *lengths], lengths, strict=False):
        own = finals[first:last]
        shorter = finals[backoff_states[first:last]] + backoffs[first:last]
        finals[first:last] = np.where(np.isnan(own), shorter, own)
    return finals.astype(np.float32)
