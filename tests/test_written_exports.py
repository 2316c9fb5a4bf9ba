"""Exports of the written form: numbers and punctuation as people write them, at the times of what was said."""

import json
import shutil
from pathlib import Path
from typing import Any

import praatio.textgrid
import pyarrow as pa
import pytest
import webvtt
from conftest import ROOT
from hypothesis import given, settings
from hypothesis import strategies as st
from test_export import exported, output_of, row_of, tokens_of

from actors.schema import PART_SCHEMA
from actors.storage.place import Place
from jobs import export
from jobs.transcripts.read import Transcript, recordings_of
from jobs.transcripts.subtitles import SubtitleLayout, cues_of
from jobs.transcripts.words import words_of
from jobs.transcripts.written import as_written

DATE = "会议在二零二六年十一月二十五日开始请大家准时到会"
WRITTEN_DATE = "会议在2026年11月25日开始，请大家准时到会。"
SHARE = "增长百分之三十点五"


def date_row(**columns: Any) -> dict[str, Any]:
    return row_of("a.wav", 0, text=DATE, written=WRITTEN_DATE, tokens=tokens_of(DATE, 0.5, 0.25)) | columns


@pytest.fixture
def output(tmp_path: Path) -> Path:
    """An output of two recordings, in which one segment has no written form, and one no times of its own."""
    rows = [
        date_row(),
        row_of("a.wav", 1, text="好的二十", tokens=tokens_of("好的二十", 12.5, 0.25)),
        row_of("b.wav", text=SHARE, written="增长30.5%", reference="增长", end_s=5.0),
        row_of("broken.wav", text=None, error_kind="unreadable", start_s=None, end_s=None, confidence=None),
    ]
    return output_of(rows, tmp_path / "out")


@pytest.mark.parametrize("kind", ["srt", "vtt"])
def test_subtitles_have_the_written_form_at_the_times_of_what_was_said(job: Any, output: Path, kind: str) -> None:
    read = webvtt.from_srt if kind == "srt" else webvtt.read
    folder, _ = exported(job, output, kind)
    cues = list(read(folder / f"a.{kind}"))
    assert [each.text.replace("\n", "") for each in cues] == [WRITTEN_DATE, "好的二十"]
    exported(job, output, kind, "export.text=text", f"export.uri={output.parent / 'heard'}")
    before = list(read(output.parent / "heard" / f"a.{kind}"))
    assert "".join(each.text.replace("\n", "") for each in before) == DATE + "好的二十"
    assert (before[0].start, before[-2].end) == (cues[0].start, cues[0].end) == ("00:00:00.500", "00:00:06.450")
    assert (before[-1].start, before[-1].end) == (cues[-1].start, cues[-1].end)
    (share,) = read(folder / f"b.{kind}")
    assert (share.text, share.start, share.end) == ("增长30.5%", "00:00:00.000", "00:00:05.000")


@pytest.mark.usefixtures("ray_two_cpus")
def test_subtitles_of_the_demo_show_written_numbers(job: Any, tmp_path: Path) -> None:
    folder = tmp_path / "audio"
    folder.mkdir()
    for name in ("02.wav", "05.wav", "14.opus"):
        shutil.copy(ROOT / "demo" / "audio" / "loose" / name, folder)
    where = (f"input.uri={folder}", f"output.uri={tmp_path / 'out'}")
    assert job(*where)[0] == 0

    def cues(name: str) -> list[Any]:
        into, _ = exported(job, tmp_path / "out", "srt", f"export.text={name}")
        return [webvtt.from_srt(into / f"{number}.srt").captions for number in ("02", "05", "14")]

    written, heard = cues("auto"), cues("text")
    assert ["".join(each.text.replace("\n", "") for each in captions) for captions in written] == [
        "1975年6月26日张先生去了重庆",
        "蔬菜一共32元便宜得很",
        "这件绿色的鞋子比那件舒服668%",
    ]
    assert heard[0][0].text.startswith("一九七五年六月")
    for after, before in zip(written, heard, strict=True):
        assert (after[0].start, after[-1].end) == (before[0].start, before[-1].end)


def test_each_format_has_what_its_readers_want(job: Any, output: Path) -> None:
    folder, _ = exported(job, output, "text")
    assert (folder / "all.txt").read_text() == f"a.wav {WRITTEN_DATE}好的二十\nb.wav 增长30.5%\n"
    folder, _ = exported(job, output, "text", "export.files=recording")
    assert (folder / "a.txt").read_text() == f"{WRITTEN_DATE}\n好的二十\n"
    folder, _ = exported(job, output, "text", "export.text=text")
    assert (folder / "all.txt").read_text() == f"a.wav {DATE}好的二十\nb.wav {SHARE}\n"

    folder, _ = exported(job, output, "manifest")
    assert [json.loads(line)["text"] for line in (folder / "all.json").open()] == [DATE, "好的二十", SHARE]
    folder, _ = exported(job, output, "manifest", "export.text=written")
    assert [json.loads(line)["text"] for line in (folder / "all.json").open()] == [
        WRITTEN_DATE,
        "好的二十",
        "增长30.5%",
    ]

    folder, _ = exported(job, output, "jsonl")
    first, second = map(json.loads, (folder / "all.jsonl").open())
    assert (first["text"], first["written"]) == (DATE + "好的二十", WRITTEN_DATE + "好的二十")
    assert [each.get("written") for each in first["segments"]] == [WRITTEN_DATE, None]
    assert "".join(each["token"] for each in first["segments"][0]["tokens"]) == DATE
    assert (second["text"], second["written"], "tokens" in second["segments"][0]) == (SHARE, "增长30.5%", False)

    folder, _ = exported(job, output, "textgrid")
    grid = praatio.textgrid.openTextgrid(str(folder / "a.TextGrid"), includeEmptyIntervals=False)
    assert [each.label for each in grid.getTier("segments").entries] == [DATE, "好的二十"]
    folder, _ = exported(job, output, "textgrid", "export.text=written")
    grid = praatio.textgrid.openTextgrid(str(folder / "a.TextGrid"), includeEmptyIntervals=False)
    assert [each.label for each in grid.getTier("segments").entries] == [WRITTEN_DATE, "好的二十"]
    labels = [each.label for each in grid.getTier("tokens").entries]
    assert labels == [
        *"会议在",
        "2026",
        "年",
        "11",
        "月",
        "25",
        "日",
        "开",
        "始，",
        *"请大家准时到",
        "会。",
        *"好的二十",
    ]
    assert praatio.textgrid.openTextgrid(str(folder / "b.TextGrid"), False).tierNames == ("segments",)


def test_a_folder_for_each_text(job: Any, output: Path) -> None:
    for asked, name in (("auto", "srt"), ("written", "srt-written"), ("text", "srt-text")):
        status, told, _ = job(f"output.uri={output}", f"export.text={asked}", main=export.main)
        assert (status, told["export"].rsplit("/", 1)[1]) == (0, name)
    assert (output / "_export" / "srt" / "a.srt").read_text() == (
        output / "_export" / "srt-written" / "a.srt"
    ).read_text()
    status, _, seen = job(f"output.uri={output}", "export.text=spoken", main=export.main)
    assert (status, "export.text" in seen) == (2, True)


def test_numbers_have_the_times_of_their_words() -> None:
    (row,) = as_written(Transcript([date_row()])).rows
    tokens = {each["token"]: each for each in row["tokens"]}
    assert (tokens["会"]["start_s"], tokens["会"]["end_s"]) == (0.5, 0.7)
    assert tokens["2026"]["start_s"] == pytest.approx(0.5 + 3 * 0.25)
    assert tokens["2026"]["end_s"] == 0.5 + 6.8 * 0.25
    assert tokens["始，"]["end_s"] == 0.5 + 16.8 * 0.25  # the comma takes no time
    bought = "买十二块五"
    row = row_of("a.wav", text=bought, written="买12.5元", tokens=tokens_of(bought, 0, 1))
    row["tokens"][1]["confidence"] = 0.6
    (row,) = as_written(Transcript([row])).rows
    _, number, unit = row["tokens"]
    assert (number["token"], number["start_s"], unit["token"], unit["end_s"]) == ("12.5", 1.0, "元", 4.8)
    assert number["end_s"] == unit["start_s"] == pytest.approx(1 + 3.8 * 4 / 5)  # by four and one of five characters
    assert number["confidence"] == unit["confidence"] == pytest.approx(0.9)


def test_tokens_of_several_characters() -> None:
    row = row_of("a.wav", text="about twenty five percent", written="About 25%")
    row["tokens"] = [
        {"token": text, "start_s": at * 1.0, "end_s": at + 0.8, "confidence": 0.5}
        for at, text in enumerate([" ab", "out", " twen", "ty", " five", " per", "cent"])
    ]
    (row,) = as_written(Transcript([row])).rows
    assert [(each["token"], each["start_s"], each["end_s"]) for each in row["tokens"]] == [
        ("About", 0.0, 1.8),
        (" 25%", 2.0, 6.8),
    ]


def test_rows_without_a_written_form_stay_as_they_are() -> None:
    row = row_of("a.wav", text=DATE, tokens=tokens_of(DATE, 0, 0.3))
    nothing = row_of("a.wav", 1, text=None, written=None)
    silent = row_of("a.wav", 2, text="", written="")
    for rows in ([row], [row | {"written": None}], [row | {"written": DATE}], [nothing], [silent]):
        assert as_written(Transcript(rows), with_times=True).rows == rows
    (found,) = as_written(Transcript([row | {"written": ""}])).rows
    assert (found["text"], found["tokens"], cues_of([found], SubtitleLayout())) == ("", [], [])
    (found,) = as_written(Transcript([silent | {"written": "5元"}]), with_times=True).rows
    assert "".join(each.text for each in cues_of([found], SubtitleLayout())) == "5元"


@pytest.mark.parametrize("with_tokens", [True, False])
@pytest.mark.parametrize("width", range(2, 17))
def test_no_line_breaks_within_a_number(width: int, with_tokens: bool) -> None:
    text = "在二零二六年十一月二十五日的三百多万元增长百分之三十点五是第三章十二块五跑五公里"
    written = "在2026年11月25日的300多万元增长30.5%是第3章12.5元跑5公里"
    row = row_of("a.wav", text=text, written=written, tokens=tokens_of(text, 0, 0.3) if with_tokens else None)
    for rows in (as_written(Transcript([row]), with_times=True).rows, [row | {"text": written, "tokens": None}]):
        lines = [line for cue in cues_of(rows, SubtitleLayout(width, 2)) for line in cue.text.split("\n")]
        assert "".join(lines) == written
        assert len(lines) > len(written) // (4 * width)  # it is broken elsewhere
        for number in ("2026年", "11月", "25日", "300多万元", "30.5%", "第3章", "12.5元", "5公里"):
            assert any(number in line for line in lines), (number, lines)


def test_a_break_follows_a_number_without_a_unit() -> None:
    row = row_of("a.wav", text="电话是13800138000这件事", tokens=None)
    assert [each.text for each in words_of(row)] == ["电", "话", "是", "13800138000", "这", "件", "事"]


def test_a_number_of_any_length_is_broken_at_last() -> None:
    row = row_of("a.wav", text="一" * 2_000, written="1" * 2_000)
    for rows in ([row | {"text": "1" * 2_000}], as_written(Transcript([row]), with_times=True).rows):
        lines = [line for cue in cues_of(rows, SubtitleLayout()) for line in cue.text.split("\n")]
        assert max(map(len, lines)) <= 66
        assert "".join(lines) == "1" * 2_000


def test_words_in_a_text_with_a_space() -> None:
    row = row_of("a.wav", text="用NVIDIA GPU训练，再说", tokens=None)
    assert [each.text.strip() for each in words_of(row)] == [*("用NVIDIA", "GPU", "训", "练，", "再", "说")]


def test_cues_end_at_the_punctuation_of_the_written_form() -> None:
    text = "今天我们去公园散步天气非常好大家都很高兴明天还要再去一次"
    written = "今天我们去公园散步，天气非常好，大家都很高兴。明天还要再去一次。"
    row = row_of("a.wav", text=text, written=written, tokens=tokens_of(text, 0, 0.25))
    rows = as_written(Transcript([row])).rows
    ends = [cue.text[-1] for cue in cues_of(rows, SubtitleLayout(12, 2))]
    assert ends == ["。", "。"]
    ends = [cue.text[-1] for cue in cues_of(rows, SubtitleLayout(12, 1))]
    assert ends == ["，", "，", "。", "。"]
    spoken = [cue.text for cue in cues_of([row], SubtitleLayout(12, 1))]
    assert any(not written.replace("\n", "").startswith(cue) and f"{cue}，" not in written for cue in spoken)


def test_a_written_form_of_any_size_is_impossible() -> None:
    row, problems = date_row(written="5" * 4_000_001), list[str]()
    (found,) = recordings_of([pa.Table.from_pylist([row], schema=PART_SCHEMA)], Place.at("/part"), problems)
    assert "more than 4,000,000 bytes" in found.fault
    assert len(problems) == 1


@settings(max_examples=200, deadline=None)
@given(
    said=st.text("今天很好一二十百点分 ab", min_size=1, max_size=30),
    written=st.text("今天很好一1 2.5%，。“ab", max_size=30),
    sizes=st.lists(st.integers(1, 3), min_size=30, max_size=30),
    has_tokens=st.booleans(),
)
def test_cues_of_any_written_form(said: str, written: str, sizes: list[int], has_tokens: bool) -> None:
    """All of it is shown, in order, within the times of what was said."""
    tokens, place = [], 0
    for number, size in enumerate(sizes):
        if said[place : place + size]:
            times = {"start_s": number * 0.5, "end_s": number * 0.5 + 0.4, "confidence": 1.0}
            tokens.append({"token": said[place : place + size]} | times)
        place += size
    row = row_of("a.wav", text=said, written=written, tokens=tokens if has_tokens else None, end_s=20.0)
    rows = as_written(Transcript([row]), with_times=True).rows
    cues = cues_of(rows, SubtitleLayout())
    assert "".join("".join(cue.text.split()) for cue in cues) == "".join(written.split())
    units = rows[0]["tokens"] or []
    assert all(each["start_s"] <= each["end_s"] + 1e-9 for each in units)
    assert [each["start_s"] for each in units] == sorted(each["start_s"] for each in units)
    if units and written not in ("", said):
        assert (units[0]["start_s"], units[-1]["end_s"]) == ((0.0, tokens[-1]["end_s"]) if has_tokens else (0.0, 20.0))
