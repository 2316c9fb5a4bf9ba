"""The two forms of sound, int16 and float32, and their scale: full scale is 1, which 32,768 stands for.

A model's features have no floor of their own: of quiet or resampled sound, a model hears what rounding to 16 bit adds;
and of float sound beyond full scale, clipping takes the peaks. So int16, half the bytes, is for what it holds exactly.
"""

from collections.abc import Sequence
from typing import cast

import numpy as np

from actors.schema import Floats, Samples, Waveform

FULL_SCALE = 32_768  # both ways, so that 16-bit PCM that is not resampled passes through bit-identical

JOINED_AT_ONCE = 8_000_000  # samples: 32 MB of float32
NARROWED_AT_ONCE = 1 << 14  # samples: few, for of most sound that is not of int16 a few tell


def as_float(sound: Waveform) -> Floats:
    """Sound in float32; itself if it is in float32."""
    if sound.dtype == np.float32:
        return cast(Floats, sound)
    return np.multiply(sound, np.float32(1 / FULL_SCALE), dtype=np.float32)


def narrowed(sound: Waveform) -> Waveform:
    """A waveform in int16 if each sample has an int16 value to the bit, else as it is. Samples are numbers."""
    if sound.dtype == np.int16:
        return sound
    pcm: Samples = np.empty(len(sound), np.int16)
    for first in range(0, len(sound), NARROWED_AT_ONCE):
        scaled = sound[first : first + NARROWED_AT_ONCE] * np.float32(FULL_SCALE)
        part = pcm[first : first + NARROWED_AT_ONCE]
        with np.errstate(invalid="ignore"):  # beyond the range the result is some other number
            part[:] = scaled.astype(np.int16)
        if not np.array_equal(part, scaled):
            return sound
    return pcm


def joined(parts: Sequence[Waveform]) -> Waveform:
    """Sounds one after the other, in int16 if all of them are, else in float32; a single one is not copied."""
    if len(parts) == 1:
        return parts[0]
    if len({part.dtype for part in parts}) > 1:
        parts = [as_float(part) for part in parts]
    sound: Waveform = np.concatenate(parts)  # type: ignore[assignment]
    return sound


class Joined:
    """Joins waveforms: in int16 if all of them are, else in float32. Never holds both all of the parts and the whole.

    Parts in float32, and all that follow one, are copied to large chunks as they come, so that the memory they were in
    is used again for the next: new memory costs more time than the copy.
    """

    def __init__(self) -> None:
        self._parts = list[Waveform]()
        self._chunk: Floats | None = None  # what is filled of it is the last part
        self._filled = 0

    def append(self, part: Waveform) -> None:
        if not self._parts or (part.dtype == np.int16 and self._chunk is None):
            self._parts.append(part)  # and not copied if it remains the only one, or all are in int16
            return
        if self._chunk is None or self._filled + len(part) > len(self._chunk):
            first = self._parts.pop() if self._chunk is None and len(self._parts) == 1 else part[:0]
            self._chunk, self._filled = np.empty(max(JOINED_AT_ONCE, len(first) + len(part)), np.float32), 0
            self._parts.append(self._chunk[:0])
            self._fill(self._chunk, first)
        self._fill(self._chunk, part)

    def _fill(self, chunk: Floats, part: Waveform) -> None:
        end = self._filled + len(part)
        chunk[self._filled : end] = as_float(part)
        self._parts[-1], self._filled = chunk[:end], end

    @property
    def sound(self) -> Waveform:
        """All of it; the parts are given up."""
        if not self._parts:
            return np.empty(0, np.int16)
        if len(self._parts) == 1:
            return self._parts[0]
        is_int16 = all(part.dtype == np.int16 for part in self._parts)
        samples = sum(map(len, self._parts))
        sound: Waveform = np.empty(samples, np.int16) if is_int16 else np.empty(samples, np.float32)
        self._chunk, end = None, len(sound)
        while self._parts:
            part = self._parts.pop()
            sound[end - len(part) : end] = part if is_int16 else as_float(part)
            end -= len(part)
        self._parts = [sound]
        return sound
