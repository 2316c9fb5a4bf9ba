"""The actor: one loaded Citrinet that turns a unit's sound into text."""

import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import UTC, datetime
from functools import partial
from typing import Any

import numpy as np
import pyarrow as pa

from actors.batching import make_batches
from actors.engines import Engine, EngineSettings, Samples, load_engine
from actors.isolation import Isolated
from actors.models import ModelFile
from actors.schema import PART_SCHEMA, SAMPLE_RATE, ErrorKind, RecordingError

Said = str | RecordingError  # of a recording: its text, or what is wrong with it


class Transcriber:
    """Holds one engine. Called with a table of SPEECH_SCHEMA, it returns one of PART_SCHEMA: same rows, no sound.

    Metadata of the schema are what was measured on the way, for the unit's summary.
    """

    def __init__(self, model: ModelFile, settings: EngineSettings, run_id: str) -> None:
        """Raises UsageError where the weights are not those that were planned, or the engine cannot use them."""
        self._workers = (Isolation if settings.isolated else Workers)(model, settings)
        self._provenance = {"model": model.name, "model_sha256": model.sha256, "decoding": "greedy", "run_id": run_id}

    def __call__(self, speech: pa.Table) -> pa.Table:
        began, padded_before = time.time(), self._workers.padded_samples
        said = self._rows(speech.column("pcm"))
        rows = speech.num_rows
        now = datetime.now(UTC)
        columns: dict[str, Any] = {name: speech.column(name) for name in speech.schema.names if name != "pcm"}
        columns["text"] = pa.array([each if isinstance(each, str) else None for each in said], pa.string())
        failed = {row: each for row, each in enumerate(said) if isinstance(each, RecordingError)}
        for name, field in (("error_kind", "kind"), ("error_detail", "detail")):
            known = columns[name].to_pylist()
            told = [str(getattr(failed[row], field)) if row in failed else known[row] for row in range(rows)]
            columns[name] = pa.array(told, pa.string())
        for name, value in self._provenance.items():
            columns[name] = pa.DictionaryArray.from_arrays(pa.array([0] * rows, pa.int32()), [value])
        columns["transcribed_at"] = pa.array([now] * rows, PART_SCHEMA.field("transcribed_at").type)
        padded = (self._workers.padded_samples - padded_before) / SAMPLE_RATE
        measured = {"began": began, "busy_seconds": time.time() - began, "padded_seconds": padded}
        table = pa.table(
            [columns.get(each.name, pa.nulls(rows, each.type)) for each in PART_SCHEMA], schema=PART_SCHEMA
        )
        return table.replace_schema_metadata({name: str(value) for name, value in measured.items()})

    def _rows(self, pcm: pa.ChunkedArray) -> list[Said | None]:
        """What is said in each row, None where there is no sound."""
        sounds = {row: np.frombuffer(each.as_buffer(), np.int16) for row, each in enumerate(pcm) if each.is_valid}
        said = dict(zip(sounds, self._workers.transcribe(list(sounds.values())), strict=True))
        return [said.get(row) for row in range(len(pcm))]


class Workers:
    """An engine, and the threads that each give it a batch at a time."""

    def __init__(self, model: ModelFile, settings: EngineSettings) -> None:
        """Raises UsageError as `load_engine` does."""
        import torch

        self.padded_samples = 0  # given to the model so far, filling among them
        self._pads = settings.engine == "nemo"
        self._max_padded, self._streams = int(settings.max_padded_seconds * SAMPLE_RATE), settings.streams
        self._pool = ThreadPoolExecutor(
            settings.streams, initializer=torch.set_num_threads, initargs=(settings.threads // settings.streams,)
        )
        self._engine = self._pool.submit(load_engine, model, settings).result()

    def transcribe(self, sounds: Sequence[Samples]) -> list[Said]:
        """The text of each recording, or what is wrong with it."""
        batches = make_batches([len(sound) for sound in sounds], self._max_padded, self._streams)
        for batch in batches:
            lengths = [len(sounds[index]) for index in batch]
            self.padded_samples += max(lengths) * len(lengths) if self._pads else sum(lengths)
        work = partial(transcribe_within_memory, self._engine)
        done = self._pool.map(work, [[sounds[index] for index in batch] for batch in batches])
        said = dict[int, Said]()
        for batch, some in zip(batches, done, strict=True):
            said |= zip(batch, some, strict=True)
        return [said[index] for index in range(len(sounds))]


class Isolation:
    """Transcribes each recording alone in a child process; one that ends it is told, and the rest goes on."""

    def __init__(self, model: ModelFile, settings: EngineSettings) -> None:
        self.padded_samples = 0
        self._child = Isolated(partial(_alone, model, settings), settings.patience_s)

    def transcribe(self, sounds: Sequence[Samples]) -> list[Said]:
        """The text of each recording, or what is wrong with it."""
        return [self._one(sound) for sound in sounds]

    def _one(self, sound: Samples) -> Said:
        self.padded_samples += len(sound)
        try:
            return str(self._child(sound))
        except RecordingError as problem:
            return problem


def _alone(model: ModelFile, settings: EngineSettings) -> Callable[[Samples], Said]:
    workers = Workers(model, replace(settings, threads=1))
    return lambda sound: workers.transcribe([sound])[0]


def transcribe_within_memory(engine: Engine, batch: list[Samples]) -> list[Said]:
    """Texts of a batch; where the device's memory is too small for it, of its halves."""
    import torch

    try:
        return list(engine.transcribe(batch))
    except torch.OutOfMemoryError:
        pass  # outside the handler, so that the traceback no longer holds the tensors of the failed pass
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
    if len(batch) == 1:
        detail = "the device's memory does not hold this recording even alone; lower audio.max_minutes"
        return [RecordingError(ErrorKind.OUT_OF_MEMORY, detail)]
    middle = len(batch) // 2
    return transcribe_within_memory(engine, batch[:middle]) + transcribe_within_memory(engine, batch[middle:])
