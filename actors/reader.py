"""Reads a piece: decodes its recordings, cuts them into segments, and returns rows of PCM.

An error of one recording becomes its row; errors of the storage are raised, since they concern all recordings.
"""

import faulthandler
import math
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
from actors.audio.decode import DecodeRequest, Sound, SoundLimitExceeded, decode
from actors.audio.segments import SegmentationSettings, Stretch, segments_of
from actors.audio.speech import Companions, SpeechRows, TextBudget
from actors.audio.voice import has_speech
from actors.foreign.escape import escape_surrogates
from actors.foreign.plain_json import to_json
from actors.isolation import Isolated
from actors.pieces import MAX_PIECES, Cut, NeedsRecut, Piece
from actors.schema import SAMPLE_RATE, ErrorKind, RecordingError
from actors.sources.memory import MemoryBudget
from actors.sources.objects import Reading, ReadSettings, check_version, read_objects
from actors.sources.recordings import Recording
from actors.sources.tar import merge_texts
from actors.sources.tar_ranges import Chain
from actors.storage.stored_file import StoredFile
from actors.units import SourceObject, nominal_seconds

MIN_BUDGET_BYTES = 256_000_000  # for the recordings of a piece that are being decoded, however low the limit for one
CONCURRENT_FETCHES = 8  # storage takes tens of milliseconds to respond, so several requests are in flight
MIN_SOUND_LIMIT_S = 7_200.0  # of sound that a piece may hold, however little was expected


def read_piece(piece: Piece, settings: ReadSettings) -> pa.Table:
    """Reads a piece's recordings to a table of SPEECH_SCHEMA, in the order of its objects; at least one row per object.

    A share without a recording is a row without sound and without an error. For a range of a tar, the schema's metadata
    hold the summary of its chain of headers. Raises NeedsRecut if there is more sound than a piece may hold.
    """
    groups = [list(group) for _, group in groupby(piece.objects, key=lambda each: (each.uri, each.format))]
    chains, heard = list[Chain](), Heard(piece, settings.segmentation)
    budget, texts = MemoryBudget(max(settings.max_bytes, MIN_BUDGET_BYTES)), TextBudget()

    def rows_of(group: list[SourceObject]) -> SpeechRows:
        reading, rows = Reading(piece, settings, budget, chains=chains), SpeechRows(texts)
        for number, recording in enumerate(read_objects(group, reading)):
            decoded = decode_one(recording)
            heard.add(group[min(number, len(group) - 1)], recording, decoded)
            rows.add(decoded)
            del recording, decoded  # before the next one is read: each may be half a gigabyte
        rows.add_texts(_texts_in_tar(reading, piece, texts))
        return rows

    decoder = isolated_decoder(piece, settings) if settings.isolated else watched_decoder(piece, settings)
    with decoder as decode_one, ThreadPoolExecutor(1 if settings.isolated else CONCURRENT_FETCHES) as pool:
        whole = SpeechRows(texts)
        try:
            for rows in pool.map(rows_of, groups):
                whole.extend(rows)
        except SoundLimitExceeded as exceeded:
            raise NeedsRecut(heard.finer_cut(exceeded.recording_s)) from None
    metadata = {"chain": chains[0].summary().to_text()} if chains else {}
    return whole.table().replace_schema_metadata(metadata)


class Heard:
    """Measures the sound of a piece while it is decoded, and so how a piece that has too much of it is to be cut."""

    def __init__(self, piece: Piece, segmentation: SegmentationSettings) -> None:
        self._piece, self._segmentation, self._lock = piece, segmentation, threading.Lock()
        self._held_samples = 0  # context of segments included
        self._seconds = self._nominal_s = 0.0  # of the recordings decoded so far
        self._recordings = 0

    def add(self, source: SourceObject, recording: Recording, rows: list[dict[str, Any]]) -> None:
        """Counts a recording and its rows. Raises SoundLimitExceeded if there is more than a piece may hold."""
        nominal_s = nominal_seconds(source) / self._piece.stretches
        if source.is_container:
            nominal_s *= (len(recording.content) if isinstance(recording.content, bytes) else 0) / max(source.size, 1)
        samples, limit = sum(len(row.get("pcm", b"")) // 2 for row in rows), max_seconds(self._piece) * SAMPLE_RATE
        with self._lock:
            self._held_samples += samples
            self._seconds += sum(row["end_s"] - row["start_s"] for row in rows if "pcm" in row and row["own"])
            self._nominal_s += nominal_s
            self._recordings += 1
            if self._held_samples > limit:  # with its context, a recording may be too long that was not by itself
                raise SoundLimitExceeded(rows[-1]["end_s"] if samples > limit else None)

    def finer_cut(self, recording_s: float | None) -> Cut:
        """The cut with which pieces hold about the seconds intended. `recording_s` is the length of a recording that is
        too long by itself, None if all together are."""
        piece, cut = self._piece, self._piece.cut
        if recording_s is not None:
            stretch_s = (self._segmentation.stretch(cut.seconds, 0, 2).end or 0) / SAMPLE_RATE
            stretches = math.ceil(recording_s / stretch_s * cut.stretches / piece.stretches)
            return replace(cut, stretches=max(stretches, cut.stretches + 1))
        shares = max(math.ceil(cut.shares * self._expected_seconds() / cut.seconds), 2 * cut.shares)
        most = MAX_PIECES // cut.stretches
        return replace(cut, shares=min(shares, most) if most > cut.shares else shares)

    def _expected_seconds(self) -> float:
        """The seconds of audio that the whole piece probably has; 0 if unknown."""
        piece, nominal_s = self._piece, [nominal_seconds(each) for each in self._piece.objects]
        if all(nominal_s) and self._nominal_s:
            return self._seconds / self._nominal_s * sum(nominal_s) / piece.ranges / piece.stretches
        is_countable = self._recordings and not any(each.is_container for each in piece.objects)
        return self._seconds / self._recordings * len(piece.objects) if is_countable else 0.0


def _texts_in_tar(reading: Reading, piece: Piece, texts: TextBudget) -> dict[str, Companions]:
    """The texts found in a tar, by recording_id. They belong to first rows, so only a first stretch has them."""
    texts_by_id = dict[str, Companions]()
    for key, texts_found in reading.texts.items() if not piece.stretch else ():
        reference, extra = merge_texts(texts_found)
        texts_by_id[escape_surrogates(key)] = texts.admit(*_companions(reference, extra).values())
    return texts_by_id


def _companions(reference: str | None, extra: Mapping[str, Any] | None) -> dict[str, str | None]:
    """The columns `reference` and `extra` of a recording's first row."""
    return {
        "reference": None if reference is None else escape_surrogates(reference),
        "extra": to_json(extra) if extra else None,
    }


def max_seconds(piece: Piece) -> float:
    """The seconds of sound that a piece may hold."""
    return max(2 * piece.cut.seconds, MIN_SOUND_LIMIT_S)


Decoder = Callable[[Recording], list[dict[str, Any]]]  # a recording to its rows


@contextmanager
def watched_decoder(piece: Piece, settings: ReadSettings) -> Iterator[Decoder]:
    """Decodes in this process, in any number of threads; exits the process if no recording is finished for too long."""
    lock, busy, samples = threading.Lock(), 0, 0

    def watch(change: int) -> None:
        nonlocal busy
        with lock:
            busy += change
            if busy:
                faulthandler.dump_traceback_later(settings.patience_s, exit=True)  # its thread needs no GIL
            else:
                faulthandler.cancel_dump_traceback_later()

    def admit(added: int) -> bool:
        nonlocal samples
        with lock:
            samples += added
        return samples <= max_seconds(piece) * SAMPLE_RATE  # by all threads together

    def decode_one(recording: Recording) -> list[dict[str, Any]]:
        if not _is_decoded(recording):  # watching starts a thread each time: for a million tiny members, minutes
            return to_rows(recording, piece, settings, admit)
        watch(+1)
        try:
            return to_rows(recording, piece, settings, admit)
        finally:
            watch(-1)

    yield decode_one


def _is_decoded(recording: Recording) -> bool:
    """Whether a recording will be passed to a decoder, and not refused by its first bytes."""
    content = recording.content
    if not isinstance(content, bytes):
        return isinstance(content, StoredFile)
    return bool(id3_length(content) or container_of(content[:128]))


@contextmanager
def isolated_decoder(piece: Piece, settings: ReadSettings) -> Iterator[Decoder]:
    """Decodes in a child process; a recording that crashes it becomes a row with that error."""
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
    recording: Recording, piece: Piece, settings: ReadSettings, admit: Callable[[int], bool] = lambda samples: True
) -> list[dict[str, Any]]:
    """Decodes a recording to rows of SPEECH_SCHEMA, one per segment; `reference` and `extra` are in the first.

    Segments are counted from the first that is the piece's own. A recording without one has a single row without sound.
    `admit` is that of DecodeRequest.
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
    stretch = settings.segmentation.stretch(piece.cut.seconds, piece.stretch, piece.stretches)
    begin, end = settings.segmentation.needed(stretch)
    request = DecodeRequest(
        recording.offset_s or 0.0,
        recording.duration_s,
        begin,
        end,
        settings.channel,
        max_seconds=max_seconds(piece),
        max_hours=settings.max_hours,
        admit=admit,
    )
    try:
        if isinstance(recording.content, RecordingError):
            raise recording.content
        sound = decode(recording.content, request)
        if isinstance(recording.content, StoredFile):
            check_version(recording.content, recording.etag)
        return _segment_rows(row, sound, stretch, settings)
    except RecordingError as problem:
        kind, detail = problem.kind, problem.detail
    except (SoundLimitExceeded, OSError, MemoryError, ImportError):
        raise  # errors of the piece, the storage or the machine concern all recordings
    except Exception as problem:  # noqa: BLE001 - only this recording is lost
        # It was not foreseen, or it would have a kind: so it is reported like a crash, and `errors.retry` retries it
        # once the code has changed.
        kind, detail = ErrorKind.CRASHED, f"{type(problem).__name__}: {problem!s:.200}"
    return [row | {"error_kind": str(kind), "error_detail": escape_surrogates(detail)}]


def _segment_rows(row: dict[str, Any], sound: Sound, stretch: Stretch, settings: ReadSettings) -> list[dict[str, Any]]:
    """The rows of decoded sound: `row` plus the columns of each segment."""
    begin, _ = settings.segmentation.needed(stretch)
    row |= {
        "duration_s": begin / SAMPLE_RATE + sound.duration_s if len(sound.pcm) else None,  # as far as known
        "source_sample_rate": sound.sample_rate,
        "source_channels": sound.channels,
        "source_codec": sound.codec,
    }
    segments = segments_of(sound.pcm, settings.segmentation, stretch)
    spoken = [not settings.vad or has_speech(sound.pcm[each.start - begin : each.end - begin]) for each in segments]
    if settings.drops_silence:  # except the first segment, which has the columns reference and extra
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
            "pcm": sound.pcm[segment.input_start - begin : segment.input_end - begin].tobytes() if is_spoken else b"",
            "before": segment.start - segment.input_start,
            "after": segment.input_end - segment.end,
            "own": segment.own,
        }
        | ({"reference": None, "extra": None} if index != first_own or stretch.start else {})
        for index, (segment, is_spoken) in enumerate(zip(segments, spoken, strict=True))
    ]
