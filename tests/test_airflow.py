"""The example for Airflow, run beside a stub of Airflow, with jobs that end in every way."""

import importlib.util
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from conftest import ROOT

EXAMPLE = ROOT / "configs" / "airflow" / "transcribe_dag.py"

#: Airflow's names, in the modules where its versions have them.
DECORATORS = """
RETRIES = []

def dag(**options):
    assert options["catchup"] is False and options["schedule"]
    return lambda function: function

def task(**options):
    RETRIES.append(options["retries"])
    return lambda function: lambda: None
"""
EXCEPTIONS = """
class AirflowException(Exception):
    pass

class AirflowFailException(AirflowException):
    pass
"""
VERSIONS = {
    "2.11": {"airflow/decorators.py": DECORATORS, "airflow/exceptions.py": EXCEPTIONS},
    "3.0": {
        "airflow/sdk/__init__.py": DECORATORS,
        "airflow/sdk/exceptions.py": "",
        "airflow/exceptions.py": EXCEPTIONS,
    },
    "3.2": {"airflow/sdk/__init__.py": DECORATORS, "airflow/sdk/exceptions.py": EXCEPTIONS},
}


def written(folder: Path, version: str) -> None:
    for name, text in ({"airflow/__init__.py": ""} | VERSIONS[version]).items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)


@pytest.fixture
def example(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], Any]:
    """Loads the example beside a version of Airflow; its jobs run at the test's folder."""

    def load(version: str) -> ModuleType:
        written(tmp_path, version)
        monkeypatch.syspath_prepend(str(tmp_path))
        for name in [each for each in sys.modules if each.split(".")[0] == "airflow"]:
            monkeypatch.delitem(sys.modules, name)
        spec = importlib.util.spec_from_file_location("transcribe_dag", EXAMPLE)
        assert spec
        assert spec.loader
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        monkeypatch.setattr(module, "FOLDER", str(tmp_path))
        return module

    yield load
    for name in [each for each in sys.modules if each.split(".")[0] == "airflow"]:
        del sys.modules[name]


@pytest.mark.parametrize("version", VERSIONS)
def test_every_status_and_signal(example: Callable[[str], Any], version: str, caplog: pytest.LogCaptureFixture) -> None:
    made = example(version)
    assert made.COMMAND == [".venv/bin/citrascribe", "transcribe", "configs/archive.yaml"]
    assert sys.modules["airflow.sdk" if version > "3" else "airflow.decorators"].RETRIES == [3]
    caplog.set_level("INFO")

    def ends(script: str) -> None:
        made.COMMAND = ["sh", "-c", script]
        made.transcribe()

    ends("echo '{\"status\": 0}'")
    assert '{"status": 0}' in caplog.text
    ends("exit 4")
    assert "another run is at work on this output" in caplog.text
    for status in (2, 3):
        with pytest.raises(made.AirflowFailException, match=f"status {status}: "):
            ends(f"exit {status}")
    failures = {f"exit {status}": status for status in (1, 5, 15, 126, 127, 130, 134, 137, 139, 143, 255)}
    failures |= {f"kill -{number} $$": -number for number in (1, 2, 3, 6, 9, 11, 13, 15)}
    for script, status in failures.items():
        with pytest.raises(made.AirflowException, match=f"status {status};") as raised:
            ends(script)
        assert not isinstance(raised.value, made.AirflowFailException)  # it is retried
    made.COMMAND = ["./none"]
    with pytest.raises(FileNotFoundError):
        made.transcribe()


#: The task as Airflow runs it: in a process of its own, which is sent SIGTERM to end it.
TASK = """
import importlib.util, logging, signal, sys
logging.basicConfig(level="INFO", stream=sys.stdout, format="%(message)s")
spec = importlib.util.spec_from_file_location("transcribe_dag", {example!r})
module = importlib.util.module_from_spec(spec)
spec.loader.exec_module(module)
module.FOLDER, module.COMMAND = ".", ["sh", "-c", {job!r}]

def ended(number, frame):
    if {raises}:
        raise SystemExit("ended by Airflow")
    print("asked to end", flush=True)

if {handles}:
    signal.signal(signal.SIGTERM, ended)
module.transcribe()
"""
JOB = "trap 'echo summed up; exit 1' TERM; echo at work; while :; do sleep 0.05; done"


@pytest.mark.parametrize(("handles", "raises"), [(True, True), (True, False), (False, False)])
def test_a_task_that_is_ended_ends_its_job(tmp_path: Path, handles: bool, raises: bool) -> None:
    written(tmp_path, "2.11" if raises else "3.2")
    (tmp_path / "task.py").write_text(TASK.format(example=str(EXAMPLE), job=JOB, handles=handles, raises=raises))
    task = subprocess.Popen(
        [sys.executable, "task.py"], cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    assert task.stdout
    assert task.stdout.readline() == "at work\n"
    task.send_signal(signal.SIGTERM)
    said, seen = task.communicate(timeout=20)  # it waits for the job, whose output it reads
    assert task.returncode == 1
    assert ("ended by Airflow" in seen) == raises
    assert raises or "the job ended with status 1" in seen
    assert raises or "summed up" in said


def test_a_timeout_ends_the_job(example: Callable[[str], Any], tmp_path: Path) -> None:
    """Airflow raises in the task, from a handler of SIGALRM."""
    made = example("2.11")

    def timed_out(number: int, frame: object) -> None:
        raise TimeoutError("the task took too long")

    made.COMMAND = ["sh", "-c", "trap 'touch ended; exit 1' TERM; while :; do sleep 0.05; done"]
    earlier = signal.signal(signal.SIGALRM, timed_out)
    handler = signal.getsignal(signal.SIGTERM)
    try:
        signal.setitimer(signal.ITIMER_REAL, 0.5)
        with pytest.raises(TimeoutError):
            made.transcribe()
    finally:
        signal.signal(signal.SIGALRM, earlier)
    assert (tmp_path / "ended").exists()
    assert signal.getsignal(signal.SIGTERM) == handler


def test_the_page_shows_it() -> None:
    page = (ROOT / "docs" / "running.md").read_text()
    excerpt = page.split("    # configs/airflow/transcribe_dag.py\n")[1].split("\n\n")[0].splitlines()
    lines = EXAMPLE.read_text().splitlines()
    assert len(excerpt) > 3
    assert all(line in lines for line in excerpt)


@pytest.mark.parametrize("status", [0, 1, 2, 3, 4, 127, 137])
def test_the_line_for_cron(tmp_path: Path, status: int) -> None:
    """What is printed is mailed."""
    page = (ROOT / "docs" / "running.md").read_text()
    (line,) = [line.strip() for line in page.splitlines() if line.strip().startswith("30 2 * * *")]
    assert "%" not in line  # cron ends a command there
    command = line.removeprefix("30 2 * * *").replace("/opt/citrascribe", str(tmp_path))
    command = command.replace("/var/log/asr.log", f"{tmp_path}/log")
    stub = tmp_path / ".venv" / "bin" / "citrascribe"
    stub.parent.mkdir(parents=True)
    stub.write_text(f"#!/bin/sh\necho it ran\nexit {status}\n")
    stub.chmod(0o700)
    done = subprocess.run(["sh", "-c", command], capture_output=True, text=True, timeout=20, check=True)
    assert (tmp_path / "log").read_text() == "it ran\n"
    assert done.stderr == ""
    assert ("it failed" in done.stdout) == (status not in (0, 4))
