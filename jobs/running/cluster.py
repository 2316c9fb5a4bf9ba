"""Divides Ray's resources among the stages of the graph."""

import logging
import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from jobs.cli.config import Cluster, ConfigError
from jobs.planning.recipe import Device
from jobs.running.connect import LARGEST_NODE


@dataclass(frozen=True)
class Resources:
    """The actor pool's minimum and maximum size, and what Ray reserves for each stage.

    `threads` is the number of threads that an actor computes with.
    """

    actors: tuple[int, int]
    actor_cpus: float
    actor_gpus: float
    decoder_cpus: float
    decoder_memory: float  # bytes
    commit_cpus: float
    threads: int
    device: Device

    def described(self) -> str:
        """The actors as a phrase: `1 actor, 1 CPU`, `2 to 8 actors, each 1 CPU and 1 GPU`."""
        minimum, maximum = self.actors
        many = f"{minimum}" if minimum == maximum else f"{minimum} to {maximum}"
        parts = [(self.actor_cpus, "CPU"), (self.actor_gpus, "GPU")]
        each = " and ".join(f"{count:g} {name}{'s' * (count > 1)}" for count, name in parts if count)
        return f"{many} actor, {each}" if maximum == 1 else f"{many} actors, each {each}"

    def of_readers(self) -> dict[str, Any]:
        """Options of `Dataset.map_batches` for the stage that reads."""
        return {"num_cpus": self.decoder_cpus, "memory": self.decoder_memory, "max_retries": 3}

    def of_actors(self) -> dict[str, Any]:
        """Options for the stage that transcribes: a pool of actors."""
        from ray.data import ActorPoolStrategy

        pool = ActorPoolStrategy(
            min_size=self.actors[0],
            max_size=self.actors[1],
            max_concurrent_calls_per_actor=self.blocks_at_once,
            enable_true_multi_threading=self.blocks_at_once > 1,
        )
        bounds = {"max_restarts": 3, "max_task_retries": 3}
        return {"compute": pool, "num_cpus": self.actor_cpus, "num_gpus": self.actor_gpus} | bounds

    def of_commits(self) -> dict[str, Any]:
        """Options for the stage that commits."""
        return {"num_cpus": self.commit_cpus, "max_retries": 3}

    @property
    def blocks_at_once(self) -> int:
        """Blocks an actor processes concurrently: on a GPU, the text of one is decoded while the next one computes."""
        return 2 if self.device == "cuda" else 1


def allocate(cluster: Cluster, available: Mapping[str, float], device: Device) -> Resources:
    """Divides the available resources among the stages, such that actors, a decoder and a commit fit together.
    By default there is one actor per GPU share, else per node.

    Raises ConfigError if they do not fit: Ray would wait forever. The CPUs of actors and decoders must differ, or Ray
    Data would fuse the two stages and nothing would overlap.
    """
    cpus, gpus, memory = (float(available.get(name, 0)) for name in ("CPU", "GPU", "memory"))
    node = float(available[LARGEST_NODE])
    actor_gpus = (1.0 if device == "cuda" else 0.0) if cluster.gpus_per_actor == "auto" else cluster.gpus_per_actor
    if device == "cuda" and not actor_gpus:
        raise ConfigError("ray.gpus_per_actor: 0 leaves no GPU for the actors, but model.device is cuda")
    actors = cluster.actors
    if actors == "auto":
        each = max(int(gpus / actor_gpus) if actor_gpus else int(cpus // node), 1)
        actors = (each, each)
    minimum = actors[0]
    decoder = min(1.0, cpus / 4) if cluster.cpus_per_decoder == "auto" else cluster.cpus_per_decoder
    commit = decoder / 2
    if cluster.cpus_per_actor == "auto":
        requested = max(min((cpus - decoder - commit) / minimum, 1.0 if device == "cuda" else node), 0.0)
    else:
        requested = cluster.cpus_per_actor
    actor = float(int(requested)) if requested >= 1 else int(requested * 1e4) / 1e4  # Ray takes whole numbers above 1
    if actor == decoder:
        decoder *= 0.9
    decoder_memory = min(cluster.decoder_memory_gb * 1e9, memory / 2)
    for name, needed, total in (
        ("CPUs", minimum * actor + decoder + commit, cpus),
        ("CPUs on one machine", max(actor, decoder), node),
        ("GPUs", minimum * actor_gpus, gpus),
    ):
        if needed > total + 1e-6 or actor <= 0:
            raise ConfigError(
                f"ray.actors: {minimum} actors, a decoder and a commit need {needed:g} {name}, and Ray has {total:g};"
                " lower ray.actors, ray.cpus_per_actor or ray.gpus_per_actor"
            )
    threads = max(int(min(cpus // minimum, node) if device == "cpu" else actor), 1)
    return Resources(actors, actor, actor_gpus, decoder, decoder_memory, commit, threads, device)


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


class GraphError(Exception):
    """The graph as a whole failed: its actors could not start, or the cluster is gone."""
