"""The record of a run, summary.json in its folder: begun with the work, kept current, and ended however the run ends.

A run that is killed leaves it as it was last written, with the state "running".
"""

import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager

from actors.schema import UsageError
from actors.storage.place import Place
from actors.units import Unit
from jobs.cli.command import FAILED, USAGE
from jobs.cli.config import Config, ConfigError
from jobs.cli.terminal import say, summary_json
from jobs.planning.prepare import Prepared
from jobs.planning.run_files import SUMMARY
from jobs.running.facts import facts_of_config, facts_of_plan, failed_units, failing, timestamp
from jobs.running.last_run import LastRun
from jobs.running.outcomes import Ledger, Totals
from jobs.running.summary import Finished, RecordingCounts, Summary, UnitCounts

MIN_SECONDS = 5.0  # between two refreshes, for storage may charge for each
MAX_WHY = 1_000  # characters of why a run ended early


class RunRecord:
    """What is known of a run so far. `summary` is the JSON object of the run, complete once it has ended.

    The heartbeat's thread refreshes the file while the run's own thread works, so writing is under a lock.
    """

    def __init__(self, config: Config, run_id: str, last_run: LastRun) -> None:
        self.summary: dict[str, object] = {"run_id": run_id, "output": config.output.uri, "status": None}
        self.summary |= {"state": "running", "start": timestamp(time.time()), "end": None} | facts_of_config(config)
        self.folder: Place | None = None
        self._last_run = last_run
        self._units = dict[str, Unit]()
        self._counts = UnitCounts(planned=0, skipped=0, done=0)
        self._totals: RecordingCounts | None = None
        self._progress: Callable[[], dict[str, object]] = dict
        self._lock, self._began = threading.Lock(), time.monotonic()
        self._written, self._written_at = dict[str, object](), 0.0

    @property
    def status(self) -> int:
        status = self.summary["status"]
        assert isinstance(status, int), "the run has not ended"
        return status

    @property
    def number(self) -> int:
        """The run's number, which was claimed."""
        assert self.folder is not None
        return int(self.folder.name)

    def claim(self, prepared: Prepared, folder: Place) -> None:
        """Notes the plan and the run's folder. Nothing is written yet: another run may be at work."""
        self.folder = folder
        self.summary |= {"run": self.number, "output": prepared.output_uri} | facts_of_plan(prepared)

    def begin(self, prepared: Prepared) -> None:
        """Notes what is to be done, and writes the record for the first time. Raises OSError."""
        self._units = {unit.id: unit for unit in prepared.plan.committed}
        self._counts = UnitCounts(planned=len(self._units), skipped=len(prepared.plan.done), done=0)
        self.summary |= {"files": prepared.listing.files.counts(), "units": self._counts}
        with self._lock:
            self._write(self._current())

    def watch(self, ledger: Ledger) -> None:
        """Takes the progress from a ledger from now on."""

        planned, skipped = self._counts["planned"], self._counts["skipped"]

        def progress() -> dict[str, object]:
            self._counts = UnitCounts(planned=planned, skipped=skipped, done=ledger.totals.units)
            return {"units": self._counts} | self._told(ledger.totals, dict(ledger.failed))

        self._progress = progress

    def stopped(self, why: str) -> None:
        """Notes why the run ends before all its work is done."""
        with self._lock:
            self.summary["why"] = why[:MAX_WHY]

    def refresh(self) -> None:
        """Writes the record again if there was progress. Raises OSError."""
        with self._lock:
            is_due = time.monotonic() - self._written_at >= MIN_SECONDS
            if self._written and is_due and self.summary["status"] is None:
                now = self._current()
                if now != self._written:
                    self._write(now)

    def finish(self, status: int, finished: Finished, told: Summary) -> None:
        """Ends the record of a run that did its work, with the summary that it `told`."""
        self._counts, self._totals = told["units"], told["totals"]
        self.end(status, {**told} | self._told(finished.totals, finished.failed))

    def end(self, status: int, told: Mapping[str, object] = {}) -> None:
        """Ends the record, in storage too. If that fails, the status says so: scheduled runs are judged by it."""
        with self._lock:
            self.summary |= self._progress() | {**told}
            self.summary |= {"status": status, "state": "ended", "end": timestamp(time.time())}
            self.summary.setdefault("wall_seconds", round(time.monotonic() - self._began, 2))
            if self.folder is not None:
                try:
                    (self.folder / SUMMARY).write(summary_json(self.summary).encode())
                except OSError as problem:  # a full disk: the summary is printed all the same
                    say(f"storage: summary.json was not written: {problem}", "red")
                    self.summary["status"] = status or FAILED
        self._last_run.write(self.status, time.monotonic() - self._began, self._counts, self._totals)

    def _told(self, totals: Totals, failed: Mapping[str, str]) -> dict[str, object]:
        """What a run, which may still be at work, has done."""
        return {
            "rewritten": totals.rewritten,
            "recordings": totals.counts.recordings,
            "segments": totals.counts.segments,
            "errors": dict(totals.counts.errors),
            "audio_hours": round(totals.counts.audio_seconds / 3600, 4),
            "rates": totals.time.rates(time.time() - (time.monotonic() - self._began)),
            "failing": failing(totals.failures),
            "failed_units": failed_units(failed, self._units),
        }

    def _current(self) -> dict[str, object]:
        return self.summary | self._progress()

    def _write(self, now: dict[str, object]) -> None:
        assert self.folder is not None
        times = {"updated": timestamp(time.time()), "wall_seconds": round(time.monotonic() - self._began, 2)}
        self._written_at = time.monotonic()
        (self.folder / SUMMARY).write(summary_json(now | times).encode())
        self._written = now


@contextmanager
def recorded(config: Config, run_id: str) -> Iterator[RunRecord]:
    """The record of a run, ended with the block: by an exception, if the run has not ended it. Raises ConfigError."""
    record = RunRecord(config, run_id, LastRun.of(config))
    try:
        yield record
    except BaseException as problem:
        if record.summary["status"] is None:
            usage = isinstance(problem, (ConfigError, UsageError))
            why = "interrupted" if isinstance(problem, KeyboardInterrupt) else f"{problem}" or type(problem).__name__
            record.stopped(why)
            record.end(USAGE if usage else FAILED)
        raise
