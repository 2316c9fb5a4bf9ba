"""Groups objects into units and decides how units are cut into pieces, by estimated seconds of audio."""

import math
from collections.abc import Callable, Iterable

from actors.pieces import Cut
from actors.units import SourceObject, Unit

CUT_ABOVE_TARGETS = 1.5  # a unit with more than this many targets of audio is cut into pieces
MAX_OBJECTS = 100_000  # of a unit, whatever they hold: its part says of each what it was made with, in its footer
MAX_PLANNED_PIECES = 10_000  # of a unit when planned; a sparse file can have any size

Estimate = Callable[[SourceObject], float]  # of an object's seconds of audio


def group_by_size(
    objects: Iterable[SourceObject], target_seconds: float, estimate: Estimate
) -> list[list[SourceObject]]:
    """Groups objects, in order, into units of about `target_seconds`, and of MAX_OBJECTS at most. A larger object has a
    unit of its own."""
    groups, filled = list[list[SourceObject]](), 0.0
    for each in objects:
        seconds = estimate(each)
        if not groups or filled + seconds > target_seconds or len(groups[-1]) == MAX_OBJECTS:
            groups.append([])
            filled = 0.0
        groups[-1].append(each)
        filled += seconds
    return groups


def planned_cut(unit: Unit, seconds: float, min_stretch_s: float, estimate: Estimate) -> Cut:
    """The cut of a unit into pieces of about `seconds`: one piece, unless it holds much more.

    Stretches of recordings are at least `min_stretch_s` long. If the estimate is too low, the reader asks for another
    cut (`pieces.NeedsRecut`).
    """
    expected = sum(map(estimate, unit.objects))
    if expected <= CUT_ABOVE_TARGETS * seconds or any(each.limit for each in unit.objects):
        return Cut(seconds)
    is_one_recording = len(unit.objects) == 1 and not unit.objects[0].is_container
    share_s = max(seconds, min_stretch_s) if is_one_recording else seconds
    return Cut(seconds, min(math.ceil(expected / share_s), MAX_PLANNED_PIECES))
