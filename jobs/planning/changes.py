"""Finds the objects of earlier plans that changed, came back, or are to be removed."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from actors.foreign.escape import escape_surrogates
from actors.schema import UsageError
from actors.units import ALL, SourceObject
from jobs.planning.listing import Listing
from jobs.planning.plans import PlannedObject, State
from jobs.planning.policy import Policy
from jobs.planning.renamed import renamed


@dataclass
class Changes:
    """Objects as planned now, by key, where that differs from earlier plans; the keys of those that are removed because
    they are no longer listed, and because the configuration excludes them; of those that are `kept` although they are
    no longer listed; and what the latter and the deleted ones seem to be `renamed` to."""

    objects: dict[str, PlannedObject] = field(default_factory=dict)
    deleted: set[str] = field(default_factory=set)
    excluded: set[str] = field(default_factory=set)
    kept: set[str] = field(default_factory=set)
    renamed: dict[str, str] = field(default_factory=dict)

    @property
    def gone(self) -> set[str]:
        """Those that are no longer listed."""
        return self.deleted | self.kept


def changed_objects(listing: Listing, listed: Mapping[str, SourceObject], state: State, policy: Policy) -> Changes:
    """The changes since earlier plans. Raises UsageError if more objects would be removed than `policy` allows."""
    changes, superseded, considered = Changes(), dict[str, PlannedObject](), 0
    dropped = defaultdict[str, list[str]](list)
    for key, known in state.objects.items():
        if key in listed:
            considered += 1
            now = planned_object(listed[key], known.unit)
            if now != known:
                changes.objects[key] = now
        elif known.removed:
            continue
        elif known.uri in listing.named and known.selection == ALL:  # read through a manifest now
            superseded[key] = known._replace(removed=True)
        elif policy.on_deleted == "remove" and listing.covers(known.uri):
            changes.deleted.add(key)
        elif policy.on_excluded == "remove" and (known.listed_by or known.uri) in listing.excluded:
            changes.excluded.add(key)
        else:
            if known.listed_by in listing.lists:
                dropped[known.unit].append(key)
            if listing.covers(known.uri):
                changes.kept.add(key)
    removed = changes.deleted | changes.excluded
    _refuse_too_many(changes, considered + len(removed), policy.max_removed_fraction)
    changes.objects |= {key: state.objects[key]._replace(removed=True) for key in removed}
    changes.objects |= superseded | _corrected(dropped, state, policy)
    new = (each for key, each in listed.items() if key not in state.objects or _is_unheard(state.objects[key], state))
    changes.renamed = renamed(changes.gone, state.objects, new)
    return changes


def _is_unheard(known: PlannedObject, state: State) -> bool:
    """Whether an object was planned, and of its unit nothing was committed: the run was interrupted, or failed."""
    return known.unit not in state.commits and known.unit not in state.parts


def _refuse_too_many(changes: Changes, considered: int, max_fraction: float) -> None:
    """Raises UsageError if more objects would be removed than this fraction of those that are considered."""
    deleted, excluded = len(changes.deleted), len(changes.excluded)
    if deleted + excluded <= max_fraction * considered:
        return
    of = f"of {considered} objects that were transcribed"
    if not excluded:
        what = f"output.on_deleted: {deleted} {of} are no longer listed"
    elif not deleted:
        what = f"output.on_excluded: {excluded} {of} are excluded by the configuration now"
    else:
        what = (
            f"output.on_deleted, output.on_excluded: {deleted + excluded} {of} would be removed, {deleted} that are no"
            f" longer listed and {excluded} that the configuration excludes now"
        )
    raise UsageError(f"{what}; to remove their rows, raise output.max_removed_fraction")


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


def planned_object(source: SourceObject, unit: str) -> PlannedObject:
    """An object as a plan records it, in a unit."""
    uri, listed_by = escape_surrogates(source.uri), source.listed_by and escape_surrogates(source.listed_by)
    return PlannedObject(unit, uri, source.selection, listed_by, source.version)
