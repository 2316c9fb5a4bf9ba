"""Tells Prometheus of the last run, after it has ended: by a file for node_exporter's textfile collector, and by Ray.

Ray's metrics end with a cluster that a run started for itself, and a run with nothing to do starts none.

Format of the file: https://prometheus.io/docs/instrumenting/exposition_formats/#text-based-format.
"""

import os
import re
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass

from actors.foreign.errors import InvalidData
from actors.foreign.escape import escape_surrogates, without_credentials
from actors.schema import UsageError
from actors.storage import outputs
from actors.storage.place import Place
from actors.units import digest
from jobs.cli.command import BUSY, DONE
from jobs.cli.config import Config, ConfigError
from jobs.cli.terminal import say
from jobs.running.metrics import label_of, publish_last_run
from jobs.running.summary import RecordingCounts, UnitCounts

MAX_FILE_BYTES = 100_000
#: Names of the metrics, without their prefix, and what each says. A success is a run with status 0.
METRICS = {
    "last_run_timestamp_seconds": "End of the last run, in seconds since 1970",
    "last_run_status": "Exit status of the last run",
    "last_success_timestamp_seconds": "End of the last run with status 0, in seconds since 1970; 0 if there was none",
    "last_run_duration_seconds": "Duration of the last run",
    "last_run_units_left": "Units that the last run planned and did not commit",
    "output_recordings": "Recordings in the output, of the units that the listing touches",
    "output_errors": "Those of them with an error",
    "output_accepted": "Those of them with an error that errors.accept names",
}
_LAST_SUCCESS = "last_success_timestamp_seconds"
_OF_OUTPUT = ("output_recordings", "output_errors", "output_accepted")
_SAMPLE = re.compile(r"^citrascribe_(\w+)\{[^\n]*\} ([0-9.]{1,20})$", re.MULTILINE)


@dataclass(frozen=True)
class LastRun:
    """Where the metrics of the last run of an output go: a file of their own in a folder, if there is one."""

    output: str
    file: Place | None

    @classmethod
    def of(cls, config: Config) -> "LastRun":
        """As configured. Raises ConfigError if the folder is none, or may not be written."""
        folder = config.metrics.folder
        try:
            uri = config.output.place().uri
        except (ConfigError, UsageError, OSError):  # which the run itself tells
            uri = config.output.uri
        output = label_of(escape_surrogates(without_credentials(uri)))
        if folder is None:
            return cls(output, None)
        if not os.path.isdir(folder) or not os.access(folder, os.W_OK | os.X_OK):
            raise ConfigError(f"metrics.folder: {folder} must be a folder that the job may write to, and is not")
        return cls(output, Place.at(folder) / f"citrascribe_{digest([output])}.prom")

    def write(self, status: int, seconds: float, units: UnitCounts, totals: RecordingCounts | None) -> None:
        """Publishes the metrics of a run that has ended: what its summary says, as far as it came, and else what was
        told before. Nothing of a run that found another at work, which tells of itself. What fails is said."""
        if status == BUSY:
            return
        now, before = time.time(), self._read()
        values: dict[str, float] = {
            "last_run_timestamp_seconds": now,
            "last_run_status": status,
            _LAST_SUCCESS: now if status == DONE else before.get(_LAST_SUCCESS, 0.0),
            "last_run_duration_seconds": seconds,
            "last_run_units_left": units["planned"] - units["done"],
        }
        if totals:
            counts = totals["recordings"], totals["errors"], totals["accepted"]
            values |= dict(zip(_OF_OUTPUT, counts, strict=True))
        else:
            values |= {name: before[name] for name in _OF_OUTPUT if name in before}
        publish_last_run(self.output, {name: (METRICS[name], value) for name, value in values.items()})
        if self.file is not None:
            try:
                self.file.write(_exposition(self.output, values).encode())
            except OSError as problem:
                say(f"metrics.folder: {self.file.uri} was not written: {problem}", "red")

    def _read(self) -> dict[str, float]:
        """The metrics that the file has, by name; none if it cannot be read."""
        try:
            text = outputs.read(self.file, MAX_FILE_BYTES).decode(errors="replace") if self.file else ""
        except (OSError, InvalidData):
            return {}
        found = dict[str, float]()
        for name, value in _SAMPLE.findall(text):
            with suppress(ValueError):
                found[name] = float(value)
        return found


def _exposition(output: str, values: Mapping[str, float]) -> str:
    label = output.replace("\\", r"\\").replace('"', r"\"").replace("\n", r"\n")
    lines = list[str]()
    for name, value in values.items():
        lines += [f"# HELP citrascribe_{name} {METRICS[name]}", f"# TYPE citrascribe_{name} gauge"]
        lines += [f'citrascribe_{name}{{output="{label}"}} {value}']
    return "\n".join(lines) + "\n"
