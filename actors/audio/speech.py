"""Collects decoded recordings in a table of SPEECH_SCHEMA, row by row into Arrow columns: there may be a million."""

import threading
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pyarrow as pa

from actors.schema import SPEECH_SCHEMA

ROWS_AT_ONCE = 1_000  # held as Python objects, some 3 kB each
SOUND_BYTES_AT_ONCE = 8_000_000  # bytes of sound in such rows: memory that is used again costs less than new memory
MAX_TEXT_BYTES = 12_000_000  # bytes of reference and extra of one recording; a row of a part may have 16 MB
MAX_TEXTS_BYTES = 256_000_000  # bytes of those of a piece

Row = dict[str, Any]
Companions = tuple[str | None, str | None]  # columns reference and extra of a recording's first row


class TextBudget:
    """Bounds the text that a piece may hold. Text beyond that is left out, and `extra` reports it."""

    def __init__(self) -> None:
        self._held, self._lock = 0, threading.Lock()

    def admit(self, reference: str | None, extra: str | None) -> Companions:
        size = sum(len(text.encode("utf-8", "surrogatepass")) for text in (reference, extra) if text)
        with self._lock:
            if size > MAX_TEXT_BYTES or self._held + size > MAX_TEXTS_BYTES:
                return None, f'{{"unread_text": "{size} bytes"}}'
            self._held += size
        return reference, extra


class SpeechRows:
    """Rows of a group of objects, in order."""

    def __init__(self, texts: TextBudget) -> None:
        self._texts, self.tables = texts, list[pa.Table]()
        self.rows, self.sound = list[Row](), 0

    def add(self, rows: list[Row]) -> None:
        """Takes the rows out of a list: each may have megabytes, of which the table gets a copy."""
        rows.reverse()
        while rows:
            row = rows.pop()
            if row.get("reference") or row.get("extra"):
                reference, extra = self._texts.admit(row["reference"], row["extra"])
                row |= {"reference": reference, "extra": extra}
            self.rows.append(row)
            self.sound += len(row.get("pcm") or b"")
            if len(self.rows) >= ROWS_AT_ONCE or self.sound >= SOUND_BYTES_AT_ONCE:
                self._flush()

    def extend(self, other: "SpeechRows") -> None:
        """Appends the rows of another group. Small groups share a table, since each table costs time."""
        if other.tables:
            self._flush()
            self.tables += other.tables
        self.rows += other.rows
        self.sound += other.sound
        if len(self.rows) >= ROWS_AT_ONCE or self.sound >= SOUND_BYTES_AT_ONCE:
            self._flush()

    def add_texts(self, found: Mapping[str, Companions]) -> None:
        """Adds texts that were found later, by recording_id, to each recording's first row."""
        if not found:
            return
        table = self.table()
        firsts = zip(table.column("recording_id").to_pylist(), table.column("segment_index").to_pylist(), strict=True)
        texts = [found.get(name, (None, None)) if index == 0 else (None, None) for name, index in firsts]
        for name, column in zip(("reference", "extra"), zip(*texts, strict=True), strict=True):
            place = table.schema.get_field_index(name)
            table = table.set_column(place, table.schema.field(place), pa.array(column, pa.string()))
        self.tables = [table]

    def table(self) -> pa.Table:
        """All rows as one table."""
        self._flush()
        return pa.concat_tables(self.tables)

    def _flush(self) -> None:
        if self.rows or not self.tables:
            sounds = [row.pop("pcm", None) for row in self.rows]
            table = pa.Table.from_pylist(self.rows, schema=SPEECH_SCHEMA)
            place = SPEECH_SCHEMA.get_field_index("pcm")
            self.tables.append(table.set_column(place, SPEECH_SCHEMA.field(place), _column(sounds)))
        self.rows, self.sound = [], 0


def _column(sounds: Sequence[bytes | memoryview | None]) -> pa.LargeBinaryArray:
    """A column of sounds, copied once, to memory of their size: Arrow would copy them again as its memory grows."""
    offsets = np.cumsum([0, *(0 if sound is None else len(sound) for sound in sounds)], dtype=np.int64)
    content = np.empty(offsets[-1], np.uint8)
    for sound, first, end in zip(sounds, offsets, offsets[1:], strict=False):
        if end > first:
            content[first:end] = np.frombuffer(sound or b"", np.uint8)
    is_known = pa.array([sound is not None for sound in sounds], pa.bool_())
    buffers = [is_known.buffers()[1], pa.py_buffer(offsets), pa.py_buffer(content)]
    return pa.Array.from_buffers(pa.large_binary(), len(sounds), buffers)
