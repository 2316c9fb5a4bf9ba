"""Decoding with FFmpeg: AAC, Opus, WMA, AMR and all else that libsndfile does not know."""

from collections.abc import Iterator
from contextlib import suppress
from functools import cache
from typing import Any

import numpy as np

from actors.audio.codecs import (
    BLOCK_SAMPLES,
    Broken,
    First,
    Source,
    Stream,
    Undecodable,
    check_format,
    translate_errors,
)
from actors.audio.mp4_tables import absurd_tables
from actors.schema import Samples

FRAME_SAMPLES = 1 << 24  # that one packet may become, all channels together: 64 MB; real ones stay below a million

#: Codecs whose packets each stand for a fixed time and are decoded alike wherever decoding began, after some others.
_INDEPENDENT = frozenset({"mp3", "mp3float"})
PREROLL = 50  # packets; a frame of MP3 draws on the ten before it at most
MAX_PLANES = 7  # PyAV counts planes up to a null pointer, and from eight channels on there is none: it reads beyond
MAX_PACKET_S = 0.15  # of MP3: 1,152 samples at 8 kHz. A container that says more is not believed


def open_ffmpeg(source: Source, container: str, first: First) -> Stream:
    """Opens a file with FFmpeg. Raises Undecodable, as do its blocks."""
    file = _File(source, container)
    codec = file.audio.codec_context.name
    return Stream(file.rate, file.channels, f"{container}/{codec}", file.blocks(first(file.rate)))


class _File:
    """An opened file, and the state of decoding it once."""

    def __init__(self, source: Source, container: str) -> None:
        import av  # loads FFmpeg's libraries, which most archives never need

        self._own = (av.FFmpegError,)
        with translate_errors("FFmpeg", self._own):
            if container == "mov" and (absurd := absurd_tables(source.open())):
                raise Undecodable(f"FFmpeg: {absurd}")
            self._container = av.open(
                source.open(),
                format=container,
                metadata_errors="ignore",
                options={"max_samples": str(FRAME_SAMPLES)},
                container_options={"codec_whitelist": _audio_decoders()},
            )
            self.audio = self._container.streams.best("audio")
            if self.audio is None:
                raise Undecodable("FFmpeg: no audio stream in the container")
            context = self.audio.codec_context
            if context is None:
                raise Undecodable("FFmpeg: it has no decoder for this codec")
            context.options = {"max_samples": str(FRAME_SAMPLES)}
            self.rate, self.channels = context.sample_rate, context.channels
            check_format(self.rate, self.channels, "FFmpeg")
            self._layout, self._is_planar = context.layout, self.channels <= MAX_PLANES
            self._is_independent = context.name in _INDEPENDENT
        self._skip = 0  # samples before the first one wanted, counted, since positions in containers are not exact
        self._owed = 0  # samples that a damaged packet should have given: silence, so that what follows keeps its place
        self._shape: Any = None  # format, layout and rate of the frames that the resampler takes
        self._resampler: Any = None

    def blocks(self, first: int) -> Iterator[Samples]:
        """Blocks of (frames, channels) from frame `first` on."""
        self._skip = first
        came, problem = False, Undecodable("FFmpeg: no sound could be decoded")
        for frame in self._frames():
            try:
                sounds = self._converted(frame)
            except Undecodable as failure:  # a frame that cannot be converted costs itself, not what follows
                problem = failure
                continue
            came = True
            while self._owed:
                silent = min(self._owed, BLOCK_SAMPLES // self.channels)
                self._owed -= silent
                yield from self._wanted(np.zeros((silent, self.channels), np.float32))
            for sound in sounds:
                yield from self._wanted(sound)
        if not came:
            raise problem

    def _frames(self) -> Iterator[Any]:
        """Decoded frames; packets that lie wholly before what is wanted are skipped without being decoded."""
        packets = enumerate(self._container.demux(self.audio))
        while True:
            with translate_errors("FFmpeg", self._own, Broken):
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
            decoded = list[Any]()
            with suppress(Undecodable), translate_errors("FFmpeg", self._own):  # a damaged packet costs itself alone
                decoded = packet.decode()
            yield from decoded
            if number > PREROLL:
                self._owed += max(length - sum(frame.samples for frame in decoded), 0)

    def _converted(self, frame: Any) -> list[Samples]:
        """A frame as float32 at the file's rate and layout. Raises Undecodable."""
        import av

        with translate_errors("FFmpeg", self._own):
            check_format(frame.sample_rate, self.channels, "FFmpeg")
            if frame.samples * self.channels * self.rate > FRAME_SAMPLES * frame.sample_rate:
                raise Undecodable(f"FFmpeg: {frame.samples} samples at {frame.sample_rate} Hz in one frame cannot be")
            before, self._shape = self._shape, None  # none, should this fail: a resampler that failed is not used again
            now = (frame.format.name, frame.layout.name, frame.sample_rate)  # streams may change
            if before != now:
                sample_format = "fltp" if self._is_planar else "flt"
                self._resampler = av.AudioResampler(format=sample_format, layout=self._layout, rate=self.rate)
            arrays = [each.to_ndarray() for each in self._resampler.resample(frame)]
            sounds = [each.T if self._is_planar else each.reshape(-1, self.channels) for each in arrays]
            self._shape = now
        return sounds

    def _wanted(self, sound: Samples) -> Iterator[Samples]:
        if self._skip < len(sound):
            yield sound[self._skip :]
        self._skip = max(self._skip - len(sound), 0)


@cache
def _audio_decoders() -> str:
    """Names of FFmpeg's audio decoders. Pictures in a file, which may be of any size, are not decoded."""
    import av

    names = list[str]()
    for name in av.codecs_available:
        with suppress(ValueError):  # it only encodes
            codec = av.Codec(name, "r")
            names += [codec.name] * (codec.type == "audio")
    return ",".join(names)
