"""Bytes of an audio file to 16 kHz mono int16 PCM.

The container is recognised from its first bytes and opened with that format by name: left to guess, FFmpeg would open
other files that a hostile recording names. libsndfile decodes what it decodes well (WAV, FLAC, MP3, Vorbis, AIFF, AU,
CAF), FFmpeg the rest and whatever libsndfile refuses. Decoding goes block by block and stops at the limit, so a stream
that expands without end costs no more memory than one of the longest length allowed.
"""

import io
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import chain
from typing import Any

import numpy as np
import soundfile
import soxr

from actors.schema import SAMPLE_RATE, ErrorKind, RecordingError, Samples

MIN_SECONDS = 0.1  # one output frame is 80 ms; less holds no speech, and NeMo fails on a single feature frame
BLOCK_SAMPLES = 1 << 20  # decoded at once, all channels together: 4 MB of float32
RATES = range(1_000, 768_001)  # Hz; what lies outside is a broken header


@dataclass(frozen=True)
class Sound:
    """A decoded recording: mono int16 samples at SAMPLE_RATE, and what it was stored as."""

    pcm: Samples
    sample_rate: int
    channels: int
    codec: str

    @property
    def duration_s(self) -> float:
        return len(self.pcm) / SAMPLE_RATE


@dataclass(frozen=True)
class _Stream:
    """Decoded blocks of shape (frames, channels), float32 in -1..1, still at the stored rate."""

    sample_rate: int
    channels: int
    codec: str
    blocks: Iterator[Samples]


def container_of(data: bytes) -> str | None:
    """The FFmpeg name of a container by its first bytes, or None where it is none of the allowed.

    Signatures: the Library of Congress' format descriptions, and RFC 3533 (Ogg), RFC 9639 (FLAC), RFC 4867 (AMR).
    """
    head = data[:64]
    if head[:4] in (b"RIFF", b"RF64", b"RIFX") and head[8:12] == b"WAVE":
        return "wav"
    if head[:16] == b"riff\x2e\x91\xcf\x11\xa5\xd6\x28\xdb\x04\xc1\x00\x00":
        return "w64"
    if head[:4] == b"FORM" and head[8:12] in (b"AIFF", b"AIFC"):
        return "aiff"
    if head[4:8] == b"ftyp":
        return "mov"
    for magic, name in {
        b"fLaC": "flac",
        b"OggS": "ogg",
        b".snd": "au",
        b"caff": "caf",
        b"NIST_1A": "nistsphere",
        b"\x1aE\xdf\xa3": "matroska",
        b"#!AMR": "amr",
        b"0&\xb2u\x8ef\xcf\x11": "asf",
    }.items():
        if head.startswith(magic):
            return name
    if len(head) >= 4 and head[0] == 0xFF and head[1] & 0xF6 == 0xF0:
        return "aac"  # ADTS: 12 bits of sync, layer 00
    if len(head) >= 4 and head[0] == 0xFF and head[1] & 0xE0 == 0xE0 and head[1] & 0x06 and head[2] & 0xF0 != 0xF0:
        return "mp3"  # 11 bits of sync, a layer, a bit rate that exists
    return None


def without_id3(data: bytes) -> bytes:
    """The bytes after a leading ID3v2 tag, which may stand before MP3, AAC and FLAC (https://id3.org/id3v2.4.0)."""
    if data[:3] != b"ID3" or len(data) < 10:
        return data
    size = sum((byte & 0x7F) << shift for byte, shift in zip(data[6:10], (21, 14, 7, 0), strict=True))
    return data[10 + size :]


def decode(
    data: bytes,
    *,
    max_seconds: float,
    channel: int | None = None,
    offset_s: float = 0.0,
    duration_s: float | None = None,
) -> Sound:
    """A recording's bytes as PCM: from `offset_s`, at most `duration_s` of it; channels averaged, or one of them.

    Where the stream ends early or breaks midway, the sound before that is returned. Samples that are not numbers
    become silence. Raises RecordingError: empty, not_audio, unreadable, too_short, too_long.
    """
    if not data:
        raise RecordingError(ErrorKind.EMPTY, "the file has no bytes")
    data = without_id3(data)
    container = container_of(data)
    if container is None:
        raise RecordingError(ErrorKind.NOT_AUDIO, f"the first bytes ({data[:8].hex(' ')}) are of no audio format")
    reasons = []
    for open_stream in (_open_ffmpeg,) if _prefers_ffmpeg(container, data) else (_open_sndfile, _open_ffmpeg):
        try:
            stream = open_stream(data, container, offset_s)
            pcm = _to_pcm(stream, channel, max_seconds, duration_s)
        except _Undecodable as problem:
            reasons.append(str(problem))
            continue
        if len(pcm) < MIN_SECONDS * SAMPLE_RATE:
            reason = f"{len(pcm) / SAMPLE_RATE:.3f} s of sound, less than {MIN_SECONDS} s"
            raise RecordingError(ErrorKind.TOO_SHORT, reason)
        return Sound(pcm, stream.sample_rate, stream.channels, stream.codec)
    raise RecordingError(ErrorKind.UNREADABLE, f"{container}: {'; '.join(reasons)}")


class _Undecodable(Exception):
    """A decoder got nothing out of the bytes."""


def _prefers_ffmpeg(container: str, data: bytes) -> bool:
    """libsndfile knows neither of these, or, for Opus, takes three times as long."""
    return container in ("mov", "matroska", "amr", "asf", "aac") or (container == "ogg" and b"OpusHead" in data[:128])


def _open_sndfile(data: bytes, container: str, offset_s: float) -> _Stream:
    try:
        sound = soundfile.SoundFile(io.BytesIO(data))
        if offset_s:
            sound.seek(min(round(offset_s * sound.samplerate), sound.frames))
    except (soundfile.LibsndfileError, RuntimeError) as problem:
        raise _Undecodable(f"libsndfile: {problem}") from None

    def blocks() -> Iterator[Samples]:
        frames = max(BLOCK_SAMPLES // sound.channels, 1)
        while True:
            try:
                block = sound.read(frames, dtype="float32", always_2d=True)
            except (soundfile.LibsndfileError, RuntimeError):
                return  # broken from here on: what came before stands
            if not len(block):
                return
            yield block

    return _Stream(sound.samplerate, sound.channels, f"{container}/{sound.subtype.lower()}", blocks())


def _open_ffmpeg(data: bytes, container: str, offset_s: float) -> _Stream:
    import av  # loads FFmpeg's libraries, which most archives never need

    try:
        opened = av.open(io.BytesIO(data), format=container, metadata_errors="ignore")
        audio = opened.streams.best("audio")
        if audio is None:
            raise _Undecodable("FFmpeg: no audio stream in the container")
        rate, channels, codec = audio.codec_context.sample_rate, audio.codec_context.channels, audio.codec_context.name
        if rate not in RATES or channels < 1:
            raise _Undecodable(f"FFmpeg: {rate} Hz and {channels} channels cannot be")
        to_float = av.AudioResampler(format="fltp", layout=audio.codec_context.layout, rate=rate)
    except (av.FFmpegError, ValueError) as problem:
        raise _Undecodable(f"FFmpeg: {getattr(problem, 'strerror', None) or problem}") from None

    def blocks() -> Iterator[Samples]:
        skip = round(offset_s * rate)
        for block in chain.from_iterable(map(floats, packets())):
            if skip < len(block):
                yield block[skip:]
            skip = max(skip - len(block), 0)

    def packets() -> Iterator[list[Any]]:
        try:
            for packet in opened.demux(audio):
                try:
                    yield packet.decode()
                except av.FFmpegError:
                    continue  # a damaged packet costs itself, not what follows
        except av.FFmpegError:
            return

    def floats(frames: list[Any]) -> Iterator[Samples]:
        for frame in frames:
            for converted in to_float.resample(frame):
                yield converted.to_ndarray().T

    return _Stream(rate, channels, f"{container}/{codec}", blocks())


def _to_pcm(stream: _Stream, channel: int | None, max_seconds: float, duration_s: float | None) -> Samples:
    """A stream as one int16 array at SAMPLE_RATE."""
    rate = stream.sample_rate
    if rate not in RATES:
        raise _Undecodable(f"a sample rate of {rate} Hz cannot be")
    if channel is not None and channel >= stream.channels:
        detail = f"channel {channel} was asked for, and it has channels 0 to {stream.channels - 1}"
        raise RecordingError(ErrorKind.UNREADABLE, detail)
    wanted = round(duration_s * rate) if duration_s is not None else None
    allowed = round(max_seconds * rate)
    resampler = (
        None if rate == SAMPLE_RATE else soxr.ResampleStream(rate, SAMPLE_RATE, 1, dtype="float32", quality="HQ")
    )
    chunks, frames = list[Samples](), 0
    for block in stream.blocks:
        if wanted is not None:
            block = block[: wanted - frames]
        frames += len(block)
        if frames > allowed:
            raise RecordingError(ErrorKind.TOO_LONG, f"more than {max_seconds / 60:g} minutes of sound")
        mono = block[:, channel] if channel is not None else block.mean(axis=1, dtype=np.float32)
        mono = np.nan_to_num(mono, nan=0.0, posinf=1.0, neginf=-1.0)
        chunks.append(_to_int16(resampler.resample_chunk(mono) if resampler else mono))
        if wanted is not None and frames >= wanted:
            break
    if not frames:
        raise _Undecodable("no sound could be decoded")
    if resampler:
        chunks.append(_to_int16(resampler.resample_chunk(np.empty(0, np.float32), last=True)))
    return np.concatenate(chunks)


def _to_int16(samples: Samples) -> Samples:
    # 32768 both ways: 16-bit PCM at 16 kHz passes through unchanged, to the bit.
    scaled = np.rint(samples * np.float32(32_768))
    return np.clip(scaled, -32_768, 32_767).astype(np.int16)
