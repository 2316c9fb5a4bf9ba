"""Standard streams that are closed, full or no longer read cost what would be said there, and nothing else."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
from conftest import ROOT

PLAN = f"{sys.executable} -m jobs.plan configs/demo.yaml input.uri=demo/audio/loose/00.wav"


def run(tmp_path: Path, streams: str) -> tuple[int, str, str]:
    """Status of a plan whose streams are redirected in bash's words, what its OUT holds, and what its ERR."""
    out, err = tmp_path / "OUT", tmp_path / "ERR"
    command = f"{PLAN} output.uri={tmp_path / 'out'} >{out} 2>{err} {streams}"
    status = subprocess.run(["bash", "-c", command], cwd=ROOT, timeout=60, check=False).returncode
    return status, out.read_text(), err.read_text()


@pytest.mark.parametrize("streams", ["2>&-", "2>/dev/full", "2> >(true)", "<&- 2>&-"])
def test_nobody_reads_along(tmp_path: Path, streams: str) -> None:
    status, out, _ = run(tmp_path, streams)
    assert status == 0
    assert json.loads(out)["units"]["new"] == 1


@pytest.mark.parametrize("streams", [">&-", ">&- <&-", "<&-"])
def test_nobody_asks_for_the_line(tmp_path: Path, streams: str) -> None:
    status, _, err = run(tmp_path, streams)
    assert status == 0
    assert "Traceback" not in err
    assert "Plan" in err


def test_a_line_that_is_asked_for_and_not_taken_is_told(tmp_path: Path) -> None:
    status, _, err = run(tmp_path, ">/dev/full")
    assert status == 1
    assert "Traceback" not in err
    assert err.splitlines()[-1].startswith("storage: [Errno 28] the JSON line could not be written to standard output")
