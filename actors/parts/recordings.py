"""Groups rows by recording: the rows of one are adjacent, and its first has segment_index 0."""

from collections.abc import Iterable, Iterator, Sequence
from itertools import chain
from typing import Any

import pyarrow as pa

from actors.schema import KEY

ROWS_AT_ONCE = 1_000  # held as Python objects
BYTES_AT_ONCE = 4_000_000  # of Arrow that are so; tokens take twenty times as much as Python objects

Row = dict[str, Any]


def rows_in(tables: Iterable[pa.Table]) -> Iterator[Row]:
    """Rows as dictionaries, converted a few at a time."""
    for table in tables:
        at_once = max(min(ROWS_AT_ONCE, BYTES_AT_ONCE * table.num_rows // max(table.nbytes, 1)), 1)
        for batch in table.to_batches(max_chunksize=at_once):
            yield from batch.to_pylist()


class Grouping:
    """Groups rows while their tables arrive; a recording may begin in one table and end in another."""

    def __init__(self) -> None:
        self._current = list[Row]()

    def add(self, table: pa.Table) -> Iterator[list[Row]]:
        """The recordings that are complete with this table."""
        for row in rows_in([table]):
            if row["segment_index"] == 0 and self._current:
                yield self._current
                self._current = []
            self._current.append(row)

    def end(self) -> Iterator[list[Row]]:
        """The last recording, if there is any."""
        if self._current:
            yield self._current
            self._current = []


def recordings_in(tables: Iterable[pa.Table]) -> Iterator[list[Row]]:
    """The rows of each recording of a part or a piece."""
    grouping = Grouping()
    for table in tables:
        yield from grouping.add(table)
    yield from grouping.end()


def identity(row: Row) -> tuple[object, ...]:
    """What the rows of one recording, and of no other in a part, have in common."""
    return tuple(row[name] for name in ("recording_id", *KEY))


def are_channels(left: Row, right: Row) -> bool:
    """Whether two recordings, each given by a row of it, are channels of the same sound."""
    if left.get("channel") is None or right.get("channel") is None or left["channel"] == right["channel"]:
        return False
    return all(left[name] == right[name] for name in ("recording_id", *KEY) if name != "channel")


def have_one_reference(left: Row, right: Row) -> bool:
    """Whether two recordings, each given by its first row, are channels of the same sound with one reference: then that
    is of all they say together."""
    return bool(left["reference"]) and left["reference"] == right["reference"] and are_channels(left, right)


def as_dialogue(channels: Sequence[Sequence[Row]]) -> Sequence[Row]:
    """The rows of channels of the same sound, in the order of their beginnings."""
    if len(channels) == 1:
        return channels[0]
    return sorted(chain.from_iterable(channels), key=lambda row: (row["start_s"] or 0.0, row["channel"]))
