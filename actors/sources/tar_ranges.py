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
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from actors.foreign.errors import InvalidData
from actors.foreign.plain_json import parse_object
from actors.sources.tar_headers import Header, members, split_key
from actors.storage.stored_file import StoredFile

BLOCK = 512
_MAGIC = slice(257, 262)

Hashes = NDArray[np.uint64]


@dataclass
class Chain:
    """The headers of a range: where its first sample begins, None if it has none, and where the next range's first
    sample begins; and the keys of its sounds and of its texts."""

    began: int | None = None
    ended: int | None = None  # None if the chain is broken
    sounds: list[str] = field(default_factory=list)
    texts: list[str] = field(default_factory=list)

    def summary(self) -> "ChainSummary":
        return ChainSummary(self.began, self.ended, _hashes(self.sounds), _hashes(self.texts))


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

    def to_text(self) -> str:
        keys = {name: base64.b64encode(getattr(self, name).tobytes()).decode() for name in ("sounds", "texts")}
        return json.dumps({"began": self.began, "ended": self.ended} | keys)

    @classmethod
    def from_text(cls, text: bytes) -> "ChainSummary":
        """Raises InvalidData if the text was not made by `to_text`."""
        fields = parse_object(text)
        offsets = [each for name in ("began", "ended") if (each := fields.get(name)) is None or type(each) is int]
        texts = [each for name in ("sounds", "texts") if isinstance(each := fields.get(name), str)]
        if len(offsets) != 2:
            raise InvalidData("a chain's began and ended are not integers")
        if len(texts) != 2:
            raise InvalidData("a chain's keys are not text")
        try:
            keys = [np.frombuffer(base64.b64decode(each, validate=True), np.uint64) for each in texts]
        except ValueError as problem:
            raise InvalidData(f"a chain's keys are invalid: {problem}") from None
        return cls(offsets[0], offsets[1], *keys)


def range_bounds(size: int, number: int, count: int) -> tuple[int, int]:
    """The bytes of range `number` of `count` ranges of a tar: start and end."""
    return size * number // count // BLOCK * BLOCK, size * (number + 1) // count // BLOCK * BLOCK


def range_members(
    stored: StoredFile, number: int, count: int, chain: Chain
) -> Iterator[tuple[tarfile.TarFile, tarfile.TarInfo]]:
    """The members of a range's samples, each with its archive; fills `chain`.

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
    key, is_past = None, False
    with tarfile.TarFile(fileobj=file, mode="r", tarinfo=Header) as archive:
        for member in members(archive):
            before, key = key, split_key(member.name)[0]
            if key != before:
                if chain.began is None and before is not None:
                    chain.began = member.offset
                if is_past:
                    chain.ended = member.offset
                    return
            if chain.began is not None:
                yield archive, member
            is_past = is_past or (member.offset >= last and number < count - 1)
    chain.ended = stored.size


def _next_header(file: io.BufferedReader, first: int, last: int) -> int | None:
    """The offset of the first block in a range of bytes that is a header by its magic number and checksum."""
    file.seek(first)
    for offset in range(first, last, BLOCK):
        block = file.read(BLOCK)
        if block[_MAGIC] == b"ustar":
            try:
                Header.frombuf(block, tarfile.ENCODING, "surrogateescape")
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
    """Whether any text is in another range than the last one with its sound."""
    sounds, sound_ranges = _with_ranges([chain.sounds for chain in chains])
    texts, text_ranges = _with_ranges([chain.texts for chain in chains])
    keys, last = np.unique(sounds[::-1], return_index=True)
    if not len(keys):
        return False
    sound_range = sound_ranges[::-1][last]
    found = np.minimum(np.searchsorted(keys, texts), len(keys) - 1)
    return bool(np.any((keys[found] == texts) & (sound_range[found] != text_ranges)))


def _with_ranges(hashes: Sequence[Hashes]) -> tuple[Hashes, NDArray[np.intp]]:
    """The hashes of all ranges, and the range of each."""
    return np.concatenate(hashes), np.repeat(np.arange(len(hashes)), [len(each) for each in hashes])
