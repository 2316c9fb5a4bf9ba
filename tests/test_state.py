"""The state scheme under random histories: archives that change, runs that crash, pause, and wake beside each other.

No Ray: a run is its plan and its commits, stopped at any operation on storage. At no moment does a reader see an object
twice or in half; after a last undisturbed run, the rows are those of a run into an empty output.
"""

import hashlib
import io
import threading
from collections import Counter
from contextlib import suppress
from datetime import UTC, datetime
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from fsspec.implementations.memory import MemoryFileSystem
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from actors.parts.commit import commit_unit, remove_unit
from actors.schema import PART_SCHEMA
from actors.storage.place import Place
from actors.units import SourceObject, Unit
from jobs.planning.listing import Listing
from jobs.planning.plans import MAX_PLANS, write_plan
from jobs.planning.recipe import recipe_digest
from jobs.planning.run_files import SUMMARY
from jobs.planning.state import load_state
from jobs.planning.verdicts import Policy, make_plan

ROOT = "/out"
NAMES = "abcde"
SEGMENTS = 2


class Crash(BaseException):
    """The end of a simulated process."""


class Bucket(MemoryFileSystem):
    """A store like S3: ETags of the content, conditional creation; before each operation a run may be stopped."""

    cachable = False

    def __init__(self) -> None:
        super().__init__()
        self.store: dict[str, Any] = {}
        self.pseudo_dirs = [""]
        self.running = threading.local()

    def _stop(self) -> None:
        run = getattr(self.running, "run", None)
        if run is not None:
            run.wait_for_its_turn()

    def info(self, path: str, **kwargs: Any) -> dict[str, Any]:
        self._stop()
        found = dict(super().info(path, **kwargs))
        if found["type"] == "file":
            found["ETag"] = hashlib.md5(self.store[self._strip_protocol(path)].getvalue()).hexdigest()
        return found

    def ls(self, path: str, detail: bool = True, **kwargs: Any) -> Any:
        self._stop()
        found = super().ls(path, detail=True, **kwargs)
        for each in found:
            if each["type"] == "file":
                each["ETag"] = hashlib.md5(self.store[each["name"]].getvalue()).hexdigest()
        return found if detail else [each["name"] for each in found]

    def cat_file(self, path: str, *args: Any, **kwargs: Any) -> bytes:
        self._stop()
        return bytes(super().cat_file(path, *args, **kwargs))

    def pipe_file(self, path: str, value: bytes, mode: str = "overwrite", **kwargs: Any) -> None:
        self._stop()
        super().pipe_file(path, value, mode=mode, **kwargs)

    def rm_file(self, path: str) -> None:
        self._stop()
        if self._strip_protocol(path) not in self.store:
            raise FileNotFoundError(path)
        super().rm_file(path)


class Run:
    """A run in a thread of its own that does one operation on storage each time it is let."""

    def __init__(
        self, bucket: Bucket, listing: Listing, recipe: dict[str, str], policy: Policy, max_plans: int = MAX_PLANS
    ) -> None:
        self._turn, self._stopped = threading.Semaphore(0), threading.Semaphore(0)
        self._crashed = self.ended = False
        self.failure: BaseException | None = None

        def body() -> None:
            bucket.running.run = self
            try:
                undisturbed(bucket, listing, recipe, policy, max_plans)
            except Crash:
                pass
            except BaseException as problem:  # noqa: BLE001 - raised in the test's own thread
                self.failure = problem
            self.ended = True
            self._stopped.release()

        self._thread = threading.Thread(target=body, daemon=True)
        self._thread.start()
        self._stopped.acquire()

    def wait_for_its_turn(self) -> None:
        self._stopped.release()
        self._turn.acquire()
        if self._crashed:
            raise Crash

    def step(self) -> None:
        if not self.ended:
            self._turn.release()
            self._stopped.acquire()
        if self.failure:
            raise self.failure

    def finish(self) -> None:
        while not self.ended:
            self.step()

    def crash(self) -> None:
        self._crashed = True
        self.step()


def undisturbed(
    bucket: Bucket, listing: Listing, recipe: dict[str, str], policy: Policy, max_plans: int = MAX_PLANS
) -> None:
    output, folder = Place(bucket, ROOT), None
    while folder is None:
        state = load_state(output)
        plan = make_plan(listing, state, recipe, policy)
        folder = write_plan(output, state, plan.objects, (recipe_digest(recipe), recipe), "run", max_plans)
    (folder / SUMMARY).write(b"{}")
    for unit_id in plan.remove:
        remove_unit(unit_id, output)
    for unit in plan.units:
        with suppress(
            FileExistsError
        ):  # another run wrote the part at the same moment: told to the driver as a failure
            commit_unit(unit, [rows_of(unit, recipe)], output)


def rows_of(unit: Unit, recipe: dict[str, str]) -> pa.Table:
    rows = [
        {
            "recording_id": each.name,
            "uri": each.uri,
            "etag": each.etag,
            "segment_index": segment,
            "text": f"{each.name} {each.etag} {recipe['precision']} {segment}",
            "model": "m",
            "model_sha256": "0",
            "decoding": "greedy",
            "run_id": "r",
            "unit": "0a",
            "transcribed_at": datetime.now(UTC),
        }
        for each in unit.objects
        for segment in range(SEGMENTS)
    ]
    return pa.Table.from_pylist(rows, schema=PART_SCHEMA)


class Histories(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        self.bucket = Bucket()
        self.archive: dict[str, int] = {}
        self.recipe = {"precision": "float32"}
        self.minutes = 2.0
        self.max_plans = MAX_PLANS
        self.on_deleted = "keep"
        self.runs: list[Run] = []

    def listing(self) -> Listing:
        objects = [
            SourceObject(f"s3://a/{name}", f"s3://a/{name}", name, "audio", str(version), 60 * 16_000)
            for name, version in sorted(self.archive.items())
        ]
        return Listing(objects, covers=lambda uri: True)

    def policy(self) -> Policy:
        return Policy(
            target_seconds=self.minutes * 60,
            on_mismatch="replace",
            on_deleted=self.on_deleted,
            max_removed_fraction=1.0,
        )

    def rows(self) -> Counter[tuple[str, str]]:
        """(object, text) of every row that a reader sees now."""
        found = Counter[tuple[str, str]]()
        for path, file in list(self.bucket.store.items()):
            if path.startswith(f"{ROOT}/part-"):
                rows = pq.read_table(io.BytesIO(file.getvalue()), schema=PART_SCHEMA)
                found.update(zip(rows["uri"].to_pylist(), rows["text"].to_pylist(), strict=True))
        return found

    @rule(name=st.sampled_from(NAMES))
    def add_or_change(self, name: str) -> None:
        self.archive[name] = self.archive.get(name, 0) + 1

    @rule(name=st.sampled_from(NAMES))
    def revert(self, name: str) -> None:
        self.archive[name] = 1

    @rule(name=st.sampled_from(NAMES))
    def delete(self, name: str) -> None:
        self.archive.pop(name, None)

    @rule(precision=st.sampled_from(["float32", "bfloat16"]), minutes=st.sampled_from([1.0, 2.0, 9.0]))
    def configure(self, precision: str, minutes: float) -> None:
        self.recipe, self.minutes = {"precision": precision}, minutes

    @rule(plans=st.sampled_from([1, 2, MAX_PLANS]))
    def keep(self, plans: int) -> None:
        self.max_plans = plans

    @rule(on_deleted=st.sampled_from(["keep", "remove"]))
    def decide(self, on_deleted: str) -> None:
        self.on_deleted = on_deleted

    @precondition(lambda self: len(self.runs) < 3)
    @rule(steps=st.integers(0, 60))
    def start(self, steps: int) -> None:
        run = Run(self.bucket, self.listing(), dict(self.recipe), self.policy(), self.max_plans)
        self.runs.append(run)
        for _ in range(steps):
            run.step()

    @precondition(lambda self: self.runs)
    @rule(which=st.integers(0, 2), steps=st.integers(1, 30), crashes=st.booleans())
    def go_on(self, which: int, steps: int, crashes: bool) -> None:
        run = self.runs[which % len(self.runs)]
        for _ in range(steps):
            run.step()
            self.nothing_is_seen_twice_or_in_half()
        if crashes:
            run.crash()
        self.runs = [run for run in self.runs if not run.ended]

    @invariant()
    def nothing_is_seen_twice_or_in_half(self) -> None:
        rows = self.rows()
        assert set(rows.values()) <= {1}
        texts = Counter(uri for uri, _ in rows)
        assert set(texts.values()) <= {SEGMENTS}

    def teardown(self) -> None:
        try:
            self.last_run_is_as_into_an_empty_output()
            for run in self.runs:  # paused all the while, and now they come back
                run.finish()
                self.nothing_is_seen_twice_or_in_half()
            self.last_run_is_as_into_an_empty_output()
        finally:
            for run in self.runs:
                if not run.ended:
                    run.crash()

    def last_run_is_as_into_an_empty_output(self) -> None:
        undisturbed(self.bucket, self.listing(), self.recipe, self.policy(), self.max_plans)
        expected = {
            (f"s3://a/{name}", f"{name} {version} {self.recipe['precision']} {segment}")
            for name, version in self.archive.items()
            for segment in range(SEGMENTS)
        }
        rows = set(self.rows())
        listed = {(uri, text) for uri, text in rows if uri.removeprefix("s3://a/") in self.archive}
        assert listed == expected
        if self.on_deleted == "remove":
            assert rows == expected
        plan = make_plan(self.listing(), load_state(Place(self.bucket, ROOT)), self.recipe, self.policy())
        assert not plan.units
        assert not plan.remove


def listing_of(names: str) -> Listing:
    objects = [SourceObject(f"s3://a/{name}", f"s3://a/{name}", name, "audio", "1", 60 * 16_000) for name in names]
    return Listing(objects, covers=lambda uri: True)


@pytest.mark.parametrize("max_plans", [1, 2, MAX_PLANS])
@pytest.mark.parametrize("later", [1, 2, 3])
def test_a_run_overtaken_at_any_moment_doubles_nothing(max_plans: int, later: int) -> None:
    """A planner that sleeps while later runs take over all plans, the one with its number too."""
    policy = Policy(target_seconds=120.0, on_mismatch="replace", on_deleted="keep")
    recipe, steps = {"precision": "float32"}, 0
    while True:
        bucket = Bucket()
        undisturbed(bucket, listing_of("a"), recipe, policy, max_plans)
        listed = listing_of("ab")
        slow = Run(bucket, listed, recipe, policy, max_plans)
        for _ in range(steps):
            slow.step()
        if slow.ended:
            break
        for _ in range(later):
            undisturbed(bucket, listing_of("abd"), recipe, policy, max_plans)
        listed.objects[:] = listing_of("abcd").objects  # what a run finds that plans again
        slow.finish()
        undisturbed(bucket, listing_of("abcd"), recipe, policy, max_plans)
        output, found = Place(bucket, ROOT), Counter[str]()
        for path, file in bucket.store.items():
            if path.startswith(f"{ROOT}/part-"):
                found.update(pq.read_table(io.BytesIO(file.getvalue()), schema=PART_SCHEMA)["uri"].to_pylist())
        assert found == {f"s3://a/{name}": SEGMENTS for name in "abcd"}, steps
        state = load_state(output)
        assert state.parts.keys() == state.members().keys()
        steps += 1
    assert steps > 10


TestHistories = Histories.TestCase
TestHistories.settings = settings(
    max_examples=60, stateful_step_count=30, deadline=None, suppress_health_check=list(HealthCheck)
)
