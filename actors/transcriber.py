"""The actor: one loaded Citrinet that turns a unit's sound into text."""

import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import UTC, datetime
from functools import partial
from itertools import pairwise
from typing import Any

import numpy as np
import pyarrow as pa

from actors.engine.batching import make_batches
from actors.engine.interface import Engine, EngineSettings, Frames
from actors.engine.load import load_engine
from actors.engine.models import ModelFile
from actors.isolation import Isolated
from actors.schema import PART_SCHEMA, SAMPLE_RATE, SPEECH_SCHEMA, ErrorKind, RecordingError, Samples
from actors.text.join import Heard, Said, Spoken, spoken


class Transcriber:
    """Holds one engine. Called with a table of SPEECH_SCHEMA, it returns one of PART_SCHEMA: same rows, no sound. Two
    threads may call it at once.

    Segments that are another piece's are heard, for the join with them, and left out. Metadata of the schema are those
    that came, and what was measured on the way, for the unit's summary.
    """

    def __init__(self, model: ModelFile, settings: EngineSettings, run_id: str) -> None:
        """Raises UsageError where the weights are not those that were planned, or the engine cannot use them."""
        self._workers = (Isolation if settings.isolated else Workers)(model, settings)
        self._tokens = settings.tokens
        self._provenance = {"model": model.name, "model_sha256": model.sha256, "decoding": "greedy", "run_id": run_id}

    def __call__(self, speech: pa.Table) -> pa.Table:
        began = time.time()
        said = self._rows(speech)
        rows = speech.num_rows
        now = datetime.now(UTC)
        columns: dict[str, Any] = {name: speech.column(name) for name in speech.schema.names if name in _KEPT}
        spoken = [each if isinstance(each, Spoken) else None for each in said]
        columns["text"] = pa.array([each and each.text for each in spoken], pa.string())
        columns["confidence"] = pa.array([each and each.confidence for each in spoken], pa.float32())
        if self._tokens:
            columns["tokens"] = pa.array([each and each.tokens for each in spoken], PART_SCHEMA.field("tokens").type)
        failed = {row: each for row, each in enumerate(said) if isinstance(each, RecordingError)}
        for name, field in (("error_kind", "kind"), ("error_detail", "detail")):
            known = columns[name].to_pylist()
            told = [str(getattr(failed[row], field)) if row in failed else known[row] for row in range(rows)]
            columns[name] = pa.array(told, pa.string())
        for name, value in self._provenance.items():
            columns[name] = pa.DictionaryArray.from_arrays(pa.array([0] * rows, pa.int32()), [value])
        columns["transcribed_at"] = pa.array([now] * rows, PART_SCHEMA.field("transcribed_at").type)
        ended = time.time()
        measured = {"began": began, "ended": ended, "busy_seconds": ended - began} | self._workers.effort()
        table = pa.table(
            [columns.get(each.name, pa.nulls(rows, each.type)) for each in PART_SCHEMA], schema=PART_SCHEMA
        )
        metadata = {name: str(value) for name, value in measured.items()} | (speech.schema.metadata or {})
        return table.filter(speech.column("own")).replace_schema_metadata(metadata)

    def _rows(self, speech: pa.Table) -> list[Said | None]:
        """What is said in each row, None where there is no sound."""
        names = ("start_s", "before", "after", "segment_index")
        columns = zip(speech.column("pcm"), *(speech.column(name).to_pylist() for name in names), strict=True)
        heard, said = dict[int, Heard](), dict[int, Said]()
        is_first, follows = True, None
        for row, (pcm, start, before, after, index) in enumerate(columns):
            is_first, follows = is_first or index != follows, index + 1
            if pcm.is_valid and len(pcm.as_buffer()):
                heard[row] = Heard(np.frombuffer(pcm.as_buffer(), np.int16), start, before, after, is_first)
                is_first = False
            elif pcm.is_valid:
                said[row] = SILENCE
        said |= zip(heard, self._workers.transcribe(list(heard.values())), strict=True)
        return [said.get(row) for row in range(speech.num_rows)]


SILENCE = Spoken("", None, [])
_KEPT = frozenset(SPEECH_SCHEMA.names) & frozenset(PART_SCHEMA.names)


class Workers:
    """An engine, and the threads that each give it a batch at a time."""

    def __init__(self, model: ModelFile, settings: EngineSettings) -> None:
        """Raises UsageError as `load_engine` does."""
        import torch

        self._padded_samples = 0  # given to the model, filling among them, since it was last told
        self._busy_told, self._lock = 0.0, threading.Lock()
        self._pads, self._tokens = settings.engine == "nemo", settings.tokens
        self._max_padded, self._takers = int(settings.max_padded_seconds * SAMPLE_RATE), settings.takers
        self._pool = ThreadPoolExecutor(
            settings.streams,
            initializer=torch.set_num_threads,
            initargs=(max(settings.threads // settings.streams, 1),),
        )
        self._engine = self._pool.submit(load_engine, model, settings).result()

    def transcribe(self, heard: Sequence[Heard]) -> list[Said]:
        """What is said in each segment, or what is wrong with it. Segments of a recording follow one another."""
        sounds = [each.pcm for each in heard]
        batches = make_batches([len(sound) for sound in sounds], self._max_padded, self._takers)
        lengths = ([len(sounds[index]) for index in batch] for batch in batches)
        padded = sum(max(each) * len(each) if self._pads else sum(each) for each in lengths)
        with self._lock:
            self._padded_samples += padded
        work = partial(transcribe_within_memory, self._engine)
        done = self._pool.map(work, [[sounds[index] for index in batch] for batch in batches])
        frames = dict[int, Frames | RecordingError]()
        for batch, some in zip(batches, done, strict=True):
            frames |= zip(batch, some, strict=True)
        return spoken(heard, [frames[index] for index in range(len(heard))], self._engine, self._tokens)

    def effort(self) -> dict[str, float]:
        """What it took since this was last asked: padded_seconds, and busy_seconds where the device measures them."""
        with self._lock:
            padded, self._padded_samples = self._padded_samples, 0
            effort, busy = {"padded_seconds": padded / SAMPLE_RATE}, getattr(self._engine, "busy_seconds", None)
            if busy is not None:
                effort["busy_seconds"], self._busy_told = busy - self._busy_told, busy
        return effort


class Isolation:
    """Transcribes each recording alone in a child process; one that ends it is told, and the rest goes on."""

    def __init__(self, model: ModelFile, settings: EngineSettings) -> None:
        self._padded_samples = 0
        self._child = Isolated(partial(_alone, model, settings), settings.patience_s)

    def transcribe(self, heard: Sequence[Heard]) -> list[Said]:
        """What is said in each segment, or what is wrong with its recording."""
        self._padded_samples += sum(len(each.pcm) for each in heard)
        firsts = [index for index, each in enumerate(heard) if each.is_first]  # none where there is no sound at all
        recordings = (heard[first:end] for first, end in pairwise([*firsts, len(heard)]))
        return [said for recording in recordings for said in self._one(recording)]

    def effort(self) -> dict[str, float]:
        """As that of Workers."""
        padded, self._padded_samples = self._padded_samples, 0
        return {"padded_seconds": padded / SAMPLE_RATE}

    def _one(self, recording: Sequence[Heard]) -> list[Said]:
        try:
            return list(self._child(recording))
        except RecordingError as problem:
            return [problem] * len(recording)


def _alone(model: ModelFile, settings: EngineSettings) -> Callable[[Sequence[Heard]], list[Said]]:
    return Workers(model, replace(settings, threads=1)).transcribe


def transcribe_within_memory(engine: Engine, batch: list[Samples]) -> list[Frames | RecordingError]:
    """The frames of a batch; where the device's memory is too small for it, of its halves."""
    import torch

    try:
        return list(engine.transcribe(batch))
    except torch.OutOfMemoryError:
        pass  # outside the handler, so that the traceback no longer holds the tensors of the failed pass
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
    if len(batch) == 1:
        detail = "the device's memory does not hold this segment even alone; lower segmentation.max_seconds"
        return [RecordingError(ErrorKind.OUT_OF_MEMORY, detail)]
    middle = len(batch) // 2
    return transcribe_within_memory(engine, batch[:middle]) + transcribe_within_memory(engine, batch[middle:])
