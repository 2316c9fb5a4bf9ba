"""What is listed, less what is done, into units: the plan of a run. No part is opened for it."""

import json
import math
import uuid
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import Any

from actors.foreign.escape import printable
from actors.parts.commit import Commit
from actors.schema import UsageError
from actors.units import Fingerprint, Piece, SourceObject, Unit, digest
from jobs.planning.listing import Listing
from jobs.planning.state import Known, State

RECIPE = "4"  # part of every fingerprint; raised when a change of this code changes what a part holds

#: Seconds of audio in a byte, by suffix, to size units: stored at 16 kHz mono 16 bit, or as speech is usually coded.
_SECONDS_PER_BYTE = {
    **dict.fromkeys((".wav", ".wave", ".w64", ".aif", ".aiff", ".au", ".snd", ".caf", ".sph"), 1 / 32_000),
    **dict.fromkeys((".mp3", ".m4a", ".mp4", ".aac", ".wma", ".ogg", ".webm"), 1 / 8_000),
    **dict.fromkeys((".opus", ".amr"), 1 / 3_000),
}
_SECONDS_PER_BYTE_ELSE = 1 / 16_000  # FLAC, and shards, which mostly hold it


LARGE = 1.5  # targets of audio, above which an object is worked in pieces
MOST_TOLD = 4 * 3_600.0  # seconds that a manifest is believed of a file whose size is not known
BYTES_PER_SECOND = 500  # of sound, at least, where a manifest's word is weighed against a file's size; AMR has 600
MOST_PIECES = 10_000  # of a unit at first; a file's size costs nothing where it has holes


@dataclass(frozen=True)
class Wishes:
    """What a plan is to make of what is there already: the keys output.on_* and errors.retry of the configuration."""

    target_seconds: float = 1_800.0
    on_mismatch: str = "fail"
    on_deleted: str = "keep"
    max_removed_fraction: float = 0.1
    retry: frozenset[str] = frozenset()  # units to do again for their errors


@dataclass(frozen=True)
class Plan:
    """The units to do now: `new` ones, and those to do `again`; beside them those that are `done`, and those of which
    nothing is left to `remove`. `objects` are those that are planned otherwise than they were known."""

    new: list[Unit]
    again: list[Unit]
    done: list[str]
    remove: list[str] = field(default_factory=list)
    objects: dict[str, Known] = field(default_factory=dict)

    @property
    def units(self) -> list[Unit]:
        return self.again + self.new


def recipe_of(settings: Mapping[str, Any]) -> str:
    """The digest of all settings that can change a row, the model's SHA-256 among them."""
    return Fingerprint.recipe(digest([RECIPE, json.dumps(settings, sort_keys=True)]))


def make_plan(listing: Listing, state: State, settings: Mapping[str, Any], wishes: Wishes) -> Plan:
    """The set difference. Raises UsageError where settings changed or much was deleted, and no key says what to do."""
    recipe = recipe_of(settings)
    listed = {each.key: each for each in listing.objects}
    planned = _as_planned(listing, listed, state, wishes)
    members = state.members()
    touched = dict.fromkeys(state.objects[key].unit for key in (*listed, *planned) if key in state.objects)
    # A run that was paused may have brought back a unit that was removed meanwhile.
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
            planned |= absent  # neither listed, nor has rows that could be carried over
            present = {key: known for key, known in present.items() if key not in absent}
        # Rows that are carried over may be of another recipe, so a unit that holds some bears a fingerprint of its own.
        asked = [Fingerprint.of(recipe, {key: known.version for key, known in present.items()})]
        if any(key not in listed for key in present):
            marked = {key: known.version + "*" * (key not in listed) for key, known in present.items()}
            asked.append(Fingerprint.of(recipe, marked))
        if not present:
            if unit_id in state.parts or unit_id in state.commits:
                plan.remove.append(unit_id)
        elif commit and _stands(commit, asked, wishes) and unit_id not in wishes.retry:
            plan.done.append(unit_id)
        else:
            objects = sorted((listed[key] for key in present if key in listed), key=lambda each: (each.uri, each.key))
            carried = tuple((known.uri, known.offset_s) for key, known in present.items() if key not in listed)
            plan.again.append(Unit(unit_id, asked[-1], tuple(objects), carried))
    if mismatched and wishes.on_mismatch == "fail":
        raise UsageError(_mismatch(mismatched, recipe, settings, state))
    for group in _grouped((each for key, each in listed.items() if key not in state.objects), wishes.target_seconds):
        unit_id = digest(each.key for each in group)
        fingerprint = Fingerprint.of(recipe, {each.key: each.version for each in group})
        plan.new.append(Unit(unit_id, fingerprint, tuple(group)))
        planned |= {each.key: _known(each, unit_id) for each in group}
    return plan


def _as_planned(listing: Listing, listed: Mapping[str, SourceObject], state: State, wishes: Wishes) -> dict[str, Known]:
    """Known objects that changed, came back, or are to be removed, as they are planned now."""
    planned, covered = dict[str, Known](), 0
    for key, known in state.objects.items():
        if key in listed:
            covered += 1
            now = _known(listed[key], known.unit)
            if now != known:
                planned[key] = now
        elif wishes.on_deleted == "remove" and not known.removed and listing.covers(known.uri):
            covered += 1
            planned[key] = replace(known, removed=True)
    removed = sum(known.removed for known in planned.values())
    if removed > wishes.max_removed_fraction * covered:
        raise UsageError(
            f"output.on_deleted: {removed} of {covered} objects that were transcribed are no longer listed; if their"
            " rows are to go, set output.max_removed_fraction higher"
        )
    return planned


def _stands(commit: Commit, asked: list[str], wishes: Wishes) -> bool:
    """Whether what was committed is what is asked for."""
    if wishes.on_mismatch == "keep":
        return Fingerprint.objects(commit.fingerprint) in map(Fingerprint.objects, asked)
    return commit.fingerprint in asked


def _mismatch(commits: list[Commit], recipe: str, settings: Mapping[str, Any], state: State) -> str:
    """What differs between the settings of units that stand and those of this run."""
    counted = Counter(Fingerprint.recipe(commit.fingerprint) for commit in commits)
    other, units = counted.most_common(1)[0]
    before = state.recipes.get(other, {})
    differing = [
        f"{name} was {_brief(before.get(name))} and is {_brief(value)}"
        for name, value in settings.items()
        if before.get(name) != value
    ]
    return (
        f"output.on_mismatch: {units} units in the output were made with other settings"
        f" ({'; '.join(differing) or 'by another version of this job'}). Choose: on_mismatch=keep leaves their text as"
        " it is and makes only what is new or changed the new way, on_mismatch=replace makes all again; or give another"
        " output.uri"
    )


def _brief(value: Any) -> str:
    text = str(value)
    return f"{text[:12]}…" if len(text) == 64 else text


def _known(source: SourceObject, unit: str) -> Known:
    return Known(unit, printable(source.uri), offset_of(source), source.version)


def _grouped(objects: Iterable[SourceObject], target_seconds: float) -> list[list[SourceObject]]:
    """Objects in their order, cut into groups of about the target; one that is larger is alone."""
    groups, filled = list[list[SourceObject]](), 0.0
    for each in objects:
        seconds = estimated_seconds(each)
        if not groups or filled + seconds > target_seconds:
            groups.append([])
            filled = 0.0
        groups[-1].append(each)
        filled += seconds
    return groups


def estimated_seconds(source: SourceObject) -> float:
    """About how much audio an object holds, by its manifest's word or its size and suffix; none where it is refused.

    A manifest's word is believed as far as the file can hold as much: a line may say anything.
    """
    if source.refusal:
        return 0.0
    if source.format == "manifest":
        duration = json.loads(source.lines or "{}").get("duration")
        if duration is not None:
            return min(float(duration), source.size / BYTES_PER_SECOND if source.size else MOST_TOLD)
    suffix = "." + source.uri.rsplit(".", 1)[-1].lower()
    return source.size * _SECONDS_PER_BYTE.get(suffix, _SECONDS_PER_BYTE_ELSE)


def pieces_of(unit: Unit, seconds: float, least_stretch_s: float = 0.0) -> list[Piece]:
    """A unit as the pieces that it is worked in at first: one, unless its object is much larger than the target.

    Recordings are not cut into stretches shorter than the least.
    How much audio an object holds is a guess from its size: what finds more asks to be cut finer (`CutFiner`).
    """
    expected = sum(map(estimated_seconds, unit.objects))
    if len(unit.objects) != 1 or unit.objects[0].limit or expected <= LARGE * seconds:
        return [Piece(unit, seconds)]
    if unit.objects[0].format in ("tar", "parquet"):
        return Piece(unit, seconds, ranges=min(math.ceil(expected / seconds), MOST_PIECES)).all()
    stretches = min(math.ceil(expected / max(seconds, least_stretch_s)), MOST_PIECES)
    return Piece(unit, seconds, stretches=stretches).all()


def offset_of(source: SourceObject) -> float | None:
    """Where in its file an object begins, in seconds, as its rows say it; None for a whole file."""
    if source.format != "manifest" or source.refusal:
        return None
    return float(json.loads(source.lines or "{}").get("offset") or 0.0)


def new_run_id() -> str:
    return f"{datetime.now(UTC):%Y%m%dT%H%M%SZ}-{uuid.uuid4().hex[:6]}"
