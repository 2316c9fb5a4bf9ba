"""A piece to rows of PCM.

Whatever is wrong with one recording becomes its row; what is wrong with the storage is raised, for it concerns all.
"""

import faulthandler
import threading
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from itertools import groupby
from typing import Any

import pyarrow as pa

from actors.audio.containers import container_of, id3_length
from actors.audio.decode import MoreSound, Sound, Wanted, decode
from actors.audio.segments import Stretch, segments_of
from actors.audio.speech import Rows, Texts, Told
from actors.audio.voice import has_speech
from actors.foreign.escape import escape_surrogates
from actors.foreign.plain_json import to_json
from actors.isolation import Isolated
from actors.schema import SAMPLE_RATE, ErrorKind, RecordingError
from actors.sources.memory import MemoryBudget
from actors.sources.objects import Reading, ReadSettings, check_version, read_objects
from actors.sources.recordings import Recording
from actors.sources.tar import merge_texts
from actors.sources.tar_ranges import Chain
from actors.storage.files import StoredFile
from actors.units import Piece, Recut, SourceObject

MIN_BUDGET_BYTES = (
    256_000_000  # bytes that recordings of a piece may take while they are decoded, whatever one may have
)
FETCHES_AT_ONCE = 8  # storage answers in tens of milliseconds, so a few requests are kept in the air
MAX_SECONDS = 7_200.0  # of sound that a piece may hold at least, whatever was expected
FINER = 4  # times as many pieces, where one holds more than that


def read_piece(piece: Piece, settings: ReadSettings) -> pa.Table:
    """The recordings of a piece as a table of SPEECH_SCHEMA, in the order of its objects; at least one row an object.

    A share that holds nothing is a row without sound and without an error. Metadata of the schema are what is
    told of the chain of headers of a tar's range. Raises Recut where there is more sound than a piece may hold.
    """
    groups = [list(group) for _, group in groupby(piece.objects, key=lambda each: (each.uri, each.format))]
    chains, samples, max_bytes = list[Chain](), 0, _max_seconds(piece) * SAMPLE_RATE
    budget, texts = MemoryBudget(max(settings.max_bytes, MIN_BUDGET_BYTES)), Texts()

    def rows_of(group: list[SourceObject]) -> Rows:
        nonlocal samples
        reading, rows = Reading(piece, settings, budget, chains=chains), Rows(texts)
        for recording in read_objects(group, reading):
            decoded = decode_one(recording)
            samples += sum(len(row.get("pcm", b"")) // 2 for row in decoded)
            if samples > max_bytes:
                raise _finer(piece)
            rows.add(decoded)
            del recording, decoded  # before the next one is read: each may be half a gigabyte
        rows.tell(_told(reading, piece, texts))
        return rows

    decoder = isolated_decoder(piece, settings) if settings.isolated else watched_decoder(piece, settings)
    with decoder as decode_one, ThreadPoolExecutor(1 if settings.isolated else FETCHES_AT_ONCE) as pool:
        whole = Rows(texts)
        for rows in pool.map(rows_of, groups):
            whole.take(rows)
    metadata = {"chain": chains[0].summary().to_text()} if chains else {}
    return whole.table().replace_schema_metadata(metadata)


def _told(reading: Reading, piece: Piece, texts: Texts) -> dict[str, Told]:
    """The texts that lay in a tar, for the first rows of its recordings, which are in their first stretch."""
    told = dict[str, Told]()
    for key, found in reading.texts.items() if not piece.stretch else ():
        reference, extra = merge_texts(found)
        told[escape_surrogates(key)] = texts.believed(*_companions(reference, extra).values())
    return told


def _companions(reference: str | None, extra: Mapping[str, Any] | None) -> dict[str, str | None]:
    """What came with a recording, as the columns of its first row."""
    return {
        "reference": None if reference is None else escape_surrogates(reference),
        "extra": to_json(extra) if extra else None,
    }


def _max_seconds(piece: Piece) -> float:
    return max(2 * piece.seconds, MAX_SECONDS)


def _finer(piece: Piece, is_long: bool = False) -> Recut:
    """A finer cut of a piece's unit: into its objects, else the object's shares, or a recording that is too long."""
    objects = len(piece.unit.objects)
    ranges = objects if piece.ranges < objects else piece.ranges * (1 if is_long else FINER)
    limited = any(each.limit for each in piece.unit.objects)
    return Recut(ranges, piece.stretches * (FINER if is_long else 1), piece.is_streamed or limited)


Decoder = Callable[[Recording], list[dict[str, Any]]]  # a recording to its rows


@contextmanager
def watched_decoder(piece: Piece, settings: ReadSettings) -> Iterator[Decoder]:
    """Decodes in this process, in any number of threads; the process ends where none gets done for too long."""
    lock, busy, samples = threading.Lock(), 0, 0

    def watch(change: int) -> None:
        nonlocal busy
        with lock:
            busy += change
            if busy:
                faulthandler.dump_traceback_later(settings.patience_s, exit=True)  # by a thread that needs no GIL
            else:
                faulthandler.cancel_dump_traceback_later()

    def takes(more: int) -> bool:
        nonlocal samples
        with lock:
            samples += more
        return samples <= _max_seconds(piece) * SAMPLE_RATE  # of all threads together, while they decode

    def decode_one(recording: Recording) -> list[dict[str, Any]]:
        if not _is_decoded(recording):  # to watch takes a thread each time: of a million tiny members, minutes
            return to_rows(recording, piece, settings, takes)
        watch(+1)
        try:
            return to_rows(recording, piece, settings, takes)
        finally:
            watch(-1)

    yield decode_one


def _is_decoded(recording: Recording) -> bool:
    """Whether a decoder will see a recording, and not only its first bytes."""
    content = recording.content
    if not isinstance(content, bytes):
        return isinstance(content, StoredFile)
    return bool(id3_length(content) or container_of(content[:128]))


@contextmanager
def isolated_decoder(piece: Piece, settings: ReadSettings) -> Iterator[Decoder]:
    """Decodes in a child process; a recording that ends it becomes a row that says so."""
    child = Isolated(partial(partial, to_rows, piece=piece, settings=settings), settings.patience_s)

    def decode_one(recording: Recording) -> list[dict[str, Any]]:
        try:
            rows: list[dict[str, Any]] = child(recording)
        except RecordingError as problem:
            rows = to_rows(replace(recording, content=problem), piece, settings)
        return rows

    try:
        yield decode_one
    finally:
        child.close()


def to_rows(
    recording: Recording, piece: Piece, settings: ReadSettings, takes: Callable[[int], bool] = lambda samples: True
) -> list[dict[str, Any]]:
    """A recording decoded, as rows of SPEECH_SCHEMA: one a segment. What came with it stands in the first.

    Segments are counted from the first of the piece's own. Of a recording that has none there is a row without
    sound. `takes` is told of samples as they are decoded, and says whether there is room for more.
    """
    row: dict[str, Any] = {
        "recording_id": escape_surrogates(recording.recording_id),
        "uri": escape_surrogates(recording.uri),
        "member": None if recording.member is None else escape_surrogates(recording.member),
        "offset_s": recording.offset_s,
        "etag": recording.etag,
        "segment_index": 0,
        "own": True,
    } | _companions(recording.reference, recording.extra)
    if recording.content is None:
        return [row]
    stretch = settings.segmentation.stretch(piece.seconds, piece.stretch, piece.stretches)
    begin, end = settings.segmentation.heard(stretch)
    wanted = Wanted(
        recording.offset_s or 0.0,
        recording.duration_s,
        begin,
        end,
        settings.channel,
        max_seconds=_max_seconds(piece),
        max_hours=settings.max_hours,
        takes=takes,
    )
    try:
        if isinstance(recording.content, RecordingError):
            raise recording.content
        sound = decode(recording.content, wanted)
        if isinstance(recording.content, StoredFile):
            check_version(recording.content, recording.etag)
        return _segment_rows(row, sound, stretch, settings)
    except RecordingError as problem:
        kind, detail = problem.kind, problem.detail
    except MoreSound as more:
        raise _finer(piece, more.is_alone) from None
    except (Recut, OSError, MemoryError, ImportError):
        raise  # of the piece, the storage or the machine, and so of all recordings
    except Exception as problem:  # noqa: BLE001 - only this recording is lost by it
        # Nobody foresaw it, or it would have a kind: so it is told as what ends a process is, and `errors.retry` does
        # it again once the code has changed. Only this recording is lost by it.
        kind, detail = ErrorKind.CRASHED, f"{type(problem).__name__}: {problem!s:.200}"
    return [row | {"error_kind": str(kind), "error_detail": escape_surrogates(detail)}]


def _segment_rows(row: dict[str, Any], sound: Sound, stretch: Stretch, settings: ReadSettings) -> list[dict[str, Any]]:
    """The rows of decoded sound: `row`, and what each segment adds to it."""
    begin, _ = settings.segmentation.heard(stretch)
    row |= {
        "duration_s": begin / SAMPLE_RATE + sound.duration_s if len(sound.pcm) else None,  # as far as it is known
        "source_sample_rate": sound.sample_rate,
        "source_channels": sound.channels,
        "source_codec": sound.codec,
    }
    segments = segments_of(sound.pcm, settings.segmentation, stretch)
    spoken = [not settings.vad or has_speech(sound.pcm[each.start - begin : each.end - begin]) for each in segments]
    if settings.drops_silence:  # but the first segment stays, with what came with the recording
        kept = [index for index, each in enumerate(segments) if spoken[index] or not each.start]
        segments, spoken = [segments[index] for index in kept], [spoken[index] for index in kept]
    first_own = next((index for index, each in enumerate(segments) if each.own), None)
    if first_own is None:
        return [row]
    return [
        row
        | {
            "segment_index": index - first_own,
            "start_s": segment.start / SAMPLE_RATE,
            "end_s": segment.end / SAMPLE_RATE,
            "pcm": sound.pcm[segment.heard_from - begin : segment.heard_to - begin].tobytes() if is_spoken else b"",
            "before": segment.start - segment.heard_from,
            "after": segment.heard_to - segment.end,
            "own": segment.own,
        }
        | ({"reference": None, "extra": None} if index != first_own or stretch.start else {})
        for index, (segment, is_spoken) in enumerate(zip(segments, spoken, strict=True))
    ]
