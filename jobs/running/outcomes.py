"""The outcome of each planned unit, collected while the summaries of its pieces arrive."""

from collections.abc import Sequence
from typing import Any

from actors.units import Unit
from jobs.cli.terminal import MAX_EXAMPLES, Progress
from jobs.running.metrics import Metrics

FAILURES_IN_A_ROW = 20  # after which the output is considered unusable and the run stops
LOST = "its worker process died"
NOT_STARTED = "not started, or dropped"
MAX_RECUT_PIECES = 20_000  # of a unit after recuts


class TooManyFailures(Exception):
    """So many units failed in a row that the run stops."""


class Ledger:
    """Summaries of units by id, {"unit", "failure"} for those not committed; reported as progress and metrics."""

    def __init__(self, run_id: str, units: Sequence[Unit], actors: int) -> None:
        self._units = units
        self._of: dict[str, dict[str, Any]] = {unit.id: {"unit": unit.id, "failure": LOST} for unit in units}
        self._progress, self._metrics = Progress(len(units)), Metrics(run_id, len(units), actors)
        self._examples = {"transcripts": 0, "failures": 0}
        self._failures = 0
        self._so_far = dict[str, dict[str, float]]()  # of units in several pieces
        self._to_recut = dict[str, dict[str, Any]]()

    def add(self, summary: dict[str, Any]) -> None:
        """Records the outcome of a piece (see `blocks.outcome`). Raises TooManyFailures."""
        unit = summary["unit"]
        if "recut" in summary:
            requested = self._to_recut.setdefault(unit, summary["recut"])
            self._to_recut[unit] = {name: max(value, requested[name]) for name, value in summary["recut"].items()}
            return
        if "failure" in summary and self._of[unit].get("failure", LOST) != LOST:
            return  # another of its pieces failed before
        news = self._added_by(summary)
        if not summary.get("is_partial"):
            self._of[unit] = summary
        self._progress.add(news)
        self._metrics.add(news)
        for kind in self._examples:  # only the first few are shown; those of all units would fill the memory
            self._examples[kind] += len(summary.get(kind, ()))
            if self._examples[kind] > 2 * MAX_EXAMPLES:
                summary[kind] = []
        self._failures = self._failures + 1 if "failure" in summary else 0
        if self._failures == FAILURES_IN_A_ROW:
            raise TooManyFailures(f"{self._failures} units in a row failed")

    def _added_by(self, summary: dict[str, Any]) -> dict[str, Any]:
        """The part of a summary that earlier pieces of the unit have not reported yet."""
        if "failure" in summary:
            return summary
        initial = {"began": summary["began"], "audio_seconds": 0.0, "busy_seconds": 0.0}
        so_far = self._so_far.setdefault(summary["unit"], initial)
        if summary.get("is_partial"):
            for name in ("audio_seconds", "busy_seconds"):
                so_far[name] += summary.get(name, 0.0)
            return summary
        news = summary | {"audio_seconds": max(summary["audio_seconds"] - so_far["audio_seconds"], 0.0)}
        summary["began"] = so_far["began"]
        summary["busy_seconds"] = summary.get("busy_seconds", 0.0) + so_far["busy_seconds"]
        return news

    def to_recut(self) -> dict[str, dict[str, Any]]:
        """Units to recut into more pieces, by id, and how. Each is returned once."""
        requested, self._to_recut = self._to_recut, {}
        for unit, cut in requested.items():
            if cut["ranges"] * cut["stretches"] > MAX_RECUT_PIECES:
                self.add({"unit": unit, "failure": f"it would need more than {MAX_RECUT_PIECES} pieces"})
        return {unit: cut for unit, cut in requested.items() if self._of[unit].get("failure") == LOST}

    def lost(self) -> list[Unit]:
        """Units without an outcome: each crashed its worker, or was not started."""
        return [unit for unit in self._units if self._of[unit.id].get("failure") == LOST]

    def count_retries(self) -> None:
        """Counts the lost units as retried, in the metrics."""
        self._metrics.retry(len(self.lost()))

    def defer_rest(self) -> int:
        """Leaves the lost units to the next run; returns their number."""
        lost = self.lost()
        self._of |= {unit.id: {"unit": unit.id, "failure": NOT_STARTED} for unit in lost}
        return len(lost)

    def all(self) -> list[dict[str, Any]]:
        return list(self._of.values())
