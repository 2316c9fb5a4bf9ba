"""A forecast as people and programs read it."""

from collections.abc import Iterator
from typing import TypedDict

from jobs.planning.forecast import Forecast, Load
from jobs.planning.rates import PAGE


class MachinesTold(TypedDict):
    """The machines that a forecast is for, with all their CPUs and GPUs."""

    count: int
    cpus: float
    gpus: float
    actors: int


class ForecastTold(TypedDict):
    """A forecast in the JSON object of a plan; docs/running.md describes its keys."""

    hours: float
    pieces: int
    wall_seconds: float
    start_seconds: float
    machine_hours: float
    cost: float | None
    machines: MachinesTold
    bound: str | None
    decoding_cpus_per_actor: float | None
    runs: list[int]
    told: str


def to_json(found: Forecast) -> ForecastTold:
    machines, needed = found.machines, found.decoding_cpus
    return {
        "hours": round(found.load.audio_seconds / 3600, 3),
        "pieces": found.load.pieces,
        "wall_seconds": round(found.wall_seconds, 1),
        "start_seconds": round(found.start_seconds, 1),
        "machine_hours": round(found.machine_hours, 4),
        "cost": None if found.cost is None else round(found.cost, 4),
        "machines": {
            "count": machines.count,
            "cpus": machines.cpus,
            "gpus": machines.gpus,
            "actors": machines.actors,
        },
        "bound": found.bound,
        "decoding_cpus_per_actor": None if needed is None else round(needed, 2),
        "runs": found.rates.runs,
        "told": " ".join(sentences(found)),
    }


def rows(found: Forecast) -> Iterator[tuple[str, str]]:
    """The rows of a table, each of which fits 60 columns."""
    load = found.load
    yield "audio", _work_of(load)
    yield "machines", found.machines.described
    yield "actors", f"{found.machines.actors:,}"
    start = f", {duration(found.start_seconds)} of it start-up" if found.start_seconds else ""
    yield "time", f"about {duration(found.wall_seconds)}{start}"
    yield "machine hours", figure(found.machine_hours)
    if found.cost is not None:
        yield "cost", f"{figure(found.cost)} at plan.cost_per_hour"


def _work_of(load: Load) -> str:
    if load.pieces:
        return f"{load.audio_seconds / 3600:,.2f} h in {load.pieces:,} piece{'s' * (load.pieces != 1)}"
    rewritten = f"{load.rewritten:,} units are" if load.rewritten != 1 else "1 unit is"
    return "none to transcribe" + (f"; {rewritten} rewritten" if load.rewritten else "")


def sentences(found: Forecast) -> list[str]:
    """What bounds a run, and what the forecast was made by."""
    return [sentence for sentence in (bound_of(found), source_of(found)) if sentence]


def bound_of(found: Forecast) -> str:
    """What bounds a run, with the CPUs that one actor needs for decoding; empty if nothing is heard."""
    machines, needed = found.machines, found.decoding_cpus
    if found.bound is None or needed is None:
        return ""
    one = "one GPU" if machines.device == "cuda" else "one actor"
    takes = f"to keep {one} busy, decoding this archive takes {_cpus(needed)}"
    if machines.device == "cuda" or found.bound == "decoding":
        takes += f", and there are {figure(machines.reading_cpus / machines.actors)}"
    first = {
        "model": "The model is the bound, not decoding",
        "decoding": "Decoding is the bound, not the model",
        "driver": "The number of pieces is the bound, for one process sends them all (unit.target_minutes)",
    }[found.bound]
    if found.start_seconds > found.wall_seconds / 2:
        first = f"Start-up takes most of the time; then {first[0].lower()}{first[1:]}"
    return f"{first}: {takes}."


def source_of(found: Forecast) -> str:
    """By what a forecast was made; empty if nothing is heard or sent to Ray."""
    if not found.start_seconds:
        return ""
    runs = found.rates.runs
    if not runs:
        return f"By default figures of {PAGE}, not by measurements here: no run of this output used this model so."
    *others, last = map(str, runs)
    which = f"runs {', '.join(others)} and {last}" if others else f"run {last}"
    return f"By {which} of this output."


def duration(seconds: float) -> str:
    """A duration in two units at most: `7 s`, `12 min`, `3 h 20 min`, `5 days 2 h`."""
    if seconds < 99.5:
        return f"{max(seconds, 1):.0f} s"
    minutes = round(seconds / 60)
    if minutes < 100:
        return f"{minutes} min"
    hours, minutes = divmod(minutes, 60)
    if hours < 48:
        return f"{hours} h {minutes} min"
    days, hours = divmod(round(seconds / 3600), 24)
    return f"{days:,} days {hours} h"


def figure(value: float) -> str:
    """A number to three digits or so, in full where it is large: `0.0023`, `4.2`, `12,345`."""
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"


def _cpus(value: float) -> str:
    """`35 CPUs`, `0.4 of a CPU`, `less than 0.01 of a CPU`."""
    if value >= 1:
        return f"{figure(value)} CPU{'s' * (figure(value) != '1')}"
    return f"{value:.2g} of a CPU" if value >= 0.01 else "less than 0.01 of a CPU"
