"""Converts FFmpeg's frames to float32 of one rate and one number of channels, which may change within a stream."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from actors.audio.codecs import Undecodable, check_format
from actors.schema import Floats

if TYPE_CHECKING:
    import av

MAX_FRAME_SAMPLES = 1 << 24  # per decoded packet, all channels together: 64 MB; real packets stay below a million
MAX_PLANES = 7  # PyAV counts planes up to a null pointer, and with eight there is none: it reads out of bounds


class Conversion:
    """Converts frames to arrays of (samples, channels). Where a frame has another number of channels, each of the
    result's is the mean of its channels: FFmpeg's own mixing is 3 dB louder or quieter than the sound before it."""

    def __init__(self, rate: int, channels: int) -> None:
        self._rate, self._channels = rate, channels
        self._from: tuple[str, str, int] | None = None  # format, layout and rate of the frames so far
        self._from_channels = channels
        self._resampler: av.AudioResampler | None = None
        self.is_idle = True  # nothing is held back of the frames so far

    def __call__(self, frame: av.AudioFrame) -> list[Floats]:
        """The sound of a frame, and what was held back of those before it. Raises Undecodable, or what PyAV raises."""
        import av

        channels = frame.layout.nb_channels
        check_format(frame.sample_rate, channels, "FFmpeg")
        if frame.samples * max(channels, self._channels) * self._rate > MAX_FRAME_SAMPLES * frame.sample_rate:
            detail = f"{frame.samples} samples at {frame.sample_rate} Hz in one frame are not possible"
            raise Undecodable(f"FFmpeg: {detail}")
        before, self._from = self._from, None  # reset: a resampler that fails is not used again
        now = frame.format.name, frame.layout.name, frame.sample_rate
        sounds = list[Floats]()
        if before != now:
            sounds = self.rest() if before else []
            self._from_channels = channels
            sample_format = "fltp" if channels <= MAX_PLANES else "flt"
            is_right = now == (sample_format, frame.layout.name, self._rate)
            options = {"format": sample_format, "layout": frame.layout, "rate": self._rate}
            self._resampler = None if is_right else av.AudioResampler(**options)
            self.is_idle = frame.sample_rate == self._rate  # other numbers or channels are converted at once
        sounds += self._arrays(self._resampler.resample(frame) if self._resampler else [frame])
        self._from = now
        return sounds

    def rest(self) -> list[Floats]:
        """What the resampler holds back at the end."""
        resampler, self._resampler = self._resampler, None
        return self._arrays(resampler.resample(None)) if resampler else []

    def _arrays(self, frames: list[av.AudioFrame]) -> list[Floats]:
        channels = self._from_channels
        arrays = (each.to_ndarray() for each in frames)
        sounds = [each.T if channels <= MAX_PLANES else each.reshape(-1, channels) for each in arrays]
        if channels == self._channels:
            return sounds
        return [np.repeat(each.mean(axis=1, keepdims=True), self._channels, axis=1) for each in sounds]
