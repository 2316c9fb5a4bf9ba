"""Accounts for what is found in a container: nothing in it may go unnoticed."""

from collections import Counter
from dataclasses import dataclass, field

MAX_REASONS = 100  # that are told apart: names come from the container, and each may have a suffix of its own
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
