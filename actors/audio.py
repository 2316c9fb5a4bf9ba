"""Stored audio to 16 kHz mono int16 PCM, whole or a stretch of it.

The container is recognised from its first bytes and opened with that format by name: left to guess, FFmpeg would open
other files that a hostile recording names. libsndfile decodes WAV, FLAC, AIFF, AU and CAF, FFmpeg the rest and whatever
libsndfile refuses. Of MP3 and Ogg libsndfile believes a header or a guess about the length, and what was appended, as
of a stream that was recorded, would be lost without a word. Decoding goes block by block and stops at the limit, so a
stream that expands without end costs no more memory than one of the longest length allowed.
"""

import contextlib
import io
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import chain
from typing import Any, BinaryIO

import numpy as np
import soundfile

from actors import storage
from actors.containers import container_of, id3_length
from actors.resampling import MARGIN, MINUTE, resample
from actors.schema import SAMPLE_RATE, ErrorKind, RecordingError, Samples
from actors.storage import Stored

MIN_SECONDS = 0.1  # one output frame is 80 ms; less holds no speech, and NeMo fails on a single feature frame
BLOCK_SAMPLES = 1 << 20  # decoded at once, all channels together: 4 MB of float32
RATES = range(1_000, 768_001)  # Hz; what lies outside is a broken header
MOST_LEFT = 1 << 16  # bytes behind the end that a FLAC file's header states; tags are less


class MoreSound(Exception):
    """A recording is longer than was allowed for; nothing is wrong with it."""


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
    `begin` to `end`. Channels are averaged, or it is one of them. More than `most_seconds` are refused."""

    offset_s: float = 0.0
    duration_s: float | None = None
    begin: int = 0
    end: int | None = None
    channel: int | None = None
    most_seconds: float = float("inf")

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


@dataclass(frozen=True)
class _Stream:
    """Decoded blocks of shape (frames, channels), float32 in -1..1, at the stored rate, from where it is wanted."""

    sample_rate: int
    channels: int
    codec: str
    blocks: Iterator[Samples]


class _Source:
    """Stored bytes, opened as files once or twice. What is wrong with the storage is kept for the end, since decoders
    take a failed read for the end of the file."""

    def __init__(self, content: bytes | Stored) -> None:
        self._content = content
        self._opened = list[BinaryIO]()
        self.size = content.size if isinstance(content, Stored) else len(content)
        self.tag = id3_length(self._read_head(0))
        self.head = self._read_head(self.tag)

    def open(self) -> BinaryIO:
        return self._open(self.tag)

    def check(self) -> None:
        """Raises what the storage raised."""
        for file in self._opened:
            storage.check(file)

    def _open(self, start: int) -> BinaryIO:
        file: BinaryIO
        if isinstance(self._content, Stored):
            file = self._content.open(start)
        else:
            file = io.BytesIO(self._content[start:] if start else self._content)
        self._opened.append(file)
        return file

    def _read_head(self, start: int) -> bytes:
        return self._open(start).read(128)


def decode(content: bytes | Stored, wanted: Wanted = Wanted()) -> Sound:
    """A recording as PCM.

    Where the stream ends early or breaks midway, the sound before that is returned. Samples that are not numbers
    become silence. Beyond the end there is none, and that is an error only of the beginning. Raises RecordingError:
    empty, not_audio, unreadable, too_short; MoreSound; and OSError where the storage fails.
    """
    source = _Source(content)
    if not source.size:
        raise RecordingError(ErrorKind.EMPTY, "the file has no bytes")
    container = container_of(source.head)
    if container is None:
        raise RecordingError(
            ErrorKind.NOT_AUDIO, f"the first bytes ({source.head[:8].hex(' ')}) are of no audio format"
        )
    reasons = []
    for open_stream in (_open_ffmpeg, _open_sndfile) if container in _FFMPEG_FIRST else (_open_sndfile, _open_ffmpeg):
        try:
            stream = open_stream(source, container, wanted)
            pcm = _to_pcm(stream, wanted)
        except _Undecodable as problem:
            source.check()
            reasons.append(str(problem))
            continue
        source.check()
        if not wanted.begin and len(pcm) < MIN_SECONDS * SAMPLE_RATE:
            reason = f"{len(pcm) / SAMPLE_RATE:.3f} s of sound, less than {MIN_SECONDS} s"
            raise RecordingError(ErrorKind.TOO_SHORT, reason)
        return Sound(pcm, stream.sample_rate, stream.channels, stream.codec)
    raise RecordingError(ErrorKind.UNREADABLE, f"{container}: {'; '.join(reasons)}")


class _Undecodable(Exception):
    """A decoder got nothing out of the bytes."""


#: Codecs whose packets each stand for a fixed time and are decoded alike wherever decoding began, after some others.
_INDEPENDENT = frozenset({"mp3", "mp3float"})
PREROLL = 50  # packets; a frame of MP3 draws on the ten before it at most

_FFMPEG_FIRST = frozenset({"mov", "matroska", "amr", "asf", "aac", "mp3", "ogg"})


def _open_sndfile(source: _Source, container: str, wanted: Wanted) -> _Stream:
    file = source.open()
    try:
        sound = soundfile.SoundFile(file)
        if not len(sound.read(1)):
            raise _Undecodable("libsndfile: no sound could be decoded")
        sound.seek(min(wanted.first_frame(sound.samplerate), sound.frames))
    except (soundfile.LibsndfileError, RuntimeError) as problem:
        raise _Undecodable(f"libsndfile: {getattr(problem, 'error_string', problem)}") from None

    def blocks() -> Iterator[Samples]:
        frames = max(BLOCK_SAMPLES // sound.channels, 1)
        while True:
            try:
                block = sound.read(frames, dtype="float32", always_2d=True)
            except (soundfile.LibsndfileError, RuntimeError):
                return  # broken from here on: what came before stands
            if not len(block):
                break
            yield block
        if container == "flac" and source.size - source.tag - file.tell() > MOST_LEFT:
            raise _Undecodable("libsndfile: there is more than its header states")

    return _Stream(sound.samplerate, sound.channels, f"{container}/{sound.subtype.lower()}", blocks())


def _open_ffmpeg(source: _Source, container: str, wanted: Wanted) -> _Stream:
    import av  # loads FFmpeg's libraries, which most archives never need

    try:
        opened = av.open(source.open(), format=container, metadata_errors="ignore")
        audio = opened.streams.best("audio")
        if audio is None:
            raise _Undecodable("FFmpeg: no audio stream in the container")
        rate, channels, codec = audio.codec_context.sample_rate, audio.codec_context.channels, audio.codec_context.name
        if rate not in RATES or channels < 1:
            raise _Undecodable(f"FFmpeg: {rate} Hz and {channels} channels cannot be")
        layout = audio.codec_context.layout
    except (av.FFmpegError, ValueError) as problem:
        raise _Undecodable(f"FFmpeg: {getattr(problem, 'strerror', None) or problem}") from None

    skip = wanted.first_frame(rate)  # samples, counted, for the positions that containers give are not exact
    owed = 0  # samples that a damaged packet should have given; silence, so that what follows keeps its place

    def blocks() -> Iterator[Samples]:
        nonlocal owed
        shape: Any = None
        to_float: Any = None
        frame = None
        for frame in chain.from_iterable(packets()):
            if shape != (shape := (frame.format.name, frame.layout.name, frame.sample_rate)):  # streams may change
                to_float = av.AudioResampler(format="fltp", layout=layout, rate=rate)
            while owed:
                silent = min(owed, BLOCK_SAMPLES // channels)
                owed -= silent
                yield from wanted_of(np.zeros((silent, channels), np.float32))
            for converted in to_float.resample(frame):
                yield from wanted_of(converted.to_ndarray().T)
        if frame is None:
            raise _Undecodable("FFmpeg: no sound could be decoded")

    def wanted_of(sound: Samples) -> Iterator[Samples]:
        nonlocal skip
        if skip < len(sound):
            yield sound[skip:]
        skip = max(skip - len(sound), 0)

    def packets() -> Iterator[list[Any]]:
        nonlocal skip, owed
        try:
            for number, packet in enumerate(opened.demux(audio)):
                length = round((packet.duration or 0) * packet.time_base * rate) if codec in _INDEPENDENT else 0
                if number > PREROLL and skip > (PREROLL + 1) * length > 0:
                    skip -= length  # passed over without being decoded
                    continue
                frames = list[Any]()
                with contextlib.suppress(av.FFmpegError):  # a damaged packet costs itself, not what follows
                    frames = packet.decode()
                yield frames
                if number > PREROLL:
                    owed += max(length - sum(frame.samples for frame in frames), 0)
        except av.FFmpegError:
            return

    return _Stream(rate, channels, f"{container}/{codec}", blocks())


def _to_pcm(stream: _Stream, wanted: Wanted) -> Samples:
    """A stream as one int16 array at SAMPLE_RATE."""
    rate = stream.sample_rate
    if rate not in RATES:
        raise _Undecodable(f"a sample rate of {rate} Hz cannot be")
    if wanted.channel is not None and wanted.channel >= stream.channels:
        detail = f"channel {wanted.channel} was asked for, and it has channels 0 to {stream.channels - 1}"
        raise RecordingError(ErrorKind.UNREADABLE, detail)
    skipped = wanted.first_minute * MINUTE * SAMPLE_RATE
    last = None if wanted.end is None else wanted.end - skipped
    parts, samples = list[Samples](), 0
    for part in resample(_mono(stream, wanted), rate, wanted.first_minute):
        parts.append(part)
        samples += len(part)
        if last is not None and samples >= last:
            break
        if samples > wanted.most_seconds * SAMPLE_RATE:
            raise MoreSound
    if not samples and not wanted.begin:
        raise _Undecodable("no sound could be decoded")
    return np.concatenate([*parts, np.empty(0, np.int16)])[wanted.begin - skipped : last]


def _mono(stream: _Stream, wanted: Wanted) -> Iterator[Samples]:
    left = None
    if wanted.duration_s is not None:
        left = max(round(wanted.duration_s * stream.sample_rate) - wanted.lead_s * stream.sample_rate, 0)
    for block in stream.blocks:
        mono = block[:, wanted.channel] if wanted.channel is not None else block.mean(axis=1, dtype=np.float32)
        mono = np.nan_to_num(mono, nan=0.0, posinf=1.0, neginf=-1.0)
        yield mono[:left]
        if left is not None:
            left -= len(mono)
            if left <= 0:
                return
