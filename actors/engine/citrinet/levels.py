"""The packings of a batch as levels for the GPU kernels: one block of int32, copied to the device at once.

The block's layout is fixed by the maximum rows and recordings of a batch, so that kernels captured with its address
serve every batch up to that size.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch

from actors.engine.citrinet.packing import Packing, Rows


@dataclass(frozen=True)
class Level:
    """A packing on the device, all int32.

    Per row, (rows,): `recording`, its index or -1, and `source`, the row of the finer level that it is centred on. Per
    recording, (recordings,): `starts`, its first row, and `lengths`, its number of rows. `rows` and `recordings` are
    their actual numbers, (1,).
    """

    recording: torch.Tensor
    source: torch.Tensor
    starts: torch.Tensor
    lengths: torch.Tensor
    rows: torch.Tensor
    recordings: torch.Tensor
    finer: Level | None = None


class LevelLayout:
    """Offsets within the block, for the maximum rows of each level and the maximum recordings."""

    def __init__(self, rows: Sequence[int], recordings: int) -> None:
        self.rows, self.recordings = list(rows), recordings
        self.size, self._spans = 0, list[list[tuple[int, int]]]()
        for each in rows:
            spans = []
            for size in (2, recordings, recordings, each, each):  # counts, starts, lengths, recording, source
                spans.append((self.size, self.size + size))
                self.size += size + -size % 4  # kernels load 16 bytes at a time
            self._spans.append(spans)

    def holds(self, packings: Sequence[Packing]) -> bool:
        """Whether there is room for a batch with these packings."""
        return len(packings[0].lengths) <= self.recordings and all(
            packing.rows <= rows for packing, rows in zip(packings, self.rows, strict=True)
        )

    def fill(self, block: Rows, packings: Sequence[Packing]) -> None:
        """Writes the packings of a batch to a block. Entries beyond their rows are left as they are, whatever another
        layout wrote there, but for those of `source`: operations that know no number of rows follow them all."""
        for spans, packing in zip(self._spans, packings, strict=True):
            counts, starts, lengths, recording, source = (block[first:end] for first, end in spans)
            counts[:] = packing.rows, len(packing.lengths)
            starts[: len(packing.starts)], lengths[: len(packing.lengths)] = packing.starts, packing.lengths
            recording[: packing.rows] = packing.recording
            if packing.finer is not None:
                source[: packing.rows], source[packing.rows :] = packing.source, 0

    def levels(self, block: torch.Tensor) -> list[Level]:
        """The levels of a block on the device."""
        levels_so_far: list[Level] = []
        for spans in self._spans:
            counts, starts, lengths, recording, source = (block[first:end] for first, end in spans)
            finer = levels_so_far[-1] if levels_so_far else None
            levels_so_far.append(Level(recording, source, starts, lengths, counts[:1], counts[1:2], finer))
        return levels_so_far


def levels_of(packings: Sequence[Packing], device: torch.device, spare: int = 0) -> list[Level]:
    """The levels of one batch, with room for `spare` more rows and recordings."""
    layout = LevelLayout([packing.rows + spare for packing in packings], len(packings[0].lengths) + spare)
    block = np.zeros(layout.size, np.int32)
    layout.fill(block, packings)
    return layout.levels(torch.from_numpy(block).to(device))
