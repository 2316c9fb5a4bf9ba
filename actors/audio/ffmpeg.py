"""Decoding with FFmpeg: AAC, Opus, WMA, AMR and everything else that libsndfile does not support."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from functools import cache
from typing import TYPE_CHECKING

import numpy as np

from actors.audio.codecs import (
    BLOCK_SAMPLES,
    BrokenStream,
    FirstFrame,
    Source,
    Stream,
    Undecodable,
    check_format,
    translate_errors,
)
from actors.audio.mp4_tables import table_error
from actors.audio.tracks import pick_track
from actors.schema import Floats

if TYPE_CHECKING:
    import av

MAX_FRAME_SAMPLES = 1 << 24  # per decoded packet, all channels together: 64 MB; real packets stay below a million

#: Codecs whose packets have a fixed duration and decode to the same samples wherever decoding started, after a few
#: packets of preroll.
_INDEPENDENT = frozenset({"mp3", "mp3float"})
PREROLL = 50  # packets; an MP3 frame depends on at most the ten before it
MAX_PLANES = 7  # PyAV counts planes up to a null pointer, and with eight there is none: it reads out of bounds
_CLOCK = 1_000_000  # ticks per second of a container's duration
MAX_PACKET_S = 0.15  # an MP3 packet: 1,152 samples at 8 kHz. Longer durations stated by a container are ignored


def open_ffmpeg(source: Source, container: str, first_frame: FirstFrame) -> Stream:
    """Opens a file with FFmpeg. Raises Undecodable, now or while the blocks are read."""
    file = _File(source, container, first_frame)
    codec = file.audio.codec_context.name
    return Stream(file.rate, file.channels, f"{container}/{codec}", file.blocks(), stated_s=file.stated_s(source.size))


class _File:
    """An open file and the state of decoding it once."""

    def __init__(self, source: Source, container: str, first_frame: FirstFrame) -> None:
        import av  # loads FFmpeg's libraries, which most archives never need

        self._own_errors = (av.FFmpegError,)
        with translate_errors("FFmpeg", self._own_errors):
            if container == "mov" and (fault := table_error(source.open())):
                raise Undecodable(f"FFmpeg: {fault}")
            self._container = av.open(
                source.open(),
                format=container,
                metadata_errors="ignore",
                options={"max_samples": str(MAX_FRAME_SAMPLES)},
                container_options={"codec_whitelist": _audio_decoders()},
            )
            audio = pick_track(self._container, container, source.track)
            if audio is None:
                raise Undecodable("FFmpeg: no audio stream in the container")
            self.audio = audio
            context = self.audio.codec_context
            if context is None:
                raise Undecodable("FFmpeg: it has no decoder for this codec")
            context.options = {"max_samples": str(MAX_FRAME_SAMPLES)}
            self.rate, self.channels = context.sample_rate, context.channels
            check_format(self.rate, self.channels, "FFmpeg")
            self._layout, self._is_planar = context.layout, self.channels <= MAX_PLANES
            self._is_independent = context.name in _INDEPENDENT
            self._skip = first_frame(
                self.rate
            )  # samples before the first requested one; counted, since timestamps in containers are not exact
        self._missing = 0  # samples lost to damaged packets, replaced by silence so that later samples keep their time
        self._frame_format: tuple[str, str, int] | None = None  # of the frames that the resampler was made for
        self._resampler: av.AudioResampler | None = None

    def stated_s(self, size: int) -> float | None:
        """The seconds that the stream's header states, else the container's, else those that a file of `size` bytes has
        at the bit rate stated."""
        stream, container = self.audio, self._container
        if stream.duration and stream.time_base:
            return float(stream.duration * stream.time_base)
        if container.duration:
            return float(container.duration / _CLOCK)
        return float(size * 8 / container.bit_rate) if container.bit_rate else None

    def blocks(self) -> Iterator[Floats]:
        """Blocks of (frames, channels) from frame `first_frame` on."""
        any_decoded, problem = False, Undecodable("FFmpeg: no sound could be decoded")
        for frame in self._frames():
            try:
                sounds = self._converted(frame)
            except Undecodable as failure:  # only this frame is lost
                problem = failure
                continue
            any_decoded = True
            while self._missing:
                silent = min(self._missing, BLOCK_SAMPLES // self.channels)
                self._missing -= silent
                yield from self._trimmed(np.zeros((silent, self.channels), np.float32))
            for sound in sounds:
                yield from self._trimmed(sound)
        if not any_decoded:
            raise problem

    def _frames(self) -> Iterator[av.AudioFrame]:
        """Decoded frames; packets that end before the first requested sample are skipped without being decoded."""
        packets = enumerate(self._container.demux(self.audio))
        while True:
            with translate_errors("FFmpeg", self._own_errors, BrokenStream):
                number, packet = next(packets, (0, None))
                if packet is None:
                    return
                seconds = (packet.duration or 0) * packet.time_base if self._is_independent else 0
                length = round(seconds * self.rate)
            if not 0 < length <= MAX_PACKET_S * self.rate:
                length = 0
            if number > PREROLL and self._skip > (PREROLL + 1) * length > 0:
                self._skip -= length
                continue
            decoded: list[av.AudioFrame] = []
            with suppress(Undecodable), translate_errors("FFmpeg", self._own_errors):  # only a damaged packet is lost
                decoded = packet.decode()
            yield from decoded
            if number > PREROLL:
                self._missing += max(length - sum(frame.samples for frame in decoded), 0)

    def _converted(self, frame: av.AudioFrame) -> list[Floats]:
        """Converts a frame to float32 at the file's rate and layout. Raises Undecodable."""
        import av

        with translate_errors("FFmpeg", self._own_errors):
            check_format(frame.sample_rate, self.channels, "FFmpeg")
            if frame.samples * self.channels * self.rate > MAX_FRAME_SAMPLES * frame.sample_rate:
                raise Undecodable(
                    f"FFmpeg: {frame.samples} samples at {frame.sample_rate} Hz in one frame are not possible"
                )
            before, self._frame_format = self._frame_format, None  # reset: a resampler that fails is not used again
            now = (frame.format.name, frame.layout.name, frame.sample_rate)  # may change within a stream
            if self._resampler is None or before != now:
                sample_format = "fltp" if self._is_planar else "flt"
                self._resampler = av.AudioResampler(format=sample_format, layout=self._layout, rate=self.rate)
            arrays = [each.to_ndarray() for each in self._resampler.resample(frame)]
            sounds = [each.T if self._is_planar else each.reshape(-1, self.channels) for each in arrays]
            self._frame_format = now
        return sounds

    def _trimmed(self, sound: Floats) -> Iterator[Floats]:
        if self._skip < len(sound):
            yield sound[self._skip :]
        self._skip = max(self._skip - len(sound), 0)


@cache
def _audio_decoders() -> str:
    """Comma-separated names of FFmpeg's audio decoders. Embedded pictures, of any size, are thus never decoded."""
    import av

    names = list[str]()
    for name in av.codecs_available:
        with suppress(ValueError):  # it only encodes
            codec = av.Codec(name, "r")
            names += [codec.name] * (codec.type == "audio")
    return ",".join(names)
