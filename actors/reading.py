"""A unit's objects to recordings, and recordings to rows of PCM.

Whatever is wrong with one recording becomes its row; what is wrong with the storage is raised, for it concerns all.
"""

import faulthandler
import json
import os
import threading
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import partial
from itertools import groupby, islice
from typing import Any

import pyarrow as pa

from actors import storage
from actors.audio import decode
from actors.isolation import Isolated
from actors.parquet_shards import read_parquet
from actors.recordings import Recording, companion_fields, split_fields
from actors.schema import SAMPLE_RATE, SPEECH_SCHEMA, ErrorKind, RecordingError
from actors.segmentation import Segmentation, segments_of
from actors.tar_shards import read_tar
from actors.units import SourceObject, Unit, printable

FETCHES_AT_ONCE = 8  # storage answers in tens of milliseconds, so a few requests are kept in the air


@dataclass(frozen=True)
class ReadSettings:
    """How recordings are read. `max_minutes` of sound and `max_megabytes` of storage bound each recording.

    Where for `patience_s` no recording was decoded, the process ends itself, for nothing else ends a loop in a codec.
    What ended its process is read again `isolated`: each recording is decoded in a child process.
    """

    max_minutes: float = 10.0
    max_megabytes: float = 512.0
    segmentation: Segmentation = field(default_factory=Segmentation)
    channel: int | None = None
    storage_options: Mapping[str, Any] = field(default_factory=dict, repr=False)
    patience_s: float = 600.0
    isolated: bool = False

    @property
    def max_bytes(self) -> int:
        return int(self.max_megabytes * 1e6)


def read_unit(unit: Unit, settings: ReadSettings) -> pa.Table:
    """All recordings of a unit as a table of SPEECH_SCHEMA, in the order of its objects; at least one row an object."""
    groups = [list(group) for _, group in groupby(unit.objects, key=lambda each: (each.uri, each.format))]

    def rows_of(group: list[SourceObject]) -> list[dict[str, Any]]:
        return [row for recording in read_objects(group, settings) for row in decode_one(recording)]

    decoder = isolated_decoder(settings) if settings.isolated else watched_decoder(settings)
    with decoder as decode_one, ThreadPoolExecutor(1 if settings.isolated else FETCHES_AT_ONCE) as pool:
        rows = [row for rows in pool.map(rows_of, groups) for row in rows]
    return pa.Table.from_pylist(rows, schema=SPEECH_SCHEMA)


Decoder = Callable[[Recording], list[dict[str, Any]]]  # a recording to its rows


@contextmanager
def watched_decoder(settings: ReadSettings) -> Iterator[Decoder]:
    """Decodes in this process, in any number of threads; the process ends where none gets done for too long."""
    lock, busy = threading.Lock(), 0

    def watch(change: int) -> None:
        nonlocal busy
        with lock:
            busy += change
            if busy:
                faulthandler.dump_traceback_later(settings.patience_s, exit=True)  # by a thread that needs no GIL
            else:
                faulthandler.cancel_dump_traceback_later()

    def decode_one(recording: Recording) -> list[dict[str, Any]]:
        watch(+1)
        try:
            return to_rows(recording, settings)
        finally:
            watch(-1)

    yield decode_one


@contextmanager
def isolated_decoder(settings: ReadSettings) -> Iterator[Decoder]:
    """Decodes in a child process; a recording that ends it becomes a row that says so."""
    child = Isolated(partial(partial, to_rows, settings=settings), settings.patience_s)

    def decode_one(recording: Recording) -> list[dict[str, Any]]:
        try:
            rows: list[dict[str, Any]] = child(recording)
        except RecordingError as problem:
            rows = to_rows(replace(recording, content=problem), settings)
        return rows

    try:
        yield decode_one
    finally:
        child.close()


def read_objects(group: list[SourceObject], settings: ReadSettings) -> Iterator[Recording]:
    """The recordings of objects that share one stored file: many lines of a manifest may, others are alone."""
    first = group[0]
    if first.format in ("audio", "manifest"):
        yield from _read_file(group, settings)
        return
    read_container = read_tar if first.format == "tar" else read_parquet
    found = 0
    try:
        filesystem, path, etag = _planned(first, settings)
        for recording in islice(read_container(filesystem, path, first, etag, settings.max_bytes), first.limit):
            found += 1
            yield recording
    except RecordingError as problem:
        yield Recording(first.name, first.uri, first.etag or "", problem)
        return
    if not found:
        nothing = RecordingError(ErrorKind.EMPTY, f"the {first.format} file holds no recording")
        yield Recording(first.name, first.uri, etag, nothing)


def _read_file(group: list[SourceObject], settings: ReadSettings) -> Iterator[Recording]:
    """One audio file, whole or in the stretches that manifest lines name."""
    content: bytes | RecordingError
    etag = group[0].etag or ""
    if all(each.refusal for each in group):
        content = b""  # refused, so never touched
    else:
        try:
            filesystem, path, etag = _planned(group[0], settings)
            content = storage.read(filesystem, path)
        except RecordingError as problem:
            content = problem
        except FileNotFoundError:
            content = RecordingError(ErrorKind.MISSING, f"{group[0].uri} is not there")
    for each in group:
        fields = json.loads(each.lines) if each.lines and not each.refusal else _read_companion(each, settings)
        reference, extra = split_fields(fields)
        refused = RecordingError(ErrorKind(each.refusal[0]), each.refusal[1]) if each.refusal else None
        yield Recording(
            each.name,
            each.uri,
            etag,
            refused or content,
            offset_s=float(fields.get("offset") or 0.0) if each.format == "manifest" and not refused else None,
            duration_s=fields.get("duration") if each.format == "manifest" and not refused else None,
            reference=reference,
            extra=extra,
        )


def _planned(source: SourceObject, settings: ReadSettings) -> tuple[storage.Filesystem, str, str]:
    """Where an object lies and its version, after a check that it is the one that was planned, and not too large."""
    filesystem, path = storage.connect(source.uri, settings.storage_options)
    try:
        info = storage.info(filesystem, path)
    except FileNotFoundError:
        raise RecordingError(ErrorKind.MISSING, f"{source.uri} is not there") from None
    etag = storage.version(info)
    if source.etag is not None and etag != source.etag:
        raise RecordingError(ErrorKind.CHANGED, "replaced while the run was at work; the next run reads it")
    if source.format in ("audio", "manifest") and (info.get("size") or 0) > settings.max_bytes:
        raise RecordingError(
            ErrorKind.TOO_LONG, f"{info['size'] / 1e6:.0f} MB, more than {settings.max_megabytes:g} MB"
        )
    return filesystem, path, etag


def _read_companion(source: SourceObject, settings: ReadSettings) -> dict[str, Any]:
    """The fields of the .txt or .json beside an audio file; none where there is no such file, or no longer."""
    if source.companion is None:
        return {}
    filesystem, path = storage.connect(source.companion, settings.storage_options)
    try:
        text = storage.read(filesystem, path)
    except FileNotFoundError:
        return {}
    return companion_fields(os.path.splitext(path)[1], text)


def to_rows(recording: Recording, settings: ReadSettings) -> list[dict[str, Any]]:
    """A recording decoded, as rows of SPEECH_SCHEMA: one a segment. What came with it stands in the first."""
    row: dict[str, Any] = {
        "recording_id": printable(recording.recording_id),
        "uri": printable(recording.uri),
        "member": None if recording.member is None else printable(recording.member),
        "offset_s": recording.offset_s,
        "etag": recording.etag,
        "segment_index": 0,
        "reference": None if recording.reference is None else printable(recording.reference),
        "extra": printable(json.dumps(recording.extra, ensure_ascii=False, default=str)) if recording.extra else None,
    }
    try:
        if isinstance(recording.content, RecordingError):
            raise recording.content
        sound = decode(
            recording.content,
            max_seconds=settings.max_minutes * 60,
            channel=settings.channel,
            offset_s=recording.offset_s or 0.0,
            duration_s=recording.duration_s,
        )
    except RecordingError as problem:
        return [row | {"error_kind": str(problem.kind), "error_detail": printable(problem.detail)}]
    row |= {
        "duration_s": sound.duration_s,
        "source_sample_rate": sound.sample_rate,
        "source_channels": sound.channels,
        "source_codec": sound.codec,
    }
    segments = segments_of(sound.pcm, settings.segmentation)
    last = len(segments) - 1
    return [
        row
        | {
            "segment_index": index,
            "start_s": segment.start / SAMPLE_RATE,
            "end_s": sound.duration_s if index == last else segment.end / SAMPLE_RATE,
            "pcm": sound.pcm[segment.heard_from : segment.heard_to].tobytes(),
            "before": segment.start - segment.heard_from,
            "after": segment.heard_to - segment.end,
        }
        | ({"reference": None, "extra": None} if index else {})
        for index, segment in enumerate(segments)
    ]
