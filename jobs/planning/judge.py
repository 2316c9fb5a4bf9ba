"""Gives the verdicts on units of earlier plans: done by the name of their commit, or else by what their part was made
with."""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from itertools import islice
from typing import NamedTuple

from actors.parts.made import Made, Redone
from actors.parts.stored import Commit
from actors.schema import TRIED_AGAIN as KINDS_TRIED_AGAIN
from actors.schema import UsageError
from actors.units import NO_EMISSIONS, Fingerprint, SourceObject, Unit
from jobs.planning.changes import Changes
from jobs.planning.corrections import Errors
from jobs.planning.plans import PlannedObject, State
from jobs.planning.policy import Policy
from jobs.planning.reasons import (
    ASKED,
    DONE,
    EMPTY,
    EXCLUDED,
    LACKS_ROWS,
    OTHERWISE,
    TRIED_AGAIN,
    UNKNOWN,
    OtherSettings,
    Verdict,
    changes_of,
    without_commit,
)
from jobs.planning.recipe import Settings, recipe_digest
from jobs.planning.reuse import Reuse, Sections, all_heard, has_emissions, has_others, heard_otherwise, reuse_of

CONCURRENT_READS = 16
UNITS_AT_ONCE = 64  # whose parts are looked into before they are judged; what one was made with may take megabytes

Objects = Mapping[str, PlannedObject]  # by key


class Judged(NamedTuple):
    """The verdict on a unit and, if it is to be redone or rewritten, the unit and from what. `lacks_emissions` tells
    that some of it is heard because its text is wanted otherwise, and its emissions were not kept; `is_made_otherwise`
    that rows that stay are said or written otherwise."""

    verdict: Verdict
    unit: Unit | None = None
    source: Redone = "rows"
    lacks_emissions: bool = False
    is_made_otherwise: bool = False


class _Inside(NamedTuple):
    """What a unit's part was made with, if that is known, and which errors its objects have."""

    made: Made | None = None
    errors: Errors | None = None


class Judge:
    """Gives the verdicts on units. Objects without rows that are not listed are given up in the objects of
    `changes`."""

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
        self._recipe, self._others = recipe_digest(settings), OtherSettings(state, settings)
        self._mismatched = Counter[Sections]()

    def __call__(self, units: Iterable[str], members: Mapping[str, Objects]) -> Iterator[tuple[str, Judged]]:
        """Yields the verdicts on units, by id, each with its members. None on those with neither objects nor a part."""
        remaining = iter(units)
        with ThreadPoolExecutor(CONCURRENT_READS) as pool:
            while some := list(islice(remaining, UNITS_AT_ONCE)):
                closed = [unit for unit in some if not self._is_done(unit, members[unit])]
                found = pool.map(self._look_into, closed, [members[unit] for unit in closed])
                inside = dict(zip(closed, found, strict=True))
                for unit in some:
                    judged = self._judged(unit, members[unit], inside[unit]) if unit in inside else Judged(DONE)
                    if judged is not None:
                        yield unit, judged

    def is_asked(self, members: Objects) -> bool:
        """Whether input.redo names a listed object of a unit."""
        return not self._policy.redo.isdisjoint(members)

    def refuse_mismatch(self) -> None:
        """Raises UsageError if units were heard with other settings, and that is not allowed."""
        if self._mismatched and self._policy.on_mismatch == "fail":
            units = self._mismatched.total()
            other, _ = self._mismatched.most_common(1)[0]
            raise UsageError(
                f"output.on_mismatch: {units} {'unit' if units == 1 else 'units'} in the output had other settings"
                f" ({self._others.differing(*other)}). Choose: output.on_mismatch=replace transcribes all again with"
                " the new settings, output.on_mismatch=keep leaves their text as it is and uses the new settings only"
                " for new and changed objects; or go back to the old settings, or use another output.uri"
            )

    def _is_done(self, unit_id: str, members: Objects) -> bool:
        """Whether a unit has nothing to do by the name of its commit alone."""
        commit = self._state.commit_of(unit_id)
        if commit is None or self.is_asked(members) or self._kinds_again(unit_id, commit):
            return False
        return self._is_named_as_wanted(commit, self._present(members))

    def _is_named_as_wanted(self, commit: Commit, present: Objects) -> bool:
        """Whether nothing in a commit's name differs from what is wanted of its unit."""
        of = commit.fingerprint
        fitting = [each for each in self._fingerprints(present) if Fingerprint.objects(of) == Fingerprint.objects(each)]
        has_companions = any(Fingerprint.companions(of) == Fingerprint.companions(each) for each in fitting)
        return bool(present) and has_companions and self._has_wanted_recipe(commit, present)

    def _is_heard_otherwise_by_name(self, commit: Commit, present: Objects) -> bool:
        """Whether all that is listed of a unit was heard with other settings, so that none of it is of use."""
        of = commit.fingerprint
        if self._keeps or Fingerprint.heard(of) == Fingerprint.heard(self._recipe):
            return False
        return Fingerprint.objects(of) in map(Fingerprint.objects, self._fingerprints(present))

    def _fingerprints(self, present: Objects) -> list[str]:
        """The fingerprints of a unit of which all that is listed was made with the recipe that they name."""
        versions = {key: known.version for key, known in present.items()}
        carried = {key: version for key, version in versions.items() if key not in self._listed}
        return [Fingerprint.of(self._recipe, versions, each) for each in ([{}, carried] if carried else [{}])]

    def _has_wanted_recipe(self, commit: Commit, present: Objects) -> bool:
        """Whether nothing of a commit's recipe has to be done anew. What is not listed stays as it is."""
        if self._listed.keys().isdisjoint(present):
            return True
        of, recipe = commit.fingerprint, self._recipe
        if Fingerprint.written(of) != Fingerprint.written(recipe):
            return False
        is_as_said = Fingerprint.said(of) == Fingerprint.said(recipe)
        if not heard_otherwise(Fingerprint.heard(of), Fingerprint.emissions(of), recipe):
            return is_as_said or (self._keeps and Fingerprint.emissions(of) == NO_EMISSIONS)
        return self._keeps and (is_as_said or Fingerprint.heard(of) != Fingerprint.heard(recipe))

    @property
    def _keeps(self) -> bool:
        return self._policy.on_mismatch == "keep"

    def _look_into(self, unit_id: str, members: Objects) -> _Inside:
        """Reads what has to be known of a unit's part."""
        present, commit = self._present(members), self._state.commit_of(unit_id)
        if unit_id not in self._state.parts or (commit and self._is_heard_otherwise_by_name(commit, present)):
            return _Inside()
        errors = self._policy.errors(unit_id) if self._kinds_again(unit_id, commit) else None
        return _Inside(self._policy.made(unit_id), errors)

    def _judged(self, unit_id: str, members: Objects, inside: _Inside) -> Judged | None:
        state, commit, made = self._state, self._state.commit_of(unit_id), inside.made
        present = self._present(members)
        if unit_id not in state.parts:
            rowless = {*present}
        elif made:
            rowless = {key for key in present if not made.of(key)}
        else:
            rowless = {*present} if commit and Fingerprint.is_incomplete(commit.fingerprint) else set[str]()
        absent = {key: present.pop(key)._replace(removed=True) for key in rowless if key not in self._listed}
        self._planned |= absent  # neither listed, nor with rows to carry over
        if not present:
            why = EMPTY if self._excluded.isdisjoint(members) else EXCLUDED
            return Judged(why) if unit_id in state.parts or unit_id in state.commits else None
        again = self._again(unit_id, members, present, inside.errors)
        if commit and not again and self._is_named_as_wanted(commit, present):
            return Judged(DONE)
        reuse = self._reuse(unit_id, commit, present, made, again)
        if not reuse.hear and commit and not reuse.updates and made and not has_others(made, present):
            return Judged(DONE)
        is_unknown = bool(reuse.hear) and made is None  # what its part was made with
        reason = self._reason(unit_id, members, commit, reuse, is_unknown, is_tried_again=bool(again))
        unit = reuse.unit(unit_id, self._recipe)
        is_made_otherwise = bool(reuse.updates and (reuse.said_with or reuse.written_with))
        return Judged(Verdict("redo", reason), unit, reuse.source, reuse.lacks_emissions, is_made_otherwise)

    def _reuse(
        self, unit_id: str, commit: Commit | None, present: Objects, made: Made | None, again: frozenset[str]
    ) -> Reuse:
        """What is done with a unit's rows, of which it is noted if they were heard with other settings."""
        if made:
            known = has_emissions(unit_id, made, self._state.emissions)
            reuse = reuse_of(present, self._listed, made, self._recipe, known, again, self._keeps)
        else:
            reuse = all_heard(present, self._listed)
            if commit and reuse.hear:
                of = commit.fingerprint
                reuse.heard_with = heard_otherwise(Fingerprint.heard(of), Fingerprint.emissions(of), self._recipe)
                reuse.lacks_rows = Fingerprint.is_incomplete(of)
        if reuse.heard_with:
            self._mismatched[reuse.heard_with] += 1
        return reuse

    def _present(self, members: Objects) -> dict[str, PlannedObject]:
        """The objects that a unit has now."""
        present = {key: self._planned.get(key, known) for key, known in members.items()}
        return {key: known for key, known in present.items() if not known.removed}

    def _kinds_again(self, unit_id: str, commit: Commit | None) -> frozenset[str]:
        """The kinds of errors of a unit that are to be tried again. Without a valid commit, nothing counts what errors
        its part has, nor by which version: any that is tried again by itself, or that someone asks for, is tried."""
        if commit is None:
            return self._policy.asked | KINDS_TRIED_AGAIN
        kinds = self._policy.retry.get(unit_id, frozenset[str]())
        is_left = self._keeps and Fingerprint.heard(commit.fingerprint) != Fingerprint.heard(self._recipe)
        return kinds & self._policy.asked if is_left else kinds  # its text stays as it is, unless someone asks

    def _again(self, unit_id: str, members: Objects, present: Objects, errors: Errors | None) -> frozenset[str]:
        """The listed objects of a unit that are heard in any case: all of them if input.redo names one; those with an
        error that is to be tried again, or all if the commit has one and it is not known of which."""
        listed, commit = frozenset(key for key in present if key in self._listed), self._state.commit_of(unit_id)
        kinds = self._kinds_again(unit_id, commit)
        if self.is_asked(members) or (commit and kinds and not errors):
            return listed
        known = errors or {}
        return frozenset(key for key in listed if not kinds.isdisjoint(known.get(present[key].object_key, ())))

    def _reason(
        self,
        unit_id: str,
        members: Objects,
        commit: Commit | None,
        reuse: Reuse,
        is_unknown: bool,
        is_tried_again: bool,
    ) -> str:
        """Why a unit is redone or rewritten."""
        if commit is None and unit_id not in self._state.parts and all(known.removed for known in members.values()):
            return ", ".join(changes_of(members, self._planned, self._excluded))  # it was removed as a whole
        if commit is None:
            return without_commit(len(self._state.commits.get(unit_id, ())), unit_id in self._state.parts)
        if Fingerprint.is_incomplete(commit.fingerprint) and reuse.lacks_rows:
            return LACKS_ROWS
        reasons = changes_of(members, self._planned, self._excluded)
        if reuse.heard_with and not self._keeps:
            reasons.append(f"settings differ: {self._others.differing(*reuse.heard_with)}")
        if reuse.lacks_emissions or "emissions" in reuse.updates:
            how = "no emissions were kept" if reuse.lacks_emissions else "from emissions"
            reasons.append(f"settings differ: {self._others.differing(*reuse.said_with)}; {how}")
        if reuse.written_with and not reuse.hear:
            reasons.append(f"settings differ: {self._others.differing(*reuse.written_with)}; from rows")
        if self.is_asked(members):
            reasons.append(ASKED)
        elif is_tried_again:
            reasons.append(TRIED_AGAIN)
        elif is_unknown and not reuse.heard_with:
            reasons.append(UNKNOWN)
        return ", ".join(reasons) or OTHERWISE
