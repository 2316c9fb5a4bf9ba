"""A plain tar read by ranges of its bytes, each on its own.

A tar has no index, but its headers begin at multiples of 512 bytes and carry a magic word and a checksum, so from any
place the next one can be found. What looks like a header may lie inside a member that is a tar itself. So each range
tells where its chain of headers began and ended, and only where these meet from end to end were all true.

Format: https://pubs.opengroup.org/onlinepubs/9699919799/utilities/pax.html (ustar and pax interchange format).
"""

import io
import tarfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from actors.storage import Stored
from actors.tar_headers import Header, members, split_key

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


def bounds(size: int, number: int, count: int) -> tuple[int, int]:
    """The bytes of one of several ranges of a tar."""
    return size * number // count // BLOCK * BLOCK, size * (number + 1) // count // BLOCK * BLOCK


def members_of(
    stored: Stored, number: int, count: int, chain: Chain
) -> Iterator[tuple[tarfile.TarFile, tarfile.TarInfo]]:
    """The members of a range's samples, each with its archive; `chain` is filled on the way.

    A range ends with the sample that its end falls into, or that begins right there; the next begins with the one
    after. So every sample is of one range, and a range without one of its own is possible. Raises as tarfile does.
    """
    first, last = bounds(stored.size, number, count)
    file = stored.open(at_once=(first, last))
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


def are_whole(chains: Sequence[Chain], size: int) -> bool:
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
    home = {key: number for number, chain in enumerate(chains) for key in chain.sounds}
    crosses = any(home.get(key, number) != number for number, chain in enumerate(chains) for key in chain.texts)
    return at == size and not crosses
