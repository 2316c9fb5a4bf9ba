"""Stand-ins for a GPU and for decoders, for campaigns that measure all the rest of the job."""

import threading
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from actors.benchmark.sides import generated_sounds, write_shards
from actors.engine.interface import Candidates, Emission
from actors.schema import SAMPLE_RATE, MachineError
from actors.transcriber import Sound, Transcriber

FRAME, TOKENS, TOKENS_PER_S = 1_280, 5_206, 4  # as Citrinet has them, and as people speak Mandarin
UNSURE = 0.05  # share of the frames that have several candidates
HOURS = 4  # of emissions, from which each segment gets a piece


class PacedRunner:
    """In place of an EngineRunner: sleeps as long as a GPU would work at a speed, on one block after the other, and
    returns emissions of a plausible density. `rtfx` is in times real time; without it, there is no sleep."""

    frame_samples = FRAME

    def __init__(self, rtfx: float | None) -> None:
        draw, frames = np.random.default_rng(1), HOURS * 3_600 * SAMPLE_RATE // FRAME
        is_token = draw.random(frames) < TOKENS_PER_S * FRAME / SAMPLE_RATE
        self._best = np.where(is_token, draw.integers(0, TOKENS, frames), TOKENS).astype(np.uint16)
        self._sure = draw.random(frames, np.float32)
        self._counts = np.where(draw.random(frames) < UNSURE, 4, is_token).astype(np.uint8)
        self._ends = np.concatenate([[0], np.cumsum(self._counts, dtype=int)])
        self._ids = draw.integers(0, TOKENS, self._ends[-1], np.uint16)
        self._codes = draw.integers(0, 40_000, len(self._ids), np.uint16)
        self._blank = draw.integers(0, 40_000, frames, np.uint16)
        self._rtfx, self._at, self._lock, self._seconds = rtfx, 0, threading.Lock(), 0.0

    def hear(self, sounds: Sequence[Sound]) -> list[Emission]:
        """An emission per segment, once the GPU would have worked on all of them."""
        heard = [self._emission(len(each.pcm) // FRAME + 1) for each in sounds]
        if self._rtfx:
            with self._lock:
                seconds = sum(len(each.pcm) for each in sounds) / SAMPLE_RATE / self._rtfx
                time.sleep(seconds)
                self._seconds += seconds
        return heard

    def take_counters(self) -> dict[str, float]:
        with self._lock:
            seconds, self._seconds = self._seconds, 0.0
        return {"padded_seconds": 0.0, "busy_seconds": seconds}

    def _emission(self, frames: int) -> Emission:
        begin = self._at if self._at + frames <= len(self._best) else 0
        self._at = end = begin + frames
        if end > len(self._best):
            raise MachineError(f"a segment of {frames} frames is longer than the stand-in's emissions")
        first, last = self._ends[begin], self._ends[end]
        listed = Candidates(
            self._counts[begin:end], self._ids[first:last], self._codes[first:last], self._blank[begin:end]
        )
        return Emission(self._best[begin:end], self._sure[begin:end], listed)


def paced_transcriber(rtfx: float | None) -> Transcriber:
    """A Transcriber on a PacedRunner."""
    transcriber = Transcriber.__new__(Transcriber)
    transcriber._runner, transcriber._id = PacedRunner(rtfx), f"gpu-{time.monotonic_ns()}"  # noqa: SLF001
    return transcriber


def speech_shards(folder: Path, minutes: float, copies: int) -> None:
    """Tar shards of FLAC at 16 kHz, of recordings of 2 to 15 s, whose samples FLAC packs as it does speech's: to six
    tenths of their bytes."""
    folder.mkdir()
    write_shards(folder, [each >> 3 for each in generated_sounds(minutes)], "FLAC", copies)
