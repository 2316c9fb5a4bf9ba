"""The two forms of a waveform, int16 and float32, and their scale: full scale is 1, which 32,768 stands for.

A model's features have no floor of their own: of quiet or resampled sound, a model hears what rounding to 16 bit adds;
and of float sound beyond full scale, clipping takes the peaks. So int16, half the bytes, is for what it holds exactly.
"""

from typing import cast

import numpy as np

from actors.schema import Floats, Samples, Waveform

FULL_SCALE = 32_768  # both ways, so that 16-bit PCM that is not resampled passes through bit-identical

JOINED_AT_ONCE = 8_000_000  # samples: 32 MB of float32


def as_float(sound: Waveform) -> Floats:
    """A waveform in float32; itself if it is in float32."""
    if sound.dtype == np.float32:
        return cast(Floats, sound)
    return sound.astype(np.float32) / np.float32(FULL_SCALE)


def narrowed(sound: Waveform) -> Waveform:
    """A waveform in int16 if each sample has an int16 value to the bit, else as it is. Samples are numbers."""
    if sound.dtype == np.int16:
        return sound
    scaled = sound * np.float32(FULL_SCALE)
    with np.errstate(invalid="ignore"):  # beyond the range the result is some other number
        pcm: Samples = scaled.astype(np.int16)
    return pcm if np.array_equal(pcm, scaled) else sound


class Joined:
    """Joins waveforms: in int16 if all of them are, else in float32, which is joined as it comes: so its double size is
    not held twice."""

    def __init__(self) -> None:
        self._joined: Waveform = np.empty(0, np.int16)
        self._parts, self._samples = list[Waveform](), 0

    def append(self, part: Waveform) -> None:
        self._parts.append(part)
        self._samples += len(part)
        if self._samples >= JOINED_AT_ONCE and part.dtype == np.float32:
            self._join()

    @property
    def sound(self) -> Waveform:
        self._join()
        return self._joined

    def _join(self) -> None:
        if any(part.dtype != self._joined.dtype for part in self._parts):
            self._joined, self._parts = as_float(self._joined), [as_float(part) for part in self._parts]
        if not self._parts:
            return
        if not len(self._joined):
            self._joined = np.concatenate([self._joined, *self._parts])
        else:
            end = len(self._joined)
            self._joined.resize(end + self._samples, refcheck=False)
            np.concatenate(self._parts, out=self._joined[end:])
        self._parts, self._samples = [], 0
