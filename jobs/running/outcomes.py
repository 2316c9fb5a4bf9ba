"""Collects the outcomes of a run's pieces: what is done, what failed, and what is left."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace

from actors.outcomes import Committed, Counts, Example, Failed, Kept, Outcome, Recut, Work
from actors.parts.summary import EXAMPLES, MAX_NAMED
from actors.pieces import MAX_PIECES, Cut
from actors.schema import ErrorKind
from actors.sources.account import Entries
from actors.units import SourceObject, Unit, nominal_seconds
from jobs.running.actor_time import ActorTime
from jobs.running.metrics import Metrics
from jobs.running.progress import Progress

FAILURES_IN_A_ROW = 20  # after which the output is considered unusable and the run stops
MAX_INTERNAL_IN_A_ROW = 20  # recordings with an unforeseen exception: then it is not they that are at fault
LOST = "its worker process died"
NOT_STARTED = "not started, or dropped"


class TooManyFailures(Exception):
    """So many units failed in a row that the run stops."""


@dataclass
class Totals:
    """Totals over the committed units of a run, and over the work on all pieces."""

    units: int = 0
    rewritten: int = 0  # of these, the units of which nothing was heard
    counts: Counts = field(default_factory=Counts)
    transcripts: list[Example] = field(default_factory=list)
    failures: list[Example] = field(default_factory=list)
    entries: Entries = field(default_factory=Entries)  # found in containers
    time: ActorTime = field(default_factory=ActorTime)

    def add_unit(self, committed: Committed, is_rewritten: bool) -> None:
        self.units += 1
        self.rewritten += is_rewritten
        self.counts += committed.counts
        self.entries += Entries.from_dict(committed.entries) if committed.entries else Entries()
        self.transcripts += committed.transcripts[: EXAMPLES - len(self.transcripts)]
        self.failures += committed.failures[: MAX_NAMED - len(self.failures)]

    def add_work(self, work: Work | None) -> None:
        if work:
            self.time.add(work)


class Ledger:
    """The state of every planned unit, as the outcomes of its pieces arrive; reported as progress and metrics.

    `waiting` are units without an outcome, by id; `failed` the reasons of those that were not committed, and `hopeless`
    are those of them that fail in the same way however they are tried. `estimate` returns the seconds of audio that an
    object probably has.
    """

    def __init__(self, units: Sequence[Unit], estimate: Callable[[SourceObject], float] = nominal_seconds) -> None:
        self.waiting = {unit.id: unit for unit in units}
        self.failed = dict[str, str]()
        self._units, self._reasons = dict(self.waiting), dict[str, list[str]]()  # kinds of failures, not storage's
        self._retried, self._internal_in_a_row = set[str](), 0
        self.totals = Totals()
        self.progress = Progress({unit.id: sum(map(estimate, unit.objects)) for unit in units})
        self._metrics: Metrics | None = None
        self._failures_in_a_row = 0
        self._kept_seconds = dict[str, float]()  # of audio, by unit
        self._cuts = dict[str, Cut]()  # that units need

    def publish(self, metrics: Metrics) -> None:
        """Reports to these metrics from now on."""
        self._metrics = metrics

    def add(self, outcome: Outcome) -> None:
        """Records the outcome of a piece. Raises TooManyFailures."""
        match outcome:
            case Recut(unit, cut):
                self._cuts[unit] = self._cuts.get(unit, cut).merged(cut)
            case Kept(unit, seconds, work):
                self._failures_in_a_row = 0
                self._kept_seconds[unit] = self._kept_seconds.get(unit, 0.0) + seconds
                self.progress.keep(unit, seconds, _took(work))
                self._report(Counts(audio_seconds=seconds), work)
            case Committed(unit, counts, work):
                if unit not in self.waiting and unit not in self.failed:
                    return  # two writers committed it, as may happen where storage has no conditional create
                self.waiting.pop(unit, None)
                self.failed.pop(unit, None)
                self.totals.add_unit(outcome, is_rewritten=not self._units[unit].objects)
                seconds = max(counts.audio_seconds - self._kept_seconds.pop(unit, 0.0), 0.0)  # not reported before
                self.progress.commit(unit, seconds, sum(counts.errors.values()), _took(work))
                self._report(replace(counts, audio_seconds=seconds), work, units=1)
                self._watch(counts)
            case Failed(unit, reason, is_storage):
                if unit not in self.failed:  # else another of its pieces failed before
                    if not is_storage:
                        self._reasons.setdefault(unit, []).append(reason.partition(":")[0])  # the exception's name
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

    def to_retry(self) -> list[Unit]:
        """Units that failed, and not because of storage, each once. They count as waiting again, and as retried."""
        new = [unit for unit in self._reasons if unit in self.failed and unit not in self._retried]
        self._retried.update(new)
        return self._retry(new)

    def to_isolate(self) -> list[Unit]:
        """Units of which each recording is to be tried alone: those without an outcome, for each crashed its worker or
        was not started, and those that failed twice for one reason. They count as retried."""
        twice = (unit for unit, reasons in self._reasons.items() if len(reasons) == 2 and len(set(reasons)) == 1)
        return self._retry([*self.waiting, *twice])

    @property
    def hopeless(self) -> frozenset[str]:
        """Failed units, by id, that fail in the same way however they are tried."""
        same = (unit for unit, reasons in self._reasons.items() if len(reasons) > 2 and len(set(reasons)) == 1)
        return frozenset(same) & self.failed.keys()

    def _retry(self, units: Iterable[str]) -> list[Unit]:
        found = [self._units[unit] for unit in units if unit in self.waiting or unit in self.failed]
        for unit in found:
            self.failed.pop(unit.id, None)
            self.waiting[unit.id] = unit
            self.progress.retry(unit.id)
        if found and self._metrics:
            self._metrics.retry(len(found))
        return found

    def give_up(self, reason: str) -> int:
        """Leaves the units without an outcome to the next run, for a reason. Returns their number."""
        given_up = dict.fromkeys(self.waiting, reason)
        for unit in given_up:
            self.progress.fail(unit)
        self.waiting.clear()
        self.failed |= given_up
        return len(given_up)

    def _watch(self, counts: Counts) -> None:
        """Raises TooManyFailures after many units in a row of which nothing could be reached, and after many recordings
        in a row whose error nobody foresaw: it is not they that are at fault."""
        if 0 < counts.errors.get(ErrorKind.UNREACHABLE, 0) == counts.recordings:
            self._count_failure("in which nothing could be reached")
        else:
            self._failures_in_a_row = 0
        internal = counts.errors.get(ErrorKind.INTERNAL, 0)
        self._internal_in_a_row = self._internal_in_a_row + internal if 0 < internal == counts.recordings else 0
        if self._internal_in_a_row > MAX_INTERNAL_IN_A_ROW:
            raise TooManyFailures(f"{self._internal_in_a_row} recordings in a row failed in a way that is not foreseen")

    def _fail(self, unit: str, reason: str) -> None:
        self.waiting.pop(unit, None)
        self.failed[unit] = reason
        self.progress.fail(unit)
        self._count_failure("failed")

    def _count_failure(self, what: str) -> None:
        self._failures_in_a_row += 1
        if self._failures_in_a_row == FAILURES_IN_A_ROW:
            raise TooManyFailures(f"{self._failures_in_a_row} units in a row {what}")

    def _report(self, counts: Counts, work: Work | None, units: int = 0) -> None:
        self.totals.add_work(work)
        if self._metrics:
            self._metrics.add(counts, work, units)


def _took(work: Work | None) -> float | None:
    """The seconds that an actor took, None if there was nothing to hear."""
    return None if work is None else work.ended - work.began
