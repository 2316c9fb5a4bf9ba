"""Makes sound at 16 kHz of a file's channels, such that a sample does not depend on where decoding started.

Each minute is mixed and resampled by itself, with a second of its neighbours, so that two workers that decode
overlapping stretches of one recording get bit-identical samples where they overlap. That goes block by block as they
are decoded, while a processor's caches hold them; the resampler gives the same bits whatever the blocks are.
"""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager

import numpy as np
import soxr

from actors.audio.mix import MARGIN, MINUTE, Mixed, Mixer, Tally
from actors.audio.pcm import as_float, joined, narrowed
from actors.foreign.errors import one_line
from actors.schema import SAMPLE_RATE, ErrorKind, RecordingError, Waveform


def resample(blocks: Iterable[Waveform], rate: int, first_minute: int, mixer: Mixer) -> Iterator[list[Waveform]]:
    """Resamples the sounds that `mixer` makes of sound at `rate`, from `first_minute` on, to waveforms: yields parts of
    them, those of a minute when it is complete.

    `blocks`, of shape (frames, channels), start at that minute, less MARGIN unless it is the first.
    """
    length, margin = MINUTE * rate, MARGIN * rate
    position = first_minute * length - (margin if first_minute else 0)
    minutes = [_Minute(first_minute, rate, mixer)]  # that need what comes next: at the margins, two
    for block in blocks:
        while len(block):
            behind = position % length
            end = next(each for each in (margin, length - margin, length) if each > behind)
            part, block = block[: end - behind], block[end - behind :]
            mixed = mixer(part)
            for minute in minutes:
                minute.add(position, mixed)
            position += len(part)
            if position % length == length - margin:
                minutes.append(_Minute(position // length + 1, rate, mixer))
            elif position % length == margin and len(minutes) == 2:
                yield from minutes.pop(0).parts()
    for minute in minutes:
        if position > minute.start:
            yield from minute.parts()


def passed_on(blocks: Iterable[Waveform], first_minute: int, mixer: Mixer) -> Iterator[list[Waveform]]:
    """What `resample` makes of sound at SAMPLE_RATE whose channels are not mixed, block by block as it comes: there no
    sample depends on others."""
    before = MARGIN * SAMPLE_RATE if first_minute else 0
    for block in blocks:
        if len(block) > before:
            yield [narrowed(each) for each in mixer(block[before:]).sounds]
        before = max(before - len(block), 0)


class _Minute:
    """A minute of the sounds that a mixer makes, from frame `start` of the recording on."""

    def __init__(self, number: int, rate: int, mixer: Mixer) -> None:
        self.start, self._rate, self._mixer = number * MINUTE * rate, rate, mixer
        self._before = MARGIN if number else 0  # seconds
        self._blocks, self._tally = list[Waveform](), Tally()
        self._resamplers = list[soxr.ResampleStream]()
        self._begin()

    def _begin(self) -> None:
        """Begins with nothing resampled."""
        self._parts = list[list[Waveform]]()
        self._skipped, self._wanted = self._before * SAMPLE_RATE, MINUTE * SAMPLE_RATE  # samples that are still to come
        if self._rate != SAMPLE_RATE:
            with _as_recording_errors():
                self._resamplers = [
                    soxr.ResampleStream(self._rate, SAMPLE_RATE, 1, "float32", "HQ") for _ in self._mixer.numbers
                ]

    def add(self, position: int, mixed: Mixed) -> None:
        """Adds what was mixed of the frames from `position` on, which all lie in the minute, or before or behind it."""
        if mixed.block is not None:
            self._blocks.append(mixed.block)
            is_own = self.start <= position < self.start + MINUTE * self._rate
            self._tally = self._tally.plus(mixed.tally, is_own)
        self._add(mixed.sounds)

    def parts(self) -> list[list[Waveform]]:
        """The sounds of the minute, part by part."""
        if self._blocks and not self._mixer.is_mean_heard(self._tally):
            self._begin()
            first = self._before * self._rate
            self._add([self._mixer.heard(joined(self._blocks), slice(first, first + MINUTE * self._rate))])
        if self._resamplers:
            self._add([np.empty(0, np.float32)] * len(self._resamplers), is_last=True)
        return self._parts

    def _add(self, sounds: list[Waveform], is_last: bool = False) -> None:
        if self._resamplers:
            pairs = zip(self._resamplers, sounds, strict=True)
            with _as_recording_errors():
                sounds = [resampler.resample_chunk(as_float(sound), is_last) for resampler, sound in pairs]
        else:
            sounds = [narrowed(sound) for sound in sounds]
        found = len(sounds[0])
        sounds = [sound[self._skipped :][: self._wanted] for sound in sounds]
        self._skipped, self._wanted = max(self._skipped - found, 0), self._wanted - len(sounds[0])
        if len(sounds[0]):
            self._parts.append(sounds)


@contextmanager
def _as_recording_errors() -> Iterator[None]:
    """Makes errors of soxr, third-party code on untrusted sound, those of the recording."""
    try:
        yield
    except MemoryError:
        raise
    except Exception as problem:  # noqa: BLE001 - whatever it is
        detail = f"soxr fails: {type(problem).__name__}: {one_line(problem, 200)}"
        raise RecordingError(ErrorKind.UNREADABLE, detail) from None
