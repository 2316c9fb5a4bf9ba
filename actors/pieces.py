"""Cuts units into pieces: a unit that is too large for one block of the graph travels in several."""

import json
import re
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

from actors.foreign.errors import InvalidData
from actors.foreign.plain_json import parse_object
from actors.units import FINGERPRINT, HEX, Carried, Fingerprint, Selection, SourceObject, Unit, Version, nominal_seconds

MAX_PIECES = 20_000  # of a unit, about

_CUT = re.compile(r"([1-9]\d{0,8})\.([1-9]\d{0,8})\.(\d{1,12}\.\d{1,20})s(-streamed)?", re.ASCII)


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
        return f"{self.shares}.{self.stretches}.{float(self.seconds)!r}s" + "-streamed" * self.is_streamed

    @classmethod
    def parse(cls, text: str) -> "Cut | None":
        """The cut that a text states; None for any other text."""
        match = _CUT.fullmatch(text)
        return cls(float(match[3]), int(match[1]), int(match[2]), bool(match[4])) if match else None

    def merged(self, other: "Cut") -> "Cut":
        """The finer of two cuts, in every respect."""
        return replace(
            self,
            seconds=min(self.seconds, other.seconds),
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
    hearing: str = ""  # of its unit, of which pieces of another one are no siblings

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
        return self.sibling(self.number)

    def sibling(self, number: int) -> str:
        """The name of another piece of its unit."""
        return f"{number}-of-{self.count}.{self.cut}"

    def as_kept(self) -> "Piece":
        """The piece as it is kept with what was heard of it: without the manifest lines of its objects, which may be
        megabytes and are only needed to read, and with what of its fingerprint concerns hearing."""
        objects = tuple(replace(each, lines=None) for each in self.objects)
        return replace(self, objects=objects, fingerprint=Fingerprint.of_hearing(self.fingerprint))

    def to_json(self) -> str:
        return json.dumps(asdict(self))

    @classmethod
    def from_json(cls, text: str | bytes) -> "Piece":
        """Raises InvalidData if the text is not that of a piece, or its ids are not hexadecimal."""
        fields = dict[str, Any](parse_object(text))
        try:
            objects = tuple(SourceObject.from_dict(each) for each in fields["objects"])
            carried = tuple(map(_carried, fields["carried"]))
            piece = cls(**{**fields, "cut": Cut(**fields["cut"]), "objects": objects, "carried": carried})
        except (TypeError, KeyError, AttributeError, IndexError, ValueError) as problem:
            raise InvalidData(f"it is not a piece: {problem}") from None
        for pattern, name in ((HEX, "unit"), (FINGERPRINT, "fingerprint"), (f"(?:{FINGERPRINT})?", "hearing")):
            if not re.fullmatch(pattern, str(getattr(piece, name))):
                raise InvalidData(f"{str(getattr(piece, name))[:80]!r} is not a unit's {name}")
        numbers = (piece.number, piece.count, piece.range, piece.ranges, piece.stretch, piece.stretches)
        texts = [text for each in objects for text in (each.key, each.uri, each.name, each.format)]
        texts += [text for each in carried for text in (each.key, *each.version, each.uri)]
        if not all(type(each) is int for each in (*numbers, *(each.size for each in objects))):
            raise InvalidData("it is not a piece: its numbers are not all integers")
        if not all(type(text) is str for text in texts):
            raise InvalidData("it is not a piece: its objects have names that are not text")
        return piece


def _carried(fields: Sequence[Any]) -> Carried:
    key, version, uri, selection, source, is_left = fields
    listed = SourceObject.from_dict(source) if source else None
    return Carried(key, Version(*version), uri, Selection(*selection), listed, bool(is_left))


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
    count, hearing = len(pieces), unit.hearing
    return [
        replace(each, number=number, count=count, hearing=hearing, carried=() if number else unit.carried)
        for number, each in enumerate(pieces)
    ]


def _lengths(objects: Sequence[SourceObject]) -> list[float]:
    """The nominal seconds of objects; the mean of the others where the size is unknown, as it may be over HTTP, and at
    least a tenth of the mean: whatever sizes say, enough shares must divide every object."""
    lengths = [nominal_seconds(each) for each in objects]
    known = [each for each in lengths if each]
    mean = sum(known) / len(known) if known else 1.0
    return [max(each or mean, mean / 10) for each in lengths]


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
