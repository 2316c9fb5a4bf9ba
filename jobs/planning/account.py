"""Accounts for the files of an input: none that is listed may go unnoticed."""

from collections import Counter
from dataclasses import dataclass, field
from typing import TypedDict

from actors.foreign.escape import escape_surrogates
from actors.schema import UsageError

# Why a file is skipped. docs/inputs.md says what each means.
UNKNOWN_TYPE = "unknown type"  # followed by the suffix
HIDDEN = "hidden"
APPLE_DOUBLE = "AppleDouble"
EXCLUDED = "excluded"
BELOW_OUTPUT = "below the output"
OVER_LIMIT = "over input.limit"
NOT_SAMPLED = "not in input.sample"
CIRCLE = "link in a circle"
DANGLING = "dangling link"
SPECIAL = "special file"
SECOND_COMPANION = "second companion"
COMPANION_UNUSED = "companion beside a manifest"
ALIGNED = "made by jobs.align"
UNUSED_TABLE = "Kaldi table without use"


class Unaccounted(UsageError):
    """The sum of an account is wrong: a fault of the job, not of its input."""


class FileCounts(TypedDict):
    """What became of the files of an input. `skipped` counts by reason, the most frequent first."""

    listed: int
    read: int
    companions: int
    spoken_of: int
    skipped: dict[str, int]


@dataclass
class Files:
    """The files of an input. Each is exactly one of: read, as an object or as a list, so that it has a row or its lines
    have; a companion that is used; spoken of by a manifest, and read through its lines; or skipped, for a reason that
    is counted.

    `listed` is counted where files are enumerated and the others where they are handled, so that a file which no branch
    handles leaves the sum wrong.
    """

    listed: int = 0
    read: int = 0
    companions: int = 0
    spoken_of: int = 0
    skipped: Counter[str] = field(default_factory=Counter)

    def check(self) -> None:
        """Raises Unaccounted unless every file that was listed is accounted for, once."""
        handled = self.read + self.companions + self.spoken_of + self.skipped.total()
        if handled != self.listed:
            raise Unaccounted(
                f"internal: {self.listed:,} files were listed and {handled:,} are accounted for"
                f" ({abs(self.listed - handled):,} {'lost' if handled < self.listed else 'counted twice'}): {self};"
                " nothing was transcribed; please report this"
            )

    def counts(self) -> FileCounts:
        """The account as part of a summary."""
        skipped = {escape_surrogates(reason): count for reason, count in self.skipped.most_common()}
        return FileCounts(
            listed=self.listed,
            read=self.read,
            companions=self.companions,
            spoken_of=self.spoken_of,
            skipped=skipped,
        )

    def __str__(self) -> str:
        parts = [f"{self.read} read"]
        parts += [f"{self.companions} companion{'s' * (self.companions != 1)}"] if self.companions else []
        parts += [f"{self.spoken_of} spoken of by manifests"] if self.spoken_of else []
        parts += [f"{self.skipped.total()} skipped ({listed_reasons(self.skipped)})"] if self.skipped else []
        return f"{self.listed} file{'s' * (self.listed != 1)}: {', '.join(parts)}"


def listed_reasons(skipped: Counter[str]) -> str:
    """The reasons with their counts, the most frequent first."""
    return ", ".join(f"{count} {reason}" for reason, count in skipped.most_common())
