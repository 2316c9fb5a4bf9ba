"""Packs recordings of unequal length one after the other, without padding: the layout of all data in the engine.

A packed batch is a matrix (rows, channels): row = frame. Recording i occupies rows starts[i] to starts[i] + lengths[i].
Two recordings are separated by a gap as wide as the reach of the widest convolution, of rows that count as zeros. So a
convolution over all rows at once reads zeros beyond each end, as with NeMo's masks, and no recording reads its
neighbour. Starts are even, so that every second row is every second frame of each recording.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from numpy.typing import NDArray

Rows = NDArray[np.int32]  # row numbers, or numbers of rows


@dataclass(frozen=True, eq=False)
class Packing:
    """The rows of each recording of a batch. `gap` is the minimum number of rows between two. This packing has every
    second row of `finer`."""

    lengths: Rows
    gap: int
    finer: Packing | None = None

    @cached_property
    def starts(self) -> Rows:
        taken = self.lengths + self.gap
        ends = np.cumsum(taken + taken % 2, dtype=np.int32)
        return np.concatenate([np.zeros(1, np.int32), ends[:-1]])

    @property
    def rows(self) -> int:
        return int(self.starts[-1] + self.lengths[-1])

    @cached_property
    def slices(self) -> list[slice]:
        ends = self.starts + self.lengths
        return [slice(start, end) for start, end in zip(self.starts.tolist(), ends.tolist(), strict=True)]

    @cached_property
    def recording(self) -> Rows:
        """The index of the recording of each row, -1 for rows of gaps; shape (rows,)."""
        return self._spread(np.arange(len(self.lengths), dtype=np.int32), -1)

    @cached_property
    def gaps(self) -> torch.Tensor:
        """Indices of the rows that belong to no recording, shape (n,)."""
        return torch.from_numpy(np.flatnonzero(self.recording < 0))

    @cached_property
    def source(self) -> Rows:
        """The row of the finer packing that each row is centred on, shape (rows,). It is 0 for rows of gaps, which
        count as zeros whatever comes of that."""
        assert self.finer is not None
        source = self._spread(self.finer.starts - 2 * self.starts, 0)
        source += np.arange(0, 2 * self.rows, 2, dtype=np.int32)
        source *= self.recording >= 0
        return source

    def strided(self, gap: int) -> Packing:
        """The packing after a stride of 2, with its own gap: n frames become ceil(n / 2)."""
        return Packing((self.lengths + 1) // 2, gap, self)

    def _spread(self, values: Rows, elsewhere: int) -> Rows:
        """Repeats each recording's value in all of its rows; gaps have the value `elsewhere`. Torch does it without the
        GIL, which other batches of a GPU need meanwhile."""
        ends = np.append(self.starts[1:], self.rows)
        pairs = np.stack([values, np.full_like(values, elsewhere)], axis=1).ravel()
        counts = np.stack([self.lengths, ends - self.starts - self.lengths], axis=1).ravel()
        repeated: Rows = torch.repeat_interleave(*map(torch.from_numpy, (pairs, counts)), output_size=self.rows).numpy()
        return repeated


def pack(lengths: list[int], gap: int) -> Packing:
    """The packing of recordings with these numbers of frames."""
    return Packing(np.array(lengths, np.int32), gap)
