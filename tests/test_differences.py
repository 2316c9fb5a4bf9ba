"""What jobs.evaluate shows of errors: where transcripts differ from references and when, in which recordings, and
nothing of texts unless it is asked for."""

import json
import re
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rich.cells import cell_len
from screens import check_golden, screen
from test_export import row_of
from test_odd_recordings import commit, rows_of, token

from actors.schema import KEY, PART_SCHEMA
from actors.text.normalise import Normalisation
from jobs import evaluate
from jobs.transcripts.differences import CONTEXT, SIDE, Moment, differences
from jobs.transcripts.groups import COLUMNS, OF_TEXT
from jobs.transcripts.read import Transcript
from jobs.transcripts.scores import Account, Compared, compared
from jobs.transcripts.worst import Worst

USUAL = Normalisation()


def rows(*segments: tuple[float, str | None], reference: str, has_tokens: bool = True, **more: Any) -> list[Any]:
    """Rows of a recording: segments by their start and text, whose characters take half a second each."""
    found = []
    for number, (start, text) in enumerate(segments):
        tokens = [token(char, start + 0.5 * at, start + 0.5 * at + 0.5) for at, char in enumerate(text or "")]
        found.append(
            row_of("a.wav", number)
            | {"text": text, "start_s": start, "end_s": start + 60, "tokens": tokens if has_tokens else None}
            | {"reference": reference if number == 0 else None, **dict.fromkeys(KEY[1:])}
            | more
        )
    return found


def compare_all(found: Sequence[Any], normalisation: Normalisation = USUAL) -> list[Compared]:
    recordings = list[list[Any]]()
    for row in found:
        if row["segment_index"] == 0:
            recordings.append([])
        recordings[-1].append(row)
    account = Account()
    compared_ones = [*compared((Transcript(each) for each in recordings), normalisation, lambda _: "all", account)]
    assert account.failed.examples == []
    return compared_ones


def told(found: Sequence[Any], normalisation: Normalisation = USUAL) -> list[tuple[str, str]]:
    (one,) = compare_all(found, normalisation)
    return [(str(each.at), each.text) for each in differences(one, normalisation)]


def test_differences_by_hand() -> None:
    said = "今天早上司机在公园买东西"
    right = rows((0.0, said), reference=said)
    assert told(right) == []
    assert told(rows((60.0, "今天早下司机在公园买东西"), reference=said)) == [("1:01", "今天早[上→下]司机在公园…")]
    assert told(rows((0.0, "今天早司机在公园买东西"), reference=said)) == [("0:01", "今天早[上→∅]司机在公园…")]
    assert told(rows((0.0, said[:9] + "里买东西"), reference=said)) == [("0:04", "…司机在公园[∅→里]买东西")]
    # Errors side by side are one difference, those apart are two; at the ends there is no context.
    assert told(rows((3_600.0, "明天早上司机在花果山买东"), reference=said)) == [
        ("1:00:00", "[今→明]天早上司机…"),
        ("1:00:03", "…早上司机在[公园→花果山]买东西"),
        ("1:00:05", "…在公园买东[西→∅]"),
    ]


def test_the_time_is_that_of_the_segment_and_token() -> None:
    reference = "今天，早上。 司机 在公园"
    assert told(rows((0.0, "今天早下"), (40.0, "司机，在公家"), reference=reference)) == [
        ("0:01", "今天早[上→下]司机在公园"),
        ("0:42", "…上司机在公[园→家]"),
    ]
    spread = rows((0.0, "今天早下"), (40.0, "司机在公家"), reference=reference, has_tokens=False)
    assert [at for at, _ in told(spread)] == ["~0:00", "~0:40"]  # about: the segment's
    lost = rows((0.0, None), (40.0, "司机在公园"), reference=reference)
    assert told(lost) == [("0:40", "[今天早上→∅]司机在公园")]
    assert told(rows((7.0, ""), reference=reference)) == [("~0:07", "[今天早上司…→∅]")]


def test_channels_with_one_reference_are_in_the_order_of_time() -> None:
    one = rows((0.0, "今天"), (50.0, "下午"), reference="今天早上下午", channel=0)
    other = rows((20.0, "早土"), reference="今天早上下午", channel=1)
    assert told([*one, *other]) == [("0:20", "今天早[上→土]下午")]


def test_languages_with_spaces_are_shown_by_words() -> None:
    reference, said = "The quick brown fox, it jumps over", "the quick browne fox it jump over"
    assert told(rows((0.0, said), reference=reference)) == [
        ("0:05", "the quick [brown→browne] fox it…"),
        ("0:12", "…fox it [jumps→jump] over"),
    ]
    pieces = row_of("b.wav", 0) | dict.fromkeys(KEY[1:])
    pieces |= {"reference": "one two three", "text": "one too three"}
    pieces |= {"tokens": [token(" one", 1, 2), token(" t", 3, 4), token("oo", 4, 5), token(" three", 5, 6)]}
    assert told([pieces]) == [("0:03", "one [two→too] three")]
    # Where spaces do not count, they are no difference; where they do, they are one.
    apart = rows((0.0, "new york is big"), reference="newyork is bug")
    assert told(apart) == [("0:06", "…is [bug→big]")]
    assert told(rows((0.0, "今 天"), reference="今天"), Normalisation(spaces=False)) == [("0:01", "今[∅→␣]天")]
    assert told(rows((0.0, "我在meting室"), reference="我在 meeting 室")) == [("0:01", "我在[meeting→meting]室")]


def test_numbers_read_aloud_keep_their_time() -> None:
    spoken = Normalisation(digits="spoken")
    found = rows((0.0, "今天百分之三十点五的人来"), reference="今天30.5%的人去")
    assert told(found, spoken) == [("0:05", "…十点五的人[去→来]")]
    written = rows((0.0, "他在2026年来"), reference="他在二零二五年去")
    assert told(written, spoken) == [("0:02", "他在二零二[五→六]年去"), ("0:03", "…二零二五年[去→来]")]


def test_what_is_long_is_cut() -> None:
    long = rows((0.0, "早" + "下" * 500 + "好"), reference="早" + "上" * 400 + "好")
    assert told(long) == [("0:00", "早[上上上上上…→下下下下下…]好")]
    word = rows((0.0, "x" * 90 + " two " + "y" * 90), reference="x" * 90 + " too " + "y" * 90)
    assert told(word) == [("0:45", f"…{'x' * 8} [too→two] {'y' * 8}…")]


@settings(max_examples=300, deadline=None)
@given(st.text("今天气早a ，", max_size=14), st.text("今天气早a ，", min_size=1, max_size=14), st.booleans())
def test_errors_have_differences_that_fit(said: str, reference: str, spaces: bool) -> None:
    normalisation = Normalisation(spaces=spaces)
    found = rows((5.0, said[:7]), (30.0, said[7:]), reference=reference)
    for one in compare_all(found, normalisation):
        shown = [*differences(one, normalisation)]
        assert bool(shown) == bool(one.characters.errors)
        assert [each.at for each in shown] == sorted(each.at for each in shown)
        assert all(each.at.seconds in (5.0, *(row["start_s"] for r in found for row in r["tokens"])) for each in shown)
        assert all(cell_len(each.text) <= 2 * (CONTEXT + 2) + 2 * SIDE + 3 for each in shown)


def test_times_are_short() -> None:
    assert [str(Moment(*each)) for each in ((0.99, False), (61.2, True), (36_000, False))] == [
        "0:00",
        "~1:01",
        "10:00:00",
    ]


def worst_of(found: Sequence[Any], shown: int) -> Worst:
    worst = Worst(shown, Normalisation(), has_differences=True)
    for each in compare_all(found):
        worst.add(each)
    return worst


def named(name: str, said: str | None, reference: str) -> list[Any]:
    return rows((0.0, said), reference=reference, recording_id=name, uri=f"file:///{name}")


def test_a_short_recording_does_not_hide_a_long_one() -> None:
    long = named("long", "乙" * 50 + "甲" * 950, "甲" * 1_000)
    short = named("short", "一二三四五", "甲乙")
    failed = named("failed", None, "甲" * 400)
    right = named("right", "甲", "甲")
    middle = named("b", "乙甲甲", "甲甲甲"), named("a", "乙甲甲", "甲甲甲")
    every = [long, short, failed, right, *middle]
    for order in (every, every[::-1]):
        worst = worst_of([row for each in order for row in each], 2)
        assert [(each.name, each.errors, each.characters) for each in worst.by_errors] == [
            ("long", 50, 1_000),
            ("short", 5, 2),
        ]
        assert [each.name for each in worst.by_rate] == ["short", "a"]  # not b: ties by name
        assert worst.count == 4
        assert [each.name for each, _ in worst.differences] == ["long", "short", "a"]
        all_of_them = worst_of([row for each in order for row in each], 9)
        assert all_of_them.by_rate == []  # the same recordings
        assert [each.name for each in all_of_them.by_errors] == ["long", "short", "a", "b"]
    assert worst_of(long, 0).by_errors == []


def test_every_recording_has_its_first_differences() -> None:
    many = named("many", "乙甲" * 20, "甲甲" * 20)
    few = named("few", "乙甲" * 2, "甲甲" * 2)
    worst = worst_of([*many, *few], 2)
    names = [each.name for each, _ in worst.differences]
    assert names == ["many"] * 4 + ["few"] * 2  # six for two recordings
    assert worst.differences_in_all == 22


SECRET = "秘密甲乙丙丁戊己庚辛"


@pytest.fixture
def private(tmp_path: Path) -> Path:
    """An output of seven recordings, one of which has many errors, one is not transcribed, and two have a speaker."""
    found = list[Any]()
    for number, said in enumerate(["丑寅卯辰" + SECRET[4:], *[SECRET] * 4, None, SECRET[:9]]):
        fields = json.dumps({"speaker": f"S{number}", "Device": "phone"}) if number < 2 else None
        columns = {"text": said, "reference": SECRET, "extra": fields, "duration_s": 9.0}
        columns |= {"tokens": [token(char, at, at + 1) for at, char in enumerate(said or "")]}
        columns |= {} if said else {"error_kind": "crashed", "error_detail": "it crashed"}
        found += rows_of(f"{number}.wav", [columns])
    return commit(tmp_path / "out", "0a", found)


def test_texts_are_shown_only_where_asked(job: Any, private: Path, tmp_path: Path) -> None:
    scores = tmp_path / "scores.parquet"
    asked = (f"output.uri={private}", f"evaluate.write={scores}", "evaluate.phrases=" + str(tmp_path / "phrases"))
    (tmp_path / "phrases").write_text("秘密\n")
    status, summary, seen = job(*asked, "output.show=false", main=evaluate.main)
    assert status == 0
    assert "output.show=true shows where they differ" in seen
    texts = {SECRET[at : at + 2] for at in range(2, len(SECRET) - 1)} | {"丑寅", "寅卯"}
    assert not [each for each in texts if each in seen or each in json.dumps(summary, ensure_ascii=False)]
    assert "0.wav" in seen
    assert pq.read_table(scores).column("reference").to_pylist() == [SECRET] * 7  # asked for
    status, shown, seen = job(*asked, "output.show=true", main=evaluate.main)
    assert (status, shown) == (0, summary)
    assert "0:00  [秘密甲乙→丑寅卯辰]丙丁戊己庚…" in seen
    assert "0:08  …丙丁戊己庚[辛→∅]" in seen
    assert "output.show" not in seen
    for name in sorted(OF_TEXT):
        refused = job(f"output.uri={private}", f"evaluate.group={name}", "output.show=false", main=evaluate.main)
        assert (refused[0], "output.show=true" in refused[2]) == (2, True)
        assert job(f"output.uri={private}", f"evaluate.group={name}", main=evaluate.main)[0] == 0


def test_groups_are_of_any_column_or_field(job: Any, private: Path, tmp_path: Path) -> None:
    for name in (*COLUMNS, "folder", "none", "speaker", "Device"):
        status, summary, _ = job(f"output.uri={private}", f"evaluate.group={name}", main=evaluate.main)
        assert (status, sum(each["recordings"] for each in summary["groups"].values())) == (0, 7)
    assert {*COLUMNS} | {"tokens", "alternatives"} == {*PART_SCHEMA.names}
    summary = job(f"output.uri={private}", "evaluate.group=speaker", main=evaluate.main)[1]
    assert {name: each["recordings"] for name, each in summary["groups"].items()} == {"(none)": 5, "S0": 1, "S1": 1}
    summary = job(f"output.uri={private}", "evaluate.group=error_kind", main=evaluate.main)[1]
    assert summary["groups"].keys() == {"(none)", "crashed"}
    scores = tmp_path / "never.parquet"
    for name, told_of in (
        ("speker", "did you mean speaker?"),
        ("device", "did you mean Device?"),
        ("source_code", "did you mean source_codec"),
        ("xyz", "nor is a column called so; these came with the audio: Device, speaker; the columns are recording_id,"),
        ("tokens", "nor is a column called so"),
        ('""', 'a field "", nor is a column called so'),
    ):
        asked = (f"output.uri={private}", f"evaluate.group={name}", f"evaluate.write={scores}")
        status, summary, seen = job(*asked, main=evaluate.main)
        assert (status, told_of in seen, "evaluate.group: " in summary["error"]) == (2, True, True), seen
    assert not scores.exists()


def test_the_key_for_more_is_named(job: Any, tmp_path: Path) -> None:
    found = list[Any]()
    for number in range(4):
        found += rows_of(f"{number}.wav", [{"text": "今天" * number, "reference": "今明" * (number + 1)}])
    for number in range(5):
        found += rows_of(f"bad {number}.wav", [{"text": "今", "reference": "今", "start_s": -1.0}])
    output = commit(tmp_path / "out", "0a", found)
    seen = job(f"output.uri={output}", "evaluate.shown=2", main=evaluate.main)[2]
    assert "Recordings with the most errors (2 of 4)" in seen
    assert "Most frequent errors (2 of " in seen
    assert "evaluate.shown=4 shows more; evaluate.write=FILE.parquet writes every recording" in seen
    assert "2 of 5 recordings that could not be compared" in seen
    assert "evaluate.shown=5 shows more of them" in seen
    seen = job(f"output.uri={output}", "evaluate.shown=5", main=evaluate.main)[2]
    assert "5 of 5 recordings that could not be compared" in seen
    assert "shows more" not in seen
    seen = job(f"output.uri={output}", "evaluate.shown=0", main=evaluate.main)[2]
    assert "5 recordings that could not be compared" in seen
    many = [row for n in range(50) for row in rows_of(f"{n}.wav", [{"text": "今", "reference": "今" + "天" * (n % 9)}])]
    seen = job(f"output.uri={commit(tmp_path / 'many', '0b', many)}", "evaluate.group=member", main=evaluate.main)[2]
    assert "Error rates (40 of 50 groups, those with the most errors)" in seen


@pytest.mark.parametrize("columns", [60, 80, 140])
def test_what_a_person_sees(columns: int, tmp_path: Path) -> None:
    """Made-up recordings with long names, of several devices, and what their errors look like."""
    said = "今天早上司机在公园买东西昨天晚上老师在机场开会明天大雨气温十一度"
    found = list[Any]()
    for number in range(14):
        text = said[:number] + ("下下" if number % 3 else "") + said[number + 1 :] + ("了" if number == 5 else "")
        columns_of = {"text": text if number < 8 else said, "reference": said, "duration_s": 90.0}
        columns_of |= {"tokens": [token(each, at * 5.0, at * 5.0 + 1) for at, each in enumerate(columns_of["text"])]}
        columns_of |= {"extra": json.dumps({"device": ("phone", "microphone array")[number % 2]})}
        found += rows_of(f"archive/2026/interviews/recording-{number:06}.wav", [columns_of])
    found += rows_of("short.wav", [{"text": "今", "reference": "今天", "tokens": None}])
    found += rows_of(
        "english.wav", [{"text": "the quick browne fox", "reference": "The quick brown fox.", "tokens": None}]
    )
    output = commit(tmp_path / "out", "0a", found)
    asked = ["configs/demo.yaml", f"output.uri={output}", "evaluate.group=device", "evaluate.shown=5"]
    for name, show in (("evaluate", "true"), ("evaluate-private", "false")):
        seen = screen(columns, partial(evaluate.main, [*asked, f"output.show={show}"]))
        check_golden(name, columns, seen)


@pytest.mark.usefixtures("ray_two_cpus")
def test_a_run_and_an_evaluation_agree(job: Any, demo_copy: Path, tmp_path: Path) -> None:
    """Also of recordings that could not be transcribed."""
    (demo_copy / "loose" / "broken-empty.txt").write_text("今天，早上\n")
    (demo_copy / "loose" / "broken-text.txt").write_text("司机在公园")
    (demo_copy / "loose" / "00.txt").write_text("。")  # nothing that counts: what is heard is inserted
    where = (f"input.uri={demo_copy}", f"output.uri={tmp_path / 'out'}")
    status, run, seen = job(*where)
    assert (status, sum(run["errors"].values())) == (0, 3)
    status, rates, shown = job(*where, main=evaluate.main)
    found = rates["all"]["characters"]
    long = re.findall(r"^(\d+):(\d\d)  .*\[.+→.+\].*  long/reading\.ogg$", shown, re.MULTILINE)
    times = [60 * int(minutes) + int(seconds) for minutes, seconds in long]
    assert times == sorted(times)
    assert 10 < times[0] < times[-1] < 373  # seconds, its length
    assert (status, rates["with_error"], found["tokens"]) == (0, 2, run["reference_characters"])
    assert run["cer"] == round(
        sum(found[name] for name in ("substitutions", "deletions", "insertions")) / found["tokens"], 5
    )
    assert found["deletions"] >= 9
    assert found["insertions"] >= 5
    assert f"{run['cer']:.2%} over {found['tokens']:,} characters" in seen
