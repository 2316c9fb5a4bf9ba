"""The elements of a plan: objects, the units in which they are committed, and the pieces of units."""

import hashlib
import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, replace
from itertools import product
from typing import Any, Literal

from actors.foreign.errors import InvalidData

#: Patterns of ids, fingerprints and digests. They become file names, so what is read must match.
HEX = r"[0-9a-f]{1,64}"
FINGERPRINT = rf"(?:{HEX}|[0-9a-f]{{1,8}}incomplete)"

Format = Literal["audio", "tar", "parquet", "manifest"]


@dataclass(frozen=True, slots=True)
class SourceObject:
    """A stored file, or a line of a manifest, as it was listed.

    `key` identifies it across runs: its URI, for a manifest's line with the stretch. `name` is its path below the
    input's root. `etag` is the stored file's version, None if a manifest named it and it was not listed.
    """

    key: str
    uri: str
    name: str
    format: Format
    etag: str | None
    size: int
    companion: str | None = None  # URI of the .txt or .json beside an audio file
    lines: str | None = None  # manifest lines that refer to it: its own one, or all those of a NeMo tar shard
    text_version: str = ""  # of the companion or the lines
    refusal: tuple[str, str] | None = None  # (error kind, detail) if a manifest's line is not allowed or invalid
    limit: int | None = None  # how many of its recordings to read, None for all

    @property
    def version(self) -> str:
        """The object's version: when it changes, the object is transcribed again."""
        return "/".join(str(part) for part in (self.etag, self.size, self.text_version, self.limit))

    @classmethod
    def from_dict(cls, fields: Mapping[str, Any]) -> "SourceObject":
        refusal = fields.get("refusal")
        return cls(**{**fields, "refusal": tuple(refusal) if refusal else None})


@dataclass(frozen=True)
class Unit:
    """Whole objects that are committed together, as one part.

    `carried` are objects, as (URI, offset in seconds or None), that belong to the unit but were not listed this time:
    their rows are copied from the committed part.
    """

    id: str
    fingerprint: str
    objects: tuple[SourceObject, ...]
    carried: tuple[tuple[str, float | None], ...] = ()

    @classmethod
    def from_dict(cls, fields: Mapping[str, Any]) -> "Unit":
        """Raises InvalidData if the id or the fingerprint is not hexadecimal."""
        for pattern, name in ((HEX, "id"), (FINGERPRINT, "fingerprint")):
            if not re.fullmatch(pattern, fields[name]):
                raise InvalidData(f"{fields[name][:80]!r} is not a unit's {name}")
        objects = tuple(SourceObject.from_dict(each) for each in fields["objects"])
        return cls(fields["id"], fields["fingerprint"], objects, tuple((uri, at) for uri, at in fields["carried"]))


@dataclass(frozen=True)
class Piece:
    """The content of one block: a unit, or a share of one that is too large for a block.

    A unit is cut into `ranges`: first into its objects, then each object into shares of a tar's bytes or a Parquet
    file's rows. Its recordings are cut into `stretches` of about `seconds`, the last up to the end. A piece is one
    stretch of the recordings of one range. If `is_streamed`, a tar is read from its start.
    """

    unit: Unit
    seconds: float
    range: int = 0
    ranges: int = 1
    stretch: int = 0
    stretches: int = 1
    is_streamed: bool = False

    @property
    def is_whole(self) -> bool:
        return self.ranges == self.stretches == 1

    @property
    def objects(self) -> tuple[SourceObject, ...]:
        """The objects that it reads: all of the unit's, or the one that its range is in."""
        if self.ranges == 1:
            return self.unit.objects
        first = self.range // self._ranges_per_object
        return self.unit.objects[first : first + 1]

    @property
    def share(self) -> tuple[int, int]:
        """The share of its object that it reads: the share's number, and the number of shares."""
        return self.range % self._ranges_per_object, self._ranges_per_object

    @property
    def _ranges_per_object(self) -> int:
        return max(self.ranges // len(self.unit.objects), 1)

    @property
    def count(self) -> int:
        """The number of the unit's pieces."""
        return self.ranges * self.stretches

    @property
    def cut(self) -> str:
        """The unit's cut, as it appears in file names."""
        return f"{self.ranges}.{self.stretches}-by-{self.seconds:g}s" + "-streamed" * self.is_streamed

    @property
    def name(self) -> str:
        """The name of the file that keeps its rows."""
        return f"{self.range}.{self.stretch}-of-{self.cut}"

    def all(self) -> list["Piece"]:
        """All pieces of the unit in order, including this one."""
        pairs = product(range(self.ranges), range(self.stretches))
        return [replace(self, range=number, stretch=stretch) for number, stretch in pairs]

    def to_json(self) -> str:
        return json.dumps(asdict(self))

    @classmethod
    def from_json(cls, text: str) -> "Piece":
        """Raises InvalidData as `Unit.from_dict` does."""
        fields = json.loads(text)
        return cls(**{**fields, "unit": Unit.from_dict(fields["unit"])})


class Recut(Exception):
    """A unit has to be cut differently, which only shows when a piece is read."""

    def __init__(self, ranges: int, stretches: int, is_streamed: bool) -> None:
        super().__init__(ranges, stretches, is_streamed)
        self.cut = {"ranges": ranges, "stretches": stretches, "is_streamed": is_streamed}


class Fingerprint:
    """A unit's fingerprint: 8 digits of the recipe (all settings that can change a row), then 16 of its objects.

    They are separate so that planning, which reads commits by name, can distinguish changed audio from changed
    settings.
    """

    @staticmethod
    def of(recipe: str, versions: Mapping[str, str]) -> str:
        """The fingerprint for a recipe's digest and the versions of the unit's objects by key."""
        return recipe[:8] + digest(f"{key}\n{version}" for key, version in sorted(versions.items()))

    @staticmethod
    def incomplete(fingerprint: str) -> str:
        """A fingerprint of the same recipe that is never planned: the part lacks rows that should have been carried."""
        return fingerprint[:8] + "incomplete"

    @staticmethod
    def is_incomplete(fingerprint: str) -> bool:
        return fingerprint[8:] == "incomplete"

    @staticmethod
    def recipe(fingerprint: str) -> str:
        return fingerprint[:8]

    @staticmethod
    def objects(fingerprint: str) -> str:
        return fingerprint[8:]


def digest(texts: Iterable[str]) -> str:
    """16 hexadecimal digits of a hash of texts in order, each terminated so that different lists hash differently."""
    state = hashlib.sha256()
    for text in texts:
        state.update(text.encode("utf-8", "surrogatepass") + b"\0")
    return state.hexdigest()[:16]
