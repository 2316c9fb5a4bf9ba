"""Reads which errors the objects of a unit have: a corrected manifest clears those that it no longer has."""

from collections import defaultdict

from actors.foreign.errors import InvalidData
from actors.parts.keys import ObjectKey, object_keys
from actors.parts.stored import open_part
from actors.storage.answers import OF_ONE_FILE, ArchivedObject
from actors.storage.place import Place
from actors.units import ALL

Errors = dict[ObjectKey, set[str | None]]


def object_errors(unit: str, output: Place) -> Errors:
    """The kinds of errors in the rows of each object of a committed unit, None among them if it has a text; nothing if
    its part cannot be read or is not valid. A file as a whole has those of all that is in it, and what selects no
    channel, and so has no row without one, those of all channels."""
    errors, of_channels = (defaultdict[ObjectKey, set[str | None]](set) for _ in range(2))
    try:
        for table in open_part(unit, output).tables():
            for key, kind in zip(object_keys(table), table.column("error_kind").to_pylist(), strict=True):
                errors[key].add(kind)
                errors[key[0], ALL].add(kind)
                of_channels[key[0], key[1]._replace(channel=None)].add(kind)
    except (*OF_ONE_FILE, ArchivedObject, InvalidData):
        return {}
    return of_channels | errors
