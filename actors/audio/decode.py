"""Stored audio to 16 kHz mono int16 PCM, whole or a stretch of it.

The container is recognised from its first bytes and opened with that format by name: left to guess, FFmpeg would open
other files that a hostile recording names. libsndfile decodes WAV, FLAC, AIFF, AU and CAF, FFmpeg the rest and whatever
libsndfile refuses. Of MP3 and Ogg libsndfile believes a header or a guess about the length, and what was appended, as
of a stream that was recorded, would be lost without a word. Decoding goes block by block and stops at the limit, so a
stream that expands without end costs no more memory than one of the longest length allowed.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np

from actors.audio.codecs import Broken, Source, Stream, Undecodable
from actors.audio.containers import container_of
from actors.audio.ffmpeg import open_ffmpeg
from actors.audio.resample import MARGIN, MINUTE, resample
from actors.audio.sndfile import open_sndfile
from actors.schema import SAMPLE_RATE, ErrorKind, RecordingError, Samples
from actors.storage.files import StoredFile

MIN_SECONDS = 0.1  # one output frame is 80 ms; less holds no speech, and NeMo fails on a single feature frame
MAX_AMPLITUDE = 1e6  # of full scale; no sound is as loud, and sums of larger numbers overflow

_FFMPEG_FIRST = frozenset({"mov", "matroska", "amr", "asf", "aac", "mp3", "ogg"})


class MoreSound(Exception):
    """There is more sound than was allowed for; nothing is wrong with it. `is_alone` where a recording has too much for
    itself, and not only together with others."""

    def __init__(self, is_alone: bool) -> None:
        super().__init__(is_alone)
        self.is_alone = is_alone


@dataclass(frozen=True)
class Sound:
    """Decoded sound: mono int16 samples at SAMPLE_RATE, and what it was stored as."""

    pcm: Samples
    sample_rate: int
    channels: int
    codec: str

    @property
    def duration_s(self) -> float:
        return len(self.pcm) / SAMPLE_RATE


@dataclass(frozen=True)
class Wanted:
    """What of a recording: from `offset_s` on, at most `duration_s` of it, and of that the samples at 16 kHz from
    `begin` to `end`. Channels are averaged, or it is one of them. More than `max_seconds` of it at once are refused,
    and all of it where it is longer than `max_hours`. `takes` is told of samples as they come, and says whether
    there is room for more."""

    offset_s: float = 0.0
    duration_s: float | None = None
    begin: int = 0
    end: int | None = None
    channel: int | None = None
    max_seconds: float = float("inf")
    max_hours: float = float("inf")
    takes: Callable[[int], bool] = lambda samples: True

    @property
    def first_minute(self) -> int:
        """That of `begin`, with which decoding begins."""
        return self.begin // (MINUTE * SAMPLE_RATE)

    @property
    def lead_s(self) -> int:
        """Seconds of the recording that need not be decoded."""
        return max(self.first_minute * MINUTE - MARGIN, 0)

    def first_frame(self, rate: int) -> int:
        """Where in the stored file decoding begins."""
        return round(self.offset_s * rate) + self.lead_s * rate


def decode(content: bytes | StoredFile, wanted: Wanted = Wanted()) -> Sound:
    """A recording as PCM.

    Where the stream ends early or breaks midway, the sound before that is returned. Samples that are not numbers
    become silence. Beyond the end there is none, and that is an error only of the beginning. Raises RecordingError:
    empty, not_audio, unreadable, too_short, too_long; MoreSound; and OSError where the storage fails.
    """
    source = Source(content)
    if not source.size:
        raise RecordingError(ErrorKind.EMPTY, "the file has no bytes")
    container = container_of(source.head)
    if container is None:
        reason = f"the first bytes ({source.head[:8].hex(' ')}) are of no audio format"
        if not source.head:
            reason = f"its ID3 tag states {source.tag:,} bytes, and the file has {source.size:,}"
        raise RecordingError(ErrorKind.NOT_AUDIO, reason)
    reasons = []
    for open_stream in (open_ffmpeg, open_sndfile) if container in _FFMPEG_FIRST else (open_sndfile, open_ffmpeg):
        try:
            stream = open_stream(source, container, wanted.first_frame)
            pcm = _to_pcm(stream, wanted)
        except Undecodable as problem:
            source.check()
            reasons.append(str(problem))
            continue
        source.check()
        if not wanted.begin and len(pcm) < MIN_SECONDS * SAMPLE_RATE:
            reason = f"{len(pcm) / SAMPLE_RATE:.3f} s of sound, less than {MIN_SECONDS} s"
            raise RecordingError(ErrorKind.TOO_SHORT, reason)
        return Sound(pcm, stream.sample_rate, stream.channels, stream.codec)
    raise RecordingError(ErrorKind.UNREADABLE, f"{container}: {'; '.join(reasons)}")


def _to_pcm(stream: Stream, wanted: Wanted) -> Samples:
    """A stream as one int16 array at SAMPLE_RATE."""
    rate = stream.sample_rate
    if wanted.channel is not None and wanted.channel >= stream.channels:
        detail = f"channel {wanted.channel} was asked for, and it has channels 0 to {stream.channels - 1}"
        raise RecordingError(ErrorKind.UNREADABLE, detail)
    skipped = wanted.first_minute * MINUTE * SAMPLE_RATE
    last = None if wanted.end is None else wanted.end - skipped
    blocks = _blocks(stream, wanted)
    parts, samples = list[Samples](), 0
    for part in resample((_mono(block, wanted.channel) for block in blocks), rate, wanted.first_minute):
        parts.append(part)
        samples += len(part)
        if last is not None and samples >= last:
            break
        if samples > wanted.max_seconds * SAMPLE_RATE or not wanted.takes(len(part)):
            parts.clear()  # the rest is counted: what is too long in any case is told here, and not cut ever finer
            samples += sum(map(len, blocks)) * SAMPLE_RATE // rate
            raise MoreSound(samples > wanted.max_seconds * SAMPLE_RATE)
    if not samples and not wanted.begin:
        raise Undecodable("no sound could be decoded")
    return np.concatenate([*parts, np.empty(0, np.int16)])[wanted.begin - skipped : last]


def _blocks(stream: Stream, wanted: Wanted) -> Iterator[Samples]:
    """The blocks of a stream up to where it breaks or no more is wanted. Raises RecordingError (too_long) as soon as
    there is more sound than a recording may hold, before any is decoded where the file's size says so."""
    rate = stream.sample_rate
    max_bytes = wanted.max_hours * 3_600 * rate
    asked = float("inf") if wanted.duration_s is None else round(wanted.duration_s * rate)
    if stream.frames is not None and min(stream.frames - round(wanted.offset_s * rate), asked) > max_bytes:
        raise _too_long(wanted)
    at = wanted.lead_s * rate  # frames of the recording, from its own beginning
    came = False
    try:
        for block in stream.blocks:
            if at >= asked:
                return
            block = block[: int(min(asked - at, len(block)))]
            at += len(block)
            if at > max_bytes:
                raise _too_long(wanted)
            came = True
            yield block
            if at >= asked:
                return
    except Broken:
        if not came and not wanted.begin:
            raise


def _too_long(wanted: Wanted) -> RecordingError:
    return RecordingError(ErrorKind.TOO_LONG, f"more sound than audio.max_hours ({wanted.max_hours:g}) allows")


def _mono(block: Samples, channel: int | None) -> Samples:
    """Channels mixed or one of them, without what is no number and without numbers that no sound has."""
    with np.errstate(over="ignore", invalid="ignore"):
        mono = block[:, channel] if channel is not None else block.mean(axis=1, dtype=np.float32)
        if not np.abs(mono).max(initial=0) < MAX_AMPLITUDE:
            mono = np.nan_to_num(mono, nan=0.0, posinf=1.0, neginf=-1.0).clip(-MAX_AMPLITUDE, MAX_AMPLITUDE)
    return mono
