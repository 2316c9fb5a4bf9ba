"""Takes a run's share of the cluster: the least that makes progress at once, and more as it is free.

Two runs that each held an actor and waited for a decoder would wait forever. So one worker of each stage is reserved
together, as one placement group, before any is started: a run has all of them, or waits and holds none. Further workers
are Ray Data's to start while there is work, where there is room, and to end when they are idle.
"""

import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from actors.foreign.escape import without_credentials
from jobs.cli.config import Cluster, ConfigError
from jobs.cli.terminal import say
from jobs.planning.recipe import Device
from jobs.running.cluster import Resources, allocate, allocate_writers
from jobs.running.connect import LARGEST_NODE
from jobs.running.lost import watched

if TYPE_CHECKING:
    from ray.util.placement_group import PlacementGroup

FIRST_LOOK_S, LOOK_EVERY_S, SAY_EVERY_S, GIVE_BACK_S = 3.0, 1.0, 60.0, 5.0
SETTLED_S = 30.0  # after which Ray's account of what is free surely has what was placed
_WORKERS = {  # of the stages, and the keys that size them
    "reader": ("decoder", "ray.cpus_per_decoder or ray.decoder_memory_gb"),
    "actor": ("actor", "ray.cpus_per_actor or ray.gpus_per_actor"),
    "writer": ("worker that commits", "ray.cpus_per_decoder"),
}
_NAME = "citrascribe run "  # how its name begins, for other runs to say who holds what


@dataclass(frozen=True)
class Share:
    """What a run holds of a cluster: a placement group with one bundle for each of its stages; and the sizes of all
    workers."""

    resources: Resources
    group: "PlacementGroup"

    def of_readers(self) -> dict[str, Any]:
        """Options of `Dataset.map_batches` for the stage that reads: as many as there is work and room for."""
        return self._options("reader", min_size=1)

    def of_actors(self) -> dict[str, Any]:
        """Options for the stage that transcribes."""
        (minimum, maximum), at_once = self.resources.actors, self.resources.blocks_at_once
        return self._options(
            "actor",
            min_size=minimum,
            max_size=maximum,
            initial_size=self.resources.first_actors,
            max_concurrent_calls_per_actor=at_once,
            enable_true_multi_threading=at_once > 1,
        )

    def of_writers(self) -> dict[str, Any]:
        """Options for the stage that commits."""
        return self._options("writer", min_size=1)

    def _options(self, stage: str, **pool: int | bool) -> dict[str, Any]:
        """Options for a stage: what one worker of it needs and where the first one is placed, how often it is tried
        again, and the size of its pool."""
        from ray.data import ActorPoolStrategy

        needs, bundle = self.resources.bundles[stage], list(self.resources.bundles).index(stage)
        needed = {"num_cpus": needs["CPU"], "num_gpus": needs.get("GPU", 0), "memory": needs.get("memory")}
        return {name: value for name, value in needed.items() if value} | {
            "compute": ActorPoolStrategy(**pool),
            "max_restarts": -1,  # Ray Data never replaces an actor that died for good, and would wait for it
            "max_task_retries": 3,  # so that a piece that kills its worker fails
            "ray_remote_args_fn": _Seat(self.group, bundle, needs["CPU"]),
        }


class _Seat:
    """Places a stage's workers for Ray Data, which asks before it starts one: the first one where it is reserved, and
    so a later one if that has ended; all others wherever Ray has room. If Ray Data ends an idle first one before the
    others, its place stays reserved."""

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
def hold(
    cluster: Cluster, total: Mapping[str, float], device: Device | None, run_id: str, output: str
) -> Iterator[Share]:
    """Takes the least that a run needs of a cluster whose resources are `total`, and gives it back at the end; without
    a `device`, to commit alone. Waits until it is free, with a line that says for what. Raises ConfigError if it does
    not fit the cluster at all; graphs that are executed while it is held, ShareLost."""
    asker = _Asker(f"{_NAME}{run_id} on {without_credentials(output)}")

    def size() -> Resources:
        free = free_resources()
        return allocate(cluster, total, device, free) if device else allocate_writers(cluster, total)

    try:
        share = _take(asker, size, total)
        with watched(share.group):
            yield share
    finally:
        asker.keep_only(None)


def _take(asker: "_Asker", size: Callable[[], Resources], total: Mapping[str, float]) -> Share:
    """Reserves what `size` finds best now; while that is not to be had, whatever else it finds that is free."""
    share = asker.ask(size())
    if share.group.wait(FIRST_LOOK_S):
        return share
    said = -SAY_EVERY_S
    while not (is_held := share.group.wait(LOOK_EVERY_S)):
        if time.monotonic() - said >= SAY_EVERY_S:
            said = time.monotonic()
            say(_waits_for(share.resources, total, free_resources()))
        if asker.get_now(size(), instead_of=share.resources):
            break
    if is_held:  # it was sized while others held the rest; what they gave back may hold a larger actor
        larger = size()
        if larger.actor_cpus > share.resources.actor_cpus:
            asker.get_now(larger, instead_of=share.resources)
    say("there is room now")
    return asker.shares[0]


class _Asker:
    """Asks for placement groups under a name. `shares` is what is reserved or asked for: at most one, but while a
    second one is tried."""

    def __init__(self, name: str) -> None:
        self.shares = list[Share]()
        self._name = name

    def ask(self, resources: Resources) -> Share:
        """Asks for one worker of each stage. Raises ConfigError if no machine of the cluster has room for one."""
        from ray.util import placement_group

        _check_machines(resources.bundles)
        name = f"{self._name}, again" if self.shares else self._name  # names of groups are unique
        self.shares.append(Share(resources, placement_group([*resources.bundles.values()], strategy="PACK", name=name)))
        return self.shares[-1]

    def get_now(self, resources: Resources, instead_of: Resources) -> bool:
        """Reserves another size in place of the first, if that is to be had at once. Returns whether it was."""
        if resources.least == instead_of.least or not _fits(resources, free_resources()):
            return False
        second = self.ask(resources)
        is_there = second.group.wait(FIRST_LOOK_S)
        self.keep_only(second if is_there else self.shares[0])
        return bool(is_there)

    def keep_only(self, kept: Share | None) -> None:
        """Gives all else back. A head that is gone does not answer; what it held ends with this process."""
        from ray.util import remove_placement_group

        def remove() -> None:
            with suppress(Exception):
                for share in given_back:
                    remove_placement_group(share.group)

        given_back = [share for share in self.shares if share is not kept]
        self.shares = [share for share in self.shares if share is kept]
        thread = threading.Thread(target=remove, daemon=True)
        thread.start()
        thread.join(GIVE_BACK_S)


def _check_machines(bundles: Mapping[str, Mapping[str, float]]) -> None:
    """Raises ConfigError if a worker fits no machine of the cluster, were it empty: Ray would wait for ever."""
    import ray

    machines = [node["Resources"] for node in ray.nodes() if node["Alive"]]
    for stage, bundle in bundles.items():
        worker, keys = _WORKERS[stage]
        if not any(_fits_in(bundle, machine) for machine in machines):
            needs = " and ".join(_amount(name, needed) for name, needed in bundle.items())
            raise ConfigError(f"{keys}: one {worker} needs {needs}, and no machine of the cluster has that")


def free_resources() -> dict[str, float]:
    """What nobody holds of the cluster's resources, with the most free CPUs of one machine under LARGEST_NODE."""
    import ray
    from ray._private.state import available_resources_per_node

    largest = max((node.get("CPU", 0.0) for node in available_resources_per_node().values()), default=0.0)
    return dict(ray.available_resources()) | {LARGEST_NODE: largest}


def _fits(resources: Resources, free: Mapping[str, float]) -> bool:
    largest = max(resources.actor_cpus, resources.decoder_cpus)
    return _fits_in(resources.least, free) and largest <= free.get(LARGEST_NODE, 0.0) + 1e-6


def _fits_in(needs: Mapping[str, float], there: Mapping[str, float]) -> bool:
    return all(needed <= there.get(name, 0.0) + 1e-6 for name, needed in needs.items())


def _amount(name: str, value: float) -> str:
    """A resource's amount as a phrase: `1.75 CPUs`, `1 GPU`, `2 GB of memory`."""
    if name == "memory":
        return f"{value / 1e9:g} GB of memory"
    return f"{value:g} {name if value == 1 else f'{name}s'}"


def _waits_for(resources: Resources, total: Mapping[str, float], free: Mapping[str, float]) -> str:
    """What a run waits for, how much of it is in use, and by whom:
    `waiting for 1.75 CPUs; 1.75 of 2 are in use, by run 20261126T030000Z-5f0c1a on s3://archive/transcripts`."""
    needs = {name: needed for name, needed in resources.least.items() if needed}
    lacking = {name: needed for name, needed in needs.items() if needed > free.get(name, 0.0) + 1e-6}
    parts = []
    for name, needed in (lacking or needs).items():  # enough of all may be free, but not on one machine
        unit = 1e9 if name == "memory" else 1.0
        used, there = total.get(name, 0.0) - free.get(name, 0.0), total.get(name, 0.0)
        parts.append(f"{_amount(name, needed)}; {used / unit:.4g} of {there / unit:.4g} are in use")
    return f"waiting for {', and for '.join(parts)}{_holders()}"


def _holders() -> str:
    """The runs of this job that hold something of the cluster, as a phrase."""
    from ray.util import placement_group_table

    table = placement_group_table().values()
    names = (each["name"] for each in table if each["state"] in ("CREATED", "RESCHEDULING"))
    runs = sorted(name.removeprefix("citrascribe ") for name in names if name.startswith(_NAME))
    more = f" and {len(runs) - 3} more" if len(runs) > 3 else ""
    return f", by {', '.join(runs[:3])}{more}" if runs else ""
