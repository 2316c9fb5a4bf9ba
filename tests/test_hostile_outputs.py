"""Folders that are none, exports that a link would lead out, and parts with texts that nobody can have said."""

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from test_export import files_in, row_of, tokens_of
from test_links import as_nobody

from actors.parts.commit import commit_unit
from actors.schema import PART_SCHEMA, UsageError
from actors.storage.place import Place
from actors.units import SourceObject, Unit
from jobs import evaluate, export, plan, transcribe
from jobs.planning.plans import write_plan
from jobs.planning.recipe import recipe_digest
from jobs.planning.run_files import RUNS, run_files
from jobs.planning.state import load_state

INPUT = "input.uri=demo/audio/loose/00.wav"


def commit(folder: Path, unit: str, *rows: dict[str, Any]) -> None:
    """A unit's part with these rows, of one tar."""
    uri = f"file:///archive/{unit}.tar"
    table = pa.Table.from_pylist([{"text": "今天"} | row | {"uri": uri} for row in rows], schema=PART_SCHEMA)
    objects = (SourceObject(uri, uri, f"{unit}.tar", "tar", "e", 9),)
    commit_unit(Unit(unit, "f", objects), [table], Place.at(str(folder)))


def as_file(path: Path) -> None:
    path.write_text("precious")


def as_pipe(path: Path) -> None:
    os.mkfifo(path)


def as_circle(path: Path) -> None:
    path.symlink_to(path.name)


def as_dangling(path: Path) -> None:
    path.symlink_to("gone")


@pytest.mark.parametrize("make", [as_file, as_pipe, as_circle, as_dangling])
@pytest.mark.parametrize("name", ["", "_pieces", "_commits", "_runs"])
def test_what_should_be_a_folder_and_is_none_is_named(
    job: Any, tmp_path: Path, name: str, make: Callable[[Path], None]
) -> None:
    output = tmp_path / "out"
    path = output / name
    path.parent.mkdir(exist_ok=True)
    make(path)
    before = path.lstat()
    for main in (plan.main, export.main, evaluate.main, transcribe.main):
        status, summary, seen = job(INPUT, f"output.uri={output}", main=main)
        assert (status, summary["status"]) == (2, 2)
        assert f"{path} is " in "".join(seen.split("\n"))
    assert path.lstat() == before


def test_a_file_in_the_place_of_the_next_run_is_named(tmp_path: Path) -> None:
    output = Place.at(str(tmp_path))
    (tmp_path / RUNS).mkdir()
    (tmp_path / RUNS / "000001").write_text("precious")
    assert run_files(output) == []
    with pytest.raises(UsageError, match="_runs/000001 is not a folder"):
        write_plan(output, load_state(output), {}, (recipe_digest({}), {}), "run")


@pytest.mark.parametrize("name", ["_export", "_export/srt"])
@pytest.mark.parametrize("where", ["elsewhere", "gone", "srt", "elsewhere/mine"])
def test_an_export_stays_in_the_output(job: Any, tmp_path: Path, name: str, where: str) -> None:
    output, elsewhere = tmp_path / "out", tmp_path / "elsewhere"
    commit(output, "0a", row_of("a.wav"))
    elsewhere.mkdir()
    (elsewhere / "mine").write_text("precious")
    (output / name).parent.mkdir(exist_ok=True)
    (output / name).symlink_to(tmp_path / where)
    status, _, seen = job(f"output.uri={output}", main=export.main)
    assert status == 2
    assert f"{name} is a link" in "".join(seen.split("\n"))
    assert files_in(elsewhere) == ["mine"]


def test_an_export_goes_where_a_person_says(job: Any, tmp_path: Path) -> None:
    commit(tmp_path / "out", "0a", row_of("a.wav"))
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "out" / "linked").symlink_to(tmp_path / "elsewhere")
    assert job(f"output.uri={tmp_path / 'out'}", f"export.uri={tmp_path / 'out' / 'linked'}", main=export.main)[0] == 0
    assert files_in(tmp_path / "elsewhere") == ["a.srt"]


@pytest.mark.parametrize(
    "forged",
    [
        *({"start_s": None}, {"end_s": None}, {"start_s": None, "end_s": None}, {"duration_s": None}),
        *({"confidence": None}, {"start_s": -5.0}, {"start_s": 9.0, "end_s": 1.0}, {"end_s": 1e300}),
        *({"duration_s": 1e300}, {"text": "好" * 3_000_000}, {"tokens": [None]}),
        *({"tokens": [tokens_of("好", 0, 1)[0] | {name: None}]} for name in ("token", "start_s", "end_s")),
        {"tokens": [tokens_of("好", 0, 1)[0] | {"start_s": -1e300, "end_s": 1e300}]},
    ],
    ids=lambda forged: " ".join(forged) + f" {str(forged)[-20:]}",
)
def test_a_part_of_texts_that_nobody_said_is_told_and_the_others_go_on(
    job: Any, tmp_path: Path, forged: dict[str, Any]
) -> None:
    commit(tmp_path / "out", "0a", row_of("a.wav", reference="今天") | forged)
    commit(tmp_path / "out", "0b", row_of("b.wav", reference="今天"))
    for name in ("srt", "vtt", "textgrid", "text", "jsonl", "manifest"):
        status, summary, seen = job(f"output.uri={tmp_path / 'out'}", f"export.format={name}", main=export.main)
        assert (status, summary["recordings"]) == (1, 1)
        assert "part-0a.parquet is not a valid part" in "".join(seen.split("\n"))
    status, summary, _ = job(f"output.uri={tmp_path / 'out'}", main=evaluate.main)
    assert (status, summary["all"]["recordings"]) == (1, 1)


@pytest.mark.parametrize("name", ["srt", "vtt", "textgrid", "text", "jsonl", "manifest"])
def test_a_recording_in_which_nobody_speaks_is_exported(job: Any, tmp_path: Path, name: str) -> None:
    commit(tmp_path / "out", "0a", row_of("silent.wav", text=""), row_of("a.wav"))
    status, summary, _ = job(f"output.uri={tmp_path / 'out'}", f"export.format={name}", main=export.main)
    assert (status, summary["recordings"]) == (0, 2)


def test_what_may_not_be_read_is_named_and_costs_itself(job: Any) -> None:
    config = Path("configs/demo.yaml").read_text()
    with as_nobody() as folder:
        output, file = folder / "out", folder / "config.yaml"
        file.write_text(config)
        for unit in ("0a", "0b"):
            commit(output, unit, row_of(f"{unit}.wav"))
        (output / "part-0a.parquet").chmod(0)
        asked = (f"output.uri={output}", "export.format=jsonl")
        status, summary, seen = job(*asked, config=str(file), main=export.main)
        assert (status, summary["recordings"]) == (1, 1)
        assert "part-0a.parquet" in "".join(seen.split("\n"))
        (output / "_commits").chmod(0)
        assert job(*asked, config=str(file), main=export.main)[0] == 2
        (output / "_commits").chmod(0o755)
