"""The engine's contract: what an engine does, its settings, and what it returns."""

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from actors.schema import Floats, Waveform

Tokens = NDArray[np.integer]  # ids


Codes = NDArray[np.uint16]  # log-probabilities, as of `log_prob_codes`

THRESHOLD = -9.2  # log-probability that a candidate must exceed, one in 10,000
CODES_PER_NAT = 4_096  # resolution of the log-probabilities of candidates
MAX_CANDIDATES = 255  # of a frame
MAX_CLASSES = 65_536  # ids of tokens and the blank have 16 bits
_CUDA_OUT_OF_MEMORY = 2  # cudaErrorMemoryAllocation
GPU_BATCHES = 3  # of an actor at once: one computes, the next is on the device, a third is packed or taken apart


class Candidates(NamedTuple):
    """The tokens of each output frame whose log-probability exceeds THRESHOLD, the likeliest first, of equals the
    lowest id; at most as many as the engine was asked for. `counts` and `blank`, the blank's log-probability, are
    (frames,); `ids` and `log_probs` are those of all frames one after the other."""

    counts: NDArray[np.uint8]
    ids: NDArray[np.uint16]
    log_probs: Codes
    blank: Codes


class Emission(NamedTuple):
    """The model's output for a recording: the best class's id and probability of each output frame, both (frames,), and
    candidates if the engine was asked for them. The best class, the lowest id of equals, is the blank or the first
    candidate, as compared before log-probabilities are rounded."""

    best: Tokens
    probability: Floats
    candidates: Candidates | None = None


def log_prob_codes(log_probs: Floats) -> Codes:
    """Log-probabilities in 16 bits: in steps of 1 / CODES_PER_NAT from 0 to -16, and below that -16."""
    return np.rint(np.clip(-log_probs * CODES_PER_NAT, 0, 65_535)).astype(np.uint16)


class Capacity(NamedTuple):
    """What a batch holds at most: samples, of all recordings together or with padding, and recordings."""

    samples: int
    recordings: int = sys.maxsize


class Engine(Protocol):
    """A loaded model. `frame_samples` is the stride of its output frames in samples, `blank` the id of CTC's blank, the
    last class."""

    blank: int
    frame_samples: int

    @property
    def capacity(self) -> Capacity | None:
        """What a batch may hold, where the engine has allocated memory for so much; None if that shows only by trying.
        A batch within it never raises torch.OutOfMemoryError."""
        ...

    @property
    def busy_seconds(self) -> float | None:
        """Seconds that the device was busy so far, by its own measure; None for a device that does not measure it."""
        ...

    def transcribe(self, batch: Sequence[Waveform]) -> list[Emission]:
        """Runs the model on a batch of waveforms, of either form; one emission per waveform, in order.

        Raises torch.OutOfMemoryError where the batch is too large for the device, and what torch raises where the
        device fails.
        """
        ...


def is_out_of_memory(problem: RuntimeError) -> bool:
    """Whether CUDA had no memory for something that torch does not allocate itself, such as a graph."""
    import torch

    return isinstance(problem, torch.AcceleratorError) and getattr(problem, "error_code", None) == _CUDA_OUT_OF_MEMORY


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
    candidates: int = 0  # of each frame, besides the best class, at most

    @property
    def traits(self) -> EngineTraits:
        return ENGINES[self.engine]

    @property
    def concurrent_batches(self) -> int:
        """Batches that an actor computes concurrently, if its engine can.

        On CPUs each thread has a batch of its own. Threads that share a batch wait for each other after every
        operation, so one that the system preempts would hold up all. On a GPU the next batches are packed while one
        computes.
        """
        if not self.traits.is_thread_safe:
            return 1
        return self.threads if self.device == "cpu" else GPU_BATCHES

    @property
    def batch_shares(self) -> int:
        """Threads among which a piece's batches are divided evenly. A GPU takes one batch at a time, the larger the
        better."""
        return self.concurrent_batches if self.device == "cpu" else 1
