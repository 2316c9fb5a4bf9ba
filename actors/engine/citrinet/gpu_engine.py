"""The fused engine on a GPU."""

from collections.abc import Sequence
from pathlib import Path

import torch

from actors.engine.citrinet import checkpoint
from actors.engine.citrinet.encoder import Encoder
from actors.engine.citrinet.features import Features
from actors.engine.citrinet.gpu_layers import GpuLayers
from actors.engine.citrinet.graph import Graph
from actors.engine.citrinet.levels import Level
from actors.engine.interface import Emission
from actors.schema import UsageError, Waveform

MIN_SECONDS = 60.0  # of audio; a GPU without memory for that is refused
MAX_SECONDS = 10_800.0  # of audio; a batch's rows times channels are indexed in 32 bits


class GpuEngine:
    """Features and encoder of one checkpoint, in float32 or bfloat16. Thread-safe: while the batch of one thread
    is computed, that of another is packed and copied."""

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
        graph = _graph(layers, features, encoder, seconds, candidates)
        while graph is None and seconds / 2 >= MIN_SECONDS:
            seconds /= 2
            graph = _graph(layers, features, encoder, seconds, candidates)
        if graph is None:
            raise too_small
        self._graph, self.max_seconds = graph, seconds
        self.blank = config["classes"] - 1
        self.frame_samples = config["features"]["hop"] * checkpoint.stride(config)

    @property
    def busy_seconds(self) -> float:
        """Seconds that the GPU was busy so far, as measured by its own events."""
        return self._graph.busy_seconds

    def transcribe(self, batch: Sequence[Waveform]) -> list[Emission]:
        """Runs the model on a batch of waveforms.

        Raises torch.OutOfMemoryError if the batch has more audio than `max_seconds`.
        """
        return self._graph(batch)


def _graph(
    layers: GpuLayers, features: Features[Level], encoder: Encoder[Level], seconds: float, candidates: int
) -> Graph | None:
    """The graph for batches of `seconds`; None if there is not enough memory."""
    try:
        return Graph(layers, features, encoder, seconds, candidates)
    except torch.OutOfMemoryError:
        pass  # outside the handler, so that the traceback no longer holds the tensors of the failed attempt
    torch.cuda.empty_cache()
    return None
