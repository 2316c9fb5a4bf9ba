"""Converts FFmpeg's frames to float32 of one rate and one layout of channels, which may change within a stream."""

from __future__ import annotations

from typing import TYPE_CHECKING

from actors.audio.codecs import Undecodable, check_format
from actors.schema import Floats

if TYPE_CHECKING:
    import av

MAX_FRAME_SAMPLES = 1 << 24  # per decoded packet, all channels together: 64 MB; real packets stay below a million
MAX_PLANES = 7  # PyAV counts planes up to a null pointer, and with eight there is none: it reads out of bounds


class Conversion:
    """Converts frames to arrays of (samples, channels)."""

    def __init__(self, rate: int, channels: int, layout: str) -> None:
        self._rate, self._channels, self._layout = rate, channels, layout
        self._is_planar = channels <= MAX_PLANES
        self._from: tuple[str, str, int] | None = None  # format, layout and rate of the frames so far
        self._resampler: av.AudioResampler | None = None

    def __call__(self, frame: av.AudioFrame) -> list[Floats]:
        """The sound of a frame, and what was held back of those before it. Raises Undecodable, or what PyAV raises."""
        import av

        check_format(frame.sample_rate, self._channels, "FFmpeg")
        if frame.samples * self._channels * self._rate > MAX_FRAME_SAMPLES * frame.sample_rate:
            detail = f"{frame.samples} samples at {frame.sample_rate} Hz in one frame are not possible"
            raise Undecodable(f"FFmpeg: {detail}")
        before, self._from = self._from, None  # reset: a resampler that fails is not used again
        now = frame.format.name, frame.layout.name, frame.sample_rate
        sounds = list[Floats]()
        if before != now:
            sounds = self.rest() if before else []
            sample_format = "fltp" if self._is_planar else "flt"
            is_right = now == (sample_format, self._layout, self._rate)
            options = {"format": sample_format, "layout": self._layout, "rate": self._rate}
            self._resampler = None if is_right else av.AudioResampler(**options)
        sounds += self._arrays(self._resampler.resample(frame) if self._resampler else [frame])
        self._from = now
        return sounds

    def rest(self) -> list[Floats]:
        """What the resampler holds back at the end."""
        resampler, self._resampler = self._resampler, None
        return self._arrays(resampler.resample(None)) if resampler else []

    def _arrays(self, frames: list[av.AudioFrame]) -> list[Floats]:
        arrays = (each.to_ndarray() for each in frames)
        return [each.T if self._is_planar else each.reshape(-1, self._channels) for each in arrays]
