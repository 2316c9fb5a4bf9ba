"""Commits the rows of a unit as a part: the only place that writes transcripts.

A unit is done if its part exists with exactly one commit, and that has the expected fingerprint and the part's version.
So a commit first deletes the unit's commits, then writes the part in one atomic step, then the new commit. A crash
between any two leaves a whole part, old or new, and a unit that is not done; repeating all three gives the same result.
A run that was paused and resumes while another commits may leave two commits, or one that does not match the part: then
the unit is not done, and the next run redoes it.

Kept emissions are written before that, under a name of their own, which the part's metadata and the commit state. What
the rows were made with is in the part's metadata too: a commit that takes rows from the committed part, because nothing
of them is to be heard again, goes on from there, whenever it was killed.
"""

import json
import logging
from collections.abc import Iterable, Mapping
from contextlib import suppress

import pyarrow as pa

from actors.foreign.errors import InvalidData
from actors.foreign.escape import escape_surrogates
from actors.outcomes import Committed, Work
from actors.parts.carry import CarriedRows
from actors.parts.emissions import EMISSIONS, MAX_FILE_BYTES, EmissionWriter, digest_of, emissions_name
from actors.parts.made import Made, MadeOf, object_id
from actors.parts.part import METADATA, PartWriter
from actors.parts.stored import COMMITS, Commit, commits_of, delete_commits, part_name, read_commit
from actors.parts.summary import Tally
from actors.parts.update import Updating
from actors.schema import EMISSION, PART_SCHEMA, TRIED_AGAIN
from actors.sources.account import Entries
from actors.storage.place import Place
from actors.units import NO_EMISSIONS, Fingerprint, Unit, digest

_log = logging.getLogger(__name__)


def commit_unit(
    unit: Unit,
    tables: Iterable[pa.Table],
    output: Place,
    work: Work | None = None,
    entries: Entries | None = None,
    updating: Updating | None = None,
    shown: int = 0,
) -> Committed:
    """Commits a unit's rows below `output`, with what was found in its containers, and the rows that it carries over,
    which `updating` brings up to date. The outcome has so many of the transcripts, to be `shown`. Safe to repeat.

    The tables, of PART_SCHEMA, may have a last column `emission` with what is to be kept. They are written one after
    the other, without holding them. What the unit carries over is not counted in the outcome. Raises RuntimeError if an
    object has no row, and what `CarriedRows` raises.
    """
    carried = CarriedRows(unit, output, updating)
    draft, without_rows = _Draft(shown), {escape_surrogates(each.uri) for each in unit.objects}
    for table in tables:
        without_rows.difference_update(table.column("uri").unique().to_pylist())
        draft.add(
            table.select(PART_SCHEMA.names), table.column("emission") if "emission" in table.column_names else None
        )
    if without_rows:  # no object may be lost, not even by a bug
        raise RuntimeError(f"{len(without_rows)} objects of unit {unit.id} have no row, {min(without_rows)} among them")
    tally = draft.tally
    tally.end()
    found, texts, failed = (entries or Entries()).to_dict(), tuple(tally.transcripts), tuple(tally.failures)
    committed = Committed(unit.id, tally.counts, work, texts, failed, found)
    for rows, emissions in carried.tables():
        draft.add(rows, emissions)
    tally.end()
    made = {object_id(each.key): MadeOf.wanted(unit.fingerprint, each.version) for each in unit.objects}
    draft.commit(unit, carried.made | made, bool(carried.missing), output, found)
    return committed


class _Draft:
    """A part that is being written, and the emissions of its rows."""

    def __init__(self, shown: int) -> None:
        self._part, self._emissions, self.tally = PartWriter(), EmissionWriter(), Tally(shown)

    def add(self, rows: pa.Table, emissions: pa.ChunkedArray | None) -> None:
        """Adds rows of PART_SCHEMA, with those of their emissions that are kept."""
        self.tally.add(rows)
        self._part.add(rows)
        self._emissions.add(pa.chunked_array([pa.nulls(rows.num_rows, EMISSION)]) if emissions is None else emissions)

    def commit(
        self, unit: Unit, made: dict[str, MadeOf], is_incomplete: bool, output: Place, found: dict[str, object]
    ) -> None:
        """Writes the emissions and the part, made with this, and its commit, in this order.

        Emissions are written even if no row has one, for then it is known that there is nothing to be decoded anew.
        """
        name = emissions_digest = ""
        content = self._emissions.finish() if any(each.has_emissions for each in made.values()) else b""
        if len(content) > MAX_FILE_BYTES:
            _log.warning("unit %s: %s bytes of emissions are more than are kept", unit.id, f"{len(content):,}")
            made = {key: each._replace(emissions=NO_EMISSIONS) for key, each in made.items()}
        elif content:
            emissions_digest = digest_of(content)
            name = emissions_name(unit.id, unit.fingerprint, emissions_digest)
            (output / EMISSIONS / name).write(content)
        # If rows to carry over are missing, the commit gets a fingerprint that no plan has: redone when listed again.
        fingerprint = Fingerprint.incomplete(unit.fingerprint) if is_incomplete else unit.fingerprint
        fingerprint = Fingerprint.with_emissions(fingerprint, _kept_of(unit, made))
        if unit.carried and not found["found"]:  # what was found in containers that are not read again
            found = found | _entries_before(unit.id, output)
        delete_commits(unit.id, output)
        version = (output / part_name(unit.id)).put(self._part.finish(Made(made, name).to_metadata()))
        again = sum(count for kind, count in self.tally.errors.items() if kind in TRIED_AGAIN)
        counts = self.tally.recordings, sum(self.tally.errors.values()), again
        commit = Commit(unit.id, fingerprint, digest([version]), *counts, emissions_digest)
        body = METADATA | {"errors": dict(self.tally.errors)} | ({"entries": found} if found["found"] else {})
        (output / COMMITS / commit.name).write(json.dumps(body).encode())


def _entries_before(unit_id: str, output: Place) -> dict[str, object]:
    """What the commit of a unit says that was found in its containers; nothing if there is none."""
    for commit in commits_of(unit_id, output):
        entries = read_commit(commit, output).get("entries")
        with suppress(InvalidData):
            return Entries.from_dict(entries).to_dict() if isinstance(entries, dict) else {}
    return {}


def _kept_of(unit: Unit, made: Mapping[str, MadeOf]) -> set[str]:
    """The settings by which the emissions were kept of the objects of a unit that are as wanted."""
    as_they_are = {object_id(each.key) for each in unit.carried if not each.is_as_wanted}
    return {each.emissions for key, each in made.items() if key not in as_they_are} - {NO_EMISSIONS}
