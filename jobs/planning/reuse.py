"""Decides what of a unit's part stays, is brought up to date, or has to be heard again, object by object."""

from collections.abc import Iterable, Mapping, Set
from dataclasses import dataclass, field

from actors.parts.made import Made, MadeOf, Redone, object_id
from actors.units import NO_EMISSIONS, Carried, Fingerprint, SourceObject, Unit
from jobs.planning.plans import PlannedObject
from jobs.planning.reasons import Section

Sections = tuple[tuple[Section, str], ...]  # of settings, each with its digits in a fingerprint


@dataclass
class Reuse:
    """What a run does with the rows of a unit: `hear` its objects anew, and take over those of the `carried` ones.

    `updates` are what the latter are brought up to date from. `heard_with` are the settings that listed objects were
    heard or their emissions kept with, where those are not the run's, `said_with` those that their texts were decoded
    with, and `written_with` those that they were written with. `lacks_rows` tells that a listed object has no rows,
    `lacks_emissions` that one is heard again because its text is to be decoded otherwise and its emissions were not
    kept.
    """

    hear: list[SourceObject] = field(default_factory=list)
    carried: list[Carried] = field(default_factory=list)
    updates: set[Redone] = field(default_factory=set)
    heard_with: Sections = ()  # of one of them
    said_with: Sections = ()
    written_with: Sections = ()
    lacks_rows: bool = False
    lacks_emissions: bool = False

    @property
    def source(self) -> Redone:
        """From what the unit is redone."""
        return "audio" if self.hear else "emissions" if "emissions" in self.updates else "rows"

    def unit(self, unit_id: str, recipe: str) -> Unit:
        return Unit.of(unit_id, recipe, sorted(self.hear, key=lambda each: (each.uri, each.key)), self.carried)


def all_heard(present: Mapping[str, PlannedObject], listed: Mapping[str, SourceObject]) -> Reuse:
    """Every listed object of a unit is heard; the rows of the others are carried over as they are."""
    return Reuse(
        hear=[listed[key] for key in present if key in listed],
        carried=[_as_it_is(key, known) for key, known in present.items() if key not in listed],
    )


def reuse_of(
    present: Mapping[str, PlannedObject],
    listed: Mapping[str, SourceObject],
    made: Made,
    recipe: str,
    has_emissions: bool,
    again: Set[str],
    keeps_mismatched: bool,
) -> Reuse:
    """Decides by what the part was `made` with. The objects of `again` are heard in any case; with `keeps_mismatched`,
    none is heard because of other settings. Where something is to be done, those are heard too whose rows cannot be
    told from others'."""
    reuse = Reuse()
    for key, known in present.items():
        if key not in listed:
            reuse.carried.append(_as_it_is(key, known))
            continue
        of, wanted = made.of(key), MadeOf.wanted(recipe, known.version)
        if of is None:
            reuse.lacks_rows = True
            reuse.hear.append(listed[key])
            continue
        heard_with = heard_otherwise(of.heard, of.emissions, recipe)
        said_with: Sections = () if of.said == wanted.said else (("said", of.said),)
        written_with: Sections = () if of.written == wanted.written else (("written", of.written),)
        reuse.heard_with, reuse.said_with = reuse.heard_with or heard_with, reuse.said_with or said_with
        reuse.written_with = reuse.written_with or written_with
        source, has_changed = of.redone_from(wanted, has_emissions), of.version != wanted.version
        is_left = source == "audio" and keeps_mismatched and not has_changed
        if key in again or (source == "audio" and not is_left):
            reuse.hear.append(listed[key])
            reuse.lacks_emissions |= not (key in again or has_changed or heard_with)
            continue
        if update := of.updated_from(wanted, has_emissions):
            reuse.updates.add(update)
        reuse.carried.append(Carried(key, known.version, known.uri, known.selection, listed[key], is_left))
    if (reuse.hear or reuse.updates) and not (alike := _alike(present)) <= again:
        return reuse_of(present, listed, made, recipe, has_emissions, again | alike, keeps_mismatched)
    return reuse


def _alike(present: Mapping[str, PlannedObject]) -> frozenset[str]:
    """Objects that select one channel of what another selects with all of its channels, and those others: their rows
    may have the same keys, so that it is not known which are whose."""
    wholes = {known.object_key: key for key, known in present.items() if known.selection.channel is None}
    found = set[str]()
    for key, known in present.items():
        whole = wholes.get((known.uri, known.selection._replace(channel=None)), key)
        found |= {key, whole} if whole != key else set()
    return frozenset(found)


def heard_otherwise(heard: str, emissions: str, recipe: str) -> Sections:
    """The sections, given by their digits, by which something was heard otherwise than by a recipe. That its emissions
    were not kept, or need not be, is no difference."""
    found = list[tuple[Section, str]]()
    if heard != Fingerprint.heard(recipe):
        found.append(("heard", heard))
    if NO_EMISSIONS not in (emissions, Fingerprint.emissions(recipe)) and emissions != Fingerprint.emissions(recipe):
        found.append(("emissions", emissions))
    return tuple(found)


def has_emissions(unit_id: str, made: Made, stored: Set[str]) -> bool:
    """Whether the emissions that a part names are among the stored files, and are its unit's."""
    return made.emissions_of(unit_id) in stored


def has_others(made: Made, keys: Iterable[str]) -> bool:
    """Whether a part has rows of objects other than those with these keys."""
    return not made.objects.keys() <= set(map(object_id, keys))


def _as_it_is(key: str, known: PlannedObject) -> Carried:
    return Carried(key, known.version, known.uri, known.selection)
