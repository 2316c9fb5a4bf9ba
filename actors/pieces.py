"""Cuts units into pieces: a unit that is too large for one block of the graph travels in several."""

import json
import re
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

from actors.foreign.errors import InvalidData
from actors.foreign.plain_json import parse_object
from actors.units import FINGERPRINT, HEX, Carried, SourceObject, Unit, nominal_seconds

_CUT = re.compile(r"(\d{1,9})\.(\d{1,9})\.(\d{1,9}(?:\.\d{1,9})?(?:e[+-]?\d{1,2})?)s(-streamed)?", re.ASCII)


@dataclass(frozen=True)
class Cut:
    """How a unit is cut into pieces.

    Its objects are laid end to end, by their nominal seconds, and that line is divided into about `shares` equal ones:
    between objects, or within one that is longer than a share. In each of them the recordings are cut into `stretches`
    of about `seconds`, the last one up to the recording's end. If `is_streamed`, a tar is read from its start.
    """

    seconds: float
    shares: int = 1
    stretches: int = 1
    is_streamed: bool = False

    def __str__(self) -> str:
        """The cut as it appears in file names."""
        return f"{self.shares}.{self.stretches}.{self.seconds:g}s" + "-streamed" * self.is_streamed

    @classmethod
    def parse(cls, text: str) -> "Cut | None":
        """The cut that a text states; None for any other text."""
        match = _CUT.fullmatch(text)
        return cls(float(match[3]), int(match[1]), int(match[2]), bool(match[4])) if match else None

    def merged(self, other: "Cut") -> "Cut":
        """The finer of two cuts, in every respect."""
        return replace(
            self,
            shares=max(self.shares, other.shares),
            stretches=max(self.stretches, other.stretches),
            is_streamed=self.is_streamed or other.is_streamed,
        )


class NeedsRecut(Exception):
    """A unit has to be cut differently, which only shows when a piece is read or committed."""

    def __init__(self, cut: Cut) -> None:
        super().__init__(cut)
        self.cut = cut


@dataclass(frozen=True)
class Piece:
    """The content of one block: a unit, or a share of one.

    It holds the objects that it reads and not its whole unit, so a plan grows with its objects alone. Of a tar or a
    Parquet file it reads `range` of `ranges`, and of each recording `stretch` of `stretches`. It is `number` of the
    `count` pieces of its unit; the first of them has what the unit carries over.
    """

    unit: str
    fingerprint: str
    cut: Cut
    objects: tuple[SourceObject, ...]
    carried: tuple[Carried, ...] = ()
    number: int = 0
    count: int = 1
    range: int = 0
    ranges: int = 1
    stretch: int = 0
    stretches: int = 1

    @property
    def is_whole(self) -> bool:
        """Whether it is its unit's only piece."""
        return self.count == 1

    @property
    def has_whole_objects(self) -> bool:
        """Whether no other piece reads its objects."""
        return self.ranges == self.stretches == 1

    @property
    def name(self) -> str:
        """The name of the file that keeps its rows."""
        return self._name_of(self.number)

    def names(self) -> list[str]:
        """The names of all pieces of its unit, in order."""
        return [self._name_of(number) for number in range(self.count)]

    def _name_of(self, number: int) -> str:
        return f"{number}-of-{self.count}.{self.cut}"

    def without_lines(self) -> "Piece":
        """The piece without the manifest lines of its objects, which may be megabytes and are only needed to read."""
        return replace(self, objects=tuple(replace(each, lines=None) for each in self.objects))

    def to_json(self) -> str:
        return json.dumps(asdict(self))

    @classmethod
    def from_json(cls, text: str | bytes) -> "Piece":
        """Raises InvalidData if the text is not that of a piece, or its ids are not hexadecimal."""
        fields = dict[str, Any](parse_object(text))
        try:
            for pattern, name in ((HEX, "unit"), (FINGERPRINT, "fingerprint")):
                if not re.fullmatch(pattern, fields[name]):
                    raise InvalidData(f"{fields[name][:80]!r} is not a unit's {name}")
            objects = tuple(SourceObject.from_dict(each) for each in fields["objects"])
            carried = tuple(Carried(*each) for each in fields["carried"])
            return cls(**{**fields, "cut": Cut(**fields["cut"]), "objects": objects, "carried": carried})
        except (TypeError, KeyError) as problem:
            raise InvalidData(f"it is not a piece: {problem}") from None


def cut_unit(unit: Unit, cut: Cut) -> list[Piece]:
    """The pieces of a unit, in order."""
    if not unit.objects or cut.shares == cut.stretches == 1:
        return [Piece(unit.id, unit.fingerprint, cut, unit.objects, unit.carried)]
    lengths, are_alone = _lengths(unit.objects), cut.shares >= len(unit.objects)
    share_length, begin = sum(lengths) / cut.shares, 0.0
    groups, at = list[tuple[list[SourceObject], int]](), -1
    for source, length in zip(unit.objects, lengths, strict=True):
        shares = max(round(length / share_length), 1)
        before, at = at, int((begin + length / 2) / share_length)
        if shares == 1 and groups and groups[-1][1] == 1 and at == before and not are_alone:
            groups[-1][0].append(source)
        else:
            groups.append(([source], shares))
        begin += length
    pieces = [piece for objects, shares in groups for piece in _pieces_of_group(unit, cut, tuple(objects), shares)]
    return [
        replace(each, number=number, count=len(pieces), carried=() if number else unit.carried)
        for number, each in enumerate(pieces)
    ]


def _lengths(objects: Sequence[SourceObject]) -> list[float]:
    """The nominal seconds of objects, each at least a tenth of their mean: sizes may be wrong, or unknown over HTTP,
    and whatever they are, enough shares must divide every object."""
    lengths = [nominal_seconds(each) for each in objects]
    least = sum(lengths) / len(lengths) / 10 or 1.0
    return [max(each, least) for each in lengths]


def _pieces_of_group(unit: Unit, cut: Cut, objects: tuple[SourceObject, ...], shares: int) -> list[Piece]:
    """The pieces of adjacent objects, or those of one that is cut into shares: a container by its bytes or rows, a
    recording by its time."""
    has_ranges = any(each.is_container for each in objects)
    ranges, stretches = (shares, cut.stretches) if has_ranges else (1, shares * cut.stretches)
    return [
        Piece(unit.id, unit.fingerprint, cut, objects, (), 0, 1, number, ranges, stretch, stretches)
        for number in range(ranges)
        for stretch in range(stretches)
    ]
