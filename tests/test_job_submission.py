"""A real cluster of one machine, and the job as people submit it."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pyarrow.dataset as ds
import pytest
from conftest import ROOT, free_port, wait_until_it_answers

RAY = str(Path(sys.executable).parent / "ray")


@pytest.fixture
def cluster(tmp_path: Path) -> Iterator[dict[str, str]]:
    """The environment in which `ray` finds a head node of its own; the node runs in this fixture's process group."""
    import ray

    ray.shutdown()  # the Ray of other tests, if any: two heads on one machine get in each other's way
    gcs, dashboard = free_port(), free_port()
    environment = os.environ | {
        "RAY_AUTH_MODE": "token",
        "RAY_AUTH_TOKEN": "a-token-of-the-tests-0123456789abcdef",
        "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
    }
    command = [RAY, "start", "--head", "--block", "--num-cpus=2", "--disable-usage-stats", f"--port={gcs}"]
    command += [
        "--dashboard-host=127.0.0.1",
        f"--dashboard-port={dashboard}",
        f"--dashboard-agent-listen-port={free_port()}",
        "--include-dashboard=true",
        "--node-ip-address=127.0.0.1",
    ]
    with (tmp_path / "head.log").open("w") as log:
        head = subprocess.Popen(command, env=environment, stdout=log, stderr=log, cwd=tmp_path)
        try:
            wait_until_it_answers(f"http://127.0.0.1:{dashboard}/api/version", seconds=90)
            yield environment | {"RAY_API_SERVER_ADDRESS": f"http://127.0.0.1:{dashboard}"}
        finally:
            head.terminate()
            head.wait(60)


def submit(command: list[str], environment: dict[str, str]) -> subprocess.CompletedProcess[str]:
    """Runs `ray job submit`, again while the node's agent, which starts after the dashboard, is not there yet."""
    for _ in range(60):
        done = subprocess.run(
            command, env=environment, cwd=ROOT, capture_output=True, text=True, timeout=300, check=False
        )
        if "No available agent" not in done.stderr:
            return done
    raise TimeoutError(done.stderr)


def test_ray_job_submit(cluster: dict[str, str], tmp_path: Path) -> None:
    surroundings = json.dumps({"env_vars": {"CITRASCRIBE_CACHE": f"{tmp_path}/cache-of-the-job"}})
    command = [RAY, "job", "submit", "--working-dir", ".", "--runtime-env-json", surroundings, "--"]
    command += ["python", "-m", "jobs.transcribe", "configs/demo.yaml", f"output.uri={tmp_path}/out"]
    done = submit(command, cluster)
    assert done.returncode == 0, done.stdout[-3_000:] + done.stderr[-3_000:]
    assert "connecting to Ray" in done.stdout + done.stderr
    summary = json.loads((tmp_path / "out" / "_runs" / "000001" / "summary.json").read_text())
    assert (summary["recordings"], summary["errors"]) == (77, {"empty": 1, "not_audio": 1, "unreadable": 1})
    assert summary["cer"] <= 0.03
    assert ds.dataset(sorted(map(str, (tmp_path / "out").glob("*.parquet")))).count_rows() == 135

    assert list((tmp_path / "cache-of-the-job").rglob("*.safetensors"))

    command[-1] = "output.uri=relative/out"
    refused = submit(command, cluster)
    assert refused.returncode != 0
    assert "output.uri: relative/out is relative" in refused.stdout + refused.stderr
    stranger = submit(command, cluster | {"RAY_AUTH_TOKEN": "another-token"})
    assert stranger.returncode != 0
    assert "authentication is enabled" in stranger.stdout + stranger.stderr
