"""Publishes a run's metrics for Prometheus, through Ray's own: by the driver, from the outcomes of pieces."""

import sys
import time
from collections.abc import Mapping
from typing import Any
from urllib.parse import quote

from actors.outcomes import Counts, Work
from jobs.cli.terminal import say
from jobs.running.actor_time import ActorTime
from jobs.running.connect import reason_of

_PRINTABLE = "".join(map(chr, range(0x20, 0x7F)))


class Metrics:
    """Counters and gauges of one run, each with the labels `run_id` and `output`; see docs/running.md."""

    def __init__(self, run_id: str, units: int, output: str = "") -> None:
        from ray.util.metrics import Counter, Gauge

        def create(kind: Any, name: str, description: str, *labels: str) -> Any:
            metric = kind(f"citrascribe_{name}", description, ("run_id", "output", *labels))
            metric.set_default_tags({"run_id": run_id, "output": label_of(output)})
            return metric

        self._audio = create(Counter, "audio_seconds", "Seconds of audio committed")
        self._recordings = create(Counter, "recordings", "Recordings committed, including those with an error")
        self._errors = create(Counter, "errors", "Recordings committed with an error, by kind", "kind")
        self._retries = create(Counter, "retries", "Units retried because their worker died")
        self._planned = create(Gauge, "units_planned", "Units planned by the run")
        self._left = create(Gauge, "units_left", "Units not committed yet")
        self._speed = create(Gauge, "times_real_time", "Seconds of audio committed per second of wall time")
        self._padding = create(Gauge, "padding_share", "Share of the samples given to the model that are padding")
        self._busy = create(Gauge, "actor_busy_share", "Share of their time that the actors transcribed")
        self._planned.set(units)
        self._left.set(units)
        self._units_left, self._began, self._time = units, time.monotonic(), ActorTime()
        self._audio_seconds = self._padded_seconds = 0.0

    def add(self, counts: Counts, work: Work | None, units: int) -> None:
        """Counts what a piece adds, its work, and the units that it committed. A failed unit still counts as left."""
        self._units_left -= units
        self._audio_seconds += counts.audio_seconds
        if work:
            self._padded_seconds += work.padded_seconds
            self._time.add(work)
        elapsed = max(time.monotonic() - self._began, 1e-9)
        for counter, value in ((self._audio, counts.audio_seconds), (self._recordings, counts.recordings)):
            if value:
                counter.inc(value)
        for kind, count in counts.errors.items():
            self._errors.inc(count, tags={"kind": kind})
        self._left.set(self._units_left)
        self._speed.set(self._audio_seconds / elapsed)
        if (busy := self._time.busy_share) is not None:
            self._busy.set(busy)
        if self._padded_seconds:
            self._padding.set(max(1 - self._audio_seconds / self._padded_seconds, 0.0))

    def retry(self, units: int) -> None:
        self._retries.inc(units)


def label_of(output: str) -> str:
    """An output's URI as the label `output`: what is not printable ASCII as in a URL, for Ray takes nothing else."""
    return quote(output, safe=_PRINTABLE, errors="backslashreplace")


def publish_last_run(output: str, values: Mapping[str, tuple[str, float]]) -> None:
    """Sets gauges, by name with what each says, of a run of `output` that has ended, where Ray is there to publish
    them."""
    if "ray" not in sys.modules:
        return
    import ray
    from ray.util.metrics import Gauge

    try:
        if ray.is_initialized():
            for name, (description, value) in values.items():
                Gauge(f"citrascribe_{name}", description, ("output",)).set(value, tags={"output": output})
    except Exception as problem:  # noqa: BLE001 - of Ray, whose cluster may be gone: the run has ended all the same
        say(f"Ray did not take the run's last metrics: {reason_of(problem)}", "yellow")
