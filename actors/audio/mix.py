"""Makes mono sounds of a file's channels: their mean, one of them, or each by itself."""

from typing import Literal

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


class Mixer:
    """Makes the mono sounds of blocks of shape (frames, channels) at `rate`: of one channel, of each, or of
    their mean.

    Where the channels cancel out, as they do if one is the inverse of the other, the loudest is heard instead. That is
    decided for each minute of a recording by itself, so for any stretch as for the whole. Collects `warnings`.
    """

    def __init__(self, channels: int, rate: int, channel: Channel, takes_mono: bool = False) -> None:
        """With `takes_mono`, a file of one channel is taken as it is if it lacks the one that is asked for. Raises
        RecordingError (unreadable) if others lack it, or have too many to take each."""
        self.warnings, self._rate = set[WarningKind](), rate
        self._scratch: Floats | None = None
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
        self._holds_all = self._is_each or (channels <= MAX_CHANNELS and channels * rate <= MAX_CHECKED_RATE)
        self.numbers: list[int] | list[None] = list(range(channels)) if self._is_each else [None]

    @property
    def takes_one(self) -> bool:
        """Whether it takes one channel, whose samples then depend on nothing but themselves."""
        return self._column is not None

    def reduced(self, block: Waveform) -> Waveform:
        """What is needed of a block: (frames, channels), of which there may be fewer. One of several is copied, for a
        part of the block would hold the memory of all."""
        if self._column is not None:
            return block if block.shape[1] == 1 else block[:, self._column : self._column + 1].copy()
        return block if self._holds_all else _mean(as_float(block))[:, None]

    def __call__(self, minute: Waveform, own: slice) -> list[Waveform]:
        """The sounds of a minute with its margins, (frames, channels) of `reduced`; `own` are the frames without the
        margins. One for each of `numbers`."""
        if self._is_each or minute.shape[1] == 1:
            sounds: list[Waveform] = [np.ascontiguousarray(sound) for sound in minute.T]
            return [sound if sound.dtype == np.int16 else _clean(as_float(sound)) for sound in sounds]
        mean, is_good = self._mixed(minute, own)
        if is_good:
            return [mean]
        sound = as_float(minute)
        mean = _mean(sound)
        if not _is_clean(mean):
            sound = np.where(np.isfinite(sound), sound, np.float32(0))  # leaves the other channels as they are
            mean = _clean(_mean(sound))
        powers = np.array([_power(sound[own, number]) for number in range(sound.shape[1])])
        if _power(mean[own]) < CANCELLED * powers.max() / len(powers) ** 2:
            self.warnings.add(WarningKind.CHANNELS_CANCEL)
            return [_clean(sound[:, int(np.argmax(powers >= AS_LOUD * powers.max()))])]
        return [mean]

    def _mixed(self, minute: Waveform, own: slice) -> tuple[Floats, bool]:
        """The mean of the channels, in memory that the next minute's will be in, and whether that is known to be all
        that there is to do: it is clean, and so loud that the channels do not cancel out, whatever the rounding.

        A second at a time, which a processor's caches hold.
        """
        if self._scratch is None:
            self._scratch = np.empty((MINUTE + 2 * MARGIN) * self._rate, np.float32)
        mean, total, of_mean, of_all = self._scratch[: len(minute)], 0.0, 0.0, 0.0
        for first in range(0, len(minute), self._rate):
            channels = np.ascontiguousarray(as_float(minute[first : first + self._rate]).T)
            of_second = mean[first : first + self._rate]
            _mean(channels.T, of_second)
            power = _square(of_second)
            if not power < MAX_AMPLITUDE**2:  # then each sample is below it, and a number
                return mean, False
            if own.start <= first < own.stop:
                total += float(np.einsum("i->", of_second))
                of_mean += power
                of_all += float(np.einsum("ij,ij->", channels, channels))  # no less than the loudest has
        of_mean -= total**2 / max(min(own.stop, len(minute)) - own.start, 1)
        return mean, of_mean >= 2 * CANCELLED * of_all / minute.shape[1] ** 2


def _mean(block: Floats, out: Floats | None = None) -> Floats:
    """The mean of the channels of (frames, channels), in `out` if given. (numpy's own takes longer for a few.)"""
    with np.errstate(over="ignore", invalid="ignore"):
        if block.shape[1] > MAX_CHANNELS:
            total: Floats = block.mean(axis=1, dtype=np.float32, out=out)
            return total
        total = np.add(block[:, 0], block[:, 1], out)
        for number in range(2, block.shape[1]):
            total += block[:, number]
        total /= np.float32(block.shape[1])
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


def _clean(sound: Floats) -> Floats:
    """The sound with NaN, infinite and impossibly loud samples replaced."""
    if _is_clean(sound):
        return sound
    cleaned: Floats = np.nan_to_num(sound, nan=0.0, posinf=1.0, neginf=-1.0).clip(-MAX_AMPLITUDE, MAX_AMPLITUDE)
    return cleaned
