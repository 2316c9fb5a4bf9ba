"""The actor: one loaded Citrinet that hears segments of sound. It makes no text, so that its GIL belongs to the batches
of the GPU."""

import logging
import os
import threading
import time
import uuid
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from functools import partial
from itertools import pairwise
from typing import Any, NamedTuple, NoReturn

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from actors.engine.batching import make_batches
from actors.engine.faults import DeviceFault, hear_within_memory
from actors.engine.interface import Capacity, Emission, EngineSettings
from actors.engine.load import load_engine
from actors.engine.models import ModelFile
from actors.isolation import Isolated, NotCreated
from actors.outcomes import Work
from actors.schema import (
    EMISSION_SCHEMA,
    FRAME_SAMPLES,
    SAMPLE_RATE,
    SPEECH_SCHEMA,
    ErrorKind,
    RecordingError,
    Waveform,
)
from actors.text.emissions import to_columns

FAULT_STATUS = 70  # EX_SOFTWARE of sysexits.h


class Sound(NamedTuple):
    """A segment's waveform, with its context."""

    pcm: Waveform
    is_first: bool  # of its recording, or of the piece's share of that


class Transcriber:
    """Hears tables of SPEECH_SCHEMA with one loaded engine; returns tables of EMISSION_SCHEMA. Thread-safe.

    Rows stay as they are, less the sound. The schema's metadata keep what came with the table, and add the work that it
    took and the stride of frames in samples. If the device fails, this process ends, so that its pieces go to another:
    one that lived on would fail each in a moment, and take those that are meant for healthy devices.
    """

    def __init__(self, model: ModelFile, settings: EngineSettings) -> None:
        """Raises UsageError if the weights are not the planned ones, or the engine cannot use them."""
        self._runner = (IsolatedRunner if settings.isolated else EngineRunner)(model, settings)
        self._id = uuid.uuid4().hex[:12]

    def __call__(self, speech: pa.Table) -> pa.Table:
        """Hears rows."""
        began = time.time()
        sounds, samples = _sounds_in(speech)
        try:
            heard = dict(zip(sounds, self._runner.hear(list(sounds.values())), strict=True))
        except DeviceFault as fault:
            _end_process(fault)
        emissions = [heard.get(row) for row in range(speech.num_rows)]
        columns: dict[str, Any] = {name: speech.column(name) for name in speech.schema.names if name in _PASSED_THROUGH}
        columns |= to_columns([each if isinstance(each, Emission) else None for each in emissions])
        columns["samples"] = pa.array(samples, pa.int32())
        if failed := {row: each for row, each in heard.items() if isinstance(each, RecordingError)}:
            for name, field in (("error_kind", "kind"), ("error_detail", "detail")):
                known = enumerate(columns[name].to_pylist())
                values = [str(getattr(failed[row], field)) if row in failed else value for row, value in known]
                columns[name] = pa.array(values, pa.string())
        ended = time.time()
        counters = {"busy_seconds": ended - began} | self._runner.take_counters()
        work = Work(self._id, began, ended, counters["busy_seconds"], counters["padded_seconds"])
        metadata = (speech.schema.metadata or {}) | {FRAME_SAMPLES: str(self._runner.frame_samples)}
        table = pa.table([columns[each.name] for each in EMISSION_SCHEMA], schema=EMISSION_SCHEMA)
        return table.replace_schema_metadata(work.to_metadata() | metadata)


def _end_process(fault: DeviceFault) -> NoReturn:
    """Ends this process at once: its destructors would wait for the device."""
    logging.getLogger(__name__).critical("this process ends, because its device failed: %s", fault)
    os._exit(FAULT_STATUS)


_PASSED_THROUGH = frozenset(SPEECH_SCHEMA.names) & frozenset(EMISSION_SCHEMA.names)


def _sounds_in(speech: pa.Table) -> tuple[dict[int, Sound], list[int]]:
    """The sounds of a table by row, and the samples of each row."""
    sounds, samples, is_first, follows = dict[int, Sound](), list[int](), True, None
    columns = (speech.column(name).to_pylist() for name in ("is_float", "segment_index"))
    for row, (content, is_float, index) in enumerate(zip(_contents(speech.column("pcm")), *columns, strict=True)):
        is_first, follows = is_first or index != follows, index + 1
        sound: Waveform = content.view(np.float32) if is_float else content.view(np.int16)
        samples.append(len(sound))
        if len(sound):
            sounds[row] = Sound(sound, is_first)
            is_first = False
    return sounds, samples


def _contents(column: pa.ChunkedArray) -> Iterator[NDArray[np.uint8]]:
    """The bytes of each row of a column of large_binary, none if it is null. They are not copied, as those of its
    scalars are: of an hour of sound, that takes longer than all else here."""
    for chunk in column.chunks:
        _, offsets, data = chunk.buffers()
        ends = np.frombuffer(offsets, np.int64)[chunk.offset : chunk.offset + len(chunk) + 1].tolist()
        content = np.frombuffer(data or b"", np.uint8)
        yield from (content[begin:end] for begin, end in pairwise(ends))


class EngineRunner:
    """Runs an engine on batches, several concurrently."""

    def __init__(self, model: ModelFile, settings: EngineSettings) -> None:
        """Raises UsageError as `load_engine` does."""
        import torch

        self._padded_samples = 0  # given to the model since the last `take_counters`, padding included
        self._busy_taken, self._lock = 0.0, threading.Lock()
        self._pads = settings.traits.pads
        self._batch_shares = settings.batch_shares
        self._pool = ThreadPoolExecutor(
            settings.concurrent_batches,
            initializer=torch.set_num_threads,
            initargs=(max(settings.threads // settings.concurrent_batches, 1),),
        )
        self._engine = self._pool.submit(load_engine, model, settings).result()
        self.frame_samples, holds = self._engine.frame_samples, self._engine.capacity
        self._limit = Capacity(int(settings.max_padded_seconds * SAMPLE_RATE))
        if holds is not None:
            self._limit = Capacity(min(self._limit.samples, holds.samples), holds.recordings)

    def hear(self, sounds: Sequence[Sound]) -> list[Emission | RecordingError]:
        """An emission or an error per segment, in order. Raises DeviceFault."""
        batches = make_batches([len(each.pcm) for each in sounds], self._limit, self._pads, self._batch_shares)
        lengths = ([len(sounds[index].pcm) for index in batch] for batch in batches)
        padded = sum(max(each) * len(each) if self._pads else sum(each) for each in lengths)
        with self._lock:
            self._padded_samples += padded
        work = partial(hear_within_memory, self._engine)
        done = self._pool.map(work, [[sounds[index].pcm for index in batch] for batch in batches])
        emissions = dict[int, Emission | RecordingError]()
        for batch, some in zip(batches, done, strict=True):
            emissions |= zip(batch, some, strict=True)
        return [emissions[index] for index in range(len(sounds))]

    def take_counters(self) -> dict[str, float]:
        """Padded and busy seconds since the last call; resets both. Only a GPU measures busy seconds."""
        with self._lock:
            padded, self._padded_samples = self._padded_samples, 0
            counters, busy = {"padded_seconds": padded / SAMPLE_RATE}, self._engine.busy_seconds
            if busy is not None:
                counters["busy_seconds"], self._busy_taken = busy - self._busy_taken, busy
        return counters


class IsolatedRunner:
    """Runs each recording alone in a child process. One that crashes it gets an error; the others go on. So does one at
    which the device fails twice: it cannot be the device alone, since a new child starts with the model at work."""

    def __init__(self, model: ModelFile, settings: EngineSettings) -> None:
        self._padded_samples = 0
        self.frame_samples = 1  # its engine states it with each recording; nothing was heard before that
        self._lock = threading.Lock()
        self._child = Isolated(partial(_load_single_threaded, model, settings), settings.patience_s)

    def hear(self, sounds: Sequence[Sound]) -> list[Emission | RecordingError]:
        """An emission or an error per segment, in order. Segments of one recording are adjacent. One caller at a time:
        the child takes one recording, and an actor on a GPU has two blocks."""
        firsts = [index for index, each in enumerate(sounds) if each.is_first]  # none if there is no sound at all
        recordings = (sounds[first:end] for first, end in pairwise([*firsts, len(sounds)]))
        with self._lock:
            self._padded_samples += sum(len(each.pcm) for each in sounds)
            return [emission for recording in recordings for emission in self._one(recording)]

    def take_counters(self) -> dict[str, float]:
        """Padded seconds since the last call; resets them."""
        with self._lock:
            padded, self._padded_samples = self._padded_samples, 0
        return {"padded_seconds": padded / SAMPLE_RATE}

    def _one(self, recording: Sequence[Sound]) -> list[Emission | RecordingError]:
        try:
            self.frame_samples, emissions = self._with_another_try(recording)
            return list(emissions)
        except NotCreated:
            raise
        except DeviceFault as fault:
            self._child.close()
            return [RecordingError(ErrorKind.CRASHED, f"the device fails for it alone: {fault!s:.200}")] * len(
                recording
            )
        except RecordingError as problem:
            return [problem] * len(recording)
        except Exception as problem:  # noqa: BLE001 - only this recording is lost
            detail = f"{type(problem).__name__}: {problem!s:.200}"
            return [RecordingError(ErrorKind.INTERNAL, detail)] * len(recording)

    def _with_another_try(self, recording: Sequence[Sound]) -> Any:
        try:
            return self._child(recording)
        except DeviceFault:
            self._child.close()  # its context is lost; the next call starts a new one
        return self._child(recording)


def _load_single_threaded(
    model: ModelFile, settings: EngineSettings
) -> Callable[[Sequence[Sound]], tuple[int, list[Any]]]:
    runner = EngineRunner(model, replace(settings, threads=1))
    return partial(_hear, runner)


def _hear(runner: EngineRunner, sounds: Sequence[Sound]) -> tuple[int, list[Emission | RecordingError]]:
    return runner.frame_samples, runner.hear(sounds)
