"""The wheel that is built holds every module, which find each other without the checkout; and its command is of use."""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from conftest import DEMO_MODEL, ROOT

from actors import VERSION

#: Imports all that is installed at sys.argv[1]. The hook that leads imports to the checkout is taken off.
IMPORT_ALL = """
import importlib, pkgutil, sys
sys.meta_path = [finder for finder in sys.meta_path if "editable" not in repr(finder).lower()]
sys.path = [sys.argv[1], *(place for place in sys.path if place and place != sys.argv[2])]
for top in ("actors", "jobs"):
    package = importlib.import_module(top)
    for module in pkgutil.walk_packages(package.__path__, top + "."):
        where = importlib.import_module(module.name).__file__
        assert where.startswith(sys.argv[1]), where
        print(module.name)
"""


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with what the wheel installs, and nothing else."""
    source, wheels = tmp_path_factory.mktemp("source"), tmp_path_factory.mktemp("wheels")
    for name in ("pyproject.toml", "README.md"):
        shutil.copy(ROOT / name, source)
    for name in ("actors", "jobs"):
        shutil.copytree(ROOT / name, source / name, ignore=shutil.ignore_patterns("__pycache__"))
    pip = [sys.executable, "-m", "pip", "--quiet", "--disable-pip-version-check"]
    offline = ["--no-deps", "--no-build-isolation", "--no-index"]
    subprocess.run([*pip, "wheel", *offline, "--wheel-dir", str(wheels), str(source)], check=True)
    folder = tmp_path_factory.mktemp("site")
    subprocess.run([*pip, "install", *offline, "--target", str(folder), *map(str, wheels.iterdir())], check=True)
    return folder


def test_every_module_is_in_it_and_can_be_imported(installed: Path, tmp_path: Path) -> None:
    command = [sys.executable, "-I", "-c", IMPORT_ALL, str(installed), str(ROOT)]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    files = [
        path.relative_to(ROOT).with_suffix("") for top in ("actors", "jobs") for path in ROOT.glob(f"{top}/**/*.py")
    ]
    modules = {".".join(path.parts).removesuffix(".__init__") for path in files} - {"actors", "jobs"}
    assert set(done.stdout.split()) == modules


def test_its_jobs_start_from_any_folder(installed: Path, tmp_path: Path) -> None:
    program = f"import runpy, sys; sys.path.insert(0, {str(installed)!r}); sys.argv = ['plan', '--version'];"
    program += "runpy.run_module('jobs.plan', run_name='__main__')"
    done = subprocess.run([sys.executable, "-I", "-c", program], cwd=tmp_path, capture_output=True, text=True)
    assert done.stdout == f"citrascribe {VERSION}\n"


@pytest.fixture
def citrascribe(installed: Path, tmp_path: Path) -> Callable[..., subprocess.CompletedProcess[str]]:
    """Runs the command that the wheel installs, in a folder that is not the checkout."""

    def run(*arguments: str, typed: str = "citrascribe") -> subprocess.CompletedProcess[str]:
        environment = {"PYTHONPATH": str(installed), "CITRASCRIBE_CACHE": os.environ["CITRASCRIBE_CACHE"]}
        environment["PATH"] = f"{installed / 'bin'}:/usr/bin:/bin" if typed == "citrascribe" else "/usr/bin:/bin"
        command = [typed, *arguments]
        return subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=120)

    return run


def test_its_command_is_of_use_without_the_checkout(
    citrascribe: Callable[..., subprocess.CompletedProcess[str]], tmp_path: Path
) -> None:
    done = citrascribe("--help")
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith("usage: citrascribe COMMAND")
    assert citrascribe("--version").stdout == f"citrascribe {VERSION}\n"
    done = citrascribe("plan", "--help")
    assert done.stdout.startswith("usage: citrascribe plan ")
    assert "python -m" not in done.stdout
    audio = shutil.copytree(ROOT / "demo" / "audio", tmp_path / "录音")
    keys = (f"input.uri={audio}", "output.uri=texts", f"model.name={DEMO_MODEL}")
    done = citrascribe("init", *keys)
    assert (done.returncode, (tmp_path / "citrascribe.yaml").is_file()) == (0, True), done.stderr
    assert "\n  citrascribe plan citrascribe.yaml\n" in done.stderr
    done = citrascribe("plan", "citrascribe.yaml")
    assert (done.returncode, json.loads(done.stdout)["objects"]["audio"]) == (0, 23), done.stderr
    done = citrascribe("transcribe-file", "录音/loose/00.wav", "--config", "citrascribe.yaml")
    assert (done.returncode, done.stdout) == (0, "今天早上司机在公园买东西\n"), done.stderr
    done = citrascribe("export", "citrascribe.yaml")
    assert (done.returncode, json.loads(done.stdout)["status"]) == (2, 2)


def test_it_names_itself_as_it_can_be_typed(
    citrascribe: Callable[..., subprocess.CompletedProcess[str]], installed: Path
) -> None:
    """Also where it is not on the PATH."""
    typed = str(installed / "bin" / "citrascribe")
    assert citrascribe("--help", typed=typed).stdout.startswith(f"usage: {typed} COMMAND")
    assert citrascribe("plan", "--help", typed=typed).stdout.startswith(f"usage: {typed} plan")
    assert f"  {typed} plan 'my own.yaml'" in citrascribe("init", "my own.yaml", typed=typed).stderr


def test_it_names_extras_by_the_wheel(installed: Path, tmp_path: Path) -> None:
    program = f"import sys; sys.path.insert(0, {str(installed)!r})\nfrom actors.extras import how_to_install\n"
    program += "print(how_to_install('vad'))"
    done = subprocess.run([sys.executable, "-I", "-c", program], cwd=tmp_path, capture_output=True, text=True)
    assert done.stdout.startswith(f"pip install './citrascribe-{VERSION}-py3-none-any.whl[vad]'")


def test_a_command_that_is_installed_takes_signals_from_its_first_import() -> None:
    """As `python -m` does: before Ray has threads, and puts handlers of its own in their place."""
    program = "import sys, threading; sys.argv = [sys.argv[1]]; import jobs\n"
    program += "print([each.name for each in threading.enumerate()])"
    for started, takes in (("/usr/bin/citrascribe", True), ("/usr/bin/pytest", False)):
        command = [sys.executable, "-c", program, started]
        done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
        assert ("'signals'" in done.stdout) == takes
