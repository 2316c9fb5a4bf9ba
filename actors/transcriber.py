"""The actor: one loaded Citrinet that turns a unit's sound into text."""

import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from functools import partial
from typing import Any

import numpy as np
import pyarrow as pa

from actors.batching import make_batches
from actors.engines import Engine, EngineSettings, Samples, load_engine
from actors.models import ModelFile
from actors.schema import PART_SCHEMA, SAMPLE_RATE, ErrorKind


class Transcriber:
    """Holds one engine. Called with a table of SPEECH_SCHEMA, it returns one of PART_SCHEMA: same rows, no sound.

    Metadata of the schema are what was measured on the way, for the unit's summary.
    """

    def __init__(self, model: ModelFile, settings: EngineSettings, run_id: str) -> None:
        """Raises UsageError where the weights are not those that were planned, or the engine cannot use them."""
        self._workers = Workers(model, settings)
        self._provenance = {"model": model.name, "model_sha256": model.sha256, "decoding": "greedy", "run_id": run_id}

    def __call__(self, speech: pa.Table) -> pa.Table:
        began = time.time()
        texts, failures = transcribe_rows(self._workers, speech.column("pcm"))
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
        table = pa.table(
            [columns.get(each.name, pa.nulls(rows, each.type)) for each in PART_SCHEMA], schema=PART_SCHEMA
        )
        return table.replace_schema_metadata({"began": str(began)})


OUT_OF_MEMORY_DETAIL = "the device's memory does not hold this recording even alone; lower audio.max_minutes"


class Workers:
    """An engine and the threads that feed it batches."""

    def __init__(self, model: ModelFile, settings: EngineSettings) -> None:
        """Raises UsageError as `load_engine` does."""
        import torch

        self._max_padded, self._streams = int(settings.max_padded_seconds * SAMPLE_RATE), settings.streams
        self._pool = ThreadPoolExecutor(
            settings.streams, initializer=torch.set_num_threads, initargs=(settings.threads // settings.streams,)
        )
        self._engine = self._pool.submit(load_engine, model, settings).result()

    def transcribe(self, sounds: Sequence[Samples]) -> list[str | None]:
        """The text of each recording, None for one that the device's memory does not hold even alone."""
        batches = make_batches([len(sound) for sound in sounds], self._max_padded, self._streams)
        work = partial(transcribe_within_memory, self._engine)
        done = self._pool.map(work, [[sounds[index] for index in batch] for batch in batches])
        texts: list[str | None] = [None] * len(sounds)
        for batch, some in zip(batches, done, strict=True):
            for index, text in zip(batch, some, strict=True):
                texts[index] = text
        return texts


def transcribe_rows(workers: Workers, pcm: pa.ChunkedArray) -> tuple[list[str | None], set[int]]:
    """Texts of the rows that have sound, in their order, and the rows that did not fit the device's memory."""
    sounds = {row: np.frombuffer(each.as_buffer(), np.int16) for row, each in enumerate(pcm) if each.is_valid}
    texts = dict(zip(sounds, workers.transcribe(list(sounds.values())), strict=True))
    return [texts.get(row) for row in range(len(pcm))], {row for row, text in texts.items() if text is None}


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
