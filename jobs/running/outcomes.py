"""Collects the outcomes of a run's pieces: what is done, what failed, and what is left."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

from actors.outcomes import Committed, Counts, Example, Failed, Kept, Outcome, Recut, Work
from actors.pieces import MAX_PIECES, Cut
from actors.units import Unit
from jobs.cli.terminal import MAX_EXAMPLES, Progress
from jobs.running.metrics import Metrics

FAILURES_IN_A_ROW = 20  # after which the output is considered unusable and the run stops
LOST = "its worker process died"
NOT_STARTED = "not started, or dropped"


class TooManyFailures(Exception):
    """So many units failed in a row that the run stops."""


@dataclass
class Totals:
    """Totals over the committed units of a run, and over the work on all pieces."""

    units: int = 0
    counts: Counts = field(default_factory=Counts)
    transcripts: list[Example] = field(default_factory=list)
    failures: list[Example] = field(default_factory=list)
    began: float = 0.0  # seconds since 1970, when an actor first had work; 0 if none had
    ended: float = 0.0
    busy_seconds: float = 0.0

    def add_unit(self, committed: Committed) -> None:
        self.units += 1
        self.counts += committed.counts
        self.transcripts += committed.transcripts[: MAX_EXAMPLES - len(self.transcripts)]
        self.failures += committed.failures[: MAX_EXAMPLES - len(self.failures)]

    def add_work(self, work: Work | None) -> None:
        if work:
            self.began = min(self.began or work.began, work.began)
            self.ended = max(self.ended, work.ended)
            self.busy_seconds += work.busy_seconds


class Ledger:
    """The state of every planned unit, as the outcomes of its pieces arrive; reported as progress and metrics.

    `waiting` are units without an outcome, by id; `failed` the reasons of those that were not committed.
    """

    def __init__(self, units: Sequence[Unit], metrics: Metrics) -> None:
        self.waiting = {unit.id: unit for unit in units}
        self.failed = dict[str, str]()
        self.totals = Totals()
        self._progress, self._metrics = Progress(len(units)), metrics
        self._failures_in_a_row = 0
        self._kept_seconds = dict[str, float]()  # of audio, by unit
        self._cuts = dict[str, Cut]()  # that units need

    def add(self, outcome: Outcome) -> None:
        """Records the outcome of a piece. Raises TooManyFailures."""
        match outcome:
            case Recut(unit, cut):
                self._cuts[unit] = self._cuts.get(unit, cut).merged(cut)
            case Kept(unit, seconds, work):
                self._failures_in_a_row = 0
                self._kept_seconds[unit] = self._kept_seconds.get(unit, 0.0) + seconds
                self._report(Counts(audio_seconds=seconds), work)
            case Committed(unit, counts, work):
                self._failures_in_a_row = 0
                if unit not in self.waiting and unit not in self.failed:
                    return  # two writers committed it, as may happen where storage has no conditional create
                self.waiting.pop(unit, None)
                self.failed.pop(unit, None)
                self.totals.add_unit(outcome)
                seconds = max(counts.audio_seconds - self._kept_seconds.pop(unit, 0.0), 0.0)  # not reported before
                self._report(replace(counts, audio_seconds=seconds), work, units=1)
            case Failed(unit, reason):
                if unit not in self.failed:  # else another of its pieces failed before
                    self._fail(unit, reason)

    def to_recut(self, made: Mapping[str, Cut] = {}) -> dict[str, Cut]:
        """Units to cut into other pieces, by id, and how. Each is returned once; one that asks for the cut that was
        `made` of it fails, since it would ask again and again."""
        cuts, self._cuts = self._cuts, {}
        for unit, cut in cuts.items():
            if unit in self.waiting and cut == made.get(unit):
                self._fail(unit, "it asks for the cut that it has")
            if unit in self.waiting and cut.shares * cut.stretches > MAX_PIECES:
                self._fail(unit, f"it would need more than {MAX_PIECES} pieces")
        return {unit: cut for unit, cut in cuts.items() if unit in self.waiting}

    def retry_lost(self) -> list[Unit]:
        """The units without an outcome, which are counted as retried: each crashed its worker, or was not started."""
        if self.waiting:
            self._metrics.retry(len(self.waiting))
        return list(self.waiting.values())

    def give_up(self, reason: str) -> int:
        """Leaves the units without an outcome to the next run, for a reason. Returns their number."""
        given_up = dict.fromkeys(self.waiting, reason)
        self.waiting.clear()
        self.failed |= given_up
        return len(given_up)

    def _fail(self, unit: str, reason: str) -> None:
        self.waiting.pop(unit, None)
        self.failed[unit] = reason
        self._progress.add(Counts(), units=1)
        self._failures_in_a_row += 1
        if self._failures_in_a_row == FAILURES_IN_A_ROW:
            raise TooManyFailures(f"{self._failures_in_a_row} units in a row failed")

    def _report(self, counts: Counts, work: Work | None, units: int = 0) -> None:
        self.totals.add_work(work)
        self._progress.add(counts, units)
        self._metrics.add(counts, work, units)
