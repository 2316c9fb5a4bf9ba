"""The keys of objects as rows have them."""

from collections.abc import Container, Iterator

import pyarrow as pa

from actors.units import ALL, Selection

ObjectKey = tuple[str, Selection]  # of an object and of its rows


def object_keys(rows: pa.Table) -> Iterator[ObjectKey]:
    """The keys of the objects that rows belong to; for those of a container, with what they select in it."""
    uris, *selections = (rows.column(name).to_pylist() for name in ("uri", *Selection._fields))
    return zip(uris, map(Selection, *selections), strict=True)


def owner_of(row: ObjectKey, known: Container[ObjectKey]) -> ObjectKey:
    """The key of the object, of those known, that a row with this key belongs to: what selects the very same, else the
    same of all channels, each of which is a recording of its own; else the file as a whole."""
    uri, selection = row
    every_channel = (uri, selection._replace(channel=None))
    return next((each for each in (row, every_channel) if each in known), (uri, ALL))
