"""The loops of the beam search.

A beam holds prefixes of texts. In each frame it becomes the best of those that stay as they are and those that are
extended by a candidate; of equal scores that which comes first, in the order in which the loops come by them: first
those in the beam, then what extends the best of them by its likeliest candidate, and so on.
"""

from typing import NamedTuple

import numpy as np

from actors.text.compiled import allocating, compiled
from actors.text.compiled.steps import MEMORY, STEP, most_of_root, most_of_step, phrase_target, remembered_step
from actors.text.frames import Frames
from actors.text.language_model import LanguageModel
from actors.text.phrases import Phrases

#: A prefix. `blank` and `token` are the log-probabilities of its best paths that end in a blank and in its last token.
#: `earned` is what the language model, the bonus for tokens and completed phrases have added, `lent` what phrases have
#: lent, `most` what they can add in a step. `prefix` identifies it, and `shorter` the prefix without its last token
#: `last`. `node` is its place in the tree, ~parent while it has none. `lm` and `phrases` are states.
HYPOTHESIS = np.dtype(
    [(name, np.float64) for name in ("blank", "token", "earned", "lent", "most")]
    + [(name, np.uint64) for name in ("prefix", "shorter")]
    + [(name, np.int64) for name in ("node", "last", "lm", "phrases")],
    align=True,
)
NONE = -np.inf
EMPTY = np.uint64(0x9E3779B97F4A7C15)  # identifies the empty prefix
NODES = 1_024  # room for so many at first


class Added(NamedTuple):
    """What is added to log-probabilities, as `actors.text.beam.Fusion`."""

    lm: LanguageModel
    lm_weight: float
    token_bonus: float
    phrases: Phrases


@compiled
def extended(prefix: int, token: int) -> int:
    """Identifies a prefix with a token more, by 64 bits, mixed as splitmix64 does. Compared are only those of one beam:
    at its usual width two that differ are taken for one once in some 10^16 frames, and everywhere the same."""
    mixed = (prefix ^ np.uint64(token + 1)) + EMPTY
    mixed = (mixed ^ (mixed >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    mixed = (mixed ^ (mixed >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return mixed ^ (mixed >> np.uint64(31))


@compiled
def place(slots: np.ndarray, scores: np.ndarray, held: int, score: float) -> int:
    """Puts a score among the `held` best, after its equals, and returns the slot for its hypothesis: a new one, or that
    of the worst if all are taken. `slots` are in the order of `scores`, both (beam,)."""
    rank = min(held, len(slots) - 1)
    slot = held if held < len(slots) else slots[rank]
    while rank and scores[rank - 1] < score:
        scores[rank], slots[rank] = scores[rank - 1], slots[rank - 1]
        rank -= 1
    scores[rank], slots[rank] = score, slot
    return slot


@compiled
def relate(
    live: np.ndarray, log_prob_of: np.ndarray, children: np.ndarray, siblings: np.ndarray, by_parent: np.ndarray
) -> None:
    """Finds the hypotheses of the beam that this frame can also reach from another, which lacks their last token.

    Of each, `children` is the last of those that it leads to so, -1 if there is none, `siblings` the one before, and
    `by_parent` the log-probability by way of its parent; all (beam,).
    """
    for i in range(len(live)):
        children[i], by_parent[i] = -1, NONE
    for i in range(len(live)):
        last = live[i].last
        if last < 0 or log_prob_of[last] == NONE:
            continue
        for parent in range(len(live)):
            if live[parent].prefix == live[i].shorter:
                before = live[parent].blank
                if live[parent].last != last:
                    before = max(before, live[parent].token)
                by_parent[i] = before + log_prob_of[last]
                siblings[i], children[parent] = children[parent], i
                break


@compiled
def stay(
    live: np.ndarray,
    log_prob_of: np.ndarray,
    blank: float,
    by_parent: np.ndarray,
    slots: np.ndarray,
    scores: np.ndarray,
    found: np.ndarray,
) -> None:
    """The hypotheses as they are after a frame more."""
    for i in range(len(live)):
        each = live[i]
        token = by_parent[i]
        if each.last >= 0:
            token = max(token, each.token + log_prob_of[each.last])
        in_blank = max(each.blank, each.token) + blank
        slot = place(slots, scores, i, max(in_blank, token) + each.earned + each.lent)
        found[slot] = each
        found[slot].blank, found[slot].token = in_blank, token


@compiled
def extend(
    live: np.ndarray,
    ids: np.ndarray,
    log_probs: np.ndarray,
    added: Added,
    at_root: float,
    memory: np.ndarray,
    children: np.ndarray,
    siblings: np.ndarray,
    slots: np.ndarray,
    scores: np.ndarray,
    found: np.ndarray,
) -> int:
    """The hypotheses with a token more, where they are among the best; returns how many are held."""
    beam, held = len(found), len(live)
    lm, phrases = added.lm, added.phrases
    lent_in, bonuses, lm_weight, token_bonus = phrases.lent, phrases.bonuses, added.lm_weight, added.token_bonus
    most_of_lm = 0.0 if lm_weight >= 0 else np.inf  # a log-probability is at most 0
    for i in range(len(live)):
        each = live[i]
        blank, earned, last, lm_state, phrase_state = each.blank, each.earned, each.last, each.lm, each.phrases
        either = max(blank, each.token)
        most = either + (earned + each.lent + each.most + token_bonus + most_of_lm)
        for candidate in range(len(ids)):
            token, log_prob = np.int64(ids[candidate]), log_probs[candidate]
            least = scores[beam - 1] if held == beam else NONE
            if most + log_prob <= least:
                break  # the others are less likely
            path = (blank if token == last else either) + log_prob
            child = children[i]
            while child >= 0 and live[child].last != token:
                child = siblings[child]
            if child >= 0 or path == NONE:
                continue
            phrase_to = phrase_target(phrases, phrase_state, token)
            lent = np.float64(lent_in[phrase_to])
            gained = token_bonus + bonuses[phrase_to]
            if path + (earned + gained + lent) + most_of_lm <= least:
                continue
            weight, lm_to = remembered_step(lm, lm_state, token, memory)
            gained += lm_weight * weight
            score = path + (earned + gained) + lent
            if score <= least:
                continue
            new = found[place(slots, scores, held, score)]
            held = min(held + 1, beam)
            new.blank, new.token, new.earned, new.lent = NONE, path, earned + gained, lent
            new.most = most_of_step(phrases, phrase_to, at_root)
            new.prefix, new.shorter = extended(each.prefix, token), each.prefix
            new.node, new.last, new.lm, new.phrases = ~each.node, token, lm_to, phrase_to
    return held


@allocating
def root(added: Added, previous: int, lm_state: int, phrase_state: int, at_root: float) -> np.ndarray:
    """The empty text, in an array of one: after `previous` if that is a token, else after a blank."""
    empty = np.zeros(1, HYPOTHESIS)
    is_token = 0 <= previous < len(added.lm.unigrams)
    empty[0].blank, empty[0].token, empty[0].last = (NONE, 0.0, previous) if is_token else (0.0, NONE, -1)
    empty[0].lent = added.phrases.lent[phrase_state]
    empty[0].earned = -empty[0].lent  # what was lent before is not this text's
    empty[0].most = most_of_step(added.phrases, phrase_state, at_root)
    empty[0].prefix, empty[0].lm, empty[0].phrases = EMPTY, lm_state, phrase_state
    return empty


@allocating
def decode(
    frames: Frames, beam: int, added: Added, previous: int, lm_state: int, phrase_state: int, is_followed: bool
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """The beam after the last frame, its scores, and the tree of its tokens: parents and tokens, both (nodes,)."""
    live, found = np.empty(beam, HYPOTHESIS), np.empty(beam, HYPOTHESIS)
    slots, scores = np.empty(beam, np.int64), np.empty(beam)
    children, siblings, by_parent = np.empty(beam, np.int64), np.empty(beam, np.int64), np.empty(beam)
    parents, tokens, nodes = np.zeros(NODES, np.int64), np.empty(NODES, np.int32), 1
    log_prob_of, memory = np.full(len(added.lm.unigrams), NONE), np.zeros(MEMORY, STEP)
    at_root = most_of_root(added.phrases)
    live[:1] = root(added, previous, lm_state, phrase_state, at_root)
    held, blanks, is_in_blank = 1, 0.0, False

    for frame in range(len(frames.blank)):
        ids = frames.ids[frames.begins[frame] : frames.begins[frame + 1]]
        log_probs = frames.log_probs[frames.begins[frame] : frames.begins[frame + 1]]
        if len(ids) == 0:  # the same for all
            for i in range(0 if is_in_blank else held):
                live[i].blank, live[i].token = max(live[i].blank, live[i].token), NONE
            blanks, is_in_blank = blanks + frames.blank[frame], True
            continue
        is_in_blank = False
        for at in range(len(ids)):
            log_prob_of[ids[at]] = log_probs[at]
        relate(live[:held], log_prob_of, children, siblings, by_parent)
        stay(live[:held], log_prob_of, frames.blank[frame], by_parent, slots, scores, found)
        held = extend(live[:held], ids, log_probs, added, at_root, memory, children, siblings, slots, scores, found)
        for at in range(len(ids)):
            log_prob_of[ids[at]] = NONE
        while nodes + held > len(parents):
            parents, tokens = np.concatenate((parents, parents)), np.concatenate((tokens, tokens))
        for i in range(held):
            live[i] = found[slots[i]]
            if live[i].node < 0:
                parents[nodes], tokens[nodes], live[i].node = ~live[i].node, live[i].last, nodes
                nodes += 1

    totals = np.empty(held)
    for i in range(held):
        each = live[i]
        end = each.lent if is_followed else added.lm_weight * added.lm.finals[each.lm]
        totals[i] = max(each.blank, each.token) + blanks + each.earned + end
    return live[:held], totals, parents[:nodes], tokens[:nodes]


@allocating
def tokens_to(parents: np.ndarray, tokens: np.ndarray, node: int) -> np.ndarray:
    """The tokens on the way to a node of the tree."""
    length, each = 0, node
    while each:
        length, each = length + 1, parents[each]
    ids, each = np.empty(length, np.int32), node
    while each:
        length -= 1
        ids[length], each = tokens[each], parents[each]
    return ids
