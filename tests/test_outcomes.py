"""What comes back from the graph: outcomes by themselves, their sum for a run, and what a person and a program see."""

import json
from collections.abc import Sequence
from dataclasses import replace
from typing import get_args

import pytest
from conftest import ROOT

from actors import VERSION
from actors.foreign.errors import InvalidData
from actors.outcomes import Committed, Counts, Example, Failed, Kept, Outcome, Read, Recut, Work, from_json, to_json
from actors.pieces import MAX_PIECES, Cut
from actors.schema import SCHEMA_VERSION
from actors.units import SourceObject, Unit
from jobs.cli.command import DONE, FAILED, OVER_BUDGET
from jobs.cli.config import Errors
from jobs.running.budget import Account
from jobs.running.outcomes import FAILURES_IN_A_ROW, Ledger, TooManyFailures, Totals
from jobs.running.summary import Finished, Summary, close, sum_up

WORK = Work("actor-1", began=100.0, ended=104.0, busy_seconds=3.0, padded_seconds=50.0)
OTHER = Work("actor-2", began=300.0, ended=302.0, busy_seconds=1.0, padded_seconds=5.0)
COUNTS = Counts(3, 5, 60.0, {"missing": 1}, 2, 40)
EXAMPLES = (Example("a.wav", "今天", "今日"),), (Example("b.wav", error_kind="missing", error_detail="\udc80"),)
OUTCOMES = [
    Committed("0a", COUNTS, WORK, *EXAMPLES),
    Committed("0a", Counts()),
    Kept("0b", 12.5, WORK),
    Kept("0b", 0.0),
    Kept("0b", 12.5, replace(WORK, reads={"mp3": Read(12.5, 10.0, 0.25), "tar": Read(0.0, 0.0, 0.0)})),
    Failed("0c", "OSError: \udcff is gone"),
    Recut("0d", Cut(1_800.0, 12, 2, is_streamed=True)),
]


class NoMetrics:
    """What a ledger publishes, noted instead of sent to Ray."""

    def __init__(self) -> None:
        self.added, self.retried = list[tuple[Counts, Work | None, int]](), 0

    def add(self, counts: Counts, work: Work | None, units: int) -> None:
        self.added.append((counts, work, units))

    def retry(self, units: int) -> None:
        self.retried += units


def ledger_of(names: Sequence[str], *outcomes: Outcome) -> tuple[Ledger, NoMetrics]:
    metrics = NoMetrics()
    ledger = Ledger([Unit(name, "f", (SourceObject(name, name, name, "audio", None, 1),)) for name in names])
    ledger.publish(metrics)
    for each in outcomes:
        ledger.add(each)
    return ledger, metrics


@pytest.mark.parametrize("outcome", OUTCOMES, ids=lambda each: type(each).__name__)
def test_an_outcome_survives_its_json(outcome: Outcome) -> None:
    assert from_json(to_json(outcome)) == outcome
    assert {type(each) for each in OUTCOMES} == set(get_args(Outcome))


BROKEN_WORK = [{"reads": 3}, {"reads": {"mp3": 3}}, {"reads": {"mp3": {"seconds": 3}}}, {"actor": "a"}, {"more": 3}]
BROKEN = [json.dumps({"kind": "Kept", "unit": "0a", "audio_seconds": 1, "work": each}) for each in BROKEN_WORK]


@pytest.mark.parametrize(
    "text", ["{}", "[]", "x", '{"kind": "Lost", "unit": "0a"}', '{"kind": "Kept", "unit": "0a"}', *BROKEN]
)
def test_what_is_no_outcome_is_refused(text: str) -> None:
    with pytest.raises(InvalidData):
        from_json(text)


def test_a_run_counts_what_was_committed() -> None:
    later = Work("actor-1", began=98.0, ended=103.0, busy_seconds=2.0, padded_seconds=10.0)
    ledger, metrics = ledger_of(["0a", "0b"], Committed("0a", COUNTS, WORK, *EXAMPLES), Committed("0b", COUNTS, later))
    totals = ledger.totals
    assert totals.units == 2
    assert totals.counts == Counts(6, 10, 120.0, {"missing": 2}, 4, 80)
    assert (totals.time.began, totals.time.busy_seconds) == (98.0, 5.0)
    assert totals.time.busy_share == 5 / 6  # from 98 to 104
    assert (totals.transcripts, totals.failures) == (list(EXAMPLES[0]), list(EXAMPLES[1]))
    assert (ledger.waiting, ledger.failed) == ({}, {})
    assert metrics.added == [(COUNTS, WORK, 1), (COUNTS, later, 1)]


def test_a_unit_of_several_pieces_counts_its_audio_once() -> None:
    pieces = [Kept("0a", 20.0, WORK), Kept("0a", 25.0, WORK), Committed("0a", COUNTS, WORK)]
    ledger, metrics = ledger_of(["0a"], *pieces)
    assert ledger.totals.counts.audio_seconds == 60.0
    assert ledger.totals.time.busy_seconds == 9.0
    assert [counts.audio_seconds for counts, _, _ in metrics.added] == [20.0, 25.0, 15.0]
    assert [units for _, _, units in metrics.added] == [0, 0, 1]


def test_a_unit_that_two_writers_commit_counts_once() -> None:
    ledger, metrics = ledger_of(["0a"], Committed("0a", COUNTS, WORK), Committed("0a", COUNTS, WORK))
    assert (ledger.totals.units, ledger.totals.counts.recordings, len(metrics.added)) == (1, 3, 1)


def test_the_first_failure_of_a_unit_is_told() -> None:
    outcomes = [Failed("0a", "disk full"), Failed("0a", "no more"), Kept("0a", 1.0), Failed("0b", "disk full")]
    ledger, _ = ledger_of(["0a", "0b", "0c"], *outcomes)
    assert ledger.failed == {"0a": "disk full", "0b": "disk full"}
    assert list(ledger.waiting) == ["0c"]
    ledger.add(Committed("0a", COUNTS))  # by another writer, after all
    assert ledger.failed == {"0b": "disk full"}
    assert ledger.totals.units == 1


def test_many_failures_in_a_row_end_the_run() -> None:
    names = [f"{number:02x}" for number in range(2 * FAILURES_IN_A_ROW)]
    ledger, _ = ledger_of(names, *(Failed(name, "x") for name in names[: FAILURES_IN_A_ROW - 1]))
    ledger.add(Kept(names[-1], 1.0))
    for name in names[FAILURES_IN_A_ROW : 2 * FAILURES_IN_A_ROW - 1]:
        ledger.add(Failed(name, "x"))
    with pytest.raises(TooManyFailures, match=f"{FAILURES_IN_A_ROW} units in a row failed"):
        ledger.add(Failed(names[-1], "x"))


def test_many_units_in_a_row_of_which_nothing_is_reached_end_the_run() -> None:
    names = [f"{number:02x}" for number in range(2 * FAILURES_IN_A_ROW)]
    nothing = Counts(10, errors={"unreachable": 10})
    ledger, _ = ledger_of(names, *(Committed(name, nothing) for name in names[: FAILURES_IN_A_ROW - 1]))
    ledger.add(Committed(names[FAILURES_IN_A_ROW], Counts(10, errors={"unreachable": 9})))
    for name in names[FAILURES_IN_A_ROW + 1 :]:
        ledger.add(Committed(name, nothing))
    with pytest.raises(TooManyFailures, match=f"{FAILURES_IN_A_ROW} units in a row in which nothing could be reached"):
        ledger.add(Committed(names[FAILURES_IN_A_ROW - 1], nothing))


def test_the_finest_cut_that_a_unit_asks_for_is_made_once() -> None:
    cuts = [Cut(60, 4, 1), Cut(60, 1, 3), Cut(60, 2, 2, is_streamed=True)]
    ledger, _ = ledger_of(["0a", "0b", "0c"], *(Recut("0a", cut) for cut in cuts), Recut("0b", Cut(60, 9)))
    ledger.add(Failed("0b", "disk full"))
    ledger.add(Recut("0c", Cut(60, MAX_PIECES + 1)))
    assert ledger.to_recut() == {"0a": Cut(60, 4, 3, is_streamed=True)}
    assert ledger.to_recut() == {}
    assert ledger.failed == {"0b": "disk full", "0c": f"it would need more than {MAX_PIECES} pieces"}


def test_a_unit_that_asks_for_the_cut_that_it_has_fails() -> None:
    ledger, _ = ledger_of(["0a", "0b"], Recut("0a", Cut(60, 4)), Recut("0b", Cut(60, 4)))
    assert ledger.to_recut({"0a": Cut(60, 4), "0b": Cut(60, 2)}) == {"0b": Cut(60, 4)}
    assert ledger.failed == {"0a": "it asks for the cut that it has"}


def test_a_failed_unit_that_also_asks_for_a_cut_fails_once() -> None:
    ledger, _ = ledger_of(["0a"], Failed("0a", "disk full"), Recut("0a", Cut(60, MAX_PIECES + 1)))
    assert (ledger.to_recut(), ledger.failed) == ({}, {"0a": "disk full"})


def ids(units: Sequence[Unit]) -> list[str]:
    return [unit.id for unit in units]


def test_what_has_no_outcome_is_tried_alone_and_then_given_up() -> None:
    ledger, metrics = ledger_of(["0a", "0b", "0c"], Committed("0a", COUNTS), Failed("0b", "x", is_storage=True))
    assert (ids(ledger.to_retry()), ids(ledger.to_isolate()), metrics.retried) == ([], ["0c"], 1)
    assert ledger.give_up("its worker process died") == 1
    assert ledger.failed == {"0b": "x", "0c": "its worker process died"}
    assert (ledger.to_isolate(), metrics.retried, ledger.give_up("again")) == ([], 1, 0)


def test_what_fails_is_tried_again_and_if_it_fails_in_the_same_way_alone() -> None:
    ledger, metrics = ledger_of(["0a", "0b", "0c"], *(Failed(name, "x") for name in ("0a", "0b", "0c")))
    assert (ids(ledger.to_retry()), ledger.failed, metrics.retried) == (["0a", "0b", "0c"], {}, 3)
    for outcome in (Committed("0a", COUNTS), Failed("0b", "x"), Failed("0c", "y")):
        ledger.add(outcome)
    assert (ledger.to_retry(), ids(ledger.to_isolate())) == ([], ["0b"])
    assert (ledger.failed, ledger.hopeless) == ({"0c": "y"}, frozenset())
    ledger.add(Failed("0b", "x"))
    assert (ledger.to_retry(), ledger.to_isolate()) == ([], [])
    assert (ledger.failed, ledger.hopeless) == ({"0b": "x", "0c": "y"}, {"0b"})


def test_a_unit_is_tried_again_once_whatever_becomes_of_it() -> None:
    ledger, _ = ledger_of(["0a", "0b"], Failed("0a", "x"), Failed("0b", "x"))
    assert ids(ledger.to_retry()) == ["0a", "0b"]
    ledger.add(Failed("0b", "gone", is_storage=True))  # and of 0a nothing is heard
    assert (ledger.to_retry(), ids(ledger.to_isolate())) == ([], ["0a"])
    assert (ledger.to_retry(), ledger.failed) == ([], {"0b": "gone"})


def test_many_errors_that_nobody_foresaw_end_the_run() -> None:
    def of(kind: str, count: int) -> Committed:
        return Committed("0a", Counts(count, errors={kind: count}))

    names = [f"{number:02x}" for number in range(9)]
    ledger, _ = ledger_of(names, *(replace(of("internal", 10), unit=name) for name in names[:2]))
    ledger.add(replace(of("missing", 10), unit=names[2]))
    for name in names[3:5]:
        ledger.add(replace(of("internal", 10), unit=name))
    with pytest.raises(TooManyFailures, match="30 recordings in a row failed in a way that is not foreseen"):
        ledger.add(replace(of("internal", 10), unit=names[5]))


IN_OUTPUT = Account(recordings=6)


def finished(totals: Totals, failed: dict[str, str] | None = None, in_output: Account = IN_OUTPUT) -> Finished:
    return Finished("run-1", 4, 3, totals, failed or {}, 20.0, 8.0, in_output, "file:///out")


def test_a_summary_is_what_programs_read() -> None:
    ledger, _ = ledger_of(["0a", "0b"], Committed("0a", COUNTS, WORK), Committed("0b", COUNTS, OTHER))
    assert sum_up(finished(ledger.totals)) == {
        "run_id": "run-1",
        "version": VERSION,
        "schema": SCHEMA_VERSION,
        "files": {"listed": 0, "read": 0, "companions": 0, "spoken_of": 0, "skipped": {}},
        "units": {"planned": 4, "skipped": 3, "done": 2},
        "rewritten": 0,
        "recordings": 6,
        "segments": 10,
        "entries": {"found": 0, "recordings": 0, "companions": 0, "skipped": {}},
        "errors": {"missing": 2},
        "accepted": 0,
        "totals": {"recordings": 6, "errors": 0, "accepted": 0},
        "cer": 0.05,
        "reference_characters": 80,
        "audio_hours": 0.0333,
        "wall_seconds": 20.0,
        "start_seconds": 8.0,
        "rtfx": 6.0,
        "busy_share": 0.667,  # 4 of the 4 and 2 seconds that two actors had
        "output": "file:///out",
    }
    page = (ROOT / "docs/running.md").read_text()
    assert all(f"`{name}`" in page for name in Summary.__annotations__)


def test_a_run_with_nothing_to_do_has_a_summary() -> None:
    summary = sum_up(finished(Totals(), in_output=Account()))
    assert (summary["cer"], summary["busy_share"], summary["rtfx"], summary["audio_hours"]) == (None, None, 0.0, 0.0)
    assert json.loads(json.dumps(summary)) == summary


def closed(run: Finished, capsys: pytest.CaptureFixture[str], **limits: float) -> tuple[int, str]:
    status = close(run, sum_up(run), Errors(**limits))
    return status, " ".join(capsys.readouterr().err.split())


def test_a_report_shows_what_was_heard(capsys: pytest.CaptureFixture[str]) -> None:
    ledger, _ = ledger_of(["0a"], Committed("0a", COUNTS, WORK, *EXAMPLES))
    run = finished(ledger.totals, in_output=Account(recordings=100, errors=5))
    status, seen = closed(replace(run, shows=True), capsys)
    assert status == DONE
    for line in (
        "Some transcripts recording reference transcript a.wav 今天 今日",
        "1 recording with an error recording kind what is wrong b.wav missing \\udc80",
        "units 1 done, 3 skipped",
        "recordings 3, 1 with an error",
        "in the output 100 recordings, 5 with an error",
        "audio 0.017 h in 20.0 s",
        "actors busy 75% of the time from their first work to their last",
        "character error rate 5.00%",
    ):
        assert line in seen


def test_a_report_names_what_failed(capsys: pytest.CaptureFixture[str]) -> None:
    status, seen = closed(finished(Totals(), {"0a": "disk full", "0b": "disk full", "0c": "gone"}), capsys)
    assert status == FAILED
    assert "unit 0b, and 1 more was not committed: disk full" in seen
    assert "unit 0c was not committed: gone" in seen
    assert "3 of 4 units failed; run the job again" in seen


def test_running_again_is_advised_only_where_it_may_help(capsys: pytest.CaptureFixture[str]) -> None:
    run = finished(Totals(), {"0a": "x", "0b": "x"})
    _, seen = closed(replace(run, hopeless=frozenset({"0a", "0b"})), capsys)
    assert "2 of 4 units failed, each time in the same way" in seen
    assert "again" not in seen
    _, seen = closed(replace(run, hopeless=frozenset({"0a"})), capsys)
    assert "run the job again to try the other 1 again" in seen


@pytest.mark.parametrize(("errors", "status"), [(5, DONE), (6, OVER_BUDGET)])
def test_a_report_holds_to_the_budget_of_errors(errors: int, status: int, capsys: pytest.CaptureFixture[str]) -> None:
    found, seen = closed(finished(Totals(), in_output=Account(recordings=100, errors=errors)), capsys)
    assert found == status
    sentence = (
        "6.0% of the recordings have an error (6 of 100 in the output), more than errors.max_fraction allows (5.0%)"
    )
    assert (sentence in seen) == (status == OVER_BUDGET)
    for advised in ("errors.accept", "input.redo", "look at them: SELECT uri"):  # this run met none of them
        assert (advised in seen) == (status == OVER_BUDGET)


def test_where_a_run_s_own_errors_are_is_told(capsys: pytest.CaptureFixture[str]) -> None:
    ledger, _ = ledger_of(["0a"], Committed("0a", COUNTS, WORK, *EXAMPLES))
    _, seen = closed(finished(ledger.totals, in_output=Account(recordings=3, errors=1)), capsys)
    assert "look at them: python -m jobs.history CONFIG history.run=last (those of this run), or SELECT" in seen


@pytest.mark.parametrize(("accepted", "status"), [(20, DONE), (14, OVER_BUDGET)])
def test_what_is_accepted_does_not_count(accepted: int, status: int, capsys: pytest.CaptureFixture[str]) -> None:
    run = finished(Totals(), in_output=Account(recordings=100, errors=20, accepted=accepted))
    found, seen = closed(run, capsys)
    assert found == status
    assert f"100 recordings, 20 with an error, {accepted} of them accepted" in seen
    assert ("(6 of 100 in the output, 14 more are accepted)" in seen) == (status == OVER_BUDGET)
    assert sum_up(run)["totals"] == {"recordings": 100, "errors": 20, "accepted": accepted}


@pytest.mark.parametrize(
    ("own_accepted", "limit", "status"), [(0, None, DONE), (0, 0.34, DONE), (0, 0.3, OVER_BUDGET), (1, 0.0, DONE)]
)
def test_the_errors_of_this_run_have_a_budget_of_their_own(
    own_accepted: int, limit: float | None, status: int, capsys: pytest.CaptureFixture[str]
) -> None:
    ledger, _ = ledger_of(["0a"], Committed("0a", COUNTS, WORK))
    in_output = Account(recordings=100, errors=1, accepted=own_accepted, own_accepted=own_accepted)
    run = finished(ledger.totals, in_output=in_output)
    found, seen = closed(run, capsys, **({} if limit is None else {"max_new_fraction": limit}))
    assert found == status
    sentence = (
        "33.3% of this run's recordings have an error (1 of 3 committed by it), more than errors.max_new_fraction"
    )
    assert (sentence in seen) == (status == OVER_BUDGET)
    assert "errors.max_fraction" not in seen
    assert sum_up(run)["accepted"] == own_accepted


def test_both_budgets_are_told_and_names_that_are_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    ledger, _ = ledger_of(["0a"], Committed("0a", COUNTS, WORK))
    run = finished(ledger.totals, in_output=Account(recordings=100, errors=10, missing_names=2, accepted_names=7))
    status, seen = closed(run, capsys, max_new_fraction=0.0)
    assert status == OVER_BUDGET
    assert "errors.max_fraction allows" in seen
    assert "errors.max_new_fraction allows" in seen
    assert "errors.accept: 2 of 7 names in files are no recording with an error" in seen
