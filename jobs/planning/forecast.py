"""How long a plan's work takes on given machines, what it costs, and what bounds it: arithmetic on rates.

    wall time = start-up + work + end        work = slack x the slowest of hearing, reading, and the driver

Hearing is done by actors, reading by the CPUs that these leave. Where the model runs on CPUs too, both share all of
them. Slack is what earlier runs took beyond that; it stands for all that is not told apart here: the last stage,
storage that is slow, pieces that do not come in time.
"""

import math
from dataclasses import dataclass
from typing import Literal

from actors.reading.costs import file_kind
from jobs.planning.rates import MAX_SLACK, SLACK, SLACK_SECONDS, Rates
from jobs.planning.recipe import Device
from jobs.planning.verdicts import Plan

PIECES_PER_SECOND = 37.0  # that one driver handles (docs/benchmarks.md)
END_SECONDS = 1.5  # the command's own start, the last commit, the account of the output, and the end of Ray
NOTHING_SECONDS = 1.0  # a run with nothing to do, and beside it:
REWRITE_SECONDS = 0.25  # of a unit that is made from its rows, or from its emissions
WITHOUT_RAY = 20  # such units at most; more are made on Ray

Bound = Literal["model", "decoding", "driver"]


@dataclass(frozen=True)
class Machines:
    """What a forecast is for: `count` machines that have so many `cpus` and `gpus` together, on which so many `actors`
    run with so many `threads` each, and leave `reading_cpus` to readers."""

    count: int
    cpus: float
    gpus: float
    actors: int
    threads: int
    reading_cpus: float
    device: Device
    described: str


@dataclass(frozen=True)
class Load:
    """What is to be done: seconds of audio in pieces, what reading them takes of CPUs, and units without any audio to
    hear."""

    audio_seconds: float
    cpu_seconds: float
    pieces: int
    rewritten: int = 0

    @classmethod
    def of(cls, plan: Plan, pieces: int, rates: Rates) -> "Load":
        """The load of a plan whose units are cut into so many pieces."""
        audio = cpu = 0.0
        for source in (each for unit in plan.units for each in unit.objects):
            seconds = plan.estimate(source)
            audio += seconds
            cpu += seconds * rates.decoding_of(file_kind(source))
        return cls(audio, cpu, pieces, len(plan.rewrite))


@dataclass(frozen=True)
class Stages:
    """Seconds that each stage would take, were the others for nothing; `shared` is what both take of the CPUs, where
    the model runs on these."""

    hearing: float
    reading: float
    driving: float
    shared: float = 0.0

    @property
    def slowest(self) -> float:
        return max(self.hearing, self.reading, self.driving, self.shared)


@dataclass(frozen=True)
class Forecast:
    """What a plan's work takes: `start_seconds` are the part of `wall_seconds` before anything is heard. `cost` is None
    where no price is known. One actor needs `decoding_cpus` to read for it as fast as it hears."""

    load: Load
    machines: Machines
    wall_seconds: float
    start_seconds: float
    cost: float | None
    bound: Bound | None
    decoding_cpus: float | None
    rates: Rates

    @property
    def machine_hours(self) -> float:
        return self.machines.count * self.wall_seconds / 3600


def stages_of(load: Load, core_seconds: float, machines: Machines) -> Stages:
    """What the stages take. Pieces are whole: three of them keep no eight actors busy, and of nine one comes last."""
    on_gpu, pieces = machines.device == "cuda", max(load.pieces, 1)
    hearing = load.audio_seconds * core_seconds / (1 if on_gpu else machines.threads)
    rounds = math.ceil(pieces / machines.actors) / pieces
    shared = 0.0 if on_gpu else (load.audio_seconds * core_seconds + load.cpu_seconds) / machines.cpus
    return Stages(hearing * rounds, load.cpu_seconds / machines.reading_cpus, load.pieces / PIECES_PER_SECOND, shared)


def slack_of(rates: Rates, device: Device) -> float:
    """How much longer than their slowest stage the work of earlier runs took, without warming up; a run with hardly
    any work hardly counts."""
    work, slowest = SLACK * SLACK_SECONDS, SLACK_SECONDS
    for run in rates.measured:
        cpu = sum(read.audio_seconds * rates.decoding_of(kind) for kind, read in run.reading.items())
        # on a cluster with GPUs, nobody knows how many CPUs were left to read
        machines = Machines(1, run.cpus, 0.0, run.actors, run.threads, run.cpus, device, "")
        slowest += stages_of(Load(run.audio_seconds, cpu, run.pieces), rates.core_seconds, machines).slowest
        work += max(run.work_seconds - run.warming_seconds, 0.0)
    return min(max(work / slowest, 1.0), MAX_SLACK)


def forecast(load: Load, rates: Rates, machines: Machines, cost_per_hour: float | None = None) -> Forecast:
    """What a load takes by these rates on these machines."""
    wall, start, bound, needed = NOTHING_SECONDS + load.rewritten * REWRITE_SECONDS, 0.0, None, None
    if load.pieces or load.rewritten > WITHOUT_RAY:
        start = rates.start_seconds
        wall += start + END_SECONDS - NOTHING_SECONDS
    if load.pieces:
        stages = stages_of(load, rates.core_seconds, machines)
        work = slack_of(rates, machines.device) * stages.slowest
        wall += work
        bound = _bound(stages)
        needed = cpus_to_read(load, rates, machines)
    cost = None if cost_per_hour is None else machines.count * wall / 3600 * cost_per_hour
    return Forecast(load, machines, wall, start, cost, bound, needed, rates)


def cpus_to_read(load: Load, rates: Rates, machines: Machines) -> float | None:
    """CPUs that read as fast as one actor hears; None if there is no audio."""
    if not load.audio_seconds:
        return None
    actor = 1 if machines.device == "cuda" else machines.threads
    return load.cpu_seconds / (load.audio_seconds * rates.core_seconds / actor)


def _bound(stages: Stages) -> Bound:
    if stages.driving == stages.slowest:
        return "driver"
    return "decoding" if stages.reading > stages.hearing else "model"
