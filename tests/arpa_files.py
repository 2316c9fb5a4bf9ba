"""Makes ARPA files: of random weights, and of any n-grams."""

import random
from collections.abc import Callable, Mapping, Sequence

Ngram = tuple[str, ...]
Levels = list[dict[Ngram, tuple[float, float]]]


def arpa_of(levels: Sequence[Mapping[Ngram, tuple[float, float]]], separator: str = "\t", end: str = "\n") -> str:
    """The text of a model: for each order its n-grams, with decimal logarithms of probability and back-off weight."""
    lines = ["\\data\\", *(f"ngram {order}={len(level)}" for order, level in enumerate(levels, 1))]
    for order, level in enumerate(levels, 1):
        lines += ["", f"\\{order}-grams:"]
        for ngram, (log_prob, backoff) in level.items():
            has_backoff = order < len(levels) and ngram[-1] != "</s>"
            weight = f"{separator}{backoff}" if has_backoff else ""
            lines.append(f"{log_prob}{separator}{' '.join(ngram)}{weight}")
    return end.join([*lines, "", "\\end\\", ""])


def random_levels(
    draw: random.Random,
    words: Sequence[str],
    order: int,
    share: float = 0.5,
    weights: Callable[[random.Random], float] = lambda draw: round(-2 * draw.random(), 4),
) -> Levels:
    """N-grams, a share of all that are possible with prefixes and suffixes of their own; in no order."""
    levels: Levels = [{(word,): (-99.0 if word == "<s>" else weights(draw), weights(draw)) for word in words}]
    for _ in range(1, order):
        level: dict[Ngram, tuple[float, float]] = {}
        for context in levels[-1]:
            if context[-1] == "</s>":
                continue
            for word in words:
                has_suffix = (*context[1:], word) in levels[-1]
                if word != "<s>" and has_suffix and draw.random() < share:
                    level[(*context, word)] = weights(draw), draw.choice([0.0, weights(draw)])
        levels.append(dict(draw.sample([*level.items()], len(level))))
    return levels
