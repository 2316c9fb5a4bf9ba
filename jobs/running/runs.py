"""Reads what earlier runs left in their folders, which may be damaged, of another version, or of anybody.

Nothing is written. Whether a run is alive is told by its heartbeat, whose age is measured by this machine's clock.
"""

from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Literal, TypedDict

from actors.foreign.errors import InvalidData
from actors.foreign.plain_json import parse_object
from actors.parts.summary import MAX_NAMED
from actors.storage import outputs
from actors.storage.place import Place
from jobs.cli.command import BUSY, DONE, FAILED, OVER_BUDGET, USAGE
from jobs.planning.recipe import differences
from jobs.planning.run_files import HEARTBEAT, MAX_SUMMARY_BYTES, OWN_FILES, SUMMARY, RunFile, run_files
from jobs.running.facts import timestamp
from jobs.running.lease import is_alive

CONCURRENT_READS = 4
MAX_TEXT = 1_000  # characters of a text that is shown
_LARGE = 1e15  # no number of a run is larger
_ID_TIME = "%Y%m%dT%H%M%SZ"  # how run ids begin
STATUSES = {
    DONE: "done",
    FAILED: "failed",
    USAGE: "a mistake in the configuration",
    OVER_BUDGET: "too many errors",
    BUSY: "another run was at work",
}

State = Literal["ended", "running", "killed", "unknown"]


class RunRow(TypedDict):
    """A run in a list. What is not known of it is None."""

    run: int
    run_id: str | None
    state: State
    status: int | None
    told: str
    start: str | None
    end: str | None
    last_heartbeat: str | None
    wall_seconds: float | None
    units: dict[str, int] | None
    recordings: int | None
    errors: int | None
    audio_hours: float | None
    rtfx: float | None
    host: str | None


@dataclass(frozen=True)
class Run:
    """A run: its number, its summary as stored, empty if there is none, and what became of it.

    `problem` is why its summary could not be read; `last_heartbeat` is the time of a heartbeat that is still there.
    """

    number: int
    state: State
    summary: Mapping[str, object] = field(default_factory=dict)
    problem: str = ""
    last_heartbeat: str | None = None

    @property
    def status(self) -> int | None:
        status = _number(self.summary.get("status"))
        return status if isinstance(status, int) else None

    @property
    def told(self) -> str:
        """What became of the run, in words."""
        if self.status is not None:
            return STATUSES.get(self.status, f"status {self.status}")
        last = self.last_heartbeat or text_of(self.summary.get("updated"))
        if self.state == "killed":
            return "killed, or its machine was lost" + (f"; last heard of at {last}" if last else "")
        if self.state == "running":
            return f"running; last heard of at {last}"
        return f"unknown: {self.problem or 'it left no summary'}"

    def row(self) -> RunRow:
        told, errors = self.summary, self.summary.get("errors")
        counts = [_number(count) for count in errors.values()] if isinstance(errors, dict) else None
        seconds, hours = _number(told.get("wall_seconds")), _number(told.get("audio_hours"))
        run_id = text_of(told.get("run_id"))
        return {
            "run": self.number,
            "run_id": run_id,
            "state": self.state,
            "status": self.status,
            "told": self.told,
            "start": text_of(told.get("start")) or _start_of(run_id),
            "end": text_of(told.get("end")),
            "last_heartbeat": self.last_heartbeat,
            "wall_seconds": seconds,
            "units": _units(told.get("units")),
            "recordings": _whole(told.get("recordings")),
            "errors": None if counts is None else int(sum(count for count in counts if count)),
            "audio_hours": hours,
            "rtfx": round(hours * 3600 / seconds, 2) if seconds and hours is not None else None,
            "host": text_of(told.get("host")),
        }

    def named(self, key: str, columns: Sequence[str]) -> list[dict[str, str]]:
        """The recordings or units that the summary names under `key`: these columns of each, as texts."""
        found = self.summary.get(key)
        rows = [each for each in found[:MAX_NAMED] if isinstance(each, dict)] if isinstance(found, list) else []
        return [{name: text_of(row.get(name)) or "" for name in columns} for row in rows]

    @property
    def settings(self) -> dict[str, object]:
        """What may differ from run to run: all settings, the model and the code. Empty if the summary has none."""
        sections = self.summary.get("settings")
        if not isinstance(sections, dict):
            return {}
        facts = {
            name: self.summary.get(name) for name in ("version", "commit", "host", "device", "engine", "precision")
        }
        model = self.summary.get("model")
        return facts | sections | {"model's version": model.get("sha256") if isinstance(model, dict) else None}


def all_runs(output: Place) -> dict[int, list[RunFile]]:
    """The job's files of every run, by its number; of a run whose folder may not be read, one without a name."""
    found = defaultdict[int, list[RunFile]](list)
    for file in run_files(output, may_be_closed=True):
        if not file.name or file.name in OWN_FILES:
            found[file.run].append(file)
    return found


def read_runs(files: Sequence[Sequence[RunFile]], lease_seconds: float) -> list[RunRow]:
    """What the runs of these files left, in the same order; a row each, for a summary may have megabytes."""
    with ThreadPoolExecutor(CONCURRENT_READS) as pool:
        return list(pool.map(lambda of_run: read_run(of_run, lease_seconds).row(), files))


def read_run(files: Sequence[RunFile], lease_seconds: float) -> Run:
    """What one run left."""
    places = {file.name: file for file in files}
    number, summary, problem = files[0].run, dict[str, object](), ""
    last_heartbeat, alive = None, False
    if "" in places:
        problem = "its folder may not be read"
    if SUMMARY in places:
        try:
            summary = parse_object(outputs.read(places[SUMMARY].place, MAX_SUMMARY_BYTES))
        except FileNotFoundError:
            problem = "it is being removed"
        except (InvalidData, PermissionError) as why:
            problem = f"its summary.json cannot be read: {why}"
    if HEARTBEAT in places:
        with suppress(FileNotFoundError, PermissionError):  # the run has just ended; or is another user's
            last_heartbeat = timestamp(places[HEARTBEAT].place.modified().timestamp())
            alive = is_alive(places[HEARTBEAT], lease_seconds, datetime.now(UTC))
    has_ended = _number(summary.get("status")) is not None
    began = bool(last_heartbeat) or summary.get("state") == "running"
    state: State = "ended" if has_ended else "running" if alive else "killed" if began else "unknown"
    return Run(number, state, summary, problem, last_heartbeat)


def changes(before: Run, now: Run) -> list[str]:
    """How the settings, the model and the code of two runs differ, as phrases."""
    return [phrase[:MAX_TEXT] for phrase in differences(before.settings, now.settings)[:MAX_NAMED]]


def previous_with_settings(
    files: Mapping[int, Sequence[RunFile]], number: int, tries: int, read: Callable[[Sequence[RunFile]], Run]
) -> Run | None:
    """The last run before `number` whose summary has settings, of the `tries` last ones; None if there is none."""
    earlier = sorted((run for run in files if run < number), reverse=True)[:tries]
    return next((run for run in map(read, (files[each] for each in earlier)) if run.settings), None)


def text_of(value: object) -> str | None:
    """A stored value as a text of bounded length; None if it is neither a text nor a number."""
    return str(value)[:MAX_TEXT] if isinstance(value, (str, int, float)) else None


def _number(value: object) -> int | float | None:
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return None
    return value if abs(value) < _LARGE else None


def _whole(value: object) -> int | None:
    number = _number(value)
    return None if number is None else int(number)


def _units(value: object) -> dict[str, int] | None:
    if not isinstance(value, dict):
        return None
    return {name: _whole(value.get(name)) or 0 for name in ("planned", "skipped", "done")}


def _start_of(run_id: str | None) -> str | None:
    """When a run began, by its id; earlier versions told it nowhere else."""
    try:
        return timestamp(datetime.strptime((run_id or "").partition("-")[0], _ID_TIME).replace(tzinfo=UTC).timestamp())
    except ValueError:
        return None
