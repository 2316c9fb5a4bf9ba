"""Resamples sound to 16 kHz, such that a sample does not depend on where decoding started.

Each minute is mixed and resampled by itself, with a second of its neighbours, so that two workers that decode
overlapping stretches of one recording get bit-identical samples where they overlap.
"""

from collections.abc import Callable, Iterable, Iterator

import numpy as np
import soxr

from actors.audio.pcm import narrowed
from actors.foreign.errors import one_line
from actors.schema import SAMPLE_RATE, ErrorKind, Floats, RecordingError, Waveform

MINUTE = 60  # seconds; a whole number of samples before and after resampling, for any integer rate
MARGIN = 1  # seconds; the resampler's filter is a few hundred samples long

#: Makes mono sounds of a minute with its margins, (frames, channels), given which frames are not margin.
Mix = Callable[[Floats, slice], list[Floats]]


def resample(chunks: Iterable[Floats], rate: int, first_minute: int, mix: Mix) -> Iterator[list[Waveform]]:
    """Resamples the sounds that `mix` makes of sound at `rate`, from `first_minute` on, to waveforms: yields those of
    each minute, and of the rest at the end.

    `chunks`, of shape (frames, channels), start at that minute, less MARGIN unless it is the first.
    """
    before = MARGIN * rate if first_minute else 0
    pending, samples = list[Floats](), 0
    for chunk in chunks:
        pending.append(chunk)
        samples += len(chunk)
        while samples >= (needed := before + (MINUTE + MARGIN) * rate):
            sound = np.concatenate(pending)
            pending = [sound[before + (MINUTE - MARGIN) * rate :].copy()]  # the blocks are not held meanwhile
            yield _minute(sound[:needed], rate, before, mix)
            del sound
            samples = len(pending[0])
            before = MARGIN * rate
    while samples > before:  # of the last minute, and perhaps the beginning of another, shorter than MARGIN
        sound = np.concatenate(pending)
        yield _minute(sound, rate, before, mix)
        pending = [sound[before + (MINUTE - MARGIN) * rate :]]
        samples = len(pending[0])
        before = MARGIN * rate


def _minute(sound: Floats, rate: int, before: int, mix: Mix) -> list[Waveform]:
    own = slice(before, before + MINUTE * rate)
    return [_resample(each, rate, before)[: MINUTE * SAMPLE_RATE] for each in mix(sound, own)]


def _resample(sound: Floats, rate: int, before: int) -> Waveform:
    if rate == SAMPLE_RATE:
        return narrowed(sound[before:])
    try:
        resampled: Floats = soxr.resample(sound, rate, SAMPLE_RATE, "HQ")
    except MemoryError:
        raise
    except Exception as problem:  # noqa: BLE001 - third-party code on untrusted sound
        detail = f"soxr fails: {type(problem).__name__}: {one_line(problem, 200)}"
        raise RecordingError(ErrorKind.UNREADABLE, detail) from None
    return resampled[before // rate * SAMPLE_RATE :]
