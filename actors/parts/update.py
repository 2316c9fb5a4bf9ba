"""Brings rows of a committed part up to date: with the companions that their objects have now, with what their
emissions say as it is decoded now, and with how that is written now."""

from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import UTC, datetime

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from actors.audio.speech import TextBudget
from actors.foreign.errors import InvalidData
from actors.foreign.escape import escape_surrogates
from actors.parts.made import Made, MadeOf, object_id
from actors.parts.recordings import Row
from actors.schema import KEY, PART_SCHEMA, ErrorKind
from actors.sources.recordings import Recording, companions
from actors.text.written.write import Write
from actors.units import NO_EMISSIONS, Carried, SourceObject

CONCURRENT_FETCHES = 8  # of companions
_OF_RECORDING = ["recording_id", "etag", "segment_index", "error_kind", *KEY]

#: Gives a recording without its content the name and the companions that it has now; None if it has none.
Describe = Callable[[Recording], Recording | None]


@dataclass(frozen=True)
class Updating:
    """How rows are brought up to date: what their emissions say, in calls in the order of the rows; how that is
    written; what is known of an object beside its sound; and the run that does it."""

    speak: Callable[[pa.Table, pa.ChunkedArray], pa.Table]
    write: Write
    describe: Callable[[SourceObject], Describe]
    run_id: str


class Update:
    """Brings rows of a part up to date, and collects what they are made with then: `made`, by `object_id`.

    Those of objects that are not listed stay as they are. Nothing is said anew unless the part `has_emissions`.
    """

    def __init__(self, fingerprint: str, before: Made, has_emissions: bool, updating: Updating | None) -> None:
        """`before` is what the part was made with, `fingerprint` that of the unit now. Without `updating`, rows stay as
        they are."""
        self._fingerprint, self._before, self._updating = fingerprint, before, updating
        self._texts, self._containers = TextBudget(), dict[str, Describe]()
        self._now = datetime.now(UTC)
        self.made, self.has_emissions = dict[str, MadeOf](), has_emissions

    def is_said_anew(self, carried: Carried) -> bool:
        """Whether the emissions of an object are decoded anew."""
        made, wanted = self._made_and_wanted(carried)
        return made is not None and made.updated_from(wanted, self.has_emissions) == "emissions"

    def is_described_anew(self, carried: Carried) -> bool:
        """Whether the companions of an object are read anew."""
        made, wanted = self._made_and_wanted(carried)
        return made is not None and made.companions != wanted.companions

    def is_written_anew(self, carried: Carried) -> bool:
        """Whether the texts of an object are written anew, as they are where they are said anew."""
        made, wanted = self._made_and_wanted(carried)
        return made is not None and (made.written != wanted.written or self.is_said_anew(carried))

    def _made_and_wanted(self, carried: Carried) -> tuple[MadeOf | None, MadeOf]:
        """What the rows of an object were made with, None if they stay as they are; and what they should be."""
        stays = self._updating is None or carried.source is None
        wanted = MadeOf.wanted(self._fingerprint, carried.version)
        return None if stays else self._before.of(carried.key), wanted

    def __call__(
        self, rows: pa.Table, emissions: pa.ChunkedArray, owners: Sequence[Carried]
    ) -> tuple[pa.Table, pa.ChunkedArray]:
        """Updates rows of whole recordings, of PART_SCHEMA, each with the object that it is of; returns them with their
        emissions. Raises InvalidData for emissions that no run can have kept with such rows."""
        objects = {each.key: each for each in owners}
        said = {key for key, each in objects.items() if self.is_said_anew(each)}
        written = {key for key, each in objects.items() if self.is_written_anew(each)}
        described = {key for key, each in objects.items() if self.is_described_anew(each)}
        if described:
            rows = self._described_rows(rows, [each if each.key in described else None for each in owners])
        if said:
            rows = self._said_rows(rows, emissions, np.array([each.key in said for each in owners]))
        if written:
            rows = self._written_rows(rows, np.array([each.key in written for each in owners]))
        for key, each in objects.items():
            if before := self._before.of(key):
                _, wanted = self._made_and_wanted(each)
                self.made[object_id(key)] = before._replace(
                    emissions=before.emissions if self.has_emissions else NO_EMISSIONS,
                    said=wanted.said if key in said else before.said,
                    written=wanted.written if key in written else before.written,
                    companions=wanted.companions if key in described else before.companions,
                )
        return rows, emissions

    def _said_rows(self, rows: pa.Table, emissions: pa.ChunkedArray, is_anew: NDArray[np.bool_]) -> pa.Table:
        """Rows of which some are said anew, in their order."""
        assert self._updating
        is_lost = pc.and_(emissions.is_null(), pc.greater(pc.binary_length(rows.column("text")), 0)).fill_null(False)
        if (is_anew & is_lost.to_numpy()).any():
            raise InvalidData("it lacks emissions of rows with a text")
        chosen, others = np.flatnonzero(is_anew), np.flatnonzero(~is_anew)
        stamp = {
            "run_id": pa.array([self._updating.run_id] * len(chosen), PART_SCHEMA.field("run_id").type),
            "transcribed_at": pa.array([self._now] * len(chosen), PART_SCHEMA.field("transcribed_at").type),
        }
        said = self._updating.speak(_with_columns(rows.take(chosen), stamp), emissions.take(chosen))
        order = np.argsort(np.concatenate([others, chosen]), kind="stable")
        return pa.concat_tables([rows.take(others), said]).unify_dictionaries().take(order)

    def _written_rows(self, rows: pa.Table, is_anew: NDArray[np.bool_]) -> pa.Table:
        """Rows of which some have another written form of their text."""
        assert self._updating
        mask, before = pa.array(is_anew), rows.column("written").combine_chunks()
        written = self._updating.write(rows.filter(mask))
        return _with_columns(rows, {"written": pc.replace_with_mask(before, mask, written)})

    def _described_rows(self, rows: pa.Table, objects: Sequence[Carried | None]) -> pa.Table:
        """Rows with the names and companions that the recordings of these objects have now; companions are in the first
        row of each."""
        columns = {name: rows.column(name).to_pylist() for name in ("recording_id", "reference", "extra")}
        known, sources = rows.select(_OF_RECORDING).to_pylist(), dict[str, SourceObject]()
        for each in objects:
            if each and each.source:
                sources[each.key] = each.source
        describe = self._descriptions(sources)
        for row, (each, stated) in enumerate(zip(objects, known, strict=True)):
            found = describe[each.key](_recording_of(stated)) if each else None
            if not found or (found.member is not None and stated["error_kind"] == ErrorKind.MISSING):
                continue
            columns["recording_id"][row] = escape_surrogates(found.recording_id)
            if stated["segment_index"] == 0:
                texts = companions(found.reference, found.extra)
                columns["reference"][row], columns["extra"][row] = self._texts.admit(*texts.values())
        return _with_columns(rows, {name: pa.array(values, pa.string()) for name, values in columns.items()})

    def _descriptions(self, sources: Mapping[str, SourceObject]) -> dict[str, Describe]:
        """What describes the recordings of objects, by their keys. Storage takes tens of milliseconds to respond, so
        several companions are read at once. A container may have rows in several tables."""
        assert self._updating
        new = {key: source for key, source in sources.items() if key not in self._containers}
        with ThreadPoolExecutor(CONCURRENT_FETCHES) as pool:
            found = dict(zip(new, pool.map(self._updating.describe, new.values()), strict=True))
        self._containers |= {key: found[key] for key, source in new.items() if source.is_container}
        return found | self._containers


def _recording_of(stated: Row) -> Recording:
    """The recording that a row is of, without its content."""
    names = ("recording_id", "uri", "etag", "member", "offset_s", "stretch_s", "channel")
    identity, uri, etag, member, offset_s, stretch_s, channel = (stated[name] for name in names)
    return Recording(identity, uri, etag, None, member, offset_s, stretch_s, channel)


def _with_columns(rows: pa.Table, columns: Mapping[str, pa.Array]) -> pa.Table:
    for name, values in columns.items():
        at = rows.schema.get_field_index(name)
        rows = rows.set_column(at, rows.schema.field(at), values)
    return rows
