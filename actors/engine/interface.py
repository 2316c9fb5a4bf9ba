"""The engine's contract: what an engine does, its settings, and what it returns."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol

import numpy as np

from actors.schema import Samples

Tokens = np.ndarray[Any, np.dtype[Any]]  # ids, integers


class Emission(NamedTuple):
    """The model's output for a recording: the best token's id and probability of each output frame, both (frames,)."""

    best: Tokens
    probability: np.ndarray[Any, np.dtype[np.float32]]


class Engine(Protocol):
    """A loaded model. `frame_samples` is the stride of its output frames in samples, `blank` the id of CTC's blank."""

    blank: int
    frame_samples: int

    def transcribe(self, batch: Sequence[Samples]) -> list[Emission]:
        """Runs the model on a batch of mono int16 recordings at 16 kHz; one emission per recording, in order.

        Raises torch.OutOfMemoryError where the batch is too large for the device.
        """
        ...

    def text(self, tokens: Sequence[int]) -> str:
        """Decodes token ids to text."""
        ...


@dataclass(frozen=True)
class EngineSettings:
    """Settings of every actor of a run, resolved by the driver: no `auto` is left in them."""

    engine: str
    device: str
    precision: str
    threads: int
    max_padded_seconds: float
    patience_s: float = 600.0  # time limit for one recording, where `isolated`
    isolated: bool = False  # each recording in a child process, because one of them may crash it
    tokens: bool = False  # fill the column `tokens`: times and confidences

    @property
    def concurrent_batches(self) -> int:
        """Batches that an actor computes concurrently.

        On CPUs the fused engine gives each thread a batch of its own, all on the same weights. Threads that share a
        batch wait for each other after every operation, so one that the system preempts would hold up all. On a GPU the
        next batch is packed while one computes.
        """
        return {("fused", "cpu"): self.threads, ("fused", "cuda"): 2}.get((self.engine, self.device), 1)

    @property
    def batch_shares(self) -> int:
        """Threads among which a piece's batches are divided evenly. A GPU takes one batch at a time, the larger the
        better."""
        return self.concurrent_batches if self.device == "cpu" else 1
