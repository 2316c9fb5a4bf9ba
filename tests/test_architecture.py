"""Imports run one way, and what is slow to import is imported where it is used."""

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from conftest import ROOT

FILES = sorted([*ROOT.glob("actors/**/*.py"), *ROOT.glob("jobs/**/*.py")])


def imports_of(path: Path, only_at_module_level: bool = False) -> Iterator[str]:
    tree = ast.parse(path.read_text())
    for node in tree.body if only_at_module_level else ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield node.module or ""


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(ROOT)))
def test_arrows(path: Path) -> None:
    roots = {name.split(".")[0] for name in imports_of(path)}
    if path.is_relative_to(ROOT / "actors"):
        assert not roots & {"jobs", "ray", "demo", "tests"}
        assert "nemo" not in roots or path.name in ("nemo_engine.py", "nemo_models.py", "peers.py")
    else:
        assert not roots & {"nemo", "torch", "demo", "tests"}
        assert "ray" not in roots or path.name in ("pipeline.py", "metrics.py")
    at_start = {name.split(".")[0] for name in imports_of(path, only_at_module_level=True)}
    assert not at_start & {"nemo", "ray"}
    assert (
        "torch" not in at_start
        or path.name in ("nemo_engine.py", "measuring.py", "peers.py")
        or path.parent.name == "citrinet"
    )
    assert len(path.read_text().splitlines()) <= 300


def test_planning_loads_neither_ray_nor_torch_nor_nemo() -> None:
    program = "import sys, jobs.transcribe, jobs.plan; print([m for m in ('ray', 'torch', 'nemo') if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_an_actor_does_without_nemo() -> None:
    program = (
        "import sys\nfrom actors.engines import EngineSettings\nfrom actors.models import resolve\n"
        "from actors.transcriber import Transcriber\n"
        "model = resolve('demo/citrinet_zh_demo.nemo', None, {})\n"
        "Transcriber(model, EngineSettings('fused', 'cpu', 'float32', 1, 30), 'run')\n"
        "print([m for m in ('ray', 'nemo', 'librosa', 'transformers') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
