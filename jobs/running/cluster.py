"""Connects to Ray, and divides its resources among the stages of the graph."""

import contextlib
import logging
import os
import re
import signal
import socket
import sys
import warnings
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from actors.engine.devices import cpu_has_bfloat16
from jobs.cli.config import Cluster, Config, ConfigError, Model
from jobs.planning.prepare import is_on_cluster
from jobs.planning.recipe import Device, Devices, depends_on_devices

CONNECT_PATIENCE_S, ANSWER_PATIENCE_S = 10.0, 120.0  # for a cluster, and for a task on each of its machines
LARGEST_NODE = "CPU of the largest node"  # a key beside Ray's own resource names


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


def find_devices(config: Config) -> Devices:
    """The devices that a run will use: those of the cluster, if one is named, else of this machine.

    A cluster is only asked if anything depends on it, as it takes seconds. No Ray is started. Raises ConfigError.
    """
    if is_on_cluster(config) and depends_on_devices(config.model):
        return devices_of(connect_ray(config.ray.address), config.model)
    return Devices.of_this_machine()


def devices_of(available: Mapping[str, float], model: Model) -> Devices:
    """The devices of the cluster that this process is connected to. A task on each machine asks its CPU, where that
    matters: if there is no GPU, or it is not to be used."""
    gpus = int(available.get("GPU", 0))
    if gpus and model.device == "auto":
        return Devices(gpus, has_bfloat16=True)
    import ray
    from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

    ask = ray.remote(num_cpus=0)(cpu_has_bfloat16)
    nodes = [node["NodeID"] for node in ray.nodes() if node["Alive"] and node["Resources"].get("CPU")]
    places = [NodeAffinitySchedulingStrategy(node, soft=True) for node in nodes]
    answers = [ask.options(scheduling_strategy=place).remote() for place in places]
    try:
        has_bfloat16 = bool(answers) and all(ray.get(answers, timeout=ANSWER_PATIENCE_S))
    except Exception as problem:  # noqa: BLE001 - of the task, or of Ray, which has dozens of kinds
        raise ConfigError(
            f"model.precision: the cluster's machines could not be asked which one they support ({reason_of(problem)});"
            " set it to float32 or bfloat16"
        ) from None
    return Devices(gpus, has_bfloat16)


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


def connect_ray(address: str | None) -> dict[str, float]:
    """Connects to the cluster at `address` or RAY_ADDRESS, or starts a local Ray. Returns the cluster's resources, with
    the CPUs of its largest node under LARGEST_NODE.

    An existing connection of this process is used as it is. Raises ConfigError if no cluster answers.
    """
    os.environ.setdefault("RAY_BACKEND_LOG_LEVEL", "fatal")  # what matters arrives as exceptions
    import ray
    import ray.data

    options: dict[str, Any] = {"log_to_driver": False, "logging_level": "ERROR"}
    if address is None and "RAY_ADDRESS" not in os.environ:
        options |= {"address": "local", "include_dashboard": False}
    else:
        options |= {"address": address or "auto"}
    try:
        if not ray.is_initialized():
            _knock(address or os.environ.get("RAY_ADDRESS", ""))
            terminated = signal.getsignal(signal.SIGTERM)
            with _without_stderr():
                ray.init(**options)
            signal.signal(signal.SIGTERM, terminated)  # restored: Ray's handler ends the process silently
    except ConnectionError as problem:
        where = address or os.environ.get("RAY_ADDRESS")
        raise ConfigError(f"ray.address: no cluster answers at {where}: {problem}") from None
    largest = max(node["Resources"].get("CPU", 0.0) for node in ray.nodes() if node["Alive"])
    return dict(ray.cluster_resources()) | {LARGEST_NODE: largest}


def _knock(address: str) -> None:
    """Raises ConnectionError if nothing listens at an address of the form host:port: Ray itself would try for
    minutes."""
    match = re.fullmatch(r"(?:ray://)?([^/\s]+):([0-9]{1,5})", address)
    if match is None:
        return
    try:
        socket.create_connection((match[1].strip("[]"), int(match[2])), timeout=CONNECT_PATIENCE_S).close()
    except (OSError, UnicodeError, OverflowError) as problem:
        raise ConnectionError(f"{problem}") from None


@contextlib.contextmanager
def _without_stderr() -> Iterator[None]:
    """Silences standard error while Ray's C++ core starts: it only reports its log level there."""
    sys.stderr.flush()
    kept, nowhere = os.dup(2), os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 2)
    try:
        yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)
        os.close(nowhere)


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


def reason_of(problem: Exception) -> str:
    """The last line of a remote traceback that names an exception, or the problem itself."""
    named = re.findall(r"^[\w.]*(?:Error|Exception)\b.*$", str(problem), re.MULTILINE)
    return named[-1] if named else f"{type(problem).__name__}: {problem}"
