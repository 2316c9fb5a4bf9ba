"""What reading costs by codec, in core-seconds an audio hour, beside the decoder alone and the resampler on mono sound:
it cannot cost less than those two together."""

import io
import tempfile
import time
from collections.abc import Callable
from itertools import cycle
from pathlib import Path
from statistics import median
from typing import NamedTuple

import av
import numpy as np
import soundfile
import soxr

from actors.benchmark.reports import CodecTime
from actors.pieces import Cut, cut_unit
from actors.reader import read_piece
from actors.schema import SAMPLE_RATE, Floats
from actors.sources.objects import ReadSettings
from actors.units import SourceObject, Unit

SPEECH = Path(__file__).parents[2] / "demo" / "audio"  # not in an installed package, which then has noise alone
READ_FRAMES = 1 << 16  # that libsndfile decodes at a time
HOUR = 3_600


class Codec(NamedTuple):
    """A kind of file: its suffix, its encoder in FFmpeg or its subtype in libsndfile, its rate and channels."""

    suffix: str
    encoder: str
    rate: int
    channels: int
    bit_rate: int | None = None  # of FFmpeg's encoders

    @property
    def title(self) -> str:
        channels = "mono" if self.channels == 1 else "stereo"
        return f"{self.suffix.upper()} ({self.encoder}), {self.rate / 1_000:g} kHz {channels}"


CODECS = (
    Codec("mp3", "libmp3lame", 44_100, 2, 128_000),
    Codec("m4a", "aac", 44_100, 2, 128_000),
    Codec("ogg", "VORBIS", 44_100, 2),
    Codec("opus", "libopus", 48_000, 2, 96_000),
    Codec("flac", "PCM_16", 48_000, 2),
    Codec("mp3", "libmp3lame", SAMPLE_RATE, 1, 48_000),
    Codec("flac", "PCM_16", SAMPLE_RATE, 1),
    Codec("wav", "PCM_16", SAMPLE_RATE, 1),
    Codec("wav", "ULAW", 8_000, 1),
)
_FORMATS = {"m4a": "mp4", "opus": "ogg"}  # by FFmpeg's names, where they are not the suffix


def codec_times(minutes: float, repeats: int) -> list[CodecTime]:
    """Measures medians over `repeats` passes on files of so many minutes, after one that loads what is needed. In each
    pass the sides take turns, so that all have the machine as it is then."""
    found = list[CodecTime]()
    for sound, mono in _sounds(minutes).items():
        for codec in CODECS:
            with tempfile.TemporaryDirectory() as folder:
                file = Path(folder, f"sound.{codec.suffix}")
                file.write_bytes(encoded(codec, _in_form(mono, codec)))
                ways = _ways(codec, file, minutes)
                passes = [[_cpu_s(way) * 60 / minutes for way in ways] for _ in range(repeats + 1)][1:]
            ours, alone, resampling = (median(each) for each in zip(*passes, strict=True))
            ratio = ours / (alone + resampling)
            found.append(
                {
                    "codec": codec.title,
                    "sound": sound,
                    "read_s": round(ours, 3),
                    "decoder_s": round(alone, 3),
                    "resampler_s": round(resampling, 3),
                    "ratio": round(ratio, 2),
                    "rtfx": round(HOUR / ours),
                }
            )
    return found


def encoded(codec: Codec, sound: Floats) -> bytes:
    """A file of sound of shape (frames, channels)."""
    file = io.BytesIO()
    if codec.bit_rate is None:
        form = {"ogg": "OGG"}.get(codec.suffix, codec.suffix.upper())
        with soundfile.SoundFile(file, "w", codec.rate, codec.channels, codec.encoder, format=form) as sink:
            for start in range(0, len(sound), codec.rate):  # at once, its Vorbis overflows the stack
                sink.write(sound[start : start + codec.rate])
        return file.getvalue()
    layout = "mono" if codec.channels == 1 else "stereo"
    with av.open(file, "w", format=_FORMATS.get(codec.suffix, codec.suffix)) as container:
        stream = container.add_stream(codec.encoder, rate=codec.rate, layout=layout)
        stream.codec_context.bit_rate = codec.bit_rate
        for start in range(0, len(sound), codec.rate):
            second = np.ascontiguousarray(sound[start : start + codec.rate].T)
            frame = av.AudioFrame.from_ndarray(second, "fltp", layout)
            frame.sample_rate = codec.rate
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return file.getvalue()


def _sounds(minutes: float) -> dict[str, Floats]:
    """Mono sound at SAMPLE_RATE of that duration."""
    samples = round(minutes * 60 * SAMPLE_RATE)
    noise: Floats = np.random.default_rng(1).normal(0, 0.1, samples).astype(np.float32)
    found = {"noise": noise}
    parts, count = list[Floats](), 0
    for path in cycle(sorted(SPEECH.glob("*/*.flac"))):
        part: Floats = soundfile.read(path, dtype="float32", always_2d=True)[0][:, 0]
        parts.append(part)
        count += len(part)
        if count >= samples:
            found = {"speech": np.concatenate(parts)[:samples]} | found
            break
    return found


def _in_form(mono: Floats, codec: Codec) -> Floats:
    """Sound at a codec's rate, (frames, channels); noise at its full band, as of speech it has what there is."""
    sound: Floats = soxr.resample(mono, SAMPLE_RATE, codec.rate)
    return np.stack([sound, sound * np.float32(0.6)][: codec.channels], axis=1)


def _ways(codec: Codec, file: Path, minutes: float) -> list[Callable[[], object]]:
    """Reading a file as the job does, its decoder alone, and the resampler on as much mono sound."""
    source = SourceObject(file.name, str(file), file.name, "audio", None, file.stat().st_size)
    (piece,) = cut_unit(Unit.of("0", "0", [source]), Cut(2 * minutes * 60))
    mono = np.random.default_rng(1).normal(0, 0.1, round(minutes * 60 * codec.rate)).astype(np.float32)

    def by_ffmpeg() -> None:
        with av.open(str(file)) as container:
            for _ in container.decode(audio=0):
                pass

    def by_sndfile() -> None:
        with soundfile.SoundFile(file) as opened:
            while len(opened.read(READ_FRAMES, dtype="int16")):
                pass

    def resampled() -> None:
        for start in range(0, len(mono) if codec.rate != SAMPLE_RATE else 0, 60 * codec.rate):
            soxr.resample(mono[start : start + 60 * codec.rate], codec.rate, SAMPLE_RATE, "HQ")

    is_ffmpeg = codec.suffix in ("mp3", "m4a", "ogg", "opus")
    return [lambda: read_piece(piece, ReadSettings()), by_ffmpeg if is_ffmpeg else by_sndfile, resampled]


def _cpu_s(way: Callable[[], object]) -> float:
    """The time of all threads of this process on CPUs."""
    began = time.process_time()
    way()
    return time.process_time() - began
