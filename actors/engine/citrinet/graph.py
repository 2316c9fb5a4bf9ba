"""The memory of batches on a GPU, and the CUDA graph captured over it."""

import queue
import threading
from collections.abc import Sequence

import numpy as np
import torch

from actors.engine.citrinet.candidates import CandidateTable
from actors.engine.citrinet.encoder import Encoder
from actors.engine.citrinet.features import Features, sample_type
from actors.engine.citrinet.gpu_layers import GpuLayers
from actors.engine.citrinet.levels import Level, LevelLayout
from actors.engine.citrinet.packing import Packing
from actors.engine.interface import Emission
from actors.schema import SAMPLE_RATE, Waveform

ROWS_PER_RECORDING = 128  # average that the memory is sized for: recordings of 1.3 s
IN_FLIGHT = 2  # batches: one computes while the next is packed and copied

#: Ids and probabilities of the best classes, and the columns of a CandidateTable if there is one.
Results = tuple[torch.Tensor, ...]


class Slot:
    """Buffers for a batch on its way to the device and back: on the host, pinned if there is a GPU, and the device."""

    def __init__(self, features: Features[Level], layout: LevelLayout, device: torch.device, candidates: int) -> None:
        is_cuda = device.type == "cuda"
        self._sound = torch.zeros(features.samples(layout.rows[0]), pin_memory=is_cuda)  # room for either sample type
        self.ends = torch.zeros(layout.recordings, dtype=torch.int64, pin_memory=is_cuda)
        self.block = torch.zeros(layout.size, dtype=torch.int32, pin_memory=is_cuda)
        rows = layout.rows[-1]
        table = CandidateTable.of_size(rows, candidates, torch.device("cpu")) if candidates else ()
        results = torch.empty(rows, dtype=torch.int32), torch.empty(rows), *table
        self.results: Results = tuple(each.pin_memory() for each in results) if is_cuda else results
        self._on_device = [torch.zeros_like(each, device=device) for each in (self._sound, self.ends, self.block)]
        self.use(0, torch.int16)

    def use(self, samples: int, kind: torch.dtype) -> None:
        """Sets what the slot holds from now on: so many samples of that type in `sound`."""
        sound, ends, block = self._on_device
        self.sound = self._sound.view(kind)[:samples]
        self.on_device = sound.view(kind)[:samples], ends, block

    def to_device(self) -> None:
        for target, source in zip(self.on_device, (self.sound, self.ends, self.block), strict=True):
            target.copy_(source, non_blocking=True)

    def take_results(self, results: Results) -> None:
        for target, source in zip(self.results, results, strict=True):
            target.copy_(source, non_blocking=True)


class Graph:
    """Features and encoder for batches of up to `seconds` of audio, in preallocated memory. Thread-safe.

    On a GPU the encoder is captured as a CUDA graph, for the maximum number of rows of a batch; its kernels read the
    actual number from the device. On a CPU, which is for tests, its kernels are called one by one.
    """

    def __init__(
        self,
        layers: GpuLayers,
        features: Features[Level],
        encoder: Encoder[Level],
        seconds: float,
        candidates: int = 0,
    ) -> None:
        """Raises torch.OutOfMemoryError if the device has too little memory."""
        device = layers.device
        self._layers, self._features, self._encoder, self._device = layers, features, encoder, device
        self._candidates = candidates
        self.busy_seconds = 0.0  # of the device, as measured by its own events
        self._device_lock = threading.Lock()
        rows = int(seconds * SAMPLE_RATE / features.hop)
        recordings = rows // ROWS_PER_RECORDING + 1
        counts = [rows + recordings * (max(encoder.gap, features.gap) + 1)]
        for _ in range(encoder.strides):
            rows = rows // 2 + recordings
            counts.append(rows + recordings * (encoder.gap + 1))
        self._layout = LevelLayout(counts, recordings)
        self._block = torch.zeros(self._layout.size, dtype=torch.int32, device=device)
        self._levels = self._layout.levels(self._block)
        self._input = torch.zeros(counts[0], features.mels, device=device, dtype=layers.dtype)
        self._slots: queue.SimpleQueue[Slot] = queue.SimpleQueue()
        for _ in range(IN_FLIGHT):
            self._slots.put(Slot(features, self._layout, device, candidates))
        if device.type == "cuda":
            self._capture()

    def __call__(self, batch: Sequence[Waveform]) -> list[Emission]:
        """Emissions of a batch, in order. Raises torch.OutOfMemoryError if there is no room for the batch."""
        packings = self._encoder.packings(self._features.packing(batch, self._encoder.gap))
        if not self._layout.holds(packings):
            raise torch.OutOfMemoryError("there is no room for a batch of that size")
        slot = self._slots.get()
        try:
            self._fill(slot, batch, packings)
            with torch.no_grad():
                (self._on_gpu if self._device.type == "cuda" else self._on_cpu)(slot)
            return _emissions(slot.results, packings[-1].slices)
        except torch.OutOfMemoryError:
            torch.cuda.synchronize()  # work already started still reads the slot
            raise
        finally:
            self._slots.put(slot)

    def _fill(self, slot: Slot, batch: Sequence[Waveform], packings: Sequence[Packing]) -> None:
        """Packs a batch into a slot."""
        slot.use(self._features.samples(packings[0].rows), sample_type(batch))
        self._features.pack_sound(batch, packings[0], slot.sound.numpy(), slot.ends.numpy())
        self._layout.fill(slot.block.numpy(), packings)

    def _on_gpu(self, slot: Slot) -> None:
        copied, started, ended = (
            torch.cuda.Event(enable_timing=True)  # type: ignore[no-untyped-call]  # torch has no types here
            for _ in range(3)
        )
        with torch.cuda.stream(self._copies):
            slot.to_device()
            copied.record()
        with self._device_lock, torch.cuda.stream(self._compute):
            self._compute.wait_event(copied)
            started.record()
            self._load(slot)
            self._graph.replay()
            slot.take_results(self._results)
            ended.record()
        ended.synchronize()
        with self._device_lock:
            self.busy_seconds += started.elapsed_time(ended) / 1000

    def _on_cpu(self, slot: Slot) -> None:
        with self._device_lock:
            slot.to_device()
            self._load(slot)
            slot.take_results(self._forward())

    def _load(self, slot: Slot) -> None:
        """Writes the levels and features of a batch to the graph's input."""
        sound, ends, block = slot.on_device
        self._block.copy_(block)
        self._input.copy_(self._features(sound, ends, self._levels[0]))

    def _forward(self) -> Results:
        """The captured part: features to what is wanted of each row."""
        logits, level = self._encoder(self._input, self._levels), self._levels[-1]
        best = self._layers.best(logits, level)
        return best if not self._candidates else (*best, *self._layers.candidates(logits, level, self._candidates))

    def _capture(self) -> None:
        self._compute, self._copies = (
            torch.cuda.Stream()  # type: ignore[no-untyped-call]  # torch has no types here
            for _ in range(2)
        )
        slot = self._slots.get()
        for silence in (np.zeros(SAMPLE_RATE, np.float32), np.zeros(SAMPLE_RATE, np.int16)):
            batch = [silence, silence]
            self._fill(slot, batch, self._encoder.packings(self._features.packing(batch, self._encoder.gap)))
            torch.cuda.synchronize()
            with torch.no_grad(), torch.cuda.stream(self._compute):  # compiles the kernels
                slot.to_device()
                self._load(slot)
                self._forward()
            torch.cuda.synchronize()
        torch.cuda.empty_cache()  # the graph has its own memory pool, which needs the memory used so far
        self._graph = torch.cuda.CUDAGraph()
        with torch.no_grad(), torch.cuda.graph(self._graph, stream=self._compute):
            self._results = self._forward()
        with torch.no_grad(), torch.cuda.stream(self._compute):  # allocates what the features need outside of the graph
            self._load(slot)
        torch.cuda.synchronize()
        self._slots.put(slot)


def _emissions(results: Results, slices: Sequence[slice]) -> list[Emission]:
    """The emission of each slice of rows, copied from results on the host."""
    best, likely, *table = results
    ids, probabilities = best.numpy(), likely.numpy()
    listed = CandidateTable(*table).split(slices) if table else [None] * len(slices)
    return [
        Emission(ids[rows].copy(), probabilities[rows].copy(), candidates)
        for rows, candidates in zip(slices, listed, strict=True)
    ]
