"""A device that fails ends its actor, and costs no recording; a recording at which devices fail is one row."""

import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any
from unittest.mock import Mock

import numpy as np
import pandas as pd
import pytest
import torch
from conftest import ROOT, encoded, tone
from test_durability import started

from actors.engine.faults import DeviceFault, hear_within_memory
from actors.engine.interface import Emission
from actors.schema import SPEECH_SCHEMA, MachineError, UsageError
from actors.stages import HearBlock, LateTranscriber
from jobs.cli.terminal import read_json

# Found by every Python that is started with this folder in PYTHONPATH: the engine of the first process that hears
# anything fails from then on, as on a sick GPU, and that of every process at a certain recording.
FAULTY = """
import importlib.util, os, sys

class Hook:
    def find_spec(self, name, path=None, target=None):
        if name != "actors.engine.citrinet.engine":
            return None
        sys.meta_path.remove(self)
        spec = importlib.util.find_spec(name)
        load = spec.loader.exec_module
        def exec_module(module):
            load(module)
            spoil(module)
        spec.loader.exec_module = exec_module
        return spec

def spoil(module):
    import torch
    transcribe = module.CitrinetEngine.transcribe
    def faulty(self, batch):
        try:
            os.close(os.open(os.environ["SICK"], os.O_CREAT | os.O_EXCL))
            faulty.is_sick = True
        except FileExistsError:
            pass
        if faulty.is_sick or any(len(pcm) == 16_161 for pcm in batch):
            raise torch.AcceleratorError("CUDA error: an illegal memory access was encountered")
        return transcribe(self, batch)
    faulty.is_sick = False
    module.CitrinetEngine.transcribe = faulty
    load = module.CitrinetEngine.__init__
    def stays_sick(self, *given):
        if "STAYS" in os.environ and os.path.exists(os.environ["SICK"]):
            raise torch.AcceleratorError("CUDA error: the device is gone")
        load(self, *given)
    module.CitrinetEngine.__init__ = stays_sick

sys.meta_path.insert(0, Hook())
"""


def run_on_faulty_devices(
    folder: Path, archive: Path, is_one_sick: bool, status: int = 0, **environment: str
) -> tuple[dict[str, Any], str]:
    """What a job says at its end and before."""
    site, mark, out = folder / "site", folder / "sick", folder / "out"
    site.mkdir()
    (site / "sitecustomize.py").write_text(FAULTY)
    if not is_one_sick:
        mark.touch()
    keys = f"input.uri={archive}", f"output.uri={out}", "unit.target_minutes=0.06", "errors.max_fraction=0.5"
    run = started(*keys, PYTHONPATH=str(site), SICK=str(mark), **environment)
    said, seen = run.communicate(timeout=400)
    assert run.returncode == status, seen
    return read_json(said), seen


def rows_of(folder: Path) -> pd.DataFrame:
    return pd.read_parquet(sorted((folder / "out").glob("*.parquet"))).set_index("recording_id")


@pytest.fixture
def archive(tmp_path: Path) -> Path:
    folder = tmp_path / "archive"
    folder.mkdir()
    for number in range(8):
        for suffix in (".wav", ".txt"):
            shutil.copy(ROOT / f"demo/audio/loose/{number:02d}{suffix}", folder)
    return folder


@pytest.mark.timeout(450)
def test_a_sick_device_costs_nothing_but_its_process(archive: Path, tmp_path: Path) -> None:
    summary, seen = run_on_faulty_devices(tmp_path, archive, is_one_sick=True)
    found = rows_of(tmp_path)
    assert (tmp_path / "sick").exists()
    assert summary["errors"] == {}
    assert "trying" not in seen  # Ray has done it: no unit failed, or was without an outcome
    assert (found["text"] == found["reference"]).all()
    assert len(found) == 8


@pytest.mark.timeout(450)
def test_a_recording_at_which_every_device_fails_is_a_row(archive: Path, tmp_path: Path) -> None:
    (archive / "00-faults.wav").write_bytes(encoded(tone(16_161 / 16_000)))
    summary, seen = run_on_faulty_devices(tmp_path, archive, is_one_sick=False)
    found = rows_of(tmp_path)
    assert summary["errors"] == {"crashed": 1}
    assert "crashed their worker" in seen
    assert "an illegal memory access" in found.loc["00-faults.wav", "error_detail"]
    others = found.drop(index="00-faults.wav")
    assert len(others) == 8
    assert (others["text"] == others["reference"]).all()


@pytest.mark.timeout(450)
def test_a_run_whose_only_device_stays_sick_ends_and_says_why(archive: Path, tmp_path: Path) -> None:
    """Ray Data would wait for its actor for ever."""
    for path in sorted(archive.iterdir())[4:]:
        path.unlink()
    summary, seen = run_on_faulty_devices(tmp_path, archive, is_one_sick=True, status=1, STAYS="1")
    assert len(summary["failed_units"]) == summary["units"]["planned"] == 2
    assert "the device is gone" in seen


@pytest.mark.parametrize(
    ("is_alone", "has_restarted", "problem", "lives_on"),
    [
        (True, False, RuntimeError("no device"), False),
        (False, False, RuntimeError("no device"), True),
        (False, False, UsageError("not a model"), False),
        (True, True, RuntimeError("no device"), True),
        (True, True, UsageError("another file by now"), True),
    ],
)
def test_an_actor_whose_engine_cannot_be_loaded(
    is_alone: bool, has_restarted: bool, problem: Exception, lives_on: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The run ends where it would not start; one actor of many lives on, and one that was at work."""
    monkeypatch.setattr("actors.stages.Transcriber", Mock(side_effect=problem))
    arguments: Any = (None, None, is_alone, lambda: has_restarted)
    if not lives_on:
        with pytest.raises(type(problem)):
            HearBlock(*arguments)
        return
    assert HearBlock(*arguments)


def test_an_engine_that_could_not_be_loaded_is_tried_for_each_piece(monkeypatch: pytest.MonkeyPatch) -> None:
    """Slowly, so that others hear them meanwhile; once it is there, at once."""
    slept = Mock()
    monkeypatch.setattr("actors.stages.time.sleep", slept)
    load = Mock(side_effect=[RuntimeError("no memory"), lambda speech: speech])
    late, speech = LateTranscriber(load), SPEECH_SCHEMA.empty_table()
    with pytest.raises(MachineError, match="no memory"):
        late(speech)
    assert [late(speech), late(speech)] == [speech, speech]
    assert (slept.call_count, load.call_count) == (2, 2)


class Failing:
    """An engine that raises, until it has done so for all of its problems."""

    blank, frame_samples, busy_seconds, capacity = -1, 1_280, None, None

    def __init__(self, *problems: Exception) -> None:
        self.problems = list(problems)

    def transcribe(self, batch: Sequence[np.ndarray]) -> list[Emission]:
        if self.problems:
            raise self.problems.pop()
        return [Emission(np.array([len(pcm)]), np.ones(1, np.float32)) for pcm in batch]


def test_what_is_the_devices_fault(monkeypatch: pytest.MonkeyPatch) -> None:
    batch = [np.zeros(samples, np.int16) for samples in (1, 2)]
    with pytest.raises(DeviceFault, match="ECC"):
        hear_within_memory(Failing(torch.AcceleratorError("CUDA error: uncorrectable ECC error encountered")), batch)
    full = torch.AcceleratorError("CUDA error: out of memory")
    full.error_code = 2  # type: ignore[attr-defined]  # as CUDA's own are
    heard = hear_within_memory(Failing(full), batch)
    assert [each.best.tolist() for each in heard if isinstance(each, Emission)] == [[1], [2]]
    monkeypatch.setattr(torch.cuda, "is_initialized", lambda: True)
    monkeypatch.setattr(torch, "ones", Mock(side_effect=torch.OutOfMemoryError("full")))  # which is no sickness
    with pytest.raises(RuntimeError, match="shapes"):  # the code's, which is told as it is
        hear_within_memory(Failing(RuntimeError("shapes do not fit")), batch)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no GPU")
def test_after_a_fault_whatever_is_raised_is_the_devices() -> None:
    """In a process of its own, whose context is lost."""
    program = (
        "import torch\nfrom actors.engine.faults import has_failed\n"
        "assert not has_failed(RuntimeError('shapes'))\n"
        "try:\n    torch.zeros(1, device='cuda')[torch.full((1,), 1 << 40, device='cuda')].cpu()\n"
        "except RuntimeError:\n    pass\n"
        "assert has_failed(RuntimeError('of a library'))\n"
    )
    subprocess.run([sys.executable, "-c", program], cwd=ROOT, check=True)
