"""The packings of a batch as the levels of the GPU's kernels: one block of int32 that goes to the device in one copy.

The block's layout is fixed by the most rows and recordings that a batch may have, so that kernels captured with its
address serve every batch.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from actors.engine.citrinet.packing import Packing

Table = np.ndarray[Any, np.dtype[np.int32]]


@dataclass(frozen=True)
class Level:
    """A packing on the device: of each row the recording (-1: none) and the row of the finer level where it is centred
    (rows,); of each recording the first row and how many (recordings,); how many of both there are (1,). All int32."""

    recording: torch.Tensor
    source: torch.Tensor
    starts: torch.Tensor
    lengths: torch.Tensor
    rows: torch.Tensor
    recordings: torch.Tensor
    finer: Level | None = None


class LevelLayout:
    """Where things lie in the block, for so many rows of each level, and recordings."""

    def __init__(self, rows: Sequence[int], recordings: int) -> None:
        self.rows, self.recordings = list(rows), recordings
        self.size, self._spans = 0, list[list[tuple[int, int]]]()
        for each in rows:
            spans = []
            for size in (2, recordings, recordings, each, each):  # counts, starts, lengths, recording, source
                spans.append((self.size, self.size + size))
                self.size += size + -size % 4  # kernels load 16 bytes at once
            self._spans.append(spans)

    def holds(self, packings: Sequence[Packing]) -> bool:
        """Whether a batch packed like that has room."""
        return len(packings[0].lengths) <= self.recordings and all(
            packing.rows <= rows for packing, rows in zip(packings, self.rows, strict=True)
        )

    def fill(self, block: Table, packings: Sequence[Packing]) -> None:
        """Writes the packings of a batch into a block; what lies beyond their rows is left as it was."""
        for spans, packing in zip(self._spans, packings, strict=True):
            counts, starts, lengths, recording, source = (block[first:end] for first, end in spans)
            counts[:] = packing.rows, len(packing.lengths)
            starts[: len(packing.starts)], lengths[: len(packing.lengths)] = packing.starts, packing.lengths
            recording[: packing.rows] = packing.recording
            if packing.finer is not None:
                source[: packing.rows] = packing.source

    def levels(self, block: torch.Tensor) -> list[Level]:
        """The levels of a block on the device."""
        made: list[Level] = []
        for spans in self._spans:
            counts, starts, lengths, recording, source = (block[first:end] for first, end in spans)
            finer = made[-1] if made else None
            made.append(Level(recording, source, starts, lengths, counts[:1], counts[1:2], finer))
        return made


def levels_of(packings: Sequence[Packing], device: torch.device, spare: int = 0) -> list[Level]:
    """The levels of one batch, with room for some more rows and recordings."""
    layout = LevelLayout([packing.rows + spare for packing in packings], len(packings[0].lengths) + spare)
    block = np.zeros(layout.size, np.int32)
    layout.fill(block, packings)
    return layout.levels(torch.from_numpy(block).to(device))
