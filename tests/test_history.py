"""What a run leaves behind: its record, however it ended, what jobs.history tells of it, and for how many runs."""

import json
import os
import re
import shutil
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import nullcontext
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import yaml
from conftest import ROOT
from test_durability import started
from test_links import as_nobody
from test_planning import SETTINGS, Archive, wav

from actors import VERSION
from actors.outcomes import Committed, Counts, Example, Failed, Outcome
from actors.parts.kept import PIECES, is_piece_file
from actors.parts.summary import MAX_NAMED
from actors.storage.place import Place
from actors.units import Carried, SourceObject, Unit, Version
from jobs import history, pipeline, transcribe
from jobs.cli.config import ConfigError
from jobs.cli.loading import load
from jobs.planning.plans import MAX_PLANS, State, write_plan
from jobs.planning.recipe import recipe_digest
from jobs.planning.run_files import HEARTBEAT, PLAN, RUNS, SUMMARY, run_files, sweep_runs
from jobs.planning.state import load_state
from jobs.running import lease
from jobs.running import record as records
from jobs.running.cluster import GraphError
from jobs.running.facts import failed_units
from jobs.running.last_run import LastRun
from jobs.running.outcomes import NOT_STARTED, Ledger, TooManyFailures
from jobs.running.record import RunRecord, recorded
from jobs.running.runs import all_runs, read_runs
from jobs.running.summary import UnitCounts

SEND = transcribe.send
ONE = ("input.uri=demo/audio/loose/00.wav",)


def summary_of(out: Path, number: int) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((out / RUNS / f"{number:06d}" / SUMMARY).read_text())
    return found


def told(seen: str) -> str:
    return " ".join(seen.split())


@pytest.fixture
def _no_graph(monkeypatch: pytest.MonkeyPatch) -> None:
    """Runs plan and claim, and do nothing."""
    monkeypatch.setattr(transcribe, "send", lambda *given: given[3].waiting.clear())  # of the ledger
    monkeypatch.setattr(transcribe, "claim_share", lambda *_: nullcontext())


@pytest.mark.usefixtures("ray_two_cpus")
def test_runs_are_told_of_when_input_and_model_are_gone(job: Any, demo_copy: Path, tmp_path: Path) -> None:
    out, archive = tmp_path / "out", demo_copy / "loose"
    page = tmp_path / "config.yaml"
    config = yaml.safe_load(Path("configs/demo.yaml").read_text())
    config["input"]["uri"], config["output"]["uri"] = str(archive), str(out)
    config["export"] = {"storage_options": {"key": "hunter2", "secret": "env:CITRA_SECRET"}}
    config["metrics"] = {"folder": str(tmp_path)}
    config["output"]["show"] = False
    page.write_text(yaml.safe_dump(config))

    status, summary, seen = job("errors.max_fraction=0.5", config=str(page))
    assert status == 0
    assert "transcripts are not shown here; output.show=true shows some of them" in seen
    assert not re.search("[\u4e00-\u9fff]", seen + json.dumps(summary, ensure_ascii=False))
    assert summary == summary_of(out, 1)
    assert "hunter2" not in (out / RUNS / "000001" / SUMMARY).read_text()
    assert summary["settings"]["export"]["storage_options"] == {"secret": "env:CITRA_SECRET"}
    assert summary["settings"]["errors"]["max_fraction"] == 0.5
    assert (summary["run"], summary["state"], summary["status"]) == (1, "ended", 0)
    assert summary["start"] <= summary["end"]
    assert summary["start"].replace("-", "").replace(":", "") == summary["run_id"].partition("-")[0]
    assert (summary["version"], summary["host"]) == (VERSION, os.uname().nodename)
    assert summary["input"] == [str(archive)]
    assert summary["model"]["name"] == "demo/citrinet_zh_demo.nemo"
    assert len(summary["model"]["sha256"]) == 64
    assert (summary["engine"], summary["device"]) == ("fused", "cpu")
    assert {each["recording_id"]: each["error_kind"] for each in summary["failing"]} == {
        "broken-empty.wav": "empty",
        "broken-half.m4a": "unreadable",
        "broken-text.wav": "not_audio",
    }
    assert all(each["error_detail"] for each in summary["failing"])

    assert job("errors.max_fraction=0", config=str(page))[0] == 3  # nothing to do, and Ray is not asked for it
    (metrics,) = tmp_path.glob("*.prom")
    values = dict(line.rsplit(" ", 1) for line in metrics.read_text().splitlines() if not line.startswith("#"))
    label = f'{{output="file://{out}"}}'
    assert float(values[f"citrascribe_last_run_status{label}"]) == 3
    first, last = (values[f"citrascribe_last_{name}_timestamp_seconds{label}"] for name in ("success", "run"))
    assert time.time() - 200 < float(first) < float(last) <= time.time()
    assert float(values[f"citrascribe_output_errors{label}"]) == 3

    demo_copy.rename(tmp_path / "gone")
    where = (f"output.uri={out}", "input.uri=/gone", "model.name=/gone.nemo", "input.storage_options.key=env:GONE")
    before = sorted(path for path in out.rglob("*"))
    status, listed, seen = job(*where, main=history.main)
    assert (status, listed["runs_in_all"]) == (0, 2)
    assert [(each["run"], each["status"], each["told"]) for each in listed["runs"]] == [
        (1, 0, "done"),
        (2, 3, "too many errors"),
    ]
    assert listed["runs"][0]["units"] == summary["units"]
    assert (listed["runs"][0]["recordings"], listed["runs"][0]["errors"]) == (summary["recordings"], 3)
    assert listed["runs"][0]["start"] == summary["start"]
    assert f"done 4/4 {summary['recordings']} 3" in told(seen)
    status, one, seen = job(*where, "history.run=1", main=history.main)
    assert (status, one["run"]["run"], one["previous"]) == (0, 1, None)
    assert one["failing"] == summary["failing"]
    assert one["summary"] == summary
    assert "broken-text.wav not_audio" in told(seen)
    status, one, seen = job(*where, "history.run=last", main=history.main)
    assert (one["run"]["run"], one["previous"]) == (2, 1)
    assert one["differences"] == ["errors.max_fraction was 0.5 and is 0"]
    assert "errors.max_fraction was 0.5 and is 0" in told(seen)
    assert job(*where, "history.limit=1", main=history.main)[1]["runs"] == listed["runs"][1:]
    assert sorted(path for path in out.rglob("*")) == before
    status, _, seen = job(*where, "history.run=3", main=history.main)
    assert status == 2
    assert "history.run: " in seen
    assert "has no run 3; it has 2, from 1 to 2" in told(seen)
    assert job("output.uri=/nowhere", main=history.main)[0] == 2


def test_a_killed_run_leaves_what_it_can(job: Any, tmp_path: Path) -> None:
    out, archive = tmp_path / "out", tmp_path / "archive"
    for copy in range(6):  # more than is heard until the summary is refreshed, however idle the machine
        shutil.copytree(ROOT / "demo/audio", archive / str(copy))
    keys = f"input.uri={archive}", "unit.target_minutes=0.1", "output.lease_seconds=4"
    run = started(f"output.uri={out}", *keys)
    kept = out / RUNS / "000001" / SUMMARY
    while not (kept.exists() and json.loads(kept.read_text())["units"]["done"]):
        assert run.poll() is None, run.communicate()
        time.sleep(0.05)
    run.send_signal(signal.SIGKILL)
    run.communicate()
    summary = summary_of(out, 1)
    assert (summary["state"], summary["status"], summary["end"]) == ("running", None, None)
    assert 0 < summary["units"]["done"] < summary["units"]["planned"]
    assert summary["recordings"] > 0
    assert summary["settings"]["output"]["lease_seconds"] == 4
    assert summary["start"] < summary["updated"]
    status, listed, seen = job(f"output.uri={out}", main=history.main)
    (row,) = listed["runs"]
    assert (status, row["state"], row["status"]) == (0, "killed", None)
    assert row["last_heartbeat"] >= summary["start"]
    assert f"last heard of at {row['last_heartbeat']}" in row["told"]
    assert "killed" in seen


@pytest.mark.usefixtures("_no_graph")
def test_a_sample_leaves_what_a_killed_run_of_all_has_heard(job: Any, tmp_path: Path) -> None:
    heard = tmp_path / "out" / PIECES / f"{'0' * 16}.{'1' * 64}.1-of-4.4.1.1800.0s.arrow"
    assert is_piece_file(heard.name)
    heard.parent.mkdir(parents=True)
    heard.write_bytes(b"")
    where = (*ONE, f"output.uri={tmp_path / 'out'}")
    assert job(*where, "input.sample=1")[0] == job(*where, "input.limit=1")[0] == 0
    assert heard.exists()
    assert job(*where)[0] == 0
    assert not heard.exists()


@pytest.mark.usefixtures("_no_graph")
@pytest.mark.parametrize(
    ("problem", "status", "why"),
    [
        (KeyboardInterrupt(), 1, "interrupted"),
        (ConfigError("ray.actors: 9 do not fit"), 2, "ray.actors: 9 do not fit"),
        (OSError("the disk is gone"), 1, "the disk is gone"),
    ],
)
def test_a_run_that_ends_early_says_why(
    job: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, problem: BaseException, status: int, why: str
) -> None:
    def claim(*_: Any) -> None:
        raise problem

    monkeypatch.setattr(transcribe, "claim_share", claim)
    where = (f"output.uri={tmp_path / 'out'}", f"metrics.folder={tmp_path}")
    assert job(*ONE, *where)[0] == status
    summary = summary_of(tmp_path / "out", 1)
    assert (summary["state"], summary["status"], summary["why"]) == ("ended", status, why)
    assert summary["units"] == {"planned": 1, "skipped": 0, "done": 0}
    assert not (tmp_path / "out" / RUNS / "000001" / HEARTBEAT).exists()
    (file,) = tmp_path.glob("*.prom")
    assert f'citrascribe_last_run_status{{output="file://{tmp_path}/out"}} {status}' in file.read_text()
    _, one, seen = job(*where, "history.run=last", main=history.main)
    assert one["run"]["told"] == {1: "failed", 2: "a mistake in the configuration"}[status]
    assert why in told(seen)


@pytest.mark.usefixtures("_no_graph")
def test_a_run_that_finds_another_at_work_leaves_its_facts(job: Any, tmp_path: Path) -> None:
    out = Place.at(str(tmp_path / "out"))
    (out / RUNS / "000000" / HEARTBEAT).write(json.dumps({"machine": "x", "process": 1, "began": "1"}).encode())
    status, summary, _ = job(*ONE, f"output.uri={out.path}")
    assert (status, summary["status"], summary["state"]) == (4, 4, "ended")
    assert summary == summary_of(tmp_path / "out", 1)
    assert {"start", "end", "host", "version", "input", "model", "settings", "engine"} <= summary.keys()
    assert not {"units", "recordings", "failing"} & summary.keys()
    rows = job(f"output.uri={out.path}", main=history.main)[1]["runs"]
    assert [each["told"] for each in rows][1:] == ["another run was at work"]
    assert rows[0]["state"] == "running"


@pytest.mark.usefixtures("_no_graph")
def test_what_fails_when_planning_is_measured(job: Any, tmp_path: Path) -> None:
    where = (f"output.uri={tmp_path / 'out'}", f"metrics.folder={tmp_path}")
    assert job("input.uri=/nowhere", *where)[0] == 2
    (file,) = tmp_path.glob("*.prom")
    assert f'last_run_status{{output="file://{tmp_path}/out"}} 2\n' in file.read_text()
    assert f'last_success_timestamp_seconds{{output="file://{tmp_path}/out"}} 0.0\n' in file.read_text()
    for wrong in (f"{tmp_path}/none", str(file), "s3://bucket/x"):
        status, _, seen = job(*ONE, *where, f"metrics.folder={wrong}")
        assert (status, "metrics.folder: " in seen, "Traceback" in seen) == (2, True, False)
    assert not (tmp_path / "out").exists()


class Watched(Ledger):
    """A ledger of units by their ids."""

    def __init__(self, *names: str) -> None:
        super().__init__([unit_of(name) for name in names])


def unit_of(name: str) -> Unit:
    source = SourceObject(f"s3://a/{name}.wav", f"s3://a/{name}.wav", f"{name}.wav", "audio", "1", 1)
    return Unit(name, "f", (source,))


@pytest.fixture
def record(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> RunRecord:
    """A record of a run of three units that has begun."""
    monkeypatch.setattr(records, "facts_of_plan", lambda _: {})
    config = load("configs/demo.yaml", [f"output.uri={tmp_path}"])
    made = RunRecord(config, "run-1", LastRun.of(config))
    counts = {"listed": 3, "read": 3, "companions": 0, "spoken_of": 0, "skipped": {}}
    listing = SimpleNamespace(files=SimpleNamespace(counts=lambda: counts))
    plan = SimpleNamespace(committed=[unit_of(name) for name in ("0a", "0b", "0c")], done=["1a"])
    prepared: Any = SimpleNamespace(plan=plan, listing=listing, output_uri=f"file://{tmp_path}")
    made.claim(prepared, Place.at(str(tmp_path)) / RUNS / "000001")
    made.begin(prepared)
    return made


def test_a_record_is_kept_current_and_costs_little(
    record: RunRecord, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / RUNS / "000001" / SUMMARY
    ledger = Watched("0a", "0b", "0c")
    record.watch(ledger)
    assert summary_of(tmp_path, 1)["units"] == {"planned": 3, "skipped": 1, "done": 0}
    broken = tuple(Example(f"{number}.wav", error_kind="missing", error_detail="gone") for number in range(300))
    ledger.add(Committed("0a", Counts(400, 500, 7_200.0, {"missing": 300}), None, (), broken))
    record.refresh()
    assert summary_of(tmp_path, 1)["units"]["done"] == 0  # too soon
    monkeypatch.setattr(records, "MIN_SECONDS", 0.0)
    record.refresh()
    summary = summary_of(tmp_path, 1)
    assert (summary["units"]["done"], summary["recordings"], summary["audio_hours"]) == (1, 400, 2.0)
    assert len(summary["failing"]) == MAX_NAMED
    assert summary["failing"][0] == {"recording_id": "0.wav", "error_kind": "missing", "error_detail": "gone"}
    path.unlink()
    record.refresh()
    assert not path.exists()  # nothing has changed
    ledger.add(Failed("0b", "disk full"))
    record.refresh()
    assert summary_of(tmp_path, 1)["failed_units"] == [
        {"unit": "0b", "reason": "disk full", "objects": 1, "uri": "s3://a/0b.wav"}
    ]
    record.end(1)
    path.unlink()
    ledger.add(Committed("0c", Counts(1)))
    record.refresh()
    assert not path.exists()  # a late beat does not undo the end
    assert record.summary["units"] == {"planned": 3, "skipped": 1, "done": 1}


def test_a_failed_unit_of_which_nothing_is_heard_names_its_objects() -> None:
    carried = tuple(Carried(uri, Version("1"), uri) for uri in ("s3://a/0.wav", "s3://a/1.wav"))
    found = failed_units({"0a": "disk full"}, {"0a": Unit("0a", "f" * 64, (), carried)})
    assert found == [{"unit": "0a", "reason": "disk full", "objects": 2, "uri": "s3://a/0.wav"}]


def test_a_record_is_ended_once(tmp_path: Path) -> None:
    config = load("configs/demo.yaml", [f"output.uri={tmp_path}"])
    found = list[RunRecord]()

    def run() -> None:
        with recorded(config, "r") as record:
            found.append(record)
            record.end(4)
            raise RuntimeError("later")

    with pytest.raises(RuntimeError):
        run()
    assert found[0].status == 4
    assert "why" not in found[0].summary


def big(folder: Path) -> None:
    with open(folder / SUMMARY, "wb") as file:
        file.truncate(2_000_000_000)


def link(folder: Path) -> None:
    (folder.parent / "secret").write_text('{"status": 0, "host": "stolen"}')
    (folder / SUMMARY).symlink_to(folder.parent / "secret")


def pipe(folder: Path) -> None:
    os.mkfifo(folder / SUMMARY)


def text(content: str) -> Callable[[Path], None]:
    def write(folder: Path) -> None:
        (folder / SUMMARY).write_text(content)

    return write


ODD = {
    "status": 77,
    "run_id": ["x"],
    "units": [1],
    "errors": {"a": "b", "c": True, "d": 10**300},
    "settings": {"input": 5, "output": {"uri": "\x1b[31m"}, "x": [[[]]]},
    "model": "m",
    "failing": [7, {"recording_id": "\x1b[31mred"}, {"recording_id": {}, "error_kind": "k" * 10_000}],
    "failed_units": {"a": 1},
    "totals": [],
    "wall_seconds": -1e300,
    "audio_hours": "many",
    "host": "\x1b[31m" + "h" * 5_000,
    "start": 12,
}


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (text(""), "cannot be read: it is not JSON"),
        (text("[]"), "cannot be read: it is not a JSON object"),
        (text("[" * 100_000), "cannot be read"),
        (text('{"status": NaN}'), "cannot be read"),
        (text("{}"), "unknown: it left no summary"),
        (text(json.dumps(ODD)), "status 77"),
        (text(json.dumps(ODD | {"status": True, "state": {}})), "unknown"),
        (big, "cannot be read: it has more than 4,000,000 bytes"),
        (link, "cannot be read: it is a link"),
        (pipe, "unknown"),
        (lambda folder: (folder / "plan.arrow").write_bytes(b"torn"), "unknown: it left no summary"),
    ],
)
def test_odd_summaries_are_told_and_the_others_too(
    job: Any, tmp_path: Path, make: Callable[[Path], None], words: str
) -> None:
    for number in (1, 2, 3):
        (tmp_path / RUNS / f"{number:06d}").mkdir(parents=True)
    for number in (1, 3):
        good = {"run_id": f"2026010{number}T000000Z-abcdef", "version": "0.1", "status": 0, "wall_seconds": 90.0}
        (tmp_path / RUNS / f"{number:06d}" / SUMMARY).write_text(json.dumps(good))  # as earlier versions wrote it
    make(tmp_path / RUNS / "000002")
    (tmp_path / RUNS / "000002" / "summary.json.bak").write_text("x")
    status, listed, seen = job(f"output.uri={tmp_path}", main=history.main)
    rows = {each["run"]: each for each in listed["runs"]}
    assert status == 0
    if 2 in rows:  # a pipe is not taken for a file of a run
        assert words in rows[2]["told"]
        assert words in told(seen) or "…" in seen
    assert (rows[1]["told"], rows[1]["start"], rows[1]["host"]) == ("done", "2026-01-01T00:00:00Z", None)
    assert "1:30" in seen
    for number in rows:
        status, one, seen_one = job(f"output.uri={tmp_path}", f"history.run={number}", main=history.main)
        assert (status, one["run"]["run"]) == (0, number)
        seen += seen_one
    assert "\x1b" not in seen
    assert "stolen" not in seen
    assert "Traceback" not in seen


def test_what_a_file_of_metrics_held_before_is_not_believed_blindly(tmp_path: Path) -> None:
    config = load("configs/demo.yaml", [f"output.uri={tmp_path / 'out'}", f"metrics.folder={tmp_path}"])
    last_run = LastRun.of(config)
    name = f'citrascribe_last_success_timestamp_seconds{{output="file://{tmp_path}/out"}}'
    units: Any = {"planned": 5, "skipped": 0, "done": 3}
    last_run.write(0, 1.0, units, {"recordings": 9, "errors": 2, "accepted": 1})
    (path,) = tmp_path.glob("*.prom")
    assert f'citrascribe_last_run_units_left{{output="file://{tmp_path}/out"}} 2\n' in path.read_text()
    success = next(line for line in path.read_text().splitlines() if line.startswith(name))
    for status in (1, 3, 4):
        last_run.write(status, 1.0, units, None)
        assert success in path.read_text().splitlines()
    assert sorted(each.name for each in tmp_path.iterdir()) == [path.name]
    for odd in (b"\xff", b"x" * 200_000, f"{name} 1.2.3\n".encode(), f"{name} \n".encode(), b""):
        path.write_bytes(odd)
        last_run.write(1, 1.0, units, None)
        assert f"{name} 0.0\n" in path.read_text()
    other = LastRun.of(load("configs/demo.yaml", [f'output.uri={tmp_path}/o"\\ut', f"metrics.folder={tmp_path}"]))
    other.write(0, 1.0, units, None)
    assert len(list(tmp_path.glob("*.prom"))) == 2
    assert any('o\\"\\\\ut"}' in each.read_text() for each in tmp_path.glob("*.prom"))


def run_many(archive: Archive, runs: int, keep: int) -> None:
    """Runs that each find one new object, as `jobs.transcribe` drives them."""
    for _ in range(runs):
        objects = [wav(f"{number:03d}") for number in range(archive.runs + 1)]
        state = load_state(archive.place)
        plan = archive.plan(*objects)
        recipe = recipe_digest(SETTINGS), SETTINGS
        archive.runs += 1
        folder = write_plan(archive.place, state, plan.objects, recipe, f"run-{archive.runs}", keep)
        assert folder is not None
        assert int(folder.name) == archive.runs  # no number is used twice, or left out
        (folder / HEARTBEAT).write(b"{}")
        sweep_runs(archive.place, archive.runs, keep, 60)
        (folder / SUMMARY).write(b"{}")
        (folder / HEARTBEAT).delete()
        assert len({file.run for file in run_files(archive.place)}) <= keep
    assert len(load_state(archive.place).objects) == archive.runs


@pytest.mark.parametrize(("runs", "keep"), [(80, 10), (6, 1), (MAX_PLANS + 12, MAX_PLANS + 5), (12, 100)])
def test_folders_of_runs_are_kept_within_a_number(tmp_path: Path, runs: int, keep: int) -> None:
    archive = Archive(str(tmp_path / "out"))
    run_many(archive, runs, keep)
    assert len(list((tmp_path / "out" / RUNS).iterdir())) == min(runs, keep)


def test_folders_of_runs_are_kept_within_a_number_on_s3(conditional_s3_options: dict[str, Any]) -> None:
    archive = Archive("s3://bucket/many-runs", conditional_s3_options)
    run_many(archive, 12, 4)
    assert sorted({file.run for file in run_files(archive.place)}) == [9, 10, 11, 12]


def test_only_what_nobody_needs_is_removed(tmp_path: Path) -> None:
    archive = Archive(str(tmp_path / "out"))
    runs = tmp_path / "out" / RUNS
    run_many(archive, 3, 100)  # whose plans are needed
    for number in range(4, 12):
        folder = archive.place / RUNS / f"{number:06d}"
        (folder / SUMMARY).write(b"{}")
    (archive.place / RUNS / "000004" / "notes.txt").write(b"precious")
    (archive.place / RUNS / "000005" / HEARTBEAT).write(b"{}")  # of a run that is alive
    (archive.place / RUNS / "000006" / HEARTBEAT).write(b"{}")  # and of one that was killed long ago
    os.utime(runs / "000006" / HEARTBEAT, (1, 1))
    (runs / "000007" / f".summary.json.{'0' * 32}.tmp").write_bytes(b"torn")
    (archive.place / RUNS / "000011" / HEARTBEAT).write(b"{}")
    (archive.place / RUNS / "000012" / SUMMARY).write(b"{}")  # of a run that came later
    assert load_state(archive.place).next_number == 13
    sweep_runs(archive.place, 11, 2, 60)
    assert sorted(each.name for each in runs.iterdir()) == [
        *("000001", "000002", "000003", "000004", "000005", "000010", "000011", "000012")
    ]
    assert (runs / "000001" / SUMMARY).exists()
    assert [each.name for each in (runs / "000004").iterdir()] == ["notes.txt"]
    assert load_state(archive.place).next_number == 13


def take_a_gone_number(archive: Archive) -> None:
    """A planner that read the state before run 2, and comes back when run 3 has taken over what run 2 planned."""
    recipe = recipe_digest(SETTINGS), SETTINGS

    def claim(state: State, *names: str) -> Place | None:
        plan = archive.plan(*map(wav, names))
        return write_plan(archive.place, state, plan.objects, recipe, "run", 1)

    assert claim(load_state(archive.place), "a")
    slow = load_state(archive.place)
    second = claim(load_state(archive.place), "a", "b", "d")
    assert second
    (second / SUMMARY).write(b"{}")
    assert claim(load_state(archive.place), "a", "b", "d")
    before = [(file.run, file.name) for file in run_files(archive.place)]
    assert before == [(2, SUMMARY), (3, PLAN)]
    assert claim(slow, "a", "b") is None
    assert [(file.run, file.name) for file in run_files(archive.place)] == before


def test_a_number_is_not_used_again_when_its_plan_is_gone(tmp_path: Path) -> None:
    take_a_gone_number(Archive(str(tmp_path / "out")))


def test_a_number_is_not_used_again_when_its_plan_is_gone_on_s3(conditional_s3_options: dict[str, Any]) -> None:
    take_a_gone_number(Archive("s3://bucket/gone-number", conditional_s3_options))


@pytest.mark.parametrize("broken", ["modified", "delete", "is_link"])
def test_storage_that_fails_while_old_runs_are_removed_ends_no_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str], broken: str
) -> None:
    place = Place.at(str(tmp_path))
    for number in range(1, 6):
        (place / RUNS / f"{number:06d}" / SUMMARY).write(b"{}")
    (place / RUNS / "000005" / HEARTBEAT).write(b"{}")

    def fail(*_: Any) -> None:
        raise OSError("the storage is gone")

    with monkeypatch.context() as patched:
        patched.setattr(Place, broken, fail)
        sweep_runs(place, 5, 2, 60)
    assert "folders of old runs were not removed: the storage is gone" in told(capfd.readouterr().err)
    sweep_runs(place, 5, 2, 60)
    assert sorted({file.run for file in run_files(place)}) == [4, 5]


@pytest.mark.usefixtures("_no_graph")
def test_runs_that_find_another_at_work_push_out_no_other(job: Any, tmp_path: Path) -> None:
    out, runs = Place.at(str(tmp_path / "out")), tmp_path / "out" / RUNS
    where = (*ONE, f"output.uri={out.path}", "output.keep_runs=3")
    assert [job(*where)[0] for _ in range(2)] == [0, 0]
    long_run = out / RUNS / "000003"
    (long_run / SUMMARY).write(b'{"status": null, "state": "running"}')
    (long_run / HEARTBEAT).write(json.dumps({"machine": "x", "process": 1, "began": "1"}).encode())
    for number in range(4, 7):
        assert job(*where)[0] == 4
        assert sorted(each.name for each in runs.iterdir()) == ["000002", "000003", f"{number:06d}"]
    (long_run / HEARTBEAT).delete()
    (long_run / SUMMARY).write(b'{"status": 0, "state": "ended"}')
    assert job(*where)[0] == 0
    assert sorted(each.name for each in runs.iterdir()) == ["000002", "000003", "000007"]
    assert load_state(out).objects


def test_many_runs_that_found_another_at_work_go_first(tmp_path: Path) -> None:
    place = Place.at(str(tmp_path))
    for number in range(1, 200):
        status = 0 if number in (1, 2, 150) else 4
        (place / RUNS / f"{number:06d}" / SUMMARY).write(json.dumps({"status": status}).encode())
    (place / RUNS / "000198" / PLAN).write(b"")  # of one with status 4, still needed
    (place / RUNS / "000200" / HEARTBEAT).write(b"{}")
    sweep_runs(place, 200, 6, 60)
    assert sorted({file.run for file in run_files(place)}) == [1, 2, 150, 198, 199, 200]


@pytest.mark.usefixtures("_no_graph")
@pytest.mark.parametrize(
    ("problem", "why"),
    [
        (KeyboardInterrupt(), "interrupted"),
        (GraphError("the head is gone"), "Ray ended early: the head is gone"),
        (TooManyFailures("20 units in a row failed"), "20 units in a row failed"),
    ],
)
def test_a_run_that_stops_at_work_says_why(
    job: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, problem: BaseException, why: str
) -> None:
    def outcomes(_: object) -> Iterator[Outcome]:
        raise problem
        yield

    nothing = SimpleNamespace(add=lambda *_: None, retry=lambda _: None)
    share = SimpleNamespace(resources=SimpleNamespace(described=lambda: "one actor", threads=1, cpus=1.0))
    monkeypatch.setattr(transcribe, "send", SEND)
    monkeypatch.setattr(transcribe, "claim_share", lambda *_: nullcontext(share))
    monkeypatch.setattr(transcribe, "Metrics", lambda *_: nothing)
    monkeypatch.setattr(pipeline, "build_graph", lambda *_: None)
    monkeypatch.setattr(pipeline, "outcomes", outcomes)
    status, summary, _ = job(*ONE, f"output.uri={tmp_path / 'out'}")
    assert (status, summary["why"]) == (1, why)
    assert summary == summary_of(tmp_path / "out", 1)
    assert summary["failed_units"][0]["reason"] == NOT_STARTED
    _, one, seen = job(f"output.uri={tmp_path / 'out'}", "history.run=last", main=history.main)
    assert one["summary"]["why"] == why
    assert f"why {why}" in told(seen)


def test_a_run_that_finds_another_at_work_leaves_its_numbers(tmp_path: Path) -> None:
    config = load("configs/demo.yaml", [f"output.uri={tmp_path / 'out'}", f"metrics.folder={tmp_path}"])
    last_run, units = LastRun.of(config), UnitCounts(planned=5, skipped=0, done=3)
    last_run.write(4, 1.0, units, None)
    assert not list(tmp_path.glob("*.prom"))
    last_run.write(3, 9.0, units, {"recordings": 9, "errors": 2, "accepted": 1})
    (path,) = tmp_path.glob("*.prom")
    before = path.read_text()
    last_run.write(4, 1.0, UnitCounts(planned=0, skipped=0, done=0), None)
    assert path.read_text() == before
    last_run.write(2, 1.0, UnitCounts(planned=0, skipped=0, done=0), None)  # which says nothing of the output
    for name, value in (("recordings", 9.0), ("errors", 2.0), ("accepted", 1.0)):
        line = f'citrascribe_output_{name}{{output="file://{tmp_path}/out"}} {value}'
        assert line in path.read_text().splitlines()


def test_a_heartbeat_that_may_not_be_read_is_judged_by_its_age() -> None:
    """Of another user's run, under umask 077."""
    with as_nobody() as folder:
        place = Place.at(str(folder))
        beats = [folder / RUNS / f"{number:06d}" / HEARTBEAT for number in (1, 2, 3)]
        for beat in beats:
            place.with_path(str(beat)).write(b"{}")
        os.utime(beats[0], (1, 1))
        for beat in beats[:2]:
            beat.chmod(0)
        rows = read_runs(list(all_runs(place).values()), 60)
        assert [each["state"] for each in rows] == ["killed", "running", "killed"]
        active = lease.active_run(place, place / RUNS / "000003", 60)
        assert active
        assert active.name == "000002"


def test_a_folder_that_may_not_be_read_hides_no_other_run() -> None:
    """Of another user's run, under umask 077."""
    with as_nobody() as folder:
        for number in (1, 2):
            (Place.at(str(folder)) / RUNS / f"{number:06d}" / SUMMARY).write(b'{"status": 0}')
        (folder / RUNS / "000001").chmod(0)
        try:
            rows = read_runs(list(all_runs(Place.at(str(folder))).values()), 60)
            assert [each["told"] for each in rows] == ["unknown: its folder may not be read", "done"]
            with pytest.raises(PermissionError):
                load_state(Place.at(str(folder)))  # whose plan is needed
        finally:
            (folder / RUNS / "000001").chmod(0o755)


def test_the_code_of_a_checkout_is_named() -> None:
    from jobs.running.facts import code_commit

    commit = code_commit()
    assert (commit is not None) == (ROOT / ".git").exists()
    assert commit is None or len(commit.removesuffix("-dirty")) == 40
