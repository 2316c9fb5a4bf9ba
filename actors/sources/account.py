"""Accounts for what is found in a container: nothing in it may go unnoticed."""

import json
from collections import Counter
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field

from actors.foreign.errors import InvalidData
from actors.foreign.plain_json import parse_object

MAX_REASONS = 100  # that are told apart: names come from the container, and each may have a suffix of its own
MAX_REASONS_CHARACTERS = 50_000  # of all reasons together
OTHERS = "of other unknown types"


@dataclass
class Entries:
    """The entries of containers: members of tars, rows of Parquet files. Each entry is exactly one of: read as a
    recording, which has a row at least; a companion of one; or skipped, for a reason that is counted.

    `found` is counted where entries are enumerated and the others where they are handled, so that an entry which no
    branch of a reader handles leaves the sum wrong.
    """

    found: int = 0
    recordings: int = 0
    companions: int = 0
    skipped: Counter[str] = field(default_factory=Counter)

    def __add__(self, other: "Entries") -> "Entries":
        return Entries(
            self.found + other.found,
            self.recordings + other.recordings,
            self.companions + other.companions,
            self.skipped + other.skipped,
        )

    def skip(self, reason: str, count: int = 1) -> None:
        """Counts entries that are skipped for a reason."""
        if count:
            self.skipped[reason if reason in self.skipped or len(self.skipped) < MAX_REASONS else OTHERS] += count

    @property
    def unaccounted(self) -> int:
        """How many entries were found and not handled; negative if some were handled twice. 0 if all is well."""
        return self.found - self.recordings - self.companions - self.skipped.total()

    def to_dict(self) -> dict[str, object]:
        """As in a commit and in the summary of a run; the rarest reasons together, if there are many."""
        common = dict(self.skipped.most_common(MAX_REASONS))
        if rest := self.skipped.total() - sum(common.values()):
            common[OTHERS] = common.get(OTHERS, 0) + rest
        return asdict(self) | {"skipped": common}

    def to_text(self) -> str:
        return json.dumps(self.to_dict())

    @classmethod
    def from_dict(cls, fields: Mapping[str, object]) -> "Entries":
        """Raises InvalidData if it is not what `to_dict` returns."""
        skipped = fields.get("skipped")
        counts = [each for name in ("found", "recordings", "companions") if type(each := fields.get(name)) is int]
        if len(counts) != 3 or not isinstance(skipped, dict) or any(type(each) is not int for each in skipped.values()):
            raise InvalidData("its entries are not counts")
        if min(*counts, 0, *skipped.values()) < 0 or sum(map(len, skipped)) > MAX_REASONS_CHARACTERS:
            raise InvalidData("its entries are not counts by reasons")
        return cls(counts[0], counts[1], counts[2], Counter(skipped))

    @classmethod
    def from_text(cls, text: bytes) -> "Entries":
        """Raises InvalidData if the text was not made by `to_text`."""
        return cls.from_dict(parse_object(text))
