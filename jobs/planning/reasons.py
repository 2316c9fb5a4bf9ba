"""Verdicts on units, and why they are given, in words."""

from collections import Counter
from collections.abc import Mapping, Set
from typing import Literal, NamedTuple

from actors.units import Fingerprint
from jobs.planning.plans import PlannedObject, State
from jobs.planning.recipe import Settings, section_differences


class Verdict(NamedTuple):
    """What a run does with a unit, and why. One to redo is heard again, or its rows are made anew of what was heard."""

    kind: Literal["new", "done", "redo", "remove"]
    reason: str


NEW = Verdict("new", "not planned before")
DONE = Verdict("done", "committed, and nothing has changed")
EMPTY = Verdict("remove", "none of its objects is left")
EXCLUDED = Verdict("remove", "its last objects are excluded by the configuration")

ASKED = "input.redo names some of it"
TRIED_AGAIN = "an error that it has is tried again"
LACKS_ROWS = "rows of some of its objects are missing"
UNKNOWN = "its part is damaged, or does not say what it was made with"
OTHERWISE = "an earlier run saw changes of its objects, and did not finish them"

Section = Literal["heard", "emissions", "said", "written"]
_SLICES = {
    "heard": Fingerprint.heard,
    "emissions": Fingerprint.emissions,
    "said": Fingerprint.said,
    "written": Fingerprint.written,
}


class OtherSettings:
    """Tells how settings of earlier runs, given by a section's digits in a fingerprint, differ from those of this
    run."""

    def __init__(self, state: State, settings: Settings) -> None:
        self._state, self._settings = state, settings
        self._phrases = dict[tuple[tuple[Section, str], ...], str]()

    def differing(self, *sections: tuple[Section, str]) -> str:
        """How they differ in sections, each given with its digits: `precision was float32 and is bfloat16`."""
        if sections not in self._phrases:
            phrases = [phrase for section, digits in sections for phrase in self._differences(section, digits)]
            self._phrases[sections] = "; ".join(phrases) or "of another version of this job"
        return self._phrases[sections]

    def _differences(self, section: Section, digits: str) -> list[str]:
        known = (settings for key, settings in self._state.recipes.items() if _SLICES[section](key) == digits)
        before = next(known, None)
        return [] if before is None else section_differences(before, self._settings, [section])


def without_commit(commits: int, has_part: bool) -> str:
    """Why a unit without a valid commit is not done."""
    if not has_part:
        return "its part is missing" if commits else "an earlier run did not finish it"
    if commits > 1:
        return f"it has {commits} commits"
    return "its part is not the committed one" if commits else "its commit is missing"


def changes_of(
    members: Mapping[str, PlannedObject], planned: Mapping[str, PlannedObject], excluded: Set[str]
) -> list[str]:
    """How the objects of a unit changed since the last plan, as phrases: `2 objects changed`, `1 object came back`."""
    changes = Counter[str]()
    for key, known in members.items():
        now = planned.get(key, known)
        if now.removed != known.removed:
            changes["excluded" if key in excluded else "removed" if now.removed else "came back"] += 1
        elif now.version.heard != known.version.heard:
            changes["changed"] += 1
        elif now.version.companions != known.version.companions:
            changes["companions"] += 1
    return [
        f"companions of {_objects(count)} changed" if change == "companions" else f"{_objects(count)} {change}"
        for change, count in changes.items()
    ]


def _objects(count: int) -> str:
    return f"{count} {'object' if count == 1 else 'objects'}"
