"""The fused engine on a GPU."""

from collections.abc import Sequence
from pathlib import Path

import torch

from actors.engine.citrinet import checkpoint
from actors.engine.citrinet.encoder import Encoder
from actors.engine.citrinet.features import Features
from actors.engine.citrinet.gpu_layers import GpuLayers
from actors.engine.citrinet.graph import Network
from actors.engine.citrinet.graphs import Graphs
from actors.engine.interface import Capacity, Emission, is_out_of_memory
from actors.schema import UsageError, Waveform

MIN_SECONDS = 60.0  # of audio; a GPU without memory for that is refused
MAX_SECONDS = 10_800.0  # of audio; a batch's rows times channels are indexed in 32 bits


class GpuEngine:
    """Features and encoder of one checkpoint, in float32 or bfloat16. Thread-safe."""

    def __init__(
        self, nemo: Path, sha256: str, cache: Path, device: str, precision: str, seconds: float, candidates: int = 0
    ) -> None:
        """Allocates memory for batches of `seconds` of audio, or a half, a quarter … of that if there is less.

        Raises UsageError if the checkpoint is not of the Citrinet family, or the GPU's memory is too small.
        """
        config, tensors = checkpoint.load(nemo, sha256, cache)
        seconds = min(seconds, MAX_SECONDS)
        layers = GpuLayers(torch.device(device), getattr(torch, precision))
        too_small = UsageError(f"the GPU's memory does not hold {nemo.name} and {MIN_SECONDS:g} s of audio")
        try:
            with torch.no_grad():
                features = Features(layers, config["features"], tensors)
                encoder = Encoder(layers, config["blocks"], tensors)
        except torch.OutOfMemoryError:
            raise too_small from None
        network = Network(layers, features, encoder, candidates)
        graphs = _graphs(network, seconds)
        while graphs is None and seconds / 2 >= MIN_SECONDS:
            seconds /= 2
            graphs = _graphs(network, seconds)
        if graphs is None:
            raise too_small
        self._graphs = graphs
        self.blank = config["classes"] - 1
        self.frame_samples = config["features"]["hop"] * checkpoint.stride(config)

    @property
    def busy_seconds(self) -> float:
        """Seconds that the GPU was busy so far, as measured by its own events."""
        return self._graphs.busy_seconds

    @property
    def capacity(self) -> Capacity:
        """What a batch may hold: less than was asked for on a small card."""
        return self._graphs.capacity

    def transcribe(self, batch: Sequence[Waveform]) -> list[Emission]:
        """Runs the model on a batch of waveforms.

        Raises torch.OutOfMemoryError if the batch has more audio than fits.
        """
        return self._graphs(batch)


def _graphs(network: Network, seconds: float) -> Graphs | None:
    """The graphs for batches of up to `seconds`; None if there is not enough memory."""
    try:
        return Graphs(network, seconds)
    except RuntimeError as problem:  # torch's own, or CUDA's for pinned memory and graphs
        if not isinstance(problem, torch.OutOfMemoryError) and not is_out_of_memory(problem):
            raise
    # Outside the handler, so that the traceback no longer holds the tensors of the failed attempt.
    torch.cuda.empty_cache()
    return None
