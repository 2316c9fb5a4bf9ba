"""A real cluster of one machine, started by the commands of docs/running.md, and the job as people submit it."""

import json
import os
import shlex
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pyarrow.dataset as ds
import pytest
from conftest import ROOT, free_port, wait_until_it_answers


class Head(NamedTuple):
    """A head that asks for a token: its address, and environments in which `ray` and jobs run, in the submitter's with
    what the docs say to export."""

    address: str
    dashboard: str
    environment: dict[str, str]
    submitter: dict[str, str]
    submission: list[str]


def documented_commands() -> list[str]:
    """The first five commands of the section on clusters: make a token, start a head, export twice, submit."""
    section = (ROOT / "docs" / "running.md").read_text().partition("## A cluster\n")[2]
    return [line.strip() for line in section.splitlines() if line.startswith("    ")][:5]


@pytest.fixture(scope="module")
def head(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Head]:
    """A head as the docs start it, in a home of its own, with ports and addresses of this test's; its processes are of
    the group of this one."""
    import ray

    ray.shutdown()  # the Ray of other tests, if any: two heads on one machine get in each other's way
    gcs, dashboard, folder = free_port(), free_port(), tmp_path_factory.mktemp("head")
    clean = {name: value for name, value in os.environ.items() if not name.startswith("RAY_")}
    clean["PATH"] = f"{Path(sys.executable).parent}:{clean['PATH']}"
    environment = clean | {"HOME": str(folder)}
    make_token, start, server, token, submit = documented_commands()
    made = subprocess.run(shlex.split(make_token), env=environment, capture_output=True, text=True, check=True)
    ports = ["--block", "--num-cpus=2", "--disable-usage-stats", "--node-ip-address=127.0.0.1", f"--port={gcs}"]
    ports += [f"--dashboard-port={dashboard}", f"--dashboard-agent-listen-port={free_port()}"]
    ports += [f"--ray-client-server-port={free_port()}"]
    command = shlex.split(start.replace("0.0.0.0", "127.0.0.1")) + ports
    exports = dict[str, str]()
    for line in (
        server.replace("HEAD:8265", f"127.0.0.1:{dashboard}"),
        token.replace("TOKEN=TOKEN", f"TOKEN={made.stdout}"),
    ):
        verb, *settings = shlex.split(line)
        assert verb == "export"
        exports |= dict(setting.partition("=")[::2] for setting in settings)
    submitter = clean | {"HOME": str(folder / "elsewhere")} | exports
    with (folder / "head.log").open("w") as log:
        process = subprocess.Popen(command, env=environment, stdout=log, stderr=log, cwd=folder)
        try:
            wait_until_it_answers(f"http://127.0.0.1:{dashboard}/api/version", seconds=90)
            yield Head(f"127.0.0.1:{gcs}", f"127.0.0.1:{dashboard}", clean, submitter, shlex.split(submit))
        finally:
            process.terminate()
            process.wait(60)


def submit(command: list[str], environment: dict[str, str]) -> subprocess.CompletedProcess[str]:
    """Runs `ray job submit`, again while the node's agent, which starts after the dashboard, is not there yet."""
    for _ in range(60):
        done = subprocess.run(
            command, env=environment, cwd=ROOT, capture_output=True, text=True, timeout=300, check=False
        )
        if "No available agent" not in done.stderr:
            return done
    raise TimeoutError(done.stderr)


def test_ray_job_submit_as_documented(head: Head, tmp_path: Path) -> None:
    surroundings = json.dumps({"env_vars": {"CITRASCRIBE_CACHE": f"{tmp_path}/cache-of-the-job"}})
    assert head.submission[:3] == ["ray", "job", "submit"]
    assert head.submission[-1] == "configs/s3.yaml"
    command = [*head.submission[:3], "--runtime-env-json", surroundings, *head.submission[3:-1], "configs/demo.yaml"]
    command += [f"output.uri={tmp_path}/out"]
    done = submit(command, head.submitter)
    assert done.returncode == 0, done.stdout[-3_000:] + done.stderr[-3_000:]
    assert "connecting to Ray" in done.stdout + done.stderr
    summary = json.loads((tmp_path / "out" / "_runs" / "000001" / "summary.json").read_text())
    assert (summary["recordings"], summary["errors"]) == (77, {"empty": 1, "not_audio": 1, "unreadable": 1})
    assert summary["cer"] <= 0.03
    assert ds.dataset(sorted(map(str, (tmp_path / "out").glob("*.parquet")))).count_rows() == 135

    assert list((tmp_path / "cache-of-the-job").rglob("*.safetensors"))

    command[-1] = "output.uri=relative/out"
    refused = submit(command, head.submitter)
    assert refused.returncode != 0
    assert "output.uri: relative/out is relative" in refused.stdout + refused.stderr
    stranger = submit(command, head.submitter | {"RAY_AUTH_TOKEN": "another-token"})
    assert stranger.returncode != 0
    assert "authentication is enabled" in stranger.stdout + stranger.stderr


def plan(head: Head, folder: Path, address: str, **environment: str) -> tuple[int, str]:
    """The status and standard error of jobs.plan, with the address in RAY_ADDRESS."""
    command = [sys.executable, "-m", "jobs.plan", "configs/demo.yaml", f"output.uri={folder}/out", "model.device=auto"]
    surroundings = head.environment | {"RAY_ADDRESS": address, "HOME": str(folder)} | environment
    done = subprocess.run(command, env=surroundings, cwd=ROOT, capture_output=True, text=True, timeout=30, check=False)
    return done.returncode, done.stderr


def test_tokens_and_addresses_are_checked_within_seconds(head: Head, tmp_path: Path) -> None:
    token = head.submitter["RAY_AUTH_TOKEN"]
    with_token = {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": token}
    (tmp_path / "token").write_text(token)
    (tmp_path / "empty").touch()
    for settings in (with_token, {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN_PATH": f"{tmp_path}/token"}):
        assert plan(head, tmp_path, head.address, **settings)[0] == 0
    for settings, message in (
        ({}, "asks for a token; set RAY_AUTH_MODE=token and RAY_AUTH_TOKEN"),
        ({"RAY_AUTH_TOKEN": token}, "asks for a token; set RAY_AUTH_MODE=token"),
        ({"RAY_AUTH_MODE": "disabled"}, "asks for a token; set RAY_AUTH_MODE=token"),
        ({"RAY_AUTH_MODE": "token"}, "there is no token; set RAY_AUTH_TOKEN"),
        ({"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN_PATH": f"{tmp_path}/none"}, "RAY_AUTH_TOKEN_PATH names"),
        ({"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN_PATH": f"{tmp_path}/empty"}, "RAY_AUTH_TOKEN_PATH names"),
        (with_token | {"RAY_AUTH_TOKEN": "of-another-cluster-0123456789abcdef"}, "refuses the token"),
    ):
        status, seen = plan(head, tmp_path, head.address, **settings)
        assert status == 2, seen
        assert seen.startswith("configuration: ray.address: ")
        assert message in seen
        assert "Traceback" not in seen
        assert token not in seen
    status, seen = plan(head, tmp_path, head.dashboard, **with_token)
    assert (status, seen.count("\n")) == (2, 1)
    assert f"no cluster answers at {head.dashboard}: what listens there is no head" in seen
    status, seen = plan(head, tmp_path, f"http://{head.dashboard}", **with_token)
    assert status == 2
    assert f"RAY_API_SERVER_ADDRESS=http://{head.dashboard} ray job submit" in seen
