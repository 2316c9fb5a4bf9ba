"""Layers: each room imports only from lower ones, and what is slow to import is imported where it is used."""

import ast
import subprocess
import sys
from collections.abc import Iterator
from graphlib import TopologicalSorter

import pytest
from conftest import ROOT

#: From the ground up. A room may import what stands in lines above its own, and from itself without a circle. What lies
#: at the top of actors/ and jobs/ is named; a module in a room needs no line here.
LAYERS = [
    ["actors/schema.py"],
    ["actors/foreign/"],
    ["actors/storage/"],
    ["actors/formats.py", "actors/compiler.py", "actors/extras.py"],
    ["actors/units.py", "actors/isolation.py"],
    ["actors/pieces.py"],
    ["actors/outcomes.py"],
    ["actors/blocks.py"],
    ["actors/audio/"],
    ["actors/sources/"],
    ["actors/engine/devices.py", "actors/engine/interface.py", "actors/engine/vocabulary.py"],
    ["actors/engine/citrinet/"],
    ["actors/engine/"],
    ["actors/text/"],
    ["actors/parts/", "actors/reading/"],
    ["actors/reader.py", "actors/transcriber.py", "actors/writer.py"],
    ["actors/stages.py", "actors/benchmark/"],
    ["jobs/cli/"],
    ["jobs/planning/"],
    ["jobs/running/"],
    ["jobs/transcripts/"],
    ["jobs/pipeline.py"],
    ["jobs/"],
]
RAY = {"jobs/pipeline.py"} | {
    f"jobs/running/{name}.py" for name in ("address", "cluster", "connect", "lost", "metrics", "share")
}
NEMO = {"actors/engine/nemo.py", "actors/benchmark/citrinets.py", "actors/benchmark/peers.py"}
NUMBA = "actors/compiler.py"
COMPILED = ("actors/text/compiled/", "actors/engine/citrinet/passes.py")
COMPILED_MODULES = ("actors.compiler", "actors.text.compiled", "actors.engine.citrinet.passes")
#: Imports what is compiled; is itself imported where it is used.
ON_COMPILED = (*COMPILED, "actors/engine/citrinet/int8.py")
TORCH_AT_START = ("actors/engine/citrinet/", "actors/engine/nemo.py", "actors/benchmark/")

FILES = sorted(str(path.relative_to(ROOT)) for top in ("actors", "jobs") for path in ROOT.glob(f"{top}/**/*.py"))
MODULES = {path.removesuffix(".py").removesuffix("/__init__").replace("/", "."): path for path in FILES}


def imports_of(path: str, only_at_module_level: bool = False) -> Iterator[str]:
    """What a file imports: modules, and those of which it may be that they are names in one."""
    tree = ast.parse((ROOT / path).read_text())
    for node in tree.body if only_at_module_level else ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            modules = [f"{node.module}.{alias.name}" for alias in node.names]
            yield from (module if module in MODULES else str(node.module) for module in modules)


def place_of(path: str) -> tuple[int, str]:
    """The layer of a file, and the line in it that it stands in: the longest that its path begins with."""
    lines = [(len(line), number, line) for number, layer in enumerate(LAYERS) for line in layer]
    _, number, line = max(each for each in lines if path.startswith(each[2]))
    return number, line


@pytest.mark.parametrize("path", [path for path in FILES if not path.endswith("__init__.py")])
def test_arrows_point_to_the_ground(path: str) -> None:
    layer, own = place_of(path)
    for module in imports_of(path):
        if module in MODULES and module.count("."):
            other, line = place_of(MODULES[module])
            assert other < layer or line == own, f"{path} imports {module}, which is not below it"


def test_no_circle() -> None:
    needs = {path: {MODULES[module] for module in imports_of(path) if module in MODULES} - {path} for path in FILES}
    assert len(list(TopologicalSorter(needs).static_order())) == len(FILES)  # raises CycleError


@pytest.mark.parametrize("path", FILES)
def test_what_is_slow_to_import(path: str) -> None:
    roots = {name.split(".")[0] for name in imports_of(path)}
    at_start = {name.split(".")[0] for name in imports_of(path, only_at_module_level=True)}
    compiled = [each for each in imports_of(path, only_at_module_level=True) if each.startswith(COMPILED_MODULES)]
    assert not roots & {"demo", "tests"}
    assert path.startswith("jobs/") or "jobs" not in roots
    assert "ray" not in roots or path in RAY
    assert "nemo" not in roots or path in NEMO
    assert not at_start & {"nemo", "ray"}
    assert "numba" not in roots or path == NUMBA or path.startswith(COMPILED)
    assert not compiled or path.startswith(ON_COMPILED)
    assert "actors.engine.citrinet.int8" not in imports_of(path, only_at_module_level=True)
    assert "torch" not in roots or path.startswith("actors/")
    assert "torch" not in at_start or path.startswith(TORCH_AT_START)


def test_files_have_one_purpose_each() -> None:
    assert [path for path in FILES if len((ROOT / path).read_text().splitlines()) > 300] == []


def test_what_lies_at_the_top_of_jobs_is_started() -> None:
    """And `pipeline.py`, the graph, where reading begins."""
    for path in ROOT.glob("jobs/*.py"):
        if path.name in ("__init__.py", "__main__.py", "pipeline.py"):
            continue
        module = "jobs" if path.name == "__main__.py" else f"jobs.{path.stem}"
        command = [sys.executable, "-m", module, "--help"]
        done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
        assert done.stdout.startswith(f"usage: python -m {module} ")
        command[-1] = "--version"
        done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
        assert done.stdout.startswith("citrascribe 0.")


def test_planning_loads_neither_ray_nor_torch_nor_nemo_nor_numba() -> None:
    slow = ("ray", "torch", "nemo", "numba")
    program = f"import sys, jobs.transcribe, jobs.plan; print([each for each in {slow} if each in sys.modules])"
    done = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_an_actor_does_without_nemo() -> None:
    program = (
        "import sys\nfrom actors.engine.interface import EngineSettings\nfrom actors.engine.models import resolve\n"
        "from actors.transcriber import Transcriber\n"
        "model = resolve('demo/citrinet_zh_demo.nemo', None, {})\n"
        "Transcriber(model, EngineSettings('fused', 'cpu', 'float32', 1, 30))\n"
        "print([m for m in ('ray', 'nemo', 'librosa', 'transformers') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
