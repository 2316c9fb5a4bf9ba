"""The job, end to end: real audio to Parquet that is read as its users read it."""

import io
import json
import os
import shutil
import tarfile
from pathlib import Path
from typing import Any

import duckdb
import numpy as np
import pandas as pd
import pyarrow.dataset as ds
import pytest
import s3fs
from conftest import DEMO_MODEL, S3_KEY, S3_SECRET, encoded, free_port, tone

from actors.schema import PART_SCHEMA
from jobs import plan, transcribe
from jobs.running import connect


def table_of(folder: Path) -> pd.DataFrame:
    return pd.read_parquet(sorted(folder.glob("*.parquet"))).set_index("recording_id")


def forbid_ray(monkeypatch: pytest.MonkeyPatch) -> None:
    def started(*_: Any) -> None:
        raise AssertionError("Ray was started")

    monkeypatch.setattr(connect, "connect_ray", started)


@pytest.mark.usefixtures("ray_two_cpus")
def test_the_demo_and_what_happens_to_it(
    job: Any, demo_copy: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "out"
    where = (f"input.uri={demo_copy}", f"output.uri={out}")

    _, dry, seen = job(*where, main=plan.main)
    assert dry["units"]["new"] > 3
    assert dry["objects"] == {"audio": 23, "manifest": 14, "parquet": 1, "tar": 2}
    assert dry["files"] == {"listed": 54, "read": 27, "companions": 20, "spoken_of": 7, "skipped": {}}
    assert not out.exists()

    status, summary, seen = job(*where)
    assert status == 0
    assert summary["recordings"] == 77
    assert summary["files"] == dry["files"]
    assert summary["errors"] == {"empty": 1, "not_audio": 1, "unreadable": 1}
    assert summary["cer"] <= 0.03
    assert summary["units"] == {"planned": dry["units"]["new"], "skipped": 0, "done": dry["units"]["new"]}
    assert "今天早上司机在公园买东西" in seen
    assert "broken-text.wav" in seen
    assert json.loads((out / "_runs" / "000001" / "summary.json").read_text()) == summary

    found = table_of(out)
    assert len(found) == 135
    right = found[found["end_s"] == found["duration_s"]].query("segment_index == 0")
    assert len(right) == 72
    assert (right["text"] == right["reference"]).mean() > 0.9
    assert found.loc["loose/broken-half.m4a", "error_kind"] == "unreadable"
    assert ds.dataset(sorted(map(str, out.glob("*.parquet")))).schema == PART_SCHEMA
    counted = duckdb.sql(
        f"SELECT count(*), count(text), count(DISTINCT (uri, member, offset_s)) FROM '{out}/*.parquet'"
    )
    assert counted.fetchall() == [(135, 132, 77)]

    # Nothing to do, and Ray is not started for it.
    with monkeypatch.context() as patch:
        forbid_ray(patch)
        status, summary, _ = job(*where)
        assert (status, summary["units"]["planned"], summary["units"]["skipped"]) == (0, 0, dry["units"]["new"])
        assert summary["totals"] == {"recordings": 77, "errors": 3, "accepted": 0}
        status, summary, seen = job(*where, "errors.max_fraction=0.01")
        assert status == 3
        assert "3.9% of the recordings" in seen
        assert job(*where, main=plan.main)[1]["units"] == dry["units"] | {"new": 0, "done": dry["units"]["new"]}

    # A new object, a changed one, and a part that somebody deleted.
    before = {part.name: part.stat().st_mtime_ns for part in out.glob("*.parquet")}
    shutil.copy(demo_copy / "loose" / "03.wav", demo_copy / "loose" / "new.wav")
    shutil.copy(demo_copy / "loose" / "07.wav", demo_copy / "loose" / "00.wav")
    shards = found.loc[found["uri"].str.endswith("speech-000.tar")]
    gone = next(
        part for part in out.glob("*.parquet") if shards.index[0] in pd.read_parquet(part)["recording_id"].tolist()
    )
    gone.unlink()
    status, summary, _ = job(*where)
    assert status == 0
    again = table_of(out)
    assert len(again) == 136
    assert again.loc["loose/00.wav", "text"] == found.loc["loose/07.wav", "text"]
    assert again.loc["loose/new.wav", "text"] == found.loc["loose/03.wav", "text"]
    same = again.index.intersection(found.index).drop("loose/00.wav")
    assert (again.loc[same, "text"].fillna("-") == found.loc[same, "text"].fillna("-")).all()
    untouched = [name for name, at in before.items() if (out / name).exists() and (out / name).stat().st_mtime_ns == at]
    assert len(untouched) == len(before) - 2
    assert len(list(out.glob("_commits/*"))) == len(list(out.glob("*.parquet")))


@pytest.mark.usefixtures("ray_two_cpus")
def test_a_little_that_is_new_in_much_that_is_done(job: Any, speech: Any, tmp_path: Path) -> None:
    archive, out = tmp_path / "archive", tmp_path / "out"
    where = (f"input.uri={archive}", f"output.uri={out}", f"model.name={DEMO_MODEL}", "unit.target_minutes=0.5")
    archive.mkdir()
    stretches = [encoded(samples[start : start + 4_000]) for samples, _ in speech for start in (0, 8_000, 16_000)]
    for number in range(5_000):
        (archive / f"{number:04d}.wav").write_bytes(stretches[number % len(stretches)])
    status, summary, _ = job(*where)
    assert (status, summary["recordings"], summary["errors"]) == (0, 5_000, {})
    before = table_of(out)
    written = {part.name: part.stat().st_mtime_ns for part in out.glob("*.parquet")}
    holds = {name: set(pd.read_parquet(out / name)["recording_id"]) for name in written}

    for number in (1, 2, 3):
        (archive / f"new-{number}.wav").write_bytes(encoded(speech[number][0]))
    for name in ("0100.wav", "4000.wav"):
        (archive / name).write_bytes(encoded(speech[5][0]))
    (archive / "2500.wav").unlink()
    status, summary, _ = job(*where)
    assert (status, summary["units"]["planned"], summary["units"]["skipped"]) == (0, 3, len(written) - 2)
    untouched = {name for name, at in written.items() if (out / name).stat().st_mtime_ns == at}
    assert {name for name, held in holds.items() if held & {"0100.wav", "4000.wav"}} == written.keys() - untouched
    after = table_of(out)
    assert sorted(after.index.difference(before.index)) == ["new-1.wav", "new-2.wav", "new-3.wav"]
    assert (after.loc[["0100.wav", "4000.wav"], "text"] == before.loc[["0100.wav", "4000.wav"], "text"]).sum() == 0
    same = before.index.drop(["0100.wav", "4000.wav"])  # the deleted one among them: output.on_deleted is keep
    assert (after.loc[same, "text"] == before.loc[same, "text"]).all()


@pytest.mark.usefixtures("ray_two_cpus")
def test_a_long_recording_is_rows_that_follow_one_another(job: Any, speech: Any, tmp_path: Path) -> None:
    archive, out = tmp_path / "archive", tmp_path / "out"
    archive.mkdir()
    sound = np.concatenate([part for samples, _ in speech for part in (samples, np.zeros(8_000))])
    (archive / "long.flac").write_bytes(encoded(sound, kind="FLAC"))
    (archive / "long.txt").write_text("".join(text for _, text in speech))
    where = (f"input.uri={archive}", f"output.uri={out}", f"model.name={DEMO_MODEL}")
    status, summary, _ = job(*where, "output.tokens=true")
    assert (status, summary["recordings"], summary["totals"]["recordings"]) == (0, 1, 1)
    assert summary["cer"] <= 0.01
    rows = table_of(out).sort_values("segment_index")
    assert len(rows) == summary["segments"] > 4
    assert rows["segment_index"].tolist() == list(range(len(rows)))
    assert rows["start_s"].tolist() == [0.0, *rows["end_s"].tolist()[:-1]]
    assert rows["end_s"].iloc[-1] == rows["duration_s"].iloc[0] == len(sound) / 16_000
    assert (rows["reference"].notna() == (rows["segment_index"] == 0)).all()
    assert rows["confidence"].between(0.5, 1).all()
    for _, row in rows.iterrows():
        assert "".join(token["token"] for token in row["tokens"]) == row["text"]
        starts = [token["start_s"] for token in row["tokens"]]
        assert starts == sorted(starts)
        assert row["start_s"] - 1.6 <= starts[0] <= starts[-1] <= row["end_s"] + 1.6


@pytest.mark.usefixtures("ray_two_cpus")
def test_one_actor_or_two_give_the_same_text(job: Any, tmp_path: Path) -> None:
    where = ("input.uri=demo/audio/manifest", "unit.target_minutes=0.1", "model.precision=float32")
    texts = []
    for actors in ("[1, 1]", "[2, 2]"):
        out = tmp_path / actors
        assert job(*where, f"ray.actors={actors}", f"output.uri={out}")[0] == 0
        texts.append(table_of(out).set_index("offset_s", append=True)["text"].to_dict())
    assert len(texts[0]) == 14
    assert texts[0] == texts[1]


@pytest.mark.usefixtures("ray_two_cpus")
def test_s3_to_s3_with_another_citrinet(
    job: Any, lively_model: Any, s3_options: dict[str, Any], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    store = s3fs.S3FileSystem(**s3_options)
    store.put("demo/audio/", "bucket/archive/2026/", recursive=True)
    store.put_file(str(lively_model("pieces", sentencepiece=True)), "bucket/m.nemo")
    monkeypatch.setenv("TEST_S3_KEY", S3_KEY)
    monkeypatch.setenv("TEST_S3_SECRET", S3_SECRET)
    options = f"{{endpoint_url: '{s3_options['endpoint_url']}', key: 'env:TEST_S3_KEY', secret: 'env:TEST_S3_SECRET'}}"
    where = ["input.uri=s3://bucket/archive/2026", "output.uri=s3://bucket/text", "model.name=s3://bucket/m.nemo"]
    where += [f"{section}.storage_options={options}" for section in ("input", "output", "model")]

    status, summary, seen = job(*where)
    assert (status, summary["recordings"], sum(summary["errors"].values())) == (0, 77, 3)
    store.get("bucket/text/", str(tmp_path / "text"), recursive=True)
    found = table_of(tmp_path / "text")
    assert len(found) == 135
    assert found["text"].nunique() > 40
    assert found.loc["loose/00.wav", "uri"] == "s3://bucket/archive/2026/loose/00.wav"
    forbid_ray(monkeypatch)
    assert job(*where)[1]["units"]["planned"] == 0
    everything = b"".join(path.read_bytes() for path in (tmp_path / "text").rglob("*") if path.is_file())
    assert S3_SECRET.encode() not in everything + seen.encode()
    assert b"endpoint_url" not in everything


@pytest.mark.usefixtures("ray_two_cpus")
def test_every_recording_in_gives_a_row_out_and_text_is_harmless(job: Any, tmp_path: Path) -> None:
    archive = tmp_path / "archive"
    archive.mkdir()
    evil = "\x1b[31m\x07[bold]今天[/bold]\u202e"
    (archive / "a.wav").write_bytes(encoded(tone(1)))
    (archive / "a.txt").write_text(evil)
    for name in ("b.mp3", "[red]c.flac", "d e.tar", "ü.parquet"):
        (archive / name).write_bytes(b"not what it says")
    (archive / "e.tar").write_bytes(b"")
    (archive / "manifest.jsonl").write_text('{"audio_filepath": "x.wav"}\nnonsense\n')
    status, summary, seen = job(f"input.uri={archive}", f"output.uri={tmp_path}/out", f"model.name={DEMO_MODEL}")
    assert (status, summary["recordings"], sum(summary["errors"].values())) == (3, 8, 7)
    assert "\x1b[31m" not in seen
    assert "\x07" not in seen
    assert "\u202e" not in seen
    assert table_of(tmp_path / "out").loc["a.wav", "reference"] == evil


@pytest.mark.usefixtures("ray_two_cpus")
def test_a_run_that_cannot_commit_fails_and_says_why(job: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    out = tmp_path / "out"
    one = ("input.uri=demo/audio/loose", "input.limit=1", f"output.uri={out}")
    assert job(*one)[0] == 0
    (part,) = out.glob("*.parquet")
    part.unlink()
    part.mkdir()  # nothing can be renamed over a folder
    status, summary, seen = job(*one)
    assert status == 1
    assert summary["units"] == {"planned": 1, "skipped": 0, "done": 0}
    assert "was not committed: IsADirectoryError" in seen
    assert "run the job again" in seen
    part.rmdir()
    shutil.rmtree(out / "_commits")
    (out / "_commits").write_text("a file where a folder should be")
    status, summary, seen = job(*one)
    assert (status, summary["status"]) == (2, 2)
    assert f"{out}/_commits" in seen
    assert "Traceback" not in seen


@pytest.mark.usefixtures("ray_two_cpus")
def test_a_checkpoint_with_broken_weights_is_told_in_a_line(job: Any, tmp_path: Path) -> None:
    with tarfile.open(DEMO_MODEL) as good, tarfile.open(tmp_path / "bad.nemo", "w") as bad:
        for member in good:
            content = good.extractfile(member)
            data = content.read() if content else b""
            if member.name.endswith(".ckpt"):
                data = bytes(len(data))
            bad.addfile(member, io.BytesIO(data))
    status, summary, seen = job("input.limit=2", f"output.uri={tmp_path}/out", f"model.name={tmp_path}/bad.nemo")
    assert (status, summary["status"]) == (2, 2)  # found when planning
    assert f"configuration: model.name: {tmp_path}/bad.nemo: its weights cannot be read: " in seen
    assert "Traceback" not in seen


def test_storage_out_of_reach_is_told_in_a_line(job: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    forbid_ray(monkeypatch)
    nowhere = f"input.storage_options={{endpoint_url: 'http://127.0.0.1:{free_port()}', anon: true}}"
    no_profile = "input.storage_options={profile: none-such}"
    for options, expected, word in ((nowhere, 1, "storage: "), (no_profile, 2, "configuration: ")):
        status, summary, seen = job("input.uri=s3://bucket/x", f"output.uri={tmp_path}/out", options)
        assert (status, summary["status"]) == (expected, expected)
        assert word in seen
        assert "Traceback" not in seen


def test_mistakes_end_before_any_work(job: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    forbid_ray(monkeypatch)
    for override, message in {
        f"input.uri={tmp_path}/none": "input.uri:",
        "model.name=none.nemo": "model.name: there is no file",
        "input.fromat=tar": "did you mean input.format",
        "output.uri=nosuch://x": "nosuch",
    }.items():
        status, summary, seen = job(f"output.uri={tmp_path}/out", override)
        assert (status, summary["status"]) == (2, 2)
        assert message in seen
        assert "Traceback" not in seen
    monkeypatch.setenv("RAY_ADDRESS", "127.0.0.1:1")
    status, _, seen = job("output.uri=relative")
    assert status == 2
    assert "on a cluster each machine" in seen
    assert not (tmp_path / "out").exists()
    if os.geteuid():
        (tmp_path / "locked").mkdir(mode=0o500)
        assert job(f"output.uri={tmp_path}/locked/out")[0] == 2


def test_help_is_worth_reading(capsys: pytest.CaptureFixture[str]) -> None:
    for main in (transcribe.main, plan.main):
        with pytest.raises(SystemExit):
            main(["--help"])
        said = capsys.readouterr().out
        assert "examples:" in said
        assert "configs/demo.yaml" in said
