"""The files of a committed unit: its part, and its commit, whose name says what the part is."""

import io
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import BinaryIO

import pyarrow as pa

from actors.foreign.errors import InvalidData
from actors.foreign.plain_json import parse_object
from actors.parts.made import Made
from actors.parts.part import Part, check_rows, part_metadata
from actors.storage import listing, outputs
from actors.storage.place import Place
from actors.storage.stored_file import StoredFile
from actors.units import FINGERPRINT, HEX

COMMITS = "_commits"
HELD_BYTES = 32_000_000  # bytes; a larger part is read in ranges, not whole
MAX_COMMIT_BYTES = 100_000  # of a commit's content
TAIL_BYTES = 64_000  # of a part, read in one request for its footer
_PART_NAME = re.compile(rf"part-({HEX})\.parquet")
_COUNT = r"(0|[1-9][0-9]{0,11})"
_COMMIT_NAME = re.compile(rf"({HEX})\.({FINGERPRINT})\.({HEX})\.({HEX}|none)\.{_COUNT}r{_COUNT}e{_COUNT}a")


def part_name(unit_id: str) -> str:
    return f"part-{unit_id}.parquet"


def unit_of_part(name: str) -> str | None:
    """The unit id in a part's name; None for any other name."""
    match = _PART_NAME.fullmatch(name)
    return match[1] if match else None


@dataclass(frozen=True, slots=True)
class Commit:
    """A commit, as its name states it: `<unit>.<fingerprint>.<part>.<emissions>.<r>r<e>e<a>a`, r recordings, e of them
    with an error, and a of these with one that a later run tries again by itself.

    `part` is a digest of the part's version in storage, `emissions` that of the kept emissions, which ends their file's
    name; "" if there are none.
    """

    unit: str
    fingerprint: str
    part: str
    recordings: int
    errors: int
    again: int = 0
    emissions: str = ""

    @property
    def name(self) -> str:
        counts = f"{self.recordings}r{self.errors}e{self.again}a"
        return f"{self.unit}.{self.fingerprint}.{self.part}.{self.emissions or 'none'}.{counts}"

    @classmethod
    def from_name(cls, name: str) -> "Commit | None":
        """Parses a commit's name; None for any other: unknown files in the folder are skipped."""
        match = _COMMIT_NAME.fullmatch(name)
        if not match:
            return None
        emissions = match[4] if match[4] != "none" else ""
        recordings, errors, again = map(int, match.group(5, 6, 7))
        return cls(match[1], match[2], match[3], recordings, errors, again, emissions)


def open_part(unit_id: str, output: Place, check: Callable[[pa.Table], None] = check_rows) -> Part:
    """Opens the part of a unit, whose rows have to pass `check`.

    Raises FileNotFoundError, and InvalidData if the part is damaged, foreign or a link.
    """
    stored = _stored_part(unit_id, output)
    file: BinaryIO = io.BytesIO(stored.place.read()) if stored.size <= HELD_BYTES else stored.open()
    return Part(file, check)


def read_made(unit_id: str, output: Place) -> Made:
    """What the committed part of a unit was made with, of which only the footer is read.

    Raises FileNotFoundError, and InvalidData if the part is damaged, foreign or a link.
    """
    stored = _stored_part(unit_id, output)
    return Made.from_metadata(part_metadata(stored.open(prefetch=(max(stored.size - TAIL_BYTES, 0), stored.size))))


def _stored_part(unit_id: str, output: Place) -> StoredFile:
    place = output / part_name(unit_id)
    if place.is_link():
        raise InvalidData("it is a link, which is not followed")
    return StoredFile(place, place.info().size or 0)


def remove_unit(unit_id: str, output: Place) -> None:
    """Removes a unit from the output. The commits go first: a crash leaves a part that the next run removes."""
    delete_commits(unit_id, output)
    (output / part_name(unit_id)).delete()


def commits_of(unit_id: str, output: Place) -> list[Commit]:
    """The commits of a unit: one, unless two runs were at it at once."""
    found = (Commit.from_name(entry.name) for entry in listing.in_folder(output / COMMITS, f"{unit_id}."))
    return [each for each in found if each]


def read_commit(commit: Commit, output: Place) -> dict[str, object]:
    """The content of a commit; nothing if another run deleted it meanwhile, or it is damaged."""
    try:
        return parse_object(outputs.read(output / COMMITS / commit.name, MAX_COMMIT_BYTES))
    except (FileNotFoundError, InvalidData):
        return {}


def delete_commits(unit_id: str, output: Place) -> None:
    """Removes the commits of a unit, so that it is not done."""
    for commit in commits_of(unit_id, output):
        (output / COMMITS / commit.name).delete()
