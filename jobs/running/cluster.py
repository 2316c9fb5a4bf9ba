"""Divides Ray's resources among the stages of the graph."""

import logging
import warnings
from collections.abc import Mapping
from dataclasses import dataclass

from jobs.cli.config import Cluster, ConfigError
from jobs.planning.recipe import Device
from jobs.running.connect import CPUS_BY_GPU, LARGEST_NODE

LEAST_CPUS = 0.25  # with less of a CPU free for it, an actor waits for a whole one
GPU_CPUS = 3.0  # for an actor on a GPU at most: it launches, packs and takes apart, and copies sound
NO_GPU = "cuda is asked for, and {} has no GPU that can be used; set model.device=cpu"
GPU_SHARE = 1 / 8  # of the CPUs beside its GPU, if that is between 1 and GPU_CPUS: others decode


@dataclass(frozen=True)
class Resources:
    """The sizes of the actor pool, and what Ray reserves for one worker of each stage.

    `actors` are the minimum and maximum, `first_actors` those that there is room for now. `threads` is the number of
    threads that an actor computes with, `cpus` what the cluster has.
    """

    actors: tuple[int, int]
    first_actors: int
    actor_cpus: float
    actor_gpus: float
    decoder_cpus: float
    decoder_memory: float  # bytes
    commit_cpus: float
    threads: int
    device: Device
    cpus: float

    def described(self) -> str:
        """The actors as a phrase: `1 actor, 1 CPU`, `2 to 8 actors, each 1 CPU and 1 GPU`."""
        minimum, maximum = self.actors
        many = f"{minimum}" if minimum == maximum else f"{minimum} to {maximum}"
        parts = [(self.actor_cpus, "CPU"), (self.actor_gpus, "GPU")]
        each = " and ".join(f"{count:g} {name}{'s' * (count > 1)}" for count, name in parts if count)
        return f"{many} actor, {each}" if maximum == 1 else f"{many} actors, each {each}"

    @property
    def of_reader(self) -> dict[str, float]:
        """What one worker of the stage that reads needs, by Ray's names of resources."""
        return {"CPU": self.decoder_cpus, "memory": self.decoder_memory}

    @property
    def of_actor(self) -> dict[str, float]:
        """What an actor needs."""
        return {"CPU": self.actor_cpus} | ({"GPU": self.actor_gpus} if self.actor_gpus else {})

    @property
    def of_writer(self) -> dict[str, float]:
        """What one worker of the stage that commits needs."""
        return {"CPU": self.commit_cpus}

    @property
    def bundles(self) -> dict[str, dict[str, float]]:
        """What one of each needs, in the order of the stages; without actors, there is only the one that commits."""
        stages = {"reader": self.of_reader, "actor": self.of_actor, "writer": self.of_writer}
        return stages if self.actors[1] else {"writer": self.of_writer}

    @property
    def least(self) -> dict[str, float]:
        """What one of each needs together."""
        return {name: sum(each.get(name, 0.0) for each in self.bundles.values()) for name in ("CPU", "GPU", "memory")}

    @property
    def blocks_at_once(self) -> int:
        """Blocks an actor processes concurrently: on a GPU, one is packed and unpacked while the other computes."""
        return 2 if self.device == "cuda" else 1


def allocate(
    cluster: Cluster, total: Mapping[str, float], device: Device, free: Mapping[str, float] | None = None
) -> Resources:
    """Divides a cluster's resources among the stages, such that actors, a decoder and a commit fit together. By default
    there is up to one actor per GPU share, else per node.

    What others left `free` (all of it, if None) bounds how many CPUs an actor takes, and how many actors start at once;
    where it is too little for one, an actor takes 1 CPU when there is room. Raises ConfigError if the stages do not fit
    even the total: Ray would wait forever.
    """
    free = total if free is None else free
    cpus, gpus, memory = (float(total.get(name, 0)) for name in ("CPU", "GPU", "memory"))
    node, free_cpus, free_node = float(total[LARGEST_NODE]), float(free.get("CPU", 0)), float(free[LARGEST_NODE])
    actor_gpus = (1.0 if device == "cuda" else 0.0) if cluster.gpus_per_actor == "auto" else cluster.gpus_per_actor
    if device == "cuda" and not actor_gpus:
        raise ConfigError("ray.gpus_per_actor: 0 leaves no GPU for the actors, but model.device is cuda")
    actors = cluster.actors
    if actors == "auto":
        each = max(int(gpus / actor_gpus) if actor_gpus else int(cpus // (node or 1.0)), 1)
        actors, together = (1, each), each
    else:
        together = actors[0]
    decoder = _decoder_cpus(cluster, cpus)
    commit = decoder / 2
    if cluster.cpus_per_actor == "auto":
        beside = float(total.get(CPUS_BY_GPU, cpus / together)) * actor_gpus
        on_gpu = min(max(int(beside * GPU_SHARE), 1.0), GPU_CPUS, beside)
        most = min((cpus - decoder - commit) / together, on_gpu if device == "cuda" else node)
        at_hand = min(free_cpus - decoder - commit, free_node)
        requested = max(min(most, at_hand if at_hand >= LEAST_CPUS else 1.0), 0.0)
    else:
        requested = cluster.cpus_per_actor
    actor = float(int(requested)) if requested >= 1 else int(requested * 1e4) / 1e4  # Ray takes whole numbers above 1
    decoder_memory = float(int(min(cluster.decoder_memory_gb * 1e9, memory / 2)))
    for name, needed, there in (
        ("CPUs", together * actor + decoder + commit, cpus),
        ("CPUs on one machine", max(actor, decoder), node),
        ("GPUs", together * actor_gpus, gpus),
    ):
        if name == "GPUs" and needed and not there:
            raise ConfigError(f"model.device: {NO_GPU.format('Ray')}")
        if needed > there + 1e-6 or actor <= 0:
            raise ConfigError(
                f"ray.actors: {together} actors, a decoder and a commit need {needed:g} {name}, and Ray has {there:g};"
                " lower ray.actors, ray.cpus_per_actor or ray.gpus_per_actor"
            )
    room = (free_cpus - decoder - commit) / actor
    if actor_gpus:
        room = min(room, float(free.get("GPU", 0)) / actor_gpus)
    first = min(max(int(room + 1e-6), actors[0]), actors[1])
    all_cpus = min(free_cpus // together, free_node) if device == "cpu" else 0.0
    threads = max(int(max(actor, all_cpus)), 1)
    return Resources(actors, first, actor, actor_gpus, decoder, decoder_memory, commit, threads, device, cpus)


def allocate_writers(cluster: Cluster, total: Mapping[str, float]) -> Resources:
    """Sizes workers that commit, for a graph without the other stages."""
    cpus = float(total.get("CPU", 0))
    decoder = _decoder_cpus(cluster, cpus)
    return Resources((0, 0), 0, 0.0, 0.0, decoder, 0.0, decoder / 2, 1, "cpu", cpus)


def _decoder_cpus(cluster: Cluster, cpus: float) -> float:
    return min(1.0, cpus / 4) if cluster.cpus_per_decoder == "auto" else cluster.cpus_per_decoder


def configure_ray_data() -> None:
    """Sets Ray Data's options for this process."""
    import ray.data
    from ray.util.annotations import RayDeprecationWarning

    context = ray.data.DataContext.get_current()
    context.target_max_block_size = None  # a piece is never split
    context.max_errored_blocks = -1  # a bad unit fails alone; the driver counts what was committed
    context.enable_progress_bars = False
    context.print_on_execution_start = False
    logging.getLogger("ray.data").setLevel(logging.CRITICAL)  # its errors arrive as exceptions too
    # Retries can only be limited by **ray_remote_args, which Ray 2.60 deprecates without a substitute.
    warnings.simplefilter("ignore", RayDeprecationWarning)


def has_restarted() -> bool:
    """Whether Ray started this process in place of one of its actor's that died."""
    import ray

    return bool(ray.get_runtime_context().was_current_actor_reconstructed)


class GraphError(Exception):
    """The graph as a whole failed: its actors could not start, or the cluster is gone."""


class ShareLost(GraphError):
    """What was reserved for a run is lost with its machine, and there is no room for it beside the run's workers."""
