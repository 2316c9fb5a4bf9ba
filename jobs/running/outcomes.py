"""What became of each planned unit, told as the summaries of its pieces come."""

from collections.abc import Sequence
from typing import Any

from actors.units import Unit
from jobs.cli.terminal import SHOWN, Progress
from jobs.running.metrics import Metrics

FAILURES_IN_A_ROW = 20  # after which the output is taken to be out of order, and no more is transcribed for nothing
DIED = "its worker process died"
NOT_BEGUN = "not begun, or dropped"
MOST_PIECES = 20_000  # of a unit


class GivenUp(Exception):
    """So many units failed, one after the other, that the rest is not tried."""


class Results:
    """Summaries of units by id, {"unit", "failure"} of those that are not committed; shown as progress and metrics."""

    def __init__(self, run_id: str, units: Sequence[Unit], actors: int) -> None:
        self._units = units
        self._of: dict[str, dict[str, Any]] = {unit.id: {"unit": unit.id, "failure": DIED} for unit in units}
        self._progress, self._metrics = Progress(len(units)), Metrics(run_id, len(units), actors)
        self._examples = {"transcripts": 0, "failures": 0}
        self._failures = 0
        self._so_far = dict[str, dict[str, float]]()  # of units in several pieces
        self._finer = dict[str, dict[str, Any]]()

    def add(self, summary: dict[str, Any]) -> None:
        """Takes what came of a piece (see `blocks.outcome`). Raises GivenUp."""
        unit = summary["unit"]
        if "again" in summary:
            asked = self._finer.setdefault(unit, summary["again"])
            self._finer[unit] = {name: max(value, asked[name]) for name, value in summary["again"].items()}
            return
        if "failure" in summary and self._of[unit].get("failure", DIED) != DIED:
            return  # another of its pieces failed before
        news = self._news(summary)
        if not summary.get("is_partial"):
            self._of[unit] = summary
        self._progress.add(news)
        self._metrics.add(news)
        for kind in self._examples:  # the first few are shown in the end; those of all units would fill the memory
            self._examples[kind] += len(summary.get(kind, ()))
            if self._examples[kind] > 2 * SHOWN:
                summary[kind] = []
        self._failures = self._failures + 1 if "failure" in summary else 0
        if self._failures == FAILURES_IN_A_ROW:
            raise GivenUp(f"{self._failures} units in a row failed")

    def _news(self, summary: dict[str, Any]) -> dict[str, Any]:
        """What a summary adds to those of the unit's pieces before it."""
        if "failure" in summary:
            return summary
        begun = {"began": summary["began"], "audio_seconds": 0.0, "busy_seconds": 0.0}
        so_far = self._so_far.setdefault(summary["unit"], begun)
        if summary.get("is_partial"):
            for name in ("audio_seconds", "busy_seconds"):
                so_far[name] += summary.get(name, 0.0)
            return summary
        news = summary | {"audio_seconds": max(summary["audio_seconds"] - so_far["audio_seconds"], 0.0)}
        summary["began"] = so_far["began"]
        summary["busy_seconds"] = summary.get("busy_seconds", 0.0) + so_far["busy_seconds"]
        return news

    def finer(self) -> dict[str, dict[str, Any]]:
        """The units that have to be cut finer, by id, and how; each is told once."""
        asked, self._finer = self._finer, {}
        for unit, cut in asked.items():
            if cut["ranges"] * cut["stretches"] > MOST_PIECES:
                self.add({"unit": unit, "failure": f"it would have to be worked in more than {MOST_PIECES} pieces"})
        return {unit: cut for unit, cut in asked.items() if self._of[unit].get("failure") == DIED}

    def died(self) -> list[Unit]:
        """The units that nothing was heard of: each ended the process that worked on it, or was not begun."""
        return [unit for unit in self._units if self._of[unit.id].get("failure") == DIED]

    def again(self) -> None:
        self._metrics.retry(len(self.died()))

    def leave(self) -> int:
        """Leaves the units that nothing was heard of for the next run; says how many."""
        left = self.died()
        self._of |= {unit.id: {"unit": unit.id, "failure": NOT_BEGUN} for unit in left}
        return len(left)

    def all(self) -> list[dict[str, Any]]:
        return list(self._of.values())
