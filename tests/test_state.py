"""The state scheme under random histories: archives and settings that change, runs that crash, pause, and wake beside
each other.

At no moment does a reader see an object twice or in half; after a last undisturbed run, the rows are those of a run
into an empty output, and it has heard what was to be heard, and nothing else.
"""

import os
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any, Literal

import pytest
from histories import Archive, Job, OneThread, Run, Sound, stores_of, work
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule
from world import World

from actors.parts.emissions import EMISSIONS
from actors.schema import ErrorKind
from jobs.planning.plans import MAX_PLANS
from jobs.planning.state import load_state

NAMES = "abcde"
OTHER_WAYS = st.sampled_from(["fail", "keep", "replace"])


@pytest.fixture(autouse=True)
def _each_operation_is_a_step() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        for module in ("state", "judge"):
            patch.setattr(f"jobs.planning.{module}.ThreadPoolExecutor", OneThread)
        yield


class Histories(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        self.world = World()
        self.archive, self.output, self.seen = self.world.archive, self.world.output, self.world.seen
        self.job, self.runs, self.is_damaged, self.others, self.version = Job(), list[Run](), False, 0, 0

    @rule(name=st.sampled_from(NAMES), kind=st.sampled_from(["well", "well", "silent", "not_audio", "unreachable"]))
    def add_or_change(self, name: str, kind: str) -> None:
        self.version += 1
        error = None if kind in ("well", "silent") else ErrorKind(kind)
        self.archive.sounds[name] = Sound(self.version, error, kind == "silent")

    @rule(name=st.sampled_from(NAMES))
    def revert_or_add(self, name: str) -> None:
        self.archive.sounds[name] = Sound()

    @rule(name=st.sampled_from(NAMES))
    def heal(self, name: str) -> None:
        sound = self.archive.sounds.get(name)
        if sound and sound.error == ErrorKind.UNREACHABLE:
            self.archive.sounds[name] = replace(sound, error=None)

    @rule(name=st.sampled_from(NAMES))
    def delete(self, name: str) -> None:
        self.archive.sounds.pop(name, None)

    @rule(name=st.sampled_from(NAMES), comes=st.booleans())
    def describe(self, name: str, comes: bool) -> None:
        (self.archive.describe if comes else self.archive.bare)(name)

    @rule(precision=st.sampled_from(["float32", "bfloat16"]), on_mismatch=OTHER_WAYS)
    def hear_otherwise(self, precision: str, on_mismatch: str) -> None:
        self.job = replace(self.job, precision=precision, on_mismatch=on_mismatch)

    @rule(candidates=st.sampled_from([0, 16, 32]))
    def keep_emissions(self, candidates: int) -> None:
        self.job = replace(self.job, candidates=candidates)

    @rule(tokens=st.booleans(), itn=st.sampled_from(["none", "zh"]))
    def say_otherwise(self, tokens: bool, itn: Literal["none", "zh"]) -> None:
        self.job = replace(self.job, tokens=tokens, itn=itn)

    @rule(
        minutes=st.sampled_from([1.0, 2.0, 9.0]),
        cuts=st.booleans(),
        max_plans=st.sampled_from([1, 2, MAX_PLANS]),
        on_deleted=st.sampled_from(["keep", "remove"]),
    )
    def configure(self, **changes: Any) -> None:
        self.job = replace(self.job, **changes)

    @precondition(lambda self: self.others < 2)
    @rule(which=st.integers(0, 9), deletes=st.booleans(), folder=st.sampled_from(["part-", f"{EMISSIONS}/"]))
    def others_do_damage(self, which: int, deletes: bool, folder: str) -> None:
        store = self.archive.bucket.store
        if paths := sorted(path for path in store if path.startswith(f"/out/{folder}")):
            path = paths[which % len(paths)]
            self.is_damaged, self.others = True, self.others + 1
            if deletes:
                del store[path]
            else:
                content = store[path].getvalue()
                self.archive.bucket.pipe_file(path, content[: len(content) // 2])

    @precondition(lambda self: len(self.runs) < 3)
    @rule(steps=st.integers(0, 120), redo=st.sets(st.sampled_from(NAMES), max_size=1))
    def start(self, steps: int, redo: set[str]) -> None:
        run = Run(replace(self.job, redo=frozenset(redo)), self.archive, self.output)
        self.runs.append(run)
        for _ in range(steps):
            run.step()

    @precondition(lambda self: self.runs)
    @rule(which=st.integers(0, 2), steps=st.integers(1, 30), crashes=st.booleans())
    def go_on(self, which: int, steps: int, crashes: bool) -> None:
        run = self.runs[which % len(self.runs)]
        for _ in range(steps):
            run.step()
            self.seen.check()
        if crashes:
            run.crash()
        self.runs = [run for run in self.runs if not run.ended]

    @rule(redo=st.sets(st.sampled_from(NAMES), max_size=1))
    def undisturbed(self, redo: set[str]) -> None:
        self.undisturbed_run(replace(self.job, redo=frozenset(redo)))

    @invariant()
    def nothing_is_seen_twice_or_in_half(self) -> None:
        self.seen.check()

    def teardown(self) -> None:
        last = replace(self.job, on_mismatch="replace")
        try:
            self.undisturbed_run(self.job)
            self.undisturbed_run(last)
            for run in self.runs:  # paused all the while, and now they come back
                run.finish()
                self.seen.check()
            self.undisturbed_run(self.job)
            self.undisturbed_run(last)
        finally:
            for run in self.runs:
                if not run.ended:
                    run.crash()

    def undisturbed_run(self, job: Job) -> None:
        self.world.run(job, self.is_damaged)


KEPT = Job(candidates=32, tokens=False, itn="zh")
REMOVING = replace(KEPT, on_deleted="remove")
#: What changed, and how the next run is configured, which then has nothing to hear.
REWRITES: dict[str, tuple[Callable[[Archive], object], Job]] = {
    "companions": (lambda archive: [archive.describe("b"), archive.describe("c"), archive.bare("a")], KEPT),
    "written": (lambda archive: None, replace(KEPT, itn="none")),
    "tokens": (lambda archive: None, replace(KEPT, tokens=True)),
    "tokens, in pieces": (lambda archive: None, replace(KEPT, tokens=True, cuts=True)),
    "emissions are not kept any more": (lambda archive: None, replace(KEPT, tokens=True, candidates=0, itn="none")),
    "removed": (lambda archive: [archive.sounds.pop(name) for name in "ad"], REMOVING),
    "deleted and kept": (lambda archive: [archive.sounds.pop("a"), archive.describe("b")], replace(KEPT, tokens=True)),
    "all": (
        lambda archive: [archive.sounds.pop("a"), archive.describe("b")],
        replace(REMOVING, tokens=True, itn="none"),
    ),
}
#: Those after which some is to be heard.
HEARINGS: dict[str, tuple[Callable[[Archive], object], Job]] = {
    "changed and new": (lambda archive: archive.sounds.update(a=Sound(1), e=Sound(1)), replace(KEPT, tokens=True)),
    "in pieces": (lambda archive: archive.sounds.update(a=Sound(1), d=Sound(1), e=Sound(1)), replace(KEPT, cuts=True)),
    "otherwise": (lambda archive: archive.describe("b"), replace(KEPT, precision="bfloat16")),
    "otherwise, in pieces": (lambda archive: None, replace(KEPT, precision="bfloat16", cuts=True)),
    "emissions otherwise": (lambda archive: archive.sounds.pop("a"), replace(KEPT, candidates=16)),
    "changed, others are left": (
        lambda archive: archive.sounds.update(a=Sound(1)),
        replace(KEPT, precision="bfloat16", tokens=True, on_mismatch="keep"),
    ),
}


def committed(opens_nothing: bool = False) -> World:
    """An output with emissions, in two units, in one of which no recording has a text."""
    world = World(opens_nothing)
    world.archive.sounds |= {"a": Sound(), "b": Sound()}
    world.archive.sounds |= {"c": Sound(is_silent=True), "d": Sound(error=ErrorKind.NOT_AUDIO)}
    world.archive.describe("a")
    world.run(KEPT)
    return world


@pytest.mark.parametrize("change", REWRITES)
def test_a_rewrite_that_is_killed_at_any_moment_goes_on_as_a_rewrite(change: str) -> None:
    world, (apply, job) = committed(opens_nothing=True), REWRITES[change]
    apply(world.archive)
    run = Run(job, world.archive, world.output)
    for killed, store in enumerate(list(stores_of(run, world.archive.bucket))):
        world.archive.bucket.store = dict(store)
        assert not world.run(job).pieces, killed
    assert not run.done.pieces
    assert not run.done.failures
    assert killed > 5


@pytest.mark.parametrize("change", HEARINGS)
def test_what_was_heard_by_a_run_that_is_killed_at_any_moment_is_not_heard_again(change: str) -> None:
    world, (apply, job) = committed(), HEARINGS[change]
    apply(world.archive)
    run, heard = Run(job, world.archive, world.output), 0
    for store in list(stores_of(run, world.archive.bucket)):
        world.archive.bucket.store = dict(store)
        heard += len(world.run(job).pieces)
    assert heard


@pytest.mark.parametrize(("max_plans", "later"), [(1, 1), (1, 3), (2, 1), (2, 2), (MAX_PLANS, 3)])
def test_a_run_overtaken_at_any_moment_doubles_nothing(max_plans: int, later: int) -> None:
    """A planner that sleeps while later runs take over all plans, the one with its number too."""
    job, steps = Job(max_plans=max_plans), 0
    while True:
        world = World()
        archive = world.archive
        archive.sounds["a"] = Sound()
        work(job, archive, world.output)
        archive.sounds["b"] = Sound()
        listed = archive.listing()
        slow = Run(job, archive, world.output, listed)
        for _ in range(steps):
            slow.step()
        if slow.ended:
            break
        archive.sounds["d"] = Sound()
        for _ in range(later):
            work(job, archive, world.output)
        archive.sounds["c"] = Sound()
        listed.objects[:] = archive.listing().objects  # what a run finds that plans again
        slow.finish()
        work(job, archive, world.output)
        assert world.seen.objects().keys() == {each.uri for each in archive.listing().objects}, steps
        state = load_state(world.output)
        assert state.parts.keys() == state.members().keys()
        steps += 1
    assert steps > 10


@pytest.mark.parametrize("other", [{"precision": "bfloat16"}, {"tokens": False, "cuts": True}], ids=str)
def test_a_run_overtaken_at_any_moment_by_one_with_other_settings_states_no_wrong_ones(other: dict[str, Any]) -> None:
    """What it took over or heard is not taken for what the other made, by neither of their like."""
    job = replace(KEPT, tokens=True, cuts="cuts" in other)
    others, steps = replace(job, **other), 0
    while True:
        world = committed()
        world.archive.describe("b")
        world.archive.sounds["d"] = Sound(1)
        slow = Run(job, world.archive, world.output)
        for _ in range(steps):
            slow.step()
        if slow.ended:
            break
        work(others, world.archive, world.output)
        slow.finish()
        world.seen.check()
        store = dict(world.archive.bucket.store)
        for again in (job, others):
            world.archive.bucket.store = dict(store)
            world.run(again)
        steps += 7
    assert steps > 40


@pytest.mark.parametrize(
    "later", [{"tokens": True, "on_mismatch": "keep"}, {"candidates": 16}, {"tokens": True}], ids=str
)
def test_emissions_of_a_rewrite_that_keeps_no_new_ones_count_as_before(later: dict[str, Any]) -> None:
    world, job = committed(), replace(KEPT, candidates=0)
    world.archive.describe("b")
    assert not world.run(job).pieces
    heard = world.run(replace(job, **later)).heard
    assert {"a", "b"} <= heard if "candidates" in later else not heard


def test_pieces_that_were_kept_for_other_objects_of_a_unit_are_not_taken_for_those_of_a_run() -> None:
    """A unit has the same fingerprint whichever of its objects are heard."""
    world, job = World(), Job(minutes=9.0, cuts=True)
    world.archive.sounds |= {"a": Sound(), "b": Sound(error=ErrorKind.UNREACHABLE), "c": Sound(1)}
    world.run(job)
    world.archive.sounds |= {"b": Sound(), "c": Sound(2)}
    run = Run(replace(job, redo=frozenset("a")), world.archive, world.output)
    killed = next(store for store in stores_of(run, world.archive.bucket) if any(".1-of-" in path for path in store))
    run.crash()
    world.archive.bucket.store = {path: file for path, file in killed.items() if ".0-of-" not in path}
    assert world.run(job).heard == {"b", "c"}


TestHistories = Histories.TestCase
TestHistories.settings = settings(
    max_examples=int(os.environ.get("HISTORIES", "25")),
    stateful_step_count=30,
    deadline=None,
    suppress_health_check=list(HealthCheck),
)
