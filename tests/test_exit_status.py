"""The last line of standard output is one JSON object, with the status, however a job ends."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
from conftest import ROOT

from jobs.cli import command
from jobs.cli.config import Config

JOBS = ("transcribe", "plan", "export", "evaluate", "benchmark")
DEMO = "configs/demo.yaml"


def ended(job: str, *arguments: str) -> tuple[int, dict[str, object], str]:
    """Runs a job: its status, the object on its last line of standard output, and what a person sees."""
    command = [sys.executable, "-m", f"jobs.{job}", *arguments]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=60)
    assert "Traceback" not in done.stderr
    return done.returncode, json.loads(done.stdout.splitlines()[-1]), done.stderr


@pytest.mark.parametrize("job", JOBS)
def test_mistakes(job: str, tmp_path: Path) -> None:
    (tmp_path / "broken.yaml").write_text("input: [")
    for arguments, named in (
        ([], "config"),
        ([DEMO, "--fast=1"], "--fast"),
        ([str(tmp_path / "none.yaml")], "none.yaml"),
        ([str(tmp_path / "broken.yaml")], "broken.yaml"),
        ([DEMO, "input.fromat=tar"], "did you mean input.format"),
    ):
        status, said, seen = ended(job, *arguments)
        assert (status, said["status"]) == (2, 2)
        assert named in str(said["error"])
        assert named in seen


def test_every_mistake_is_in_the_line() -> None:
    _, said, _ = ended("plan", DEMO, "input.fromat=tar", "unit.target_minutes=soon")
    assert "input.fromat" in str(said["error"])
    assert "unit.target_minutes" in str(said["error"])


def test_secrets_are_not_in_the_line() -> None:
    for arguments in (
        [DEMO, "--password=hunter2"],
        ["--version=hunter2"],
        [DEMO, "input.storage_options={secret: hunter2}"],
        [DEMO, "input.uri=https://me:hunter2@host/x"],
    ):
        status, said, seen = ended("plan", *arguments)
        assert (status, said["status"]) == (2, 2)
        assert "hunter2" not in str(said) + seen


@pytest.mark.parametrize("option", ["--help", "--version"])
@pytest.mark.parametrize("job", JOBS)
def test_what_is_asked_for_is_the_only_output(job: str, option: str) -> None:
    done = subprocess.run(
        [sys.executable, "-m", f"jobs.{job}", option], cwd=ROOT, capture_output=True, text=True, timeout=60
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert '"status"' not in done.stdout


def test_storage_and_bugs(capfd: pytest.CaptureFixture[str]) -> None:
    def fails(config: Config) -> int:
        raise OSError("https://me:hunter2@host/x does not answer")

    def is_wrong(config: Config) -> int:
        raise ZeroDivisionError("division by zero")

    assert command.run_job("jobs.plan", "", "", fails, [DEMO]) == 1
    said, seen = capfd.readouterr()
    assert json.loads(said) == {"status": 1, "error": "storage: https://host/x does not answer"}
    assert "hunter2" not in seen
    with pytest.raises(ZeroDivisionError):  # a bug is not swallowed
        command.run_job("jobs.plan", "", "", is_wrong, [DEMO])
    said, _ = capfd.readouterr()
    assert json.loads(said) == {"status": 1, "error": "ZeroDivisionError: division by zero"}
