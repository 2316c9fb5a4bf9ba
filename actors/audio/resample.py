"""Resamples mono sound to int16 PCM at 16 kHz, such that a sample does not depend on where decoding started.

Each minute is resampled by itself, with a second of its neighbours, so that two workers that decode overlapping
stretches of one recording get bit-identical samples where they overlap.
"""

from collections.abc import Iterable, Iterator

import numpy as np
import soxr

from actors.schema import SAMPLE_RATE, ErrorKind, RecordingError, Samples

MINUTE = 60  # seconds; a whole number of samples before and after resampling, for any integer rate
MARGIN = 1  # seconds; the resampler's filter is a few hundred samples long


def resample(chunks: Iterable[Samples], rate: int, first_minute: int) -> Iterator[Samples]:
    """Resamples sound at `rate`, float32 in -1..1, from `first_minute` on, to int16 PCM.

    `chunks` start at that minute, less MARGIN unless it is the first.
    """
    before = MARGIN * rate if first_minute else 0
    pending, samples = list[Samples](), 0
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


def _resample(sound: Samples, rate: int, before: int) -> Samples:
    if rate != SAMPLE_RATE:
        try:
            sound = soxr.resample(sound, rate, SAMPLE_RATE, "HQ")
        except MemoryError:
            raise
        except Exception as problem:  # noqa: BLE001 - third-party code on untrusted sound
            detail = f"soxr fails: {type(problem).__name__}: {problem!s:.200}"
            raise RecordingError(ErrorKind.UNREADABLE, detail) from None
    # The same scale as in decoding, 32768: 16-bit PCM at 16 kHz passes through bit-identical.
    scaled = np.rint(sound[before // rate * SAMPLE_RATE :] * np.float32(32_768))
    return np.clip(scaled, -32_768, 32_767).astype(np.int16)
