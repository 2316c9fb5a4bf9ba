"""The engine's contract: what an engine is, its settings, and what it returns."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol

import numpy as np

from actors.schema import Samples

Tokens = np.ndarray[Any, np.dtype[Any]]


class Frames(NamedTuple):
    """What an engine makes of a recording: of each output frame the best token's id and its probability, (frames,)."""

    best: Tokens
    probability: np.ndarray[Any, np.dtype[np.float32]]


class Engine(Protocol):
    """A loaded model. `frame_samples` is the distance of its output frames, `blank` CTC's token of nothing."""

    blank: int
    frame_samples: int

    def transcribe(self, batch: Sequence[Samples]) -> list[Frames]:
        """The best tokens of a batch of mono int16 recordings at 16 kHz, in order.

        Raises torch.OutOfMemoryError where the batch is too large for its device.
        """
        ...

    def text(self, tokens: Sequence[int]) -> str:
        """What tokens read together."""
        ...


@dataclass(frozen=True)
class EngineSettings:
    """What the driver resolved for every actor of a run; no `auto` is left in it."""

    engine: str
    device: str
    precision: str
    threads: int
    max_padded_seconds: float
    patience_s: float = 600.0  # for a recording alone, where `isolated`
    isolated: bool = False  # each recording in a child process, for one of them may end it
    tokens: bool = False  # whether rows get their tokens, with times and confidences

    @property
    def streams(self) -> int:
        """How many batches are worked at once.

        On CPUs the fused engine gives each thread a batch of its own, all on the same weights. Threads that share a
        batch wait for each other after every operation, so that one which the system interrupts holds up all. On a GPU
        a batch is laid out while the one before it computes.
        """
        return {("fused", "cpu"): self.threads, ("fused", "cuda"): 2}.get((self.engine, self.device), 1)

    @property
    def takers(self) -> int:
        """Among how many streams a piece's batches are shared out evenly: a GPU takes one at a time, the larger the
        better."""
        return self.streams if self.device == "cpu" else 1
