"""Signals to a job, at any moment: a word, the status, the JSON line, and nothing is left of what it started."""

import json
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest
from conftest import ROOT

TERM, INT, HUP = signal.SIGTERM, signal.SIGINT, signal.SIGHUP


def processes_of(session: int) -> list[str]:
    """The command lines of the living processes of a session."""
    listed = subprocess.run(["ps", "-eo", "sid=,stat=,args="], capture_output=True, text=True, check=True).stdout
    fields = [line.split(maxsplit=2) for line in listed.splitlines()]
    return [args for own, state, args in fields if own == str(session) and not state.startswith("Z")]


class Struck:
    """A job in a session of its own, which is sent signals."""

    def __init__(self, folder: Path, *arguments: str, module: str = "jobs.transcribe") -> None:
        folder.mkdir()
        self.out, self._seen = folder / "out", folder / "seen"
        command = [sys.executable, "-m", module, "configs/demo.yaml", f"output.uri={self.out}", *arguments]
        with self._seen.open("w") as seen:
            self.process = subprocess.Popen(
                command, cwd=ROOT, stdout=subprocess.PIPE, stderr=seen, text=True, start_new_session=True
            )

    def wait_until(self, is_so: Callable[[], object]) -> None:
        while not is_so():
            assert self.process.poll() is None, self._seen.read_text()
            time.sleep(0.01)

    def says(self, words: str) -> bool:
        return words in self._seen.read_text()

    def end(self, signals: Sequence[signal.Signals], apart: float = 0.05) -> dict[str, object]:
        """Sends the signals, and returns the JSON object that the job ended with. It has status 1."""
        for each in signals:
            self.process.send_signal(each)
            time.sleep(apart)
        said, _ = self.process.communicate(timeout=60)
        seen, summary = self._seen.read_text(), json.loads(said.splitlines()[-1])
        assert (self.process.returncode, summary["status"]) == (1, 1), seen
        assert "interrupted" in seen
        assert "Traceback" not in seen
        end = time.monotonic() + 10  # a worker may need a moment to notice that its raylet is gone
        while processes_of(self.process.pid) and time.monotonic() < end:
            time.sleep(0.05)
        assert processes_of(self.process.pid) == []
        return dict(summary)


@pytest.mark.timeout(300)
def test_a_run_is_interrupted_at_any_moment(tmp_path: Path) -> None:
    for number, delay in enumerate((0.15, 0.4, 0.7, 1.0)):  # importing, listing, planning
        run = Struck(tmp_path / f"early{number}")
        time.sleep(delay)
        run.end([(TERM, INT, HUP)[number % 3]])
    draw = random.Random(17)
    for number, signals in enumerate(([TERM], [INT], [HUP], [TERM, TERM], [INT, INT])):  # while Ray starts
        run = Struck(tmp_path / f"ray{number}")
        run.wait_until(lambda run=run: run.says("starting Ray"))
        time.sleep(draw.uniform(0, 3.5))
        run.end(signals)
    run = Struck(tmp_path / "working", "unit.target_minutes=0.25")
    run.wait_until(lambda: list(run.out.glob("_commits/*")))
    assert run.end([HUP, TERM])["units"]


@pytest.mark.parametrize("ends_with_json", [True, False])
def test_a_second_signal_ends_a_job_that_does_not(tmp_path: Path, ends_with_json: bool) -> None:
    """This one waits in a call that no exception ends, and has started a process, as Ray's would be."""
    program = (
        "import sys; sys.argv[0] = '-m'\n"
        "import jobs, subprocess, time\n"
        "from jobs.cli import command\n"
        "def job(options):\n"
        "    subprocess.Popen(['sleep', '1000'])\n"
        "    print('at work', flush=True)\n"
        "    while True:\n"
        "        try:\n"
        "            time.sleep(1000)\n"
        "        except KeyboardInterrupt:\n"
        "            pass\n"
        f"command.exit_process(command.run_command('jobs.x', '', '', lambda _: None, job, [], {ends_with_json}))\n"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", program],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    assert process.stdout
    assert process.stdout.readline() == "at work\n"
    process.send_signal(INT)
    process.send_signal(INT)  # the same request
    time.sleep(1.2)
    assert process.poll() is None
    process.send_signal(INT)
    said, seen = process.communicate(timeout=10)
    assert process.returncode == 1
    assert (json.loads(said)["status"] == 1) if ends_with_json else not said
    assert "stopping" in seen
    assert "interrupted" in seen
    assert processes_of(process.pid) == []


def test_a_signal_that_is_ignored_stays_so(tmp_path: Path) -> None:
    """`nohup` has SIGHUP ignored."""
    command = ["nohup", sys.executable, "-m", "jobs.plan", "configs/demo.yaml", f"output.uri={tmp_path}/out"]
    process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    time.sleep(0.3)
    process.send_signal(HUP)
    said, seen = process.communicate(timeout=60)
    assert process.returncode == 0, seen
    assert json.loads(said)["units"]["new"] > 0


def test_a_child_of_the_job_can_be_ended() -> None:
    """What is forked does not inherit the mask; Ray ends its processes with SIGTERM."""
    program = (
        "import sys; sys.argv[0] = '-m'\n"
        "import jobs, os, signal, subprocess\n"
        "child = subprocess.Popen(['sleep', '1000'], preexec_fn=lambda: None)\n"
        "child.terminate()\n"
        "print(child.wait(5), signal.SIGTERM in signal.pthread_sigmask(signal.SIG_BLOCK, []))\n"
    )
    done = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, timeout=30)
    assert done.stdout == f"{-signal.SIGTERM} True\n", done.stderr


def test_importing_jobs_takes_no_signals() -> None:
    program = "import jobs.transcribe, signal; print(signal.pthread_sigmask(signal.SIG_BLOCK, []))"
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=True, env=os.environ
    )
    assert done.stdout == "set()\n"
