"""An output of an earlier schema is refused by name, before anything is written."""

import hashlib
import shutil
from pathlib import Path
from typing import Any

import pytest
from conftest import ROOT

from actors import VERSION
from actors.schema import SCHEMA_VERSION
from jobs import evaluate, export, plan, transcribe

OUTPUTS = ROOT / "tests" / "outputs"


def contents(folder: Path) -> dict[str, str]:
    files = (path for path in folder.rglob("*") if path.is_file())
    return {str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


@pytest.mark.parametrize("schema", ["1", "2", "3"])
@pytest.mark.parametrize("job_module", [transcribe, plan, export, evaluate], ids=lambda module: module.__name__)
def test_an_output_of_another_schema_is_refused_by_name(job_module: Any, schema: str, job: Any, tmp_path: Path) -> None:
    old = OUTPUTS / f"schema_{schema}"
    shutil.copytree(old, tmp_path / "out")
    keys = (f"output.uri={tmp_path / 'out'}", "output.on_mismatch=replace")
    status, said, seen = job("input.uri=demo/audio/loose", *keys, main=job_module.main)
    assert (status, said["status"]) == (2, 2)
    told = " ".join(seen.split())
    assert f"was written in schema {schema}" in told
    assert f"citrascribe {VERSION}, of schema {SCHEMA_VERSION}, does not continue" in told
    assert "Traceback" not in seen
    assert contents(tmp_path / "out") == contents(old)
