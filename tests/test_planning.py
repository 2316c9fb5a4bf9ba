"""A run is like make: the set difference between what is listed and what is committed."""

import io
import threading
from dataclasses import replace
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from made_parts import commit_made
from test_parts import part_rows

from actors.parts.commit import commit_unit
from actors.parts.stored import COMMITS, remove_unit
from actors.pieces import Cut, Piece, cut_unit
from actors.schema import UsageError
from actors.storage.listing import names
from actors.storage.place import Place
from actors.units import Carried, Selection, SourceObject, Unit, Version, nominal_seconds
from jobs.planning.listing import Listing
from jobs.planning.plans import State, write_plan
from jobs.planning.recipe import recipe_digest
from jobs.planning.sizing import MAX_PLANNED_PIECES, planned_cut
from jobs.planning.state import load_state, made_of, units_with_errors
from jobs.planning.verdicts import Plan, Policy, make_plan

SETTINGS: dict[str, Any] = {
    "heard": {"model_sha256": "a" * 64, "precision": "float32"},
    "emissions": None,
    "said": {"tokens": False},
    "written": {},
}


def heard(**fields: Any) -> dict[str, Any]:
    """Settings with another way to hear."""
    return SETTINGS | {"heard": SETTINGS["heard"] | fields}


def wav(name: str, etag: str = "1", seconds: float = 60, limit: int | None = None) -> SourceObject:
    uri = f"s3://archive/{name}.wav"
    return SourceObject(uri, uri, f"{name}.wav", "audio", etag, int(seconds * 32_000), limit=limit)


class Archive:
    """An output below a folder, and the steps of a run on it."""

    def __init__(self, uri: str, options: dict[str, Any] | None = None) -> None:
        self.place = Place.at(uri, options or {})
        self.runs = 0

    def state(self) -> State:
        return load_state(self.place)

    def plan(
        self, *objects: SourceObject, settings: dict[str, Any] = SETTINGS, minutes: float = 2, **policy: Any
    ) -> Plan:
        listing = Listing(list(objects), covers=lambda uri: uri.startswith("s3://archive/"))
        known = {"made": lambda unit: made_of(unit, self.place)} | policy
        return make_plan(listing, self.state(), settings, Policy(target_seconds=minutes * 60, **known))

    def claim(self, plan: Plan, settings: dict[str, Any] = SETTINGS, state: State | None = None) -> Place | None:
        self.runs += 1
        recipe = recipe_digest(settings), settings
        run_id = f"run-{self.runs}"
        return write_plan(self.place, state or self.state(), plan.objects, recipe, run_id)

    def run(self, *objects: SourceObject, settings: dict[str, Any] = SETTINGS, **policy: Any) -> Plan:
        plan = self.plan(*objects, settings=settings, **policy)
        assert self.claim(plan, settings)
        for unit_id in plan.remove:
            remove_unit(unit_id, self.place)
        for unit in plan.units + plan.rewrite:
            commit_made(unit, part_rows(unit, f"run-{self.runs}"), self.place)
        return plan

    def rows(self) -> dict[str, str]:
        """Which run made the rows of each object; every object once."""
        found = {}
        for name in names(self.place, "part-"):
            table = pq.read_table(io.BytesIO((self.place / name).read()))
            for row in table.to_pylist():
                assert row["uri"] not in found
                found[row["uri"].removeprefix("s3://archive/").removesuffix(".wav")] = row["run_id"]
        return found


@pytest.fixture
def archive(tmp_path: Path) -> Archive:
    return Archive(str(tmp_path / "out"))


def test_units_are_about_the_target(archive: Archive) -> None:
    plan = archive.plan(*(wav(f"{number}") for number in range(5)), wav("x", seconds=999))
    assert [len(unit.objects) for unit in plan.new] == [2, 2, 1, 1]
    assert len({unit.id for unit in plan.new}) == 4


def test_a_second_run_has_nothing_to_do(archive: Archive) -> None:
    objects = [wav("a"), wav("b"), wav("c")]
    assert len(archive.run(*objects).new) == 2
    again = archive.run(*objects)
    assert (again.units, len(again.done)) == ([], 2)
    assert archive.rows() == {"a": "run-1", "b": "run-1", "c": "run-1"}


def test_new_objects_join_new_units(archive: Archive) -> None:
    archive.run(wav("b"), wav("d"))
    plan = archive.run(wav("a"), wav("b"), wav("c"), wav("d"))
    assert [each.name for unit in plan.new for each in unit.objects] == ["a.wav", "c.wav"]
    assert archive.rows() == {"b": "run-1", "d": "run-1", "a": "run-2", "c": "run-2"}


def test_a_changed_object_alone_replaces_its_rows(archive: Archive) -> None:
    first = archive.run(wav("a"), wav("b"), wav("c"))
    plan = archive.run(wav("a", etag="2"), wav("b"), wav("c"))
    assert [(unit.id, unit.objects) for unit in plan.redo] == [(first.new[0].id, (wav("a", etag="2"),))]
    assert [(each.key, each.source) for each in plan.redo[0].carried] == [(wav("b").key, wav("b"))]
    assert archive.rows() == {"a": "run-2", "b": "run-1", "c": "run-1"}
    assert not archive.plan(wav("a", etag="2"), wav("b"), wav("c")).units


def test_a_setting_that_goes_there_and_back_is_done_again(archive: Archive) -> None:
    other = heard(precision="bfloat16")
    for number, settings in enumerate((SETTINGS, other, SETTINGS), 1):
        assert len(archive.run(wav("a"), settings=settings, on_mismatch="replace").units) == 1
        assert archive.rows() == {"a": f"run-{number}"}
    assert not archive.plan(wav("a")).units


def test_a_part_or_commit_that_is_gone_or_doubled_is_made_again(archive: Archive) -> None:
    (unit,) = archive.run(wav("a")).new
    commits = Path(archive.place.path) / COMMITS
    Path(f"{archive.place.path}/part-{unit.id}.parquet").unlink()
    assert archive.run(wav("a")).redo
    (commit,) = commits.iterdir()
    commit.unlink()
    assert archive.run(wav("a")).rewrite
    (commits / f"{unit.id}.{'0' * 64}.{'0' * 16}.none.1r0e0a").write_bytes(b"{}")  # two: which is of this part?
    assert archive.run(wav("a")).rewrite
    assert len(list(commits.iterdir())) == 1
    assert archive.rows() == {"a": "run-2"}
    (commits / "a stranger").write_bytes(b"")
    assert not archive.plan(wav("a")).units


def test_what_is_not_listed_this_time_keeps_its_rows(archive: Archive) -> None:
    archive.run(wav("a"), wav("b"))
    assert not archive.plan(wav("a")).units
    (unit,) = archive.run(wav("a", etag="2")).redo
    assert [(each.uri, each.selection) for each in unit.carried] == [("s3://archive/b.wav", Selection())]
    assert archive.rows() == {"a": "run-2", "b": "run-1"}
    assert not archive.plan(wav("a", etag="2")).units
    plan = archive.plan(wav("a", etag="2"), wav("b"))  # the part says that what was carried over is as it should be
    assert [each.kind for each in plan.verdicts.values()] == ["done"]


def test_what_was_carried_over_from_other_settings_is_heard_when_listed(archive: Archive) -> None:
    archive.run(wav("a"), wav("b"))
    other = heard(precision="bfloat16")
    archive.run(wav("a"), settings=other, on_mismatch="replace")
    assert archive.rows() == {"a": "run-2", "b": "run-1"}
    with pytest.raises(UsageError, match=r"1 unit .* \(model\.precision was float32 and is bfloat16\)"):
        archive.plan(wav("a"), wav("b"), settings=other)
    archive.run(wav("a"), wav("b"), settings=other, on_mismatch="replace")
    assert archive.rows() == {"a": "run-2", "b": "run-3"}
    assert [each.kind for each in archive.plan(wav("a"), wav("b"), settings=other).verdicts.values()] == ["done"]


def test_rows_that_could_not_be_carried_over_are_made_when_listed(archive: Archive) -> None:
    (unit,) = archive.run(wav("a"), wav("b")).new
    Path(f"{archive.place.path}/part-{unit.id}.parquet").unlink()
    archive.run(wav("a"))
    assert archive.rows() == {"a": "run-2"}
    assert [unit.objects for unit in archive.run(wav("a"), wav("b")).redo] == [(wav("b"),)]
    assert archive.rows() == {"a": "run-2", "b": "run-3"}


def test_a_limit_is_part_of_what_was_done(archive: Archive) -> None:
    archive.run(wav("a", limit=1))
    assert archive.run(wav("a")).redo
    assert not archive.plan(wav("a")).units


def test_where_plans_disagree_the_highest_number_holds(archive: Archive) -> None:
    early, late = archive.plan(wav("a"), wav("b")), archive.plan(wav("a"), minutes=1)
    assert archive.claim(early)
    assert archive.claim(late)
    objects = archive.state().objects
    assert objects["s3://archive/a.wav"].unit == late.new[0].id
    assert objects["s3://archive/b.wav"].unit == early.new[0].id


def test_other_settings_do_not_mix_silently(archive: Archive) -> None:
    archive.run(wav("a"), wav("b"))
    other = heard(precision="bfloat16")
    with pytest.raises(
        UsageError, match=r"1 unit .* \(model\.precision was float32 and is bfloat16\).*on_mismatch=keep"
    ):
        archive.plan(wav("a"), wav("b"), settings=other)
    archive.run(wav("a"), wav("b"), wav("c"), settings=other, on_mismatch="keep")
    assert archive.rows() == {"a": "run-1", "b": "run-1", "c": "run-2"}
    changed = wav("a", etag="2"), wav("b"), wav("c")
    archive.run(*changed, settings=other, on_mismatch="keep")
    assert archive.rows() == {"a": "run-3", "b": "run-1", "c": "run-2"}
    assert {each.kind for each in archive.plan(*changed, settings=other, on_mismatch="keep").verdicts.values()} == {
        "done"
    }
    with pytest.raises(UsageError, match=r"1 unit .* \(model\.precision was float32 and is bfloat16\)"):
        archive.plan(*changed, settings=other)
    archive.run(*changed, settings=other, on_mismatch="replace")
    assert archive.rows() == {"a": "run-3", "b": "run-4", "c": "run-2"}
    assert not archive.plan(*changed, settings=other).units


def test_deleted_objects_are_removed_where_asked(archive: Archive) -> None:
    objects = [wav(name) for name in "abcdefghijkl"]
    archive.run(*objects)
    assert not archive.plan(*objects[1:]).units  # kept
    plan = archive.run(*objects[1:], on_deleted="remove")  # one of twelve, with a unit that it shares
    assert (plan.units, [unit.objects for unit in plan.rewrite], plan.redone_from) == ([], [()], {"rows": 1})
    assert archive.rows() == dict.fromkeys("bcdefghijkl", "run-1")
    with pytest.raises(UsageError, match=r"2 of 11 objects .* no longer listed.*max_removed_fraction"):
        archive.plan(*objects[3:], on_deleted="remove")
    plan = archive.run(*objects[2:], on_deleted="remove")  # and now the unit is empty
    assert len(plan.remove) == 1
    assert archive.rows() == dict.fromkeys("cdefghijkl", "run-1")
    assert not archive.plan(*objects[2:], on_deleted="remove").remove
    archive.run(*objects, on_deleted="remove")  # both are back, in the unit that was theirs
    assert archive.rows() == {"a": "run-4", "b": "run-4", **dict.fromkeys("cdefghijkl", "run-1")}


def test_what_the_run_does_not_look_at_is_not_deleted(archive: Archive) -> None:
    elsewhere = replace(wav("x"), key="s3://other/x.wav", uri="s3://other/x.wav")
    archive.run(wav("a"), wav("b"), elsewhere)
    assert not archive.plan(wav("a"), wav("b"), on_deleted="remove").units


def test_units_with_errors_are_retried_where_asked(archive: Archive) -> None:
    plan = archive.plan(wav("a"), wav("b"), wav("c"))
    archive.claim(plan)
    good, bad = plan.units
    output = archive.place
    commit_unit(good, [part_rows(good)], output)
    commit_unit(bad, [part_rows(bad, error="missing")], output)
    assert not archive.plan(wav("a"), wav("b"), wav("c")).units
    assert set(units_with_errors(frozenset({"crashed"}), archive.state(), output)) == set()
    retry = units_with_errors(frozenset({"missing", "crashed"}), archive.state(), output)
    assert [unit.id for unit in archive.plan(wav("a"), wav("b"), wav("c"), retry=retry).redo] == [bad.id]


def test_a_commit_speaks_of_the_part_that_stands(archive: Archive) -> None:
    (unit,) = archive.run(wav("a")).new
    part = Path(f"{archive.place.path}/part-{unit.id}.parquet")
    part.write_bytes(part.read_bytes())  # put there by a run that was paused, and ended before its commit
    assert archive.plan(wav("a")).rewrite


def test_many_plans_become_one(archive: Archive, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("jobs.planning.plans.MAX_PLANS", 3)
    for number in range(1, 6):
        archive.run(*(wav(f"{each}") for each in range(number)))
    plans = [str(each.relative_to(archive.place.path)) for each in Path(archive.place.path).glob("_runs/*/plan.arrow")]
    assert sorted(plans) == ["_runs/000004/plan.arrow", "_runs/000005/plan.arrow"]
    assert archive.rows() == {f"{each}": f"run-{each + 1}" for each in range(5)}
    assert not archive.plan(*(wav(f"{each}") for each in range(5))).units
    assert archive.state().recipes[recipe_digest(SETTINGS)] == SETTINGS


def test_both_parts_of_a_version_are_in_the_plans(archive: Archive) -> None:
    objects = [replace(wav("a"), text_version="3"), replace(wav("b"), text_version="4", format="tar"), wav("c")]
    archive.run(*objects)
    assert {key: each.version for key, each in archive.state().objects.items()} == {
        each.key: each.version for each in objects
    }
    assert [each.version.companions for each in objects] == ["3", "4", ""]


def claims_at_once(archive: Archive, contenders: int = 8) -> list[Place | None]:
    plan, state = archive.plan(wav("a")), archive.state()
    won: list[Place | None] = []
    threads = [threading.Thread(target=lambda: won.append(archive.claim(plan, state=state))) for _ in range(contenders)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return won


def test_one_of_many_wins_a_number(archive: Archive, conditional_s3_options: dict[str, Any]) -> None:
    remote = Archive("s3://bucket/race", conditional_s3_options)
    for each in (archive, remote):
        assert sum(folder is not None for folder in claims_at_once(each)) == 1
        assert load_state(each.place).next_number == 2


def test_the_whole_scheme_on_s3(conditional_s3_options: dict[str, Any], s3_options: dict[str, Any]) -> None:
    for remote in (Archive("s3://bucket/out", conditional_s3_options), Archive("s3://bucket/out", s3_options)):
        remote.run(wav("a"), wav("b"), wav("c"))
        assert not remote.plan(wav("a"), wav("b"), wav("c")).units
        remote.run(wav("a", etag="2"), wav("b"), wav("d"))
        assert remote.rows() == {"a": "run-2", "b": "run-1", "c": "run-1", "d": "run-2"}
        commits = names(remote.place / COMMITS)
        assert len(commits) == 3


def test_a_broken_plan_is_named(archive: Archive) -> None:
    archive.run(wav("a"))
    Path(f"{archive.place.path}/_runs/000001/plan.arrow").write_bytes(b"torn")
    with pytest.raises(UsageError, match=r"000001/plan\.arrow is not a plan"):
        archive.plan(wav("a"))
    with pa.ipc.new_file(f"{archive.place.path}/_runs/000001/plan.arrow", pa.schema([("unit", pa.string())])):
        pass
    with pytest.raises(UsageError, match=r"000001/plan\.arrow was written in schema 1, which"):
        archive.plan(wav("a"))


def test_hours_are_estimated_from_size_or_taken_from_the_manifest() -> None:
    assert nominal_seconds(wav("a", seconds=10)) == 10
    line = SourceObject("k", "s3://b/a.mp3", "a", "manifest", None, 8_000, lines='{"duration": 2.5}')
    assert nominal_seconds(line) == 2.5
    assert nominal_seconds(replace(line, lines="{}")) == 1.0


@pytest.mark.parametrize("size", [75_000, 0])
def test_a_line_that_tells_of_months_does_not_make_pieces_without_end(size: int) -> None:
    line = replace(wav("a", seconds=1), format="manifest", size=size, lines='{"duration": 9999999.9}')
    assert planned_cut(Unit("0a", "f", (line,)), 60, 0, nominal_seconds).shares <= 240
    refused = replace(line, refusal=("outside_input", "elsewhere"))
    assert planned_cut(Unit("0a", "f", (refused,)), 60, 0, nominal_seconds) == Cut(60)
    assert nominal_seconds(replace(line, lines='{"duration": 3600}', size=3_600 * 600)) == 3_600


def test_a_file_of_holes_does_not_make_pieces_without_end() -> None:
    for kind in ("audio", "tar", "parquet"):
        unit = Unit("0a", "f", (replace(wav("a", seconds=1), format=kind, size=1 << 60),))
        assert len(cut_unit(unit, planned_cut(unit, 60, 0, nominal_seconds))) == MAX_PLANNED_PIECES


def test_a_unit_survives_its_json() -> None:
    carried = (
        Carried("x", Version("1", "2"), "s3://x", Selection(1.5)),
        Carried("y", Version("1"), "s3://y", source=wav("y"), is_left=True),
    )
    unit = Unit("0a", "f", (replace(wav("a"), refusal=("bad_entry", "why")), wav("b")), carried)
    for piece in cut_unit(unit, Cut(1_800, 3, 2, is_streamed=True)):
        assert Piece.from_json(piece.to_json()) == piece


def test_what_differs_is_named_by_its_key(archive: Archive) -> None:
    archive.run(wav("a"), settings=heard(audio={"max_megabytes": 512.0, "channel": "average"}))
    with pytest.raises(UsageError, match=r"\(audio\.max_megabytes was 512 and is 600\)"):
        archive.run(wav("a"), settings=heard(audio={"max_megabytes": 600.0, "channel": "average"}))
