"""Connects to Ray: to a cluster, or to a local Ray of its own, and asks which devices it has."""

import contextlib
import os
import re
import signal
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from actors.engine.devices import INT8_NEEDS, cpu_has_bfloat16, cpu_has_int8
from actors.foreign.errors import one_line
from jobs.cli.config import Config, ConfigError, Model
from jobs.cli.terminal import others_silenced
from jobs.planning.prepare import cluster_address, is_on_cluster
from jobs.planning.recipe import Devices, depends_on_devices
from jobs.running.address import check_cluster, check_form

ANSWER_PATIENCE_S = 120.0  # for a task on each machine of a cluster
#: Keys beside Ray's own resource names; the latter is there if there are GPUs.
LARGEST_NODE, CPUS_BY_GPU = "CPU of the largest node", "CPU for each GPU of the node that has the fewest"


def connect_ray(address: str | None) -> dict[str, float]:
    """Connects to the cluster at `address` or RAY_ADDRESS, or starts a local Ray. Returns the cluster's resources, with
    what its nodes have under LARGEST_NODE and CPUS_BY_GPU.

    An existing connection of this process is used as it is. Raises ConfigError if no cluster answers.
    """
    where = cluster_address(address)
    os.environ.setdefault("RAY_BACKEND_LOG_LEVEL", "fatal")  # what matters arrives as exceptions
    import ray
    import ray.data

    options: dict[str, Any] = {"log_to_driver": False, "logging_level": "ERROR"}
    options |= {"address": "local", "include_dashboard": False} if where is None else {"address": where}
    try:
        if not ray.is_initialized():
            if where is not None:
                check_cluster(where)
            with others_silenced(), _own_handler():  # Ray's C++ core reports its log level there
                ray.init(**options)
    except (ConnectionError, RuntimeError, ValueError) as problem:
        if where is None:
            raise
        raise ConfigError(f"ray.address: Ray cannot connect to {where}: {one_line(problem)}") from None
    nodes = [node["Resources"] for node in ray.nodes() if node["Alive"]]
    of_nodes = {LARGEST_NODE: max(node.get("CPU", 0.0) for node in nodes)}
    if by_gpu := [node.get("CPU", 0.0) / node["GPU"] for node in nodes if node.get("GPU")]:
        of_nodes[CPUS_BY_GPU] = min(by_gpu)
    return dict(ray.cluster_resources()) | of_nodes


def check_address(config: Config, will_connect: bool = False) -> None:
    """Raises ConfigError if the address can be no cluster's, or no cluster answers there and the run is to connect."""
    where = cluster_address(config.ray.address)
    if where is not None:
        (check_cluster if will_connect or depends_on_devices(config.model) else check_form)(where)


@contextlib.contextmanager
def _own_handler() -> Iterator[None]:
    """Restores this process's handler of SIGTERM, where the signal is not blocked: Ray's ends the process silently."""
    terminated = signal.getsignal(signal.SIGTERM)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, terminated)


def find_devices(config: Config) -> Devices:
    """The devices that a run will use: those of the cluster, if one is named, else of this machine.

    A cluster is only asked if anything depends on it, as it takes seconds. No Ray is started. Raises ConfigError.
    """
    if is_on_cluster(config) and depends_on_devices(config.model):
        return devices_of(connect_ray(config.ray.address), config.model)
    return Devices.of_this_machine()


def devices_of(available: Mapping[str, float], model: Model) -> Devices:
    """The devices of the cluster that this process is connected to. Each machine's CPU is asked where that matters: if
    there is no GPU, or it is not to be used. Raises ConfigError, with their names, if some lack the int8 wanted."""
    gpus = int(available.get("GPU", 0))
    if gpus and model.device == "auto":
        return Devices(gpus, has_bfloat16=True)
    if model.precision != "int8":
        answers = _answers(cpu_has_bfloat16)
        return Devices(gpus, has_bfloat16=bool(answers) and all(has for _, has in answers))
    if lacking := sorted({name for name, has in _answers(cpu_has_int8) if not has}):
        raise ConfigError(
            f"{INT8_NEEDS}, and these machines of the cluster have none: {', '.join(lacking)}; use bfloat16 or float32"
        )
    return Devices(gpus, has_bfloat16=False)  # which nothing depends on


def _answers(question: Callable[[], bool]) -> list[tuple[str, bool]]:
    """The name of each machine of the cluster that has CPUs for tasks, and what a task there answers."""
    import ray
    from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

    ask = ray.remote(num_cpus=0)(question)
    nodes = [node for node in ray.nodes() if node["Alive"] and node["Resources"].get("CPU")]
    places = [NodeAffinitySchedulingStrategy(node["NodeID"], soft=True) for node in nodes]
    answers = [ask.options(scheduling_strategy=place).remote() for place in places]
    try:
        found: list[bool] = ray.get(answers, timeout=ANSWER_PATIENCE_S)
    except Exception as problem:  # noqa: BLE001 - of the task, or of Ray, which has dozens of kinds
        raise ConfigError(
            f"model.precision: the cluster's machines could not be asked which one they support ({reason_of(problem)});"
            " set it to float32 or bfloat16"
        ) from None
    return [(node["NodeName"], has) for node, has in zip(nodes, found, strict=True)]


def reason_of(problem: Exception) -> str:
    """The last line of a remote traceback that names an exception, or the problem itself."""
    named = re.findall(r"^[\w.]*(?:Error|Exception)\b.*$", str(problem), re.MULTILINE)
    return named[-1] if named else f"{type(problem).__name__}: {problem}"
