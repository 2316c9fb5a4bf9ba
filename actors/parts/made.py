"""What the rows of a part were made with, as its file's metadata state it: by that, planning and commits decide what of
them is as it should be now, and from what the rest is made anew."""

import json
import re
import zlib
from base64 import b64decode, b64encode
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal, NamedTuple

from actors.foreign.errors import InvalidData
from actors.foreign.plain_json import parse_object
from actors.parts.emissions import parse_emissions_name
from actors.units import NO_EMISSIONS, Fingerprint, Version, digest

KEY = "citrascribe_made"
MAX_BYTES = 64_000_000  # of its JSON; an object has 90
MAX_STATED_BYTES = 8_000_000  # of it, compressed, as metadata: the footer of a part may have twice as many

Redone = Literal["rows", "emissions", "audio"]


class MadeOf(NamedTuple):
    """What the rows of an object were made with, as hexadecimal digits: as in a Fingerprint, and digests of the two
    parts of its version."""

    heard: str
    emissions: str  # NO_EMISSIONS if its emissions were not kept
    said: str
    written: str
    version: str
    companions: str

    @classmethod
    def wanted(cls, fingerprint: str, version: Version) -> "MadeOf":
        """What an object of this version is made with in a unit with this fingerprint, or in one with its recipe."""
        return cls(
            Fingerprint.heard(fingerprint),
            Fingerprint.emissions(fingerprint),
            Fingerprint.said(fingerprint),
            Fingerprint.written(fingerprint),
            digest([version.heard]),
            digest([version.companions]),
        )

    @property
    def has_emissions(self) -> bool:
        """Whether its emissions were kept."""
        return self.emissions not in ("", NO_EMISSIONS)

    def can_be_said(self, wanted: "MadeOf") -> bool:
        """Whether its emissions are what is decoded as wanted, if they are there."""
        return self.has_emissions and self.heard == wanted.heard

    def updated_from(self, wanted: "MadeOf", has_emissions: bool) -> Redone | None:
        """From what its rows are brought as near to what is wanted as they can be without hearing it: where it has not
        to be heard, as `redone_from`; else its text stays as it was said, and the rest is made as wanted."""
        if self.said != wanted.said and has_emissions and self.can_be_said(wanted):
            return "emissions"
        return None if (self.written, self.companions) == (wanted.written, wanted.companions) else "rows"

    def redone_from(self, wanted: "MadeOf", has_emissions: bool) -> Redone | None:
        """From what its rows are made as wanted; None if they are so. `has_emissions` tells whether the emissions of
        the part are still there. Keeping emissions that were not kept is no reason to hear it again."""
        if self.heard != wanted.heard or self.version != wanted.version:
            return "audio"
        if NO_EMISSIONS not in (self.emissions, wanted.emissions) and self.emissions != wanted.emissions:
            return "audio"
        if self.said != wanted.said and not (has_emissions and self.can_be_said(wanted)):
            return "audio"
        return self.updated_from(wanted, has_emissions)


@dataclass(frozen=True)
class Made:
    """What a part was made with: each of its objects, by `object_id`, and the name of the file of its emissions, ""
    if it has none."""

    objects: Mapping[str, MadeOf] = field(default_factory=dict)
    emissions: str = ""

    def emissions_of(self, unit: str) -> str:
        """The name of the file of its emissions; "" if it has none, or names those of another unit than its own."""
        parsed = parse_emissions_name(self.emissions)
        return self.emissions if parsed and parsed[0] == unit else ""

    def of(self, key: str) -> MadeOf | None:
        """What the rows of an object, given by its key, were made with; None if the part has none."""
        return self.objects.get(object_id(key))

    def to_metadata(self) -> dict[str, str]:
        """As metadata of a Parquet file, which are not compressed. Nothing if that were too much, as it is of more than
        100,000 objects: then nothing of them can be reused."""
        fields = {"objects": {key: "".join(each) for key, each in self.objects.items()}, "emissions": self.emissions}
        stated = b64encode(zlib.compress(json.dumps(fields).encode())).decode()
        return {KEY: stated} if len(stated) <= MAX_STATED_BYTES else {}

    @classmethod
    def from_metadata(cls, metadata: Mapping[bytes, bytes] | None) -> "Made":
        """What a file's metadata state, nothing if they state nothing. Raises InvalidData."""
        if not (stated := (metadata or {}).get(KEY.encode())):
            return cls()
        try:
            unpacker = zlib.decompressobj()
            text = unpacker.decompress(b64decode(stated, validate=True), MAX_BYTES)
            if not unpacker.eof:
                raise InvalidData(f"what it was made with has more than {MAX_BYTES:,} bytes, or breaks off")
            fields = parse_object(text)
            objects, emissions = fields["objects"], fields["emissions"]
        except (ValueError, zlib.error, KeyError) as problem:
            raise InvalidData(f"it does not say what it was made with: {problem}") from None
        if not isinstance(objects, dict) or not isinstance(emissions, str):
            raise InvalidData("it does not say what it was made with")
        if emissions and not parse_emissions_name(emissions):
            raise InvalidData(f"it names {emissions[:80]!r}, which is not the name of a file of emissions")
        return cls({str(key): _parsed(each) for key, each in objects.items()}, emissions)


def object_id(key: str) -> str:
    """How an object is named in what a part was made with."""
    return digest([key])


def _parsed(digits: object) -> MadeOf:
    if not isinstance(digits, str) or not re.fullmatch("[0-9a-f]{64}", digits):
        raise InvalidData("it does not say what one of its objects was made with")
    return MadeOf(digits[:8], digits[8:16], digits[16:24], digits[24:32], digits[32:48], digits[48:])
