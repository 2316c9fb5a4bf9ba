"""Decides what a run does with each unit: listed objects minus those that are done. For units that are not done by the
name of their commit, the footers of their parts are read; the rows only to find errors that are to be tried again."""

import uuid
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime

from actors.parts.made import Redone
from actors.units import SourceObject, Unit, digest, nominal_seconds
from jobs.planning.changes import Changes, changed_objects, planned_object
from jobs.planning.judge import Judge
from jobs.planning.listing import Listing
from jobs.planning.plans import PlannedObject, State
from jobs.planning.policy import Policy as Policy
from jobs.planning.reasons import NEW as NEW
from jobs.planning.reasons import Verdict as Verdict
from jobs.planning.recipe import Settings, recipe_digest
from jobs.planning.sizing import Estimate, group_by_size


@dataclass
class Plan:
    """Units to transcribe, `new` or to `redo`, those to `rewrite` of what was heard, and the verdict on every unit that
    the input concerns, by id.

    `objects` are the new and changed ones, by key; `estimate` returns the seconds of audio that one probably has.
    `redone_from` counts the units to redo and to rewrite by what they are made of; `without_emissions` those that are
    heard again because their text is wanted otherwise and no emissions were kept. `asked` are the ids of the units to
    redo that hold an object of input.redo, in which `asked_recordings` are committed; `deleted` and `excluded` count
    the objects whose rows are removed. `changes` are those since earlier plans; `made_otherwise` are the ids of the
    units of which rows are made anew because of other settings of what is said or written.
    """

    new: list[Unit] = field(default_factory=list)
    redo: list[Unit] = field(default_factory=list)
    rewrite: list[Unit] = field(default_factory=list)
    verdicts: dict[str, Verdict] = field(default_factory=dict)
    objects: dict[str, PlannedObject] = field(default_factory=dict)
    estimate: Estimate = nominal_seconds
    redone_from: Counter[Redone] = field(default_factory=Counter)
    without_emissions: int = 0
    asked: list[str] = field(default_factory=list)
    asked_recordings: int = 0
    deleted: int = 0
    excluded: int = 0
    changes: Changes = field(default_factory=Changes)
    made_otherwise: set[str] = field(default_factory=set)

    @property
    def units(self) -> list[Unit]:
        """Those of which something is heard: the whole graph works them."""
        return self.redo + self.new

    @property
    def committed(self) -> list[Unit]:
        """All units that a run commits."""
        return self.rewrite + self.units

    @property
    def advice(self) -> str | None:
        """What to tell of units that are heard again although they were heard as wanted; None if there are none."""
        if not (count := self.without_emissions):
            return None
        units = "1 unit is" if count == 1 else f"{count:,} units are"
        return (
            f"output.emissions: {units} transcribed again, because the text is wanted otherwise (decoding,"
            " output.tokens) and no emissions were kept to decode it from; with output.emissions=true, the next such"
            " change needs no audio"
        )

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
    plan = Plan(objects=changes.objects, deleted=len(changes.deleted), excluded=len(changes.excluded), changes=changes)
    judge, members = Judge(state, listed, changes, settings, policy), state.members()
    for unit_id, judged in judge(_touched_units(state, listed, plan.objects), members):
        plan.verdicts[unit_id] = judged.verdict
        if judged.unit is None:
            continue
        (plan.redo if judged.source == "audio" else plan.rewrite).append(judged.unit)
        plan.redone_from[judged.source] += 1
        plan.without_emissions += judged.lacks_emissions
        if judged.is_made_otherwise:
            plan.made_otherwise.add(unit_id)
        if judge.is_asked(members[unit_id]):
            commit = state.commit_of(unit_id)
            plan.asked.append(unit_id)
            plan.asked_recordings += commit.recordings if commit else 0
    judge.refuse_mismatch()
    changes.kept = {key for key in changes.kept - changes.objects.keys() if state.objects[key].unit in state.parts}
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


def new_run_id() -> str:
    return f"{datetime.now(UTC):%Y%m%dT%H%M%SZ}-{uuid.uuid4().hex[:6]}"
