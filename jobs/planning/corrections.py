"""Finds the objects that only ever had an error: a corrected manifest clears those that it no longer has."""

from actors.foreign.errors import InvalidData
from actors.parts.commit import ObjectKey, object_keys, open_part
from actors.storage.place import Place


def failed_objects(unit: str, output: Place) -> dict[ObjectKey, str]:
    """The objects of a committed unit that have errors only, with the kind of one; none if its part is not valid."""
    failed, heard = dict[ObjectKey, str](), set[ObjectKey]()
    try:
        for table in open_part(unit, output).tables():
            for key, error in zip(object_keys(table), table.column("error_kind").to_pylist(), strict=True):
                if error:
                    failed[key] = error
                else:
                    heard.add(key)
    except (FileNotFoundError, InvalidData):
        return {}
    return {key: error for key, error in failed.items() if key not in heard}
