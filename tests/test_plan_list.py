"""plan.list: every object of a plan and every file of its input, each with its verdict and the reason."""

import csv
import json
import os
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
from conftest import DEMO_MODEL, encoded, tone
from test_accounts import everything as everything

from actors.storage.place import Place
from actors.units import Version
from jobs import plan as plan_job
from jobs.planning import plan_list
from jobs.planning.object_verdicts import Row
from jobs.planning.versions import changes_between

WAV = encoded(tone(0.2))
Rows = list[dict[str, Any]]


def rows_of(path: Path) -> Rows:
    return pq.read_table(path).to_pylist()


def by_name(rows: Rows) -> dict[str, list[tuple[str, str]]]:
    """Verdict and reason of each row, by file name."""
    found = dict[str, list[tuple[str, str]]]()
    for row in rows:
        found.setdefault(row["uri"].rpartition("/")[2], []).append((row["verdict"], row["reason"]))
    return found


def check_counts(rows: Rows, summary: dict[str, Any]) -> None:
    """A list agrees with the summary of its plan in every count that both have."""
    files = summary["files"]
    told = Counter(row["file"] for row in rows if row["file"])
    assert (told["read"], told["companion"], told["spoken of"]) == tuple(
        files[name] for name in ("read", "companions", "spoken_of")
    )
    assert Counter(row["reason"] for row in rows if row["verdict"] == "skipped") == files["skipped"]
    assert told.total() == files["listed"]
    units = {row["unit"]: row["unit_verdict"] for row in rows if row["unit_verdict"]}
    assert Counter(units.values()) == {kind: count for kind, count in summary["units"].items() if count}
    objects = [row for row in rows if row["estimated_s"] is not None]
    assert Counter(row["format"] for row in objects) == summary["objects"]
    hours = sum(row["estimated_s"] for row in objects) / 3600
    assert hours == pytest.approx(sum(summary["estimated_hours"].values()), abs=0.01)
    assert Counter(row["verdict"] for row in rows) == summary["list"]["verdicts"]
    gone = summary["no_longer_listed"]
    assert sum("no longer listed; its rows" in row["reason"] for row in rows) == gone["kept"] + gone["removed"]


@pytest.mark.parametrize(
    "choice", ["", "input.limit=3", "input.sample=3", "input.format=audio", "input.exclude=['*.wav']"]
)
def test_every_file_is_there(everything: Path, tmp_path: Path, job: Callable[..., Any], choice: str) -> None:
    target = tmp_path / "list" / "plan.parquet"
    where = [f"input.uri={everything}", f"output.uri={everything}/out", f"plan.list={target}"]
    status, summary, _ = job(*where, *([choice] if choice else []), main=plan_job.main)
    assert status == 0
    check_counts(rows_of(target), summary)
    if not choice:
        found = by_name(rows_of(target))
        assert found["far.m4a"] == [
            ("new", "not planned before"),
            ("spoken of", "a manifest names it, and its entries are objects"),
        ]
        assert found["a.txt"] == [("companion", f"goes with file://{everything}/a.wav")]
        assert found["pipe.wav"][0][1].startswith("not planned before; an error: bad_entry: ")
        assert found["wav.scp"][0][0] == found["text"][0][0] == "list"


@pytest.mark.usefixtures("ray_two_cpus")
def test_the_list_of_a_run_that_is_half_done(job: Callable[..., Any], demo_copy: Path, tmp_path: Path) -> None:
    target, loose = tmp_path / "plan.parquet", demo_copy / "loose"
    where = (f"input.uri={demo_copy}", f"output.uri={tmp_path}/out", "errors.max_fraction=1", f"plan.list={target}")
    where = (*where, f"model.name={DEMO_MODEL}")
    done = "input.exclude=['long/*','manifest/*']"
    assert job(*where, done)[0] == 0
    (loose / "00.wav").write_bytes(WAV)
    (loose / "01.txt").write_text("other words")
    (loose / "02.txt").unlink()
    (loose / "03.wav").unlink()
    (loose / "04.wav").rename(loose / "renamed.wav")
    os.utime(loose / "05.wav", ns=(1, 1_700_000_000_123_456_789))
    (demo_copy / "shards" / "notes.pdf").write_bytes(b"x")
    status, summary, seen = job(*where, main=plan_job.main)
    assert status == 0
    rows = rows_of(target)
    check_counts(rows, summary)
    found = by_name(rows)
    (changed,) = found["00.wav"]
    assert changed[0] == "changed"
    assert f"bytes and is {len(WAV):,}, time of modification changed" in changed[1]
    assert found["01.wav"] == [("changed", "companion changed")]
    assert found["02.wav"] == [("changed", "companion no longer there")]
    assert found["03.wav"] == [("gone", "no longer listed; its rows are kept (output.on_deleted)")]
    was = f"file://{loose}/04.wav"
    now = f"file://{loose}/renamed.wav"
    kept = f"no longer listed; its rows are kept (output.on_deleted); it seems to be {now} now"
    assert found["04.wav"] == [("gone", kept)]
    assert found["renamed.wav"] == [("new", f"not planned before; it seems to be {was}, renamed")]
    assert found["05.wav"] == [("changed", "time of modification changed")]
    assert found["06.wav"][0][0] == "done"
    assert found["03.txt"] == [("skipped", "unknown type .txt")]
    assert found["notes.pdf"] == [("skipped", "unknown type .pdf")]
    assert found["tape.flac"][0] == ("new", "not planned before")
    assert found["speech-000.tar"] == [("done", "committed, and nothing has changed")]
    assert {"uri", "offset_s", "verdict", "reason", "size_bytes", "estimated_s", "format", "unit"} <= rows[0].keys()
    counts = ", ".join(f"{count} {verdict}" for verdict, count in summary["list"]["verdicts"].items())
    assert f"plan.list: {counts}, in {target.as_uri()}" in seen
    _, removing, _ = job(*where, "output.on_deleted=remove", "output.max_removed_fraction=1", main=plan_job.main)
    check_counts(rows_of(target), removing)
    assert by_name(rows_of(target))["03.wav"][0][1].endswith("its rows are removed (output.on_deleted)")
    _, excluding, _ = job(*where, "input.exclude=['*.tar']", "output.on_excluded=remove", main=plan_job.main)
    check_counts(rows_of(target), excluding)
    gone = "excluded by the configuration; its rows are removed (output.on_excluded)"
    assert by_name(rows_of(target))["speech-000.tar"] == [("skipped", "excluded"), ("gone", gone)]


@pytest.mark.usefixtures("ray_two_cpus")
def test_what_is_redone_says_why(job: Callable[..., Any], demo_copy: Path, tmp_path: Path) -> None:
    target, folder = tmp_path / "plan.parquet", demo_copy / "loose"
    where = (f"input.uri={folder}", f"output.uri={tmp_path}/out", f"model.name={DEMO_MODEL}", f"plan.list={target}")
    where = (*where, "errors.max_fraction=1")
    assert job(*where)[0] == 0

    def listed(*choices: str) -> dict[tuple[str, str], int]:
        _, summary, _ = job(*where, *choices, main=plan_job.main)
        rows = [row for row in rows_of(target) if row["unit"]]
        check_counts(rows_of(target), summary)
        return Counter((row["verdict"], row["reason"]) for row in rows)

    assert listed() == {("done", "committed, and nothing has changed"): 21}
    assert listed("text.itn=none") == {("redo", "settings differ: text.itn was zh and is none; from rows"): 21}
    ((redone, count),) = listed("segmentation.max_seconds=19", "output.on_mismatch=replace").items()
    assert (redone[0], count) == ("redo", 21)
    assert "segmentation.max_seconds was 20 and is 19" in redone[1]
    asked = listed("input.redo=[07.wav]")
    again = {reason: count for (verdict, reason), count in asked.items() if verdict == "redo"}
    assert again.keys() == {"input.redo names some of it"}
    (folder / "07.wav").write_bytes(WAV)
    other = listed()
    carried = {reason for verdict, reason in other if verdict == "done"}
    assert "its rows are carried over; of its unit: 1 object changed" in carried


def test_hostile_names_stay_names(job: Callable[..., Any], tmp_path: Path) -> None:
    folder = tmp_path / "in"
    folder.mkdir()
    names = [
        b"=cmd|'x'!A1.wav",
        b"+1.wav",
        b"-1.wav",
        b"@a.wav",
        b"a\nb.wav",
        b'q",;\r.wav',
        b"\xb0\xc4.wav",
        b"\t=1.wav",
    ]
    for name in names:
        (folder / os.fsdecode(name)).write_bytes(WAV)
    line = {"audio_filepath": "http://user:hunter2@127.0.0.1:9/a.wav?id=1&sig=hunter2", "id": "=1+1"}
    (folder / "m.jsonl").write_text(json.dumps(line) + "\n")
    where = (f"input.uri={folder}", f"output.uri={tmp_path}/out", "input.allowed_roots=[http://127.0.0.1:9/]")
    seen = list[Rows]()
    for suffix in ("PARQUET", "csv"):
        target = tmp_path / f"plan.{suffix}"
        assert job(*where, f"plan.list={target}", main=plan_job.main)[0] == 0
        data = target.read_bytes()
        assert b"hunter2" not in data
        assert job(*where, f"plan.list={target}", main=plan_job.main)[0] == 0
        if suffix == "csv":
            assert target.read_bytes() == data  # in one order
            with target.open(encoding="utf-8", newline="") as file:
                seen.append(list(csv.DictReader(file)))
        else:
            seen.append(rows_of(target))
    exact, cells = seen
    assert {row["name"] for row in exact} == {
        *(os.fsdecode(name).encode("utf-8", "backslashreplace").decode() for name in names),
        "m.jsonl",
        "=1+1",
    }
    assert [row["uri"] for row in cells] == [row["uri"] for row in exact]
    assert [row["verdict"] for row in cells] == [row["verdict"] for row in exact]
    for row, cell in zip(exact, cells, strict=True):
        is_formula = row["name"][0] in "=+-@\t"
        assert cell["name"] == ("'" * is_formula + row["name"])


@pytest.mark.parametrize(
    ("target", "said"),
    [
        ("plan.txt", "plan.list: plan.txt must end in .parquet or .csv, which says the format"),
        ("plan", "plan.list: plan must end in .parquet or .csv"),
        (
            "http://host/plan.csv",
            "plan.list: HTTP cannot be written to; give a file, or the storage's own URL (s3://…)",
        ),
        ("folder.csv", "folder.csv is a folder; name a file in it"),
        ("a.csv/plan.csv", "plan.list: "),
    ],
)
def test_where_a_list_cannot_be_is_refused_before_any_work(
    job: Callable[..., Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, target: str, said: str
) -> None:
    monkeypatch.setattr(plan_job, "prepare", lambda *_, **__: pytest.fail("work was begun"))
    if target == "folder.csv":
        (tmp_path / target).mkdir()
        target = str(tmp_path / target)
    if target == "a.csv/plan.csv":
        (tmp_path / "a.csv").write_text("a file where a folder should be")
        target = str(tmp_path / target)
    status, _, seen = job(f"plan.list={target}", f"output.uri={tmp_path}/out", main=plan_job.main)
    assert (status, said in seen) == (2, True)


def test_a_list_that_a_run_would_read_is_refused(job: Callable[..., Any], demo_copy: Path, tmp_path: Path) -> None:
    where = (f"input.uri={demo_copy}", f"output.uri={demo_copy}/out")
    status, _, seen = job(*where, f"plan.list={demo_copy}/plan.parquet", main=plan_job.main)
    assert (status, "is below the input, so that a run would read it" in seen) == (2, True)
    assert not (demo_copy / "plan.parquet").exists()
    assert job(*where, f"plan.list={demo_copy}/out/plan.parquet", main=plan_job.main)[0] == 0


def test_a_list_that_is_not_finished_leaves_the_last_one(
    job: Callable[..., Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    true_rows = plan_list.rows

    def broken(*of: Any) -> Iterator[Row]:
        yield next(true_rows(*of))
        raise OSError(5, "broken")

    for suffix in ("parquet", "csv"):
        target = tmp_path / f"plan.{suffix}"
        target.write_bytes(b"the last one")
        monkeypatch.setattr(plan_list, "rows", broken)
        assert job(f"plan.list={target}", f"output.uri={tmp_path}/out", main=plan_job.main)[0] == 1
        assert target.read_bytes() == b"the last one"
        assert not [each for each in tmp_path.iterdir() if each.name.endswith(".tmp")]


def test_a_list_on_s3_with_its_own_options(job: Callable[..., Any], tmp_path: Path, s3_options: dict[str, Any]) -> None:
    target = f"s3://bucket/{tmp_path.name}/plan.csv"
    config = tmp_path / "config.yaml"
    config.write_text(
        json.dumps(
            {
                "input": {"uri": "demo/audio"},
                "output": {"uri": f"{tmp_path}/out"},
                "model": {"name": str(DEMO_MODEL)},
                "plan": {"list": target, "storage_options": s3_options},
            }
        )
    )
    status, summary, _ = job(config=str(config), main=plan_job.main)
    assert status == 0
    rows = list(csv.DictReader(Place.at(target, s3_options).read().decode().splitlines()))
    assert Counter(row["verdict"] for row in rows) == summary["list"]["verdicts"]
    assert summary["list"]["uri"] == target


def test_changes_are_named() -> None:
    before = Version('W/"a/b"/1000/None/', "t1")
    assert changes_between(before, before, "audio") == []
    assert changes_between(before, Version("c/2000/None/", "t1"), "audio") == [
        "size was 1,000 bytes and is 2,000",
        "version (ETag or date) changed",
    ]
    of_tar = changes_between(Version("c/9/3/aa", ""), Version("c/9/None/bb", "t"), "tar")
    assert of_tar == [
        "recordings to read were 3 and are all",
        "lines of its manifest select other recordings",
        "lines of its manifest new",
    ]
    assert changes_between(Version("nonsense"), Version("c/9/3/aa"), "tar") == ["its version changed"]
