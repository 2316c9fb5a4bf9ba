"""Decodes stored audio, whole or a stretch of it, to mono sound at 16 kHz.

The container is recognised by its bytes (`containers.py`) and opened with that format by name: if it had to guess,
FFmpeg would open other files that a hostile recording names. Decoding goes block by block and stops at the limit, so a
stream that expands without end costs no more memory than one of the maximum length.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import NamedTuple

from actors.audio.codecs import Opening, Source, Stream, Undecodable
from actors.audio.mix import MARGIN, MINUTE, Channel, Mixer
from actors.audio.pcm import Joined
from actors.audio.resample import passed_on, resample
from actors.audio.stated import MAY_BE_ENCRYPTED, is_encrypted, stated_codec
from actors.audio.streams import open_stream
from actors.audio.tracks import Track
from actors.schema import SAMPLE_RATE, ErrorKind, RecordingError, WarningKind, Waveform
from actors.storage.stored_file import StoredFile

MIN_SECONDS = 0.1  # one output frame is 80 ms; less holds no speech, and NeMo fails on a single feature frame


class SoundLimitExceeded(Exception):
    """There is more sound than the piece may hold; nothing is wrong with the recording.

    `recording_s` is the length of the recording if it alone exceeds the limit, None if several together do. It has as
    many sounds of that length as `channels`.
    """

    def __init__(self, recording_s: float | None, channels: int = 1) -> None:
        super().__init__(recording_s, channels)
        self.recording_s, self.channels = recording_s, channels


@dataclass(frozen=True)
class Sound:
    """Decoded sound: its waveform, the format that it was stored in, what may be wrong, and the channel that it is of,
    where each is a sound of its own."""

    pcm: Waveform
    sample_rate: int
    channels: int
    codec: str
    warnings: tuple[WarningKind, ...] = ()
    channel: int | None = None

    @property
    def duration_s(self) -> float:
        return len(self.pcm) / SAMPLE_RATE


class DecodeRequest(NamedTuple):
    """What to decode of a stored file.

    The recording starts at `offset_s` and lasts at most `duration_s`; its samples at 16 kHz from `begin` to `end` are
    decoded, of one `track` of a container that has several. Channels are averaged unless `channel` selects one or each;
    `takes_mono` is that of Mixer. More than `max_seconds` of samples, of all sounds together, are refused, and so is a
    recording longer than `max_hours`. `admit` is called with the number of new samples while decoding goes on, and
    returns whether there is room for more.
    """

    offset_s: float = 0.0
    duration_s: float | None = None
    begin: int = 0
    end: int | None = None
    channel: Channel = None
    takes_mono: bool = False
    track: Track = None
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


WHOLE = DecodeRequest()


def decode(content: bytes | StoredFile, request: DecodeRequest = WHOLE) -> Sound:
    """Decodes a recording to a waveform: the sound, or the first of those, of `decode_each`."""
    return decode_each(content, request)[0]


def decode_each(content: bytes | StoredFile, request: DecodeRequest = WHOLE) -> list[Sound]:
    """Decodes a recording to a waveform, or to one for each of its channels if the request asks for each.

    Sound that cannot be decoded is silence if it is known how much is missing, else it is left out; warnings say so.
    Samples that are not numbers become silence. A request beyond the end returns no samples; only at the start of the
    recording is that an error. Raises RecordingError (empty, not_audio, unreadable, too_short, too_long),
    SoundLimitExceeded, and OSError if the storage fails.
    """
    source = Source(content)
    if not source.size:
        raise RecordingError(ErrorKind.EMPTY, "the file has no bytes")
    container = source.container
    if container is None:
        head = source.header(8)
        reason = f"the first bytes ({head.hex(' ')}) are of no audio format"
        if not head:
            reason = f"its ID3 tag states {source.start:,} bytes, and the file has {source.size:,}"
        raise RecordingError(ErrorKind.NOT_AUDIO, reason)
    if container in MAY_BE_ENCRYPTED and is_encrypted(source.header()):
        raise RecordingError(ErrorKind.UNREADABLE, f"{container}: the sound is encrypted")
    warnings = set[WarningKind]()
    opening = Opening(request.first_frame, request.track, warnings=warnings)
    try:
        stream = open_stream(source, container, opening)
        sounds = _to_pcm(stream, request, warnings)
    except Undecodable as problem:
        source.check()
        codec = stated_codec(container, source.header())
        detail = f"{container}{f' ({codec})' if codec else ''}: {problem}"
        raise RecordingError(ErrorKind.UNREADABLE, detail) from None
    source.check()
    if not request.begin and len(sounds[0][1]) < MIN_SECONDS * SAMPLE_RATE:
        reason = f"{len(sounds[0][1]) / SAMPLE_RATE:.3f} s of sound, less than {MIN_SECONDS} s"
        raise RecordingError(ErrorKind.TOO_SHORT, reason)
    stored = (stream.sample_rate, stream.channels, stream.codec)
    return [Sound(pcm, *stored, tuple(sorted(warnings)), number) for number, pcm in sounds]


def _to_pcm(stream: Stream, request: DecodeRequest, warnings: set[WarningKind]) -> list[tuple[int | None, Waveform]]:
    """Converts a stream to waveforms, with the channel of each as in `Sound`. Adds to `warnings`."""
    rate, mixer = stream.sample_rate, Mixer(stream.channels, stream.sample_rate, request.channel, request.takes_mono)
    count = len(mixer.numbers)
    skipped_samples = request.first_minute * MINUTE * SAMPLE_RATE
    end = None if request.end is None else request.end - skipped_samples
    blocks = _blocks(stream, request)
    joined, samples = [Joined() for _ in mixer.numbers], 0
    if rate == SAMPLE_RATE and mixer.takes_one:
        parts = passed_on(blocks, request.first_minute, mixer)
    else:
        parts = resample(blocks, rate, request.first_minute, mixer)
    for of_channels in parts:
        for channel, part in zip(joined, of_channels, strict=True):
            channel.append(part)
        samples += len(of_channels[0])
        if end is not None and samples >= end:
            break
        if samples * count > request.max_seconds * SAMPLE_RATE or not request.admit(len(of_channels[0]) * count):
            joined.clear()  # count the rest, so that a recording over max_hours is refused now, not recut ever finer
            samples += sum(map(len, blocks)) * SAMPLE_RATE // rate
            is_too_long = samples * count > request.max_seconds * SAMPLE_RATE
            raise SoundLimitExceeded((skipped_samples + samples) / SAMPLE_RATE if is_too_long else None, count)
    if not samples and not request.begin:
        raise Undecodable("no sound could be decoded")
    warnings |= mixer.warnings
    wanted = slice(request.begin - skipped_samples, end)
    return [(number, each.sound[wanted]) for number, each in zip(mixer.numbers, joined, strict=True)]


def _blocks(stream: Stream, request: DecodeRequest) -> Iterator[Waveform]:
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
