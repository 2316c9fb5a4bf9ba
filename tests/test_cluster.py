"""A cluster of several raylets, one of which is lost midway."""

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import faults
import pandas as pd
import pytest
from conftest import DEMO_MODEL, ROOT, free_port

from jobs.cli.terminal import read_json


@pytest.fixture
def cluster() -> Iterator[Any]:
    """A head without CPUs, and three machines of three each; all of them are this one. Two of them have room on one for
    what a run reserves, whatever lies where: Ray waits until all of it fits."""
    from ray.cluster_utils import Cluster

    made = Cluster(True, head_node_args={"num_cpus": 0, "dashboard_agent_listen_port": free_port()})
    for _ in range(3):
        made.add_node(num_cpus=3, dashboard_agent_listen_port=free_port())
    yield made
    made.shutdown()


def has_an_actor(node: Any) -> bool:
    raylet = node.all_processes["raylet"][0].process.pid
    return any("HearBlock" in line for line in faults.descendants(raylet).values())


def started(cluster: Any, folder: Path, *keys: str) -> tuple[subprocess.Popen[str], Path]:
    """The job on the demo's audio, as a driver on the cluster's head would run it, and its output."""
    out = folder / "out"
    keys += (f"input.uri={ROOT}/demo/audio", f"output.uri={out}", f"model.name={DEMO_MODEL}")
    keys += ("ray.cpus_per_actor=1", "ray.cpus_per_decoder=0.5")
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
