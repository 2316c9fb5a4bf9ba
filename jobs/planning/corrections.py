"""Finds what a corrected manifest has cleared: entries that it no longer has, and that never had a text."""

from actors.foreign.errors import InvalidData
from actors.parts.commit import ObjectKey, object_keys, open_part
from actors.storage.place import Place


def failed_objects(unit: str, output: Place) -> set[ObjectKey]:
    """What the objects of a committed unit that have errors only have in their rows; none if its part is not valid."""
    failed, heard = set[ObjectKey](), set[ObjectKey]()
    try:
        for table in open_part(unit, output).tables():
            for key, error in zip(object_keys(table), table.column("error_kind").to_pylist(), strict=True):
                (failed if error else heard).add(key)
    except (FileNotFoundError, InvalidData):
        return set()
    return failed - heard
