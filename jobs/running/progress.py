"""The progress of a run, in hours of audio: a line for people, with the time that is left.

What is left is estimated by the plan, which may be wrong: what was heard and what is estimated to be left make up the
total, so that it is never exceeded. The time that is left follows from how fast estimated audio was done lately, so
that estimates that are all wrong by the same factor do no harm.
"""

import threading
import time
from collections import deque
from collections.abc import Callable, Mapping
from typing import NamedTuple

from rich.cells import cell_len

WINDOW_S = 300.0  # that tell the rate: a few slow pieces are no reason to despair, and what was an hour ago counts not
MIN_SAMPLES = 4  # that are kept, however old: pieces may take longer than the window
SAMPLE_EVERY_S = 1.0
MIN_RATED = 3  # samples that tell a rate: the begin, and the outcomes of two pieces
SECONDS_UNTIL = 600  # of a run without a rate yet: people see that it is alive
SHORT_HOURS = 0.1  # of audio; below, minutes are shown
DOT = " · "


class Sample(NamedTuple):
    """What was done at a time: of the plan, in seconds of audio as estimated, or in units where none is to be heard;
    and seconds of audio heard."""

    at: float
    planned: float
    heard: float


class Progress:
    """Counts what becomes of units, of which so many seconds of audio are `planned`, by id; those that are only
    rewritten have none. Written and read by different threads."""

    def __init__(self, planned: Mapping[str, float], clock: Callable[[], float] = time.monotonic) -> None:
        self._left = {unit: max(seconds, 0.0) for unit, seconds in planned.items()}  # of units that are not committed
        self._total = self._left_seconds = sum(self._left.values())
        self._units, self._done, self._failed = len(planned), 0, set[str]()
        self._heard, self._errors = 0.0, 0
        self._paced = Sample(0.0, 0.0, 0.0)  # what was done by now of which the time is known
        self._clock, self._lock, self._began = clock, threading.Lock(), clock()
        self._samples = deque[Sample]()

    def keep(self, unit: str, seconds: float, took: float | None) -> None:
        """Seconds of a unit's audio were heard, which took an actor so long; None if an earlier run heard them."""
        with self._lock:
            left = self._left.get(unit, 0.0)
            planned = min(left, max(seconds, 0.0))
            if unit in self._left:
                self._left[unit] = left - planned
            self._count(planned, seconds, took)

    def commit(self, unit: str, seconds: float, errors: int, took: float | None) -> None:
        """A unit was committed, with audio that was not kept before, and recordings with an error."""
        with self._lock:
            self._done += 1
            self._errors += errors
            self._failed.discard(unit)
            left = self._left.pop(unit, 0.0)
            self._count(left, seconds, took if self._total else 0.0, units=1)

    def _count(self, planned: float, seconds: float, took: float | None, units: int = 0) -> None:
        """Notes what is done now. The rate counts from when the first piece began: what came before is start-up."""
        now = self._clock()
        self._left_seconds = max(self._left_seconds - planned, 0.0)
        self._heard += max(seconds, 0.0)
        done = planned if self._total else float(units)
        if took is None or done <= 0:
            return
        if not self._samples:
            self._samples.append(self._paced._replace(at=max(now - max(took, 0.0), self._began)))
        elif len(self._samples) > 1 and now - self._samples[-2].at < SAMPLE_EVERY_S:
            self._samples.pop()
        self._paced = Sample(now, self._paced.planned + done, self._paced.heard + max(seconds, 0.0))
        self._samples.append(self._paced)
        while len(self._samples) > MIN_SAMPLES and now - self._samples[1].at > WINDOW_S:
            self._samples.popleft()

    def fail(self, unit: str) -> None:
        with self._lock:
            self._failed.add(unit)

    def retry(self, unit: str) -> None:
        with self._lock:
            self._failed.discard(unit)

    def line(self, room: int) -> str:
        """The progress in at most so many columns, if they are enough for hours and the time that is left:
        `1.25 of 3.40 h · 12 of 40 units · 3 errors · 147 x · 12 min left`."""
        with self._lock:
            shown = self._parts()
        for least in ("speed", "units", "failed", "errors"):
            if cell_len(DOT.join(shown.values())) > room:
                shown.pop(least, None)
        return DOT.join(shown.values())

    def _parts(self) -> dict[str, str]:
        """What the line tells, by name."""
        shown, now = dict[str, str](), self._clock()
        if self._total or self._heard:
            shown["audio"] = _of_hours(self._heard / 3_600, (self._heard + self._left_seconds) / 3_600)
        shown["units"] = f"{self._done:,} of {_counted(self._units, 'unit')}"
        if self._failed:
            shown["failed"] = f"{_counted(len(self._failed), 'unit')} failed"
        if self._errors:
            shown["errors"] = _counted(self._errors, "error")
        is_over = len(self._left) == len(self._failed)
        if is_over:  # without the speed of late, which is not that of all this time
            return shown | {"time": f"in {in_words(now - self._began)}"}
        first, last = (self._samples[0], self._samples[-1]) if self._samples else (self._paced, self._paced)
        if len(self._samples) >= MIN_RATED and last.heard > first.heard and last.at > first.at:
            shown["speed"] = f"{(last.heard - first.heard) / (last.at - first.at):,.0f} x"
        if (seconds := self._seconds_left(now)) is not None:
            shown["time"] = f"{in_words(max(seconds, 1.0))} left"
        else:
            so_far = now - self._began
            shown["time"] = f"{f'{so_far:.0f} s' if so_far < SECONDS_UNTIL else in_words(so_far)} so far"
        return shown

    def _seconds_left(self, now: float) -> float | None:
        """The time that units which have not failed will take, at the rate of late; None if there is none yet."""
        if len(self._samples) < MIN_RATED:
            return None
        if self._total:
            to_do = self._left_seconds - sum(self._left.get(unit, 0.0) for unit in self._failed)
        else:
            to_do = float(len(self._left) - len(self._failed))
        first, last = self._samples[0], self._samples[-1]
        if last.planned <= first.planned:  # so little was done that the sum did not grow
            return None
        return max(to_do, 0.0) * max(now - first.at, 0.0) / (last.planned - first.planned)


def _of_hours(done: float, total: float) -> str:
    if total < SHORT_HOURS:
        return f"{done * 60:.1f} of {total * 60:.1f} min"
    decimals = 2 if total < 100 else 1 if total < 1_000 else 0
    return f"{done:,.{decimals}f} of {total:,.{decimals}f} h"


def _counted(count: int, what: str) -> str:
    return f"{count:,} {what}" if count == 1 else f"{count:,} {what}s"


def in_words(seconds: float) -> str:
    """A time as people say it: `45 s`, `12 min`, `3 h 20 min`, `4 d 6 h`."""
    minutes = round(seconds / 60)
    if seconds < 59.5:
        return f"{seconds:.0f} s"
    if minutes < 60:
        return f"{minutes} min"
    if minutes < 48 * 60:
        return f"{minutes // 60} h {minutes % 60} min"
    hours = round(minutes / 60)
    return f"{hours // 24:,} d {hours % 24} h"
