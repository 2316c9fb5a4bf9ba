"""Searches the weights of a beam with the fewest errors: a grid, coarse to fine, then ever smaller steps around its
best."""

from collections.abc import Callable, Sequence
from itertools import product
from typing import NamedTuple


class Weights(NamedTuple):
    """The weights of a beam, as in DecodingSettings."""

    lm_weight: float
    token_bonus: float
    phrase_weight: float


class Axis(NamedTuple):
    """A weight: the values of the grid, the smallest step, and the least and the largest value."""

    name: str
    grid: tuple[float, ...]
    step: float
    least: float
    most: float


LM_AXES = (
    Axis("lm_weight", (0.25, 0.5, 0.75, 1.0, 1.5, 2.0), 0.05, 0.0, 10.0),
    Axis("token_bonus", (0.0, 1.0, 2.0, 3.0, 4.0, 5.0, 6.0), 0.1, -10.0, 10.0),
)
PHRASE_AXES = (Axis("phrase_weight", (0.5, 1.0, 1.5, 2.0, 3.0), 0.1, 0.0, 100.0),)
COARSE_TO_FINE = (2, 1)  # which values of the grid: every second, then each
FIRST_STEPS = 4  # times the smallest; then half of it, until it is the smallest


class WeightSearch:
    """Searches along groups of axes, of which those of a group depend on each other most, for the least `loss`.

    `found` has all weights that were tried, with their loss, in the order of the search; `limit` is how many may be.
    The same losses have the same search. The weights `starts` are tried first; of equal ones, the nearest to the first
    of them is the best.
    """

    def __init__(self, loss: Callable[[Weights], int], starts: Sequence[Weights], limit: int) -> None:
        self._loss, self._starts, self._limit = loss, starts, limit
        self.found = dict[Weights, int]()

    def run(self, groups: Sequence[Sequence[Axis]]) -> Weights:
        """Returns the best weights."""
        for start in self._starts:
            self._try(start)
        for every, axes in product(COARSE_TO_FINE, groups):
            self._try_all(self.best, axes, list(product(*(axis.grid[::every] for axis in axes))))
        factor = FIRST_STEPS
        while factor and len(self.found) < self._limit:
            before = self.best
            for axes in groups:
                here = self.best
                steps = product(*((0.0, -factor * axis.step, factor * axis.step) for axis in axes))
                values = [
                    [getattr(here, axis.name) + by for axis, by in zip(axes, each, strict=True)] for each in steps
                ]
                self._try_all(here, axes, values)
            if self.best == before:
                factor //= 2
        return self.best

    @property
    def best(self) -> Weights:
        return self.ranked()[0]

    def ranked(self) -> list[Weights]:
        """All that were tried, the best first."""
        return sorted(self.found, key=lambda each: (self.found[each], self._distance(each), each))

    def _distance(self, weights: Weights) -> float:
        steps = [axis.step for axis in (*LM_AXES, *PHRASE_AXES)]  # in the order of Weights
        return sum(abs(here - start) / step for here, start, step in zip(weights, self._starts[0], steps, strict=True))

    def _try_all(self, here: Weights, axes: Sequence[Axis], values: Sequence[Sequence[float]]) -> None:
        """Tries values of axes, the nearest to the first start first: there may be trials for a few only."""
        found = list[Weights]()
        for each in values:
            named = {axis.name: round(value, 6) + 0.0 for axis, value in zip(axes, each, strict=True)}
            if all(axis.least <= named[axis.name] <= axis.most for axis in axes):
                found.append(here._replace(**named))
        for weights in sorted(found, key=self._distance):
            self._try(weights)

    def _try(self, weights: Weights) -> None:
        if weights not in self.found and len(self.found) < self._limit:
            self.found[weights] = self._loss(weights)
