"""All jobs by one command, and a configuration to begin with."""

import io
import json
import os
import pty
import re
import subprocess
import sys
from contextlib import redirect_stdout, suppress
from pathlib import Path

import pytest
from conftest import ROOT
from screens import resize

from actors import VERSION
from jobs import transcribe
from jobs.__main__ import JOBS
from jobs.cli.config import Config
from jobs.cli.loading import load
from jobs.cli.tables import reflowed

VALUES = {
    "input.uri": [
        "/data/calls #3: [a]",
        "/数据/电话 录音",
        "s3://calls/2026/",
        "[*.wav, 'b c']",
        "/" + 30 * "long name/",
    ],
    "input.include": ["[]", "['a #b', '*.wav']"],
    "input.storage_options": ["{key: 'env:KEY', endpoint_url: 'https://minio.example:9000'}"],
    "model.revision": ["010", "null", "~"],
    "ray.actors": ["[2, 8]", "auto"],
    "errors.max_fraction": ["0.125", "1"],
}


def run(*arguments: str, cwd: Path = ROOT, module: str = "jobs") -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", module, *arguments]
    environment = {"PYTHONPATH": str(ROOT), "CITRASCRIBE_CACHE": os.environ["CITRASCRIBE_CACHE"]}
    return subprocess.run(command, cwd=cwd, env=environment, capture_output=True, text=True, timeout=60)


def test_every_job_is_a_command_and_tells_what_it_does() -> None:
    modules = {path.stem for path in ROOT.glob("jobs/*.py")} - {"__init__", "__main__", "pipeline"}
    assert modules == set(JOBS)
    done = run("--help")
    assert (done.returncode, done.stderr) == (0, "")
    lines = {line.split()[0]: line for line in done.stdout.splitlines() if line.startswith("  ")}
    assert set(lines) == {name.replace("_", "-") for name in JOBS}
    for line in lines.values():
        assert 30 < len(line) < 100


def test_help_imports_nothing_that_is_slow() -> None:
    slow = ("ray", "torch", "nemo", "numba", "pandas")
    program = "import sys, runpy\nsys.argv = ['jobs', '--help']\n"
    program += "try:\n    runpy.run_module('jobs', run_name='__main__')\n"
    program += f"except SystemExit:\n    sys.stderr.write(str([each for each in {slow} if each in sys.modules]))"
    done = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stderr == "[]"


@pytest.mark.parametrize("name", JOBS)
def test_a_job_is_called_by_either_name(name: str) -> None:
    """With `_`, as its module, or with `-`."""
    done = run(name, "--help")
    assert done.stdout.startswith(f"usage: python -m jobs {name.replace('_', '-')} ")
    there = r"ray job submit.*"  # where the command may be elsewhere
    assert not re.search(r"python -m jobs\.\w", re.sub(there, "", done.stdout))


def test_its_status_and_its_json_are_the_jobs_own(tmp_path: Path) -> None:
    done = run("plan", "configs/demo.yaml", f"output.uri={tmp_path}/out")
    assert (done.returncode, json.loads(done.stdout)["units"]["new"]) == (0, 10)
    done = run("plan", "configs/demo.yaml", "input.ur=x")
    assert (done.returncode, json.loads(done.stdout.splitlines()[-1])["status"]) == (2, 2)
    assert "did you mean input.uri?" in done.stderr


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        ((), "usage: python -m jobs COMMAND"),
        (("trancribe", "a.yaml"), "there is no command trancribe; did you mean transcribe?"),
        (("language_mode",), "did you mean language-model?"),
        (("configs/demo.yaml",), "there is no command configs/demo.yaml; see python -m jobs --help"),
        (("\x1b[31m",), "there is no command \\x1b[31m"),
        (("--verbose",), "there is no command --verbose"),
    ],
)
def test_what_is_no_command_is_refused(arguments: tuple[str, ...], told: str) -> None:
    done = run(*arguments)
    assert (done.returncode, json.loads(done.stdout)["status"]) == (2, 2)
    assert told in done.stderr
    assert "Traceback" not in done.stderr


def test_it_tells_its_version() -> None:
    assert run("--version").stdout == f"citrascribe {VERSION}\n"


@pytest.mark.parametrize(("key", "value"), [(key, value) for key, values in VALUES.items() for value in values])
def test_a_configuration_has_the_values_that_were_given(tmp_path: Path, key: str, value: str) -> None:
    given = {"input.uri": "/a", "output.uri": "/b", "model.name": "c.nemo"} | {key: value}
    overrides = [f"{key}={value}" for key, value in given.items()]
    done = run("init", *overrides, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) == {"status": 0, "config": f"{tmp_path}/citrascribe.yaml"}
    assert load(str(tmp_path / "citrascribe.yaml"), []) == load(None, overrides)


def test_a_configuration_has_every_key_with_what_it_means(tmp_path: Path) -> None:
    done = run("init", "自己的.yaml", cwd=tmp_path)
    text = (tmp_path / "自己的.yaml").read_text(encoding="utf-8")
    for name, section in Config.model_fields.items():
        for key, field in section.annotation.model_fields.items():  # type: ignore[union-attr]
            assert f"\n  {key}: " in text.partition(f"\n{name}:")[2]
            assert str(field.description).splitlines()[0] in text
    assert "set input.uri, output.uri, model.name in it" in done.stderr
    assert "python -m jobs plan '自己的.yaml'" in done.stderr


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (("a.yaml",), "a.yaml is there already, and is not overwritten"),
        (("folder",), "folder is there already"),
        (("missing/a.yaml",), "missing/a.yaml cannot be written: No such file or directory"),
        (("b.yaml", "input.ur=x"), "input.ur: no such key; did you mean input.uri?"),
        (("b.yaml", "ray.actors=many"), "ray.actors: must be"),
        (("b.yaml", "input.storage_options.secret=x"), "a secret must not be on a command line"),
    ],
)
def test_a_configuration_that_cannot_be_is_not_written(tmp_path: Path, arguments: tuple[str, ...], told: str) -> None:
    (tmp_path / "a.yaml").write_text("mine", encoding="utf-8")
    (tmp_path / "folder").mkdir()
    done = run("init", *arguments, cwd=tmp_path)
    assert (done.returncode, json.loads(done.stdout)["status"]) == (2, 2)
    assert told in done.stderr
    assert "Traceback" not in done.stderr
    assert (tmp_path / "a.yaml").read_text(encoding="utf-8") == "mine"
    assert not (tmp_path / "b.yaml").exists()


def test_no_half_of_a_configuration_is_left(tmp_path: Path) -> None:
    """On a full disk; a limit of the size of files does the same."""
    program = "import resource, sys; resource.setrlimit(resource.RLIMIT_FSIZE, (1_000, 1_000));"
    program += "from jobs import init; sys.exit(init.main(['a.yaml']))"
    environment = os.environ | {"PYTHONPATH": str(ROOT), "PYTHONDONTWRITEBYTECODE": "1"}
    command = [sys.executable, "-c", program]
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=60)
    assert (done.returncode, "a.yaml cannot be written: File too large" in done.stderr) == (2, True)
    assert not (tmp_path / "a.yaml").exists()


def test_what_comes_after_a_configuration_begins_with_a_sample(tmp_path: Path) -> None:
    done = run("init", "a.yaml", "input.uri=/a", "output.uri=/b", "model.name=c.nemo", cwd=tmp_path)
    told = [line.removeprefix("  python -m jobs ") for line in done.stderr.splitlines() if line.startswith("  ")]
    assert told == ["plan a.yaml", "transcribe a.yaml input.sample=10", "transcribe a.yaml"]


def seen_on_terminal(*arguments: str, columns: int) -> list[str]:
    """The lines that a command prints on a terminal."""
    ours, theirs = pty.openpty()
    resize(theirs, columns)
    command, written = [sys.executable, "-m", *arguments], b""
    environment = {key: text for key, text in os.environ.items() if key not in ("COLUMNS", "NO_COLOR")}
    with subprocess.Popen(command, cwd=ROOT, env=environment, stdout=theirs, stderr=theirs):
        os.close(theirs)
        with suppress(OSError):  # at its end
            while data := os.read(ours, 65_536):
                written += data
    os.close(ours)
    return re.sub(r"\x1b\[[0-9;]*m|\r", "", written.decode()).splitlines()


@pytest.mark.parametrize(
    "arguments",
    [("jobs",), ("jobs", "--help"), ("jobs", "plan"), ("jobs.plan",), ("jobs.transcribe", "--help")],
)
def test_help_fits_the_terminal(arguments: tuple[str, ...]) -> None:
    lines = seen_on_terminal(*arguments, columns=60)
    assert len(lines) > 2
    to_copy = re.compile(r"  (python -m|RAY_AUTH_MODE)")
    assert [line for line in lines if len(line) > 60 and not to_copy.match(line)] == []


def test_a_page_of_help_is_broken_anew_for_a_width() -> None:
    page = "\na b c\nd e f\n\nexamples:\n  a command to copy\n\nlast"
    assert reflowed(page, 80) == page
    assert reflowed(page, 9) == "\na b c\nd e f\n\nexamples:\n  a command to copy\n\nlast"
    assert reflowed("a b c\nd e f", 4) == "a b\nc d\ne f"


def test_what_a_cluster_runs_is_called_as_it_is_there(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "argv", ["/opt/bin/citrascribe transcribe"])
    with pytest.raises(SystemExit), redirect_stdout(io.StringIO()) as page:
        transcribe.main(["--help"])
    assert "ray job submit --working-dir . -- python -m jobs.transcribe configs/s3.yaml" in page.getvalue()
    assert "\n  /opt/bin/citrascribe transcribe configs/demo.yaml\n" in page.getvalue()
