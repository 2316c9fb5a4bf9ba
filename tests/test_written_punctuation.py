"""Punctuation in the column `written`: where marks stand in a written form, whole recordings however their rows come,
and the whole job."""

import logging
import os
import re
import subprocess
import sys
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest
from conftest import DEMO_MODEL, ROOT
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from punctuation_models import table_model, written
from test_heard_once import without_sound
from test_pieces import cut, unit_of
from test_transcribe import forbid_ray
from test_written import (
    FEW,
    all_in_chinese,
    assert_same_but_written,
    in_chinese,
    parts_of,
    recordings_of,
    written_as,
)
from transcribing import MODEL, Transcribing

from actors.engine.interface import EngineSettings
from actors.engine.models import resolve
from actors.parts import assemble, part
from actors.pieces import Piece
from actors.reader import read_piece
from actors.schema import PART_SCHEMA
from actors.sources.objects import ReadSettings
from actors.storage.fetched import resolve_file
from actors.storage.place import Place
from actors.text.punctuation_model import MAX_BYTES
from actors.text.written import write
from actors.text.written.marks import Mark, place_marks
from actors.text.written.write import TextSettings, Write, load_write, whole_recordings
from actors.writer import Writer, WriteSettings
from jobs import plan, transcribe

#: Of the demo's sentences; and marks that only a bad model puts within numbers.
TABLE = {"店": "。", "始": "。", "吗": "？", "海": "，", "州": "，", "十": "，", "点": "。", "年": "，", "零": "、"}
ADDED_MARKS = "，。？、"
ADDED = str.maketrans("", "", ADDED_MARKS)


@pytest.fixture(scope="module")
def text(tmp_path_factory: pytest.TempPathFactory) -> TextSettings:
    path = written(table_model(TABLE), tmp_path_factory.mktemp("model"))
    return TextSettings("zh", punctuation=resolve_file(path, {}, "text.punctuation", MAX_BYTES))


@pytest.mark.parametrize(
    ("said", "form", "marked"),
    [
        ("今天。三十度，热。", "今天30度热", "今天。30度，热。"),
        ("二零二六，年，十一，月，二十，五日。百分之三，十点五，下雨。", None, "2026年11月25日。30.5%，下雨。"),
        ("十，点，半，开始，我，们等。", None, "10点半，开始，我，们等。"),
        ("一，万，二千，元。好。", None, "12000元。好。"),
        ("三点五，亿，人，来了。", None, "3.5亿，人，来了。"),
        ("阿帕，奇，好。", "Apache好", "Apache，好。"),
        ("it costs， twenty， three dollars，  yes。 ", "it costs $23  yes ", "it costs， $23，  yes。 "),
        ("我来了。他，走，", "我来了，他走！", "我来了，他，走！"),
        ("八点，十，五。", "8点15", "8点15。"),
    ],
)
def test_marks_in_a_written_form(said: str, form: str | None, marked: str) -> None:
    """The marks that are found in a text, written into it here, and how its written form is punctuated."""
    plain, marks = "", []
    for character in said:
        if character in "，。":
            marks.append(Mark(len(plain), character))
        else:
            plain += character
    form = in_chinese(plain) if form is None else form
    assert place_marks(plain, form, marks) == marked


@given(st.text("零一二三十百万点分年月日百之元好的a "), st.data())
@settings(deadline=None)
def test_marks_are_all_that_is_added_and_none_is_in_a_number(said: str, data: Any) -> None:
    places = sorted(data.draw(st.sets(st.integers(1, max(len(said), 1)))))
    form = in_chinese(said)
    marked = place_marks(said, form, [Mark(at, "，") for at in places if at <= len(said)])
    assert marked.replace("，", "") == form
    numbers = r"\d[\d.]*[万亿%]?"
    assert re.findall(numbers, marked) == re.findall(numbers, form)


def rows_of(recordings: Sequence[Sequence[str | None]]) -> pa.Table:
    """Rows with these texts, a recording each; every second one is another channel of the one before it."""
    columns: dict[str, list[Any]] = {name: [] for name in ("recording_id", "uri", "channel", "segment_index", "text")}
    for number, texts in enumerate(recordings):
        for index, each in enumerate(texts):
            values = ("a", f"file://{number // 2}.wav", number % 2 + 1, index, each)
            for name, value in zip(columns, values, strict=True):
                columns[name].append(value)
    for name in ("member", "offset_s", "stretch_s"):
        columns[name] = [None] * len(columns["text"])
    return pa.table({name: pa.array(each, PART_SCHEMA.field(name).type) for name, each in columns.items()})


def written_of(tables: Sequence[pa.Table], write_rows: Write) -> list[str | None]:
    return [each for table in whole_recordings(tables) for each in write_rows(table).to_pylist()]


def test_recordings_channels_and_what_has_no_text(text: TextSettings) -> None:
    rows = rows_of([["我来", "上海", None, "", "好"], ["他来"], [None], ["三十", "天"]])
    assert written_of([rows], load_write(text)) == [
        "我来",
        "上海，",
        None,
        "",
        "好。",
        "他来。",
        None,
        "30，",
        "天。",
    ]


def test_recordings_without_a_first_row_are_not_joined(text: TextSettings) -> None:
    """As no run writes them, but a part may be anyone's."""
    rows = rows_of([["我来", "他来"], ["我去", "他去"], ["我走", "他走"]])
    rows = rows.filter(pc.equal(rows.column("segment_index"), 1))
    assert written_of([rows], load_write(text)) == ["他来。", "他去。", "他走。"]


@given(
    st.lists(st.lists(st.sampled_from(["我来", "上海", "", None, "三十天"]), min_size=1, max_size=9), max_size=6),
    st.lists(st.integers(0, 40), max_size=8),
)
@settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=200)
def test_however_rows_come(text: TextSettings, recordings: list[list[str | None]], cuts: list[int]) -> None:
    """Also of recordings that are too long to be held."""
    write_rows = load_write(text)
    rows = rows_of(recordings)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(write, "STRETCH_ROWS", 4)
        bounds = [0, *sorted(min(each, rows.num_rows) for each in cuts), rows.num_rows]
        tables = [rows.slice(begin, end - begin) for begin, end in pairwise(bounds)]
        whole = list(whole_recordings(tables))
        assert not whole or pa.concat_tables(whole).equals(rows)
        assert written_of(tables, write_rows) == write_rows(rows).to_pylist()
        assert all(each.num_rows for each in whole)


def test_the_end_of_what_is_held_is_no_sentences_end(text: TextSettings, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(write, "STRETCH_ROWS", 2)
    rows = rows_of([["上海", "我来", "他来", "商店", "走"]])
    assert load_write(text)(rows).to_pylist() == ["上海，", "我来", "他来", "商店", "走。"]


def committed(pieces: Sequence[Piece], out: Path, hearing: Transcribing, text: TextSettings) -> list[dict[str, Any]]:
    """The rows of the part that pieces are committed to by the last stage, heard in an odd order."""
    output = Place.at(str(out))
    last = Writer(WriteSettings(MODEL, hearing.vocabulary, "m", ReadSettings(), text=text), output, "one")
    for piece in reversed(pieces):
        last(piece, hearing.hear(read_piece(piece, ReadSettings())))
    rows: list[dict[str, Any]] = pq.read_table(out / "part-0a.parquet").to_pylist()
    return [{name: value for name, value in row.items() if name != "transcribed_at"} for row in rows]


def test_a_recording_in_pieces_is_punctuated_as_in_one(
    text: TextSettings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(assemble, "ROWS_AT_ONCE", 2)
    hearing = Transcribing(resolve(str(DEMO_MODEL), None, {}), EngineSettings("fused", "cpu", "float32", 2, 30))
    unit = unit_of(ROOT / "demo" / "audio" / "long" / "interview.mp3")
    whole = committed(cut(unit), tmp_path / "whole", hearing, text)
    assert committed(cut(unit, stretches=3), tmp_path / "3", hearing, text) == whole
    check_marks(pd.DataFrame(whole))


def check_marks(rows: pd.DataFrame) -> None:
    """That what is written is punctuated, with no mark at a cut, or within a number, that is not the model's."""
    texts = rows[rows["text"].fillna("") != ""]
    cuts = 0
    for recording in recordings_of(texts):
        *before, last = recording.to_dict("records")
        assert last["written"][-1] in "。？"
        for each in before:
            cuts += 1
            assert (each["written"][-1] in ADDED_MARKS) <= (each["text"][-1] in TABLE)
    assert cuts > 10
    texts = pd.concat(recordings_of(texts))
    forms = [form for each in recordings_of(texts) for form in all_in_chinese(list(each["text"]))]
    assert [each.translate(ADDED) for each in texts["written"]] == forms
    for form, each in zip(forms, texts["written"], strict=True):
        assert re.findall(r"\d+年|\d+月\d+日|\d+点\d*分?", form) == re.findall(r"\d+年|\d+月\d+日|\d+点\d*分?", each)
    assert texts["written"].str.contains("[。，？][^。，？]").sum() > 5


@pytest.mark.usefixtures("ray_two_cpus")
def test_a_finished_output_is_punctuated_from_its_rows(
    job: Any, demo_copy: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: TextSettings
) -> None:
    assert text.punctuation
    where = (f"input.uri={demo_copy}", f"output.uri={tmp_path / 'out'}")
    model = f"text.punctuation={text.punctuation.place.path}"
    status, heard, _ = job(*where)
    assert status == 0
    plain, count = parts_of(tmp_path / "out"), heard["units"]["done"]
    status, _, _ = job(where[0], f"output.uri={tmp_path / 'at once'}", model)
    assert status == 0
    without_sound(demo_copy)
    forbid_ray(monkeypatch)
    monkeypatch.setattr(part, "BATCH_ROWS", 3)

    _, dry, _ = job(*where, model, main=plan.main)
    sha256 = text.punctuation.sha256
    assert dry["redone_from"] == {"rows": count, "emissions": 0, "audio": 0}
    why = f"settings differ: text.punctuation was none and is {sha256[:12]}…; from rows"
    assert dry["reasons"]["redo"] == {why: count}
    assert dry["written"] == f"itn=zh punctuation={sha256[:16]}"
    status, told, _ = job(*where, model)
    assert (status, told["audio_hours"], told["rewritten"]) == (0, 0, count)
    marked = parts_of(tmp_path / "out")
    assert_same_but_written(plain, marked)
    check_marks(marked)
    at_once = parts_of(tmp_path / "at once")
    key = ["uri", "member", "segment_index", "text", "written"]
    pd.testing.assert_frame_equal(at_once[key], marked[key])
    assert job(*where)[1]["rewritten"] == count
    written_as(parts_of(tmp_path / "out"), all_in_chinese)


def test_what_a_model_fails_on_stays_without_marks(
    text: TextSettings, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    write_rows = load_write(text)
    monkeypatch.setattr("actors.text.punctuation_model.PunctuationModel.__call__", broken)
    with caplog.at_level(logging.WARNING):
        assert write_rows(rows_of([["三十天", "好"], ["上海", None]])).to_pylist() == ["30天", "好", "上海", None]
    assert len(caplog.records) == 1


def broken(*_: Any) -> np.ndarray:
    raise ValueError("it gives nothing")


WITHOUT_ONNXRUNTIME = """
import sys
from jobs import plan
sys.modules["onnxruntime"] = None
sys.exit(plan.main(sys.argv[1:]))
"""


def test_punctuation_without_its_packages_is_refused_when_planning(tmp_path: Path, text: TextSettings) -> None:
    assert text.punctuation
    command = [sys.executable, "-c", WITHOUT_ONNXRUNTIME, "configs/demo.yaml", FEW, f"output.uri={tmp_path / 'out'}"]
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    model = f"text.punctuation={text.punctuation.place.path}"
    done = subprocess.run([*command, model], cwd=ROOT, env=environment, capture_output=True, text=True)
    assert done.returncode == 2
    assert "text.punctuation: " in done.stderr
    assert "[punctuation]" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize(
    ("content", "said"), [(b"", "it is not an ONNX file"), (b"\x08\x07", "it is not an ONNX file")]
)
@pytest.mark.parametrize("main", [plan.main, transcribe.main])
def test_what_is_no_model_is_refused_when_planning(
    job: Any, tmp_path: Path, main: Any, content: bytes, said: str
) -> None:
    (tmp_path / "model.onnx").write_bytes(content)
    model = f"text.punctuation={tmp_path / 'model.onnx'}"
    status, _, seen = job(FEW, f"output.uri={tmp_path / 'out'}", model, main=main)
    assert (status, "text.punctuation: file://" in seen, said in seen, "Traceback" in seen) == (2, True, True, False)
    assert not (tmp_path / "out").exists() or not list((tmp_path / "out").glob("part-*"))
