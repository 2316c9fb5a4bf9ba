"""The actor: one loaded Citrinet that turns segments of sound into text."""

import threading
import time
import uuid
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
from actors.engine.interface import Emission, Engine, EngineSettings
from actors.engine.load import load_engine
from actors.engine.models import ModelFile
from actors.isolation import Isolated, NotCreated
from actors.outcomes import Work
from actors.schema import PART_SCHEMA, SAMPLE_RATE, SPEECH_SCHEMA, ErrorKind, RecordingError, Waveform
from actors.text.join import Hypothesis, SegmentAudio, SegmentResult, decode_segments


class Transcriber:
    """Transcribes tables of SPEECH_SCHEMA into tables of PART_SCHEMA with one loaded engine. Thread-safe.

    Rows stay as they are, less the sound. Segments of other pieces (`own` is false) are transcribed as context for the
    join and dropped. The schema's metadata keep what came with the table and add the work that transcribing took.
    """

    def __init__(self, model: ModelFile, settings: EngineSettings, run_id: str) -> None:
        """Raises UsageError if the weights are not the planned ones, or the engine cannot use them."""
        self._runner = (IsolatedRunner if settings.isolated else EngineRunner)(model, settings)
        self._id, self._tokens = uuid.uuid4().hex[:12], settings.tokens
        self._provenance = {"model": model.name, "model_sha256": model.sha256, "decoding": "greedy", "run_id": run_id}

    def __call__(self, speech: pa.Table, unit: str) -> pa.Table:
        """Transcribes rows of a unit."""
        began = time.time()
        results = self._results(speech)
        rows = speech.num_rows
        now = datetime.now(UTC)
        columns: dict[str, Any] = {name: speech.column(name) for name in speech.schema.names if name in _PASSED_THROUGH}
        hypotheses = [each if isinstance(each, Hypothesis) else None for each in results]
        columns["text"] = pa.array([each and each.text for each in hypotheses], pa.string())
        columns["confidence"] = pa.array([each and each.confidence for each in hypotheses], pa.float32())
        if self._tokens:
            columns["tokens"] = pa.array([each and each.tokens for each in hypotheses], _TOKENS)
        failed = {row: each for row, each in enumerate(results) if isinstance(each, RecordingError)}
        for name, field in (("error_kind", "kind"), ("error_detail", "detail")):
            known = columns[name].to_pylist()
            values = [str(getattr(failed[row], field)) if row in failed else known[row] for row in range(rows)]
            columns[name] = pa.array(values, pa.string())
        for name, value in (self._provenance | {"unit": unit}).items():
            columns[name] = pa.DictionaryArray.from_arrays(pa.array([0] * rows, pa.int32()), [value])
        columns["transcribed_at"] = pa.array([now] * rows, PART_SCHEMA.field("transcribed_at").type)
        ended = time.time()
        work = Work(self._id, began, ended, **({"busy_seconds": ended - began} | self._runner.take_counters()))
        table = pa.table(
            [columns.get(each.name, pa.nulls(rows, each.type)) for each in PART_SCHEMA], schema=PART_SCHEMA
        )
        metadata = work.to_metadata() | (speech.schema.metadata or {})
        return table.filter(speech.column("own")).replace_schema_metadata(metadata)

    def _results(self, speech: pa.Table) -> list[SegmentResult | None]:
        """A result per row; None for rows without sound."""
        names = ("is_float", "start_s", "before", "after", "segment_index")
        columns = zip(speech.column("pcm"), *(speech.column(name).to_pylist() for name in names), strict=True)
        segments, results = dict[int, SegmentAudio](), dict[int, SegmentResult]()
        is_first, follows = True, None
        for row, (pcm, is_float, start, before, after, index) in enumerate(columns):
            is_first, follows = is_first or index != follows, index + 1
            if pcm.is_valid and len(pcm.as_buffer()):
                content = pcm.as_buffer()
                sound: Waveform = np.frombuffer(content, np.float32) if is_float else np.frombuffer(content, np.int16)
                segments[row] = SegmentAudio(sound, start, before, after, is_first)
                is_first = False
            elif pcm.is_valid:
                results[row] = SILENCE
        results |= zip(segments, self._runner.transcribe(list(segments.values())), strict=True)
        return [results.get(row) for row in range(speech.num_rows)]


SILENCE = Hypothesis("", None, [])
_PASSED_THROUGH = frozenset(SPEECH_SCHEMA.names) & frozenset(PART_SCHEMA.names)
_TOKENS = PART_SCHEMA.field("tokens").type


class EngineRunner:
    """Runs an engine on batches, several concurrently, and decodes its emissions."""

    def __init__(self, model: ModelFile, settings: EngineSettings) -> None:
        """Raises UsageError as `load_engine` does."""
        import torch

        self._padded_samples = 0  # given to the model since the last `take_counters`, padding included
        self._busy_taken, self._lock = 0.0, threading.Lock()
        self._pads, self._tokens = settings.traits.pads, settings.tokens
        self._max_padded, self._batch_shares = int(settings.max_padded_seconds * SAMPLE_RATE), settings.batch_shares
        self._pool = ThreadPoolExecutor(
            settings.concurrent_batches,
            initializer=torch.set_num_threads,
            initargs=(max(settings.threads // settings.concurrent_batches, 1),),
        )
        self._engine = self._pool.submit(load_engine, model, settings).result()

    def transcribe(self, segments: Sequence[SegmentAudio]) -> list[SegmentResult]:
        """A result per segment, in order. Segments of one recording are adjacent."""
        sounds = [each.pcm for each in segments]
        batches = make_batches([len(sound) for sound in sounds], self._max_padded, self._batch_shares)
        lengths = ([len(sounds[index]) for index in batch] for batch in batches)
        padded = sum(max(each) * len(each) if self._pads else sum(each) for each in lengths)
        with self._lock:
            self._padded_samples += padded
        work = partial(transcribe_within_memory, self._engine)
        done = self._pool.map(work, [[sounds[index] for index in batch] for batch in batches])
        emissions = dict[int, Emission | RecordingError]()
        for batch, some in zip(batches, done, strict=True):
            emissions |= zip(batch, some, strict=True)
        in_order = [emissions[index] for index in range(len(segments))]
        return decode_segments(segments, in_order, self._engine, self._tokens)

    def take_counters(self) -> dict[str, float]:
        """Padded and busy seconds since the last call; resets both. Only a GPU measures busy seconds."""
        with self._lock:
            padded, self._padded_samples = self._padded_samples, 0
            counters, busy = {"padded_seconds": padded / SAMPLE_RATE}, self._engine.busy_seconds
            if busy is not None:
                counters["busy_seconds"], self._busy_taken = busy - self._busy_taken, busy
        return counters


class IsolatedRunner:
    """Runs each recording alone in a child process. One that crashes it gets an error; the others go on."""

    def __init__(self, model: ModelFile, settings: EngineSettings) -> None:
        self._padded_samples = 0
        self._child = Isolated(partial(_load_single_threaded, model, settings), settings.patience_s)

    def transcribe(self, segments: Sequence[SegmentAudio]) -> list[SegmentResult]:
        """A result per segment, in order. Segments of one recording are adjacent."""
        self._padded_samples += sum(len(each.pcm) for each in segments)
        firsts = [index for index, each in enumerate(segments) if each.is_first]  # none if there is no sound at all
        recordings = (segments[first:end] for first, end in pairwise([*firsts, len(segments)]))
        return [result for recording in recordings for result in self._one(recording)]

    def take_counters(self) -> dict[str, float]:
        """Padded seconds since the last call; resets them."""
        padded, self._padded_samples = self._padded_samples, 0
        return {"padded_seconds": padded / SAMPLE_RATE}

    def _one(self, recording: Sequence[SegmentAudio]) -> list[SegmentResult]:
        try:
            return list(self._child(recording))
        except NotCreated:
            raise
        except RecordingError as problem:
            return [problem] * len(recording)
        except Exception as problem:  # noqa: BLE001 - only this recording is lost
            detail = f"{type(problem).__name__}: {problem!s:.200}"
            return [RecordingError(ErrorKind.INTERNAL, detail)] * len(recording)


def _load_single_threaded(
    model: ModelFile, settings: EngineSettings
) -> Callable[[Sequence[SegmentAudio]], list[SegmentResult]]:
    return EngineRunner(model, replace(settings, threads=1)).transcribe


def transcribe_within_memory(engine: Engine, batch: list[Waveform]) -> list[Emission | RecordingError]:
    """Runs an engine on a batch; one that does not fit the device's memory is split in halves."""
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
