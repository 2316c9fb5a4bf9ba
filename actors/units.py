"""What a plan is made of: objects, and the units that they are committed in."""

import hashlib
import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, replace
from itertools import product
from typing import Any, Literal

from actors.foreign.errors import InvalidData

#: What ids, fingerprints and digests are made of. They become names of files, so whatever is read is held to it.
HEX = r"[0-9a-f]{1,64}"
FINGERPRINT = rf"(?:{HEX}|[0-9a-f]{{1,8}}incomplete)"

Format = Literal["audio", "tar", "parquet", "manifest"]


@dataclass(frozen=True, slots=True)
class SourceObject:
    """One stored file, or one line of a manifest, as it was listed.

    `key` is its identity from run to run: its URI, and for a manifest's line the stretch as well. `name` is its path
    below the input's root. `etag` is the stored file's version, None where it was named by a manifest and not listed.
    """

    key: str
    uri: str
    name: str
    format: Format
    etag: str | None
    size: int
    companion: str | None = None  # URI of the .txt or .json beside an audio file
    lines: str | None = None  # manifest lines that speak of it: its own one, or all those of a NeMo tar shard
    text_version: str = ""  # of the companion or the lines
    refusal: tuple[str, str] | None = None  # (error kind, detail) where a manifest's line may not or cannot be read
    limit: int | None = None  # how many of its recordings are wanted, None for all

    @property
    def version(self) -> str:
        """What, when it changes, makes the object be done again."""
        return "/".join(str(part) for part in (self.etag, self.size, self.text_version, self.limit))

    @classmethod
    def from_dict(cls, fields: Mapping[str, Any]) -> "SourceObject":
        refusal = fields.get("refusal")
        return cls(**{**fields, "refusal": tuple(refusal) if refusal else None})


@dataclass(frozen=True)
class Unit:
    """Whole objects that are committed together, as one part.

    `carried` are objects, as (URI, offset in seconds or None), that belong to the unit but were not listed this time:
    their rows go over from the part that stands.
    """

    id: str
    fingerprint: str
    objects: tuple[SourceObject, ...]
    carried: tuple[tuple[str, float | None], ...] = ()

    @classmethod
    def from_dict(cls, fields: Mapping[str, Any]) -> "Unit":
        """Raises InvalidData where id or fingerprint is not hexadecimal."""
        for pattern, name in ((HEX, "id"), (FINGERPRINT, "fingerprint")):
            if not re.fullmatch(pattern, fields[name]):
                raise InvalidData(f"{fields[name][:80]!r} is no unit's {name}")
        objects = tuple(SourceObject.from_dict(each) for each in fields["objects"])
        return cls(fields["id"], fields["fingerprint"], objects, tuple((uri, at) for uri, at in fields["carried"]))


@dataclass(frozen=True)
class Piece:
    """What one block carries: a unit, or a share of one that is too large for a block.

    A unit is cut into `ranges`: first into its objects, then each of those into shares of a tar's bytes or a Parquet
    file's rows. Its recordings are cut into `stretches` of about `seconds`, the last to the end. This is one stretch of
    the recordings of one range. `is_streamed` says that a tar is read from its start for it.
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
        """Those that it reads: all, or one or a share of one."""
        if self.ranges == 1:
            return self.unit.objects
        first = self.range // self._ranges_an_object
        return self.unit.objects[first : first + 1]

    @property
    def share(self) -> tuple[int, int]:
        """The share of its object that it reads: number and count."""
        return self.range % self._ranges_an_object, self._ranges_an_object

    @property
    def _ranges_an_object(self) -> int:
        return max(self.ranges // len(self.unit.objects), 1)

    @property
    def count(self) -> int:
        """Of the unit's pieces."""
        return self.ranges * self.stretches

    @property
    def cut(self) -> str:
        """How the unit is cut."""
        return f"{self.ranges}.{self.stretches}-by-{self.seconds:g}s" + "-streamed" * self.is_streamed

    @property
    def name(self) -> str:
        """Of the file that keeps its rows."""
        return f"{self.range}.{self.stretch}-of-{self.cut}"

    def all(self) -> list["Piece"]:
        """All pieces of the unit in their order, this one among them."""
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
    """A unit has to be cut otherwise: what a piece holds, and how it is built, shows only when it is read."""

    def __init__(self, ranges: int, stretches: int, is_streamed: bool) -> None:
        super().__init__(ranges, stretches, is_streamed)
        self.cut = {"ranges": ranges, "stretches": stretches, "is_streamed": is_streamed}


class Fingerprint:
    """A unit's fingerprint: 8 digits of the recipe, all settings that can change a row, then 16 of its objects.

    Kept apart so that planning, which reads commits by name, can tell audio that changed from settings that did.
    """

    @staticmethod
    def of(recipe: str, versions: Mapping[str, str]) -> str:
        """From a recipe's digest, and the versions of the unit's objects by key."""
        return recipe[:8] + digest(f"{key}\n{version}" for key, version in sorted(versions.items()))

    @staticmethod
    def incomplete(fingerprint: str) -> str:
        """One that is never asked for, of the same recipe: its part lacks rows that should have been carried over."""
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
    """16 hexadecimal digits of a hash over texts in order, each ended so that no two lists run together."""
    state = hashlib.sha256()
    for text in texts:
        state.update(text.encode("utf-8", "surrogatepass") + b"\0")
    return state.hexdigest()[:16]
