"""Resamples mono sound to 16 kHz, such that a sample does not depend on where decoding started.

Each minute is resampled by itself, with a second of its neighbours, so that two workers that decode overlapping
stretches of one recording get bit-identical samples where they overlap.
"""

from collections.abc import Iterable, Iterator

import numpy as np
import soxr

from actors.audio.pcm import narrowed
from actors.foreign.errors import one_line
from actors.schema import SAMPLE_RATE, ErrorKind, Floats, RecordingError, Waveform

MINUTE = 60  # seconds; a whole number of samples before and after resampling, for any integer rate
MARGIN = 1  # seconds; the resampler's filter is a few hundred samples long


def resample(chunks: Iterable[Floats], rate: int, first_minute: int) -> Iterator[Waveform]:
    """Resamples sound at `rate`, from `first_minute` on, to waveforms of a minute each.

    `chunks` start at that minute, less MARGIN unless it is the first.
    """
    before = MARGIN * rate if first_minute else 0
    pending, samples = list[Floats](), 0
    for chunk in chunks:
        pending.append(chunk)
        samples += len(chunk)
        while samples >= (needed := before + (MINUTE + MARGIN) * rate):
            sound = np.concatenate(pending)
            yield _resample(sound[:needed], rate, before)[: MINUTE * SAMPLE_RATE]
            pending = [sound[before + (MINUTE - MARGIN) * rate :]]
            samples = len(pending[0])
            before = MARGIN * rate
    if samples > before:
        yield _resample(np.concatenate(pending), rate, before)


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
