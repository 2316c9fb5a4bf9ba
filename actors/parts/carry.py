"""Takes rows from the committed part of a unit, and brings them up to date. Nothing is heard for it."""

import logging
from collections.abc import Iterator
from contextlib import suppress

import pyarrow as pa

from actors.foreign.errors import InvalidData
from actors.foreign.escape import escape_surrogates
from actors.parts.emissions import EMISSIONS, EmissionFile
from actors.parts.keys import object_keys, owner_of
from actors.parts.made import Made, MadeOf
from actors.parts.part import Part
from actors.parts.stored import open_part, part_name, remove_unit
from actors.parts.update import Update, Updating
from actors.schema import EMISSION
from actors.storage.place import Place
from actors.text.written.write import whole_recordings
from actors.units import Unit

_log = logging.getLogger(__name__)


class Outdated(OSError):
    """The committed part of a unit is not the one that the run was planned with, so that its rows cannot be taken. The
    next run finds out what is to be done instead."""


class CarriedRows:
    """The rows of a unit's committed part that its new part takes over.

    `made` is what they were made with, by `object_id`, as they come from `tables`; `missing` are the objects, of those
    that are not listed, whose rows there are not.
    """

    def __init__(self, unit: Unit, output: Place, updating: Updating | None) -> None:
        """Without `updating`, rows are taken as they are.

        Raises Outdated if the part has not the rows that are to be taken of listed objects. A damaged part, and damaged
        emissions that are needed, are removed, so that the next run hears what they were made of.
        """
        self._unit, self._output = unit, output
        self._carried = {(each.uri, each.selection): each for each in unit.carried}
        self.made, self.missing = dict[str, MadeOf](), set(self._carried)
        self._needs_part = any(each.source for each in unit.carried)
        self._part, self._before, self._name, self._emissions = None, Made(), "", None
        if unit.carried and (opened := self._opened()):
            self._part, self._before = opened
            self._name = self._before.emissions_of(unit.id)
            self._update = Update(unit.fingerprint, self._before, bool(self._name), updating)
            self._check_made()
            self._emissions = self._opened_emissions(self._part)

    def tables(self) -> Iterator[tuple[pa.Table, pa.ChunkedArray]]:
        """Yields the rows, of PART_SCHEMA, with their emissions, of the type EMISSION."""
        if not self._part:
            return
        known = self._carried.keys() | {(escape_surrogates(each.uri), each.selection) for each in self._unit.objects}
        for table in whole_recordings(self._part.tables()):
            rows = table.num_rows
            emissions = self._emissions.take(rows) if self._emissions else _no_emissions(rows)
            owners = [self._carried.get(owner_of(key, known)) for key in object_keys(table)]
            is_kept = pa.array([each is not None for each in owners], pa.bool_())
            kept = [each for each in owners if each]
            self.missing.difference_update((each.uri, each.selection) for each in kept)
            try:
                yield self._update(table.filter(is_kept), emissions.filter(is_kept), kept)
            except InvalidData as problem:
                raise self._without_emissions(problem) from None
        self.made |= self._update.made

    def _opened(self) -> tuple[Part, Made] | None:
        """The committed part, and what it was made with; None if there is none and it is not needed."""
        place = self._output / part_name(self._unit.id)
        version = ""
        try:
            version = place.info().version
            part = open_part(self._unit.id, self._output)
            return part, self._made_in(part)
        except FileNotFoundError:
            if self._needs_part:
                raise Outdated(f"{place.uri} is not there any more; the next run does what is left") from None
        except InvalidData as problem:
            if self._needs_part:
                if place.info().version == version:  # else another run put one in its place while it was read
                    remove_unit(self._unit.id, self._output)
                raise Outdated(f"{place.uri}: {problem}; the next run makes it again") from None
            _log.warning("%s: %s; its rows of objects that are no longer listed are lost", place.uri, problem)
        return None

    def _made_in(self, part: Part) -> Made:
        """What a part was made with; nothing if it does not say so, and its rows are only taken as they are."""
        try:
            return Made.from_metadata(part.metadata())
        except InvalidData as problem:
            if self._needs_part:
                raise Outdated(f"unit {self._unit.id}: {problem}; the next run hears what it is made of") from None
            return Made()

    def _check_made(self) -> None:
        """Raises Outdated if rows of listed objects were not made with what a plan can have seen that takes them."""
        for each in self._unit.carried:
            made = self._before.of(each.key)
            wanted = MadeOf.wanted(self._unit.fingerprint, each.version)
            is_other = made is None or made.version != wanted.version
            if made and each.is_as_wanted:
                is_other = made.redone_from(wanted, self._update.has_emissions) == "audio"
            if each.source and is_other:
                raise Outdated(f"unit {self._unit.id} was committed by another run meanwhile; the next run goes on")

    def _opened_emissions(self, part: Part) -> EmissionFile | None:
        """The emissions of the part; None if there are none, or they are not valid, and not needed."""
        if not self._name:
            return None
        place = self._output / EMISSIONS / self._name
        try:
            emissions = EmissionFile(self._name, self._output)
            if emissions.rows != part.rows:
                raise InvalidData("it has other rows than its part")
        except (FileNotFoundError, InvalidData) as problem:
            if any(self._update.is_said_anew(each) for each in self._unit.carried if each.is_as_wanted):
                raise self._without_emissions(problem) from None
            self._update.has_emissions = False
            _log.warning("%s: %s; the emissions of its unit are lost", place.uri, _why(problem))
            return None
        return emissions

    def _without_emissions(self, problem: Exception) -> Outdated:
        """The error that emissions which are to be decoded are not valid, or not there. They are removed, so that the
        next run hears their recordings."""
        place = self._output / EMISSIONS / self._name
        with suppress(IsADirectoryError):  # which no plan takes for a file
            place.delete()
        return Outdated(f"{place.uri}: {_why(problem)}; it is removed, and the next run hears its recordings again")


def _why(problem: Exception) -> str:
    return "it is not there" if isinstance(problem, FileNotFoundError) else str(problem)


def _no_emissions(rows: int) -> pa.ChunkedArray:
    return pa.chunked_array([pa.nulls(rows, EMISSION)])
