"""Names of recordings in archives lead nowhere but below export.uri, and none costs the export of another."""

import errno
import io
import json
import os
import tarfile
import time
import unicodedata
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import webvtt
from conftest import ROOT
from test_export import files_in, row_of

from actors.foreign.escape import control_characters
from actors.parts.commit import commit_unit
from actors.schema import PART_SCHEMA
from actors.storage.place import Place
from actors.units import SourceObject, Unit
from jobs import evaluate, export, transcribe
from jobs.transcripts import out_files
from jobs.transcripts.file_names import MAX_PART, FileNames, clean
from jobs.transcripts.formats import subtitles, text_line
from jobs.transcripts.read import Transcript
from jobs.transcripts.subtitles import SubtitleLayout

HOSTILE = [
    *(" .. / .. / .. /escaped/by-tar.wav", "dup/x.wav", "dup/x.wav", "dup/x.wav", "q.wav", "q.srt/y.wav"),
    *("L" * 300 + "/y.wav", "case/A.wav", "case/a.wav"),
    *("..\t/.\u200b./ ..\u00a0/tabbed.wav", "...  . /dots.wav", "/etc/absolute.wav", "//../x/../../up.wav"),
    *("..\\..\\windows.wav", "C:/drive.wav", "con.wav", "NUL/aux .tar.wav", "lpt1", "Com¹.wav"),
    *("accent/é.wav", "accent/e\u0301.wav", "accent/É.wav", "straße.wav", "STRASSE.wav", "．．/wide.wav"),
    *("z/" * 900 + "deep.wav", "长" * 300 + "/" + "名" * 300 + ".wav", "", "/", ".", "a/", ".wav", "a\0b\x1b.wav"),
    *("r.srt/s.wav", "r.wav", "R.SRT/t.wav", "x .wav", "x.wav"),
]


def output_of(folder: Path, names: Sequence[str]) -> Path:
    """An output with a recording of each name, all of them in one tar."""
    uri = "file:///archive/a.tar"
    rows = [row_of(name, text=f"第{number}个", uri=uri, member=name) for number, name in enumerate(names)]
    table = pa.Table.from_pylist(rows, schema=PART_SCHEMA)
    unit = Unit("0a", "f", (SourceObject(uri, uri, "a.tar", "tar", "e", 9),))
    commit_unit(unit, [table], Place.at(str(folder)))
    return folder


def run_export(job: Any, output: Path, into: Path, *more: str) -> tuple[int, dict[str, Any], str]:
    status, summary, seen = job(f"output.uri={output}", f"export.uri={into}", *more, main=export.main)
    return status, summary, seen


def test_all_hostile_names_have_a_file_below(job: Any, tmp_path: Path) -> None:
    output, into = output_of(tmp_path / "out", HOSTILE), tmp_path / "deep" / "er" / "into"
    status, summary, seen = run_export(job, output, into)
    assert (status, summary["failed"], summary["failures"]) == (0, 0, [])
    names = files_in(into)
    assert len(names) == summary["files"] == summary["recordings"] == len(HOSTILE)
    assert files_in(tmp_path / "deep") == sorted(f"er/into/{name}" for name in names)
    said = {"".join(cue.text for cue in webvtt.from_srt(into / name)) for name in names}
    assert said == {f"第{number}个" for number in range(len(HOSTILE))}
    assert len({unicodedata.normalize("NFC", name).casefold() for name in names}) == len(names)
    for name in names:
        parts = name.split("/")
        assert all(len(part.encode()) <= MAX_PART + 20 for part in parts)
        assert all(part == part.strip() and part.isprintable() and not part.endswith(".") for part in parts)
        assert not {part.split(".")[0].strip().lower() for part in parts} & {"con", "nul", "aux", "lpt1", "com¹"}
    assert {"escaped/by-tar.srt", "dup/x.srt", "q.srt", "case/A.srt", "etc/absolute.srt", "C_/drive.srt"} <= set(names)
    assert "r.srt/s.srt" in names
    before = {name: (into / name).read_bytes() for name in names}
    assert run_export(job, output, into)[0] == 0
    assert {name: (into / name).read_bytes() for name in files_in(into)} == before
    assert "\x1b" not in seen


@pytest.mark.usefixtures("ray_two_cpus")
def test_an_archive_of_hostile_names_through_both_jobs(job: Any, tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    sound = (ROOT / "demo" / "audio" / "loose" / "00.wav").read_bytes()
    members = [" .. / .. / .. /escaped/by-tar.wav", "dup/x.wav", "dup/x.wav", "dup/x.wav", "q.wav", "q.srt/y.wav"]
    members += ["L" * 300 + "/y.wav", "case/A.wav", "case/a.wav"]
    with tarfile.open(tmp_path / "in" / "a.tar", "w", format=tarfile.PAX_FORMAT) as archive:
        for name in members:
            header = tarfile.TarInfo(name)
            header.size = len(sound)
            archive.addfile(header, io.BytesIO(sound))
    output, into = tmp_path / "out", tmp_path / "a" / "b" / "into"
    status, summary, _ = job(f"input.uri={tmp_path / 'in'}", f"output.uri={output}", main=transcribe.main)
    assert (status, summary["recordings"]) == (0, len(members))
    status, summary, _ = run_export(job, output, into)
    assert (status, summary["files"]) == (0, len(members))
    assert len(files_in(into)) == len(members)
    assert not (tmp_path / "escaped").exists()
    assert len([name for name in files_in(tmp_path) if name.endswith(".srt")]) == len(members)


def test_names_are_the_same_in_every_run_and_all_different() -> None:
    def names() -> list[str]:
        given = FileNames("bucket/prefix", ".TextGrid")
        return [given.name(name, ("uri", name, None)) for name in HOSTILE * 3]

    assert names() == names()
    assert len(set(names())) == 3 * len(HOSTILE)
    assert all(len(f"bucket/prefix/{name}".encode()) <= 1_000 for name in names())
    many = FileNames("/r", ".srt")
    assert len({many.name("x.wav", ("uri", "x.wav", None)) for _ in range(2_000)}) == 2_000


@pytest.mark.parametrize(
    ("part", "cleaned"),
    [
        *((" .. ", ""), (". .", ""), ("...", ""), ("\t..\n", "_.._"), ("..\u200b", ".._"), (".hidden", ".hidden")),
        *(("CON", "_CON"), ("con.txt", "_con.txt"), ("com9 .x", "_com9 .x"), ("console", "console"), ("aux ", "_aux")),
        *(("a" * 179 + ".b", "a" * 179), ("名" * 100, "名" * 60), ("今天", "今天"), ("a/b\\c:d", "a_b_c_d")),
    ],
)
def test_a_part_of_a_path_is_clean(part: str, cleaned: str) -> None:
    assert clean(part) == cleaned


def test_a_link_that_leads_out_is_not_written_through(job: Any, tmp_path: Path) -> None:
    names = ["link/a.wav", "link/deeper/b.wav", "inside/c.wav", "dangling/d.wav", "file.wav", "e.wav"]
    output, into, outside = output_of(tmp_path / "out", names), tmp_path / "into", tmp_path / "outside"
    (into / "real").mkdir(parents=True)
    outside.mkdir()
    (outside / "target").write_text("mine")
    (into / "link").symlink_to("../outside")
    (into / "inside").symlink_to("real")
    (into / "dangling").symlink_to(tmp_path / "outside" / "gone")
    (into / "file.srt").symlink_to(outside / "target")
    status, summary, seen = run_export(job, output, into)
    assert (status, summary["failed"], summary["files"]) == (1, 3, 3)
    assert [each["file"] for each in summary["failures"]] == ["link/a.srt", "link/deeper/b.srt", "dangling/d.srt"]
    assert "link that leads out" in summary["failures"][0]["problem"]
    assert str(into / "link") in "".join(seen.split())
    assert files_in(outside) == ["target"]
    assert (outside / "target").read_text() == "mine"
    assert not (into / "file.srt").is_symlink()
    assert (into / "real" / "c.srt").exists()
    (into / "all.jsonl").symlink_to(outside / "target")
    assert run_export(job, output, into, "export.format=jsonl")[0] == 0
    assert (outside / "target").read_text() == "mine"
    assert len((into / "all.jsonl").read_text().splitlines()) == len(names)
    linked = tmp_path / "linked"  # the folder itself may be a link: a person named it
    linked.symlink_to(into / "real")
    assert run_export(job, output_of(tmp_path / "one", ["x.wav"]), linked)[0] == 0


def test_a_name_that_leads_out_is_never_written(tmp_path: Path) -> None:
    for name in ("../x", "a/../../x", "/x", "", ".", "a//b", "./a"):
        with pytest.raises(ValueError, match="is not below"):
            out_files.write_below(Place.at(str(tmp_path / "into")), name, b"x")
    assert list(tmp_path.iterdir()) == []


def test_a_file_that_cannot_be_written_costs_that_file(job: Any, tmp_path: Path) -> None:
    output, into = output_of(tmp_path / "out", [f"{n}.wav" for n in range(400)]), tmp_path / "into"
    for number in range(100, 150):  # folders where files should be
        (into / f"{number}.srt" / "x").mkdir(parents=True)
    (into / "200.srt").mkdir()
    status, summary, seen = run_export(job, output, into)
    assert (status, summary["failed"], summary["files"], summary["recordings"]) == (1, 51, 349, 400)
    assert len(files_in(into)) == 349
    assert summary["failures"][0]["recording_id"] == "100.wav"
    assert "8 of 51 files that could not be written" in seen


@pytest.mark.parametrize(("number", "tries"), [(errno.ENOSPC, 300), (errno.EIO, 300)])
def test_a_storage_that_takes_nothing_ends_it(
    job: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int, tries: int
) -> None:
    output, asked = output_of(tmp_path / "out", [f"{n}.wav" for n in range(1_000)]), list[str]()

    def refuse(place: Place, data: bytes) -> None:
        asked.append(place.path)
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(Place, "write", refuse)
    status, summary, seen = run_export(job, output, tmp_path / "into")
    assert (status, summary["status"], "storage: " in seen) == (1, 1, True)
    assert len(asked) <= tries


def test_a_whole_file_is_there_once_it_is_whole(tmp_path: Path) -> None:
    place = Place.at(str(tmp_path / "new" / "file"))

    def write_half() -> None:
        with out_files.atomic_file(place) as file:
            file.write(b"half")
            raise KeyError

    with pytest.raises(KeyError):
        write_half()
    assert os.listdir(tmp_path / "new") == []
    (tmp_path / "new" / "file").symlink_to(tmp_path / "elsewhere")
    with out_files.atomic_file(place) as file:
        file.write(b"whole")
    assert (tmp_path / "new" / "file").read_bytes() == b"whole"
    assert os.listdir(tmp_path / "new") == ["file"]
    assert not (tmp_path / "elsewhere").exists()


def test_groups_and_scores_of_hostile_names(job: Any, tmp_path: Path) -> None:
    speakers = ["a\x1b[31m\nall 0.00%", "[red]x", "https://u:hunter2@host/s?sig=hunter2", "\ud800", "今天"]
    rows = [
        row_of(f"{number}.wav", text="好", reference="好", extra=json.dumps({"speaker": speaker}))
        for number, speaker in enumerate(speakers)
    ]
    objects = tuple(SourceObject(row["uri"], row["uri"], row["recording_id"], "audio", "e", 9) for row in rows)
    unit = Unit("0a", "f", objects)
    commit_unit(unit, [pa.Table.from_pylist(rows, schema=PART_SCHEMA)], Place.at(str(tmp_path / "out")))
    (tmp_path / "mine").write_text("mine")
    (tmp_path / "scores.parquet").symlink_to("mine")
    policy = ("evaluate.group=speaker", f"evaluate.write={tmp_path / 'scores.parquet'}")
    status, summary, seen = job(f"output.uri={tmp_path / 'out'}", *policy, main=evaluate.main)
    assert status == 0
    assert set(summary["groups"]) == {speakers[0], "[red]x", "https://host/s", "\\ud800", "今天"}
    assert "hunter2" not in seen
    assert not control_characters(seen.replace("\n", ""))
    assert "\nall 0.00%" not in seen
    assert (tmp_path / "mine").read_text() == "mine"
    assert pq.read_table(tmp_path / "scores.parquet").num_rows == len(speakers)


def test_a_place_of_no_known_kind_is_told(job: Any, tmp_path: Path) -> None:
    output = output_of(tmp_path / "out", ["a.wav"])
    status, _, seen = job(f"output.uri={output}", "export.uri=nothing://x", main=export.main)
    assert (status, "configuration: 'nothing://x'" in seen) == (2, True)


def test_subtitles_keep_their_form_and_their_letters() -> None:
    forged = "今天\n\n2\n00:00:01,000-->00:00:09,000\n天气\u2029\u0085\n\n\nNOTE x"
    joined = "می\u200cخواهم👨\u200d👩\u200d👧"
    for kind in ("srt", "vtt"):
        row = row_of("a.wav", text=forged)
        text = subtitles(Transcript([row]), SubtitleLayout(), kind)
        assert text.count("-->") == len(webvtt.from_buffer(io.StringIO(text), kind).captions)
        cues = text.removeprefix("WEBVTT\n\n").strip().split("\n\n")
        assert ["-->" in cue.split("\n")[1] for cue in cues] == [True] * text.count("-->")
        whole = subtitles(Transcript([row | {"text": joined}]), SubtitleLayout(characters=60, max_s=60), kind)
        assert joined in whole
        assert "-->" not in subtitles(Transcript([row | {"text": "\x00\u202e"}]), SubtitleLayout(), kind)
    line = text_line(Transcript([row_of("\x1b\u2028", text=forged)]), SubtitleLayout())
    assert line.startswith("recording 今天")
    assert len(line.splitlines()) == 1


def test_a_name_costs_the_same_however_many_there_are() -> None:
    def seconds(count: int) -> float:
        names, began = FileNames("/root", ".srt"), time.process_time()
        for number in range(count):
            names.name(f"folder/{number}", (number,))
        return time.process_time() - began

    assert seconds(24_000) < 20 * seconds(4_000)  # six times as many; a copy of all names for each made it forty
