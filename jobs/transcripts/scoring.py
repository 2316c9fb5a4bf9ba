"""Error rates: edits between references and transcripts, and confidence intervals."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

BLOCKS = 10_000  # units of the bootstrap; if there are more recordings, they are assigned to blocks
SAMPLES_AT_ONCE = 50  # of the bootstrap; bounds the memory


@dataclass(frozen=True, slots=True)
class Edits:
    """Edits that turn a reference of `tokens` tokens into a transcript."""

    tokens: int = 0
    substitutions: int = 0
    deletions: int = 0
    insertions: int = 0

    @property
    def errors(self) -> int:
        return self.substitutions + self.deletions + self.insertions

    def __add__(self, other: "Edits") -> "Edits":
        return Edits(
            self.tokens + other.tokens,
            self.substitutions + other.substitutions,
            self.deletions + other.deletions,
            self.insertions + other.insertions,
        )

    @property
    def rate(self) -> float | None:
        """Errors per token of the reference."""
        return self.errors / self.tokens if self.tokens else None


def compare(
    reference: Sequence[str], transcript: Sequence[str], confusions: Counter[tuple[str, str]] | None = None
) -> Edits:
    """Minimal edits between two sequences of characters or words.

    Counts (reference, transcript) pairs in `confusions`, with "" for the missing side.
    """
    from rapidfuzz.distance import Levenshtein

    counts = Counter[str]()
    for edit in Levenshtein.editops(reference, transcript):
        counts[edit.tag] += 1
        if confusions is not None:
            expected = "" if edit.tag == "insert" else reference[edit.src_pos]
            actual = "" if edit.tag == "delete" else transcript[edit.dest_pos]
            confusions[expected, actual] += 1
    return Edits(len(reference), counts["replace"], counts["delete"], counts["insert"])


def interval(errors: Sequence[int], tokens: Sequence[int], samples: int, share: float = 0.95) -> tuple[float, float]:
    """The confidence interval of an error rate at level `share`, by a bootstrap over recordings.

    Method of Bisani and Ney, https://doi.org/10.1109/ICASSP.2004.1326009. The seed is fixed.
    No recordings have the interval (0, 0).
    """
    if len(errors) == 0:
        return 0.0, 0.0
    pairs = np.stack([np.asarray(errors, np.float64), np.asarray(tokens, np.float64)])
    generator = np.random.default_rng(0)
    if pairs.shape[1] > BLOCKS:
        block = generator.integers(0, BLOCKS, pairs.shape[1])
        pairs = np.stack([np.bincount(block, each, BLOCKS) for each in pairs])
    count, rates = pairs.shape[1], list[np.ndarray]()
    for first in range(0, samples, SAMPLES_AT_ONCE):
        drawn = pairs[:, generator.integers(0, count, (min(SAMPLES_AT_ONCE, samples - first), count))].sum(axis=2)
        rates.append(drawn[0] / np.maximum(drawn[1], 1))
    low, high = np.quantile(np.concatenate(rates), [(1 - share) / 2, (1 + share) / 2])
    return float(low), float(high)
