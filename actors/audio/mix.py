"""Makes mono sounds of a file's channels: their mean, one of them, or each by itself."""

from __future__ import annotations

from typing import Literal, NamedTuple

import numpy as np

from actors.audio.pcm import as_float
from actors.schema import ErrorKind, Floats, RecordingError, WarningKind, Waveform

#: The number of one channel, each as a sound of its own, None for the mean of all.
Channel = int | Literal["each"] | None

MINUTE = 60  # seconds that are mixed at once; a whole number of samples at any rate
MARGIN = 1  # seconds on either side of them; the resampler's filter is a few hundred samples long
MAX_AMPLITUDE = 1e6  # times full scale; no real sound is as loud, and sums of larger numbers overflow
MAX_CHANNELS = 8  # of which each may be a sound of its own, as a meeting's microphones; calls have two

#: Samples a second, of all channels together, that are held for a minute before they are mixed: with more of them the
#: mean is not checked, and each channel is not taken (as many as a mono file of the highest rate has).
MAX_CHECKED_RATE, MAX_RATE = 200_000, 768_000
CANCELLED = 0.1  # of the power that the loudest channel alone would have in the mean: two that share it have twice that
AS_LOUD = 0.8  # of the power of the loudest channel: rounding must not choose another one minute by minute


class Tally(NamedTuple):
    """What is known of the mean of channels: sums over its frames, of its samples, their squares, and the squares of
    all channels' samples; and whether all of them are numbers as sound has them."""

    frames: int = 0
    total: float = 0.0
    of_mean: float = 0.0
    of_all: float = 0.0
    is_clean: bool = True

    def plus(self, other: Tally, is_own: bool) -> Tally:
        """With another one, whose sums count if it is of the minute's own frames, not of its margins."""
        is_clean = self.is_clean and other.is_clean
        if not is_own:
            return self._replace(is_clean=is_clean)
        frames, total = self.frames + other.frames, self.total + other.total
        return Tally(frames, total, self.of_mean + other.of_mean, self.of_all + other.of_all, is_clean)


class Mixed(NamedTuple):
    """What a mixer makes of a block: its sounds. Of a mean, in whose place a channel may have to be heard, also the
    block, (frames, channels), and what is known of the mean."""

    sounds: list[Waveform]
    block: Waveform | None = None
    tally: Tally = Tally()


class Mixer:
    """Makes the mono sounds of blocks of shape (frames, channels) at `rate`: of one channel, of each, or of
    their mean.

    Where the channels cancel out, as they do if one is the inverse of the other, the loudest is heard instead. That is
    decided for each minute of a recording by itself, so for any stretch as for the whole. Collects `warnings`.
    """

    def __init__(self, channels: int, rate: int, channel: Channel, takes_mono: bool = False) -> None:
        """With `takes_mono`, a file of one channel is taken as it is if it lacks the one that is asked for. Raises
        RecordingError (unreadable) if others lack it, or have too many to take each."""
        self.warnings, self._channels = set[WarningKind](), channels
        self._column: int | None = 0 if channels == 1 else None
        self._is_each = channel == "each"
        if channel == "each":
            if channels > MAX_CHANNELS or channels * rate > max(MAX_RATE, rate):
                detail = f"{channels} channels at {rate} Hz are too many to take each; audio.channel takes one of them"
                raise RecordingError(ErrorKind.UNREADABLE, detail)
        elif channel is not None and channel < channels:
            self._column = channel
        elif channel is not None:
            if channels > 1 or not takes_mono:
                detail = f"channel {channel} was requested, but the file has channels 0 to {channels - 1}"
                raise RecordingError(ErrorKind.UNREADABLE, detail)
            self.warnings.add(WarningKind.NO_SUCH_CHANNEL)
        self._is_checked = channels <= MAX_CHANNELS and channels * rate <= MAX_CHECKED_RATE
        self.numbers: list[int] | list[None] = list(range(channels)) if self._is_each else [None]

    @property
    def takes_one(self) -> bool:
        """Whether it takes one channel, whose samples then depend on nothing but themselves."""
        return self._column is not None

    def __call__(self, block: Waveform) -> Mixed:
        """What it makes of a block. One channel of several is copied, for it would hold the memory of all."""
        if self._column is not None:
            sound: Waveform = np.ascontiguousarray(block.T[self._column])
            return Mixed([_clean(sound.copy() if self._channels > 1 else sound)])
        if self._is_each:
            return Mixed([_clean(np.ascontiguousarray(sound)) for sound in block.T])
        channels = as_float(block).T
        if not self._is_checked:
            return Mixed([_clean(_mean(channels))])
        channels = np.ascontiguousarray(channels)
        mean = _mean(channels)
        power = _square(mean)
        if not power < MAX_AMPLITUDE**2:  # else each sample is below it, and a number
            return Mixed([mean], block, Tally(is_clean=False))
        total, of_all = np.einsum("i->", mean), np.einsum("ij,ij->", channels, channels)
        return Mixed([mean], block, Tally(len(mean), float(total), power, float(of_all)))

    def is_mean_heard(self, tally: Tally) -> bool:
        """Whether the mean of channels is known to be what is to be heard: it is clean, and so loud that the channels
        do not cancel out, whatever the rounding. (All channels together have no less power than the loudest.)"""
        of_mean = tally.of_mean - tally.total**2 / max(tally.frames, 1)
        return tally.is_clean and of_mean >= 2 * CANCELLED * tally.of_all / self._channels**2

    def heard(self, minute: Waveform, own: slice) -> Floats:
        """What is heard of the channels of a minute with its margins, (frames, channels): their mean, or the loudest
        where they cancel out in the frames that are its `own`."""
        sound = as_float(minute)
        mean = _mean(sound.T)
        if not _is_clean(mean):
            sound = np.where(np.isfinite(sound), sound, np.float32(0))  # leaves the other channels as they are
            mean = _cleaned(_mean(sound.T))
        powers = np.array([_power(sound[own, number]) for number in range(sound.shape[1])])
        if _power(mean[own]) >= CANCELLED * powers.max() / len(powers) ** 2:
            return mean
        self.warnings.add(WarningKind.CHANNELS_CANCEL)
        return _cleaned(sound[:, int(np.argmax(powers >= AS_LOUD * powers.max()))])


def _mean(channels: Floats) -> Floats:
    """The mean of channels, (channels, frames). (numpy's own takes longer for a few.)"""
    with np.errstate(over="ignore", invalid="ignore"):
        if len(channels) > MAX_CHANNELS:
            mean: Floats = channels.mean(axis=0, dtype=np.float32)
            return mean
        total: Floats = np.add(channels[0], channels[1])
        for number in range(2, len(channels)):
            total += channels[number]
        total /= np.float32(len(channels))
    return total


def _square(sound: Floats) -> float:
    """The sum of the squares of all samples; infinite or not a number if one is, or they are too loud."""
    with np.errstate(over="ignore", invalid="ignore"):
        return float(np.einsum("i,i->", sound, sound))


def _power(sound: Floats) -> float:
    """The power of a sound, less that of a constant offset, which is not heard."""
    of_offset = float(sound.sum(dtype=np.float64)) ** 2 / max(len(sound), 1)
    return max(_square(sound) - of_offset, 0.0)


def _is_clean(sound: Floats) -> bool:
    if _square(sound) < MAX_AMPLITUDE**2:  # which tells it of most sound, without a copy
        return True
    with np.errstate(invalid="ignore"):
        return bool(np.abs(sound).max(initial=0) < MAX_AMPLITUDE)


def _clean(sound: Waveform) -> Waveform:
    """The sound with samples in float32 that are NaN, infinite or impossibly loud replaced."""
    return sound if sound.dtype == np.int16 else _cleaned(as_float(sound))


def _cleaned(sound: Floats) -> Floats:
    if _is_clean(sound):
        return sound
    cleaned: Floats = np.nan_to_num(sound, nan=0.0, posinf=1.0, neginf=-1.0).clip(-MAX_AMPLITUDE, MAX_AMPLITUDE)
    return cleaned
