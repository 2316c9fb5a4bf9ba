"""Connects to Ray: to a cluster, or to a local Ray of its own, and asks which devices it has."""

import contextlib
import os
import re
import signal
import socket
import sys
from collections.abc import Iterator, Mapping
from typing import Any

from actors.engine.devices import cpu_has_bfloat16
from jobs.cli.config import Config, ConfigError, Model
from jobs.planning.prepare import is_on_cluster
from jobs.planning.recipe import Devices, depends_on_devices

CONNECT_PATIENCE_S, ANSWER_PATIENCE_S = 10.0, 120.0  # for a cluster, and for a task on each of its machines
LARGEST_NODE = "CPU of the largest node"  # a key beside Ray's own resource names


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


def reason_of(problem: Exception) -> str:
    """The last line of a remote traceback that names an exception, or the problem itself."""
    named = re.findall(r"^[\w.]*(?:Error|Exception)\b.*$", str(problem), re.MULTILINE)
    return named[-1] if named else f"{type(problem).__name__}: {problem}"
