"""The actor: one loaded Citrinet that turns a unit's sound into text."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Protocol

import numpy as np
import pyarrow as pa

from actors.batching import make_batches
from actors.models import ModelFile, cache_folder, fetch
from actors.schema import PART_SCHEMA, SAMPLE_RATE, ErrorKind

Samples = np.ndarray[Any, np.dtype[Any]]


class Engine(Protocol):
    """What transcribes a batch of mono int16 recordings at 16 kHz: one text each, in order.

    Raises torch.OutOfMemoryError where the batch is too large for its device.
    """

    def transcribe(self, batch: Sequence[Samples]) -> list[str]: ...


@dataclass(frozen=True)
class EngineSettings:
    """What the driver resolved for every actor of a run; no `auto` is left in it."""

    engine: str
    device: str
    precision: str
    threads: int
    max_padded_seconds: float


def load_engine(model: ModelFile, settings: EngineSettings) -> Engine:
    """The engine that the settings name, loaded. Its imports take seconds (NeMo's twenty): only an actor pays them."""
    import torch

    torch.set_num_threads(settings.threads)
    checkpoint = fetch(model)
    if settings.engine == "nemo":
        from actors.nemo_engine import NemoEngine

        return NemoEngine(checkpoint, settings.device, settings.precision)
    from actors.citrinet.engine import CitrinetEngine

    return CitrinetEngine(checkpoint, model.sha256, cache_folder(), settings.device, settings.precision)


class Transcriber:
    """Holds one engine. Called with a table of SPEECH_SCHEMA, it returns one of PART_SCHEMA: same rows, no sound."""

    def __init__(self, model: ModelFile, settings: EngineSettings, run_id: str) -> None:
        """Raises UsageError where the weights are not those that were planned, or the engine cannot use them."""
        self._engine = load_engine(model, settings)
        self._max_padded = int(settings.max_padded_seconds * SAMPLE_RATE)
        self._provenance = {"model": model.name, "model_sha256": model.sha256, "decoding": "greedy", "run_id": run_id}

    def __call__(self, speech: pa.Table) -> pa.Table:
        texts, failures = transcribe_rows(self._engine, speech.column("pcm"), self._max_padded)
        rows = speech.num_rows
        now = datetime.now(UTC)
        columns: dict[str, Any] = {name: speech.column(name) for name in speech.schema.names if name != "pcm"}
        columns["text"] = pa.array(texts, pa.string())
        for name, sentence in (("error_kind", str(ErrorKind.OUT_OF_MEMORY)), ("error_detail", OUT_OF_MEMORY_DETAIL)):
            known = columns[name].to_pylist()
            columns[name] = pa.array([sentence if i in failures else known[i] for i in range(rows)], pa.string())
        for name, value in self._provenance.items():
            columns[name] = pa.DictionaryArray.from_arrays(pa.array([0] * rows, pa.int32()), [value])
        columns["transcribed_at"] = pa.array([now] * rows, PART_SCHEMA.field("transcribed_at").type)
        return pa.table(
            [columns.get(field.name, pa.nulls(rows, field.type)) for field in PART_SCHEMA], schema=PART_SCHEMA
        )


OUT_OF_MEMORY_DETAIL = "the device's memory does not hold this recording even alone; lower audio.max_minutes"


def transcribe_rows(engine: Engine, pcm: pa.ChunkedArray, max_padded: int) -> tuple[list[str | None], set[int]]:
    """Texts of the rows that have sound, in their order, and the rows that did not fit the device's memory."""
    sounds: dict[int, Samples] = {}
    for row, scalar in enumerate(pcm):
        if scalar.is_valid:
            sounds[row] = np.frombuffer(scalar.as_buffer(), dtype=np.int16)
    rows = list(sounds)
    texts: list[str | None] = [None] * len(pcm)
    failures = set[int]()
    for batch in make_batches([len(sounds[row]) for row in rows], max_padded):
        done = transcribe_within_memory(engine, [sounds[rows[index]] for index in batch])
        for index, text in zip(batch, done, strict=True):
            texts[rows[index]] = text
            if text is None:
                failures.add(rows[index])
    return texts, failures


def transcribe_within_memory(engine: Engine, batch: list[Samples]) -> list[str | None]:
    """Texts of a batch; where the device's memory is too small for it, of its halves; None for one that is alone."""
    import torch

    try:
        return list(engine.transcribe(batch))
    except torch.OutOfMemoryError:
        pass  # outside the handler, so that the traceback no longer holds the tensors of the failed pass
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
    if len(batch) == 1:
        return [None]
    middle = len(batch) // 2
    return transcribe_within_memory(engine, batch[:middle]) + transcribe_within_memory(engine, batch[middle:])
