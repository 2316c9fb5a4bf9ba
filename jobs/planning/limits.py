"""Limits containers no further than earlier runs did: with input.limit or input.sample, recordings that have rows would
lose them else."""

from collections import Counter, defaultdict
from collections.abc import Collection, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import NamedTuple

import pyarrow.compute as pc

from actors.foreign.errors import InvalidData
from actors.parts.made import Made
from actors.parts.stored import open_part
from actors.storage.answers import OF_ONE_FILE, ArchivedObject
from actors.storage.place import Place
from actors.units import Fingerprint, SourceObject, Version, digest
from jobs.planning.plans import PlannedObject, State
from jobs.planning.versions import heard_of

CONCURRENT_READS = 16


class _Rows(NamedTuple):
    """What a part's rows were made with, and how many recordings it has of each file, by URI."""

    made: Made
    recordings: Counter[str]


def as_many_as_before(objects: Sequence[SourceObject], state: State, output: Place) -> list[SourceObject]:
    """The objects, each with at least as many of its recordings as an earlier run transcribed.

    The last plan says how many those are, where the name of the unit's commit says that it was made by that plan. It
    may not be: a run that found another one at work, or was killed, planned other limits than those that the rows were
    made with. Then the part is read.
    """
    known = {
        each.key: of
        for each in objects
        if each.limit is not None and (of := state.objects.get(each.key)) and of.unit in state.parts
    }
    if not known:
        return list(objects)
    as_planned = _made_as_planned({of.unit for of in known.values()}, state)
    to_read = {of.unit for of in known.values() if of.removed or of.unit not in as_planned}
    with ThreadPoolExecutor(CONCURRENT_READS) as pool:
        found = dict(zip(to_read, pool.map(lambda unit: _rows_in(unit, output), to_read), strict=True))
    return [_limited(each, of, found.get(of.unit)) if (of := known.get(each.key)) else each for each in objects]


def _made_as_planned(units: Collection[str], state: State) -> set[str]:
    """Those of the units whose commit has the versions of its objects that were planned last."""
    planned = defaultdict[str, dict[str, Version]](dict)
    for key, known in state.objects.items():
        if known.unit in units and not known.removed:
            planned[known.unit][key] = known.version
    return {
        unit
        for unit, versions in planned.items()
        if (commit := state.commit_of(unit))
        and Fingerprint.objects(commit.fingerprint) == Fingerprint.objects(Fingerprint.of(commit.fingerprint, versions))
    }


def _rows_in(unit: str, output: Place) -> _Rows | None:
    """What a unit's part has; None if it cannot be read: then its rows are of no use either."""
    recordings = Counter[str]()
    try:
        part = open_part(unit, output)
        for table in part.tables():
            firsts = table.column("uri").filter(pc.equal(table.column("segment_index"), 0))
            recordings.update(firsts.to_pylist())
        return _Rows(Made.from_metadata(part.metadata()), recordings)
    except (*OF_ONE_FILE, ArchivedObject, InvalidData):
        return None


def _limited(source: SourceObject, known: PlannedObject, rows: _Rows | None) -> SourceObject:
    """An object with a limit, or less of one: as it was planned last, unless the `rows` of its part say it better."""
    if rows is None:
        of = heard_of(known.version)
        return _no_less(source, of.limit) if of else source
    made = rows.made.of(source.key)
    if made and made.version in _versions_as_a_whole(source, known):
        return replace(source, limit=None)
    return _no_less(source, rows.recordings[known.uri])


def _versions_as_a_whole(source: SourceObject, known: PlannedObject) -> set[str]:
    """The digests of the versions of an object all of which was read: as it is now, and as it was planned last."""
    heard = [replace(source, limit=None).version.heard]
    if of := heard_of(known.version):
        heard.append(f"{of.etag}/{of.size}/None/{of.lines}")
    return {digest([each]) for each in heard}


def _no_less(source: SourceObject, limit: int | None) -> SourceObject:
    is_more = limit is None or limit > (source.limit or 0)
    return replace(source, limit=limit) if is_more else source
