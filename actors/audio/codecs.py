"""libsndfile and FFmpeg: stored bytes to blocks of samples.

Both are others' code, and anyone may have made the bytes that they are given. What they raise over those is no closed
list (an attribute of a codec that is None, an array of negative length, …), so whatever they raise is said of the
recording, and only what the storage raised, or a machine without memory, is not.
"""

import io
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import cache
from typing import Any, BinaryIO

import numpy as np
import soundfile

from actors.audio.containers import id3_length
from actors.audio.mp4_tables import absurd_tables
from actors.schema import Samples
from actors.storage import files as storage
from actors.storage.files import Stored

BLOCK_SAMPLES = 1 << 20  # decoded at once, all channels together: 4 MB of float32
FRAME_SAMPLES = 1 << 24  # that one packet may become, all channels together: 64 MB; real ones stay below a million
RATES = range(1_000, 768_001)  # Hz; what lies outside is a broken header
CHANNELS = range(1, 1_025)  # as libsndfile has it
MOST_LEFT = 1 << 16  # bytes behind the end that a FLAC file's header states; tags are less

#: Codecs whose packets each stand for a fixed time and are decoded alike wherever decoding began, after some others.
_INDEPENDENT = frozenset({"mp3", "mp3float"})
PREROLL = 50  # packets; a frame of MP3 draws on the ten before it at most
MOST_PLANES = 7  # PyAV counts planes up to a null pointer, and from eight channels on there is none: it reads beyond
LONGEST_PACKET_S = 0.15  # of MP3: 1,152 samples at 8 kHz. A container that says more is not believed

#: Bytes of a sample where all have the same, so that a file's size tells how many there are.
_WIDTHS = {
    **dict.fromkeys(("PCM_S8", "PCM_U8", "ULAW", "ALAW"), 1),
    "PCM_16": 2,
    "PCM_24": 3,
    **dict.fromkeys(("PCM_32", "FLOAT"), 4),
    "DOUBLE": 8,
}


class Undecodable(Exception):
    """A decoder got nothing out of the bytes, or not what is there."""


class Broken(Undecodable):
    """A decoder fails midway: what came before stands."""


@dataclass(frozen=True)
class Stream:
    """Decoded blocks of shape (frames, channels), float32 in -1..1, at the stored rate, from where it is wanted.

    `frames` is how many there are in the whole file, where its size says so; what a header says is not believed.
    """

    sample_rate: int
    channels: int
    codec: str
    blocks: Iterator[Samples]
    frames: int | None = None


#: By the rate, the frame of the stored file at which decoding begins.
First = Callable[[int], int]


class Source:
    """Stored bytes, opened as files once or twice. What is wrong with the storage is kept for the end, since decoders
    take a failed read for the end of the file."""

    def __init__(self, content: bytes | Stored) -> None:
        self._opened = list[BinaryIO]()
        self._content, self._start = content, 0
        self.size = content.size if isinstance(content, Stored) else len(content)
        self._start = self.tag = id3_length(self._read_head())
        if self.tag and not isinstance(content, Stored):
            self._content, self._start = content[self.tag :], 0  # once, and not with each opening
        self.head = self._read_head()

    def open(self) -> BinaryIO:
        stored = self._content
        file: BinaryIO = stored.open(self._start) if isinstance(stored, Stored) else _Held(stored)
        self._opened.append(file)
        return file

    def check(self) -> None:
        """Raises what the storage raised."""
        for file in self._opened:
            storage.check(file)

    def _read_head(self) -> bytes:
        return self.open().read(128)


class _Held(io.BytesIO):
    """Bytes as a file. To seek before its start, as broken headers ask for, leads to the start: both decoders call
    this from C, where an exception would be printed, and seen by nobody."""

    def seek(self, offset: int, whence: int = io.SEEK_SET, /) -> int:
        return super().seek(max(offset, 0) if whence == io.SEEK_SET else offset, whence)


@contextmanager
def _judged(decoder: str, own: tuple[type[Exception], ...], kind: type[Undecodable] = Undecodable) -> Iterator[None]:
    """Whatever a decoder raises becomes `kind`: its `own` errors in its words, any other as a failure of its code.

    Memory that an own error says to lack is what absurd bytes asked for; a MemoryError else is the machine's.
    """
    try:
        yield
    except Undecodable:
        raise
    except own as problem:
        said = getattr(problem, "error_string", None) or getattr(problem, "strerror", None) or problem
        raise kind(f"{decoder}: {said}") from None
    except MemoryError:
        raise
    except Exception as problem:
        raise kind(f"{decoder} fails: {type(problem).__name__}: {problem!s:.200}") from None


def _check(rate: int, channels: int, decoder: str) -> None:
    if rate not in RATES or channels not in CHANNELS:
        raise Undecodable(f"{decoder}: {rate} Hz and {channels} channels cannot be")


def open_sndfile(source: Source, container: str, first: First) -> Stream:
    """A file by libsndfile. Raises Undecodable, as do its blocks."""
    own = (soundfile.LibsndfileError, soundfile.SoundFileRuntimeError)
    file = source.open()
    with _judged("libsndfile", own):
        sound = soundfile.SoundFile(file)
        if not len(sound.read(1)):
            raise Undecodable("libsndfile: no sound could be decoded")
        _check(sound.samplerate, sound.channels, "libsndfile")
        sound.seek(min(first(sound.samplerate), sound.frames))
        codec = f"{container}/{sound.subtype.lower()}"
        bytes_a_frame = _WIDTHS.get(sound.subtype, 0) * sound.channels
    is_exact = 0 < sound.frames * bytes_a_frame <= source.size

    def blocks() -> Iterator[Samples]:
        frames = BLOCK_SAMPLES // sound.channels
        while True:
            with _judged("libsndfile", own, Broken):
                block = sound.read(frames, dtype="float32", always_2d=True)
            if not len(block):
                break
            yield block
        if container == "flac" and source.size - source.tag - file.tell() > MOST_LEFT:
            raise Undecodable("libsndfile: there is more than its header states")

    return Stream(sound.samplerate, sound.channels, codec, blocks(), sound.frames if is_exact else None)


def open_ffmpeg(source: Source, container: str, first: First) -> Stream:
    """A file by FFmpeg. Raises Undecodable, as do its blocks."""
    import av  # loads FFmpeg's libraries, which most archives never need

    own = (av.FFmpegError,)
    with _judged("FFmpeg", own):
        if container == "mov" and (absurd := absurd_tables(source.open())):
            raise Undecodable(f"FFmpeg: {absurd}")
        opened = av.open(
            source.open(),
            format=container,
            metadata_errors="ignore",
            options={"max_samples": str(FRAME_SAMPLES)},
            container_options={"codec_whitelist": _sound_decoders()},
        )
        audio = opened.streams.best("audio")
        if audio is None:
            raise Undecodable("FFmpeg: no audio stream in the container")
        if audio.codec_context is None:
            raise Undecodable("FFmpeg: it has no decoder for this codec")
        audio.codec_context.options = {"max_samples": str(FRAME_SAMPLES)}
        rate, channels, codec = audio.codec_context.sample_rate, audio.codec_context.channels, audio.codec_context.name
        _check(rate, channels, "FFmpeg")
        layout, is_planar = audio.codec_context.layout, channels <= MOST_PLANES
        skip = first(rate)  # samples, counted, for the positions that containers give are not exact

    owed = 0  # samples that a damaged packet should have given; silence, so that what follows keeps its place
    shape: Any = None
    to_float: Any = None

    def blocks() -> Iterator[Samples]:
        nonlocal owed
        came, problem = False, Undecodable("FFmpeg: no sound could be decoded")
        for frame in frames():
            try:
                sounds = converted(frame)
            except Undecodable as failure:  # a frame that cannot be costs itself, not what follows
                problem = failure
                continue
            came = True
            while owed:
                silent = min(owed, BLOCK_SAMPLES // channels)
                owed -= silent
                yield from wanted_of(np.zeros((silent, channels), np.float32))
            for sound in sounds:
                yield from wanted_of(sound)
        if not came:
            raise problem

    def converted(frame: Any) -> list[Samples]:
        nonlocal shape, to_float
        with _judged("FFmpeg", own):
            _check(frame.sample_rate, channels, "FFmpeg")
            if frame.samples * channels * rate > FRAME_SAMPLES * frame.sample_rate:
                raise Undecodable(f"FFmpeg: {frame.samples} samples at {frame.sample_rate} Hz in one frame cannot be")
            before, shape = shape, None  # none, should this fail: a resampler that failed is not used again
            now = (frame.format.name, frame.layout.name, frame.sample_rate)  # streams may change
            if before != now:
                to_float = av.AudioResampler(format="fltp" if is_planar else "flt", layout=layout, rate=rate)
            arrays = [each.to_ndarray() for each in to_float.resample(frame)]
            sounds = [each.T if is_planar else each.reshape(-1, channels) for each in arrays]
            shape = now
        return sounds

    def wanted_of(sound: Samples) -> Iterator[Samples]:
        nonlocal skip
        if skip < len(sound):
            yield sound[skip:]
        skip = max(skip - len(sound), 0)

    def frames() -> Iterator[Any]:
        nonlocal skip, owed
        packets = enumerate(opened.demux(audio))
        while True:
            with _judged("FFmpeg", own, Broken):
                number, packet = next(packets, (0, None))
                if packet is None:
                    return
                length = round((packet.duration or 0) * packet.time_base * rate) if codec in _INDEPENDENT else 0
            if not 0 < length <= LONGEST_PACKET_S * rate:
                length = 0
            if number > PREROLL and skip > (PREROLL + 1) * length > 0:
                skip -= length  # passed over without being decoded
                continue
            decoded = list[Any]()
            with suppress(Undecodable), _judged("FFmpeg", own):  # a damaged packet costs itself, not what follows
                decoded = packet.decode()
            yield from decoded
            if number > PREROLL:
                owed += max(length - sum(frame.samples for frame in decoded), 0)

    return Stream(rate, channels, f"{container}/{codec}", blocks())


@cache
def _sound_decoders() -> str:
    """Names of FFmpeg's decoders of sound; pictures that come with it, which may be of any size, are not decoded."""
    import av

    names = list[str]()
    for name in av.codecs_available:
        with suppress(ValueError):  # it only encodes
            codec = av.Codec(name, "r")
            names += [codec.name] * (codec.type == "audio")
    return ",".join(names)
