"""Why each unit is done, redone or removed, as a plan tells it."""

from pathlib import Path
from typing import Any

import pytest
from conftest import encoded, tone
from made_parts import commit_made
from test_parts import part_rows
from test_planning import Archive, heard, wav

from actors.parts.commit import commit_unit
from actors.parts.stored import COMMITS
from actors.storage.place import Place
from jobs import plan as plan_job
from jobs.cli.loading import load
from jobs.planning.plans import write_plan
from jobs.planning.prepare import prepare
from jobs.planning.reasons import DONE, EMPTY, NEW, Verdict
from jobs.planning.recipe import Devices
from jobs.planning.verdicts import Plan


@pytest.fixture
def archive(tmp_path: Path) -> Archive:
    return Archive(str(tmp_path / "out"))


def verdict(plan: Plan) -> Verdict:
    """The only one of a plan."""
    (found,) = plan.verdicts.values()
    return found


def test_new_and_done(archive: Archive) -> None:
    assert verdict(archive.plan(wav("a"))) == NEW
    archive.run(wav("a"))
    assert verdict(archive.plan(wav("a"))) == DONE
    assert archive.plan(wav("a")).done
    assert set(archive.plan(wav("a"), wav("b"), wav("c")).verdicts.values()) == {DONE, NEW}


def test_objects_that_changed_are_counted(archive: Archive) -> None:
    objects = [wav(name, seconds=10) for name in "abcdefghij"]
    archive.run(*objects)
    changed = [wav(name, etag="2", seconds=10) for name in "ab"]
    assert verdict(archive.plan(*changed, *objects[2:])) == ("redo", "2 objects changed")
    assert verdict(archive.plan(changed[0], *objects[1:])) == ("redo", "1 object changed")
    assert verdict(archive.plan(*objects[1:], on_deleted="remove")) == ("redo", "1 object removed")
    both = archive.plan(changed[1], *objects[2:], on_deleted="remove")
    assert verdict(both) == ("redo", "1 object removed, 1 object changed")
    archive.run(*objects[1:], on_deleted="remove")
    assert verdict(archive.plan(*objects)) == ("redo", "1 object came back")


def test_a_unit_that_comes_back_as_a_whole_is_told(archive: Archive) -> None:
    archive.run(wav("a"), wav("b"))
    archive.run(wav("c"), on_deleted="remove", max_removed_fraction=1.0)
    reasons = {each.reason for each in archive.plan(wav("a"), wav("b"), wav("c")).verdicts.values()}
    assert reasons == {"2 objects came back", DONE.reason}


def test_an_interrupted_run_is_told(archive: Archive) -> None:
    archive.claim(archive.plan(wav("a")))
    assert verdict(archive.plan(wav("a"))) == ("redo", "an earlier run did not finish it")
    archive.run(wav("a"))
    archive.claim(archive.plan(wav("a", etag="2")))
    reason = "an earlier run saw changes of its objects, and did not finish them"
    assert verdict(archive.plan(wav("a", etag="2"))) == ("redo", reason)


def test_files_that_are_missing_are_told(archive: Archive) -> None:
    (unit,) = archive.run(wav("a")).new
    part, commits = Path(f"{archive.place.path}/part-{unit.id}.parquet"), Path(archive.place.path) / COMMITS
    data = part.read_bytes()
    part.unlink()
    assert verdict(archive.plan(wav("a"))) == ("redo", "its part is missing")
    part.write_bytes(data)
    assert verdict(archive.plan(wav("a"))) == ("redo", "its part is not the committed one")
    (commit,) = commits.iterdir()
    commit.unlink()
    assert verdict(archive.plan(wav("a"))) == ("redo", "its commit is missing")
    for number in "01":
        (commits / f"{unit.id}.{'0' * 64}.{number * 16}.none.1r0e0a").write_bytes(b"{}")
    assert verdict(archive.plan(wav("a"))) == ("redo", "it has 2 commits")
    part.write_bytes(b"torn")
    assert verdict(archive.plan(wav("a"))) == ("redo", "it has 2 commits")


def test_rows_that_could_not_be_kept_are_told(archive: Archive) -> None:
    (unit,) = archive.run(wav("a"), wav("b")).new
    plan = archive.plan(wav("a", etag="2"))
    archive.claim(plan)
    Path(f"{archive.place.path}/part-{unit.id}.parquet").unlink()  # which has the rows of b
    (redo,) = plan.redo
    commit_unit(redo, [part_rows(redo)], archive.place)
    told = archive.plan(wav("a", etag="2"), wav("b"))
    assert verdict(told) == ("redo", "rows of some of its objects are missing")


def test_settings_that_differ_are_named(archive: Archive) -> None:
    archive.run(wav("a"), settings=heard(audio={"channel": "average"}))
    other = heard(audio={"channel": 1}, precision="bfloat16")
    reason = "settings differ: model.precision was float32 and is bfloat16; audio.channel was average and is 1"
    assert verdict(archive.plan(wav("a"), settings=other, on_mismatch="replace")) == ("redo", reason)
    assert verdict(archive.plan(wav("a"), settings=other, on_mismatch="keep")) == DONE
    changed = archive.plan(wav("a", etag="2"), settings=other, on_mismatch="replace")
    assert verdict(changed) == ("redo", f"1 object changed, {reason}")
    kept = archive.plan(wav("a", etag="2"), settings=other, on_mismatch="keep")
    assert verdict(kept) == ("redo", "1 object changed")


def test_errors_to_retry_are_told(archive: Archive) -> None:
    (unit,) = archive.run(wav("a")).new
    plan = archive.plan(wav("a"), retry={unit.id: frozenset({"missing"})})
    assert verdict(plan) == ("redo", "an error that it has is tried again")


def test_a_unit_without_objects_is_removed(archive: Archive) -> None:
    archive.run(wav("a"), *(wav(f"{number}", seconds=120) for number in range(20)))
    plan = archive.plan(*(wav(f"{number}", seconds=120) for number in range(20)), on_deleted="remove")
    assert sorted(set(plan.verdicts.values())) == [DONE, EMPTY]
    assert len(plan.remove) == 1


def test_a_plan_prints_its_verdicts(job: Any, tmp_path: Path, demo_copy: Path) -> None:
    keys = (f"input.uri={demo_copy}", f"output.uri={tmp_path}/out")
    _, summary, seen = job(*keys, main=plan_job.main)
    assert summary["reasons"] == {"new": {"not planned before": summary["units"]["new"]}}
    assert "not planned before" in seen
    assert summary["units"] == {"new": summary["units"]["new"], "redo": 0, "done": 0, "remove": 0}
    assert (summary["redone_from"], summary["without_emissions"]) == ({"rows": 0, "emissions": 0, "audio": 0}, 0)
    assert "output.emissions" not in seen


@pytest.mark.parametrize("kept", [False, True])
def test_a_plan_says_from_what_units_are_redone(job: Any, tmp_path: Path, kept: bool) -> None:
    """A text that is wanted otherwise is decoded anew from emissions, or heard anew; a new reference needs neither."""
    folder, output = tmp_path / "in", Place.at(str(tmp_path / "out"))
    folder.mkdir()
    for name in "ab":
        (folder / f"{name}.wav").write_bytes(encoded(tone(1)))
    keys = [f"input.uri={folder}", f"output.uri={output.path}", f"output.emissions={str(kept).lower()}"]
    config = load("configs/demo.yaml", keys)
    prepared = prepare(config, Devices.of_this_machine)
    recipe = prepared.recipe.digest, prepared.recipe.settings
    assert write_plan(output, prepared.state, prepared.plan.objects, recipe, "run")
    for unit in prepared.plan.units:
        commit_made(unit, part_rows(unit), output)

    def told(*more: str) -> tuple[dict[str, Any], str]:
        status, summary, seen = job(*keys, *more, main=plan_job.main)
        assert status == 0
        return summary, " ".join(seen.split())

    summary, seen = told("output.tokens=false")
    source = "emissions" if kept else "audio"
    assert summary["redone_from"] == {"rows": 0, "emissions": 0, "audio": 0} | {source: 1}
    assert summary["units"]["redo"] == 1
    assert summary["without_emissions"] == (not kept)
    sentence = "output.emissions: 1 unit is transcribed again, because the text is wanted otherwise"
    assert (sentence in seen) == (not kept)
    (folder / "a.txt").write_text("天")
    summary, _ = told()
    assert summary["redone_from"] == {"rows": 1, "emissions": 0, "audio": 0}
    assert summary["reasons"] == {"redo": {"companions of 1 object changed": 1}}
    assert (summary["estimated_hours_to_do"], summary["pieces"]) == (0, 0)
