"""What is heard once is not heard again: texts are decoded anew from emissions, references and what is gone are brought
up to date from rows, and neither audio nor an actor is needed for it."""

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import s3fs
from conftest import DEMO_MODEL, S3_KEY, S3_SECRET, encoded
from test_pieces import tar_of
from test_transcribe import forbid_ray

from jobs import plan

FROM_ROWS = {"rows": 1, "emissions": 0, "audio": 0}


def rows_of(folder: str | Path, **storage: Any) -> dict[tuple[Any, ...], dict[str, Any]]:
    """The rows of an output by their keys, but for which run made them and when."""
    filesystem = s3fs.S3FileSystem(skip_instance_cache=True, **storage) if storage else None
    paths = filesystem.glob(f"{folder}/*.parquet") if filesystem else sorted(Path(folder).glob("*.parquet"))
    table = pd.concat([pd.read_parquet(path, filesystem=filesystem) for path in paths])
    table = table.drop(columns=["run_id", "transcribed_at"]).astype(object).where(table.notna(), None)
    key = ["uri", "member", "offset_s", "stretch_s", "channel", "segment_index"]
    rows = {tuple(row[name] for name in key): row for row in table.to_dict("records")}
    assert len(rows) == len(table)
    for row in rows.values():
        if row["tokens"] is not None:
            row["tokens"] = [dict(each) for each in row["tokens"]]
        row["warning"] = None if row["warning"] is None else list(row["warning"])
    return rows


def without_sound(folder: Path) -> None:
    """Makes all audio unreadable, but for its times and sizes, by which it counts as unchanged."""
    for path in [*folder.rglob("*")]:
        if path.is_file() and path.suffix not in (".txt", ".json", ".jsonl", ".csv", ".scp"):
            status = path.stat()
            path.write_bytes(bytes(status.st_size))
            os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))


@pytest.mark.usefixtures("ray_two_cpus")
def test_the_demo_is_said_and_written_anew_without_hearing_it(
    job: Any, demo_copy: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    where = (f"input.uri={demo_copy}", f"output.uri={tmp_path / 'out'}", "output.emissions=true")
    status, heard, _ = job(*where, "output.tokens=false")
    assert (status, heard["rewritten"]) == (0, 0)
    before = rows_of(tmp_path / "out")
    assert all(row["tokens"] is None for row in before.values())
    without_sound(demo_copy)
    forbid_ray(monkeypatch)

    _, dry, _ = job(*where, main=plan.main)
    count = heard["units"]["done"]
    assert (dry["units"]["redo"], dry["redone_from"]) == (count, {"rows": 0, "emissions": count, "audio": 0})
    status, told, seen = job(*where)
    assert (status, told["audio_hours"], told["recordings"]) == (0, 0, 0)
    assert told["units"] == {"planned": count, "skipped": 0, "done": count}
    assert told["rewritten"] == count
    assert told["totals"] == heard["totals"]
    assert f"{count} to redo ({count} from emissions)" in seen
    after = rows_of(tmp_path / "out")
    for key, row in after.items():
        assert row | {"tokens": None} == before[key]
        assert (row["tokens"] is None) == (row["text"] is None)
        assert "".join(token["token"] for token in row["tokens"] or ()) == (row["text"] or "")

    (demo_copy / "loose" / "01.txt").write_text("另一句话")
    _, dry, _ = job(*where, main=plan.main)
    assert (dry["units"]["redo"], dry["redone_from"]) == (1, FROM_ROWS)
    assert dry["reasons"]["redo"] == {"companions of 1 object changed": 1}
    assert job(*where)[1]["rewritten"] == 1
    changed = {key: row for key, row in rows_of(tmp_path / "out").items() if row != after[key]}
    ((key, row),) = changed.items()
    assert row == after[key] | {"reference": "另一句话"}
    assert row["recording_id"] == "loose/01.wav"

    assert job(*where, "output.tokens=false")[1]["rewritten"] == count
    assert {key: row for key, row in rows_of(tmp_path / "out").items() if row != before[key]} == {
        key: before[key] | {"reference": "另一句话"}
    }
    assert job(*where, "output.tokens=false")[1]["units"]["skipped"] == count


@pytest.mark.usefixtures("ray_two_cpus")
def test_what_comes_and_goes_beside_the_audio_is_not_heard(
    job: Any, speech: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Recordings that are removed, and texts, fields and lines that come, change and go."""
    audio, out = tmp_path / "audio", tmp_path / "out"
    audio.mkdir()
    for number in range(40):
        (audio / f"{number:02d}.wav").write_bytes(encoded(speech[number % 5][0][:24_000]))
    (audio / "10.txt").write_text("十")
    (audio / "11.json").write_text('{"text": "十一", "speaker": "a"}')
    where = (f"input.uri={audio}", f"output.uri={out}", "output.on_deleted=remove", "output.max_removed_fraction=0.5")
    assert job(*where)[0] == 0
    before = rows_of(out)
    assert len(before) == 40
    without_sound(audio)
    forbid_ray(monkeypatch)
    for number in (0, 7, 20, 21, 39):
        (audio / f"{number:02d}.wav").unlink()
    (audio / "05.txt").write_text("五")
    (audio / "10.txt").unlink()
    (audio / "11.json").write_text('{"text": "十二", "speaker": "b"}')
    status, told, _ = job(*where)
    assert (status, told["audio_hours"], told["totals"]["recordings"]) == (0, 0, 35)
    assert told["rewritten"] == told["units"]["done"] > 0
    after = {row["recording_id"]: row for row in rows_of(out).values()}
    assert len(after) == 35
    expected = {"05.wav": ("五", None), "10.wav": (None, None), "11.wav": ("十二", '{"speaker": "b"}')}
    for row in before.values():
        name = row["recording_id"]
        if name in after:
            reference, extra = expected.get(name, (row["reference"], row["extra"]))
            assert after[name] == row | {"reference": reference, "extra": extra}
    assert job(*where)[1]["units"]["done"] == 0


@pytest.mark.usefixtures("ray_two_cpus")
def test_lines_of_a_manifest_change_what_is_written_alone(
    job: Any, speech: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    audio = tmp_path / "audio"
    audio.mkdir()
    (audio / "long.wav").write_bytes(encoded(speech[0][0]))

    def write(*lines: tuple[str, float, str]) -> None:
        texts = [
            f'{{"audio_filepath": "long.wav", "id": "{name}", "offset": {offset}, "duration": 1.0, "text": "{text}"}}\n'
            for name, offset, text in lines
        ]
        (audio / "manifest.jsonl").write_text("".join(texts))

    where = (f"input.uri={audio}", f"output.uri={tmp_path / 'out'}")
    write(("a", 0.0, "一"), ("b", 0.5, "二"))
    job(*where)
    before = {row["offset_s"]: row for row in rows_of(tmp_path / "out").values()}
    with monkeypatch.context() as patch:
        forbid_ray(patch)
        write(("a", 0.0, "一"), ("c", 0.5, "三"))
        assert job(*where)[1]["rewritten"] == 1
    after = {row["offset_s"]: row for row in rows_of(tmp_path / "out").values()}
    changed = {"recording_id": "c", "reference": "三", "extra": '{"id": "c"}'}
    assert after == before | {0.5: before[0.5] | changed}
    write(("a", 0.0, "一"), ("c", 0.6, "三"))  # another stretch is another recording
    assert job(*where)[1]["recordings"] == 1


@pytest.mark.usefixtures("ray_two_cpus")
def test_lines_of_a_shard_change_what_is_written_alone(
    job: Any, speech: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    audio = tmp_path / "audio"
    audio.mkdir()
    sounds = [(f"d/{name}.wav", encoded(sound)) for name, (sound, _) in zip("abc", speech, strict=False)]
    (audio / "audio_0.tar").write_bytes(tar_of(sounds))

    def write(*lines: dict[str, Any]) -> None:
        texts = [json.dumps({"shard_id": 0} | line) for line in lines]
        (audio / "manifest_0.json").write_text("\n".join(texts))

    first = {"audio_filepath": "d/a.wav", "duration": 2.0, "text": "一"}
    stretch = {"audio_filepath": "d/b.wav", "offset": 0.5, "duration": 1.0, "text": "二"}
    absent = {"audio_filepath": "d/x.wav", "duration": 2.0, "text": "没有"}
    where = (f"input.uri={audio}", f"output.uri={tmp_path / 'out'}", "errors.max_fraction=1")
    write(first, stretch, absent)
    job(*where)
    before = rows_of(tmp_path / "out")
    assert len(before) == 4
    with monkeypatch.context() as patch:
        forbid_ray(patch)
        write(absent, stretch | {"text": "新", "speaker": "s"}, first | {"id": "first"})
        assert job(*where)[1]["rewritten"] == 1
    rewritten = rows_of(tmp_path / "out")
    assert sum(rewritten[key] != before[key] for key in before) == 2
    shutil.rmtree(tmp_path / "out")
    job(*where)
    assert rewritten == rows_of(tmp_path / "out")
    write(first, stretch | {"offset": 0.6})
    assert job(*where)[1]["recordings"] == 3


@pytest.mark.usefixtures("ray_two_cpus")
def test_many_units_are_rewritten_on_ray(
    job: Any, speech: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    audio = tmp_path / "audio"
    audio.mkdir()
    for number in range(24):
        (audio / f"{number:02d}.wav").write_bytes(encoded(speech[number % 5][0][:24_000]))
    where = (
        f"input.uri={audio}",
        f"output.uri={tmp_path / 'out'}",
        "output.emissions=true",
        "unit.target_minutes=0.001",
    )
    assert job(*where)[1]["units"]["done"] == 24
    before = rows_of(tmp_path / "out")
    without_sound(audio)
    status, told, seen = job(*where, "output.tokens=false")
    assert (status, told["rewritten"], told["audio_hours"]) == (0, 24, 0)
    assert "model" not in seen
    assert rows_of(tmp_path / "out") == {key: row | {"tokens": None} for key, row in before.items()}


@pytest.mark.usefixtures("ray_two_cpus")
def test_without_emissions_a_text_is_heard_again_and_the_plan_says_so(job: Any, tmp_path: Path) -> None:
    where = ("input.uri=demo/audio/loose/0*.wav", f"output.uri={tmp_path / 'out'}")
    job(*where)
    _, dry, seen = job(*where, "output.tokens=false", main=plan.main)
    assert dry["redone_from"] == {"rows": 0, "emissions": 0, "audio": dry["units"]["redo"]}
    assert "output.emissions" in seen
    status, told, seen = job(*where, "output.tokens=false", "output.emissions=true")
    assert (status, told["rewritten"], told["recordings"]) == (0, 0, 8)
    assert "output.emissions" in seen


@pytest.mark.usefixtures("ray_two_cpus")
@pytest.mark.parametrize("harm", [Path.unlink, lambda path: path.write_bytes(path.read_bytes()[:-9] + b"x" * 9)])
def test_emissions_that_are_gone_or_damaged_cost_a_hearing(
    job: Any, tmp_path: Path, harm: Callable[[Path], object]
) -> None:
    where = ("input.uri=demo/audio/loose/0*.wav", f"output.uri={tmp_path / 'out'}", "output.emissions=true")
    job(*where)
    expected = {key: row | {"tokens": None} for key, row in rows_of(tmp_path / "out").items()}
    files = sorted((tmp_path / "out" / "_emissions").iterdir())
    harm(files[0])
    status, told, seen = job(*where, "output.tokens=false")
    if status:  # its damage showed when it was read
        assert "the next run hears its recordings again" in seen
        status, told, _ = job(*where, "output.tokens=false")
    assert (status, told["units"]["done"] - told["rewritten"]) == (0, 1)
    assert rows_of(tmp_path / "out") == expected


@pytest.mark.usefixtures("ray_two_cpus")
def test_from_and_to_s3(
    job: Any, conditional_s3_options: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    s3 = s3fs.S3FileSystem(**conditional_s3_options)
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", S3_KEY)
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", S3_SECRET)
    endpoint = f'{{endpoint_url: "{conditional_s3_options["endpoint_url"]}"}}'
    for name in ("00", "01", "02"):
        for suffix in ("wav", "txt"):
            s3.put(f"demo/audio/loose/{name}.{suffix}", f"bucket/heard/{name}.{suffix}")
    where = ("input.uri=s3://bucket/heard", "output.uri=s3://bucket/heard-out", "output.emissions=true")
    where += (f"input.storage_options={endpoint}", f"output.storage_options={endpoint}", f"model.name={DEMO_MODEL}")
    assert job(*where)[1]["recordings"] == 3
    before = rows_of("bucket/heard-out", **conditional_s3_options)
    forbid_ray(monkeypatch)
    s3.pipe("bucket/heard/01.txt", "新的".encode())
    status, told, _ = job(*where, "output.tokens=false")
    assert (status, told["rewritten"], told["audio_hours"]) == (0, told["units"]["done"], 0)
    after = rows_of("bucket/heard-out", **conditional_s3_options)
    new = {"reference": "新的"}
    assert after == {
        key: row | {"tokens": None} | (new if "01.wav" in row["uri"] else {}) for key, row in before.items()
    }
