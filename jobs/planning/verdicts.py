"""Decides what a run does with each unit: listed objects minus those that are done. No part is opened for it."""

import uuid
from collections import Counter
from collections.abc import Mapping, Set
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Literal, NamedTuple

from actors.parts.commit import Commit
from actors.schema import UsageError
from actors.units import Carried, Fingerprint, SourceObject, Unit, digest, nominal_seconds
from jobs.planning.changes import Changes, changed_objects, planned_object
from jobs.planning.listing import Listing
from jobs.planning.plans import PlannedObject, State
from jobs.planning.policy import Policy as Policy
from jobs.planning.recipe import Settings, differences, recipe_digest
from jobs.planning.sizing import Estimate, group_by_size


class Verdict(NamedTuple):
    """What a run does with a unit, and why."""

    kind: Literal["new", "done", "redo", "remove"]
    reason: str


NEW = Verdict("new", "not planned before")
DONE = Verdict("done", "committed, and nothing has changed")
EMPTY = Verdict("remove", "none of its objects is left")
EXCLUDED = Verdict("remove", "its last objects are excluded by the configuration")

ASKED = "input.redo names some of it"


@dataclass
class Plan:
    """Units to transcribe, `new` or to `redo`, and the verdict on every unit that the input concerns, by id.

    `objects` are the new and changed ones, by key; `estimate` returns the seconds of audio that one probably has.
    `asked` are the ids of the units to redo that hold an object of input.redo, in which `asked_recordings` are
    committed; `deleted` and `excluded` count the objects whose rows are removed.
    """

    new: list[Unit] = field(default_factory=list)
    redo: list[Unit] = field(default_factory=list)
    verdicts: dict[str, Verdict] = field(default_factory=dict)
    objects: dict[str, PlannedObject] = field(default_factory=dict)
    estimate: Estimate = nominal_seconds
    asked: list[str] = field(default_factory=list)
    asked_recordings: int = 0
    deleted: int = 0
    excluded: int = 0

    @property
    def units(self) -> list[Unit]:
        return self.redo + self.new

    @property
    def done(self) -> list[str]:
        """Ids of units that are done."""
        return [unit for unit, verdict in self.verdicts.items() if verdict.kind == "done"]

    @property
    def remove(self) -> list[str]:
        """Ids of units that have no objects left."""
        return [unit for unit, verdict in self.verdicts.items() if verdict.kind == "remove"]


def make_plan(listing: Listing, state: State, settings: Settings, policy: Policy) -> Plan:
    """Plans a run. Raises UsageError if settings changed, or too many objects disappeared, and `policy` forbids it."""
    listed = {each.key: each for each in listing.objects}
    changes = changed_objects(listing, listed, state, policy)
    plan = Plan(objects=changes.objects, deleted=len(changes.deleted), excluded=len(changes.excluded))
    judge, members = _Judge(state, listed, changes, settings, policy), state.members()
    for unit_id in _touched_units(state, listed, plan.objects):
        found = judge(unit_id, members[unit_id])
        if found is not None:
            plan.verdicts[unit_id], unit = found
            plan.redo += [unit] if unit else []
            if unit and judge.is_asked(members[unit_id]):
                commit = state.commit_of(unit_id)
                plan.asked.append(unit_id)
                plan.asked_recordings += commit.recordings if commit else 0
    judge.refuse_mismatch()
    new = [each for key, each in listed.items() if key not in state.objects]
    plan.estimate = policy.calibrate([*(each for unit in plan.redo for each in unit.objects), *new])
    recipe = recipe_digest(settings)
    # By nominal seconds, not by what was measured: two runs that start at once must make the same units.
    for group in group_by_size(new, policy.target_seconds, nominal_seconds):
        unit = Unit.of(digest(each.key for each in group), recipe, group)
        plan.new.append(unit)
        plan.verdicts[unit.id] = NEW
        plan.objects |= {each.key: planned_object(each, unit.id) for each in group}
    return plan


def _touched_units(
    state: State, listed: Mapping[str, SourceObject], planned: Mapping[str, PlannedObject]
) -> dict[str, None]:
    """Ids of the units with objects that are listed, changed, or removed."""
    touched = dict.fromkeys(state.objects[key].unit for key in (*listed, *planned) if key in state.objects)
    # A run that was paused may have committed a unit that was removed meanwhile.
    gone = (known.unit for known in state.objects.values() if known.removed)
    return touched | dict.fromkeys(unit for unit in gone if unit in state.parts or unit in state.commits)


class _Judge:
    """Gives the verdicts on units of earlier plans. Objects without rows that are not listed are given up in the
    objects of `changes`."""

    def __init__(
        self,
        state: State,
        listed: Mapping[str, SourceObject],
        changes: Changes,
        settings: Settings,
        policy: Policy,
    ) -> None:
        self._state, self._listed, self._policy = state, listed, policy
        self._planned, self._excluded = changes.objects, changes.excluded
        self._settings, self._recipe = settings, recipe_digest(settings)
        self._mismatched = list[Commit]()
        self._differences = dict[str, str]()  # by the digest of other settings

    def __call__(self, unit_id: str, members: Mapping[str, PlannedObject]) -> tuple[Verdict, Unit | None] | None:
        """The verdict on a unit, and the unit if it is to be redone. None if it has neither objects nor a part."""
        state, commit = self._state, self._state.commit_of(unit_id)
        if commit and Fingerprint.recipe(commit.fingerprint) != self._recipe:
            self._mismatched.append(commit)
        present = self._present(unit_id, members, commit)
        if not present:
            why = EMPTY if self._excluded.isdisjoint(members) else EXCLUDED
            return (why, None) if unit_id in state.parts or unit_id in state.commits else None
        fingerprints = self._fingerprints(present)
        is_current = commit is not None and self._is_current(commit, fingerprints)
        is_asked = self.is_asked(members)
        if commit and is_current and not is_asked and not self._is_tried_again(commit, present):
            return DONE, None
        objects = sorted(
            (self._listed[key] for key in present if key in self._listed), key=lambda each: (each.uri, each.key)
        )
        carried = tuple(
            Carried(key, known.version, known.uri, known.selection)
            for key, known in present.items()
            if key not in self._listed
        )
        reason = self._reason(unit_id, members, commit, is_current, is_asked)
        return Verdict("redo", reason), Unit(unit_id, fingerprints[-1], tuple(objects), carried)

    def is_asked(self, members: Mapping[str, PlannedObject]) -> bool:
        """Whether input.redo names a listed object of a unit."""
        return not self._policy.redo.isdisjoint(members)

    def refuse_mismatch(self) -> None:
        """Raises UsageError if units have other settings, and that is not allowed."""
        if self._mismatched and self._policy.on_mismatch == "fail":
            counted = Counter(Fingerprint.recipe(commit.fingerprint) for commit in self._mismatched)
            other, units = counted.most_common(1)[0]
            raise UsageError(
                f"output.on_mismatch: {units} {'unit' if units == 1 else 'units'} in the output had other settings"
                f" ({self._differing(other)}). Choose: output.on_mismatch=keep leaves their text as it is and uses the"
                " new settings only for new and changed objects, output.on_mismatch=replace transcribes all again; or"
                " use another output.uri"
            )

    def _present(
        self, unit_id: str, members: Mapping[str, PlannedObject], commit: Commit | None
    ) -> dict[str, PlannedObject]:
        """The objects that the unit has now."""
        present = {key: self._planned.get(key, known) for key, known in members.items()}
        present = {key: known for key, known in present.items() if not known.removed}
        if unit_id not in self._state.parts or (commit and Fingerprint.is_incomplete(commit.fingerprint)):
            absent = {key: each._replace(removed=True) for key, each in present.items() if key not in self._listed}
            self._planned |= absent  # neither listed, nor with rows to carry over
            present = {key: known for key, known in present.items() if key not in absent}
        return present

    def _is_tried_again(self, commit: Commit, present: Mapping[str, PlannedObject]) -> bool:
        """Whether a listed object of a unit has an error that is to be tried again."""
        kinds = self._policy.retry.get(commit.unit, frozenset())
        if Fingerprint.recipe(commit.fingerprint) != self._recipe:
            kinds = kinds & self._policy.asked  # on_mismatch=keep leaves the unit's text, unless someone asks
        listed = [known for key, known in present.items() if key in self._listed]
        if not kinds or len(listed) == len(present):
            return bool(kinds)
        errors = self._policy.errors(commit.unit)
        return any(not kinds.isdisjoint(errors.get(known.object_key, ())) for known in listed)

    def _fingerprints(self, present: Mapping[str, PlannedObject]) -> list[str]:
        """The fingerprints with which the unit is done; the last one is that of redoing it now."""
        versions = {key: known.version for key, known in present.items()}
        carried = {key: version for key, version in versions.items() if key not in self._listed}
        plain = Fingerprint.of(self._recipe, versions)
        return [plain, Fingerprint.of(self._recipe, versions, carried)] if carried else [plain]

    def _is_current(self, commit: Commit, fingerprints: list[str]) -> bool:
        """Whether a commit has one of the fingerprints; with on_mismatch=keep, of any recipe."""
        if self._policy.on_mismatch == "keep":
            return Fingerprint.objects(commit.fingerprint) in map(Fingerprint.objects, fingerprints)
        return commit.fingerprint in fingerprints

    def _reason(
        self,
        unit_id: str,
        members: Mapping[str, PlannedObject],
        commit: Commit | None,
        is_current: bool,
        is_asked: bool,
    ) -> str:
        """Why a unit is redone."""
        if commit and is_current:
            return ASKED if is_asked else "an error that it has is tried again"
        if commit is None:
            return _reason_without_commit(len(self._state.commits.get(unit_id, ())), unit_id in self._state.parts)
        if Fingerprint.is_incomplete(commit.fingerprint):
            return "rows of some of its objects are missing"
        reasons, recipe = _changes(members, self._planned, self._excluded), Fingerprint.recipe(commit.fingerprint)
        if recipe != self._recipe and self._policy.on_mismatch == "replace":
            reasons.append(f"settings differ: {self._differing(recipe)}")
        reasons += [ASKED] if is_asked else []
        return ", ".join(reasons) or "its objects are not those that were committed"

    def _differing(self, recipe: str) -> str:
        """How other settings, given by their digest, differ from those of this run."""
        if recipe not in self._differences:
            differing = differences(self._state.recipes.get(recipe, {}), self._settings)
            self._differences[recipe] = "; ".join(differing) or "of another version of this job"
        return self._differences[recipe]


def _reason_without_commit(commits: int, has_part: bool) -> str:
    """Why a unit without a valid commit is not done."""
    if not has_part:
        return "its part is missing" if commits else "an earlier run did not finish it"
    if commits > 1:
        return f"it has {commits} commits"
    return "its part is not the committed one" if commits else "its commit is missing"


def _changes(
    members: Mapping[str, PlannedObject], planned: Mapping[str, PlannedObject], excluded: Set[str]
) -> list[str]:
    """How the objects of a unit changed since the last plan, as phrases: `2 objects changed`, `1 object came back`."""
    changes = Counter[str]()
    for key, known in members.items():
        now = planned.get(key, known)
        if now.removed != known.removed:
            changes["excluded" if key in excluded else "removed" if now.removed else "came back"] += 1
        elif now != known:
            changes["changed"] += 1
    return [f"{count} {'object' if count == 1 else 'objects'} {change}" for change, count in changes.items()]


def new_run_id() -> str:
    return f"{datetime.now(UTC):%Y%m%dT%H%M%SZ}-{uuid.uuid4().hex[:6]}"
