"""Resamples sound to 16 kHz, such that a sample does not depend on where decoding started.

Each minute is mixed and resampled by itself, with a second of its neighbours, so that two workers that decode
overlapping stretches of one recording get bit-identical samples where they overlap.
"""

from collections.abc import Callable, Iterable, Iterator

import numpy as np
import soxr

from actors.audio.mix import MARGIN, MINUTE
from actors.audio.pcm import as_float, narrowed
from actors.foreign.errors import one_line
from actors.schema import SAMPLE_RATE, ErrorKind, Floats, RecordingError, Waveform

#: Makes mono sounds of a minute with its margins, (frames, channels), given which frames are not margin.
Mix = Callable[[Waveform, slice], list[Waveform]]


def resample(chunks: Iterable[Waveform], rate: int, first_minute: int, mix: Mix) -> Iterator[list[Waveform]]:
    """Resamples the sounds that `mix` makes of sound at `rate`, from `first_minute` on, to waveforms: yields those of
    each minute, and of the rest at the end.

    `chunks`, of shape (frames, channels), start at that minute, less MARGIN unless it is the first.
    """
    before, held = MARGIN * rate if first_minute else 0, _Held((MINUTE + 2 * MARGIN) * rate)
    for chunk in chunks:
        while len(chunk):
            needed = before + (MINUTE + MARGIN) * rate
            room = needed - len(held.sound)
            held.add(chunk[:room])
            chunk = chunk[room:]
            if len(held.sound) == needed:
                yield _minute(held.sound, rate, before, mix)
                held.pass_over(before + (MINUTE - MARGIN) * rate)
                before = MARGIN * rate
    while len(held.sound) > before:  # of the last minute, and perhaps the beginning of another, shorter than MARGIN
        yield _minute(held.sound, rate, before, mix)
        held.pass_over(before + (MINUTE - MARGIN) * rate)
        before = MARGIN * rate


class _Held:
    """Sound of at most so many frames, in memory that is used again for each minute: new memory costs as much time as
    mixing what is in it. Channels lie one after the other."""

    def __init__(self, frames: int) -> None:
        self._frames = frames
        self._buffer: Waveform = np.empty((0, frames), np.int16)
        self.sound: Waveform = self._buffer.T[:0]  # (frames, channels)

    def add(self, chunk: Waveform) -> None:
        """Appends a chunk of (frames, channels)."""
        held = len(self.sound)
        if not self._buffer.size:
            self._buffer = np.empty((chunk.shape[1], self._frames), chunk.dtype)
        if self._buffer.dtype != chunk.dtype:
            self._buffer, chunk = as_float(self._buffer), as_float(chunk)
        self._buffer[:, held : held + len(chunk)] = chunk.T
        self.sound = self._buffer.T[: held + len(chunk)]

    def pass_over(self, frames: int) -> None:
        """Forgets the first frames, or all if there are less."""
        rest = self.sound[frames:].copy()
        self.sound = self.sound[: len(rest)]
        self.sound[:] = rest


def passed_on(chunks: Iterable[Waveform], first_minute: int, mix: Mix) -> Iterator[list[Waveform]]:
    """What `resample` makes of sound at SAMPLE_RATE whose channels are not mixed, chunk by chunk as it comes: there no
    sample depends on others."""
    before = MARGIN * SAMPLE_RATE if first_minute else 0
    for chunk in chunks:
        if len(chunk) > before:
            yield [narrowed(each) for each in mix(chunk[before:], slice(None))]
        before = max(before - len(chunk), 0)


def _minute(sound: Waveform, rate: int, before: int, mix: Mix) -> list[Waveform]:
    own = slice(before, before + MINUTE * rate)
    return [_resample(each, rate, before)[: MINUTE * SAMPLE_RATE] for each in mix(sound, own)]


def _resample(sound: Waveform, rate: int, before: int) -> Waveform:
    if rate == SAMPLE_RATE:
        return narrowed(sound[before:].copy())  # it may be what is held
    try:
        resampled: Floats = soxr.resample(as_float(sound), rate, SAMPLE_RATE, "HQ")
    except MemoryError:
        raise
    except Exception as problem:  # noqa: BLE001 - third-party code on untrusted sound
        detail = f"soxr fails: {type(problem).__name__}: {one_line(problem, 200)}"
        raise RecordingError(ErrorKind.UNREADABLE, detail) from None
    return resampled[before // rate * SAMPLE_RATE :]
