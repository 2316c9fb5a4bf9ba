"""The fused engine on CPUs: a Citrinet with its own forward pass, without NeMo, and without running checkpoint code."""

from collections.abc import Sequence
from pathlib import Path

import torch

from actors.engine.citrinet import checkpoint
from actors.engine.citrinet.candidates import list_candidates
from actors.engine.citrinet.cpu_layers import CpuLayers
from actors.engine.citrinet.encoder import Encoder
from actors.engine.citrinet.features import Features
from actors.engine.citrinet.packing import Packing
from actors.engine.interface import Capacity, Emission
from actors.schema import Waveform


class CitrinetEngine:
    """Features and encoder of one checkpoint, on CPUs, in float32, bfloat16 or int8."""

    busy_seconds: float | None = None  # not measured
    capacity: Capacity | None = None  # shows by trying

    def __init__(self, nemo: Path, sha256: str, cache: Path, precision: str, candidates: int = 0) -> None:
        """Raises UsageError, with advice, if the checkpoint is not of the Citrinet family, or the CPU has no int8."""
        config, tensors = checkpoint.load(nemo, sha256, cache)
        self._layers = _layers(precision)
        with torch.no_grad():
            self._features = Features(self._layers, config["features"], tensors)
            self._encoder = Encoder(self._layers, config["blocks"], tensors)
        self._candidates = candidates
        self.blank = config["classes"] - 1
        self.frame_samples = config["features"]["hop"] * checkpoint.stride(config)

    def logits(self, batch: Sequence[Waveform]) -> tuple[torch.Tensor, Packing]:
        """Logits (rows, classes) of a batch of waveforms, and their packing."""
        packings = self._encoder.packings(self._features.packing(batch, self._encoder.gap))
        with torch.no_grad():  # not inference_mode: oneDNN's operators do not support inference tensors
            features = self._features(*self._features.packed(batch, packings[0]), packings[0])
            return self._encoder(features, packings), packings[-1]

    def transcribe(self, batch: Sequence[Waveform]) -> list[Emission]:
        """Runs the model on a batch of waveforms."""
        logits, packing = self.logits(batch)
        best, probabilities = self._layers.best(logits, packing)
        ids, likely, emissions = best.numpy(), probabilities.numpy(), list[Emission]()
        for rows in packing.slices:
            candidates, own = None, logits[rows]
            if self._candidates:
                candidates = list_candidates(own, own.logsumexp(dim=1), best[rows], self._candidates)
            emissions.append(Emission(ids[rows], likely[rows], candidates))
        return emissions


def _layers(precision: str) -> CpuLayers:
    if precision != "int8":
        return CpuLayers(getattr(torch, precision))
    from actors.engine.citrinet.int8 import Int8Layers  # numba takes half a second to import

    return Int8Layers()
