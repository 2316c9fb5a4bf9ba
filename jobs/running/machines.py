"""The machines that a forecast is for, and how a run would share them out. Ray is not started."""

import os
from collections.abc import Mapping

from jobs.cli.config import Config, ConfigError
from jobs.planning.forecast import Machines
from jobs.planning.prepare import is_on_cluster
from jobs.planning.recipe import Device, Devices
from jobs.running.cluster import Resources, allocate
from jobs.running.connect import CPUS_BY_GPU, LARGEST_NODE, MACHINES, connected_resources

_NOT_ASKED = (
    "the cluster is asked for its machines only with model.device=auto, and the workers that the run asks for do not"
    " fit this one"
)
_MEMORY = 64e9  # bytes of a machine: only how much a decoder reserves depends on it


def find_machines(config: Config, device: Device) -> Machines:
    """The machines for `plan.machines`: those of the cluster, if this process asked it for its devices; else so many
    like this one. Raises ConfigError if the workers asked for do not fit them."""
    is_elsewhere, stated = is_on_cluster(config), config.plan.machines
    asked = connected_resources() if is_elsewhere else None
    total = asked or this_machine()
    there = max(int(total[MACHINES]), 1)
    count = there if stated == "auto" else stated
    whole = scaled(total, count / there)
    words = f"{count} of the cluster" if count <= there else f"{count} as in the cluster"
    if not asked:
        words = f"this machine{', not the cluster' * is_elsewhere}" if count == 1 else f"{count} like this one"
    try:
        return divided(allocate(config.ray, whole, device), whole, device, count, words)
    except ConfigError:
        if is_elsewhere and not asked:  # what does not fit here may fit there
            raise ConfigError(_NOT_ASKED) from None
        raise


def this_machine() -> dict[str, float]:
    """The resources of this machine, by Ray's names, as a Ray that starts here finds them."""
    cpus, gpus = float(len(os.sched_getaffinity(0))), float(Devices.of_this_machine().gpus)
    found = {"CPU": cpus, "GPU": gpus, "memory": _MEMORY, LARGEST_NODE: cpus, MACHINES: 1.0}
    return found | ({CPUS_BY_GPU: cpus / gpus} if gpus else {})


def scaled(total: Mapping[str, float], factor: float) -> dict[str, float]:
    """The resources of so many times as many machines of the same kind."""
    return {name: value if name in (LARGEST_NODE, CPUS_BY_GPU) else value * factor for name, value in total.items()}


def divided(resources: Resources, total: Mapping[str, float], device: Device, count: int, words: str) -> Machines:
    """How a run has machines once its actors have grown to as many as are wanted and fit."""
    cpus, gpus = float(total["CPU"]), float(total.get("GPU", 0.0))
    room = (cpus - resources.decoder_cpus - resources.commit_cpus) / resources.actor_cpus
    if resources.actor_gpus:
        room = min(room, gpus / resources.actor_gpus)
    least, most = resources.actors
    actors = max(min(most, int(room + 1e-6)), least)
    left = max(cpus - actors * resources.actor_cpus, resources.decoder_cpus)
    threads = min(resources.threads, max(int(cpus / actors), 1)) if device == "cpu" else resources.threads
    has = f"{cpus:g} CPU{'s' * (cpus != 1)}" + (f", {gpus:g} GPU{'s' * (gpus != 1)}" if gpus else "")
    return Machines(count, cpus, gpus, actors, threads, left, device, f"{words}: {has}")
