"""Reads a plain tar in independent ranges of its bytes.

A tar has no index, but its headers begin at multiples of 512 bytes and have a magic number and a checksum, so from any
offset the next one can be found. A match may also be inside a member that is a tar itself. So each range records where
its chain of headers began and ended, and only if the chains join from end to end were all headers real.

Format: https://pubs.opengroup.org/onlinepubs/9699919799/utilities/pax.html (ustar and pax interchange format).
"""

import base64
import hashlib
import io
import json
import tarfile
from collections.abc import Generator, Iterable, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from actors.foreign.errors import InvalidData
from actors.foreign.plain_json import parse_object
from actors.sources.tar_headers import BLOCK, ENCODING, Header, open_plain_tar
from actors.sources.tar_names import MAX_SAMPLE_SOUNDS, Member, MemberName, members_of
from actors.storage.stored_file import StoredFile

_MAGIC = slice(257, 262)
_NAMES = ("sounds", "texts", "keys")  # of a chain

Hashes = NDArray[np.uint64]
Ranges = NDArray[np.intp]


@dataclass
class Chain:
    """The headers of a range: where its first sample begins, None if it has none, and where the next range's first
    sample begins; and names of its recordings and texts.

    No two ranges may have the same of `sounds`. Each of `texts` must be in the range of all `sounds` and `keys` that
    are equal to it. With `is_in_run`, the members before the range have the key of its first sample.
    """

    began: int | None = None
    ended: int | None = None  # None if the chain is broken
    sounds: list[str] = field(default_factory=list)
    texts: list[str] = field(default_factory=list)
    keys: list[str] = field(default_factory=list)
    is_in_run: bool = False

    def summary(self) -> "ChainSummary":
        return ChainSummary(self.began, self.ended, *map(_hashes, (self.sounds, self.texts, self.keys)))


def _hashes(keys: Iterable[str]) -> Hashes:
    digests = (hashlib.blake2b(key.encode("utf-8", "surrogateescape"), digest_size=8).digest() for key in keys)
    return np.frombuffer(b"".join(digests), np.uint64)


@dataclass(frozen=True)
class ChainSummary:
    """A chain as it is stored, with uint64 hashes of the keys: names come from the tar and may be many and long."""

    began: int | None = None
    ended: int | None = None
    sounds: Hashes = field(default_factory=lambda: _hashes(()))
    texts: Hashes = field(default_factory=lambda: _hashes(()))
    keys: Hashes = field(default_factory=lambda: _hashes(()))

    def to_text(self) -> str:
        keys = {name: base64.b64encode(getattr(self, name).tobytes()).decode() for name in _NAMES}
        return json.dumps({"began": self.began, "ended": self.ended} | keys)

    @classmethod
    def from_text(cls, text: bytes) -> "ChainSummary":
        """Raises InvalidData if the text was not made by `to_text`."""
        fields = parse_object(text)
        offsets = [each for name in ("began", "ended") if (each := fields.get(name)) is None or type(each) is int]
        texts = [each for name in _NAMES if isinstance(each := fields.get(name), str)]
        if len(offsets) != 2:
            raise InvalidData("a chain's began and ended are not integers")
        if len(texts) != len(_NAMES):
            raise InvalidData("a chain's keys are not text")
        try:
            keys = [np.frombuffer(base64.b64decode(each, validate=True), np.uint64) for each in texts]
        except ValueError as problem:
            raise InvalidData(f"a chain's keys are invalid: {problem}") from None
        return cls(offsets[0], offsets[1], *keys)


def range_bounds(size: int, number: int, count: int) -> tuple[int, int]:
    """The bytes of range `number` of `count` ranges of a tar: start and end."""
    return size * number // count // BLOCK * BLOCK, size * (number + 1) // count // BLOCK * BLOCK


def range_members(stored: StoredFile, number: int, count: int, chain: Chain) -> Generator[Member, None, None]:
    """The members of a range's samples; fills `chain`.

    A range ends with the sample that contains its end, or that begins exactly there; the next range begins with the
    sample after it. So every sample is in one range, and a range may have no sample. Raises as tarfile does.
    """
    first, last = range_bounds(stored.size, number, count)
    file = stored.open(prefetch=(first, last))
    start = _next_header(file, first, last) if number else 0
    if start is None:
        chain.ended = last
        return
    file.seek(start)
    if not number:
        chain.began = 0
    beginning, end = _SampleSearch(), _SampleSearch()
    with open_plain_tar(file) as archive:
        for member in members_of(archive):
            if member.reason is None:
                if chain.began is None and beginning.finds(member):
                    chain.began, chain.is_in_run = member.header.offset, beginning.is_in_run
                if member.header.offset >= last and number < count - 1 and end.finds(member):
                    chain.ended = member.header.offset
                    return
            if chain.began is not None:
                yield member
    chain.ended = stored.size


class _SampleSearch:
    """Finds the first sample after a member, by the names of the members from there on.

    A sample begins where the key changes. Where very many recordings share a key, because their names have dots, it
    begins where the stem changes. What is no part of a sample is passed over.
    """

    def __init__(self) -> None:
        self._before: MemberName | None = None
        self._sounds = 0
        self.is_in_run = False  # whether the sample that was found has the key of the one before it

    def finds(self, member: Member) -> bool:
        """Whether a member, which follows the one of the last call, begins a sample."""
        before, name = self._before, member.name
        self._before = name
        self.is_in_run = before is not None and before.key == name.key
        if not self.is_in_run:
            self._sounds = member.is_sound
            return before is not None
        is_new = self._sounds >= MAX_SAMPLE_SOUNDS and before is not None and not _are_related(before.stem, name.stem)
        self._sounds += member.is_sound
        return is_new


def _are_related(stem: str, other: str) -> bool:
    """Whether one stem is the other, or extends it by parts after dots."""
    return f"{stem}.".startswith(f"{other}.") or f"{other}.".startswith(f"{stem}.")


def _next_header(file: io.BufferedReader, first: int, last: int) -> int | None:
    """The offset of the first block in a range of bytes that is a header by its magic number and checksum."""
    file.seek(first)
    for offset in range(first, last, BLOCK):
        block = file.read(BLOCK)
        if block[_MAGIC] == b"ustar":
            try:
                Header.frombuf(block, ENCODING, "surrogateescape")
            except tarfile.TarError:
                continue
            return offset
    return None


def are_complete(chains: Sequence[ChainSummary], size: int) -> bool:
    """Whether the chains, in order, cover a whole tar, and no sample has members in two ranges."""
    at = 0
    for number, chain in enumerate(chains):
        if chain.ended is None:
            return False
        if chain.began is None:
            if at < range_bounds(size, number, len(chains))[1]:
                return False
            continue
        if chain.began != at:
            return False
        at = chain.ended
    return at == size and not _splits_sample(chains)


def _splits_sample(chains: Sequence[ChainSummary]) -> bool:
    """Whether two ranges have one of `sounds`, or a text is in another range than a recording that it may belong to."""
    sounds, sound_ranges = _with_ranges([chain.sounds for chain in chains])
    keys, key_ranges = _with_ranges([chain.keys for chain in chains])
    texts, text_ranges = _with_ranges([chain.texts for chain in chains])
    _, firsts, lasts = _spans(sounds, sound_ranges)
    if np.any(firsts != lasts):
        return True
    names, firsts, lasts = _spans(np.concatenate([sounds, keys]), np.concatenate([sound_ranges, key_ranges]))
    if not len(names):
        return False
    found = np.minimum(np.searchsorted(names, texts), len(names) - 1)
    is_elsewhere = (firsts[found] != text_ranges) | (lasts[found] != text_ranges)
    return bool(np.any((names[found] == texts) & is_elsewhere))


def _spans(hashes: Hashes, ranges: Ranges) -> tuple[Hashes, Ranges, Ranges]:
    """Each hash once, in order, with the first and the last range that have it."""
    order = np.lexsort((ranges, hashes))
    names, at, counts = np.unique(hashes[order], return_index=True, return_counts=True)
    return names, ranges[order][at], ranges[order][at + counts - 1]


def _with_ranges(hashes: Sequence[Hashes]) -> tuple[Hashes, Ranges]:
    """The hashes of all ranges, and the range of each."""
    return np.concatenate(hashes), np.repeat(np.arange(len(hashes)), [len(each) for each in hashes])
