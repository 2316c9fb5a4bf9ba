"""The engine's contract: what an engine does, its settings, and what it returns."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from actors.schema import Floats, Waveform

Tokens = NDArray[np.integer]  # ids


class Emission(NamedTuple):
    """The model's output for a recording: the best token's id and probability of each output frame, both (frames,)."""

    best: Tokens
    probability: Floats


class Engine(Protocol):
    """A loaded model. `frame_samples` is the stride of its output frames in samples, `blank` the id of CTC's blank."""

    blank: int
    frame_samples: int

    @property
    def busy_seconds(self) -> float | None:
        """Seconds that the device was busy so far, by its own measure; None for a device that does not measure it."""
        ...

    def transcribe(self, batch: Sequence[Waveform]) -> list[Emission]:
        """Runs the model on a batch of waveforms, of either form; one emission per waveform, in order.

        Raises torch.OutOfMemoryError where the batch is too large for the device.
        """
        ...

    def text(self, tokens: Sequence[int]) -> str:
        """Decodes token ids to text."""
        ...


@dataclass(frozen=True)
class EngineTraits:
    """What must be known of an engine before it is loaded."""

    is_thread_safe: bool  # it takes several batches concurrently, all on the same weights
    pads: bool  # each recording of a batch takes as long as the longest


ENGINES = {
    "fused": EngineTraits(is_thread_safe=True, pads=False),
    "nemo": EngineTraits(is_thread_safe=False, pads=True),
}


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
    def traits(self) -> EngineTraits:
        return ENGINES[self.engine]

    @property
    def concurrent_batches(self) -> int:
        """Batches that an actor computes concurrently, if its engine can.

        On CPUs each thread has a batch of its own. Threads that share a batch wait for each other after every
        operation, so one that the system preempts would hold up all. On a GPU the next batch is packed while one
        computes.
        """
        if not self.traits.is_thread_safe:
            return 1
        return self.threads if self.device == "cpu" else 2

    @property
    def batch_shares(self) -> int:
        """Threads among which a piece's batches are divided evenly. A GPU takes one batch at a time, the larger the
        better."""
        return self.concurrent_batches if self.device == "cpu" else 1
