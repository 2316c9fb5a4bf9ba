"""The graphs of a network by size: a batch runs on the smallest that holds it, since every launch costs."""

import queue
import threading
from collections.abc import Sequence

import numpy as np
import torch

from actors.engine.citrinet.graph import Graph, Network
from actors.engine.citrinet.slots import Slot
from actors.engine.interface import GPU_BATCHES, Capacity, Emission
from actors.schema import SAMPLE_RATE, Waveform

#: Sizes of graphs, in equal steps up to the largest. A piece's audio is divided evenly among its batches, so all but
#: small pieces fill a graph to more than three quarters. Their memory is shared, and capturing one takes 0.1 s.
SIZES = 8


class Graphs:
    """A network for batches of up to `seconds` of audio, in preallocated memory. Thread-safe: while the batch of one
    thread is computed, those of others are packed, copied and taken apart. `sizes` are its graphs, the smallest first;
    `compute` is the stream that they run on."""

    def __init__(self, network: Network, seconds: float) -> None:
        """Raises torch.OutOfMemoryError if the device has too little memory."""
        device = self._device = network.layers.device
        self.network = network
        self.busy_seconds = 0.0  # of the device, as measured by its own events
        self._device_lock = threading.Lock()
        layouts = [network.layout(seconds * step / SIZES) for step in range(1, SIZES + 1)]
        largest = layouts[-1]
        self.capacity = Capacity(int(seconds * SAMPLE_RATE), largest.recordings)
        block = torch.zeros(largest.size, dtype=torch.int32, device=device)
        features = torch.zeros(largest.rows[0], network.features.mels, device=device, dtype=network.layers.dtype)
        self.sizes = [Graph(network, layout, block, features) for layout in layouts]
        self._slots: queue.SimpleQueue[Slot] = queue.SimpleQueue()
        for _ in range(GPU_BATCHES):
            self._slots.put(Slot(network.features, largest, device, network.candidates))
        if device.type == "cuda":
            self._capture()

    def __call__(self, batch: Sequence[Waveform]) -> list[Emission]:
        """Emissions of a batch, in order. Raises torch.OutOfMemoryError if there is no room for the batch."""
        packings = self.network.packings(batch)
        graph = next((each for each in self.sizes if each.layout.holds(packings)), None)
        if graph is None:
            raise torch.OutOfMemoryError("there is no room for a batch of that size")
        slot = self._slots.get()
        try:
            slot.fill(batch, packings, graph.layout)
            with torch.no_grad():
                (self._on_gpu if self._device.type == "cuda" else self._on_cpu)(graph, slot)
            return slot.emissions()
        except torch.OutOfMemoryError:
            torch.cuda.synchronize()  # work already started still reads the slot
            raise
        finally:
            self._slots.put(slot)

    def _on_gpu(self, graph: Graph, slot: Slot) -> None:
        copied = torch.cuda.Event()  # type: ignore[no-untyped-call]  # torch has no types here
        started = torch.cuda.Event(enable_timing=True)  # type: ignore[no-untyped-call]  # as above
        ended = torch.cuda.Event(enable_timing=True, blocking=True)  # type: ignore[no-untyped-call]  # sleeps, no spin
        with torch.cuda.stream(self._copies):
            slot.to_device()
            copied.record()
        with self._device_lock, torch.cuda.stream(self.compute):
            self.compute.wait_event(copied)
            started.record()  # once the batch before has ended: no second counts twice
            graph.load(slot)
            slot.take_results(graph())
            ended.record()
        ended.synchronize()
        with self._device_lock:
            self.busy_seconds += started.elapsed_time(ended) / 1000

    def _on_cpu(self, graph: Graph, slot: Slot) -> None:
        with self._device_lock:
            slot.to_device()
            graph.load(slot)
            slot.take_results(graph())

    def _capture(self) -> None:
        """Captures all graphs, the largest first, so that its memory holds the others."""
        self.compute, self._copies = (
            torch.cuda.Stream()  # type: ignore[no-untyped-call]  # torch has no types here
            for _ in range(2)
        )
        slot = self._slots.get()
        silences: list[Waveform] = [np.zeros(SAMPLE_RATE // 4, np.float32), np.zeros(SAMPLE_RATE // 4, np.int16)]
        for silence in silences:
            for graph in self.sizes[::-1]:  # compiles the kernels, and loads those of torch
                self._load_alone(graph, slot, [silence])
                with torch.no_grad(), torch.cuda.stream(self.compute):
                    graph()
        torch.cuda.synchronize()
        torch.cuda.empty_cache()  # the graphs have their own memory pool, which needs the memory used so far
        largest = self.sizes[-1]
        with torch.no_grad():
            for graph in self.sizes[::-1]:
                graph.capture(self.compute, beside=None if graph is largest else largest)
        for graph in self.sizes[::-1]:  # allocates what the features need outside of the graphs
            self._load_alone(graph, slot, silences[:1])
        self._slots.put(slot)

    def _load_alone(self, graph: Graph, slot: Slot, batch: Sequence[Waveform]) -> None:
        """Loads a batch and waits for it."""
        torch.cuda.synchronize()
        slot.fill(batch, self.network.packings(batch), graph.layout)
        with torch.no_grad(), torch.cuda.stream(self.compute):
            slot.to_device()
            graph.load(slot)
        torch.cuda.synchronize()
