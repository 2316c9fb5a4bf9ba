"""One recording never ends a job over all: it is written in the way that fits, or named, and all others are written."""

import io
import json
import re
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import praatio.textgrid
import pyarrow as pa
import pytest
import s3fs
import webvtt
from hypothesis import given, settings
from hypothesis import strategies as st
from test_export import EVIL, files_in, row_of, tokens_of

from actors.outcomes import Committed, from_json, to_json
from actors.parts.commit import commit_unit
from actors.parts.stored import part_name
from actors.schema import PART_SCHEMA
from actors.storage.place import Place
from actors.units import SourceObject, Unit
from jobs import evaluate, export
from jobs.transcripts import scores
from jobs.transcripts.formats import SUFFIXES, WRITERS
from jobs.transcripts.read import Transcript
from jobs.transcripts.subtitles import SubtitleLayout

KINDS = [("srt", "recording"), ("vtt", "recording"), ("textgrid", "recording")]
KINDS += [(kind, files) for kind in ("text", "jsonl", "manifest") for files in ("one", "recording")]
SAID = "今天天气"


def token(text: str, start: float, end: float) -> dict[str, Any]:
    return {"token": text, "start_s": start, "end_s": end, "confidence": 1.0}


#: Recordings that are as they should be, however odd: their rows, and the words that every format has of them.
ODD: dict[str, tuple[list[dict[str, Any]], str]] = {
    "silence": ([{"text": "", "tokens": []}], ""),
    "silence that no model heard": ([{"text": "", "tokens": [], "confidence": None}], ""),
    "speech and silence": ([{"text": ""}, {"text": SAID}, {"text": "", "confidence": None}], SAID),
    "spaces": ([{"text": "  "}], ""),
    "a space as a token": ([{"text": " ", "tokens": [token(" ", 1, 2)]}], ""),
    "no tokens": ([{"text": SAID, "tokens": []}], SAID),
    "one token": ([{"text": "今", "tokens": [token("今", 1, 2)]}], "今"),
    "equal times": ([{"text": SAID, "tokens": [token(char, 1, 1) for char in SAID]}], SAID),
    "equal times at 0": ([{"text": "今天", "tokens": [token("今", 0, 0), token("天", 0, 0)]}], "今天"),
    "equal times at the end": ([{"text": "今天", "tokens": [token("今", 24, 24), token("天", 24, 24)]}], "今天"),
    "tokens in each other": ([{"text": "今天", "tokens": [token("今", 1, 5), token("天", 2, 3)]}], "今天"),
    "tokens that end first": ([{"text": "今天", "tokens": [token("今", 5, 4), token("天", 6, 5)]}], "今天"),
    "tokens before the start": ([{"text": "今天", "tokens": [token("今", -2, -1), token("天", -1, 1)]}], "今天"),
    "tokens after the end": ([{"text": "今天", "tokens": [token("今", 30, 31), token("天", 40, 41)]}], "今天"),
    "empty tokens": ([{"text": "今天", "tokens": [token("", 1, 2)]}], "今天"),
    "no length": ([{"text": SAID, "start_s": 3.0, "end_s": 3.0}], SAID),
    "no duration": ([{"text": SAID, "start_s": 0.0, "end_s": 0.0, "duration_s": 0.0}], SAID),
    "a millisecond": ([{"text": SAID, "start_s": 3.0, "end_s": 3.0001}], SAID),
    "beyond its duration": ([{"text": SAID, "start_s": 30.0, "end_s": 40.0}], SAID),
    "overlaps": ([{"text": "今天"}, {"text": "天气", "start_s": 5.0, "end_s": 12.0}], SAID),
    "out of order": ([{"text": "天气", "start_s": 12.0}, {"text": "今天", "start_s": 0.0, "end_s": 12.0}], SAID),
    "an error in the middle": ([{"text": "今天"}, {"text": None, "confidence": None}, {"text": "天气"}], SAID),
    "an error first": ([{"text": None, "duration_s": None, "start_s": None, "end_s": None}, {"text": SAID}], SAID),
    "a very long token": ([{"text": "长" * 60_000, "tokens": [token("长" * 60_000, 0, 1)]}], "长" * 60_000),
    "controls": ([{"text": "\x00今\n-->\x1b天\u2028"}], "今天"),
    "controls alone": ([{"text": "\x00\u202e"}], ""),
    "words": ([{"text": "the one", "tokens": [token(" ", 0, 1), token("the", 1, 2), token(" one", 2, 3)]}], "theone"),
    "no confidence in numbers": ([{"text": SAID, "confidence": float("nan")}], SAID),
    "fields that are none": ([{"text": SAID, "extra": "[1"}], SAID),
    "fields that are odd": ([{"text": SAID, "extra": '{"a": 1e999, "b": {"text": [null]}, "": ""}'}], SAID),
}


def rows_of(name: str, columns: Sequence[dict[str, Any]], **more: Any) -> list[dict[str, Any]]:
    uri = {"uri": "file:///archive/a.tar", "member": name}
    return [row_of(name, index) | uri | more | each for index, each in enumerate(columns)]


def commit(folder: Path, unit: str, rows: Sequence[dict[str, Any]]) -> Path:
    table = pa.Table.from_pylist(list(rows), schema=PART_SCHEMA)
    uri = rows[0]["uri"]
    commit_unit(Unit(unit, "f", (SourceObject(uri, uri, "a.tar", "tar", "e", 9),)), [table], Place.at(str(folder)))
    return folder


def odd_output(folder: Path) -> Path:
    """An output with all of ODD, each between two recordings as usual."""
    rows = rows_of("first.wav", [{"text": SAID}])
    for name, (columns, _) in ODD.items():
        rows += rows_of(f"{name}.wav", columns)
    return commit(folder, "0a", [*rows, *rows_of("last.wav", [{"text": SAID}])])


def run(job: Any, output: Path, kind: str, files: str, *more: str) -> tuple[int, dict[str, Any], str]:
    where = (f"output.uri={output}", f"export.uri={output.parent / kind}", f"export.format={kind}")
    status, summary, seen = job(*where, f"export.files={files}", *more, main=export.main)
    return status, summary, seen


def said_in(kind: str, content: str) -> str:
    """The words in an exported file, without spaces, as others read them."""
    if kind in ("srt", "vtt"):
        captions = webvtt.from_buffer(io.StringIO(content), kind).captions if "-->" in content else []
        for before, after in pairwise(captions):
            assert before.start < before.end <= after.start
        content = "".join(caption.text for caption in captions)
    elif kind in ("jsonl", "manifest"):
        lines = [json.loads(line) for line in content.splitlines()]
        assert all(line["duration"] > 0 for line in lines if kind == "manifest")
        content = "".join(line["text"] for line in lines)
    return "".join(re.sub(r"[\x00-\x1f\u2028\u202e]|--(>|＞|&gt;)", "", content).split())


@pytest.mark.parametrize(("kind", "files"), KINDS)
def test_all_that_is_odd_is_written(job: Any, tmp_path: Path, kind: str, files: str) -> None:
    output, into = odd_output(tmp_path / "out"), tmp_path / kind
    status, summary, _ = run(job, output, kind, files)
    assert (status, summary["failed"], summary["invalid"], summary["failures"]) == (0, 0, 0, [])
    assert summary["recordings"] == len(ODD) + 2
    assert (summary["errors"], summary["skipped"], summary["silent"]) == (0, 0, 4)
    if files == "one":
        (file,) = files_in(into)
        said = said_in(kind, (into / file).read_text())
        assert all(words in said for _, words in ODD.values())
        return
    names = {Path(name).stem: into / name for name in files_in(into)}
    assert set(names) == {"first", "last", *ODD}
    for name, (columns, words) in ODD.items():
        if kind != "textgrid":
            read = said_in(kind, names[name].read_text())
        else:
            grid = praatio.textgrid.openTextgrid(str(names[name]), includeEmptyIntervals=False, reportingMode="error")
            tiers = [["".join(each.label.split()) for each in tier.entries] for tier in grid.tiers]
            read = "".join(tiers[0]).replace("-->", "")
            if any(token["token"].strip() for row in columns for token in row.get("tokens") or ()):
                assert "".join(tiers[1]) == words
        if name == "out of order" and kind not in ("srt", "vtt", "textgrid"):
            words = "天气今天"  # in the order of their segments
        assert read == words, name


def test_silence_is_a_file_without_cues(job: Any, tmp_path: Path) -> None:
    output = odd_output(tmp_path / "out")
    for kind, empty in (("srt", ""), ("vtt", "WEBVTT\n\n"), ("text", "")):
        _, summary, seen = run(job, output, kind, "recording")
        for name in ("silence", "silence that no model heard", "spaces", "controls alone"):
            assert (tmp_path / kind / f"{name}{SUFFIXES[kind]}").read_text() == empty
        assert re.search(rf"without words +{summary['silent']}\b", seen)


@pytest.mark.parametrize("store", ["s3_options", "conditional_s3_options"])
def test_a_file_without_cues_is_written_to_s3(
    job: Any, tmp_path: Path, store: str, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> None:
    options = request.getfixturevalue(store)
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", options["key"])
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", options["secret"])
    where = (f"export.uri=s3://bucket/{store}", f"export.storage_options={{endpoint_url: '{options['endpoint_url']}'}}")
    assert run(job, odd_output(tmp_path / "out"), "srt", "recording", *where)[0] == 0
    assert s3fs.S3FileSystem(**options).cat_file(f"bucket/{store}/silence.srt") == b""


def test_confidence_leaves_out_what_is_below_it_and_counts_it(job: Any, tmp_path: Path) -> None:
    rows = rows_of("sure.wav", [{"text": SAID}]) + rows_of("unsure.wav", [{"text": SAID, "confidence": 0.3}])
    rows += rows_of("silent.wav", [{"text": "", "confidence": None}]) + rows_of(
        "nan.wav", [ODD["no confidence in numbers"][0][0]]
    )
    failed = [{"text": SAID, "confidence": 0.1}, {"text": None, "confidence": None}]
    output = commit(tmp_path / "out", "0a", rows + rows_of("half.wav", failed))
    status, summary, _ = run(job, output, "srt", "recording", "export.min_confidence=0.5")
    assert (status, summary["recordings"], summary["skipped"], summary["silent"]) == (0, 2, 3, 1)
    assert files_in(tmp_path / "srt") == ["silent.srt", "sure.srt"]


#: Columns that no run has written: each makes its recording one that cannot be used.
IMPOSSIBLE: list[dict[str, Any]] = [
    *({"start_s": None}, {"end_s": None}, {"duration_s": None}, {"confidence": None}, {"start_s": -5.0}),
    *({"start_s": 9.0, "end_s": 1.0}, {"end_s": 1e300}, {"duration_s": 1e300}, {"text": "好" * 100_000}),
    *({name: number} for name in ("start_s", "end_s", "duration_s") for number in (float("nan"), float("inf"))),
    *({"tokens": [token("好", 0, 1) | {name: None}]} for name in ("token", "start_s", "end_s", "confidence")),
    *({"tokens": [token("好", 0, 1) | {name: float("nan")}]} for name in ("start_s", "end_s")),
    *({"tokens": [None]}, {"tokens": [token("好", -1e300, 1e300)]}),
]


@pytest.mark.parametrize(("kind", "files"), KINDS)
def test_a_recording_of_impossible_rows_costs_itself(job: Any, tmp_path: Path, kind: str, files: str) -> None:
    rows = rows_of("first.wav", [{"text": SAID}])
    for number, columns in enumerate(IMPOSSIBLE):
        rows += rows_of(f"{number}.wav", [{"text": "好"}, {"text": "好"} | columns])
        rows += rows_of(f"{number}-after.wav", [{"text": SAID}])
    status, summary, seen = run(job, commit(tmp_path / "out", "0a", rows), kind, files)
    assert (status, summary["recordings"], summary["invalid"]) == (1, len(IMPOSSIBLE) + 1, len(IMPOSSIBLE))
    assert [each["recording_id"] for each in summary["failures"]] == [f"{number}.wav" for number in range(8)]
    assert "without start_s" in summary["failures"][0]["problem"]
    (sentence,) = [line for line in seen.splitlines() if "is not a valid part" in line]
    assert f"{part_name('0a')} is not a valid part" in sentence
    assert f"{len(IMPOSSIBLE)} of its recordings" in sentence
    assert "0.wav: it has texts without start_s" in sentence
    expected = ["first", *(f"{number}-after" for number in range(len(IMPOSSIBLE)))]
    if files == "recording":
        assert files_in(tmp_path / kind) == sorted(f"{name}{SUFFIXES[kind]}" for name in expected)


def test_rows_without_their_first_are_no_part_of_another_recording(job: Any, tmp_path: Path) -> None:
    rows = rows_of("a.wav", [{"text": "今天"}]) + rows_of("b.wav", [{}, {"text": "天气"}])[1:]
    output = commit(tmp_path / "out", "0a", rows + rows_of("c.wav", [{"text": "好"}]))
    status, summary, _ = run(job, output, "text", "one")
    assert (status, summary["recordings"], summary["failures"][0]["recording_id"]) == (1, 2, "b.wav")
    assert (tmp_path / "text" / "all.txt").read_text() == "a.wav 今天\nc.wav 好\n"


def test_a_channel_of_impossible_rows_leaves_the_other(job: Any, tmp_path: Path) -> None:
    rows = [row for channel in (0, 1) for row in rows_of("call.wav", [{"text": f"第{channel}个"}], channel=channel)]
    rows[1]["end_s"] = None
    status, summary, _ = run(job, commit(tmp_path / "out", "0a", rows), "srt", "recording")
    assert (status, summary["recordings"], summary["invalid"]) == (1, 1, 1)
    assert said_in("srt", (tmp_path / "srt" / "call.srt").read_text()) == "第0个"


@pytest.mark.parametrize("kind", ["srt", "vtt"])
def test_what_a_format_cannot_hold_is_named(job: Any, tmp_path: Path, kind: str) -> None:
    long = [{"text": SAID, "start_s": 360_100.0, "end_s": 360_112.0, "duration_s": 360_112.0}]
    rows = rows_of("a.wav", [{"text": SAID}]) + rows_of("long.wav", long) + rows_of("z.wav", [{"text": SAID}])
    status, summary, seen = run(job, commit(tmp_path / "out", "0a", rows), kind, "recording")
    assert (status, summary["files"], summary["failed"]) == (1, 2, 1)
    (failure,) = summary["failures"]
    assert (failure["recording_id"], failure["file"]) == ("long.wav", f"long.{kind}")
    assert failure["problem"].startswith("it is longer than 100 hours")
    assert "1 of 1 files that could not be written" in seen
    assert files_in(tmp_path / kind) == [f"a.{kind}", f"z.{kind}"]


@pytest.mark.parametrize(("kind", "files"), KINDS)
def test_what_nobody_foresaw_costs_the_recording(
    job: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str, files: str
) -> None:
    key = (kind, files == "one")
    whole = WRITERS[key]

    def stumble(transcript: Transcript, layout: SubtitleLayout) -> str:
        if transcript.first["recording_id"] in ("3.wav", "4.wav"):
            raise KeyError("a thing")
        return whole(transcript, layout)

    monkeypatch.setitem(WRITERS, key, stumble)
    rows = [row for number in range(6) for row in rows_of(f"{number}.wav", [{"text": SAID}])]
    status, summary, seen = run(job, commit(tmp_path / "out", "0a", rows), kind, files)
    assert (status, summary["recordings"], summary["failed"]) == (1, 6, 2)
    assert [each["recording_id"] for each in summary["failures"]] == ["3.wav", "4.wav"]
    assert summary["failures"][0]["problem"] == "KeyError: …"  # it may quote what was said
    assert "a thing" not in seen
    assert "3.wav" in seen
    assert "Traceback" not in seen
    if files == "recording":
        assert summary["files"] == len(files_in(tmp_path / kind)) == 4


@pytest.mark.parametrize("make", [Path.mkdir, lambda path: path.symlink_to("gone"), lambda path: path.write_bytes(b"")])
def test_a_part_that_is_none_costs_itself(job: Any, tmp_path: Path, make: Any) -> None:
    output = commit(tmp_path / "out", "0a", rows_of("a.wav", [{"text": SAID, "reference": SAID}]))
    commit(output, "0b", rows_of("b.wav", [{"text": SAID, "reference": SAID}]))
    (output / part_name("0a")).unlink()
    make(output / part_name("0a"))
    for main in (export.main, evaluate.main):
        status, _, seen = job(f"output.uri={output}", main=main)
        assert "Traceback" not in seen
        assert status in (0, 1)  # a part that is gone, or of another version, is none of this output
        assert status == 0 or part_name("0a") in "".join(seen.split("\n"))
    assert files_in(output / "_export") == ["srt/b.srt"]


REFERENCES = ["", "。", "，，", " ", "\x00\x1b", "\u202e", "0", "a b c", "好" * 50_000, "ﷺ" * 200, "\u0301\u0301", EVIL]


def test_odd_references_do_not_end_an_evaluation(job: Any, tmp_path: Path) -> None:
    rows = rows_of("null.wav", [{"text": SAID}])
    for number, reference in enumerate(REFERENCES):
        rows += rows_of(f"{number}.wav", [{"text": SAID, "reference": reference, "extra": '{"speaker": {"a": [NaN]}}'}])
    for name, (columns, _) in ODD.items():
        rows += rows_of(f"{name}.wav", [columns[0] | {"reference": SAID}, *columns[1:]])
    for number, columns in enumerate(IMPOSSIBLE):
        rows += rows_of(f"bad {number}.wav", [{"text": "好", "reference": SAID} | columns])
    output = commit(tmp_path / "out", "0a", rows)
    scores = tmp_path / "scores.parquet"
    for group in ("folder", "none", "speaker", "extra", "confidence", "channel", "error_kind"):
        asked = (f"evaluate.group={group}", f"evaluate.write={scores}")
        status, summary, seen = job(f"output.uri={output}", *asked, main=evaluate.main)
        assert (status, summary["failed"], summary["without_reference"]) == (1, len(IMPOSSIBLE), 2)
        assert summary["all"]["recordings"] == len(REFERENCES) - 1 + len(ODD) == pa.parquet.read_table(scores).num_rows
        assert [each["recording_id"] for each in summary["failures"]] == [f"bad {number}.wav" for number in range(10)]
        assert "Traceback" not in seen
    good = commit(tmp_path / "good", "0a", rows_of("silent.wav", [{"text": "", "confidence": None, "reference": SAID}]))
    status, summary, _ = job(f"output.uri={good}", main=evaluate.main)
    assert (status, summary["all"]["cer"], summary["failed"]) == (0, 1.0, 0)


def test_what_nobody_foresaw_does_not_end_an_evaluation(
    job: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows = [row for number in range(3) for row in rows_of(f"{number}.wav", [{"text": SAID, "reference": str(number)}])]
    compare = scores.compare

    def stumble(reference: Sequence[str], *others: Any) -> Any:
        if "1" in reference:
            raise ZeroDivisionError("by nothing")
        return compare(reference, *others)

    monkeypatch.setattr(scores, "compare", stumble)
    status, summary, seen = job(f"output.uri={commit(tmp_path / 'out', '0a', rows)}", main=evaluate.main)
    assert (status, summary["all"]["recordings"], summary["failed"]) == (1, 2, 1)
    assert summary["failures"][0] == {
        "recording_id": "1.wav",
        "file": None,
        "problem": "ZeroDivisionError: by nothing",
    }
    assert "1 of 1 recordings that could not be compared" in seen


def test_an_evaluation_of_which_nothing_can_be_compared_says_what_failed(job: Any, tmp_path: Path) -> None:
    bad = rows_of("bad.wav", [{"text": "好", "reference": SAID} | IMPOSSIBLE[0]])
    output = commit(tmp_path / "out", "0a", [*bad, *rows_of("a.wav", [{"text": SAID}])])
    asked = (f"output.uri={output}", f"evaluate.write={tmp_path / 'scores.parquet'}")
    status, summary, seen = job(*asked, main=evaluate.main)
    assert (status, summary["failed"], summary["without_reference"], summary["groups"]) == (1, 1, 1, {})
    assert (summary["all"]["recordings"], summary["all"]["cer"], summary["all"]["interval"]) == (0, None, None)
    assert [each["recording_id"] for each in summary["failures"]] == ["bad.wav"]
    assert "no recording has a reference" not in seen
    (output / part_name("0a")).write_bytes(b"PAR1 torn")
    commit(output, "0b", rows_of("b.wav", [{"text": SAID}]))
    (output / part_name("0b")).unlink()
    (output / part_name("0b")).mkdir()
    assert job(*asked, main=evaluate.main)[0] in (1, 2)
    good = commit(tmp_path / "good", "0a", rows_of("a.wav", [{"text": SAID}]))
    status, summary, seen = job(f"output.uri={good}", main=evaluate.main)
    assert (status, "no recording has a reference" in seen) == (2, True)


@pytest.mark.parametrize("channels", [(None,), (0, 1)])
def test_odd_rows_do_not_fail_their_unit(tmp_path: Path, channels: Sequence[int | None]) -> None:
    """They are committed and counted, and their outcome reaches the driver."""
    recordings = [columns for columns, _ in ODD.values()] + [[{"text": "好"} | columns] for columns in IMPOSSIBLE]
    rows = []
    for number, columns in enumerate(recordings):
        own = {"reference": REFERENCES[number % len(REFERENCES)]}
        for channel in channels:
            rows += rows_of(f"{number}.wav", [columns[0] | own, *columns[1:]], channel=channel)
    table = pa.Table.from_pylist(rows, schema=PART_SCHEMA)
    unit = Unit("0a", "f", (SourceObject(rows[0]["uri"], rows[0]["uri"], "a.tar", "tar", "e", 9),))
    committed = from_json(to_json(commit_unit(unit, [table], Place.at(str(tmp_path)))))
    assert isinstance(committed, Committed)
    assert (committed.counts.recordings, committed.counts.segments) == (len(recordings) * len(channels), len(rows))
    assert committed.counts.reference_characters > 0


TIMES = st.floats(0, 30) | st.sampled_from([0.0, 12.0, 24.0])
TEXTS = st.text("今天。， ab\n\x00\u2028\u0301", max_size=12)


@st.composite
def odd_rows(draw: st.DrawFn) -> list[dict[str, Any]]:
    """Rows that a part may have, of one recording."""
    rows = []
    for index in range(draw(st.integers(1, 4))):
        start, end = sorted((draw(TIMES), draw(TIMES)))
        tokens = draw(st.none() | st.lists(st.builds(token, TEXTS, TIMES, TIMES), max_size=5))
        text = draw(TEXTS if tokens is None else st.just("".join(each["token"] for each in tokens)))
        confidence = draw(st.floats(0, 1)) if text else None
        rows.append(row_of("a.wav", index, text=text, tokens=tokens, start_s=start, end_s=end, confidence=confidence))
    return [dict.fromkeys(PART_SCHEMA.names) | row for row in rows]


@settings(max_examples=150, deadline=None)
@given(odd_rows(), st.booleans())
def test_no_writer_stumbles(rows: list[dict[str, Any]], is_dialogue: bool) -> None:
    if is_dialogue:
        rows = [row | {"channel": channel} for channel in (0, 1) for row in rows]
    visible = sorted(re.sub(r"[\s\x00]", "", "".join(row["text"] for row in rows)))
    for (kind, is_one), writer in WRITERS.items():
        written = writer(Transcript(rows, is_dialogue), SubtitleLayout())
        written.encode()
        if kind == "srt" and not is_dialogue:
            assert sorted(said_in(kind, written)) == visible
        if kind == "text" and is_one:
            assert len(written.splitlines()) == 1 + is_dialogue


def test_tokens_of_equal_times_keep_their_neighbours(job: Any, tmp_path: Path) -> None:
    tokens = [*tokens_of("今天", 1, 1), token("天", 2.8, 2.8), token("气", 4, 5)]
    output = commit(tmp_path / "out", "0a", rows_of("a.wav", [{"text": "今天天气", "tokens": tokens}]))
    assert run(job, output, "textgrid", "recording")[0] == 0
    grid = praatio.textgrid.openTextgrid(str(tmp_path / "textgrid" / "a.TextGrid"), includeEmptyIntervals=False)
    assert [each.label for each in grid.getTier("tokens").entries] == ["今", "天天", "气"]
