"""Histories of an output without Ray: a bucket, runs that stop at any operation on it, and what is to be heard.

A run does with storage what `jobs.transcribe.work` does: it plans, sweeps, and passes units, whole or in pieces, to the
real last stage. What it hears of an object names the object, its version, and the precision.
"""

import hashlib
import json
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import Executor
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any, Literal

import fsspec
import numpy as np
import pyarrow as pa
from fsspec.implementations.memory import MemoryFile, MemoryFileSystem
from transcribing import HEXADECIMAL, MODEL, emission_of, emitted

from actors.engine.interface import Candidates, Emission
from actors.foreign.errors import InvalidData
from actors.parts.kept import is_kept, kept_first, sweep_pieces
from actors.parts.stored import remove_unit
from actors.pieces import Cut, Piece, cut_unit
from actors.schema import SPEECH_SCHEMA, ErrorKind, UsageError
from actors.sources.objects import ReadSettings, recording_of
from actors.sources.recordings import companions
from actors.storage.place import Place
from actors.text.emissions import to_columns
from actors.text.written.write import TextSettings
from actors.units import SourceObject
from actors.writer import Writer, WriteSettings
from jobs.planning.corrections import object_errors
from jobs.planning.listing import Listing
from jobs.planning.plans import MAX_PLANS, write_plan
from jobs.planning.recipe import recipe_digest
from jobs.planning.run_files import SUMMARY
from jobs.planning.state import load_state, made_of, sweep_emissions, units_with_errors
from jobs.planning.verdicts import Policy, make_plan

SEGMENTS = 2  # of a recording
BYTES = 60 * 16_000  # a minute


class Crash(BaseException):
    """The end of a simulated process."""


class Bucket(MemoryFileSystem):
    """A store like S3: ETags of the content, conditional creation, times by a clock that counts what is written; before
    each operation a run may be stopped."""

    protocol = "bucket"
    cachable = False

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.store: dict[str, Any] = {}
        self.pseudo_dirs = [""]
        self.running = threading.local()
        self.written, self.runs = 0, 0
        self.opened = list[str]()  # paths of files that were read

    @classmethod
    def _strip_protocol(cls, path: str) -> str:
        return str(super()._strip_protocol(path.removeprefix("bucket://")))

    def _stop(self) -> None:
        run = getattr(self.running, "run", None)
        if run is not None:
            run.wait_for_its_turn()

    def info(self, path: str, **kwargs: Any) -> dict[str, Any]:
        self._stop()
        return self._with_etag(super().info(path, **kwargs))

    def ls(self, path: str, detail: bool = True, **kwargs: Any) -> Any:
        self._stop()
        found = [self._with_etag(each) for each in super().ls(path, detail=True, **kwargs)]
        return found if detail else [each["name"] for each in found]

    def modified(self, path: str) -> datetime:
        self._stop()
        found: datetime = super().modified(path)
        return found

    def cat_file(self, path: str, *args: Any, **kwargs: Any) -> bytes:
        self._stop()
        self.opened.append(self._strip_protocol(path))
        return bytes(super().cat_file(path, *args, **kwargs))

    def _open(self, path: str, mode: str = "rb", **kwargs: Any) -> Any:
        self._stop()
        assert mode == "rb"
        self.opened.append(self._strip_protocol(path))
        return super()._open(path, mode, **kwargs)

    def pipe_file(self, path: str, value: bytes, mode: str = "overwrite", **kwargs: Any) -> None:
        self._stop()
        path = self._strip_protocol(path)
        if mode == "create" and path in self.store:
            raise FileExistsError(path)
        self.written += 1
        file = MemoryFile(self, path, value)
        file.modified = datetime(2000, 1, 1, tzinfo=UTC) + timedelta(seconds=self.written)
        file.etag = hashlib.md5(value).hexdigest()
        self.store[path] = file

    def rm_file(self, path: str) -> None:
        self._stop()
        if self._strip_protocol(path) not in self.store:
            raise FileNotFoundError(path)
        super().rm_file(path)

    def _with_etag(self, found: Mapping[str, Any]) -> dict[str, Any]:
        is_file = found["type"] == "file"
        return {**found, "ETag": self.store[found["name"]].etag} if is_file else dict(found)


fsspec.register_implementation("bucket", lambda bucket: bucket)  # the bucket of a URL is that of its options


class OneThread(Executor):
    """In the place of a pool of threads, so that each of their operations is a step of the run too."""

    def __init__(self, *_: int) -> None: ...

    def map(self, call: Callable[..., Any], *arguments: Iterable[Any], **_: Any) -> Iterator[Any]:
        return iter([call(*each) for each in zip(*arguments, strict=True)])


@dataclass(frozen=True)
class Sound:
    """A stored recording: its version, and the error that reading it gives; `silent` if nobody speaks in it."""

    version: int = 0
    error: ErrorKind | None = None
    is_silent: bool = False


@dataclass
class Archive:
    """Recordings by name in a bucket, each perhaps with a .json beside it."""

    bucket: Bucket
    sounds: dict[str, Sound] = field(default_factory=dict)
    texts: list[str] = field(default_factory=list)  # versions of all companions that there were

    @property
    def reading(self) -> ReadSettings:
        return ReadSettings(storage_options={"bucket": self.bucket})

    def describe(self, name: str) -> None:
        """Writes a companion that there never was."""
        path, number = f"/archive/{name}.json", len(self.texts)
        self.bucket.pipe_file(path, json.dumps({"text": f"text {number}", "speaker": number}).encode())
        self.texts.append(self.bucket.store[path].etag)

    def bare(self, name: str) -> None:
        """Removes a companion."""
        self.bucket.store.pop(f"/archive/{name}.json", None)

    def listing(self) -> Listing:
        return Listing([self._listed(name) for name in sorted(self.sounds)], covers=lambda uri: True)

    def _listed(self, name: str) -> SourceObject:
        uri, companion = f"bucket://archive/{name}", self.bucket.store.get(f"/archive/{name}.json")
        return SourceObject(
            *(uri, uri, name, "audio", str(self.sounds[name].version), BYTES),
            companion=companion and f"{uri}.json",
            text_version=companion.etag if companion else "",
        )


@dataclass(frozen=True)
class Job:
    """The configuration of a run. `candidates` are kept with emissions, none if 0; if it `cuts`, units are worked in
    pieces; `redo` are names of recordings."""

    precision: str = "float32"
    candidates: int = 0
    tokens: bool = True
    itn: Literal["none", "zh"] = "none"
    minutes: float = 2.0
    cuts: bool = False
    on_mismatch: str = "replace"
    on_deleted: str = "keep"
    redo: frozenset[str] = frozenset()
    max_plans: int = MAX_PLANS

    @property
    def text(self) -> TextSettings:
        return TextSettings(self.itn)

    @property
    def settings(self) -> dict[str, Any]:
        return {
            "heard": {"precision": self.precision},
            "emissions": {"candidates": self.candidates} if self.candidates else None,
            "said": {"tokens": self.tokens},
            "written": self.text.to_dict(),
        }


@dataclass
class Done:
    """What a run did: the pieces that it heard, and why units failed."""

    pieces: list[Piece] = field(default_factory=list)
    failures: list[str] = field(default_factory=list)
    was_refused: bool = False

    @property
    def heard(self) -> set[str]:
        """The names of the recordings of which something was heard."""
        return {each.name for piece in self.pieces for each in piece.objects}


def work(job: Job, archive: Archive, output: Place, listing: Listing | None = None, done: Done | None = None) -> Done:
    """Does a run, of what is listed when it begins to plan, unless a listing is given."""
    done = Done() if done is None else done
    archive.bucket.runs += 1
    listing, run_id = listing or archive.listing(), f"run-{archive.bucket.runs}"
    try:
        plan, folder = _planned(job, listing, output, run_id)
    except UsageError as problem:
        if job.on_mismatch != "fail" or not str(problem).startswith("output.on_mismatch"):
            raise
        done.was_refused = True
        return done
    (folder / SUMMARY).write(b"{}")
    sweep_emissions(output, 0)
    seconds = job.minutes * 60
    cuts = sweep_pieces(plan.units, seconds, output)
    for unit_id in plan.remove:
        remove_unit(unit_id, output)
    writing = WriteSettings(MODEL, HEXADECIMAL, run_id, archive.reading, job.tokens, text=job.text)
    writer = Writer(writing, output, run_id)
    for unit in plan.committed:
        pieces = cut_unit(unit, cuts.get(unit.id, Cut(seconds, 1 + job.cuts)))
        try:
            for piece in kept_first(pieces, output) if unit.id in cuts else pieces:
                emissions = pa.table({})
                if piece.objects and not is_kept(piece, output):
                    done.pieces.append(piece)
                    emissions = heard(piece, job, archive)
                writer(piece, emissions)
        except (OSError, InvalidData) as problem:  # the graph tells the driver, and goes on with other units
            done.failures.append(f"{type(problem).__name__}: {problem}")
    return done


def _planned(job: Job, listing: Listing, output: Place, run_id: str) -> tuple[Any, Place]:
    while True:
        state = load_state(output)
        policy = Policy(
            target_seconds=job.minutes * 60,
            on_mismatch=job.on_mismatch,
            on_deleted=job.on_deleted,
            max_removed_fraction=1.0,
            retry=units_with_errors(frozenset(), state, output),
            redo=frozenset(each.key for each in listing.objects if each.name in job.redo),
            made=lambda unit: made_of(unit, output),
            errors=lambda unit: object_errors(unit, output),
        )
        plan = make_plan(listing, state, job.settings, policy)
        recipe = recipe_digest(job.settings), job.settings
        folder = write_plan(output, state, plan.objects, recipe, run_id, job.max_plans)
        if folder:
            return plan, folder


def file_of(piece: Piece) -> str:
    """The name of the file that keeps a piece of a unit in several."""
    return f"{piece.unit}.{piece.hearing}.{piece.name}.arrow"


def heard(piece: Piece, job: Job, archive: Archive) -> pa.Table:
    """What is heard of a piece, of EMISSION_SCHEMA."""
    rows, contents = list[dict[str, Any]](), list[bytes | None]()
    for source in piece.objects:
        sound = archive.sounds.get(source.name)
        is_gone = sound is None or str(sound.version) != source.etag
        found = recording_of(source, source.etag or "", b"", archive.reading)
        row = {"recording_id": source.name, "uri": source.uri, "etag": source.etag, "own": True}
        beside = companions(found.reference, found.extra)
        if sound is None or is_gone or sound.error:
            error = sound.error if sound and not is_gone else ErrorKind.CHANGED
            rows.append(row | beside | {"segment_index": 0, "error_kind": error, "error_detail": job.precision})
            contents.append(None)
            continue
        for index, segment in enumerate(range(SEGMENTS)[piece.stretch :: piece.stretches]):
            times = {"start_s": float(segment), "end_s": segment + 1.0, "duration_s": float(SEGMENTS)}
            codec = {"source_codec": job.precision}
            rows.append(row | times | codec | {"segment_index": index} | (beside if index == 0 else {}))
            words = f"{source.name}{sound.version} {job.precision} {segment}"
            contents.append(None if sound.is_silent else words.encode())
    table = emitted(pa.Table.from_pylist(rows, schema=SPEECH_SCHEMA), contents)
    for name, column in to_columns([each and _emission(each, job.candidates) for each in contents]).items():
        table = table.set_column(table.schema.get_field_index(name), name, column)
    return table


def _emission(content: bytes, candidates: int) -> Emission:
    """What `emission_of` makes, with so many candidates of each frame."""
    best, likely, _ = emission_of(content)
    if not candidates:
        return Emission(best, likely)
    ids, blank = np.zeros(candidates * len(best), np.uint16), np.zeros(len(best), np.uint16)
    return Emission(best, likely, Candidates(np.full(len(best), candidates, np.uint8), ids, ids, blank))


class Run:
    """A run in a thread of its own that does one operation on storage each time it is let."""

    def __init__(self, job: Job, archive: Archive, output: Place, listing: Listing | None = None) -> None:
        self._turn, self._stopped = threading.Semaphore(0), threading.Semaphore(0)
        self._crashed = self.ended = False
        self.failure: BaseException | None = None
        self.done, listing = Done(), listing or archive.listing()

        def body() -> None:
            archive.bucket.running.run = self
            try:
                work(job, archive, output, listing, self.done)
            except Crash:
                pass
            except BaseException as problem:  # noqa: BLE001 - raised in the test's own thread
                self.failure = problem
            self.ended = True
            self._stopped.release()

        self._thread = threading.Thread(target=body, daemon=True)
        self._thread.start()
        self._stopped.acquire()

    def wait_for_its_turn(self) -> None:
        self._stopped.release()
        self._turn.acquire()
        if self._crashed:
            raise Crash

    def step(self) -> None:
        if not self.ended:
            self._turn.release()
            self._stopped.acquire()
        if self.failure:
            raise self.failure

    def finish(self) -> None:
        while not self.ended:
            self.step()

    def crash(self) -> None:
        self._crashed = True
        self.step()


def stores_of(run: Run, bucket: Bucket) -> Iterator[dict[str, Any]]:
    """What is in the bucket after each operation of a run that writes: what it leaves if it is killed then."""
    before = dict(bucket.store)
    yield before
    while not run.ended:
        run.step()
        if bucket.store != before:
            before = dict(bucket.store)
            yield before
