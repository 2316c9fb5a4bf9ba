"""16-bit samples and their scale: full scale is 1, which 32,768 stands for."""

import numpy as np

from actors.schema import Floats, Samples

FULL_SCALE = 32_768  # both ways, so that 16-bit PCM that is not resampled passes through bit-identical


def as_float(pcm: Samples) -> Floats:
    """int16 PCM as float32 in -1..1."""
    return pcm.astype(np.float32) / np.float32(FULL_SCALE)


def as_pcm(sound: Floats) -> Samples:
    """float32 in -1..1 as int16 PCM, rounded; what is louder is clipped."""
    scaled: Floats = np.rint(sound * np.float32(FULL_SCALE))
    return np.clip(scaled, -FULL_SCALE, FULL_SCALE - 1).astype(np.int16)
