"""A few files to standard output: the texts of the job, without Ray and without an output."""

import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
from conftest import DEMO_MODEL, ROOT, encoded, tone

from actors.schema import WarningKind
from jobs import transcribe_file

MODEL = ("--model", str(DEMO_MODEL))
AUDIO = ROOT / "demo" / "audio"
SPOKEN = AUDIO / "loose" / "00.wav"
TEXT = "今天早上司机在公园买东西"

Called = Callable[..., tuple[int, list[str], str]]


@pytest.fixture
def call(capfd: pytest.CaptureFixture[str]) -> Called:
    """Calls the job in this process; returns its status, the lines of standard output, and standard error."""

    def run(*arguments: str | Path) -> tuple[int, list[str], str]:
        status = transcribe_file.main([*map(str, arguments)])
        out, err = capfd.readouterr()
        return status, out.splitlines(), err

    return run


@pytest.mark.usefixtures("ray_two_cpus")
def test_its_texts_are_those_of_the_job(job: Any, call: Called, tmp_path: Path) -> None:
    """Also of recordings in several segments, and in several pieces."""
    status, _, _ = job(f"output.uri={tmp_path / 'out'}", "errors.max_fraction=1")
    assert status == 0
    rows = [row for part in (tmp_path / "out").glob("part-*") for row in pq.read_table(part).to_pylist()]
    files = [path for folder in ("long", "loose") for path in sorted((AUDIO / folder).iterdir())]
    files = [path for path in files if path.suffix not in (".txt", ".json")]
    for options in (["--config", "configs/demo.yaml"], [*MODEL, "text.itn=zh"]):
        status, lines, err = call(*files, *options, "--json")
        assert status == 1, "some are broken"
        found = {each["uri"]: each["segments"] for each in map(json.loads, lines)}
        assert len(found) == len(files)
        assert max(map(len, found.values())) > 10
        for uri, segments in found.items():
            own = sorted((row for row in rows if row["uri"] == uri), key=lambda row: row["segment_index"])
            for name in ("text", "written", "start_s", "end_s", "confidence", "tokens", "error_kind"):
                assert [row[name] for row in own] == [each.get(name) for each in segments], (uri, name)
        broken = [row["error_detail"] for row in rows if row["error_kind"] and row["uri"] in found]
        assert len(broken) == 3
        assert all(detail in err for detail in broken)
    status, lines, _ = call(*files, *MODEL, "text.itn=zh")
    texts = dict(line.split("\t") for line in lines)
    assert list(texts) == [str(path) for path in files if f"file://{path}" in found and str(path) in texts]
    for path in files:
        written = [row["written"] for row in rows if row["uri"] == f"file://{path}" and row["text"] is not None]
        assert texts.get(str(path), "") == "".join(written)


def test_one_file_is_its_text_and_nothing_else(call: Called, tmp_path: Path) -> None:
    assert call(SPOKEN, *MODEL)[:2] == (0, [TEXT])
    name = tmp_path / "会议 [1] 'a'\tb.wav"
    shutil.copy(SPOKEN, name)
    assert call(name, *MODEL)[:2] == (0, [TEXT])
    assert call(name, SPOKEN, *MODEL)[1] == [f"{str(name).replace(chr(9), ' ')}\t{TEXT}", f"{SPOKEN}\t{TEXT}"]
    assert sorted(path.name for path in tmp_path.iterdir() if path.name != "cache") == [name.name]


def test_an_option_and_a_value_stand_anywhere(call: Called) -> None:
    assert call(*MODEL, SPOKEN, "audio.channel=0")[:2] == (0, [TEXT])
    assert call("audio.channel=0", SPOKEN, f"model.name={DEMO_MODEL}")[:2] == (0, [TEXT])


def test_what_fails_is_told_and_the_others_are_transcribed(call: Called, tmp_path: Path) -> None:
    (tmp_path / "empty.wav").touch()
    (tmp_path / "notes.txt").write_text("no audio", encoding="utf-8")
    (tmp_path / "text.wav").write_text("no audio", encoding="utf-8")
    names = ("missing.wav", "empty.wav", "notes.txt", "text.wav")
    status, lines, err = call(*(tmp_path / name for name in names), SPOKEN, *MODEL)
    assert (status, lines) == (1, [f"{SPOKEN}\t{TEXT}"])
    for name in names:
        assert f"{tmp_path / name}: " in err
    assert "holds no file, or does not exist" in err
    assert "the file has no bytes (empty)" in err
    assert "Traceback" not in err


def test_a_folder_and_a_tar_are_all_that_they_hold(call: Called, tmp_path: Path) -> None:
    for name in ("a", "b"):
        (tmp_path / "in" / name).mkdir(parents=True)
        shutil.copy(SPOKEN, tmp_path / "in" / name / "c.wav")
    assert call(tmp_path / "in", *MODEL)[:2] == (0, [f"{name}/c.wav\t{TEXT}" for name in "ab"])
    shard = sorted(AUDIO.glob("shards/*.tar"))[0]
    status, lines, _ = call(shard, *MODEL)
    assert (status, len({line.split("\t")[0] for line in lines})) == (0, len(lines))
    assert len(lines) > 10


def test_subtitles_are_of_one_file(call: Called) -> None:
    status, lines, _ = call("--srt", AUDIO / "long" / "interview.mp3", *MODEL)
    assert (status, lines[0]) == (0, "1")
    assert lines[1].startswith("00:00:0")
    status, lines, err = call("--srt", SPOKEN, SPOKEN, *MODEL)
    assert (status, lines) == (2, [])
    assert "--srt writes the subtitles of one file" in err


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        ((SPOKEN,), "no model is given; name one, as in --model MODEL.nemo"),
        ((SPOKEN, "--model", "nowhere.nemo"), "nowhere.nemo"),
        (("text.itn=zh", *MODEL), "no file is given"),
        ((SPOKEN, *MODEL, "text.itm=zh"), "text.itm: no such key; did you mean text.itn?"),
        ((SPOKEN, "--config", "nowhere.yaml"), "there is no config file 'nowhere.yaml'"),
    ],
)
def test_what_is_needed_is_asked_for(call: Called, arguments: tuple[str, ...], told: str) -> None:
    status, lines, err = call(*arguments)
    assert (status, lines) == (2, [])
    assert told in err


def test_no_reader_of_standard_output_ends_it_with_a_sentence() -> None:
    command = [sys.executable, "-m", "jobs", "transcribe-file", str(SPOKEN), *MODEL]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stdout
        assert process.stderr
        process.stdout.close()
        err = process.stderr.read()
    assert process.returncode == 1
    assert "a transcript could not be written to standard output: Broken pipe" in err
    assert "Traceback" not in err


def test_it_starts_no_ray_and_leaves_nothing(tmp_path: Path) -> None:
    (tmp_path / "a.wav").write_bytes(encoded(tone(1)))
    program = "import sys\nfrom jobs import transcribe_file\n"
    program += f"assert transcribe_file.main(['a.wav', '--model', {str(DEMO_MODEL)!r}]) == 0\n"
    program += "assert not {'ray', 'nemo'} & set(sys.modules)"
    environment = {"PYTHONPATH": str(ROOT), "TMPDIR": str(tmp_path), "CITRASCRIBE_CACHE": str(tmp_path / "cache")}
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=tmp_path, env=environment, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.wav", "cache"]


def test_json_is_shown_on_a_terminal_too(call: Called, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where summaries are not, beside the tables that say the same."""
    monkeypatch.setattr(type(sys.stdout), "isatty", lambda _: True)
    status, lines, _ = call(SPOKEN, *MODEL, "--json")
    assert (status, json.loads(lines[-1])["text"]) == (0, TEXT)


@pytest.mark.parametrize("options", [[], ["--json"], ["--srt"], ["-q"]])
def test_what_a_text_lacks_is_said(call: Called, tmp_path: Path, options: list[str]) -> None:
    (tmp_path / "half.wav").write_bytes(SPOKEN.read_bytes()[:20_000])
    status, lines, err = call(tmp_path / "half.wav", *MODEL, *options)
    assert (status, bool(lines)) == (0, True)
    assert f"{tmp_path}/half.wav: the sound ends before its header says" in err


def test_every_warning_has_a_sentence() -> None:
    assert {*transcribe_file.WARNINGS} == {*WarningKind}
