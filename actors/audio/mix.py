"""Makes mono sounds of a file's channels: their mean, one of them, or each by itself."""

from typing import Literal

import numpy as np

from actors.schema import ErrorKind, Floats, RecordingError, WarningKind

#: The number of one channel, each as a sound of its own, None for the mean of all.
Channel = int | Literal["each"] | None

MAX_AMPLITUDE = 1e6  # times full scale; no real sound is as loud, and sums of larger numbers overflow
MAX_CHANNELS = 8  # of which each may be a sound of its own, as a meeting's microphones; calls have two

#: Samples a second, of all channels together, that are held for a minute before they are mixed: with more of them the
#: mean is not checked, and each channel is not taken (as many as a mono file of the highest rate has).
MAX_CHECKED_RATE, MAX_RATE = 200_000, 768_000
CANCELLED = 0.1  # of the power that the loudest channel alone would have in the mean: two that share it have twice that
AS_LOUD = 0.8  # of the power of the loudest channel: rounding must not choose another one minute by minute


class Mixer:
    """Makes the mono sounds of blocks of shape (frames, channels), float32, at `rate`: of one channel, of each, or of
    their mean.

    Where the channels cancel out, as they do if one is the inverse of the other, the loudest is heard instead. That is
    decided for each minute of a recording by itself, so for any stretch as for the whole. Collects `warnings`.
    """

    def __init__(self, channels: int, rate: int, channel: Channel, takes_mono: bool = False) -> None:
        """With `takes_mono`, a file of one channel is taken as it is if it lacks the one that is asked for. Raises
        RecordingError (unreadable) if others lack it, or have too many to take each."""
        self.warnings = set[WarningKind]()
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

    def reduced(self, block: Floats) -> Floats:
        """What is needed of a block: (frames, channels), of which there may be fewer."""
        if self._column is not None:
            column = block[:, self._column : self._column + 1]
            return column.copy() if block.shape[1] > 1 else column  # or all channels would be held with it
        return block if self._holds_all else _mean(block)[:, None]

    def __call__(self, minute: Floats, own: slice) -> list[Floats]:
        """The sounds of a minute with its margins, (frames, channels) of `reduced`; `own` are the frames without the
        margins. One for each of `numbers`."""
        if self._is_each or minute.shape[1] == 1:
            return [_clean(minute[:, number]) for number in range(minute.shape[1])]
        mean = _mean(minute)
        if not _is_clean(mean):
            minute = np.where(np.isfinite(minute), minute, np.float32(0))  # leaves the other channels as they are
            mean = _clean(_mean(minute))
        powers = np.array([_power(minute[own, number]) for number in range(minute.shape[1])])
        if _power(mean[own]) < CANCELLED * powers.max() / len(powers) ** 2:
            self.warnings.add(WarningKind.CHANNELS_CANCEL)
            return [_clean(minute[:, int(np.argmax(powers >= AS_LOUD * powers.max()))])]
        return [mean]


def _mean(block: Floats) -> Floats:
    """The mean of the channels of (frames, channels); for a few, numpy's own takes eight times as long."""
    with np.errstate(over="ignore", invalid="ignore"):
        if block.shape[1] > MAX_CHANNELS:
            total: Floats = block.mean(axis=1, dtype=np.float32)
            return total
        total = block[:, 0] + block[:, 1]
        for number in range(2, block.shape[1]):
            total += block[:, number]
        total /= np.float32(block.shape[1])
    return total


def _power(sound: Floats) -> float:
    """The power of a sound, less that of a constant offset, which is not heard."""
    of_offset = float(sound.sum(dtype=np.float64)) ** 2 / max(len(sound), 1)
    return max(float(np.einsum("i,i->", sound, sound)) - of_offset, 0.0)


def _is_clean(sound: Floats) -> bool:
    with np.errstate(invalid="ignore"):
        return bool(np.abs(sound).max(initial=0) < MAX_AMPLITUDE)


def _clean(sound: Floats) -> Floats:
    """The sound with NaN, infinite and impossibly loud samples replaced."""
    if _is_clean(sound):
        return sound
    cleaned: Floats = np.nan_to_num(sound, nan=0.0, posinf=1.0, neginf=-1.0).clip(-MAX_AMPLITUDE, MAX_AMPLITUDE)
    return cleaned
