"""Decides what a run does with each unit: listed objects minus those that are done. No part is opened for it."""

import uuid
from collections import Counter, defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Literal, NamedTuple

from actors.foreign.escape import escape_surrogates
from actors.parts.commit import Commit
from actors.schema import UsageError
from actors.units import ALL, Carried, Fingerprint, SourceObject, Unit, digest, nominal_seconds
from jobs.planning.corrections import Errors
from jobs.planning.listing import Listing
from jobs.planning.plans import PlannedObject, State
from jobs.planning.recipe import Settings, differences, recipe_digest
from jobs.planning.sizing import Estimate, group_by_size


class Verdict(NamedTuple):
    """What a run does with a unit, and why."""

    kind: Literal["new", "done", "redo", "remove"]
    reason: str


NEW = Verdict("new", "not planned before")
DONE = Verdict("done", "committed, and nothing has changed")
EMPTY = Verdict("remove", "none of its objects is left")


@dataclass(frozen=True)
class Policy:
    """Settings of a plan: the audio in a unit, and how to treat existing units (output.on_* and errors.retry).

    `calibrate` makes the estimate of an object's seconds from the objects that are to be transcribed; `errors` tells
    the errors of the objects of a committed unit.
    """

    target_seconds: float = 1_800.0
    on_mismatch: str = "fail"
    on_deleted: str = "keep"
    max_removed_fraction: float = 0.1
    asked: frozenset[str] = frozenset()  # kinds of errors to try again
    retry: Mapping[str, frozenset[str]] = field(default_factory=dict)  # unit -> those of its errors to try again
    calibrate: Callable[[Sequence[SourceObject]], Estimate] = lambda objects: nominal_seconds
    errors: Callable[[str], Errors] = lambda unit: {}


@dataclass
class Plan:
    """Units to transcribe, `new` or to `redo`, and the verdict on every unit that the input concerns, by id.

    `objects` are the new and changed ones, by key; `estimate` returns the seconds of audio that one probably has.
    """

    new: list[Unit] = field(default_factory=list)
    redo: list[Unit] = field(default_factory=list)
    verdicts: dict[str, Verdict] = field(default_factory=dict)
    objects: dict[str, PlannedObject] = field(default_factory=dict)
    estimate: Estimate = nominal_seconds

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
    plan = Plan(objects=_changed_objects(listing, listed, state, policy))
    judge, members = _Judge(state, listed, plan.objects, settings, policy), state.members()
    for unit_id in _touched_units(state, listed, plan.objects):
        found = judge(unit_id, members[unit_id])
        if found is not None:
            plan.verdicts[unit_id], unit = found
            plan.redo += [unit] if unit else []
    judge.refuse_mismatch()
    new = [each for key, each in listed.items() if key not in state.objects]
    plan.estimate = policy.calibrate([*(each for unit in plan.redo for each in unit.objects), *new])
    recipe = recipe_digest(settings)
    # By nominal seconds, not by what was measured: two runs that start at once must make the same units.
    for group in group_by_size(new, policy.target_seconds, nominal_seconds):
        unit = Unit.of(digest(each.key for each in group), recipe, group)
        plan.new.append(unit)
        plan.verdicts[unit.id] = NEW
        plan.objects |= {each.key: _planned_object(each, unit.id) for each in group}
    return plan


def _changed_objects(
    listing: Listing, listed: Mapping[str, SourceObject], state: State, policy: Policy
) -> dict[str, PlannedObject]:
    """Objects of earlier plans that changed, came back or are to be removed, as planned now. Raises UsageError."""
    planned, superseded, covered = dict[str, PlannedObject](), dict[str, PlannedObject](), 0
    dropped = defaultdict[str, list[str]](list)
    for key, known in state.objects.items():
        if key in listed:
            covered += 1
            now = _planned_object(listed[key], known.unit)
            if now != known:
                planned[key] = now
        elif known.removed:
            continue
        elif known.uri in listing.named and known.selection == ALL:  # read through a manifest now
            superseded[key] = known._replace(removed=True)
        elif policy.on_deleted == "remove" and listing.covers(known.uri):
            covered += 1
            planned[key] = known._replace(removed=True)
        elif known.listed_by in listing.lists:
            dropped[known.unit].append(key)
    removed = sum(known.removed for known in planned.values())
    if removed > policy.max_removed_fraction * covered:
        raise UsageError(
            f"output.on_deleted: {removed} of {covered} objects that were transcribed are no longer listed; to remove"
            " their rows, raise output.max_removed_fraction"
        )
    return planned | superseded | _corrected(dropped, state, policy)


def _corrected(dropped: Mapping[str, Sequence[str]], state: State, policy: Policy) -> dict[str, PlannedObject]:
    """Objects to remove of those, by unit, that their manifest no longer has: the ones that only have an error."""
    planned = dict[str, PlannedObject]()
    for unit, keys in dropped.items():
        commit = state.commit_of(unit)
        errors = policy.errors(unit) if commit and commit.errors else {}
        failed = {key for key, kinds in errors.items() if None not in kinds}
        planned |= {
            key: known._replace(removed=True) for key in keys if (known := state.objects[key]).object_key in failed
        }
    return planned


def _touched_units(
    state: State, listed: Mapping[str, SourceObject], planned: Mapping[str, PlannedObject]
) -> dict[str, None]:
    """Ids of the units with objects that are listed, changed, or removed."""
    touched = dict.fromkeys(state.objects[key].unit for key in (*listed, *planned) if key in state.objects)
    # A run that was paused may have committed a unit that was removed meanwhile.
    gone = (known.unit for known in state.objects.values() if known.removed)
    return touched | dict.fromkeys(unit for unit in gone if unit in state.parts or unit in state.commits)


class _Judge:
    """Gives the verdicts on units of earlier plans. Objects without rows that are not listed are given up in
    `planned`."""

    def __init__(
        self,
        state: State,
        listed: Mapping[str, SourceObject],
        planned: dict[str, PlannedObject],
        settings: Settings,
        policy: Policy,
    ) -> None:
        self._state, self._listed, self._planned, self._policy = state, listed, planned, policy
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
            return (EMPTY, None) if unit_id in state.parts or unit_id in state.commits else None
        fingerprints = self._fingerprints(present)
        is_current = commit is not None and self._is_current(commit, fingerprints)
        if commit and is_current and not self._is_tried_again(commit, present):
            return DONE, None
        objects = sorted(
            (self._listed[key] for key in present if key in self._listed), key=lambda each: (each.uri, each.key)
        )
        carried = tuple(
            Carried(key, known.version, known.uri, known.selection)
            for key, known in present.items()
            if key not in self._listed
        )
        reason = "an error that it has is tried again" if is_current else self._reason(unit_id, members, commit)
        return Verdict("redo", reason), Unit(unit_id, fingerprints[-1], tuple(objects), carried)

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

    def _reason(self, unit_id: str, members: Mapping[str, PlannedObject], commit: Commit | None) -> str:
        """Why a unit is not done."""
        if commit is None:
            return _reason_without_commit(len(self._state.commits.get(unit_id, ())), unit_id in self._state.parts)
        if Fingerprint.is_incomplete(commit.fingerprint):
            return "rows of some of its objects are missing"
        reasons, recipe = _changes(members, self._planned), Fingerprint.recipe(commit.fingerprint)
        if recipe != self._recipe and self._policy.on_mismatch == "replace":
            reasons.append(f"settings differ: {self._differing(recipe)}")
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


def _changes(members: Mapping[str, PlannedObject], planned: Mapping[str, PlannedObject]) -> list[str]:
    """How the objects of a unit changed since the last plan, as phrases: `2 objects changed`, `1 object came back`."""
    changes = Counter[str]()
    for key, known in members.items():
        now = planned.get(key, known)
        if now.removed != known.removed:
            changes["removed" if now.removed else "came back"] += 1
        elif now != known:
            changes["changed"] += 1
    return [f"{count} {'object' if count == 1 else 'objects'} {change}" for change, count in changes.items()]


def _planned_object(source: SourceObject, unit: str) -> PlannedObject:
    uri, listed_by = escape_surrogates(source.uri), source.listed_by and escape_surrogates(source.listed_by)
    return PlannedObject(unit, uri, source.selection, listed_by, source.version)


def new_run_id() -> str:
    return f"{datetime.now(UTC):%Y%m%dT%H%M%SZ}-{uuid.uuid4().hex[:6]}"
