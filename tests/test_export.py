"""Transcripts as other programs' files: what others read of them is what was said, and when."""

import io
import json
from datetime import UTC, datetime
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

from actors.parts.commit import commit_unit
from actors.schema import PART_SCHEMA
from actors.storage.place import Place
from actors.units import SourceObject, Unit
from jobs import export
from jobs.transcripts.read import Transcript
from jobs.transcripts.subtitles import SubtitleLayout, cues_of
from jobs.transcripts.words import PUNCTUATION, words_of

EVIL = '\x1b[31m<b>今天</b> --> &amp; {\\an8}\u2028\x00\n\n2\n00:00:01,000 --> 00:00:09,000\n"天气"\u202e'


def row_of(name: str, index: int = 0, **columns: Any) -> dict[str, Any]:
    return {
        "recording_id": name,
        "uri": f"file:///audio/{name}",
        "etag": "e",
        "segment_index": index,
        "start_s": 12.0 * index,
        "end_s": 12.0 * index + 12,
        "duration_s": 24.0,
        "confidence": 0.9,
        "tokens": None,
        **dict.fromkeys(("model", "model_sha256", "decoding", "run_id", "unit"), "m"),
        "transcribed_at": datetime.now(UTC),
    } | columns


def tokens_of(words: str, start: float, step: float) -> list[dict[str, Any]]:
    return [
        {"token": char, "start_s": start + at * step, "end_s": start + (at + 0.8) * step, "confidence": 1.0}
        for at, char in enumerate(words)
    ]


@pytest.fixture
def output(tmp_path: Path) -> Path:
    """An output with a long recording, one of hostile words, one of hostile name, and one that could not be read."""
    said = "星期三的会议改到夜里十一点半开始。请在学校后面等我，好吗？"
    rows = [
        row_of("a/long.flac", 0, text=said, tokens=tokens_of(said, 0.5, 0.35), reference=said, extra='{"by": "x"}'),
        row_of("a/long.flac", 1, text="今天天气很好", confidence=0.4, end_s=17.0),
        row_of("a/long.mp3", text="另一个"),
        row_of("evil.wav", text=EVIL, reference=EVIL),
        row_of("../../etc/pass:wd\x07", text="出去"),
        row_of("broken.wav", text=None, error_kind="unreadable", start_s=None, end_s=None, confidence=None),
    ]
    return output_of(rows, tmp_path / "out")


def output_of(rows: list[dict[str, Any]], folder: Path) -> Path:
    """An output of one unit with these rows."""
    names = dict.fromkeys(row["recording_id"] for row in rows)
    objects = tuple(
        SourceObject(f"file:///audio/{each}", f"file:///audio/{each}", each, "audio", "e", 9) for each in names
    )
    table = pa.Table.from_pylist(rows, schema=PART_SCHEMA)
    commit_unit(Unit("0a", "f", objects), [table], Place.at(str(folder)))
    return folder


def exported(job: Any, output: Path, kind: str, *more: str) -> tuple[Path, dict[str, Any]]:
    into = output.parent / kind
    status, summary, _ = job(
        f"output.uri={output}", f"export.format={kind}", f"export.uri={into}", *more, main=export.main
    )
    assert status == 0
    return into, summary


def files_in(folder: Path) -> list[str]:
    """The files in a folder, without the list of them that jobs.export keeps there."""
    found = (path for path in folder.rglob("*") if path.is_file() and not path.name.startswith(".exported."))
    return sorted(str(path.relative_to(folder)) for path in found)


@pytest.mark.parametrize("kind", ["srt", "vtt"])
def test_subtitles_are_read_by_others(job: Any, output: Path, kind: str) -> None:
    folder, summary = exported(job, output, kind)
    assert (summary["recordings"], summary["errors"]) == (4, 1)
    names = files_in(folder)
    assert [name for name in names if not name.startswith("a/long.") or name == f"a/long.{kind}"] == [
        f"a/long.{kind}",
        f"etc/pass_wd_.{kind}",
        f"evil.{kind}",
    ]
    assert len(names) == 4  # of the two recordings that would have one name, one is marked
    read = webvtt.from_srt if kind == "srt" else webvtt.read
    cues = list(read(folder / f"a/long.{kind}"))
    assert (
        "".join(cue.text.replace("\n", "") for cue in cues)
        == "星期三的会议改到夜里十一点半开始。请在学校后面等我，好吗？今天天气很好"
    )
    assert cues[0].text.endswith("。")
    assert [cue.text.count("\n") for cue in cues] == [1, 0, 0]  # 17, 12 and 6 characters
    assert [cue.start for cue in cues][:2] == ["00:00:00.500", "00:00:06.450"]
    assert cues[0].end == "00:00:06.380"  # of the last token: 0.5 s + 16.8 of 0.35 s
    assert cues[-1].end == "00:00:17.000"
    evil = list(read(folder / f"evil.{kind}"))
    assert (evil[0].start, evil[-1].end) == ("00:00:00.000", "00:00:12.000")
    text = (folder / f"evil.{kind}").read_text()
    assert not set("\x1b\x00\u2028\u202e") & set(text)
    assert not set("<>") & set(text.replace("-->", ""))
    assert ("&lt;" if kind == "vtt" else "＜") in text
    assert "天气" in text


def test_textgrids_are_read_by_praat(job: Any, output: Path) -> None:
    folder, _ = exported(job, output, "textgrid")
    grid = praatio.textgrid.openTextgrid(str(folder / "a/long.TextGrid"), includeEmptyIntervals=False)
    assert grid.tierNames == ("segments", "tokens")
    assert [tuple(each) for each in grid.getTier("segments").entries] == [
        (0.0, 12.0, "星期三的会议改到夜里十一点半开始。请在学校后面等我，好吗？"),
        (12.0, 17.0, "今天天气很好"),
    ]
    tokens = grid.getTier("tokens").entries
    assert "".join(each.label for each in tokens) == "星期三的会议改到夜里十一点半开始。请在学校后面等我，好吗？"
    assert [tokens[1].start, tokens[1].end] == pytest.approx([0.85, 1.13], abs=1e-3)
    assert grid.maxTimestamp == 24.0
    (evil,) = praatio.textgrid.openTextgrid(str(folder / "evil.TextGrid"), False).getTier("segments").entries
    assert (evil.start, evil.end) == (0.0, 12.0)
    assert '"天气"' in evil.label


def test_lines(job: Any, output: Path) -> None:
    folder, _ = exported(job, output, "jsonl")
    lines = [json.loads(line) for line in (folder / "all.jsonl").read_text().splitlines()]
    assert [line["recording_id"] for line in lines] == [
        "a/long.flac",
        "a/long.mp3",
        "evil.wav",
        "../../etc/pass:wd\x07",
    ]
    assert lines[2]["reference"] == EVIL
    assert (lines[0]["extra"], len(lines[0]["segments"]), lines[0]["segments"][1]["start_s"]) == ({"by": "x"}, 2, 12.0)
    assert lines[0]["segments"][0]["tokens"][0]["token"] == "星"

    folder, _ = exported(job, output, "manifest", "export.min_confidence=0.5")
    entries = [json.loads(line) for line in (folder / "all.json").read_text().splitlines()]
    assert len(entries) == 4  # less the segment of 0.4
    assert entries[0]["audio_filepath"] == "/audio/a/long.flac"
    assert (entries[0]["offset"], entries[0]["duration"]) == (0.0, 12.0)

    folder, _ = exported(job, output, "text")
    lines = (folder / "all.txt").read_text().splitlines()
    assert len(lines) == 4
    assert lines[1] == "a/long.mp3 另一个"
    folder, _ = exported(job, output, "text", "export.files=recording", f"export.uri={output.parent / 'each'}")
    assert (output.parent / "each" / "a" / "long.txt").read_text().splitlines()[1] == "今天天气很好"


def test_mistakes_are_told_in_a_line(job: Any, output: Path, tmp_path: Path) -> None:
    status, _, seen = job(f"output.uri={tmp_path / 'nothing'}", main=export.main)
    assert (status, "has no committed transcripts" in seen) == (2, True)
    (tmp_path / "file").touch()
    status, _, seen = job(f"output.uri={output}", f"export.uri={tmp_path / 'file'}", main=export.main)
    assert (status, "file cannot be a folder, for" in seen) == (2, True)
    status, _, seen = job(f"output.uri={output}", "export.files=one", main=export.main)
    assert (status, "a srt file holds one recording" in seen) == (2, True)


def test_an_export_to_s3(job: Any, output: Path, s3_options: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", s3_options["key"])
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", s3_options["secret"])
    where = [
        "export.uri=s3://bucket/exported",
        f"export.storage_options={{endpoint_url: '{s3_options['endpoint_url']}'}}",
    ]
    for kind in ("srt", "jsonl"):
        assert job(f"output.uri={output}", *where, f"export.format={kind}", main=export.main)[0] == 0
    store = s3fs.S3FileSystem(**s3_options)
    assert len(store.cat_file("bucket/exported/all.jsonl").splitlines()) == 4
    with io.StringIO(store.cat_file("bucket/exported/a/long.srt").decode()) as file:
        assert len(webvtt.from_buffer(file, "srt").captions) == 3


@settings(max_examples=200, deadline=None)
@given(
    words=st.lists(st.sampled_from([*"今天气很好。，", " the", " transcript", "ion"]), min_size=1, max_size=80),
    gaps=st.lists(st.floats(0, 2), min_size=80, max_size=80),
    layout=st.builds(SubtitleLayout, st.integers(8, 24), st.integers(1, 3), st.floats(0.5, 2), st.floats(3, 9)),
)
def test_cues_say_all_and_keep_their_size(words: list[str], gaps: list[float], layout: SubtitleLayout) -> None:
    at, tokens = 0.0, []
    for word, gap in zip(words, gaps, strict=False):
        tokens.append({"token": word, "start_s": at + gap, "end_s": at + gap + 0.2})
        at += gap + 0.2
    row = {"text": "".join(words), "tokens": tokens, "start_s": 0.0, "end_s": at}
    cues = cues_of([row], layout)
    assert "".join("".join(cue.text.split()) for cue in cues) == "".join(row["text"].split())
    assert all(left.end <= right.start for left, right in pairwise(cues))
    longest = max(word.width for word in words_of(row))
    for cue in cues:
        assert cue.start < cue.end
        lines = cue.text.split("\n")
        assert all(line for line in lines)
        if longest <= layout.characters:
            assert len(lines) <= layout.lines + 1
        assert not any(line[0] in PUNCTUATION for line in lines[1:])


def test_words_keep_together() -> None:
    row = {"text": "the transcription", "tokens": tokens_of("xxx", 0, 1), "start_s": 0.0, "end_s": 3.0}
    for token, text in zip(row["tokens"], ("the", " transcript", "ion"), strict=True):
        token["token"] = text
    assert [(word.text, word.start, word.end) for word in words_of(row)] == [
        (" the", 0.0, 0.8),
        (" transcription", 1.0, 2.8),
    ]
    assert Transcript([row | {"segment_index": 0}]).text == "the transcription"
