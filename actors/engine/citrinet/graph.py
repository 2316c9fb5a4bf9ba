"""What a batch goes through on a GPU, and the CUDA graph of it for batches up to one size."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch

from actors.engine.citrinet.encoder import Encoder
from actors.engine.citrinet.features import Features
from actors.engine.citrinet.gpu_layers import GpuLayers
from actors.engine.citrinet.levels import Level, LevelLayout
from actors.engine.citrinet.packing import Packing
from actors.engine.citrinet.slots import Results, Slot
from actors.schema import SAMPLE_RATE, Waveform

ROWS_PER_RECORDING = 128  # average that the memory is sized for: recordings of 1.3 s


@dataclass(frozen=True)
class Network:
    """Features and encoder; `candidates` are listed of each output frame, at most."""

    layers: GpuLayers
    features: Features[Level]
    encoder: Encoder[Level]
    candidates: int = 0

    def layout(self, seconds: float) -> LevelLayout:
        """Room for so many seconds of audio, in up to a recording for each ROWS_PER_RECORDING."""
        rows, gap = int(seconds * SAMPLE_RATE / self.features.hop), self.encoder.gap
        recordings = rows // ROWS_PER_RECORDING + 1
        counts = [rows + recordings * (max(gap, self.features.gap) + 1)]
        for _ in range(self.encoder.strides):
            rows = rows // 2 + recordings
            counts.append(rows + recordings * (gap + 1))
        return LevelLayout(counts, recordings)

    def packings(self, batch: Sequence[Waveform]) -> list[Packing]:
        """The packings of a batch, of each level."""
        return self.encoder.packings(self.features.packing(batch, self.encoder.gap))

    def __call__(self, features: torch.Tensor, levels: Sequence[Level]) -> Results:
        """What is wanted of each row of the last level."""
        logits, level = self.encoder(features, levels), levels[-1]
        best = self.layers.best(logits, level)
        return (*best, *self.layers.candidates(logits, level, self.candidates)) if self.candidates else best


class Graph:
    """The network for batches up to the size of a layout, in memory that graphs of other sizes use as well: `block` and
    `features` are at least as large.

    On a GPU the encoder is captured as a CUDA graph, for the maximum number of rows; its kernels read the actual number
    from the device. On a CPU, which is for tests, and until it is captured, they are launched one by one.
    """

    def __init__(self, network: Network, layout: LevelLayout, block: torch.Tensor, features: torch.Tensor) -> None:
        self.layout, self._network = layout, network
        self._block, self._input = block[: layout.size], features[: layout.rows[0]]
        self._levels = layout.levels(self._block)
        self._captured: tuple[torch.cuda.CUDAGraph, Results] | None = None

    def load(self, slot: Slot) -> None:
        """Writes the levels and features of a batch to the graph's input."""
        self._block.copy_(slot.block)
        self._input.copy_(self._network.features(slot.sound, slot.ends, self._levels[0]))

    def __call__(self) -> Results:
        """Computes what was loaded. The results are overwritten by the next batch of any size."""
        if self._captured is None:
            return self._network(self._input, self._levels)
        graph, results = self._captured
        graph.replay()
        return results

    def capture(self, stream: torch.cuda.Stream, beside: "Graph | None") -> None:
        """Captures the graph, in the memory of another one that never runs at the same time. Every kernel must have run
        before. Raises torch.OutOfMemoryError."""
        graph = torch.cuda.CUDAGraph()
        pool = beside._captured[0].pool() if beside and beside._captured else None  # noqa: SLF001 - of its own class
        with torch.cuda.graph(graph, pool=pool, stream=stream):
            results = self._network(self._input, self._levels)
        self._captured = graph, results
