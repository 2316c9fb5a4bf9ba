"""Turns a recording into rows: decodes it, cuts it into segments, and describes what cannot be decoded."""

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from actors.audio.decode import DecodeRequest, Sound, SoundLimitExceeded, decode_each
from actors.audio.pcm import narrowed
from actors.audio.segments import Stretch, segments_of
from actors.audio.voice import has_speech
from actors.foreign.escape import escape_surrogates
from actors.pieces import Piece
from actors.reading.faults import error_of
from actors.reading.measure import max_seconds
from actors.schema import SAMPLE_RATE, RecordingError, Waveform
from actors.sources.objects import ReadSettings, check_version
from actors.sources.recordings import Recording, companions
from actors.storage.place import Place
from actors.storage.stored_file import StoredFile

MAX_FILES = 32  # of a piece that are asked for their places
Row = dict[str, Any]  # of SPEECH_SCHEMA
Decoder = Callable[[Recording], list[Row]]  # a recording to its rows


def to_rows(
    recording: Recording, piece: Piece, settings: ReadSettings, admit: Callable[[int], bool] = lambda samples: True
) -> list[Row]:
    """Decodes a recording to rows of SPEECH_SCHEMA, one per segment; `reference` and `extra` are in the first. If the
    settings ask for each channel, each is a recording with such rows, one after the other.

    Segments are counted from the first that is the piece's own. A recording without one has a single row without sound.
    `admit` is that of DecodeRequest. Whatever goes wrong is the recording's error, but for what `error_of` raises.
    """
    row: Row = {
        "recording_id": escape_surrogates(recording.recording_id),
        "uri": escape_surrogates(recording.uri),
        "member": None if recording.member is None else escape_surrogates(recording.member),
        "offset_s": recording.offset_s,
        "stretch_s": recording.duration_s,
        "channel": recording.channel,
        "etag": recording.etag,
        "segment_index": 0,
        "own": True,
    } | companions(recording.reference, recording.extra)
    if recording.content is None:
        return [row]
    stretch = settings.segmentation.stretch(piece.cut.seconds, piece.stretch, piece.stretches)
    begin, end = settings.segmentation.needed(stretch)
    request = DecodeRequest(
        recording.offset_s or 0.0,
        recording.duration_s,
        begin,
        end,
        settings.channel if recording.channel is None else recording.channel,
        takes_mono=recording.channel is None,
        track=settings.track,
        max_seconds=max_seconds(piece, settings.segmentation),
        max_hours=settings.max_hours,
        admit=admit,
    )
    try:
        if isinstance(recording.content, RecordingError):
            raise recording.content
        sounds = decode_each(recording.content, request)
        if isinstance(recording.content, StoredFile):
            check_version(recording.content, recording.etag)
        return [each for sound in sounds for each in _segment_rows(row, sound, stretch, settings)]
    except SoundLimitExceeded:
        raise  # there is more than the piece may hold, and nothing is wrong with the recording
    except Exception as problem:  # noqa: BLE001 - only this recording is lost
        stored = recording.content
        place = stored.place if isinstance(stored, StoredFile) else None
        error = error_of(problem, place, witnesses(piece, settings))
    return [row | {"error_kind": str(error.kind), "error_detail": escape_surrogates(error.detail)}]


def to_sent_rows(recording: Recording, piece: Piece, settings: ReadSettings) -> list[Row]:
    """`to_rows` for another process, which cannot be sent views."""
    return [row | ({"pcm": bytes(row["pcm"])} if "pcm" in row else {}) for row in to_rows(recording, piece, settings)]


def witnesses(piece: Piece, settings: ReadSettings) -> Iterator[Place]:
    """Some files of a piece, from all over it, which tell whether storage lets us read any of them."""
    files = [each for each in piece.objects if not each.refusal]
    for each in files[:: max(len(files) // MAX_FILES, 1)]:
        yield Place.at(each.uri, settings.storage_options)


def _segment_rows(row: Row, sound: Sound, stretch: Stretch, settings: ReadSettings) -> list[Row]:
    """The rows of decoded sound: `row` plus the columns of each segment."""
    begin, _ = settings.segmentation.needed(stretch)
    row = row | {
        "channel": row["channel"] if sound.channel is None else sound.channel,
        "duration_s": (begin + len(sound.pcm)) / SAMPLE_RATE if len(sound.pcm) else None,  # as far as known
        "source_sample_rate": sound.sample_rate,
        "source_channels": sound.channels,
        "source_codec": sound.codec,
        "warning": [str(each) for each in sound.warnings] or None,
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
            "before": segment.start - segment.input_start,
            "after": segment.input_end - segment.end,
            "own": segment.own,
        }
        | _sound_of(sound.pcm[segment.input_start - begin : segment.input_end - begin] if is_spoken else sound.pcm[:0])
        | _of_first(index == first_own, not stretch.start)
        for index, (segment, is_spoken) in enumerate(zip(segments, spoken, strict=True))
    ]


def _sound_of(pcm: Waveform) -> Row:
    """The columns of a segment's sound, its bytes as a view: a table copies them anyway. Its form depends on its own
    samples only, not on where decoding began."""
    pcm = narrowed(pcm)
    return {"pcm": np.ascontiguousarray(pcm).view(np.uint8).data, "is_float": pcm.dtype == np.float32}


def _of_first(is_first_own: bool, is_first_stretch: bool) -> Row:
    """Removes from a row what only the first row of a recording has."""
    absent = () if is_first_own and is_first_stretch else ("reference", "extra")
    return dict.fromkeys((*absent, *(() if is_first_own else ("warning",))))
