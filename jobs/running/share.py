"""Takes a run's share of the cluster: the least that makes progress at once, and more as it is free.

Two runs that each held an actor and waited for a decoder would wait forever. So one worker of each stage is reserved
together, as one placement group, before any is started: a run has all of them, or waits and holds none. Further workers
are Ray Data's to start while there is work, where there is room, and to end when they are idle.
"""

import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from actors.foreign.escape import without_credentials
from jobs.cli.config import Cluster
from jobs.cli.terminal import say
from jobs.planning.recipe import Device
from jobs.running.cluster import Resources, allocate
from jobs.running.connect import LARGEST_NODE

if TYPE_CHECKING:
    from ray.util.placement_group import PlacementGroup

FIRST_LOOK_S, LOOK_EVERY_S, SAY_EVERY_S = 3.0, 1.0, 60.0
SETTLED_S = 30.0  # after which Ray's account of what is free surely has what was placed
READER, ACTOR, WRITER = range(3)  # the bundles of the placement group
_NAME = "citrascribe run "  # how its name begins, for other runs to say who holds what


@dataclass(frozen=True)
class Share:
    """What a run holds of a cluster: a placement group with one bundle for each stage; and the sizes of all workers."""

    resources: Resources
    group: "PlacementGroup"

    def of_readers(self) -> dict[str, Any]:
        """Options of `Dataset.map_batches` for the stage that reads: as many as there is work and room for."""
        from ray.data import ActorPoolStrategy

        return self._options(READER, self.resources.of_reader, ActorPoolStrategy(min_size=1), max_restarts=-1)

    def of_actors(self) -> dict[str, Any]:
        """Options for the stage that transcribes."""
        from ray.data import ActorPoolStrategy

        (minimum, maximum), at_once = self.resources.actors, self.resources.blocks_at_once
        pool = ActorPoolStrategy(
            min_size=minimum,
            max_size=maximum,
            initial_size=self.resources.first_actors,
            max_concurrent_calls_per_actor=at_once,
            enable_true_multi_threading=at_once > 1,
        )
        return self._options(ACTOR, self.resources.of_actor, pool, max_restarts=3)

    def of_writers(self) -> dict[str, Any]:
        """Options for the stage that commits."""
        from ray.data import ActorPoolStrategy

        return self._options(WRITER, self.resources.of_writer, ActorPoolStrategy(min_size=1), max_restarts=-1)

    def _options(self, bundle: int, needs: Mapping[str, float], pool: Any, max_restarts: int) -> dict[str, Any]:
        needed = {"num_cpus": needs["CPU"], "num_gpus": needs.get("GPU", 0), "memory": needs.get("memory")}
        return {name: value for name, value in needed.items() if value} | {
            "compute": pool,
            "max_restarts": max_restarts,
            "max_task_retries": 3,
            "ray_remote_args_fn": _Seat(self.group, bundle, needs["CPU"]),
        }


class _Seat:
    """Places a stage's workers for Ray Data, which asks before it starts one: the first one where it is reserved, and
    so a later one if that has ended; all others wherever Ray has room."""

    def __init__(self, group: "PlacementGroup", bundle: int, cpus: float) -> None:
        self._group, self._bundle, self._cpus = group, bundle, cpus
        self._taken: float | None = None

    def __call__(self) -> dict[str, Any]:
        from ray.util.scheduling_strategies import PlacementGroupSchedulingStrategy

        now = time.monotonic()
        if self._taken is not None and (now < self._taken + SETTLED_S or not self._is_free()):
            return {}
        self._taken = now
        strategy = PlacementGroupSchedulingStrategy(self._group, placement_group_bundle_index=self._bundle)
        return {"scheduling_strategy": strategy}

    def _is_free(self) -> bool:
        import ray

        name = f"CPU_group_{self._bundle}_{self._group.id.hex()}"
        return bool(ray.available_resources().get(name, 0.0) >= self._cpus - 1e-6)


@contextmanager
def hold(cluster: Cluster, total: Mapping[str, float], device: Device, run_id: str, output: str) -> Iterator[Share]:
    """Takes the least that a run needs of a cluster whose resources are `total`, and gives it back at the end. Waits
    until it is free, with a line that says for what. Raises ConfigError if it does not fit the cluster at all."""
    from ray.util import remove_placement_group

    share = _take(cluster, total, device, f"{_NAME}{run_id} on {without_credentials(output)}")
    try:
        yield share
    finally:
        with suppress(Exception):  # of a Ray that is gone; it ends with this process in any case
            remove_placement_group(share.group)


def _take(cluster: Cluster, total: Mapping[str, float], device: Device, name: str) -> Share:
    from ray.util import remove_placement_group

    resources = allocate(cluster, total, device, free_resources())
    group = _reserve(resources, name)
    if group.wait(FIRST_LOOK_S):
        return Share(resources, group)
    said = -SAY_EVERY_S
    while not group.wait(LOOK_EVERY_S):
        if time.monotonic() - said >= SAY_EVERY_S:
            said = time.monotonic()
            say(_waits_for(resources, total, free_resources()))
    say("there is room now")
    # The least was asked for while others held the rest. What they gave back may hold a larger actor.
    larger = allocate(cluster, total, device, free_resources())
    if larger.actor_cpus > resources.actor_cpus and _fits(larger, free_resources()):
        second = _reserve(larger, f"{name}, larger")
        if second.wait(FIRST_LOOK_S):
            remove_placement_group(group)
            return Share(larger, second)
        remove_placement_group(second)
    return Share(resources, group)


def _reserve(resources: Resources, name: str) -> "PlacementGroup":
    """Asks for one worker of each stage."""
    from ray.util import placement_group

    bundles = {READER: resources.of_reader, ACTOR: resources.of_actor, WRITER: resources.of_writer}
    return placement_group([bundles[index] for index in sorted(bundles)], strategy="PACK", name=name)


def free_resources() -> dict[str, float]:
    """What nobody holds of the cluster's resources, with the most free CPUs of one machine under LARGEST_NODE."""
    import ray
    from ray._private.state import available_resources_per_node

    largest = max((node.get("CPU", 0.0) for node in available_resources_per_node().values()), default=0.0)
    return dict(ray.available_resources()) | {LARGEST_NODE: largest}


def _fits(resources: Resources, free: Mapping[str, float]) -> bool:
    return all(needed <= free.get(name, 0.0) + 1e-6 for name, needed in resources.least.items())


def _waits_for(resources: Resources, total: Mapping[str, float], free: Mapping[str, float]) -> str:
    """What a run waits for, how much of it is in use, and by whom:
    `waiting for 1.75 CPUs; 1.75 of 2 are in use, by run 20261126T030000Z-5f0c1a on s3://archive/transcripts`."""
    needs = {name: needed for name, needed in resources.least.items() if needed}
    lacking = {name: needed for name, needed in needs.items() if needed > free.get(name, 0.0) + 1e-6}
    parts = []
    for name, needed in (lacking or needs).items():  # enough of all may be free, but not on one machine
        unit, label = (1e9, "GB of memory") if name == "memory" else (1.0, name if needed == 1 else f"{name}s")
        used = total.get(name, 0.0) - free.get(name, 0.0)
        parts.append(f"{needed / unit:g} {label}; {used / unit:.4g} of {total.get(name, 0.0) / unit:.4g} are in use")
    return f"waiting for {', and for '.join(parts)}{_holders()}"


def _holders() -> str:
    """The runs of this job that hold something of the cluster, as a phrase."""
    from ray.util import placement_group_table

    table = placement_group_table().values()
    names = (each["name"] for each in table if each["state"] in ("CREATED", "RESCHEDULING"))
    runs = sorted(name.removeprefix("citrascribe ") for name in names if name.startswith(_NAME))
    more = f" and {len(runs) - 3} more" if len(runs) > 3 else ""
    return f", by {', '.join(runs[:3])}{more}" if runs else ""
