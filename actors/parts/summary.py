"""Counts recordings, table by table: a unit may have a million rows, and none of them is kept."""

from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any

import pyarrow as pa

from actors.text.cer import character_errors
from actors.text.normalise import join_texts

EXAMPLES = 3  # transcripts and errors per unit, for display at the end of a run
MAX_EXAMPLE = 300  # characters
ROWS_AT_ONCE = 1_000  # held as Python objects
BYTES_AT_ONCE = 4_000_000  # of Arrow that are so; tokens take twenty times as much as Python objects

_COLUMNS = ["recording_id", "uri", "member", "segment_index", "reference", "text", "error_kind", "error_detail"]

Row = dict[str, Any]


def rows_in(tables: Iterable[pa.Table]) -> Iterator[Row]:
    """Rows as dictionaries, converted a few at a time."""
    for table in tables:
        at_once = max(min(ROWS_AT_ONCE, BYTES_AT_ONCE * table.num_rows // max(table.nbytes, 1)), 1)
        for batch in table.to_batches(max_chunksize=at_once):
            yield from batch.to_pylist()


@dataclass
class Tally:
    """Totals over recordings. Their rows come in order; a recording starts with its segment 0."""

    recordings: int = 0
    segments: int = 0
    errors: Counter[str] = field(default_factory=Counter)
    audio_seconds: float = 0.0
    character_errors: int = 0
    reference_characters: int = 0
    transcripts: list[Row] = field(default_factory=list)  # examples of recordings without an error
    failures: list[Row] = field(default_factory=list)  # examples of those with one
    _first: Row | None = None  # row of the current recording, with the first error of its rows
    _texts: list[str | None] = field(default_factory=list)

    def add(self, table: pa.Table) -> None:
        """Adds rows of PART_SCHEMA; the last recording may continue in the next table."""
        for row in rows_in([table.select([*_COLUMNS, "duration_s"])]):
            self.segments += 1
            if row["segment_index"] == 0:
                self.end()
                self.audio_seconds += row.pop("duration_s") or 0.0
                self._first = row
            elif self._first and row["error_kind"] and not self._first["error_kind"]:
                self._first |= {"error_kind": row["error_kind"], "error_detail": row["error_detail"]}
            self._texts.append(row["text"])

    def end(self) -> None:
        """Ends the current recording and counts it."""
        if self._first is None:
            return
        several = len(self._texts) > 1
        recording = self._first | ({"text": join_texts(self._texts)} if several else {})
        self._first, self._texts = None, []
        self.recordings += 1
        if recording["error_kind"]:
            self.errors[recording["error_kind"]] += 1
            examples = self.failures
        else:
            edits, characters = character_errors([(recording["reference"], recording["text"] or "")])
            self.character_errors += edits
            self.reference_characters += characters
            examples = self.transcripts
        if len(examples) < EXAMPLES:
            examples.append(_shortened(recording))

    def summary(self, unit_id: str) -> Row:
        """The summary of a unit for the driver: counts, duration, character errors, and a few examples."""
        self.end()
        names = ("recordings", "segments", "audio_seconds", "character_errors", "reference_characters")
        counts = {name: getattr(self, name) for name in names} | {"errors": dict(self.errors)}
        return {"unit": unit_id} | counts | {"transcripts": [*self.transcripts], "failures": [*self.failures]}


def _shortened(recording: Row) -> Row:
    """Truncates texts for display, since hours of text would go through the driver otherwise."""
    return {
        name: f"{value[:MAX_EXAMPLE]} …" if isinstance(value, str) and len(value) > MAX_EXAMPLE else value
        for name, value in recording.items()
    }
