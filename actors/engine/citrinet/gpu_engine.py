"""The fused engine on a GPU."""

from collections.abc import Sequence
from pathlib import Path

import torch

from actors.engine.citrinet import checkpoint, gpu_layers
from actors.engine.citrinet.encoder import Encoder
from actors.engine.citrinet.features import Features
from actors.engine.citrinet.graph import Graph
from actors.engine.citrinet.text import text_of
from actors.engine.interface import Emission
from actors.schema import Samples, UsageError

MIN_SECONDS = 60.0  # that a GPU must have room for
MAX_SECONDS = 10_800.0  # a batch's rows times their channels are counted in 32 bits


class GpuEngine:
    """Features, encoder and text of one checkpoint, in float32 or bfloat16. Threads may share it: while the batch of
    one computes, that of another is laid out and copied."""

    def __init__(self, nemo: Path, sha256: str, cache: Path, device: str, precision: str, seconds: float) -> None:
        """Takes memory for batches of so many seconds of audio, or of a half, a quarter … of them where there is less.

        Raises UsageError where the checkpoint is not of the Citrinet family, or the GPU's memory is too small.
        """
        config, tensors = checkpoint.load(nemo, sha256, cache)
        seconds = min(seconds, MAX_SECONDS)
        where = torch.device(device), getattr(torch, precision)
        too_small = UsageError(f"the GPU's memory does not hold {nemo.name} and {MIN_SECONDS:g} s of audio")
        try:
            with torch.no_grad():
                features = Features(gpu_layers, config["features"], tensors, *where)
                encoder = Encoder(gpu_layers, config["blocks"], tensors, *where)
        except torch.OutOfMemoryError:
            raise too_small from None
        graph = _graph(features, encoder, where[0], seconds)
        while graph is None and seconds / 2 >= MIN_SECONDS:
            seconds /= 2
            graph = _graph(features, encoder, where[0], seconds)
        if graph is None:
            raise too_small
        self._graph, self.max_seconds = graph, seconds
        self.text = text_of(config, tensors)
        self.blank = config["classes"] - 1
        self.frame_samples = config["features"]["hop"] * checkpoint.stride(config)

    @property
    def busy_seconds(self) -> float:
        """That the GPU worked so far, as it measured itself."""
        return self._graph.busy_seconds

    def transcribe(self, batch: Sequence[Samples]) -> list[Emission]:
        """The best token of each output frame of each recording of a batch, and its probability.

        Raises torch.OutOfMemoryError where the batch has more audio than `max_seconds`.
        """
        return self._graph(batch)


def _graph(features: Features, encoder: Encoder, device: torch.device, seconds: float) -> Graph | None:
    """The graph for so many seconds, None where there is no memory for it."""
    try:
        return Graph(features, encoder, device, seconds)
    except torch.OutOfMemoryError:
        pass  # outside the handler, so that the traceback no longer holds the tensors of the failed attempt
    torch.cuda.empty_cache()
    return None
