"""What an engine is, and which one the settings name."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from actors.cache import cache_folder
from actors.decoding.greedy import Frames
from actors.models import ModelFile, fetch, locate
from actors.schema import Samples, UsageError


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


def check_device(device: str) -> None:
    """Raises UsageError where the device is not there."""
    import torch

    if device == "cuda" and not torch.cuda.is_available():
        raise UsageError("model.device: cuda is asked for, and torch finds no GPU that it can use on this machine")


def load_engine(model: ModelFile, settings: EngineSettings) -> Engine:
    """The engine that the settings name, loaded. Its imports take seconds (NeMo's twenty): only an actor pays them.

    Raises UsageError where the weights are not those that were planned, the engine cannot use them, or the device is
    not there.
    """
    import torch

    check_device(settings.device)
    if settings.device == "cuda" and settings.precision == "bfloat16" and not torch.cuda.is_bf16_supported(False):
        raise UsageError("model.precision: this machine's GPU has no bfloat16; float32 is what it can do")
    if settings.engine == "nemo":
        from actors.nemo_engine import NemoEngine

        return NemoEngine(fetch(model), settings.device, settings.precision)
    from actors.citrinet.checkpoint import is_converted

    cache = cache_folder()
    nemo = locate(model) if is_converted(model.sha256, cache) else fetch(model)
    if settings.device == "cuda":
        from actors.citrinet.gpu_engine import LEAST_SECONDS, GpuEngine

        seconds = max(settings.max_padded_seconds, LEAST_SECONDS)
        return GpuEngine(nemo, model.sha256, cache, "cuda", settings.precision, seconds)
    from actors.citrinet.engine import CitrinetEngine

    return CitrinetEngine(nemo, model.sha256, cache, settings.precision)
