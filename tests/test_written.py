"""The column `written` by the whole job: made where texts are made, and of a finished output anew from its rows alone,
which starts no actor and leaves all else bit for bit."""

import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from conftest import ROOT
from hostile_storage import Answer
from test_heard_once import without_sound
from test_recipe import CPUS, recipe_of
from test_transcribe import forbid_ray

from actors.storage.cache import sha256_of
from actors.text.written.across import written_across
from actors.text.written.forms import written_form
from actors.text.written.write import TextSettings
from actors.units import Fingerprint
from jobs import plan, transcribe

FEW = "input.uri=demo/audio/loose"


def parts_of(folder: Path) -> pd.DataFrame:
    """All columns of an output, in the order of its rows' keys."""
    rows = pd.concat([pd.read_parquet(path) for path in sorted(folder.glob("*.parquet"))])
    rows = rows.sort_values(["uri", "member", "segment_index"]).reset_index(drop=True)
    return rows.astype(object).where(rows.notna(), None)


def assert_same_but_written(before: pd.DataFrame, after: pd.DataFrame) -> None:
    pd.testing.assert_frame_equal(before.drop(columns="written"), after.drop(columns="written"))


def written_as(rows: pd.DataFrame, write: Any) -> None:
    """Checks that what is written is the written form of what each recording said, and null on error."""
    assert rows["text"].str.len().max() > 0
    for recording in recordings_of(rows):
        said = recording[recording["text"].fillna("") != ""]
        assert list(said["written"]) == write(list(said["text"]))
    silent = rows[rows["text"].fillna("") == ""]
    assert list(silent["written"]) == list(silent["text"])


def recordings_of(rows: pd.DataFrame) -> list[pd.DataFrame]:
    """The rows of each recording."""
    groups = rows.groupby(["uri", "member", "offset_s", "stretch_s", "channel"], dropna=False)
    return [recording.sort_values("segment_index") for _, recording in groups]


def in_chinese(text: str) -> str:
    return written_form(text, "zh")


def all_in_chinese(texts: list[str]) -> list[str]:
    """The segments of a recording."""
    return written_across(texts, in_chinese, "")


@pytest.mark.usefixtures("ray_two_cpus")
def test_a_finished_output_is_written_from_its_rows(
    job: Any, demo_copy: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    where = (f"input.uri={demo_copy}", f"output.uri={tmp_path / 'out'}")
    status, heard, _ = job(*where, "text.itn=none")
    assert status == 0
    plain, count = parts_of(tmp_path / "out"), heard["units"]["done"]
    assert set(plain["written"]) == {None}
    without_sound(demo_copy)
    forbid_ray(monkeypatch)

    _, dry, seen = job(*where, main=plan.main)
    assert dry["redone_from"] == {"rows": count, "emissions": 0, "audio": 0}
    assert dry["reasons"]["redo"] == {"settings differ: text.itn was none and is zh; from rows": count}
    assert (dry["written"], dry["pieces"]) == ("itn=zh", 0)
    pd.testing.assert_frame_equal(parts_of(tmp_path / "out"), plain)
    status, told, seen = job(*where)
    assert (status, told["audio_hours"], told["recordings"]) == (0, 0, 0)
    assert told["rewritten"] == told["units"]["done"] == count
    assert told["totals"] == heard["totals"]
    assert f"{count} to redo ({count} from rows)" in seen
    normalised = parts_of(tmp_path / "out")
    assert_same_but_written(plain, normalised)
    written_as(normalised, all_in_chinese)
    assert normalised["written"].str.endswith("百分之六").any()  # which a cut halves: 百分之六百六十九
    assert any("%" in text for text in normalised["written"] if text)
    assert job(*where)[1]["units"] == {"planned": 0, "skipped": count, "done": 0}

    pairs = tmp_path / "pairs.txt"
    pairs.write_text("一\t壹\n", encoding="utf-8")
    assert job(*where, f"text.replace={pairs}")[1]["rewritten"] == count
    replaced = parts_of(tmp_path / "out")
    assert_same_but_written(plain, replaced)
    written_as(replaced, lambda texts: [text.replace("一", "壹") for text in all_in_chinese(texts)])
    assert not replaced["written"].equals(normalised["written"])
    first = sha256_of(pairs)
    pairs.write_text("的\t之\n", encoding="utf-8")
    dry = job(*where, f"text.replace={pairs}", main=plan.main)[1]
    why = f"settings differ: text.replace was {first[:12]}… and is {sha256_of(pairs)[:12]}…; from rows"
    assert dry["reasons"]["redo"] == {why: count}
    assert job(*where, f"text.replace={pairs}", "text.itn=none")[1]["rewritten"] == count
    written_as(parts_of(tmp_path / "out"), lambda texts: [text.replace("的", "之") for text in texts])

    assert job(*where, "text.itn=none")[1]["rewritten"] == count
    pd.testing.assert_frame_equal(parts_of(tmp_path / "out"), plain)


KILLED = """
import os, signal, sys
from actors.storage.place import Place
from jobs import transcribe
put, done = Place.put, []
def put_and_die(self, data):
    if "/part-" in self.path:
        done.append(self.path)
        if len(done) == int(sys.argv[1]) and sys.argv[2] == "before":
            os.kill(os.getpid(), signal.SIGKILL)
    version = put(self, data)
    if "/part-" in self.path and len(done) == int(sys.argv[1]):
        os.kill(os.getpid(), signal.SIGKILL)
    return version
Place.put = put_and_die
sys.exit(transcribe.main(sys.argv[3:]))
"""


@pytest.mark.usefixtures("ray_two_cpus")
@pytest.mark.parametrize("when", ["before", "after"])
def test_a_run_that_is_killed_while_it_writes_goes_on(
    job: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, when: str
) -> None:
    where = (FEW, f"output.uri={tmp_path / 'out'}", "unit.target_minutes=0.2", "output.lease_seconds=0.01")
    where += ("errors.max_fraction=1",)
    count = job(*where, "text.itn=none")[1]["units"]["done"]
    plain = parts_of(tmp_path / "out")
    assert count > 2
    command = [sys.executable, "-c", KILLED, "2", when, "configs/demo.yaml", *where]
    killed = subprocess.run(command, cwd=ROOT, env=os.environ | {"PYTHONPATH": str(ROOT)}, capture_output=True)
    assert killed.returncode == -signal.SIGKILL
    half = parts_of(tmp_path / "out")
    assert_same_but_written(plain, half)
    is_written = half["written"].notna()
    assert 0 < is_written.sum() < plain["text"].notna().sum()
    forbid_ray(monkeypatch)
    status, told, _ = job(*where)
    assert (status, told["audio_hours"]) == (0, 0)
    assert told["rewritten"] == told["units"]["done"] == count - 1
    assert_same_but_written(plain, parts_of(tmp_path / "out"))
    written_as(parts_of(tmp_path / "out"), all_in_chinese)


@pytest.mark.usefixtures("ray_two_cpus")
def test_what_is_said_anew_and_what_is_new_is_written_too(job: Any, demo_copy: Path, tmp_path: Path) -> None:
    where = (
        f"input.uri={demo_copy / 'loose'}",
        f"output.uri={tmp_path / 'out'}",
        "output.emissions=true",
        "errors.max_fraction=1",
    )
    assert job(*where, "input.exclude=[01.*]")[0] == 0
    written_as(parts_of(tmp_path / "out"), all_in_chinese)
    status, told, _ = job(*where, "decoding.beam=4")
    assert (status, told["recordings"], told["rewritten"] > 0) == (0, 1, True)
    rows = parts_of(tmp_path / "out")
    assert set(rows["decoding"]) == {"beam=4"}
    written_as(rows, all_in_chinese)


def test_outputs_of_before_match_while_nothing_is_asked_for() -> None:
    """The digits are those of versions without the section `text`."""
    assert Fingerprint.written(recipe_of(CPUS).digest) == "17263a94"
    assert TextSettings("zh").to_dict() == {"itn": "zh"}


def test_replacements_are_known_by_their_content_wherever_they_lie(job: Any, tmp_path: Path, serve: Any) -> None:
    file = tmp_path / "pairs.txt"
    file.write_text("一\t壹\n", encoding="utf-8")
    server = serve(lambda asked: Answer(file.read_bytes(), headers={"ETag": '"1"'}))
    told = [
        job(FEW, f"output.uri={tmp_path / 'out'}", f"text.replace={uri}", main=plan.main)[1]["written"]
        for uri in (file, f"{server.url}/pairs.txt")
    ]
    assert told == [f"itn=zh replace={sha256_of(file)[:16]}"] * 2


WITHOUT_WETEXT = """
import sys
from jobs import plan
sys.modules["wetext"] = None
sys.exit(plan.main(sys.argv[1:]))
"""


def test_english_without_its_library_is_refused_when_planning(tmp_path: Path) -> None:
    command = [sys.executable, "-c", WITHOUT_WETEXT, "configs/demo.yaml", FEW, f"output.uri={tmp_path / 'out'}"]
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    done = subprocess.run([*command, "text.itn=en"], cwd=ROOT, env=environment, capture_output=True, text=True)
    assert done.returncode == 2
    assert "text.itn: English numbers need the package wetext" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize(
    ("content", "given", "said"),
    [
        ("a\tb\nc\n", ["text.replace={file}"], "text.replace: file://{file}: line 2: it has no tab"),
        ("a\tb", ["text.replace={file}.gone"], "text.replace: there is no file"),
        ("", ["text.replace={file}"], "text.replace: file://{file}: it has no pairs"),
        ("", ["text.itn=fr"], "text.itn: must be 'none', 'zh' or 'en', not 'fr'"),
        ("", ["text.replace=https:/example.com/x"], "text.replace: "),
    ],
)
@pytest.mark.parametrize("main", [plan.main, transcribe.main])
def test_mistakes_are_told_when_planning(
    job: Any, tmp_path: Path, main: Any, content: str, given: list[str], said: str
) -> None:
    file = tmp_path / "pairs.txt"
    file.write_text(content)
    given = [each.format(file=file) for each in given]
    status, _, seen = job(FEW, f"output.uri={tmp_path / 'out'}", *given, main=main)
    assert status == 2
    assert said.format(file=file) in seen
    assert "Traceback" not in seen
