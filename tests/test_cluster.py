"""A cluster of several raylets, one of which is lost midway."""

import os
import re
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import faults
import pandas as pd
import pytest
from conftest import DEMO_MODEL, ROOT, free_port

from jobs.cli.terminal import read_json


@contextmanager
def cluster_of(cpus: int) -> Iterator[Any]:
    """A head without CPUs, and three machines of so many each; all of them are this one."""
    import ray
    from ray.cluster_utils import Cluster

    ray.shutdown()  # the Ray of other tests, if any: this process can be connected to one at a time
    made = Cluster(True, head_node_args={"num_cpus": 0, "dashboard_agent_listen_port": free_port()})
    for _ in range(3):
        made.add_node(num_cpus=cpus, dashboard_agent_listen_port=free_port())
    yield made
    made.shutdown()


@pytest.fixture
def cluster() -> Iterator[Any]:
    """Machines of three CPUs. Two of them have room on one for what a run reserves, whatever lies where."""
    with cluster_of(3) as made:
        yield made


@pytest.fixture
def full_cluster() -> Iterator[Any]:
    """Machines of two CPUs, with room for an actor, a decoder and a worker that commits, or for two actors."""
    with cluster_of(2) as made:
        yield made


def has_an_actor(node: Any) -> bool:
    raylet = node.all_processes["raylet"][0].process.pid
    return any("HearBlock" in line for line in faults.descendants(raylet).values())


def machine_of_the_share(cluster: Any) -> Any:
    """The machine on which the first actor of the one run is reserved."""
    import ray
    from ray.util import placement_group_table

    ray.init(cluster.address, log_to_driver=False, logging_level="ERROR")
    try:
        (group,) = placement_group_table().values()
    finally:
        ray.shutdown()
    return next(node for node in cluster.worker_nodes if node.node_id == group["bundles_to_node_id"][1])


def started(cluster: Any, folder: Path, *keys: str) -> tuple[subprocess.Popen[str], Path]:
    """The job on the demo's audio, as a driver on the cluster's head would run it, and its output."""
    out = folder / "out"
    keys += (f"input.uri={ROOT}/demo/audio", f"output.uri={out}", f"model.name={DEMO_MODEL}")
    keys = ("ray.cpus_per_actor=1", "ray.cpus_per_decoder=0.5", *keys)
    command = [sys.executable, "-m", "jobs.transcribe", "configs/demo.yaml", *keys]
    environment = os.environ | {"RAY_ADDRESS": cluster.address, "PYTHONPATH": str(ROOT)}
    pipes: dict[str, Any] = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    return subprocess.Popen(command, cwd=ROOT, env=environment, **pipes), out


@pytest.mark.timeout(300)
def test_a_machine_that_is_lost_midway_costs_nothing_but_time(cluster: Any, tmp_path: Path) -> None:
    run, out = started(cluster, tmp_path, "ray.actors=[3, 3]", "unit.target_minutes=0.25")
    while len(list(out.glob("_commits/*"))) < 3:
        assert run.poll() is None, run.communicate()[1]
        time.sleep(0.01)
    cluster.remove_node(next(node for node in cluster.worker_nodes if has_an_actor(node)), allow_graceful=False)
    said, seen = run.communicate(timeout=200)
    assert run.returncode == 0, seen
    summary = read_json(said)
    assert summary["units"]["done"] == summary["units"]["planned"]
    found = pd.concat([pd.read_parquet(part) for part in out.glob("*.parquet")])
    assert found.groupby(["uri", "member", "offset_s"], dropna=False).ngroups == 77
    assert not found.duplicated(["uri", "member", "offset_s", "segment_index"]).any()


@pytest.mark.timeout(300)
def test_a_share_that_cannot_be_had_again_ends_the_run(full_cluster: Any, tmp_path: Path) -> None:
    """The run's other actors fill the machines that are left. What was reserved on the lost one has no room there, and
    what was sent to its workers would wait for ever."""
    keys = "ray.actors=[4, 4]", "unit.target_minutes=0.25", "ray.cpus_per_decoder=0.66"
    said, seen, status = after_the_loss_of_its_share(full_cluster, tmp_path, *keys)
    assert status == 1, seen
    assert re.search(r"a machine is lost.*; starting anew, with \d+ units", seen)
    assert "4 actors, a decoder and a commit need 4.99 CPUs, and Ray has 4" in seen
    units = read_json(said)["units"]
    assert 0 < units["done"] < units["planned"]


@pytest.mark.timeout(300)
def test_a_share_that_has_room_in_pieces_is_had_again(full_cluster: Any, tmp_path: Path) -> None:
    """If not beside the run's other workers, then without them."""
    keys = "ray.actors=[3, 3]", "unit.target_minutes=0.25"
    said, seen, status = after_the_loss_of_its_share(full_cluster, tmp_path, *keys)
    assert status == 0, seen
    units = read_json(said)["units"]
    assert units["done"] == units["planned"]


def after_the_loss_of_its_share(cluster: Any, folder: Path, *keys: str) -> tuple[str, str, int]:
    """What a run prints, on both streams, and its status, if the machine of its share is lost when it has committed."""
    run, out = started(cluster, folder, *keys)
    while len(list(out.glob("_commits/*"))) < 3:
        assert run.poll() is None, run.communicate()[1]
        time.sleep(0.01)
    cluster.remove_node(machine_of_the_share(cluster), allow_graceful=False)
    return *run.communicate(timeout=250), run.returncode


@pytest.mark.timeout(300)
def test_a_pool_grows_where_there_is_work(cluster: Any, tmp_path: Path) -> None:
    run, _ = started(cluster, tmp_path, "ray.actors=[1, 3]", "unit.target_minutes=0.05")
    most = 0
    while run.poll() is None:
        most = max(most, sum(map(has_an_actor, cluster.worker_nodes)))
        time.sleep(0.1)
    said, seen = run.communicate()
    assert run.returncode == 0, seen
    assert read_json(said)["recordings"] == 77
    assert most >= 2


@pytest.mark.timeout(300)
@pytest.mark.parametrize("lacks", [True, False])
def test_machines_without_int8_are_named(cluster: Any, lacks: bool) -> None:
    """All of these have this machine's CPU, so what theirs answers is made up."""
    node = cluster.add_node(num_cpus=2, node_name="an-old-one", dashboard_agent_listen_port=free_port())
    program = (
        "import sys\nimport ray\nfrom jobs.cli.loading import ConfigError, load\nfrom jobs.running import connect\n"
        "old = sys.argv[1]\n"
        "connect.cpu_has_int8 = lambda: ray.get_runtime_context().get_node_id() != old\n"
        "config = load('configs/demo.yaml', ['model.device=cpu', 'model.precision=int8'])\n"
        "try:\n    print(connect.find_devices(config))\nexcept ConfigError as problem:\n    print(problem)"
    )
    environment = os.environ | {"RAY_ADDRESS": cluster.address, "PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-c", program, node.node_id if lacks else "none"]
    said = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=200, check=True)
    expected = "these machines of the cluster have none: an-old-one; use bfloat16" if lacks else "Devices(gpus=0,"
    assert expected in said.stdout


@pytest.mark.timeout(300)
def test_actors_that_cannot_start_end_the_run_with_the_reason(cluster: Any, tmp_path: Path) -> None:
    cluster.add_node(num_cpus=2, num_gpus=1, dashboard_agent_listen_port=free_port())  # a GPU that is not there
    began = time.monotonic()
    run, _ = started(cluster, tmp_path, "model.device=cuda")
    _, seen = run.communicate(timeout=200)
    assert run.returncode == 1, seen
    assert "Ray ended early: " in seen
    assert "torch finds no GPU" in seen
    assert "Traceback" not in seen
    assert time.monotonic() - began < 60
