"""What of a part stays, what is made anew, and from what; nothing is heard that need not be."""

import io
import os
from collections.abc import Mapping
from contextlib import nullcontext
from dataclasses import replace
from itertools import count
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, rule
from made_parts import SAID_ANEW, commit_made, write_made, write_part
from test_links import as_nobody
from test_parts import part_rows
from test_planning import SETTINGS, Archive, heard, wav

from actors.parts.emissions import EMISSIONS
from actors.parts.made import Made, MadeOf, object_id
from actors.parts.stored import COMMITS, part_name, read_made
from actors.schema import UsageError
from actors.units import NO_EMISSIONS, SourceObject
from jobs.planning.corrections import object_errors
from jobs.planning.listing import Listing
from jobs.planning.policy import Policy
from jobs.planning.reasons import DONE, NEW
from jobs.planning.recipe import recipe_digest
from jobs.planning.state import made_of, sweep_emissions
from jobs.planning.verdicts import Plan, make_plan

KEPT: dict[str, Any] = {"candidates": 32, "threshold": -9.2}
KEEPING = SETTINGS | {"emissions": KEPT}


def said(before: Mapping[str, Any] = SETTINGS, **fields: Any) -> dict[str, Any]:
    """Settings with another way to say what was heard."""
    return {**before, "said": before["said"] | fields}


def referred(source: SourceObject, version: str = "2") -> SourceObject:
    """An object whose reference came or changed."""
    return replace(source, text_version=version)


@pytest.fixture
def archive(tmp_path: Path) -> Archive:
    return Archive(str(tmp_path / "out"))


def did(plan: Plan) -> dict[str, str]:
    """What a plan does with each object of its units to redo and to rewrite, by name."""
    done = {each.name: "heard" for unit in plan.units for each in unit.objects}
    for unit in plan.redo + plan.rewrite:
        for each in unit.carried:
            how = "left" if each.is_left else "updated" if each.source else "as it is"
            done[each.key.removeprefix("s3://archive/")] = how
    return {name.removesuffix(".wav"): how for name, how in done.items()}


def reasons(plan: Plan) -> set[tuple[str, str]]:
    return {(each.kind, each.reason) for each in plan.verdicts.values()}


def unit_of(archive: Archive) -> str:
    (unit,) = archive.state().parts
    return unit


def without_commit(archive: Archive) -> None:
    """A crash between the part and its commit."""
    for each in (Path(archive.place.path) / COMMITS).iterdir():
        each.unlink()


def forget_emissions(archive: Archive) -> None:
    for each in (Path(archive.place.path) / EMISSIONS).iterdir():
        each.unlink()


A, B = wav("a"), wav("b")


def test_a_part_says_what_it_was_made_with(archive: Archive) -> None:
    archive.run(A, referred(B), settings=KEEPING)
    made = read_made(unit_of(archive), archive.place)
    recipe = recipe_digest(KEEPING)
    assert made.of(B.key) == MadeOf.wanted(recipe, referred(B).version)
    assert made.of("another") is None
    assert made.emissions in archive.state().emissions


@pytest.mark.parametrize("content", [b"torn", b"", b"PAR1PAR1"])
def test_a_damaged_part_is_heard_again(archive: Archive, content: bytes) -> None:
    archive.run(A, B)
    (Path(archive.place.path) / part_name(unit_of(archive))).write_bytes(content)
    plan = archive.plan(A, B)
    assert did(plan) == {"a": "heard", "b": "heard"}
    assert reasons(plan) == {("redo", "its part is not the committed one")}


def test_a_part_that_is_damaged_unnoticed_is_told_when_it_is_needed(archive: Archive) -> None:
    archive.run(A, B)
    part = Path(archive.place.path) / part_name(unit_of(archive))
    times = part.stat().st_atime_ns, part.stat().st_mtime_ns
    part.write_bytes(part.read_bytes()[:-30])
    os.utime(part, ns=times)
    plan = archive.plan(A, referred(B))
    assert did(plan) == {"a": "heard", "b": "heard"}
    why = "its part is damaged, or does not say what it was made with"
    assert reasons(plan) == {("redo", f"companions of 1 object changed, {why}")}


@pytest.mark.parametrize(
    "metadata",
    [{}, {"citrascribe_made": "?"}, {"citrascribe_made": "eA=="}, Made().to_metadata()],
    ids=["none", "no base64", "not packed", "empty"],
)
def test_a_part_that_does_not_say_what_it_was_made_with_is_heard_again(
    archive: Archive, metadata: dict[str, str]
) -> None:
    archive.run(A, B)
    write_part(unit_of(archive), metadata, archive.place)
    assert did(archive.plan(A, B)) == {"a": "heard", "b": "heard"}
    assert did(archive.plan(A)) == {"a": "heard", "b": "as it is"}


def test_what_is_neither_listed_nor_has_rows_is_given_up(archive: Archive) -> None:
    archive.run(A, B)
    unit = unit_of(archive)
    made = read_made(unit, archive.place)
    write_made(unit, Made({object_id(A.key): made.objects[object_id(A.key)]}), archive.place)
    without_commit(archive)
    plan = archive.plan(A)
    assert did(plan) == {"a": "updated"}
    assert plan.objects[B.key].removed
    assert did(archive.plan(A, B)) == {"a": "updated", "b": "heard"}


def test_a_link_in_the_place_of_a_part_is_not_followed(archive: Archive, tmp_path: Path) -> None:
    archive.run(A)
    part = Path(archive.place.path) / part_name(unit_of(archive))
    part.rename(tmp_path / "elsewhere")
    part.symlink_to(tmp_path / "elsewhere")
    assert made_of(unit_of_link(part), archive.place) is None
    assert did(archive.plan(A)) == {"a": "heard"}


def unit_of_link(part: Path) -> str:
    return part.name.removeprefix("part-").removesuffix(".parquet")


def test_a_part_that_may_not_be_read_is_heard_again() -> None:
    with as_nobody() as folder:
        archive = Archive(str(folder / "out"))
        archive.run(A, B)
        unit = unit_of(archive)
        (folder / "out" / part_name(unit)).chmod(0)
        known = {"errors": lambda unit: object_errors(unit, archive.place)}
        assert did(archive.plan(referred(A), B)) == {"a": "heard", "b": "heard"}
        retried = archive.plan(A, B, **known, retry={unit: frozenset({"missing"})})
        assert did(retried) == {"a": "heard", "b": "heard"}


def test_references_that_changed_are_written_without_hearing(archive: Archive) -> None:
    archive.run(A, B)
    plan = archive.run(referred(A), B)
    assert did(plan) == {"a": "updated", "b": "updated"}
    assert reasons(plan) == {("redo", "companions of 1 object changed")}
    assert (plan.units, plan.redone_from) == ([], {"rows": 1})
    assert archive.rows() == {"a": "run-1", "b": "run-1"}
    assert reasons(archive.plan(referred(A), B)) == {DONE}
    assert reasons(archive.plan(A, referred(B))) == {("redo", "companions of 2 objects changed")}
    both = archive.plan(referred(A), wav("b", etag="2"))
    assert did(both) == {"a": "updated", "b": "heard"}
    assert reasons(both) == {("redo", "1 object changed")}


def test_the_lines_of_a_shard_say_what_is_heard_of_it(archive: Archive) -> None:
    shard = replace(A, format="tar", text_version="1", lines_version="1")
    archive.run(shard)
    assert did(archive.plan(replace(shard, text_version="2"))) == {"a": "updated"}
    assert did(archive.plan(replace(shard, text_version="2", lines_version="2"))) == {"a": "heard"}


def test_texts_are_decoded_anew_from_emissions_where_they_were_kept(archive: Archive) -> None:
    archive.run(A, B, settings=KEEPING)
    other = said(KEEPING, tokens=True)
    for mismatch in ("fail", "replace", "keep"):
        plan = archive.plan(A, B, settings=other, on_mismatch=mismatch)
        assert did(plan) == {"a": "updated", "b": "updated"}
        assert reasons(plan) == {("redo", "settings differ: output.tokens was false and is true; from emissions")}
        assert (plan.redone_from, plan.without_emissions, plan.advice) == ({"emissions": 1}, 0, None)
    archive.run(A, B, settings=other)
    assert archive.rows() == {"a": SAID_ANEW, "b": SAID_ANEW}
    assert reasons(archive.plan(A, B, settings=other)) == {DONE}


@pytest.mark.parametrize("before", ["never kept", "gone"])
def test_texts_are_heard_anew_where_no_emissions_were_kept_and_the_plan_says_so(archive: Archive, before: str) -> None:
    settings = SETTINGS if before == "never kept" else KEEPING
    archive.run(A, B, wav("c"), settings=settings)
    if before == "gone":
        forget_emissions(archive)
    other = said(settings, tokens=True)
    for mismatch in ("fail", "replace"):
        plan = archive.plan(A, B, wav("c"), settings=other, on_mismatch=mismatch)
        assert set(did(plan).values()) == {"heard"}
        assert reasons(plan) == {
            ("redo", "settings differ: output.tokens was false and is true; no emissions were kept")
        }
        assert (plan.redone_from, plan.without_emissions) == ({"audio": 2}, 2)
        assert str(plan.advice).startswith("output.emissions: 2 units are transcribed again")
    kept = archive.plan(A, B, wav("c"), settings=other, on_mismatch="keep")
    assert (kept.units, kept.rewrite, kept.advice) == ([], [], None)
    assert reasons(kept) == {DONE}


def test_emissions_of_another_unit_are_not_those_of_a_part(archive: Archive) -> None:
    archive.run(A, B, settings=KEEPING)
    unit = unit_of(archive)
    made = read_made(unit, archive.place)
    other = f"{'a' * 16}.{made.emissions.partition('.')[2]}"
    (archive.place / EMISSIONS / other).write(b"emissions")
    write_made(unit, replace(made, emissions=other), archive.place)
    assert set(did(archive.plan(A, B, settings=said(KEEPING, tokens=True))).values()) == {"heard"}


def test_keeping_emissions_is_no_reason_to_hear(archive: Archive) -> None:
    archive.run(A)
    assert reasons(archive.plan(A, settings=KEEPING)) == {DONE}
    plan = archive.run(A, B, settings=KEEPING)
    assert [unit.objects for unit in plan.units] == [(B,)]
    assert reasons(archive.plan(A, B, settings=KEEPING)) == {DONE}
    assert reasons(archive.plan(A, B)) == {DONE}  # nor is it one that they are not kept any more


def test_other_settings_of_kept_emissions_are_a_mismatch_where_some_were_kept(archive: Archive) -> None:
    archive.run(A, B, settings=KEEPING)
    other = SETTINGS | {"emissions": KEPT | {"candidates": 64}}
    phrase = "decoding.candidates was 32 and is 64"
    with pytest.raises(UsageError, match=rf"1 unit in the output had other settings \({phrase}\)"):
        archive.plan(A, B, settings=other)
    plan = archive.plan(A, B, settings=other, on_mismatch="replace")
    assert did(plan) == {"a": "heard", "b": "heard"}
    assert reasons(plan) == {("redo", f"settings differ: {phrase}")}
    assert reasons(archive.plan(A, B, settings=other, on_mismatch="keep")) == {DONE}


def test_a_text_can_be_decoded_anew_from_emissions_that_are_kept_otherwise_now(archive: Archive) -> None:
    archive.run(A, settings=KEEPING)
    other = said(SETTINGS | {"emissions": KEPT | {"candidates": 64}}, tokens=True)
    plan = archive.run(A, settings=other, on_mismatch="keep")
    assert (did(plan), plan.redone_from) == ({"a": "left"}, {"emissions": 1})
    assert reasons(archive.plan(A, settings=other, on_mismatch="keep")) == {DONE}


def test_what_was_removed_goes_and_nothing_is_heard(archive: Archive) -> None:
    objects = [wav(name, seconds=10) for name in "abcdefghijkl"]
    archive.run(*objects)
    plan = archive.run(*objects[1:], on_deleted="remove")
    assert (plan.units, reasons(plan), plan.redone_from) == ([], {("redo", "1 object removed")}, {"rows": 1})
    assert did(plan) == dict.fromkeys("bcdefghijkl", "updated")
    assert archive.rows() == dict.fromkeys("bcdefghijkl", "run-1")
    assert reasons(archive.plan(*objects[1:], on_deleted="remove")) == {DONE}
    back = archive.run(*objects, on_deleted="remove")
    assert {name for name, how in did(back).items() if how == "heard"} == {"a"}
    assert archive.rows() == {"a": "run-3", **dict.fromkeys("bcdefghijkl", "run-1")}


def test_a_unit_of_which_nothing_is_listed_loses_what_was_removed_and_mismatches_nothing(archive: Archive) -> None:
    archive.run(A, B, wav("c", seconds=120))
    other = heard(precision="bfloat16")
    listing = Listing([wav("d")], covers=lambda uri: uri == A.uri)  # the folder of b is not looked at

    opened = list[str]()

    def planned(settings: dict[str, Any] = other) -> Plan:
        opened.clear()
        made = lambda unit: opened.append(unit) or made_of(unit, archive.place)  # noqa: E731
        policy = Policy(on_deleted="remove", max_removed_fraction=1.0, made=made)
        return make_plan(listing, archive.state(), settings, policy)

    plan = planned()
    assert did(plan) == {"b": "as it is", "d": "heard"}
    assert reasons(plan) == {("redo", "1 object removed"), NEW}
    archive.claim(plan, other)
    for unit in plan.rewrite:
        commit_made(unit, part_rows(unit), archive.place)
    assert archive.rows() == {"b": "run-1", "c": "run-1"}
    assert {each.kind for each in planned(said(tokens=True)).verdicts.values()} == {"done", "redo"}  # d has no rows
    assert opened == []


def test_an_interrupted_rewrite_goes_on_as_a_rewrite(archive: Archive) -> None:
    archive.run(A, B, settings=KEEPING)
    other = said(KEEPING, tokens=True)
    plan = archive.plan(referred(A), B, settings=other)
    archive.claim(plan, other)
    without_commit(archive)  # before its part was written
    again = archive.plan(referred(A), B, settings=other)
    assert (did(again), again.redone_from) == ({"a": "updated", "b": "updated"}, {"emissions": 1})
    archive.run(referred(A), B, settings=other)
    without_commit(archive)  # after it
    last = archive.plan(referred(A), B, settings=other)
    assert reasons(last) == {("redo", "its commit is missing")}
    assert (did(last), last.redone_from) == ({"a": "updated", "b": "updated"}, {"rows": 1})


def test_without_a_commit_the_part_itself_says_that_it_was_heard_otherwise(archive: Archive) -> None:
    archive.run(A, B)
    without_commit(archive)
    other = heard(precision="bfloat16")
    with pytest.raises(UsageError, match=r"1 unit .* \(model\.precision was float32 and is bfloat16\)"):
        archive.plan(A, B, settings=other)
    kept = archive.plan(A, B, settings=other, on_mismatch="keep")
    assert (did(kept), reasons(kept)) == (
        {"a": "left", "b": "left"},
        {("redo", "its commit is missing")},
    )
    assert set(did(archive.plan(A, B, settings=other, on_mismatch="replace")).values()) == {"heard"}


def test_keep_leaves_texts_and_still_writes_what_needs_no_hearing(archive: Archive) -> None:
    archive.run(A, B)
    other = heard(precision="bfloat16")
    keep = {"settings": other, "on_mismatch": "keep"}
    plan = archive.run(referred(A), B, **keep)
    assert (did(plan), plan.redone_from) == ({"a": "left", "b": "left"}, {"rows": 1})
    made = read_made(unit_of(archive), archive.place)
    assert made.of(A.key) == MadeOf.wanted(recipe_digest(SETTINGS), referred(A).version)
    assert reasons(archive.plan(referred(A), B, **keep)) == {DONE}
    replaced = archive.run(referred(A), B, settings=other, on_mismatch="replace")
    assert did(replaced) == {"a": "heard", "b": "heard"}


def test_settings_that_go_back_find_what_was_left(archive: Archive) -> None:
    archive.run(A, B)
    archive.run(referred(A), B, settings=heard(precision="bfloat16"), on_mismatch="keep")
    assert reasons(archive.plan(referred(A), B)) == {DONE}


def test_only_objects_with_an_error_to_try_again_are_heard(archive: Archive) -> None:
    archive.run(A, B)
    unit = unit_of(archive)
    retry = {"retry": {unit: frozenset({"missing"})}}
    known = {"errors": lambda _: {(B.uri, B.selection): {"missing"}, (A.uri, A.selection): {None}}}
    plan = archive.plan(A, B, **retry, **known)
    assert did(plan) == {"a": "updated", "b": "heard"}
    assert reasons(plan) == {("redo", "an error that it has is tried again")}
    assert reasons(archive.plan(A, **retry, **known)) == {DONE}  # the one with the error is not listed
    assert did(archive.plan(A, B, **retry)) == {"a": "heard", "b": "heard"}  # nobody knows which of them has it


def test_input_redo_has_all_that_is_listed_of_a_unit_heard(archive: Archive) -> None:
    archive.run(A, B, wav("c"))
    plan = archive.plan(A, B, wav("c"), redo=frozenset({A.key}))
    assert did(plan) == {"a": "heard", "b": "heard"}
    assert did(archive.plan(A, redo=frozenset({A.key}))) == {"a": "heard", "b": "as it is"}


def test_errors_of_a_part_without_a_commit_that_may_pass_are_tried_again(archive: Archive) -> None:
    archive.run(A, B)
    without_commit(archive)
    for kind in ("unreachable", "internal"):
        known = {"errors": lambda _, kind=kind: {(B.uri, B.selection): {kind}, (A.uri, A.selection): {"missing"}}}
        assert did(archive.plan(A, B, **known)) == {"a": "updated", "b": "heard"}
    asked = archive.plan(A, B, **known, asked=frozenset({"missing"}))
    assert did(asked) == {"a": "heard", "b": "heard"}


def test_no_part_is_opened_that_its_commit_says_enough_of(archive: Archive) -> None:
    archive.run(A, B, wav("c"))
    opened = list[str]()

    def made(unit: str) -> Made | None:
        opened.append(unit)
        return made_of(unit, archive.place)

    archive.plan(A, B, wav("c"), made=made)
    other = heard(precision="bfloat16")
    archive.plan(A, B, wav("c"), settings=other, on_mismatch="keep", made=made)
    archive.plan(A, B, wav("c"), settings=other, on_mismatch="replace", made=made)
    with pytest.raises(UsageError, match="2 units in the output had other settings"):
        archive.plan(A, B, wav("c"), settings=other, made=made)
    archive.plan(A, B, wav("c"), settings=KEEPING, made=made)
    assert opened == []
    archive.plan(referred(A), B, wav("c"), made=made)
    assert len(opened) == 1


def test_only_what_is_heard_is_estimated(archive: Archive) -> None:
    archive.run(A, B)
    asked = list[str]()
    archive.plan(
        wav("a", etag="2"), B, wav("c"), calibrate=lambda objects: asked.extend(each.name for each in objects) or len
    )
    assert asked == ["a.wav", "c.wav"]


def test_files_of_emissions_that_nothing_names_go(archive: Archive) -> None:
    archive.run(A, B, settings=KEEPING)
    unit = unit_of(archive)
    (named,) = archive.state().emissions
    folder = Path(archive.place.path) / EMISSIONS
    old, of_none = f"{unit}.{'0' * 32}.{'1' * 16}.arrow", f"{'b' * 16}.{'0' * 32}.{'1' * 16}.arrow"
    strangers = {"notes.txt", f"{unit}.arrow", f"{unit}.{'0' * 31}.1.arrow"}

    def there() -> set[str]:
        return {each.name for each in folder.iterdir()}

    for name in (old, of_none, *strangers):
        (folder / name).write_bytes(b"x")
    sweep_emissions(archive.place, 60)  # another run may be about to name them
    assert there() == {named, old, of_none, *strangers}
    without_commit(archive)
    sweep_emissions(archive.place, -60)  # the part may name any of its unit's
    assert there() == {named, old, *strangers}
    archive.run(A, B, settings=KEEPING)
    sweep_emissions(archive.place, -60)
    assert there() == {*archive.state().emissions, *strangers} - {old}
    assert len(there()) == 1 + len(strangers)


def test_an_output_without_emissions_is_swept(archive: Archive) -> None:
    sweep_emissions(archive.place, 0)
    assert not Path(archive.place.path).exists()


NUMBERS = count()  # of outputs: those in memory stay


class Reuse(RuleBasedStateMachine):
    """Archives and settings that change, parts that lose their commits and emissions: each run hears what has no rows
    that were heard so, and nothing else, and leaves all as it is wanted."""

    @initialize()
    def begin(self) -> None:
        self.archive = Archive(f"memory:///reuse-{next(NUMBERS)}", {})
        self.place = self.archive.place
        self.objects = {name: [1, 0] for name in "abcde"}
        self.settings = SETTINGS
        self.unlisted = set[str]()

    @rule(name=st.sampled_from("abcde"))
    def change(self, name: str) -> None:
        self.objects[name][0] += 1

    @rule(name=st.sampled_from("abcde"))
    def refer(self, name: str) -> None:
        self.objects[name][1] += 1

    @rule(names=st.sets(st.sampled_from("abcde"), max_size=3))
    def list_less(self, names: set[str]) -> None:
        self.unlisted = names

    @rule(precision=st.sampled_from("xy"), tokens=st.booleans(), kept=st.sampled_from([None, 32, 64]))
    def configure(self, precision: str, tokens: bool, kept: int | None) -> None:
        emissions = kept and {"candidates": kept}
        self.settings = said(heard(precision=precision) | {"emissions": emissions}, tokens=tokens)

    @rule()
    def lose_commits(self) -> None:
        for each in self.place.filesystem.glob(f"{self.place.path}/{COMMITS}/*"):
            self.place.filesystem.rm_file(each)

    @rule()
    def lose_emissions(self) -> None:
        for each in self.place.filesystem.glob(f"{self.place.path}/{EMISSIONS}/*"):
            self.place.filesystem.rm_file(each)

    @rule()
    def sweep(self) -> None:
        before = self.parts()
        sweep_emissions(self.place, -60)
        assert self.parts() == before

    def listed(self) -> list[SourceObject]:
        return [
            referred(wav(name, etag=str(version)), str(text))
            for name, (version, text) in self.objects.items()
            if name not in self.unlisted
        ]

    def parts(self) -> dict[str, tuple[MadeOf, bool]]:
        """What the rows of each object were made with, and whether it has emissions."""
        state, found = self.archive.state(), dict[str, tuple[MadeOf, bool]]()
        for unit in state.parts:
            made = read_made(unit, self.place)
            uris = pq.read_table(io.BytesIO((self.place / part_name(unit)).read()))["uri"].to_pylist()
            assert sorted(map(object_id, uris)) == sorted(made.objects)
            found |= {uri: (of, made.emissions in state.emissions) for uri in uris if (of := made.of(uri))}
        return found

    @rule(mismatch=st.sampled_from(["keep", "replace"]), on_deleted=st.sampled_from(["keep", "remove"]))
    def run(self, mismatch: str, on_deleted: str) -> None:
        listed, before, recipe = self.listed(), self.parts(), recipe_digest(self.settings)
        needed, left, is_mismatched = set[str](), set[str](), False
        for each in listed:
            wanted = MadeOf.wanted(recipe, each.version)
            of, has = before.get(each.key, (None, False))
            if of is None:
                needed.add(each.key)
                continue
            fits = of.heard == wanted.heard
            fits &= of.emissions == wanted.emissions or NO_EMISSIONS in (of.emissions, wanted.emissions)
            is_mismatched |= not fits
            if of.version != wanted.version:
                needed.add(each.key)
                continue
            can_be_said = has and of.heard == wanted.heard and of.emissions != NO_EMISSIONS
            if not fits or (of.said != wanted.said and not can_be_said):
                (left if mismatch == "keep" else needed).add(each.key)
        policy = {
            "settings": self.settings,
            "on_mismatch": mismatch,
            "on_deleted": on_deleted,
            "max_removed_fraction": 1,
        }
        with pytest.raises(UsageError, match="on_mismatch") if is_mismatched else nullcontext():
            self.archive.plan(*listed, **policy | {"on_mismatch": "fail"})
        plan = self.archive.run(*listed, **policy)
        assert {each.key for unit in plan.units for each in unit.objects} == needed
        after = self.parts()
        for each in listed:
            wanted, of = MadeOf.wanted(recipe, each.version), after[each.key][0]
            assert (of.version, of.companions, of.written) == (wanted.version, wanted.companions, wanted.written)
            if each.key not in left:
                assert (of.heard, of.said) == (wanted.heard, wanted.said)
        for key, known in before.items():
            if key not in {each.key for each in listed}:
                made, has = known
                stated = {made} if has else {made, made._replace(emissions=NO_EMISSIONS)}  # what is lost is not kept
                assert (after[key][0] in stated) if on_deleted == "keep" else key not in after
        again = self.archive.plan(*listed, **policy)
        assert {each.kind for each in again.verdicts.values()} <= {"done"}


TestReuse = Reuse.TestCase
TestReuse.settings = settings(
    max_examples=25, stateful_step_count=20, deadline=None, suppress_health_check=list(HealthCheck)
)
