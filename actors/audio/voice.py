"""Voice-activity detection by Silero's detector (https://github.com/snakers4/silero-vad).

Each segment is judged by itself, so that all pieces of a recording get the same result. The detector takes about a
hundredth of the audio's duration, on one core.
"""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

from actors.audio.pcm import as_float
from actors.schema import SAMPLE_RATE, Waveform

if TYPE_CHECKING:
    import torch

MIN_SECONDS = 0.1  # of speech that make a segment worth transcribing

_per_thread = threading.local()  # the detector has a state, so each thread has its own


def has_speech(pcm: Waveform) -> bool:
    """Whether there is speech in a waveform."""
    import torch
    from silero_vad import get_speech_timestamps

    sound = torch.from_numpy(as_float(pcm))
    spoken = get_speech_timestamps(sound, _detector(), sampling_rate=SAMPLE_RATE)
    return bool(sum(each["end"] - each["start"] for each in spoken) >= MIN_SECONDS * SAMPLE_RATE)


def _detector() -> torch.jit.ScriptModule:
    if not hasattr(_per_thread, "detector"):
        import torch
        from silero_vad import load_silero_vad

        torch.set_num_threads(1)  # several decoders share a machine
        _per_thread.detector = load_silero_vad()
    detector: torch.jit.ScriptModule = _per_thread.detector
    return detector
