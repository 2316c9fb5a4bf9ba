"""Gathers decoded frames to runs, which are converted to numbers at once: a frame has about a thousand samples, and a
few steps in Python take as long as decoding it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from actors.audio.conversion import MAX_PLANES
from actors.audio.pcm import joined
from actors.schema import Waveform

if TYPE_CHECKING:
    import av
    from av.audio.fifo import AudioFifo

RUN_SAMPLES = 1 << 18  # that are gathered, of all channels together: half of a processor's second cache, or all of it
RUN_S = 3  # seconds that are gathered at most, for what is decoded beyond the sound that is asked for is lost time

#: The formats of samples that numpy converts to the numbers that FFmpeg would.
_PACKED = frozenset({"flt", "dbl", "s16", "s32", "u8"})
_PLANAR = frozenset({"fltp", "dblp", "s16p", "s32p", "u8p"})


class Run(NamedTuple):
    """The sound of frames that follow one another, (samples, channels). Of each frame: how many of the samples it has,
    and when and how long it is by its container. And whether packets before the first frame were lost."""

    sound: Waveform
    lengths: list[int]
    starts_s: list[float | None]
    durations_s: list[float]
    is_after_loss: bool = False

    def frames(self) -> Iterator[Run]:
        """Each frame by itself."""
        first, is_after_loss = 0, self.is_after_loss
        for length, start_s, duration_s in zip(self.lengths, self.starts_s, self.durations_s, strict=True):
            yield Run(self.sound[first : first + length], [length], [start_s], [duration_s], is_after_loss)
            first, is_after_loss = first + length, False


def run_of(sounds: Sequence[Waveform], frame: av.AudioFrame, is_after_loss: bool) -> Run:
    """The run of one frame, whose sound is in several arrays."""
    sound = joined(sounds)
    return Run(sound, [len(sound)], [frame.time], [frame.samples / frame.sample_rate], is_after_loss)


def run_frames(rate: int, channels: int) -> int:
    """The samples of each channel that make a run."""
    return max(min(RUN_SAMPLES // channels, RUN_S * rate), 1)


class Gathering:
    """Gathers frames of one rate and number of channels. `done` has the runs that are complete."""

    def __init__(self, rate: int, channels: int) -> None:
        self._rate, self._channels = rate, channels
        self._most = run_frames(rate, channels)
        self._form, self._fifo = "", _new_fifo()
        self._lengths, self._starts_s, self._samples, self._is_after_loss = list[int](), list[float | None](), 0, False
        self.done = list[Run]()

    def add(self, frames: Sequence[av.AudioFrame], is_after_loss: bool) -> bool:
        """Adds the frames of a packet, which have no times any more then; False, and adds none, if one of them needs
        more than another type of number, or not all need the same. May raise what PyAV raises, and adds none then."""
        for frame in frames:  # plain loops: what is done here for each frame is a tenth of decoding it
            if frame.format.name != self._form and not self._starts_with(frames):
                return False
            has_form = frame.sample_rate == self._rate and frame.layout.nb_channels == self._channels
            if not has_form or not 0 < frame.samples <= self._most:
                return False
        if not self._lengths:
            self._is_after_loss = is_after_loss
        before, write = len(self._lengths), self._fifo.write
        try:
            for frame in frames:
                self._starts_s.append(frame.time)
                self._lengths.append(frame.samples)
                frame.pts = None  # the queue would refuse it if there were a gap before
                write(frame)
        except Exception:
            del self._lengths[before:], self._starts_s[before:]
            self._start(self._form)  # without what this packet has left in the queue
            raise
        for frame in frames:
            self._samples += frame.samples
        if self._samples >= self._most:
            self.end()
        return True

    def _starts_with(self, frames: Sequence[av.AudioFrame]) -> bool:
        """Starts a run of the frames' format of samples; False if it cannot, or they have several."""
        form = frames[0].format.name
        is_ours = form in _PACKED or (form in _PLANAR and self._channels <= MAX_PLANES)
        if not is_ours or any(frame.format.name != form for frame in frames):
            return False
        self._start(form)
        return True

    def _start(self, form: str) -> None:
        """Ends the run, and starts one of a format of samples."""
        self.end()
        self._form, self._fifo = form, _new_fifo()

    def end(self) -> None:
        """Ends the run, if there is any."""
        if not self._lengths:
            return
        frame = self._fifo.read(self._samples)
        assert frame
        array = frame.to_ndarray()
        sound = array.T if self._form in _PLANAR else array.reshape(-1, self._channels)
        durations_s = [length / self._rate for length in self._lengths]
        self.done.append(Run(_as_waveform(sound), self._lengths, self._starts_s, durations_s, self._is_after_loss))
        self._lengths, self._starts_s, self._samples = [], [], 0

    def taken(self) -> list[Run]:
        """The runs that are complete, which are forgotten."""
        done, self.done = self.done, []
        return done


def _as_waveform(sound: NDArray[Any]) -> Waveform:
    """The numbers of a decoder, of any type, as those of a waveform; int16 and float32 as they are."""
    numbers: Waveform = sound
    match sound.dtype:
        case np.uint8:
            numbers = (sound.astype(np.float32) - np.float32(128)) / np.float32(128)
        case np.int32:
            numbers = np.multiply(sound, np.float32(2**-31), dtype=np.float32)
        case np.float64:
            with np.errstate(over="ignore", invalid="ignore"):
                numbers = sound.astype(np.float32)
    return numbers


def _new_fifo() -> AudioFifo:
    from av.audio.fifo import AudioFifo

    return AudioFifo()
