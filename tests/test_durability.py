"""Runs that are struck, stopped or doubled, and recordings that end the process that works on them."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import faults
import pandas as pd
import pytest
from conftest import ROOT, S3_KEY, S3_SECRET, encoded, tone
from faulty_storage import FaultyStorage

from actors.storage.place import Place
from jobs import transcribe
from jobs.cli.terminal import read_json
from jobs.running import lease

# Found by every Python that is started with this folder in PYTHONPATH: makes certain recordings deadly, as a bug in a
# codec or a driver would.
DEADLY = """
import importlib.util, os, signal, sys

class Hook:
    def find_spec(self, name, path=None, target=None):
        if name not in ("actors.audio.decode", "actors.engine.citrinet.engine"):
            return None
        sys.meta_path.remove(self)
        spec = importlib.util.find_spec(name)
        sys.meta_path.insert(0, self)
        load = spec.loader.exec_module
        def exec_module(module):
            load(module)
            spoil(module)
        spec.loader.exec_module = exec_module
        return spec

def spoil(module):
    if module.__name__ == "actors.audio.decode":
        decode = module.decode_each
        def deadly(content, *wanted):
            if content.endswith(b"KILL"):
                os.kill(os.getpid(), signal.SIGSEGV)
            while content.endswith(b"LOOP"):
                pass
            return decode(content, *wanted)
        module.decode_each = deadly
    else:
        transcribe = module.CitrinetEngine.transcribe
        def deadly(self, batch):
            if any(len(pcm) == 16_161 for pcm in batch):
                os.kill(os.getpid(), signal.SIGKILL)
            return transcribe(self, batch)
        module.CitrinetEngine.transcribe = deadly

sys.meta_path.insert(0, Hook())
"""


def started(*overrides: str, **environment: str) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "jobs.transcribe", "configs/demo.yaml", *overrides]
    pipes: dict[str, Any] = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    return subprocess.Popen(command, cwd=ROOT, env=os.environ | environment, **pipes)


def test_a_recording_that_ends_its_process_is_a_row(tmp_path: Path) -> None:
    site, archive = tmp_path / "site", tmp_path / "archive"
    site.mkdir()
    archive.mkdir()
    (site / "sitecustomize.py").write_text(DEADLY)
    for number in range(8):
        for suffix in (".wav", ".txt"):
            shutil.copy(ROOT / f"demo/audio/loose/{number:02d}{suffix}", archive)
    (archive / "kills.wav").write_bytes(encoded(tone(1)) + b"KILL")
    (archive / "loops.wav").write_bytes(encoded(tone(1)) + b"LOOP")
    (archive / "00-kills-actor.wav").write_bytes(encoded(tone(16_161 / 16_000)))
    out = tmp_path / "out"
    run = started(
        *(f"input.uri={archive}", f"output.uri={out}", "unit.target_minutes=0.06", "errors.patience_seconds=3"),
        "errors.max_fraction=0.5",
        PYTHONPATH=str(site),
    )
    said, seen = run.communicate(timeout=400)
    assert run.returncode == 0, seen
    assert read_json(said)["errors"] == {"crashed": 3}
    found = pd.read_parquet(sorted(out.glob("*.parquet"))).set_index("recording_id")
    assert len(found) == 11
    crashed = found[found["error_kind"] == "crashed"]
    assert sorted(crashed.index) == ["00-kills-actor.wav", "kills.wav", "loops.wav"]
    assert "within 3 s" in crashed.loc["loops.wav", "error_detail"]
    assert "ended with status -9" in crashed.loc["00-kills-actor.wav", "error_detail"]
    others = found.drop(index=crashed.index)
    assert (others["text"] == others["reference"]).all()


def test_a_run_that_is_terminated_says_what_it_leaves(tmp_path: Path) -> None:
    out = tmp_path / "out"
    run = started(f"output.uri={out}", "unit.target_minutes=0.25")
    while not list(out.glob("_commits/*")):
        assert run.poll() is None
        time.sleep(0.01)
    run.send_signal(signal.SIGTERM)
    said, seen = run.communicate(timeout=60)
    summary = read_json(said)
    assert (run.returncode, summary["status"]) == (1, 1)
    left = summary["units"]["planned"] - summary["units"]["done"]
    assert left > 0
    assert f"interrupted: {left} units are left for the next run" in seen
    assert "Traceback" not in seen


def test_a_second_run_leaves_the_output_to_the_first(
    tmp_path: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    output = Place.at(str(tmp_path / "out"))
    (output / "_runs/000001/other").write(b"")
    where = [f"output.uri={output.path}", "input.uri=demo/audio/loose/00.wav"]
    monkeypatch.setattr(transcribe, "send", lambda *given: given[3].waiting.clear())  # of the ledger
    monkeypatch.setattr(transcribe, "claim_share", lambda *_: nullcontext())
    for status, sign in ((4, {"machine": "another", "process": 1, "began": "1"}), (0, None)):
        file = output / "_runs/000000/heartbeat"
        if sign:
            file.write(json.dumps(sign).encode())
        else:  # of a process of this machine that is gone
            with lease.heartbeat(file.parent, 60, "r"):
                while not file.exists():
                    time.sleep(0.01)
                gone = json.loads(file.read()) | {"process": 2**22 - 1}
            file.write(json.dumps(gone).encode())
        assert transcribe.main(["configs/demo.yaml", *where]) == status
        seen = capfd.readouterr()
        assert ("another run is at work on this output" in seen.err) == (status == 4)
    os.utime(file.path, (time.time() - 100, time.time() - 100))  # older than the lease
    file.write(json.dumps({"machine": "another", "process": 1, "began": "1"}).encode())
    os.utime(file.path, (time.time() - 100, time.time() - 100))
    assert transcribe.main(["configs/demo.yaml", *where]) == 0


FULL = """
mount -t tmpfs -o size=100k none {out}
{python} -m jobs.transcribe configs/demo.yaml output.uri={out} unit.target_minutes=0.05 "input.exclude=[long/*]"
echo status $?
cp -a {out} {kept}
"""


@pytest.mark.skipif(subprocess.run(["unshare", "-rm", "true"]).returncode != 0, reason="may not mount")
def test_a_disk_that_is_full(tmp_path: Path) -> None:
    out, kept = tmp_path / "out", tmp_path / "kept"
    out.mkdir()
    script = FULL.format(python=sys.executable, out=out, kept=kept)
    done = subprocess.run(["unshare", "-rm", "sh", "-c", script], cwd=ROOT, capture_output=True, text=True, timeout=200)
    *_, said, status = done.stdout.splitlines()
    assert status == "status 1", done.stderr
    summary = json.loads(said)
    assert summary["units"]["planned"] > summary["units"]["done"] > 0
    assert "No space left on device" in done.stderr
    assert "20 units in a row failed" in done.stderr
    assert "Traceback" not in done.stderr
    before = {part.name: len(pd.read_parquet(part)) for part in kept.glob("*.parquet")}  # whole ones
    assert len(before) >= summary["units"]["done"]
    # Where there is space:
    run = started(f"output.uri={kept}", "unit.target_minutes=0.05", "input.exclude=[long/*]")
    said, seen = run.communicate(timeout=200)
    assert run.returncode == 0, seen
    assert read_json(said)["units"]["skipped"] == summary["units"]["done"]
    assert len(pd.read_parquet(sorted(kept.glob("*.parquet")))) == 75


def test_a_bucket_that_may_not_be_written(s3_options: dict[str, Any]) -> None:
    proxy = FaultyStorage(s3_options["endpoint_url"])
    proxy.fault = lambda method, path, number: 403 if method in ("PUT", "POST", "DELETE") else None
    options = json.dumps({"endpoint_url": proxy.url})
    keys = {"AWS_ACCESS_KEY_ID": S3_KEY, "AWS_SECRET_ACCESS_KEY": S3_SECRET}
    began = time.monotonic()
    run = started("output.uri=s3://bucket/forbidden", f"output.storage_options={options}", **keys)
    said, seen = run.communicate(timeout=60)
    proxy.close()
    assert (run.returncode, read_json(said)["status"]) == (2, 2), seen
    assert "output.uri: s3://bucket/forbidden may not be written" in seen
    assert "Traceback" not in seen
    assert time.monotonic() - began < 30


@pytest.mark.timeout(900)
@pytest.mark.usefixtures("ray_two_cpus")
def test_struck_runs_end_in_the_same_rows() -> None:
    """The short form of `make faults`, without one of the two long recordings."""
    import ray

    address = ray.get_runtime_context().gcs_address
    kinds = ["driver killed", "storage: every third answer cut or lost", "node killed"]
    keys = ("input.exclude=[long/interview.mp3]",)
    results = faults.campaign(runs=3, seed=1, kinds=kinds, keys=keys, address=address)
    assert sum(counts["same"] for counts in results.values()) == 3
    assert not any(counts["different"] for counts in results.values())
