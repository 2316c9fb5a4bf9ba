"""Frames a second that a core decodes, with a vocabulary of Mandarin, a large language model and many phrases.

The language model is a 4-gram of random text in which tokens prefer some to follow them; frames are of such text too,
so that contexts are found, and backed off from, as in speech.
"""

import time
from collections.abc import Callable, Sequence
from statistics import median

import numpy as np
from numpy.typing import NDArray

from actors.benchmark.reports import DecodingTime
from actors.text.alignment import align_tokens
from actors.text.beam import Fusion, search
from actors.text.frames import STEP, Frames
from actors.text.greedy import align
from actors.text.language_model import LanguageModel
from actors.text.phrases import Phrases, automaton_of

BEAM = 16
ARCS, PHRASES = 8_000_000, 10_000
FRAME_S = 0.08
TOKENS = 5_207
SEGMENT = 375  # frames of one, 30 s
ORDER = 4
BITS = 13  # of a token
#: Candidates a frame in the mean, and by how much log-probabilities fall from one to the next.
SOUNDS = {"clear": (1.35, 4.0), "noisy": (6.97, 0.9)}


def random_text(count: int, rng: np.random.Generator, followers: NDArray[np.int64]) -> NDArray[np.int64]:
    """Tokens, most of which are one of those that like to follow the token before."""
    ranks = np.minimum(rng.zipf(1.3, count) - 1, followers.shape[1] - 1)
    strays = rng.integers(0, TOKENS, count)
    is_stray = rng.random(count) < 0.1
    text, last = np.empty(count, np.int64), 0
    for at, (rank, stray, is_one) in enumerate(zip(ranks.tolist(), strays.tolist(), is_stray.tolist(), strict=True)):
        last = stray if is_one else int(followers[last, rank])
        text[at] = last
    return text


def language_model_of(text: NDArray[np.int64], arcs: int, rng: np.random.Generator) -> LanguageModel:
    """An n-gram model of so many arcs, of the contexts and tokens that are in a text, with random weights."""
    grams = [np.arange(TOKENS, dtype=np.int64)]
    for order in range(2, ORDER + 1):
        keys = sum(text[at : len(text) - order + 1 + at] << BITS * (order - 1 - at) for at in range(order))
        left = arcs - sum(map(len, grams[1:]))
        grams.append(np.unique(keys)[:left])  # of the last order as many as are wanted
    firsts = 1 + np.cumsum([0, *map(len, grams[:-1])])  # the first state of contexts of each length

    def state_of(keys: NDArray[np.int64], length: int) -> NDArray[np.int64]:
        """The states of contexts of a length, or of shorter ones where there are none."""
        if length == 0:
            return np.zeros(len(keys), np.int64)
        known = grams[length - 1]
        at = np.minimum(np.searchsorted(known, keys), len(known) - 1)
        shorter = state_of(keys & ((1 << BITS * (length - 1)) - 1), length - 1)
        return np.where(known[at] == keys, firsts[length - 1] + at, shorter)

    longest = (1 << BITS * (ORDER - 1)) - 1
    targets = [state_of(keys & longest, min(order, ORDER - 1)) for order, keys in enumerate(grams, 1)]
    sources = np.concatenate([state_of(keys >> BITS, order) for order, keys in enumerate(grams[1:], 1)])
    labels = np.concatenate(grams[1:]) & ((1 << BITS) - 1)
    by_source = np.lexsort((labels, sources))
    states = int(firsts[-1])
    backoff_states = [state_of(keys & ((1 << BITS * at) - 1), at) for at, keys in enumerate(grams[:-1])]
    return LanguageModel(
        np.searchsorted(sources[by_source], np.arange(states + 1)).astype(np.uint32),
        labels[by_source].astype(np.uint16),
        -rng.exponential(2.0, len(labels)).astype(np.float32),
        np.concatenate(targets[1:])[by_source].astype(np.uint32),
        (-5 - rng.exponential(2.0, TOKENS)).astype(np.float32),
        targets[0].astype(np.uint32),
        np.append(0, -rng.exponential(1.0, states - 1)).astype(np.float32),
        np.append(0, np.concatenate(backoff_states)).astype(np.uint32),
        -rng.exponential(3.0, states).astype(np.float32),
        0,
    )


def phrases_of(text: NDArray[np.int64], count: int, rng: np.random.Generator) -> Phrases:
    """The automaton of phrases of two to six tokens, stretches of a text, at 1.5 nats a token."""
    places = zip(rng.integers(0, len(text) - 6, count), rng.integers(2, 7, count), strict=True) if count else ()
    return automaton_of({tuple(text[begin : begin + length].tolist()): 1.5 for begin, length in places}, TOKENS)


def frames_of_text(text: NDArray[np.int64], frames: int, mean: float, fall: float, rng: np.random.Generator) -> Frames:
    """Frames of which each third has a token, with others beside it: `mean` candidates a frame."""
    counts = rng.poisson(mean * np.tile([2.0, 0.7, 0.3], frames // 3 + 1)[:frames])
    counts[::3] = np.maximum(counts[::3], 1)
    counts = np.minimum(counts, 32)
    begins = np.append(0, np.cumsum(counts))
    ids, log_probs, blank = np.empty(begins[-1], np.int32), np.empty(begins[-1]), np.empty(frames)
    for frame in range(frames):
        count = counts[frame]
        logits = np.append(-np.cumsum(rng.exponential(fall, count)), 0.0)
        if frame % 3 == 0:
            logits[0] = rng.exponential(3 * fall / 4 + 1) + 0.1
        total = np.log(np.exp(logits).sum())
        chosen = rng.choice(TOKENS, count, replace=False)
        near = text[frame // 3]
        if count and near not in chosen:
            chosen[0] = near
        order = np.argsort(-logits[:count], kind="stable")
        ids[begins[frame] : begins[frame + 1]] = chosen
        log_probs[begins[frame] : begins[frame + 1]] = logits[:count][order] - total
        blank[frame] = logits[-1] - total
    return Frames(begins, ids, np.rint(log_probs / STEP) * STEP, np.rint(blank / STEP) * STEP)


def fusions(arcs: int, phrases: int, text: NDArray[np.int64], rng: np.random.Generator) -> dict[str, Fusion]:
    """What is fused with a beam, by the name of it."""
    nothing = language_model_of(text[:ORDER], 0, rng), phrases_of(text, 0, rng)
    both = language_model_of(text, arcs, rng), phrases_of(text, phrases, rng)
    return {
        "beam": Fusion(nothing[0], 0.0, 0.0, nothing[1]),
        "beam, LM and phrases": Fusion(both[0], 0.5, 1.0, both[1]),
    }


def greedy_text(frames: Frames) -> None:
    """Decodes frames as `actors.text.say` does without a beam."""
    best = np.full(len(frames.blank), TOKENS)
    firsts = np.minimum(frames.begins[:-1], max(len(frames.ids) - 1, 0))
    is_token = (np.diff(frames.begins) > 0) & (frames.log_probs[firsts] > frames.blank)
    best[is_token] = frames.ids[firsts[is_token]]
    align(best, np.exp(frames.blank), TOKENS)


def beam_text(frames: Frames, fusion: Fusion) -> None:
    """Decodes frames as `actors.text.say` does with a beam."""
    align_tokens(search(frames, BEAM, fusion)[0].ids, frames)


def decoding_times(minutes: float, repeats: int, arcs: int = ARCS, phrases: int = PHRASES) -> list[DecodingTime]:
    """Measures medians over `repeats` passes on one core, after one that compiles."""
    rng = np.random.default_rng(1)
    text = random_text(arcs * 3 // 4 + 1_000, rng, rng.integers(0, TOKENS, (TOKENS, 60)))
    ways: dict[str, Callable[[Frames], None]] = {"greedy text": greedy_text}
    for name, fusion in fusions(arcs, phrases, text, rng).items():
        ways[name] = lambda frames, fusion=fusion: beam_text(frames, fusion)  # type: ignore[misc]
    found = list[DecodingTime]()
    for sound, (mean, fall) in SOUNDS.items():
        begins = rng.integers(0, len(text) - SEGMENT, max(1, round(minutes * 60 / FRAME_S / SEGMENT)))
        segments = [frames_of_text(text[begin:], SEGMENT, mean, fall, rng) for begin in begins]
        for name, way in ways.items():
            way(segments[0])
            rate = len(segments) * SEGMENT / median(_seconds(way, segments) for _ in range(repeats))
            found.append({"side": name, "sound": sound, "frames_s": round(rate), "rtfx": round(rate * FRAME_S)})
    return found


def _seconds(way: Callable[[Frames], None], segments: Sequence[Frames]) -> float:
    """The time of this process on CPUs, which has one thread that works."""
    began = time.process_time()
    for frames in segments:
        way(frames)
    return time.process_time() - began
