"""Decodes stored audio, whole or a stretch of it, to 16 kHz mono int16 PCM.

The container is recognised by its bytes (`containers.py`) and opened with that format by name: if it had to guess,
FFmpeg would open other files that a hostile recording names. libsndfile decodes WAV, FLAC, AIFF, AU and CAF; FFmpeg
decodes the rest and whatever libsndfile refuses. For MP3 and Ogg libsndfile trusts a header or an estimate of the
length, so that audio appended to a file, as in a recorded stream, would be lost silently. Decoding goes block by block
and stops at the limit, so a stream that expands without end costs no more memory than one of the maximum length.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np

from actors.audio.codecs import BrokenStream, FirstFrame, Source, Stream, Undecodable
from actors.audio.ffmpeg import open_ffmpeg
from actors.audio.resample import MARGIN, MINUTE, resample
from actors.audio.sndfile import open_sndfile
from actors.audio.stated import MAY_BE_ENCRYPTED, is_encrypted, stated_codec
from actors.formats import SNDFILE_FIRST
from actors.schema import SAMPLE_RATE, ErrorKind, Floats, RecordingError, Samples, WarningKind
from actors.storage.stored_file import StoredFile

MIN_SECONDS = 0.1  # one output frame is 80 ms; less holds no speech, and NeMo fails on a single feature frame
MAX_AMPLITUDE = 1e6  # times full scale; no real sound is as loud, and sums of larger numbers overflow

Decoder = Callable[[Source, str, FirstFrame], Stream]


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

    If the stream breaks midway, the sound before that is returned, with the warning `ended_early`. Samples that are not
    numbers become silence. A request beyond the end returns no samples; only at the start of the recording is that an
    error. Raises RecordingError (empty, not_audio, unreadable, too_short, too_long), SoundLimitExceeded, and OSError if
    the storage fails.
    """
    source = Source(content)
    if not source.size:
        raise RecordingError(ErrorKind.EMPTY, "the file has no bytes")
    container = source.container
    if container is None:
        head = source.header(8)
        reason = f"the first bytes ({head.hex(' ')}) are of no audio format"
        if not head:
            reason = f"its ID3 tag states {source.tag_bytes:,} bytes, and the file has {source.size:,}"
        raise RecordingError(ErrorKind.NOT_AUDIO, reason)
    if container in MAY_BE_ENCRYPTED and is_encrypted(source.header()):
        raise RecordingError(ErrorKind.UNREADABLE, f"{container}: the sound is encrypted")
    reasons = []
    for open_stream in decoders_of(container):
        warnings = list[WarningKind]()
        try:
            stream = open_stream(source, container, request.first_frame)
            pcm = _to_pcm(stream, request, warnings)
        except Undecodable as problem:
            source.check()
            reasons.append(str(problem))
            continue
        source.check()
        if not request.begin and len(pcm) < MIN_SECONDS * SAMPLE_RATE:
            reason = f"{len(pcm) / SAMPLE_RATE:.3f} s of sound, less than {MIN_SECONDS} s"
            raise RecordingError(ErrorKind.TOO_SHORT, reason)
        return Sound(pcm, stream.sample_rate, stream.channels, stream.codec, tuple(warnings))
    codec = stated_codec(container, source.header())
    raise RecordingError(ErrorKind.UNREADABLE, f"{container}{f' ({codec})' if codec else ''}: {'; '.join(reasons)}")


def decoders_of(container: str) -> tuple[Decoder, Decoder]:
    """The functions that open a container, in the order in which they are tried."""
    return (open_sndfile, open_ffmpeg) if container in SNDFILE_FIRST else (open_ffmpeg, open_sndfile)


def _to_pcm(stream: Stream, request: DecodeRequest, warnings: list[WarningKind]) -> Samples:
    """Converts a stream to one int16 array at SAMPLE_RATE. Adds to `warnings`."""
    rate = stream.sample_rate
    if request.channel is not None and request.channel >= stream.channels:
        detail = f"channel {request.channel} was requested, but the file has channels 0 to {stream.channels - 1}"
        raise RecordingError(ErrorKind.UNREADABLE, detail)
    skipped_samples = request.first_minute * MINUTE * SAMPLE_RATE
    end = None if request.end is None else request.end - skipped_samples
    blocks = _blocks(stream, request, warnings)
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


def _blocks(stream: Stream, request: DecodeRequest, warnings: list[WarningKind]) -> Iterator[Floats]:
    """The blocks of a stream until it breaks, which adds to `warnings`, or the requested end is reached.

    Raises RecordingError (too_long) as soon as there is more sound than a recording may hold; if the file's size tells,
    before anything is decoded.
    """
    rate = stream.sample_rate
    max_frames = request.max_hours * 3_600 * rate
    requested = float("inf") if request.duration_s is None else round(request.duration_s * rate)
    if stream.frames is not None and min(stream.frames - round(request.offset_s * rate), requested) > max_frames:
        raise _too_long(request)
    position = request.skip_s * rate  # in frames from the recording's start
    any_decoded = False
    try:
        for block in stream.blocks:
            if position >= requested:
                return
            block = block[: int(min(requested - position, len(block)))]
            position += len(block)
            if position > max_frames:
                raise _too_long(request)
            any_decoded = True
            yield block
            if position >= requested:
                return
    except BrokenStream:
        if not any_decoded and not request.begin:
            raise
        warnings.append(WarningKind.ENDED_EARLY)


def _too_long(request: DecodeRequest) -> RecordingError:
    return RecordingError(ErrorKind.TOO_LONG, f"more sound than audio.max_hours ({request.max_hours:g}) allows")


def _mono(block: Floats, channel: int | None) -> Floats:
    """The mean of the channels or one of them, with NaN, infinite and impossibly loud samples replaced."""
    with np.errstate(over="ignore", invalid="ignore"):
        mono = block[:, channel] if channel is not None else block.mean(axis=1, dtype=np.float32)
        if not np.abs(mono).max(initial=0) < MAX_AMPLITUDE:
            mono = np.nan_to_num(mono, nan=0.0, posinf=1.0, neginf=-1.0).clip(-MAX_AMPLITUDE, MAX_AMPLITUDE)
    return mono
