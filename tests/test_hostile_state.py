"""Below an output anybody may have put anything: it is read as data, passed over, or told by name."""

import json
import os
import time
from pathlib import Path
from typing import Any

import mutants
import pytest
from kinds import KINDS, RECIPE, SETTINGS, objects, rows_of

from actors.foreign.errors import InvalidData
from actors.foreign.plain_json import parse_object
from actors.parts import kept
from actors.parts.commit import commit_unit
from actors.parts.stored import COMMITS, Commit, part_name
from actors.pieces import Cut, Piece, cut_unit
from actors.schema import UsageError
from actors.storage.place import Place
from actors.units import FINGERPRINT, Selection, Unit, digest
from jobs import export, plan
from jobs.planning.listing import Listing
from jobs.planning.plans import write_plan
from jobs.planning.recipe import recipe_digest
from jobs.planning.run_files import RUNS, run_files
from jobs.planning.state import load_state, sweep, sweep_emissions, units_with_errors
from jobs.planning.verdicts import Policy, make_plan
from jobs.running.budget import Account
from jobs.running.lease import active_run
from jobs.running.outcomes import Totals
from jobs.running.summary import Finished

UNIT = Unit.of("0a", RECIPE, objects(2))


@pytest.fixture
def output(tmp_path: Path) -> Place:
    """An output with a plan, and a unit that is committed."""
    output = Place.at(str(tmp_path / "out"))
    made = make_plan(Listing(objects(4)), load_state(output), SETTINGS, Policy(target_seconds=200))
    write_plan(output, load_state(output), made.objects, (recipe_digest(SETTINGS), SETTINGS), "run")
    commit_unit(UNIT, [rows_of(UNIT)], output)
    return output


@pytest.mark.parametrize("kind", KINDS)
def test_mutants_end_as_rows_or_sentences(kind: str) -> None:
    """The short form of tests/campaigns/mutants.py."""
    outcome = mutants.campaign(kind, count=150, seed=2)
    assert not outcome.wrong
    assert outcome.ends["rows"]
    assert sum(outcome.ends.values()) == 150


@pytest.mark.parametrize("unit", ["../../escape", "/tmp/escape", "0A", "a.b", "a" * 65, "", "0a\n", "０ａ"])
def test_a_plan_whose_unit_is_no_id_is_told_by_name(output: Place, tmp_path: Path, unit: str) -> None:
    state = load_state(output)
    known = {key: each._replace(unit=unit) for key, each in state.objects.items()}
    write_plan(output, state, known, (recipe_digest(SETTINGS), SETTINGS), "run")
    with pytest.raises(UsageError, match=r"000002/plan\.arrow is not a plan: .* is not a unit id"):
        load_state(output)
    assert [each.name for each in tmp_path.iterdir() if not each.name.startswith("cache")] == ["out"]


@pytest.mark.parametrize("offset", [float("nan"), float("inf")])
def test_a_plan_of_impossible_offsets_is_told_by_name(output: Place, offset: float) -> None:
    state = load_state(output)
    known = {key: each._replace(selection=Selection(offset)) for key, each in state.objects.items()}
    write_plan(output, state, known, (recipe_digest(SETTINGS), SETTINGS), "run")
    with pytest.raises(
        UsageError, match=r"000002/plan\.arrow is not a plan: it has offsets or stretches that are not finite"
    ):
        load_state(output)


def test_units_of_blocks_are_held_to_their_ids() -> None:
    piece = cut_unit(UNIT, Cut(60))[0]
    assert Piece.from_json(piece.to_json()) == piece
    for name, value in (("unit", "../x"), ("fingerprint", "f/../../x"), ("fingerprint", "zincomplete")):
        fields = json.loads(piece.to_json())
        fields[name] = value
        with pytest.raises(InvalidData):
            Piece.from_json(json.dumps(fields))
    assert FINGERPRINT


@pytest.mark.parametrize("name", ["", "..", "a/../../b", "/etc/x", "a//b", ".", "a/./b", "..\\x", "a\0b"])
def test_a_path_that_leads_elsewhere_is_not_made(name: str) -> None:
    output = Place.at("/out")
    with pytest.raises(ValueError, match="is not below /out"):
        output / name
    assert (output / "_runs/000001/plan.arrow").path == "/out/_runs/000001/plan.arrow"


@pytest.mark.parametrize("name", ["_pieces", "_commits", "_emissions", "_runs", "_runs/000001", "_runs/000007"])
def test_a_state_folder_that_is_a_link_is_refused(output: Place, tmp_path: Path, job: Any, name: str) -> None:
    elsewhere, folder = tmp_path / "elsewhere", Path(output.path) / name
    elsewhere.mkdir()
    for each in ("precious", f"0b.{'f' * 24}.0-of-2.1.2.60.0s.arrow"):
        (elsewhere / each).write_text("precious")
    if folder.exists():
        os.rename(folder, tmp_path / "before")
    folder.symlink_to(elsewhere)
    for main in (plan.main, export.main):
        status, _, seen = job(f"output.uri={output.path}", main=main)
        assert status == 2
        assert f"{name} is a link, which is not followed" in "".join(seen.split("\n"))
    assert len(list(elsewhere.iterdir())) == 2


def test_only_names_of_the_job_are_deleted(output: Place) -> None:
    strangers = ["_pieces/notes.txt", "_pieces/0b.x.arrow", "_pieces/.hidden", "_commits/0a.notes", ".notes.tmp"]
    strangers += [f".part-0a.parquet.{'0' * 31}.tmp", f".x.{'0' * 32}.tmp", "part-0a.parquet.old", "_commits/.x.tmp"]
    own = [f"_pieces/0b.{'f' * 24}.{name}.arrow" for name in ("0.1-of-1.2-by-1800s", "1-of-2.1.2.1800.0s-streamed")]
    own += [f"_pieces/0b.{'f' * 24}.claim-20260101T000000Z-ab-cd"]
    own += [f".part-0a.parquet.{'0' * 32}.tmp", f"_emissions/.0b.{'f' * 48}.{'0' * 16}.arrow.{'0' * 32}.tmp"]
    own += [f"_emissions/0b.{'f' * 48}.{'0' * 16}.arrow"]
    strangers += ["_emissions/notes.txt", "_emissions/0b.x.arrow", f"_emissions/0b.{'f' * 48}.{'0' * 15}.arrow"]
    for name in ("_pieces", "_emissions"):
        (Path(output.path) / name).mkdir()
    for name in strangers + own:
        path = Path(output.path) / name
        path.write_text("x")
        os.utime(path, (1, 1))
    kept.sweep_pieces([UNIT], 1.0, output)
    sweep(output, 60)
    sweep_emissions(output, 60)
    commit_unit(UNIT, [rows_of(UNIT)], output)
    assert all((Path(output.path) / name).exists() for name in strangers)
    assert not any((Path(output.path) / name).exists() for name in own)


def test_a_part_or_commit_that_is_a_link_is_not_followed(output: Place, tmp_path: Path) -> None:
    for pattern in (part_name(UNIT.id), f"{COMMITS}/0a.*"):
        (path,) = Path(output.path).glob(pattern)
        target = tmp_path / path.name
        os.rename(path, target)
        path.symlink_to(target)
        before = target.read_bytes()
        assert load_state(output).commit_of(UNIT.id) is None
        commit_unit(UNIT, [rows_of(UNIT)], output)
        assert target.read_bytes() == before
        assert load_state(output).commit_of(UNIT.id)
        path.unlink(missing_ok=True)
        commit_unit(UNIT, [rows_of(UNIT)], output)


def test_what_a_person_copied_is_passed_over(output: Place, job: Any) -> None:
    runs, plan_file = Path(output.path) / RUNS, Path(output.path) / RUNS / "000001" / "plan.arrow"
    names = ["backup", "000003 (copy)", "9" * 40, "0000009", "-00001", "٠٠٠٠٠٩", "000004\n", "000005/old"]
    for name in names:
        (runs / name).mkdir(parents=True)
        (runs / name / "plan.arrow").write_bytes(plan_file.read_bytes()[:100])
        (runs / name / "heartbeat").write_bytes(b"{")
    (runs / "plan.arrow").write_bytes(b"torn")
    (runs / "000006").write_bytes(b"a file")
    (runs / "backup" / "deep").symlink_to("/")
    assert [each.place.path for each in run_files(output)] == [str(plan_file)]
    state = load_state(output)
    assert (len(state.objects), state.next_number) == (4, 2)
    assert job(f"output.uri={output.path}", main=plan.main)[0] == 0


def test_a_plan_that_is_no_file_is_told_by_name(output: Place, tmp_path: Path) -> None:
    path = Path(output.path) / RUNS / "000002" / "plan.arrow"
    path.mkdir(parents=True)
    with pytest.raises(UsageError, match=r"000002/plan\.arrow is not a plan"):
        load_state(output)
    path.rmdir()
    path.symlink_to(Path(output.path) / RUNS / "000001" / "plan.arrow")
    with pytest.raises(UsageError, match=r"000002/plan\.arrow is not a plan: it is a link"):
        load_state(output)
    path.unlink()
    with path.open("wb") as file:
        file.truncate(2_000_000_000)
    with pytest.raises(UsageError, match=r"000002/plan\.arrow is not a plan: it has more than"):
        load_state(output)


SIGN = {"run_id": "r", "machine": "another", "process": 1, "began": "1"}
SIGNS: list[Any] = [b"{", b"", b"[]", b"\xff\xfe", b"[" * 100_000, b'{"process": %s}' % (b"9" * 5_000)]
SIGNS += [SIGN | {"process": each} for each in ("../../x", None, True, 1.5, [])]
SIGNS += [SIGN | {"machine": ["x"]}, SIGN | {"began": 1}, {"machine": "another"}]


@pytest.mark.parametrize("sign", SIGNS, ids=lambda sign: repr(sign)[:40])
def test_an_odd_sign_of_life_is_passed_over(output: Place, sign: Any) -> None:
    own, other = (Path(output.path) / RUNS / name / "heartbeat" for name in ("000005", "000004"))
    for path in (own, other):
        path.parent.mkdir()
        path.write_text(json.dumps(SIGN))
    assert active_run(output, Place.at(str(own.parent)), 60) == Place.at(str(other.parent))
    other.write_bytes(sign if isinstance(sign, bytes) else json.dumps(sign).encode())
    assert active_run(output, Place.at(str(own.parent)), 60) is None


def test_a_sign_of_life_of_the_future_or_of_2_gb_is_passed_over(output: Place) -> None:
    own, other = (Path(output.path) / RUNS / name / "heartbeat" for name in ("000005", "000004"))
    for path in (own, other):
        path.parent.mkdir()
        path.write_text(json.dumps(SIGN))
    os.utime(other, (time.time() + 1e6, time.time() + 1e6))
    assert active_run(output, Place.at(str(own.parent)), 60) is None
    with other.open("wb") as file:
        file.truncate(2_000_000_000)
    assert active_run(output, Place.at(str(own.parent)), 60) is None


BODIES = [b"[]", b'{"errors": []}', b'{"errors": "missing"}', b"\xff", b"null", b"[" * 99_000, b"{" + b" " * 200_000]


@pytest.mark.parametrize("body", BODIES, ids=lambda body: repr(body[:20]))
def test_a_commit_of_an_odd_body_tells_of_no_error(output: Place, body: bytes) -> None:
    commits = Path(output.path) / COMMITS
    for unit, told in (("0b", body), ("0c", b'{"errors": {"missing": 1}}')):
        (commits / Commit(unit, "f" * 64, "0" * 16, 2, 1).name).write_bytes(told)
    assert set(units_with_errors(frozenset({"missing"}), load_state(output), output)) == {"0c"}


def test_a_name_that_is_no_commits_is_passed_over(output: Place) -> None:
    for name in (
        "g.f.0.none.1r0e0a",
        "0a.f.0.none.1r0e0a\n",
        "0a.f.0.none.01r0e0a",
        f"0a.f.0.none.{'9' * 200}r0e0a",
        "0a.f.0.none.１r0e0a",
        "..f.0.none.1r0e0a",
        "0a.f.0.1r0e0a",
        "0a.f.0..1r0e0a",
        "0a.f.0.None.1r0e0a",
    ):
        assert Commit.from_name(name) is None
        (Path(output.path) / COMMITS / name).write_bytes(b"{}")
    assert load_state(output).commit_of(UNIT.id)
    assert Commit.from_name(f"0a.{'f' * 32}incomplete.0.none.1r0e0a")


NO_OBJECTS = [b"{", b"[]", b'{"x": NaN}', b'{"x": %s}' % (b"9" * 5_000), b"[" * 100_000, b"\xff", b""]


@pytest.mark.parametrize("text", NO_OBJECTS, ids=lambda text: repr(text[:20]))
def test_json_of_others_is_an_object_or_told(text: bytes) -> None:
    with pytest.raises(InvalidData):
        parse_object(text)


def test_a_summary_that_cannot_be_written_is_told(tmp_path: Path, job: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    from jobs import transcribe

    def worked(*_: Any) -> Finished:
        (tmp_path / "out" / RUNS / "000001" / "summary.json").mkdir()
        return Finished("run", 0, 0, Totals(), {}, 1.0, 0.0, Account(), "")

    monkeypatch.setattr(transcribe, "work", worked)
    status, summary, seen = job(f"output.uri={tmp_path / 'out'}", "input.uri=demo/audio/loose/00.wav")
    assert (status, summary["status"]) == (1, 1)
    assert "summary.json was not written" in seen


def test_a_damaged_part_is_told_and_the_others_are_exported(output: Place, job: Any) -> None:
    other = Unit.of("0b", RECIPE, objects(4)[2:])
    commit_unit(other, [rows_of(other)], output)
    path = Path(output.path) / part_name(UNIT.id)
    path.write_bytes(path.read_bytes()[:-100])
    (commit,) = (Path(output.path) / COMMITS).glob("0a.*")
    told = Commit.from_name(commit.name)
    assert told
    version = digest([str(path.stat().st_mtime_ns)])
    commit.rename(commit.with_name(Commit(UNIT.id, told.fingerprint, version, 2, 0).name))
    status, summary, seen = job(f"output.uri={output.path}", "export.format=jsonl", main=export.main)
    assert (status, summary["recordings"]) == (1, 2)
    assert "part-0a.parquet is not a valid part for this version" in "".join(seen.split("\n"))
