"""What people see at 60, 80 and 140 columns, as recorded in tests/screens/; in logs; on dumb terminals; and quietly."""

import io
import json
import os
import re
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa
import pytest
from conftest import ROOT, encoded, tone
from rich.cells import cell_len
from screens import check_golden, resize, screen, shown, terminal

from actors.outcomes import Committed, Counts, Example, Failed, Kept, Work
from actors.parts.commit import commit_unit
from actors.schema import PART_SCHEMA
from actors.storage.place import Place
from actors.units import Carried, SourceObject, Unit, Version
from jobs import align, history
from jobs.cli import terminal as printing
from jobs.cli.config import Errors
from jobs.cli.loading import load
from jobs.planning.account import Files
from jobs.planning.listing import list_input
from jobs.planning.run_files import RUNS, SUMMARY
from jobs.running.budget import Account
from jobs.running.facts import failing
from jobs.running.failing import query, show_failing
from jobs.running.outcomes import Ledger, Totals
from jobs.running.progress import Progress, in_words
from jobs.running.summary import Finished, close, sum_up
from jobs.transcripts.aligning import Aligned, Low

WIDTHS = pytest.mark.parametrize("columns", [60, 80, 140])


class Clock:
    """Time that passes when it is told to."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


# Progress


def progress_of(planned: dict[str, float]) -> tuple[Progress, Clock]:
    clock = Clock()
    return Progress(planned, clock), clock


def test_progress_that_is_too_little_to_be_counted_is_no_rate() -> None:
    """1e9 seconds and 1e-9 of one are 1e9 seconds."""
    now = [0.0]
    progress = Progress({"a": 1e9, "z": 1.0} | dict.fromkeys("bcdef", 1e-9), lambda: now[0])
    progress.commit("a", 1e9, 0, 1.0)
    for unit in "bcdef":
        now[0] += 400
        progress.commit(unit, 1e-9, 0, 1.0)
        assert progress.line(200)
    assert progress.line(200).endswith("33 min so far")


def test_progress_tells_hours_units_errors_speed_and_what_is_left() -> None:
    progress, clock = progress_of({f"{number}": 306.0 for number in range(40)})
    assert progress.line(100) == "0.00 of 3.40 h · 0 of 40 units · 0 s so far"
    clock.now += 20  # start-up
    for number in range(12):
        clock.now += 25
        progress.commit(str(number), 306.0, number == 3 and 3, took=25.0)
    assert progress.line(100) == "1.02 of 3.40 h · 12 of 40 units · 3 errors · 12 x · 12 min left"
    assert progress.line(59) == "1.02 of 3.40 h · 12 of 40 units · 3 errors · 12 min left"
    assert progress.line(45) == "1.02 of 3.40 h · 3 errors · 12 min left"
    clock.now += 3_600  # nothing comes any more: what is left grows, and is never negative
    assert progress.line(100).endswith(" h 12 min left") or " h " in progress.line(100).rpartition("·")[2]


def test_a_time_is_told_only_once_there_is_a_rate() -> None:
    progress, clock = progress_of({"a": 3_600.0, "b": 3_600.0, "c": 3_600.0})
    clock.now += 30
    progress.keep("a", 1_800.0, took=10.0)
    assert progress.line(100).endswith("30 s so far")
    clock.now += 10
    progress.keep("b", 1_800.0, took=10.0)
    assert progress.line(100) == "1.00 of 3.00 h · 0 of 3 units · 180 x · 40 s left"  # from 120 to 140


@pytest.mark.parametrize("factor", [0.01, 0.5, 1.0, 2.0, 100.0])
def test_wrong_estimates_are_never_exceeded_and_leave_the_rate_alone(factor: float) -> None:
    progress, clock = progress_of({f"{number}": 3_600.0 for number in range(10)})
    for number in range(10):
        clock.now += 60
        progress.keep(str(number), 1_800.0 * factor, took=60.0)
        clock.now += 60
        progress.commit(str(number), 1_800.0 * factor, 0, took=60.0)
        line = progress.line(200)
        done, total = (float(each.replace(",", "")) for each in re.findall(r"([\d,.]+) of ([\d,.]+) h", line)[0])
        assert 0 < done <= total
        if 0 < number < 9:
            minutes = int(re.findall(r"(\d+) min left$", line)[0])
            assert minutes == pytest.approx(2 * (9 - number), rel=0.25)
    assert done == total == pytest.approx(10 * factor, abs=0.06)
    assert line.endswith("in 20 min")


def test_runs_that_only_rewrite_tell_units() -> None:
    progress, clock = progress_of({f"{number}": 0.0 for number in range(100)})
    assert progress.line(100) == "0 of 100 units · 0 s so far"
    for number in range(10):
        clock.now += 2
        progress.commit(str(number), 0.0, 0, took=None)
    assert progress.line(100) == "10 of 100 units · 3 min left"


def test_what_is_rewritten_or_was_kept_tells_nothing_of_the_rate() -> None:
    progress, clock = progress_of({"r1": 0.0, "r2": 0.0, "r3": 0.0, "a": 3_600.0, "b": 3_600.0, "c": 3_600.0})
    for unit in ("r1", "r2", "r3"):
        clock.now += 100
        progress.commit(unit, 0.0, 0, took=None)
    progress.keep("a", 0.0, took=None)
    clock.now += 100
    progress.commit("a", 3_600.0, 0, took=None)  # all of its pieces were kept by an earlier run
    assert progress.line(100) == "1.00 of 3.00 h · 4 of 6 units · 400 s so far"
    clock.now += 60
    progress.keep("b", 1_800.0, took=60.0)
    clock.now += 60
    progress.keep("b", 1_800.0, took=60.0)
    assert progress.line(100) == "2.00 of 3.00 h · 4 of 6 units · 30 x · 2 min left"


def test_no_time_at_all_is_no_speed() -> None:
    progress, _ = progress_of({"a": 3_600.0})
    progress.commit("a", 0.0, 1, took=0.0)
    assert progress.line(100) == "0.00 of 0.00 min · 1 of 1 unit · 1 error · in 0 s".replace("0.00", "0.0")


def test_units_that_fail_are_counted_and_take_no_time() -> None:
    progress, clock = progress_of(dict.fromkeys("abcd", 3600.0))
    for unit in "ab":
        clock.now += 60
        progress.commit(unit, 3_600.0, 0, took=60.0)
    progress.fail("c")
    assert progress.line(100) == "2.00 of 4.00 h · 2 of 4 units · 1 unit failed · 60 x · 1 min left"
    progress.fail("d")
    assert progress.line(100).endswith("2 units failed · in 2 min")
    progress.retry("c")
    progress.commit("c", 3_600.0, 0, took=60.0)
    assert "3 of 4 units · 1 unit failed" in progress.line(100)


def test_the_recent_rate_counts() -> None:
    progress, clock = progress_of({f"{number}": 60.0 for number in range(2_000)})
    for number in range(1_000):
        clock.now += 1 if number < 500 else 10
        progress.commit(str(number), 60.0, 0, took=1.0)
    assert "· 6 x ·" in progress.line(100)
    assert progress.line(100).endswith("2 h 47 min left")


def test_a_ledger_tells_its_progress() -> None:
    def unit(name: str, *objects: str) -> Unit:
        found = (SourceObject(each, each, each, "audio", None, 1) for each in objects)
        return Unit(name, "f", tuple(found), (Carried("k", Version("1"), "k"),))

    ledger = Ledger([unit("0a", "a", "b"), unit("0b", "c"), unit("0c")], lambda _: 1_800.0)
    line = ledger.progress.line
    assert line(100) == "0.00 of 1.50 h · 0 of 3 units · 0 s so far"
    work = Work("actor", 0.0, 1.0, 1.0, 1.0)
    ledger.add(Kept("0a", 1_000.0, work))
    ledger.add(Committed("0a", Counts(2, 2, 3_000.0, {"missing": 2}), work))
    assert line(100).startswith("0.83 of 1.33 h · 1 of 3 units · 2 errors · ")
    ledger.add(Failed("0b", "x"))
    assert " · 1 unit failed · " in line(100)
    ledger.to_retry()
    assert "failed" not in line(100)
    ledger.give_up("stopped")
    assert " · 2 units failed · " in line(100)


def test_times_in_words() -> None:
    told = {0.2: "0 s", 59.4: "59 s", 59.6: "1 min", 3_599: "1 h 0 min", 12_000: "3 h 20 min", 4e5: "4 d 15 h"}
    assert {seconds: in_words(seconds) for seconds in told} == told


# What stands on a terminal, and in a log


def run_line(line: Callable[[int], str], seconds: float = 0.0) -> None:
    printing.say("starting")
    with printing.shown_live(line):
        time.sleep(seconds)
        printing.say("a sentence in between")
    printing.say("the end")


@WIDTHS
def test_the_line_of_a_run_fits(columns: int) -> None:
    progress, clock = progress_of({f"{number}": 3_060.0 for number in range(4_000)})
    for number in range(1_200):
        clock.now += 20
        progress.commit(str(number), 3_060.0, number % 2, took=20.0)
    check_golden("progress", columns, screen(columns, lambda: run_line(progress.line)))


def test_a_line_of_progress_is_rewritten_below_what_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(printing, "TICK_S", 0.01)
    with terminal(60) as written:
        run_line(lambda room: "今" * (room // 2) + "x" * (room % 2), seconds=0.2)
    raw = written()
    assert raw.count("今") > 60
    line = "今" * 29 + "x"
    assert shown(raw, 60) == f"starting\na sentence in between\n{line}\nthe end\n"


def test_a_terminal_may_be_resized() -> None:
    rooms = list[int]()

    def show() -> None:
        for columns in (60, 100, 40):
            resize(sys.stderr.fileno(), columns)
            printing.StatusLine().say("x" * 200)
            with printing.shown_live(lambda room: rooms.append(room) or "y"):
                pass
            printing.show_table("t", ("a",), [("z" * 200,)])

    with terminal(60) as written:
        show()
    raw = written()
    assert rooms == [59, 99, 39]
    assert [len(each) for each in re.findall(r"x+…", raw)] == [59, 99, 39]
    assert [len(each) for each in re.findall(r"z+…", raw)] == [60, 100, 40]


def test_a_log_has_a_line_soon_and_every_minute_with_the_time(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(printing, "TICK_S", 0.01)
    monkeypatch.setattr(printing, "SOON_S", 0.05)
    monkeypatch.setattr(printing, "LOG_EVERY_S", 0.2)
    run_line(lambda _: "1 of 2", seconds=0.6)
    first, *lines, between, last, end = capsys.readouterr().err.splitlines()
    assert (first, between, end) == ("starting", "a sentence in between", "the end")
    assert 1 <= len(lines) <= 3
    for line in (*lines, last):
        assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ 1 of 2", line)


def test_other_lines_of_progress_fit_and_have_the_time(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(printing, "SOON_S", -1.0)
    line = printing.StatusLine()
    for number in range(5):
        line.say(f"listing: {number} files …")
    assert re.fullmatch(r"\d{4}-\S+Z listing: 0 files …\n", capsys.readouterr().err)
    with terminal(30) as written:
        line.say("listing the files of a very large archive …")
        line.clear()
    assert shown(written(), 30) == "\n"
    assert "\rlisting the files of a very …\x1b[K" in written()


def test_while_others_are_silenced_what_a_job_says_stands() -> None:
    program = """
import os, sys
from jobs.cli.terminal import StatusLine, others_silenced, say
line = StatusLine()
with others_silenced():
    os.write(2, b"the log level of others")
    print("others", file=sys.stderr, flush=True)
    say("mine")
    line.say("x" * 99)
    line.clear()
os.write(2, b"after\\n")
say("end")
"""
    with terminal(60) as written:
        subprocess.run([sys.executable, "-c", program], cwd=ROOT, stderr=sys.stderr.fileno(), check=True)
    assert shown(written(), 60) == "mine\nafter\nend\n"
    assert "\r" + "x" * 58 + "…" in written()


def test_a_dumb_terminal_gets_lines_and_no_colours(monkeypatch: pytest.MonkeyPatch) -> None:
    with terminal(60) as written:
        monkeypatch.setenv("TERM", "dumb")
        run_line(lambda _: "1 of 2")
        printing.say("red", "red")
    assert re.fullmatch(r"starting\na sentence in between\n\S+Z 1 of 2\nthe end\nred\n", written())


def test_no_color_is_respected(monkeypatch: pytest.MonkeyPatch) -> None:
    for no_color in ("", "1"):
        with terminal(60) as written:
            monkeypatch.setenv("NO_COLOR", no_color)
            printing.say("a warning", "yellow")
        assert ("\x1b[33m" in written()) == (not no_color)


@pytest.mark.parametrize("number", ["", "0", "1", "-5", "²", "٣", "many", "9" * 5_000])
@pytest.mark.parametrize("is_terminal", [True, False])
def test_whatever_the_width_is_said_to_be_nothing_is_lost(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], number: str, is_terminal: bool
) -> None:
    def show() -> None:
        for name in ("COLUMNS", "LINES"):
            monkeypatch.setenv(name, number)
        printing.say("a warning", "yellow")
        printing.show_table("errors", ("a",), [("b",)])

    if is_terminal:
        with terminal(0) as written:
            show()
        seen = shown(written(), 80)
    else:
        show()
        seen = capsys.readouterr().err
    assert seen.splitlines() == ["a warning", "errors", "a", "b"]


def test_what_stands_for_standard_error_may_have_no_encoding(monkeypatch: pytest.MonkeyPatch) -> None:
    """As in a task of Airflow."""
    stream = io.StringIO()
    monkeypatch.setattr(sys, "stderr", stream)
    printing.say("今天 …")
    assert stream.getvalue() == "今天 …\n"


def test_the_quiet_see_warnings_and_errors_only(capsys: pytest.CaptureFixture[str]) -> None:
    printing.be_quiet(True)
    try:
        run_line(lambda _: "1 of 2")
        printing.StatusLine().say("x", is_last=True)
        printing.show_table("t", ("a",), [("b",)])
        printing.show_table("errors", ("a",), [("c",)], style="red")
        printing.say("a warning", "yellow")
        printing.say("an error", "red")
    finally:
        printing.be_quiet(False)
    assert capsys.readouterr().err == "errors\na\nc\na warning\nan error\n"


@pytest.mark.parametrize("option", ["-q", "--quiet"])
def test_every_job_can_be_quiet(job: Any, tmp_path: Path, capfd: pytest.CaptureFixture[str], option: str) -> None:
    (tmp_path / RUNS / "000001").mkdir(parents=True)
    (tmp_path / RUNS / "000001" / SUMMARY).write_text('{"status": 0}')
    for given in ((option, f"output.uri={tmp_path}"), (f"output.uri={tmp_path}", option)):
        status, listed, seen = job(*given, main=history.main)
        assert (status, listed["runs_in_all"], seen) == (0, 1, "")
    assert job(f"output.uri={tmp_path}", main=history.main)[2]
    assert "has no runs" in job(option, f"output.uri={tmp_path}/x", main=history.main)[2]


def test_where_the_encoding_lacks_a_character_it_is_shown_in_another_way() -> None:
    program = "from jobs.cli.terminal import say, show_table; say('a · b …'); show_table('t', ('c',), [('今' * 30,)])"
    environment = {**os.environ, "PYTHONIOENCODING": "ascii", "COLUMNS": "40"}
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=ROOT, env=environment, stderr=subprocess.PIPE, check=True
    )
    assert done.stderr.decode("ascii").splitlines() == ["a | b ...", "t", "c", ("\\u4eca" * 30)[:37] + "..."]


# Tables


FAILURES = [
    Example(f"{folder}/speaker-{number:03}/今天的录音-{number}.wav", error_kind=kind, error_detail=detail)
    for number, (folder, kind, detail) in enumerate(
        [
            ("loose", "empty", "the file has no bytes"),
            (
                "a/much/longer/path/of/folders/in/the/archive",
                "not_audio",
                "the first bytes (74 68 69) are of no format",
            ),
            ("x", "unreadable", "mov: FFmpeg: Invalid data found when processing input, at the frame 1234 of 5678"),
        ]
        * 9
    )
]
TEXTS = [Example("loose/00.wav", "今天早上司机在公园买东西", "今天早上司机在公园买东西")] * 2 + [
    Example("long/a/b.wav", "he said so and then went on for a very long time " * 4, "he said so")
]
OUTPUT = "file:///home/somebody/archives/2026/transcripts-of-the-northern-region/first"


def finished(**fields: Any) -> Finished:
    counts = Counts(77_000, 135_000, 1_234_567.0, {"empty": 18, "not_audio": 9}, 26, 10_000)
    totals = Totals(40, 3, counts, TEXTS, FAILURES)
    files = Files(54_000)
    run = Finished(
        "20261126T030000Z-5f0c1a",
        40,
        12,
        totals,
        {},
        8_400.0,
        8.0,
        Account(recordings=80_000, errors=27),
        OUTPUT,
        files=files,
    )
    return replace(run, **{"number": 7, "shows": True, **fields})


def closing(run: Finished) -> None:
    close(run, sum_up(run), Errors())


@WIDTHS
def test_the_closing_tables_of_a_run(columns: int) -> None:
    seen = screen(columns, lambda: closing(finished()))
    check_golden("closing", columns, seen)
    assert OUTPUT in seen.replace("\n", "")


@WIDTHS
def test_the_closing_tables_of_a_private_run(columns: int) -> None:
    run = finished(shows=False, failed={"0a": "OSError: the disk is full: " + "/a/long/path" * 9})
    seen = screen(columns, lambda: closing(run))
    check_golden("closing-private", columns, seen)
    assert "今天早上" not in seen
    assert "output.show=true" in seen


def test_all_failures_are_shown_if_they_fit_else_it_is_said_where_the_rest_is() -> None:
    def seen(count: int, named: int) -> str:
        counts = Counts(count, count, 1.0, {"empty": count})
        return screen(140, lambda: closing(finished(totals=Totals(1, 0, counts, [], (FAILURES * 9)[:named]))))

    assert "\n20 recordings with an error\n" in "\n" + seen(20, 20)
    assert "all of them" not in seen(20, 20)
    assert "20 of 21 recordings with an error\n" in seen(21, 21)
    assert "all of them: python -m jobs.history CONFIG history.run=7\n" in seen(21, 21)
    more = seen(150, 100).replace("\n", "")
    assert 'all of them: duckdb -c "SELECT DISTINCT recording_id, error_kind, error_detail FROM' in more
    assert "WHERE run_id = '20261126T030000Z-5f0c1a' AND error_kind IS NOT NULL\"" in more


def test_the_query_for_all_failures_finds_them(tmp_path: Path) -> None:
    output = Place.at(str(tmp_path / "it's $HOME `x`"))
    for name, kind in (("0a", "missing"), ("0b", None), ("0c", "empty")):
        entry = SourceObject(name, name, name, "audio", "e", 9)
        row = dict.fromkeys(PART_SCHEMA.names) | {
            "decoding": "greedy",
            "recording_id": f"{name}.wav",
            "uri": name,
            "segment_index": 0,
        }
        row |= {"etag": "e", "run_id": "run-2" if name == "0c" else "run-1", "error_kind": kind, "unit": name}
        row |= {"model": "m", "model_sha256": "x", "transcribed_at": datetime.now(UTC)}
        commit_unit(Unit(name, "f", (entry,)), [pa.Table.from_pylist([row], schema=PART_SCHEMA)], output)
    told = subprocess.run(
        ["bash", "-c", f'duckdb() {{ printf %s "$2"; }}; {query(output.uri, "run-1")}'], stdout=subprocess.PIPE
    )
    assert duckdb.sql(told.stdout.decode()).fetchall() == [("0a.wav", "missing", None)]


def test_a_run_id_of_others_is_no_command(capsys: pytest.CaptureFixture[str]) -> None:
    for run_id, is_told in (("20261126T030000Z-5f0c1a", True), ("x'; $(reboot)", False)):
        show_failing(failing(FAILURES[:1]), 5, "/out", run_id)
        assert ("duckdb" in capsys.readouterr().err) == is_told


@WIDTHS
@pytest.mark.parametrize("shows", [True, False])
def test_the_tables_of_what_was_aligned(columns: int, shows: bool) -> None:
    done = Aligned(5, -2.0)
    done.counts.update(aligned=1_234, suspicious=5, without_reference=2, left_out=7, with_left_out=3)
    done.scores.extend([-0.1, -0.3, -4.5])
    done.lowest = [
        Low(7.25, "loose/00.wav", 0, "今天早上司机在公园买东西" * 3, "房间六百九十一"),
        Low(12.5, "a/much/longer/path/of/folders/in/the/archive/1.wav", 12, "he said so and went on", "he said"),
    ]
    seen = screen(columns, lambda: align.show_aligned(done, Place.at("/data/archives/out/_align"), shows))
    check_golden("align" if shows else "align-private", columns, seen)
    assert ("今天早上" in seen) == shows
    assert ("output.show=true" in seen) == (not shows)


SETTINGS = {"errors": {"max_fraction": 0.05, "accept": ["too_short"]}, "input": {"uri": "/a/b"}}


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("m.jsonl", b'{"audio_filepath": "00.wav", "text": "SECRET" oops}\n'),
        ("m.jsonl", b'["SECRET"]\n'),
        ("m.jsonl", b'{"audio_filepath": 5, "text": "SECRET"}\n'),
        ("m.jsonl", b'{"audio": 5, "text": "SECRET"}\n'),
        ("m.jsonl", b"SECRET\n"),
        ("manifest.json", b'[{"audio_filepath": "00.wav", "text": "SECRET"}, {"audio_filepath": "00.wav" "SECRET"}]'),
        ("manifest.json", b'{"a": {"audio_filepath": "00.wav"} "SECRET"'),
        ("metadata.csv", b"file_name,text\n00.wav,SECRET,SECRET\n"),
        ("metadata.csv", b"file_name,text\n00.wav,a\n,SECRET\n"),
    ],
)
def test_errors_of_lists_do_not_quote_texts(tmp_path: Path, name: str, content: bytes) -> None:
    (tmp_path / "00.wav").write_bytes(encoded(tone(1)))
    (tmp_path / name).write_bytes(b'{"audio_filepath": "00.wav"}\n' * name.endswith("jsonl") + content)
    config = load(str(ROOT / "configs/demo.yaml"), [f"input.uri={tmp_path}"])
    found = list_input(config.input, str(tmp_path / "out")).objects
    refused = [each.refusal for each in found if each.refusal]
    assert refused
    assert not [detail for _, detail in refused if "SECRET" in detail]


@WIDTHS
def test_the_runs_of_an_output(columns: int, tmp_path: Path) -> None:
    for number in range(1, 5):
        folder = tmp_path / RUNS / f"{number:06d}"
        folder.mkdir(parents=True)
        summary = {
            "run_id": f"2026010{number}T000000Z-abcdef",
            "start": f"2026-01-0{number}T00:00:00Z",
            "status": [0, 1, 3, 4][number - 1],
            "wall_seconds": 90.5 * number**4,
            "units": {"planned": 1_200, "skipped": 3, "done": 40 * number},
            "recordings": 7_700 * number,
            "errors": {"empty": 3 * number},
            "audio_hours": 12.345 * number,
            "host": "transcriber-0.eu-central-1.compute.internal",
            "settings": SETTINGS | {"errors": {"max_fraction": 0.01 * number}},
            "failing": failing(FAILURES[:3]),
            "failed_units": [
                {"unit": "0a" * 8, "reason": "OSError: " + "disk full " * 9, "objects": 3, "uri": "s3://a/b.wav"}
            ],
        }
        (folder / SUMMARY).write_text(json.dumps(summary))
    config, files = load(str(ROOT / "configs/demo.yaml"), []), history.all_runs(Place.at(str(tmp_path)))

    def runs() -> None:
        history.show_runs(config, OUTPUT, files)

    def run() -> None:
        history.show_run(config, OUTPUT, files, 3)

    check_golden("history", columns, screen(columns, runs))
    check_golden("history-run", columns, screen(columns, run))


def test_rows_are_one_line_each_whatever_their_width() -> None:
    for columns in range(20, 200, 7):
        seen = screen(columns, lambda: printing.show_table("t", ("a", "b", "c"), [("今" * 50, "1", "word " * 50)] * 5))
        assert len(seen.splitlines()) == 7
        assert max(map(cell_len, seen.splitlines())) <= columns
