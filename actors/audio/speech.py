"""Decoded recordings as a table of SPEECH_SCHEMA: rows go to Arrow's columns as they come, a million of them too."""

import threading
from collections.abc import Iterable, Mapping
from typing import Any

import pyarrow as pa

from actors.schema import SPEECH_SCHEMA

ROWS_AT_ONCE = 1_000  # that are Python's objects at the same time, some 3 kB each
SOUND_AT_ONCE = 32_000_000  # bytes, likewise
MAX_TEXT = 12_000_000  # bytes of text that came with one recording; a row of a part may have 16 MB
MAX_TEXTS = 256_000_000  # bytes of texts in a piece

Row = dict[str, Any]
Told = tuple[str | None, str | None]  # the columns reference and extra of a recording's first row


class Texts:
    """How much text a piece may hold. What is too much for it is left out, and its row says so."""

    def __init__(self) -> None:
        self._held, self._lock = 0, threading.Lock()

    def believed(self, reference: str | None, extra: str | None) -> Told:
        size = sum(len(text.encode("utf-8", "surrogatepass")) for text in (reference, extra) if text)
        with self._lock:
            if size > MAX_TEXT or self._held + size > MAX_TEXTS:
                return None, f'{{"unread_text": "{size} bytes"}}'
            self._held += size
        return reference, extra


class Rows:
    """Rows in their order, of a group of objects."""

    def __init__(self, texts: Texts) -> None:
        self._texts, self.tables = texts, list[pa.Table]()
        self.rows, self.sound = list[Row](), 0

    def add(self, rows: Iterable[Row]) -> None:
        for row in rows:
            if row.get("reference") or row.get("extra"):
                reference, extra = self._texts.believed(row["reference"], row["extra"])
                row |= {"reference": reference, "extra": extra}
            self.rows.append(row)
            self.sound += len(row.get("pcm") or b"")
            if len(self.rows) >= ROWS_AT_ONCE or self.sound >= SOUND_AT_ONCE:
                self._flush()

    def take(self, other: "Rows") -> None:
        """Adds the rows of another group behind these. Few are not made a table of their own, which takes its time."""
        if other.tables:
            self._flush()
            self.tables += other.tables
        self.rows += other.rows
        self.sound += other.sound
        if len(self.rows) >= ROWS_AT_ONCE or self.sound >= SOUND_AT_ONCE:
            self._flush()

    def tell(self, told: Mapping[str, Told]) -> None:
        """Adds texts that were found later, by recording_id, to the first row of each recording."""
        if not told:
            return
        table = self.table()
        firsts = zip(table.column("recording_id").to_pylist(), table.column("segment_index").to_pylist(), strict=True)
        texts = [told.get(name, (None, None)) if index == 0 else (None, None) for name, index in firsts]
        for name, column in zip(("reference", "extra"), zip(*texts, strict=True), strict=True):
            place = table.schema.get_field_index(name)
            table = table.set_column(place, table.schema.field(place), pa.array(column, pa.string()))
        self.tables = [table]

    def table(self) -> pa.Table:
        """All of them."""
        self._flush()
        return pa.concat_tables(self.tables)

    def _flush(self) -> None:
        if self.rows or not self.tables:
            self.tables.append(pa.Table.from_pylist(self.rows, schema=SPEECH_SCHEMA))
        self.rows, self.sound = [], 0
