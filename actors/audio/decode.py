"""Decodes stored audio, whole or a stretch of it, to 16 kHz mono int16 PCM.

The container is recognised by its first bytes and opened with that format by name: if it had to guess, FFmpeg would
open other files that a hostile recording names. Decoding goes block by block and stops at the limit, so a stream that
expands without end costs no more memory than one of the maximum length.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np

from actors.audio.codecs import Opening, Source, Stream, Undecodable
from actors.audio.containers import container_of
from actors.audio.resample import MARGIN, MINUTE, resample
from actors.audio.streams import open_stream
from actors.schema import SAMPLE_RATE, ErrorKind, Floats, RecordingError, Samples, WarningKind
from actors.storage.stored_file import StoredFile

MIN_SECONDS = 0.1  # one output frame is 80 ms; less holds no speech, and NeMo fails on a single feature frame
MAX_AMPLITUDE = 1e6  # times full scale; no real sound is as loud, and sums of larger numbers overflow


class SoundLimitExceeded(Exception):
    """There is more sound than the piece may hold; nothing is wrong with the recording.

    `recording_s` is the length of the recording if it alone exceeds the limit, None if several together do.
    """

    def __init__(self, recording_s: float | None) -> None:
        super().__init__(recording_s)
        self.recording_s = recording_s


@dataclass(frozen=True)
class Sound:
    """Decoded sound: mono int16 samples at SAMPLE_RATE, the format that it was stored in, and what may be wrong."""

    pcm: Samples
    sample_rate: int
    channels: int
    codec: str
    warnings: tuple[WarningKind, ...] = ()

    @property
    def duration_s(self) -> float:
        return len(self.pcm) / SAMPLE_RATE


@dataclass(frozen=True)
class DecodeRequest:
    """What to decode of a stored file.

    The recording starts at `offset_s` and lasts at most `duration_s`; its samples at 16 kHz from `begin` to `end` are
    decoded. Channels are averaged unless `channel` selects one. More than `max_seconds` of samples are refused, and so
    is a recording longer than `max_hours`. `admit` is called with the number of new samples while decoding goes on, and
    returns whether there is room for more.
    """

    offset_s: float = 0.0
    duration_s: float | None = None
    begin: int = 0
    end: int | None = None
    channel: int | None = None
    max_seconds: float = float("inf")
    max_hours: float = float("inf")
    admit: Callable[[int], bool] = lambda samples: True

    @property
    def first_minute(self) -> int:
        """The minute that contains `begin`, at which decoding starts."""
        return self.begin // (MINUTE * SAMPLE_RATE)

    @property
    def skip_s(self) -> int:
        """Seconds at the start of the recording that need not be decoded."""
        return max(self.first_minute * MINUTE - MARGIN, 0)

    def first_frame(self, rate: int) -> int:
        """The frame of the stored file at which decoding starts."""
        return round(self.offset_s * rate) + self.skip_s * rate


def decode(content: bytes | StoredFile, request: DecodeRequest = DecodeRequest()) -> Sound:
    """Decodes a recording to PCM.

    Sound that cannot be decoded is silence if it is known how much is missing, else it is left out; warnings say so.
    Samples that are not numbers become silence. A request beyond the end returns no samples; only at the start of the
    recording is that an error. Raises RecordingError (empty, not_audio, unreadable, too_short, too_long),
    SoundLimitExceeded, and OSError if the storage fails.
    """
    source = Source(content)
    if not source.size:
        raise RecordingError(ErrorKind.EMPTY, "the file has no bytes")
    container = container_of(source.head)
    if container is None:
        reason = f"the first bytes ({source.head[:8].hex(' ')}) are of no audio format"
        if not source.head:
            reason = f"its ID3 tag states {source.start:,} bytes, and the file has {source.size:,}"
        raise RecordingError(ErrorKind.NOT_AUDIO, reason)
    warnings = set[WarningKind]()
    try:
        stream = open_stream(source, container, Opening(request.first_frame, warnings=warnings))
        pcm = _to_pcm(stream, request)
    except Undecodable as problem:
        source.check()
        raise RecordingError(ErrorKind.UNREADABLE, f"{container}: {problem}") from None
    source.check()
    if not request.begin and len(pcm) < MIN_SECONDS * SAMPLE_RATE:
        reason = f"{len(pcm) / SAMPLE_RATE:.3f} s of sound, less than {MIN_SECONDS} s"
        raise RecordingError(ErrorKind.TOO_SHORT, reason)
    return Sound(pcm, stream.sample_rate, stream.channels, stream.codec, tuple(sorted(warnings)))


def _to_pcm(stream: Stream, request: DecodeRequest) -> Samples:
    """Converts a stream to one int16 array at SAMPLE_RATE."""
    rate = stream.sample_rate
    if request.channel is not None and request.channel >= stream.channels:
        detail = f"channel {request.channel} was requested, but the file has channels 0 to {stream.channels - 1}"
        raise RecordingError(ErrorKind.UNREADABLE, detail)
    skipped_samples = request.first_minute * MINUTE * SAMPLE_RATE
    end = None if request.end is None else request.end - skipped_samples
    blocks = _blocks(stream, request)
    parts, samples = list[Samples](), 0
    for part in resample((_mono(block, request.channel) for block in blocks), rate, request.first_minute):
        parts.append(part)
        samples += len(part)
        if end is not None and samples >= end:
            break
        if samples > request.max_seconds * SAMPLE_RATE or not request.admit(len(part)):
            parts.clear()  # count the rest, so that a recording over max_hours is refused now, not recut ever finer
            samples += sum(map(len, blocks)) * SAMPLE_RATE // rate
            is_too_long = samples > request.max_seconds * SAMPLE_RATE
            raise SoundLimitExceeded((skipped_samples + samples) / SAMPLE_RATE if is_too_long else None)
    if not samples and not request.begin:
        raise Undecodable("no sound could be decoded")
    return np.concatenate([*parts, np.empty(0, np.int16)])[request.begin - skipped_samples : end]


def _blocks(stream: Stream, request: DecodeRequest) -> Iterator[Floats]:
    """The blocks of a stream until the requested end is reached.

    Raises RecordingError (too_long) as soon as there is more sound than a recording may hold; if the file's size tells,
    before anything is decoded.
    """
    rate = stream.sample_rate
    max_frames = request.max_hours * 3_600 * rate
    requested = float("inf") if request.duration_s is None else round(request.duration_s * rate)
    if stream.frames is not None and min(stream.frames - round(request.offset_s * rate), requested) > max_frames:
        raise _too_long(request)
    position = request.skip_s * rate  # in frames from the recording's start
    for block in stream.blocks:
        if position >= requested:
            return
        block = block[: int(min(requested - position, len(block)))]
        position += len(block)
        if position > max_frames:
            raise _too_long(request)
        yield block
        if position >= requested:
            return


def _too_long(request: DecodeRequest) -> RecordingError:
    return RecordingError(ErrorKind.TOO_LONG, f"more sound than audio.max_hours ({request.max_hours:g}) allows")


def _mono(block: Floats, channel: int | None) -> Floats:
    """The mean of the channels or one of them, with NaN, infinite and impossibly loud samples replaced."""
    with np.errstate(over="ignore", invalid="ignore"):
        mono = block[:, channel] if channel is not None else block.mean(axis=1, dtype=np.float32)
        if not np.abs(mono).max(initial=0) < MAX_AMPLITUDE:
            mono = np.nan_to_num(mono, nan=0.0, posinf=1.0, neginf=-1.0).clip(-MAX_AMPLITUDE, MAX_AMPLITUDE)
    return mono
