"""A plain tar read by ranges of its bytes, each on its own.

A tar has no index, but its headers begin at multiples of 512 bytes and carry a magic word and a checksum, so from any
place the next one can be found. What looks like a header may lie inside a member that is a tar itself. So each range
tells where its chain of headers began and ended, and only where these meet from end to end were all true.

Format: https://pubs.opengroup.org/onlinepubs/9699919799/utilities/pax.html (ustar and pax interchange format).
"""

import base64
import hashlib
import io
import json
import tarfile
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from actors.foreign.errors import InvalidData
from actors.foreign.plain_json import parse_object
from actors.sources.tar_headers import Header, members, split_key
from actors.storage.files import StoredFile

BLOCK = 512
_MAGIC = slice(257, 262)


@dataclass
class Chain:
    """The headers of a range: where its first sample begins, None where there is none, and where the next range's does;
    and whose sound and whose texts it holds, by key."""

    began: int | None = None
    ended: int | None = None  # None where the chain broke off
    sounds: list[str] = field(default_factory=list)
    texts: list[str] = field(default_factory=list)

    def told(self) -> "Told":
        return Told(self.began, self.ended, _hashes(self.sounds), _hashes(self.texts))


def _hashes(keys: Iterable[str]) -> Any:
    digests = (hashlib.blake2b(key.encode("utf-8", "surrogateescape"), digest_size=8).digest() for key in keys)
    return np.frombuffer(b"".join(digests), np.uint64)


@dataclass(frozen=True)
class Told:
    """A chain as it is kept: of the keys, uint64 hashes, for names come from the tar and may be many and long."""

    began: int | None = None
    ended: int | None = None
    sounds: Any = field(default_factory=lambda: _hashes(()))
    texts: Any = field(default_factory=lambda: _hashes(()))

    def to_text(self) -> str:
        keys = {name: base64.b64encode(getattr(self, name).tobytes()).decode() for name in ("sounds", "texts")}
        return json.dumps({"began": self.began, "ended": self.ended} | keys)

    @classmethod
    def from_text(cls, text: bytes) -> "Told":
        """Raises InvalidData where the text is not one of `to_text`."""
        fields = parse_object(text)
        places = [fields.get(name) for name in ("began", "ended")]
        if not all(each is None or type(each) is int for each in places):
            raise InvalidData("a chain begins and ends at numbers")
        try:
            keys = [base64.b64decode(fields[name], validate=True) for name in ("sounds", "texts")]
            return cls(*places, *(np.frombuffer(each, np.uint64) for each in keys))
        except (KeyError, TypeError, ValueError) as problem:
            raise InvalidData(f"no keys of a chain: {problem}") from None


def bounds(size: int, number: int, count: int) -> tuple[int, int]:
    """The bytes of one of several ranges of a tar."""
    return size * number // count // BLOCK * BLOCK, size * (number + 1) // count // BLOCK * BLOCK


def members_of(
    stored: StoredFile, number: int, count: int, chain: Chain
) -> Iterator[tuple[tarfile.TarFile, tarfile.TarInfo]]:
    """The members of a range's samples, each with its archive; `chain` is filled on the way.

    A range ends with the sample that its end falls into, or that begins right there; the next begins with the one
    after. So every sample is of one range, and a range without one of its own is possible. Raises as tarfile does.
    """
    first, last = bounds(stored.size, number, count)
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
    """Where the first header in a range of bytes is, that is one by magic word and checksum."""
    file.seek(first)
    for place in range(first, last, BLOCK):
        block = file.read(BLOCK)
        if block[_MAGIC] == b"ustar":
            try:
                Header.frombuf(block, tarfile.ENCODING, "surrogateescape")
            except tarfile.TarError:
                continue
            return place
    return None


def are_whole(chains: Sequence[Told], size: int) -> bool:
    """Whether ranges, in order, are all of a tar, and no sample has members in two of them."""
    at = 0
    for number, chain in enumerate(chains):
        if chain.ended is None:
            return False
        if chain.began is None:
            if at < bounds(size, number, len(chains))[1]:
                return False
            continue
        if chain.began != at:
            return False
        at = chain.ended
    return at == size and not _crosses(chains)


def _crosses(chains: Sequence[Told]) -> bool:
    """Whether a text is in another range than the last one that holds its sound."""
    sounds, sound_ranges = _with_ranges([chain.sounds for chain in chains])
    texts, text_ranges = _with_ranges([chain.texts for chain in chains])
    keys, last = np.unique(sounds[::-1], return_index=True)
    if not len(keys):
        return False
    home = sound_ranges[::-1][last]
    found = np.minimum(np.searchsorted(keys, texts), len(keys) - 1)
    return bool(np.any((keys[found] == texts) & (home[found] != text_ranges)))


def _with_ranges(hashes: Sequence[Any]) -> tuple[Any, Any]:
    """Hashes of all ranges, and the range of each."""
    return np.concatenate(hashes), np.repeat(np.arange(len(hashes)), [len(each) for each in hashes])
