"""Compares two outputs of the same audio, recording by recording."""

import hashlib
from array import array
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from jobs.transcripts.scores import Compared
from jobs.transcripts.scoring import difference


class ErrorsByKey:
    """The errors and the length of each recording of an output, 24 bytes each."""

    def __init__(self) -> None:
        self._keys, self._references = array("Q"), array("Q")  # hashes of 64 bits: two of 10 M alike in 1 of 400,000
        self._errors, self._lengths = array("I"), array("I")

    def add(self, recording: Compared) -> None:
        self._keys.append(_hash(repr(recording.key)))
        self._references.append(_hash(recording.reference))
        self._errors.append(recording.characters.errors)
        self._lengths.append(recording.characters.tokens)

    @property
    def arrays(self) -> tuple[NDArray[np.uint64], NDArray[np.uint64], NDArray[np.int64], NDArray[np.int64]]:
        """Hashes of keys and of references, errors, and lengths."""
        keys, references = (np.array(each, np.uint64) for each in (self._keys, self._references))
        errors, lengths = (np.array(each, np.int64) for each in (self._errors, self._lengths))
        return keys, references, errors, lengths


def _hash(text: str) -> int:
    return int.from_bytes(hashlib.blake2b(text.encode("utf-8", "surrogatepass"), digest_size=8).digest(), "little")


@dataclass(frozen=True)
class Paired:
    """Two outputs on the recordings that both have with the same reference: character error rates here and there, their
    difference (below 0 if it is lower here), its 95 % interval if it has one, and how likely one as large is by chance
    (`p_value`).

    `better` and `worse` count recordings with fewer and with more errors here. Recordings `only_here` and `only_there`,
    and those with `other_references`, are left out.
    """

    recordings: int
    cer_here: float
    cer_there: float
    difference: float
    interval: tuple[float, float] | None
    p_value: float
    better: int
    worse: int
    equal: int
    only_here: int
    only_there: int
    other_references: int


def pair(here: ErrorsByKey, there: ErrorsByKey, samples: int) -> Paired | None:
    """Compares two outputs; None if they have no recording in common with the same reference."""
    (keys, references, errors, lengths), (other_keys, other_references, other_errors, _) = here.arrays, there.arrays
    _, own, other = np.intersect1d(keys, other_keys, return_indices=True)
    are_same = references[own] == other_references[other]
    common = len(own)
    own, other = own[are_same], other[are_same]
    if not len(own):
        return None
    mine, theirs, tokens = errors[own], other_errors[other], lengths[own]
    total = max(int(tokens.sum()), 1)
    tested = difference(mine, theirs, tokens, samples)
    return Paired(
        recordings=len(own),
        cer_here=round(int(mine.sum()) / total, 6),
        cer_there=round(int(theirs.sum()) / total, 6),
        difference=round(int((mine - theirs).sum()) / total, 6),
        interval=tested.interval and (round(tested.interval[0], 6), round(tested.interval[1], 6)),
        p_value=round(tested.p_value, 6),
        better=int((mine < theirs).sum()),
        worse=int((mine > theirs).sum()),
        equal=int((mine == theirs).sum()),
        only_here=len(keys) - common,
        only_there=len(other_keys) - common,
        other_references=common - len(own),
    )
