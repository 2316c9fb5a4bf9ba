"""Files of recordings that are gone are removed by the next export; nothing else ever is."""

import json
import os
import shutil
from pathlib import Path
from typing import Any

import pytest
from test_export import files_in, output_of, row_of

from actors.storage.place import Place
from jobs import export
from jobs.transcripts import exported as lists
from jobs.transcripts.exported import ExportedFiles


def output(folder: Path, *names: str, **columns: Any) -> Path:
    """An output of recordings, in place of the one that was there."""
    shutil.rmtree(folder, ignore_errors=True)
    rows = [row_of(name, text="今天天气很好", confidence=0.9 if name != "unsure.wav" else 0.2) for name in names]
    return output_of([row | columns for row in rows], folder)


def exported(job: Any, output: Path, into: Path, *more: str, status: int = 0) -> dict[str, Any]:
    found, summary, _ = job(f"output.uri={output}", f"export.uri={into}", *more, main=export.main)
    assert found == status
    return dict(summary)


def list_in(folder: Path) -> Path:
    found, *_ = (each for each in folder.glob(".exported.*") if each.is_file())
    return found


def test_the_file_of_a_recording_that_is_gone(job: Any, tmp_path: Path) -> None:
    out, into = tmp_path / "out", tmp_path / "into"
    exported(job, output(out, "a/1.wav", "a/2.wav", "b/c/3.wav", "unsure.wav"), into)
    (into / "a" / "own.srt").write_text("mine")
    (into / "other.srt").write_text("mine")
    assert exported(job, output(out, "a/1.wav", "unsure.wav"), into)["removed"] == 2
    assert files_in(into) == ["a/1.srt", "a/own.srt", "other.srt", "unsure.srt"]
    assert not (into / "b").exists()
    assert exported(job, out, into, "export.min_confidence=0.5")["removed"] == 1
    assert files_in(into) == ["a/1.srt", "a/own.srt", "other.srt"]
    failed = output(out, "a/1.wav", "2.wav", error_kind="crashed", start_s=None, end_s=None, confidence=None, text=None)
    assert exported(job, failed, into)["removed"] == 1
    assert files_in(into) == ["a/own.srt", "other.srt"]
    exported(job, output(out, "a/1.wav"), into)
    assert files_in(into) == ["a/1.srt", "a/own.srt", "other.srt"]


def test_a_file_that_someone_changed_stays(job: Any, tmp_path: Path) -> None:
    out, into = tmp_path / "out", tmp_path / "into"
    exported(job, output(out, "1.wav", "2.wav", "3.wav", "4.wav"), into)
    (into / "2.srt").write_text("corrected by hand")
    before = (into / "3.srt").read_bytes()
    (into / "3.srt").write_bytes(before.replace("好".encode(), "坏".encode()))  # of the same length
    (into / "4.srt").unlink()
    (into / "4.srt").symlink_to(into / "1.srt")  # whose content is the same
    assert exported(job, output(out, "1.wav"), into)["removed"] == 0
    assert files_in(into) == ["1.srt", "2.srt", "3.srt", "4.srt"]


def test_each_output_and_suffix_has_its_own_list(job: Any, tmp_path: Path) -> None:
    into = tmp_path / "into"
    exported(job, output(tmp_path / "one", "1.wav", "2.wav"), into)
    exported(job, output(tmp_path / "two", "3.wav"), into)
    exported(job, output(tmp_path / "two", "4.wav"), into, "export.format=vtt")
    assert files_in(into) == ["1.srt", "2.srt", "3.srt", "4.vtt"]
    exported(job, output(tmp_path / "two", "5.wav"), into)
    assert files_in(into) == ["1.srt", "2.srt", "4.vtt", "5.srt"]
    exported(job, output(tmp_path / "one", "2.wav"), into, "export.format=text")  # one file
    assert files_in(into) == ["1.srt", "2.srt", "4.vtt", "5.srt", "all.txt"]


def test_what_another_output_wrote_to_the_same_file_stays(job: Any, tmp_path: Path) -> None:
    one, two, into = tmp_path / "one", tmp_path / "two", tmp_path / "into"
    exported(job, output(one, "1.wav", "2.wav"), into)
    exported(job, output(two, "1.wav", "2.wav"), into)  # with the same content
    assert exported(job, output(one, "1.wav"), into)["removed"] == 0
    assert files_in(into) == ["1.srt", "2.srt"]
    assert exported(job, output(two, "1.wav"), into)["removed"] == 1  # which nobody claims any more
    assert files_in(into) == ["1.srt"]


def test_a_folder_that_became_a_link_to_another_one(job: Any, tmp_path: Path) -> None:
    out, into = tmp_path / "out", tmp_path / "into"
    exported(job, output(out, "a/1.wav", "2.wav"), into)
    (into / "a").rename(into / "b")
    (into / "a").symlink_to("b")
    (into / "2.srt").unlink()
    (into / "2.srt").symlink_to("2.srt")  # in a circle
    assert exported(job, output(out, "b/1.wav"), into)["removed"] == 0
    assert (into / "b" / "1.srt").exists()


def test_a_recording_that_has_the_name_of_the_list(job: Any, tmp_path: Path) -> None:
    out, into = tmp_path / "out", tmp_path / "into"
    exported(job, output(out, "1.wav"), into)
    name = list_in(into).name
    assert exported(job, output(out, f"{name}/1.wav"), into)["removed"] == 1
    assert list_in(into).is_file()
    assert len(files_in(into)) == 1


@pytest.mark.parametrize(
    "name",
    [
        "../mine.srt",
        "/etc/passwd",
        "link/mine.srt",
        "a/../../mine.srt",
        "",
        "mine.txt",
        "a\0.srt",
        "/".join(["a" * 99] * 50) + ".srt",
    ],
)
def test_a_list_that_names_what_no_export_wrote(job: Any, tmp_path: Path, name: str) -> None:
    out, into = tmp_path / "out", tmp_path / "into"
    exported(job, output(out, "1.wav"), into)
    mark = lists.mark_of(b"mine")
    for path in (tmp_path / "mine.srt", into / "mine.txt", tmp_path / "elsewhere" / "mine.srt"):
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(b"mine")
    os.symlink(tmp_path / "elsewhere", into / "link")
    told = json.loads(list_in(into).read_text())
    list_in(into).write_text(json.dumps(told | {"files": {name: mark}}))
    assert exported(job, out, into)["removed"] == 0
    assert (tmp_path / "mine.srt").exists()
    assert (into / "mine.txt").exists()
    assert (tmp_path / "elsewhere" / "mine.srt").exists()


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b'{"files": 3}', b'{"files": {"1.srt": 3}}', b"\xff"])
def test_a_list_that_is_none(job: Any, tmp_path: Path, content: bytes) -> None:
    out, into = tmp_path / "out", tmp_path / "into"
    exported(job, output(out, "1.wav", "2.wav"), into)
    list_in(into).write_bytes(content)
    assert exported(job, output(out, "1.wav"), into)["removed"] == 0
    assert files_in(into) == ["1.srt", "2.srt"]
    assert [*json.loads(list_in(into).read_text())["files"]] == ["1.srt"]


def test_nothing_is_removed_where_not_all_could_be_read(job: Any, tmp_path: Path) -> None:
    out, into = tmp_path / "out", tmp_path / "into"
    exported(job, output(out, "1.wav", "2.wav"), into)
    bad = output_of([row_of("1.wav", text="好"), row_of("2.wav", text="好", start_s=float("nan"))], tmp_path / "bad")
    shutil.rmtree(out)
    bad.rename(out)
    summary = exported(job, out, into, status=1)
    assert (summary["invalid"], summary["removed"]) == (1, 0)
    assert files_in(into) == ["1.srt", "2.srt"]
    assert exported(job, output(out, "1.wav"), into)["removed"] == 1


def test_an_export_that_is_cut_off_removes_nothing_and_forgets_nothing(
    job: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out, into = tmp_path / "out", tmp_path / "into"
    exported(job, output(out, "1.wav", "2.wav"), into)
    with monkeypatch.context() as patch:
        patch.setattr(export.ExportedFiles, "remove_others", lambda *_: os.kill(os.getpid(), 2))
        exported(job, output(out, "1.wav", "3.wav"), into, status=1)
    assert files_in(into) == ["1.srt", "2.srt", "3.srt"]
    assert exported(job, output(out, "1.wav"), into)["removed"] == 2
    assert files_in(into) == ["1.srt"]


def test_a_list_is_saved_as_it_grows(tmp_path: Path) -> None:
    target = Place.at(str(tmp_path))
    written = ExportedFiles(target, ".srt", "out")
    for number in range(lists.FIRST_SAVE * 2):
        written.add(f"{number}.srt", b"x")
        if number + 1 == lists.FIRST_SAVE * 3 // 2:
            assert len(json.loads(list_in(tmp_path).read_text())["files"]) == lists.FIRST_SAVE
    assert len(json.loads(list_in(tmp_path).read_text())["files"]) == 2 * lists.FIRST_SAVE


def test_names_that_differ_in_case_alone(tmp_path: Path) -> None:
    target = Place.at(str(tmp_path))
    (tmp_path / "A.srt").write_bytes(b"x")
    first = ExportedFiles(target, ".srt", "out")
    first.add("A.srt", b"x")
    first.save()
    second = ExportedFiles(target, ".srt", "out")
    second.add("a.srt", b"x")  # the same file, on a disk that ignores case
    assert second.remove_others(set()) == 0
    assert (tmp_path / "A.srt").exists()


def test_in_a_bucket(job: Any, tmp_path: Path, s3_options: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", s3_options["key"])
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", s3_options["secret"])
    options = f"export.storage_options={{endpoint_url: '{s3_options['endpoint_url']}'}}"
    keys = ["export.uri=s3://bucket/subtitles", options]
    assert job(f"output.uri={output(tmp_path / 'out', '1.wav', 'a/2.wav')}", *keys, main=export.main)[0] == 0
    _, summary, _ = job(f"output.uri={output(tmp_path / 'out', '1.wav')}", *keys, main=export.main)
    assert summary["removed"] == 1
    place = Place.at("s3://bucket/subtitles", s3_options)
    assert ((place / "1.srt").exists(), (place / "a/2.srt").exists()) == (True, False)


def test_times_that_are_spread_are_said(job: Any, tmp_path: Path) -> None:
    out = output(tmp_path / "out", "1.wav", "2.wav")
    status, summary, seen = job(f"output.uri={out}", main=export.main)
    assert (status, summary["spread"]) == (0, 2)
    assert "2 recordings have no times within their segments" in seen
    assert "output.tokens=true" in seen
    _, summary, seen = job(f"output.uri={out}", "export.format=text", main=export.main)
    assert summary["spread"] == 0
    assert "spread evenly" not in seen
