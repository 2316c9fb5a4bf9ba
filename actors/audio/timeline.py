"""Where decoded sound lies in a recording: samples are counted, and what is missing between them becomes silence.

The times that containers state are rounded, or derived from bit rates, and would move every packet a little. So they
are followed only where at least a packet is missing: a late start, a pause of the recorder, a lost page.
"""

from dataclasses import dataclass

import numpy as np

from actors.audio.runs import Run

TOLERANCE_S = 0.1  # by which sound may be off the container's times
MAX_LATE_S = 60.0  # later than that begins what was cut from a longer recording, with its times
MAX_GAP_S = 3_600.0  # that is believed beyond the length that the container states, which may be an estimate
MAX_HOLE_S = 600.0  # of lost samples, whatever is stated: damaged numbers of frames are as likely as longer holes

#: Containers whose times are those of a clock, and those that have the number of each sample. All others only count.
_WITH_CLOCK = frozenset({"mov", "matroska", "ogg", "flv", "asf", "mpegts", "mpeg"})
_EXACT = frozenset({"flac", "wv", "tta"})
_ESTIMATED = frozenset({"mpegts", "mpeg"})  # how long they are is only known by their times
_FROM_ZERO = frozenset({"mov", "matroska", "flv"}) | _EXACT  # their times begin with the recording's beginning


@dataclass
class Timeline:
    """The time of one stream, in its samples; `position` is that of the next one."""

    rate: int
    has_clock: bool
    is_exact: bool  # the container has the number of each sample
    origin_s: float  # the container's time of position 0
    last_s: float | None  # the last time that is believed
    position: int = 0
    _next_s: float | None = None  # where the next frame is due, in the container's times

    @classmethod
    def of(
        cls, container: str, rate: int, start_s: float | None, stated_s: float | None, counts_samples: bool
    ) -> "Timeline":
        """The timeline of a stream in a container that states when the first of its streams starts, and the seconds
        that it lasts. `counts_samples` tells that the ticks of its clock are samples."""
        is_exact, start_s = container in _EXACT and counts_samples, start_s or 0.0
        has_clock = container in _WITH_CLOCK or is_exact
        is_from_zero = container in _FROM_ZERO and start_s < MAX_LATE_S
        origin_s = 0.0 if is_from_zero else start_s
        last_s = None if stated_s is None or container in _ESTIMATED else start_s + stated_s + TOLERANCE_S
        return cls(rate, has_clock, is_exact, origin_s, last_s)

    def goes_on(self, run: Run) -> bool:
        """Whether all frames of a run follow what is before them, by their times, so that none has a gap. (If not, they
        are to be asked for one by one.)"""
        if not self.has_clock:
            return True
        if run.is_after_loss or None in run.starts_s:
            return False
        starts_s = np.array(run.starts_s, np.float64)
        positions = self.position + np.cumsum([0, *run.lengths[:-1]])
        if (np.abs(starts_s - self.origin_s - positions / self.rate) > self._tolerance_s).any():
            return False
        self._next_s = float(starts_s[-1]) + run.durations_s[-1]
        return True

    @property
    def _tolerance_s(self) -> float:
        return 0.5 / self.rate if self.is_exact else TOLERANCE_S

    def gap(self, start_s: float | None, duration_s: float, next_s: float | None, is_after_loss: bool) -> int:
        """The samples that are missing before a frame of this duration, which its container has at `start_s`, and the
        next one at `next_s`. If the next does not follow it there, its time is wrong, and is not believed.

        A loss, of packets that could not be decoded, is filled however short it is.
        """
        if start_s is None or not self.has_clock:
            return 0
        expected_s, self._next_s = self._next_s, start_s + duration_s
        ahead_s = start_s - self.origin_s - self.position / self.rate
        tolerance_s = self._tolerance_s
        if -tolerance_s <= ahead_s <= tolerance_s and not is_after_loss:
            return 0
        if next_s is None or abs(next_s - self._next_s) > max(duration_s, TOLERANCE_S):
            self._next_s = expected_s and expected_s + duration_s
            return 0
        is_stated = self.last_s is not None and start_s < self.last_s and not self.is_exact
        is_believed = is_stated or ahead_s < (MAX_HOLE_S if self.is_exact else MAX_GAP_S)
        if ahead_s < -tolerance_s or not is_believed:  # files that were joined, for example, start again
            self.origin_s += ahead_s
            return 0
        is_jump = expected_s is None or start_s - expected_s > duration_s / 2
        return max(round(ahead_s * self.rate), 0) if is_after_loss or is_jump else 0
