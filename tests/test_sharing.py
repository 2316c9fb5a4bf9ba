"""Several jobs on one cluster: each takes the least that makes progress at once, or waits and says for what."""

import os
import re
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import faults
import pandas as pd
import pytest
from conftest import ROOT, free_port

from jobs.cli.terminal import read_json

Start = Callable[..., subprocess.Popen[str]]


@pytest.fixture
def cluster_of(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., Any]]:
    """Makes a cluster of one machine with so many CPUs and GPUs, which Ray only counts. It runs in another folder than
    the jobs."""
    from ray.cluster_utils import Cluster

    made = []

    def make(cpus: int, gpus: int = 0) -> Any:
        monkeypatch.chdir(tmp_path)
        arguments = {"num_cpus": cpus, "num_gpus": gpus, "dashboard_agent_listen_port": free_port()}
        made.append(Cluster(True, head_node_args=arguments))
        return made[0]

    yield make
    for cluster in made:
        cluster.shutdown()


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    """Starts a job on the demo's audio, with an output of its own."""
    started = list[subprocess.Popen[str]]()

    def run(cluster: Any, name: str, *keys: str) -> subprocess.Popen[str]:
        keys += (f"output.uri={tmp_path}/{name}",)  # the others are relative to this folder, not to the cluster's
        command = [sys.executable, "-m", "jobs.transcribe", "configs/demo.yaml", *keys]
        environment = os.environ | {"RAY_ADDRESS": cluster.address, "PYTHONPATH": str(ROOT)}
        with (tmp_path / f"{name}.out").open("w") as out, (tmp_path / f"{name}.err").open("w") as err:
            started.append(subprocess.Popen(command, cwd=ROOT, env=environment, stdout=out, stderr=err, text=True))
        return started[-1]

    yield run
    for job in started:
        if job.poll() is None:
            job.kill()
            job.wait()


def ended(job: subprocess.Popen[str], folder: Path, name: str) -> str:
    """What a job that must have done all said on standard error."""
    said = folder / f"{name}.err"
    assert job.wait(200) == 0, said.read_text()
    assert read_json((folder / f"{name}.out").read_text())["recordings"] == 77
    assert pd.read_parquet(sorted((folder / name).glob("*.parquet"))).shape[0] == 135
    return said.read_text()


def wait_for_line(file: Path, pattern: str, seconds: float = 60) -> None:
    end = time.monotonic() + seconds
    while not re.search(pattern, file.read_text(), re.MULTILINE):
        assert time.monotonic() < end, file.read_text()
        time.sleep(0.1)


WAITS = r"^waiting for 1\.75 CPUs; 1\.75 of 2 are in use, by run \S+ on file://\S+/(first|second|third)$"


@pytest.mark.timeout(300)
def test_three_jobs_at_once_on_two_cpus_all_end(cluster_of: Any, start: Start, tmp_path: Path) -> None:
    cluster, names = cluster_of(2), ("first", "second", "third")
    jobs = [start(cluster, name) for name in names]
    seen = [ended(job, tmp_path, name) for job, name in zip(jobs, names, strict=True)]
    assert sum(bool(re.search(WAITS, each, re.MULTILINE)) for each in seen) == 2, seen
    assert sum("there is room now" in each for each in seen) == 2


@pytest.mark.timeout(300)
def test_jobs_share_gpus_that_are_as_many_as_cpus(cluster_of: Any, start: Start, tmp_path: Path) -> None:
    keys, cluster, names = ("model.device=cpu", "ray.gpus_per_actor=1"), cluster_of(4, 4), ("first", "second")
    jobs = [start(cluster, name, *keys) for name in names]
    for job, name in zip(jobs, names, strict=True):
        ended(job, tmp_path, name)


@pytest.fixture
def other(cluster_of: Any) -> Iterator[Callable[[int], Any]]:
    """What others hold of a cluster of two CPUs: an actor with so many of them."""
    import ray

    ray.shutdown()
    cluster = cluster_of(2)
    ray.init(address=cluster.address, log_to_driver=False, logging_level="ERROR")

    def hold(cpus: int) -> Any:
        actor = ray.remote(num_cpus=cpus)(Counter).remote()
        ray.get(actor.total.remote())
        return cluster, lambda: ray.kill(actor)

    yield hold
    ray.shutdown()


@pytest.mark.timeout(300)
def test_a_job_waits_for_what_others_hold_and_says_so(other: Any, start: Start, tmp_path: Path) -> None:
    cluster, release = other(2)
    job = start(cluster, "first")
    wait_for_line(tmp_path / "first.err", r"^waiting for 1\.75 CPUs; 2 of 2 are in use$")
    second = start(cluster, "second")
    wait_for_line(tmp_path / "second.err", r"^waiting for ")
    second.send_signal(signal.SIGTERM)
    assert second.wait(30) == 1
    assert "interrupted" in (tmp_path / "second.err").read_text()
    assert read_json((tmp_path / "second.out").read_text())["status"] == 1
    assert job.poll() is None
    release()
    assert "there is room now" in ended(job, tmp_path, "first")


@pytest.mark.timeout(300)
def test_what_fits_no_machine_is_refused(cluster_of: Any, start: Start, tmp_path: Path) -> None:
    cluster = cluster_of(2, 1)
    cluster.add_node(num_cpus=2, num_gpus=1, dashboard_agent_listen_port=free_port())
    job = start(cluster, "first", "model.device=cpu", "ray.gpus_per_actor=2")
    assert job.wait(60) == 2
    assert "2 GPUs, and no machine of the cluster has that" in (tmp_path / "first.err").read_text()


@pytest.mark.timeout(300)
def test_a_job_takes_what_others_leave(other: Any, start: Start, tmp_path: Path) -> None:
    cluster, _ = other(1)
    said = ended(start(cluster, "first"), tmp_path, "first")
    assert "1 actor, 0.25 CPU" in said
    assert "waiting" not in said


@pytest.mark.timeout(300)
def test_what_is_idle_is_given_back(cluster_of: Any, start: Start, tmp_path: Path) -> None:
    cluster = cluster_of(6)
    raylet = cluster.head_node.all_processes["raylet"][0].process.pid
    job = start(cluster, "first", "ray.actors=[1, 1]", "ray.cpus_per_actor=1", "unit.target_minutes=0.05")
    decoders = []
    while job.poll() is None:
        lines = faults.descendants(raylet).values()
        decoders.append(sum("ReadBlock" in line for line in lines))
        is_at_work = any("HearBlock" in line for line in lines)
        if not is_at_work:
            decoders.pop()
        time.sleep(0.1)
    ended(job, tmp_path, "first")
    assert max(decoders) >= 2
    assert decoders[-1] < max(decoders)  # while the actor still works
