"""Finds what a corrected manifest has cleared: entries that it no longer has, and that never had a text."""

from actors.foreign.errors import InvalidData
from actors.parts.commit import ObjectKey, open_part
from actors.storage.place import Place

_COLUMNS = ("uri", "offset_s", "stretch_s")


def failed_objects(unit: str, output: Place) -> set[ObjectKey]:
    """What the objects of a committed unit that have errors only have in their rows; none if its part is not valid."""
    failed, heard = set[ObjectKey](), set[ObjectKey]()
    try:
        for table in open_part(unit, output).tables():
            columns = (table.column(name).to_pylist() for name in (*_COLUMNS, "error_kind"))
            for uri, offset_s, stretch_s, error in zip(*columns, strict=True):
                (failed if error else heard).add((uri, offset_s, stretch_s))
    except (FileNotFoundError, InvalidData):
        return set()
    return failed - heard
