"""The last stage: says what was heard of a piece, writes that as people do, and commits it.

Pieces of a unit in several are kept beside the parts, and the writer that keeps the last one commits the unit.
"""

from dataclasses import dataclass, field
from datetime import UTC, datetime

import pyarrow as pa
import pyarrow.compute as pc

from actors.engine.models import ModelFile
from actors.engine.vocabulary import Vocabulary
from actors.outcomes import Committed, Kept, Work
from actors.parts.assemble import Pieces, rows_of, unit_of
from actors.parts.commit import commit_unit
from actors.parts.kept import KeptPiece, KeptPieces, claim, delete_kept, keep
from actors.parts.summary import EXAMPLES
from actors.parts.update import Updating
from actors.pieces import NeedsRecut, Piece
from actors.schema import EMISSION_SCHEMA, FRAME_SAMPLES, HEARD_SCHEMA, PART_SCHEMA
from actors.sources.objects import ReadSettings, describe
from actors.storage.place import Place
from actors.text.decoding import DecodingSettings, load_decoder
from actors.text.join import join_segments
from actors.text.say import Speaker
from actors.text.written.write import TextSettings, load_write, whole_recordings
from actors.units import NO_EMISSIONS, Fingerprint

_WRITTEN = PART_SCHEMA.field("written")


@dataclass(frozen=True)
class WriteSettings:
    """Settings of the last stage: the model and its vocabulary, the run, how companions are read, whether the column
    `tokens` is filled, how emissions are decoded, how texts are written, and whether some are shown to people."""

    model: ModelFile
    vocabulary: Vocabulary = field(repr=False)
    run_id: str
    reading: ReadSettings
    tokens: bool = True
    decoding: DecodingSettings = DecodingSettings()  # noqa: RUF009 - it is immutable
    text: TextSettings = TextSettings()  # noqa: RUF009 - it is immutable
    shows: bool = False


class Writer:
    """Commits pieces below an output. If several writers find all pieces of a unit kept, one of them commits it:
    `attempt` identifies the execution of the graph."""

    def __init__(self, settings: WriteSettings, output: Place, attempt: str) -> None:
        """Raises UsageError if the files of decoding or of `text` cannot be used, or are no longer the planned ones."""
        self._settings, self._output, self._attempt = settings, output, attempt
        self._vocabulary = settings.vocabulary.decoder()
        speak = Speaker(self._vocabulary, settings.tokens, load_decoder(settings.decoding, settings.vocabulary).decoder)
        write = load_write(settings.text)
        self._updating = Updating(speak, write, lambda source: describe(source, settings.reading), settings.run_id)

    def __call__(self, piece: Piece, emissions: pa.Table) -> Committed | Kept:
        """Commits what was heard of a piece, of EMISSION_SCHEMA; that of a share of a unit once all shares are kept.

        A piece that is kept already, or of which nothing is to be heard, comes without rows. Raises NeedsRecut if the
        ranges of a tar do not fit together, and InvalidData if a kept piece is not valid. Safe to repeat.
        """
        work, rows = Work.from_metadata(emissions.schema.metadata), self.joined(piece.unit, emissions)
        if piece.is_whole:
            return self._commit(lambda _: KeptPiece(piece, rows), piece, work)
        if rows.num_rows:
            keep(piece, rows, self._output)
        if not claim(piece, self._output, self._attempt):
            seconds = pc.sum(pc.subtract(rows.column("end_s"), rows.column("start_s"))).as_py() or 0.0
            return Kept(piece.unit, seconds, work)
        try:
            committed = self._commit(KeptPieces(piece, self._output), piece, work)
        except (NeedsRecut, OSError):
            raise
        except Exception:  # the pieces do not fit together: delete them, so that the next run redoes them
            delete_kept(piece, self._output)
            raise
        delete_kept(piece, self._output)
        return committed

    def _commit(self, pieces: Pieces, piece: Piece, work: Work | None) -> Committed:
        """Commits the unit that pieces make up. Here a unit has all of its rows, whether it came in one or many."""
        unit, entries = unit_of(pieces, piece)
        rows = rows_of(pieces, piece.count) if unit.objects else ()
        keeps_emissions = Fingerprint.emissions(unit.fingerprint) != NO_EMISSIONS
        said = whole_recordings(self.said(table, keeps_emissions) for table in rows)
        shown = EXAMPLES if self._settings.shows else 0
        return commit_unit(unit, map(self._written, said), self._output, work, entries, self._updating, shown)

    def said(self, heard: pa.Table, keeps_emissions: bool) -> pa.Table:
        """Rows of PART_SCHEMA, with their emissions if they are kept; how they are written is not told yet."""
        emissions = heard.column("emission")
        said = self._updating.speak(heard, emissions)
        return said.append_column(HEARD_SCHEMA.field("emission"), emissions) if keeps_emissions else said

    def _written(self, said: pa.Table) -> pa.Table:
        return said.set_column(said.schema.get_field_index("written"), _WRITTEN, self._updating.write(said))

    def joined(self, unit: str, emissions: pa.Table) -> pa.Table:
        """What was heard of a unit's own segments, of HEARD_SCHEMA, with the metadata of the emissions."""
        if not emissions.num_rows:
            return HEARD_SCHEMA.empty_table()
        rows, metadata, settings = emissions.num_rows, emissions.schema.metadata or {}, self._settings
        repeated = {
            "model": settings.model.name,
            "model_sha256": settings.model.sha256,
            "run_id": settings.run_id,
            "unit": unit,
        }
        columns = {name: emissions.column(name) for name in HEARD_SCHEMA.names if name in EMISSION_SCHEMA.names}
        columns |= {
            name: pa.DictionaryArray.from_arrays(pa.array([0] * rows, pa.int32()), [value])
            for name, value in repeated.items()
        }
        columns["transcribed_at"] = pa.array([datetime.now(UTC)] * rows, HEARD_SCHEMA.field("transcribed_at").type)
        columns["emission"] = join_segments(emissions, int(metadata[FRAME_SAMPLES]), self._vocabulary.blank)
        heard = pa.table([columns[name] for name in HEARD_SCHEMA.names], schema=HEARD_SCHEMA)
        return heard.filter(emissions.column("own")).replace_schema_metadata(metadata)
