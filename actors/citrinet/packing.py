"""Recordings of unequal length one after the other, without padding: the layout of everything in the engine.

A packed batch is a matrix (rows, channels): row = frame. Recording i occupies rows starts[i] to starts[i] + lengths[i].
Between two recordings lie a few rows of zeros, the gap, as wide as the widest convolution reaches; so a convolution
over all rows at once sees zeros beyond each end, just as NeMo's masks show it, and no recording sees its neighbour.
Starts are even, so that every second row is every second frame of each recording.
"""

from dataclasses import dataclass
from functools import cached_property

import torch


@dataclass(frozen=True)
class Packing:
    """Where the recordings of a batch lie. `gap` is the least number of rows between two."""

    lengths: tuple[int, ...]
    gap: int

    @cached_property
    def starts(self) -> tuple[int, ...]:
        starts, row = [], 0
        for length in self.lengths:
            starts.append(row)
            row += length + self.gap
            row += row % 2
        return tuple(starts)

    @property
    def rows(self) -> int:
        return self.starts[-1] + self.lengths[-1]

    @property
    def slices(self) -> list[slice]:
        return [slice(start, start + length) for start, length in zip(self.starts, self.lengths, strict=True)]

    @cached_property
    def gaps(self) -> torch.Tensor:
        """Indices of the rows that belong to no recording, shape (n,)."""
        used = torch.zeros(self.rows, dtype=torch.bool)
        for rows in self.slices:
            used[rows] = True
        return (~used).nonzero().squeeze(1)

    def strided(self, gap: int) -> "Packing":
        """The packing after a stride of 2, with its own gap: n frames become ceil(n / 2)."""
        return Packing(tuple((length + 1) // 2 for length in self.lengths), gap)

    def rows_from(self, starts: list[int], step: int) -> torch.Tensor:
        """For each row here the row it comes from, shape (rows,), where recording i began at starts[i] and `step` rows
        there make one here. Rows of gaps come from row 0: what they hold is zeroed before anything looks."""
        source = torch.zeros(self.rows, dtype=torch.long)
        for rows, start, length in zip(self.slices, starts, self.lengths, strict=True):
            source[rows] = torch.arange(start, start + length * step, step)
        return source
