"""Plans a run: listed objects minus those that are done, as units. No part is opened for it."""

import json
import uuid
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import Any

from actors.foreign.escape import escape_surrogates
from actors.parts.commit import Commit
from actors.schema import UsageError
from actors.units import Fingerprint, SourceObject, Unit, digest
from jobs.planning.listing import Listing
from jobs.planning.sizing import group_by_size
from jobs.planning.state import PlannedObject, State

RECIPE = "4"  # part of every fingerprint; raised when a change of the code changes the content of parts


@dataclass(frozen=True)
class Policy:
    """Settings of a plan: the audio in a unit, and how to treat existing units (output.on_* and errors.retry)."""

    target_seconds: float = 1_800.0
    on_mismatch: str = "fail"
    on_deleted: str = "keep"
    max_removed_fraction: float = 0.1
    retry: frozenset[str] = frozenset()  # ids of units to redo because of their errors


@dataclass(frozen=True)
class Plan:
    """Units to transcribe, `new` or to `redo`, and ids of units that are `done` or have no objects left, to `remove`.

    `objects` are the new and changed ones, by key.
    """

    new: list[Unit]
    redo: list[Unit]
    done: list[str]
    remove: list[str] = field(default_factory=list)
    objects: dict[str, PlannedObject] = field(default_factory=dict)

    @property
    def units(self) -> list[Unit]:
        return self.redo + self.new


def recipe_of(settings: Mapping[str, Any]) -> str:
    """The digest of all settings that can change a row, including the model's SHA-256."""
    return Fingerprint.recipe(digest([RECIPE, json.dumps(settings, sort_keys=True)]))


def make_plan(listing: Listing, state: State, settings: Mapping[str, Any], policy: Policy) -> Plan:
    """Plans a run. Raises UsageError if settings changed, or too many objects disappeared, and `policy` forbids it."""
    recipe = recipe_of(settings)
    listed = {each.key: each for each in listing.objects}
    planned = _changed_objects(listing, listed, state, policy)
    members = state.members()
    touched = dict.fromkeys(state.objects[key].unit for key in (*listed, *planned) if key in state.objects)
    # A run that was paused may have committed a unit that was removed meanwhile.
    gone = (known.unit for known in state.objects.values() if known.removed)
    touched |= dict.fromkeys(unit for unit in gone if unit in state.parts or unit in state.commits)
    plan = Plan([], [], [], [], planned)
    mismatched = list[Commit]()
    for unit_id in touched:
        commit = state.commit_of(unit_id)
        if commit and Fingerprint.recipe(commit.fingerprint) != recipe:
            mismatched.append(commit)
        present = {key: planned.get(key, known) for key, known in members[unit_id].items()}
        present = {key: known for key, known in present.items() if not known.removed}
        if unit_id not in state.parts or (commit and Fingerprint.is_incomplete(commit.fingerprint)):
            absent = {key: replace(known, removed=True) for key, known in present.items() if key not in listed}
            planned |= absent  # neither listed, nor with rows to carry over
            present = {key: known for key, known in present.items() if key not in absent}
        # Rows that are carried over may be of another recipe, so a unit with such rows has a different fingerprint.
        accepted = [Fingerprint.of(recipe, {key: known.version for key, known in present.items()})]
        if any(key not in listed for key in present):
            marked = {key: known.version + "*" * (key not in listed) for key, known in present.items()}
            accepted.append(Fingerprint.of(recipe, marked))
        if not present:
            if unit_id in state.parts or unit_id in state.commits:
                plan.remove.append(unit_id)
        elif commit and _is_current(commit, accepted, policy) and unit_id not in policy.retry:
            plan.done.append(unit_id)
        else:
            objects = sorted((listed[key] for key in present if key in listed), key=lambda each: (each.uri, each.key))
            carried = tuple((known.uri, known.offset_s) for key, known in present.items() if key not in listed)
            plan.redo.append(Unit(unit_id, accepted[-1], tuple(objects), carried))
    if mismatched and policy.on_mismatch == "fail":
        raise UsageError(_mismatch_message(mismatched, recipe, settings, state))
    for group in group_by_size(
        (each for key, each in listed.items() if key not in state.objects), policy.target_seconds
    ):
        unit_id = digest(each.key for each in group)
        fingerprint = Fingerprint.of(recipe, {each.key: each.version for each in group})
        plan.new.append(Unit(unit_id, fingerprint, tuple(group)))
        planned |= {each.key: _planned_object(each, unit_id) for each in group}
    return plan


def _changed_objects(
    listing: Listing, listed: Mapping[str, SourceObject], state: State, policy: Policy
) -> dict[str, PlannedObject]:
    """Objects of earlier plans that changed, came back or are to be removed, as planned now. Raises UsageError."""
    planned, covered = dict[str, PlannedObject](), 0
    for key, known in state.objects.items():
        if key in listed:
            covered += 1
            now = _planned_object(listed[key], known.unit)
            if now != known:
                planned[key] = now
        elif policy.on_deleted == "remove" and not known.removed and listing.covers(known.uri):
            covered += 1
            planned[key] = replace(known, removed=True)
    removed = sum(known.removed for known in planned.values())
    if removed > policy.max_removed_fraction * covered:
        raise UsageError(
            f"output.on_deleted: {removed} of {covered} objects that were transcribed are no longer listed; to remove"
            " their rows, raise output.max_removed_fraction"
        )
    return planned


def _is_current(commit: Commit, accepted: list[str], policy: Policy) -> bool:
    """Whether a commit has one of the accepted fingerprints; with on_mismatch=keep, of any recipe."""
    if policy.on_mismatch == "keep":
        return Fingerprint.objects(commit.fingerprint) in map(Fingerprint.objects, accepted)
    return commit.fingerprint in accepted


def _mismatch_message(commits: list[Commit], recipe: str, settings: Mapping[str, Any], state: State) -> str:
    """The error message for settings that differ from those of committed units."""
    counted = Counter(Fingerprint.recipe(commit.fingerprint) for commit in commits)
    other, units = counted.most_common(1)[0]
    before, now = _flat(state.recipes.get(other, {})), _flat(settings)
    differing = [
        f"{name} was {_abbreviated(before.get(name))} and is {_abbreviated(now.get(name))}"
        for name in dict.fromkeys([*now, *before])
        if before.get(name) != now.get(name)
    ]
    return (
        f"output.on_mismatch: {units} {'unit' if units == 1 else 'units'} in the output had other settings"
        f" ({'; '.join(differing) or 'of another version of this job'}). Choose: output.on_mismatch=keep leaves their"
        " text as it is and uses the new settings only for new and changed objects, output.on_mismatch=replace"
        " transcribes all again; or use another output.uri"
    )


def _flat(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Settings of sections as section.key."""
    flat = dict[str, Any]()
    for name, value in settings.items():
        flat |= {f"{name}.{key}": inner for key, inner in value.items()} if isinstance(value, dict) else {name: value}
    return flat


def _abbreviated(value: Any) -> str:
    text = str(value)
    return f"{text[:12]}…" if len(text) == 64 else text


def _planned_object(source: SourceObject, unit: str) -> PlannedObject:
    return PlannedObject(unit, escape_surrogates(source.uri), offset_of(source), source.version)


def offset_of(source: SourceObject) -> float | None:
    """The offset of a manifest entry in its file, in seconds, as in its rows; None for a whole file."""
    if source.format != "manifest" or source.refusal:
        return None
    return float(json.loads(source.lines or "{}").get("offset") or 0.0)


def new_run_id() -> str:
    return f"{datetime.now(UTC):%Y%m%dT%H%M%SZ}-{uuid.uuid4().hex[:6]}"
