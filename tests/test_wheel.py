"""The wheel that is built holds every module, and they find each other without the checkout."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from conftest import ROOT

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
