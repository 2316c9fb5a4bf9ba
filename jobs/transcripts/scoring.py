"""Error rates: edits between references and transcripts, and confidence intervals."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from math import sqrt
from statistics import NormalDist
from typing import Literal, Self

import numpy as np
from numpy.typing import NDArray

BLOCKS = 10_000  # units of the bootstrap; if there are more recordings, they are assigned to blocks
SAMPLES_AT_ONCE = 50  # of the bootstrap; bounds the memory
MIN_RECORDINGS = (
    5  # of an interval: four have 35 different samples, too few for a share of 2.5 % of them; five have 126
)


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


@dataclass(frozen=True)
class Interval:
    """A confidence interval, and how it was found."""

    low: float
    high: float
    method: Literal["bootstrap", "wilson"]

    @property
    def rounded(self) -> tuple[float, float]:
        """As in summaries."""
        return round(self.low, 5), round(self.high, 5)

    @classmethod
    def described(cls, interval: Self | None) -> tuple[tuple[float, float] | None, str | None]:
        """An interval and its method as in summaries; None for both if there is none."""
        return (None, None) if interval is None else (interval.rounded, interval.method)


@dataclass(frozen=True)
class Difference:
    """The 95 % confidence interval of a difference of two error rates, None if there is none, and how likely one at
    least as large is if both outputs are equally good."""

    interval: tuple[float, float] | None
    p_value: float


def interval(errors: Sequence[int], tokens: Sequence[int], samples: int, share: float = 0.95) -> Interval | None:
    """The confidence interval of an error rate at level `share`, by a bootstrap over recordings.

    Method of Bisani and Ney, https://doi.org/10.1109/ICASSP.2004.1326009. The seed is fixed. If all recordings have the
    same rate, as where there are no errors, so have all samples, and the bootstrap would be certain of it. Then it is
    Wilson's interval over the tokens (`wilson`). None for fewer than MIN_RECORDINGS recordings with tokens, which
    cannot tell how much recordings differ, and for such a rate over 1.
    """
    counts = np.array([errors, tokens], np.int64)
    if np.count_nonzero(counts[1]) < MIN_RECORDINGS:
        return None
    generator = np.random.default_rng(0)
    drawn = _bootstrap(_in_blocks([errors, tokens], generator), samples, generator)
    low, high = _quantiles(drawn[0] / np.maximum(drawn[1], 1), share)
    if low == high or _are_alike(*counts):
        return wilson(int(counts[0].sum()), int(counts[1].sum()), share)
    return Interval(low, high, "bootstrap")


def wilson(errors: int, tokens: int, share: float = 0.95) -> Interval | None:
    """Wilson's score interval of a share of tokens, as if each were independent of the others. None for a rate over 1.

    Wilson 1927, https://doi.org/10.1080/01621459.1927.10502953, p. 209. Of n tokens without errors it ends at
    z^2 / (n + z^2), which is 3.84 / (n + 3.84) at 95 %.
    """
    if errors > tokens:
        return None
    rate, square = errors / tokens, NormalDist().inv_cdf((1 + share) / 2) ** 2
    middle = (rate + square / (2 * tokens)) / (1 + square / tokens)
    half = sqrt(square * (rate * (1 - rate) + square / (4 * tokens)) / tokens) / (1 + square / tokens)
    return Interval(middle - half if errors else 0.0, middle + half if errors < tokens else 1.0, "wilson")


def difference(
    errors: Sequence[int] | NDArray[np.int64],
    others: Sequence[int] | NDArray[np.int64],
    tokens: Sequence[int] | NDArray[np.int64],
    samples: int,
) -> Difference:
    """Tests the difference between the error rates of two outputs, whose recordings are given in the same order.

    The interval is that of Bisani and Ney (section 4), of the difference over samples of recordings. The p-value is
    that of approximate randomisation, two-sided: in each sample, the outputs are swapped for a random half of the
    recordings (Riezler and Maxwell 2005, https://aclanthology.org/W05-0908). The seed is fixed. There is no interval
    for fewer than MIN_RECORDINGS recordings, nor if the rates differ by the same in each, as where nothing differs.
    """
    generator = np.random.default_rng(0)
    blocks = _in_blocks([errors, others, tokens], generator)
    drawn = _bootstrap(blocks, samples, generator)
    counts = np.array([errors, others, tokens], np.int64)
    low, high = _quantiles((drawn[0] - drawn[1]) / np.maximum(drawn[2], 1), 0.95)
    is_open = low < high and np.count_nonzero(counts[2]) >= MIN_RECORDINGS
    between = (low, high) if is_open and not _are_alike(counts[0] - counts[1], counts[2]) else None
    differences, as_large = blocks[0] - blocks[1], 0
    for first in range(0, samples, SAMPLES_AT_ONCE):
        size = min(SAMPLES_AT_ONCE, samples - first), len(differences)
        swapped = (2.0 * generator.integers(0, 2, size) - 1) @ differences
        as_large += int((np.abs(swapped) >= abs(differences.sum())).sum())
    return Difference(between, (as_large + 1) / (samples + 1))


def _are_alike(errors: NDArray[np.int64], tokens: NDArray[np.int64]) -> bool:
    """Whether all recordings have the same rate."""
    return bool(np.all(errors * tokens.sum() == tokens * errors.sum()))


def _in_blocks(
    counts: Sequence[Sequence[int] | NDArray[np.int64]], generator: np.random.Generator
) -> NDArray[np.float64]:
    """Counts of recordings (kinds, recordings), or of random blocks of them if there are more than BLOCKS."""
    rows = np.stack([np.asarray(each, np.float64) for each in counts])
    if rows.shape[1] <= BLOCKS:
        return rows
    block = generator.integers(0, BLOCKS, rows.shape[1])
    return np.stack([np.bincount(block, each, BLOCKS) for each in rows])


def _bootstrap(blocks: NDArray[np.float64], samples: int, generator: np.random.Generator) -> NDArray[np.float64]:
    """Sums of counts (kinds, blocks) over blocks that are drawn with replacement (kinds, samples)."""
    count, sums = blocks.shape[1], list[NDArray[np.float64]]()
    for first in range(0, samples, SAMPLES_AT_ONCE):
        sums.append(blocks[:, generator.integers(0, count, (min(SAMPLES_AT_ONCE, samples - first), count))].sum(axis=2))
    return np.concatenate(sums, axis=1)


def _quantiles(values: NDArray[np.float64], share: float) -> tuple[float, float]:
    low, high = np.quantile(values, [(1 - share) / 2, (1 + share) / 2])
    return float(low), float(high)
