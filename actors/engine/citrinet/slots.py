"""Memory of a batch on its way to the device and back."""

from collections.abc import Sequence

import torch

from actors.engine.citrinet.candidates import CandidateTable
from actors.engine.citrinet.features import Features, sample_type
from actors.engine.citrinet.levels import Level, LevelLayout
from actors.engine.citrinet.packing import Packing
from actors.engine.interface import Emission
from actors.schema import Waveform

#: Ids and probabilities of the best classes, and the columns of a CandidateTable if there is one.
Results = tuple[torch.Tensor, ...]


class Slot:
    """Buffers for a batch up to the largest size, on the host, pinned if there is a GPU, and on the device."""

    def __init__(self, features: Features[Level], largest: LevelLayout, device: torch.device, candidates: int) -> None:
        is_cuda, rows = device.type == "cuda", largest.rows[-1]
        sound = torch.zeros(features.samples(largest.rows[0]), pin_memory=is_cuda)  # room for either sample type
        ends = torch.zeros(largest.recordings, dtype=torch.int64, pin_memory=is_cuda)
        block = torch.zeros(largest.size, dtype=torch.int32, pin_memory=is_cuda)
        table = CandidateTable.of_size(rows, candidates, torch.device("cpu")) if candidates else ()
        results = torch.empty(rows, dtype=torch.int32), torch.empty(rows), *table
        self._features = features
        self._on_host = sound, ends, block
        self._on_device = tuple(torch.zeros_like(each, device=device) for each in self._on_host)
        self._results: Results = tuple(each.pin_memory() for each in results) if is_cuda else results
        self._packing: Packing | None = None  # of the results

    def fill(self, batch: Sequence[Waveform], packings: Sequence[Packing], layout: LevelLayout) -> None:
        """Packs a batch; what the slot holds from now on is `sound`, `ends` and `block`, on the device."""
        samples, kind, self._packing = self._features.samples(packings[0].rows), sample_type(batch), packings[-1]
        views = [
            (sound.view(kind)[:samples], ends[: len(batch)], block[: layout.size])
            for sound, ends, block in (self._on_host, self._on_device)
        ]
        self._copies = list(zip(views[1], views[0], strict=True))
        self.sound, self.ends, self.block = views[1]
        sound, ends, block = views[0]
        self._features.pack_sound(batch, packings[0], sound, ends)
        layout.fill(block.numpy(), packings)

    def to_device(self) -> None:
        for target, source in self._copies:
            target.copy_(source, non_blocking=True)

    def take_results(self, results: Results) -> None:
        """Copies the results of the batch's rows to the host, without waiting for it."""
        assert self._packing
        rows = self._packing.rows
        for target, source in zip(self._results, results, strict=True):
            target[:rows].copy_(source[:rows], non_blocking=True)

    def emissions(self) -> list[Emission]:
        """The emission of each recording, once the results are there. All are copied at once, gaps included."""
        assert self._packing
        best, likely, *table = self._results
        rows, slices = self._packing.rows, self._packing.slices
        ids, probabilities = (each[:rows].numpy().copy() for each in (best, likely))
        listed = CandidateTable(*table).split(slices) if table else [None] * len(slices)
        return [
            Emission(ids[own], probabilities[own], candidates) for own, candidates in zip(slices, listed, strict=True)
        ]
