"""Whether there is speech in a segment, by Silero's voice-activity detector (https://github.com/snakers4/silero-vad).

Each segment is judged by itself, so that pieces of a recording judge alike. The detector takes about a hundredth of the
time that it hears, on one core.
"""

import threading
from typing import Any

import numpy as np

from actors.schema import SAMPLE_RATE, Samples

MIN_SECONDS = 0.1  # seconds of speech that make a segment worth transcribing

_own = threading.local()  # the detector keeps a state, so each thread has one


def has_speech(pcm: Samples) -> bool:
    """Whether someone speaks in mono int16 sound at 16 kHz."""
    import torch
    from silero_vad import get_speech_timestamps

    sound = torch.from_numpy(pcm.astype(np.float32) / 32_768)
    spoken = get_speech_timestamps(sound, _detector(), sampling_rate=SAMPLE_RATE)
    return bool(sum(each["end"] - each["start"] for each in spoken) >= MIN_SECONDS * SAMPLE_RATE)


def _detector() -> Any:
    if not hasattr(_own, "detector"):
        import torch
        from silero_vad import load_silero_vad

        torch.set_num_threads(1)  # several decoders share a machine
        _own.detector = load_silero_vad()
    return _own.detector
