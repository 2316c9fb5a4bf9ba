"""Mutants of good recordings: each is known by one number, and the same in every process."""

import random
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from audio_files import id3, ogg_pages, with_checksums
from audio_seeds import Seed

EXTREMES = (0, 1, 2, 0x7F, 0x80, 0xFF, 0x7FFF, 0x8000, 0xFFFF, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF, 1 << 40, 1 << 63)
SECTOR = 512  # bytes; what disks and cards lose at once
_NAMES = re.compile(rb"[A-Za-z][A-Za-z0-9 _-]{3}")  # of chunks, boxes, frames of a tag


@dataclass(frozen=True)
class Mutant:
    """A damaged recording, the seed that it was made of, and what was done to it."""

    number: int
    seed: str
    changes: tuple[str, ...]
    content: bytes

    def __str__(self) -> str:
        return f"{self.number} ({self.seed}: {'; '.join(self.changes) or 'unchanged'})"


class _Draft:
    """A mutant in the making."""

    def __init__(self, draw: random.Random, seed: Seed, seeds: Sequence[Seed]) -> None:
        self.draw, self.seeds, self.data = draw, seeds, bytearray(seed.content)
        self.changes = list[str]()

    def place(self) -> int:
        """Anywhere; as often as not near an end, where headers and indexes are."""
        last = max(len(self.data) - 1, 0)
        near = self.draw.random()
        if near < 0.35:
            return self.draw.randint(0, min(last, 600))
        if near < 0.5:
            return self.draw.randint(max(last - 2_000, 0), last)
        return self.draw.randint(0, last)

    def length(self, most: int = 200_000) -> int:
        """Short ones as often as long ones."""
        return min(round(2 ** self.draw.uniform(0, 17)), most, max(len(self.data) // 2, 1))

    def other(self) -> Seed:
        return self.draw.choice(self.seeds)

    def say(self, change: str) -> None:
        self.changes.append(change)


def _bits(draft: _Draft) -> None:
    places = [draft.place() for _ in range(draft.draw.choice((1, 1, 2, 8, 64)))]
    for place in places:
        draft.data[place] ^= 1 << draft.draw.randrange(8)
    draft.say(f"bits at {', '.join(map(str, places[:4]))}{' and more' * (len(places) > 4)}")


def _noise(draft: _Draft) -> None:
    at, size = draft.place(), draft.length(20_000)
    draft.data[at : at + size] = draft.draw.randbytes(len(draft.data[at : at + size]))
    draft.say(f"{size} random bytes at {at}")


def _cut_end(draft: _Draft) -> None:
    at = draft.place()
    del draft.data[at:]
    draft.say(f"cut at {at}")


def _cut_front(draft: _Draft) -> None:
    size = draft.length()
    del draft.data[:size]
    draft.say(f"without the first {size}")


def _remove(draft: _Draft) -> None:
    at, size = draft.place(), draft.length()
    del draft.data[at : at + size]
    draft.say(f"without {size} at {at}")


def _repeat(draft: _Draft) -> None:
    at, size = draft.place(), draft.length()
    draft.data[at:at] = draft.data[at : at + size]
    draft.say(f"{size} at {at} twice")


def _junk(draft: _Draft) -> None:
    at, size = draft.place(), draft.length(20_000)
    draft.data[at:at] = draft.draw.randbytes(size)
    draft.say(f"{size} random bytes inserted at {at}")


def _zeros(draft: _Draft) -> None:
    at = draft.place() // SECTOR * SECTOR
    size = SECTOR * draft.draw.choice((1, 1, 2, 8, 64))
    draft.data[at : at + size] = bytes(len(draft.data[at : at + size]))
    draft.say(f"{size} zeros at {at}")


def _swap(draft: _Draft) -> None:
    size = draft.draw.choice((1, 4, SECTOR, 4_096, 20_000))
    one, two = sorted((draft.place(), draft.place()))
    if one + size <= two and two + size <= len(draft.data):
        data = draft.data
        data[one : one + size], data[two : two + size] = data[two : two + size], data[one : one + size]
        draft.say(f"{size} at {one} and {two} swapped")


def _splice(draft: _Draft) -> None:
    """The beginning of one file and the end of another."""
    other, at = draft.other(), draft.place()
    from_there = draft.draw.randrange(len(other.content))
    draft.data[at:] = other.content[from_there:]
    draft.say(f"from {at} on {other.name} from {from_there} on")


def _join(draft: _Draft) -> None:
    other = draft.other()
    draft.data += other.content
    draft.say(f"{other.name} appended")


def _tag(draft: _Draft) -> None:
    at, size = draft.place(), draft.draw.choice((128, 1_000, 20_000))
    draft.data[at:at] = id3(size)
    draft.say(f"an ID3 tag of {size} at {at}")


def _field(draft: _Draft) -> None:
    """A number of a header, which often follows a name, is an extreme one."""
    size, order = draft.draw.choice((1, 2, 4, 4, 8)), draft.draw.choice(("big", "little"))
    at = draft.draw.randrange(min(len(draft.data), 400))
    if draft.draw.random() < 0.5:
        start = draft.place()
        name = _NAMES.search(draft.data, start, start + 4_000) or _NAMES.search(draft.data, 0, 4_000)
        if name:
            at = max(name.start() + draft.draw.choice((-4, 4, 8, 12, 16, 20, 24)), 0)
    value = draft.draw.choice(EXTREMES) + draft.draw.choice((0, 0, 0, -1, 1))
    draft.data[at : at + size] = (value % (1 << 8 * size)).to_bytes(size, order)
    draft.say(f"{size} bytes at {at} = {value:#x} ({order} end first)")


_CHANGES: list[Callable[[_Draft], None]] = [_bits, _bits, _field, _field, _field, _noise, _cut_end, _cut_front, _remove]
_CHANGES += [_repeat, _junk, _zeros, _swap, _splice, _join, _tag]


def mutant(number: int, seeds: Sequence[Seed]) -> Mutant:
    """The mutant of a number; every tenth round over the seeds leaves them unchanged."""
    seed = seeds[number % len(seeds)]
    draft = _Draft(random.Random(number), seed, seeds)
    if number // len(seeds) % 10:
        for _ in range(draft.draw.choice((1, 1, 1, 2, 3, 6))):
            if draft.data:
                draft.draw.choice(_CHANGES)(draft)
        if ogg_pages(draft.data[:100_000]) and draft.draw.random() < 0.5:
            draft.data = bytearray(
                with_checksums(draft.data)
            )  # else a decoder sees none of the damage, but a page less
            draft.say("checksums renewed")
    return Mutant(number, seed.name, tuple(draft.changes), bytes(draft.data))
