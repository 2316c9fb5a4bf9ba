"""Estimates the seconds of audio in objects from their sizes, calibrated by the headers of a sample of them."""

from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache

from actors.units import SourceObject, known_seconds, nominal_seconds, seconds_per_byte
from jobs.planning.sample import candidates, group_of, known_suffix, measure, spread

MAX_OPENED = 200  # objects of which the header is read
MAX_CONTAINERS = 20  # of these; megabytes are read of each
MAX_FACTOR = 64.0  # on the nominal seconds, and its inverse the least; 8 channels of 96 kHz and 16 bit have 1/48
LIMITED_SECONDS = 60.0  # at most of a recording, where only so many of a container are read: most hold utterances
AGREEMENT = 1.25  # a folder whose factor differs by less from that of the folder above has that one
MAX_REMEMBERED = 10_000  # folders whose factors are looked up once; objects come in order, so a few would do


@dataclass(frozen=True, slots=True)
class Estimates:
    """Calibrated estimates of audio: factors on the nominal seconds, by folder and suffix, as of `sample.group_of`.

    An object has the factor of its folder, else of the nearest folder above it that has one, else that of all folders,
    which is "", else 1.
    """

    factors: Mapping[tuple[str, str], float] = field(default_factory=dict)
    _rate: Callable[[str, str], float] = field(init=False, repr=False, compare=False)  # remembers
    _folders_differ: bool = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "_rate", lru_cache(MAX_REMEMBERED)(self._rate_in))
        object.__setattr__(self, "_folders_differ", any(folder for folder, _ in self.factors))

    def seconds(self, source: SourceObject) -> float:
        """An object's seconds of audio: those that are known, as of `known_seconds`, else the nominal ones times the
        factor."""
        if (source.refusal or source.format == "manifest") and (known := known_seconds(source)) is not None:
            return known
        uri = source.uri
        folder = uri.rpartition("/")[0] if self._folders_differ else ""
        seconds = source.size * self._rate(folder, uri.rpartition(".")[2])
        return seconds if source.limit is None else min(seconds, source.limit * LIMITED_SECONDS)

    def _rate_in(self, folder: str, suffix: str) -> float:
        """The seconds per byte of a folder's objects with a suffix, as it is spelled."""
        groups = _groups_above(folder, known_suffix(suffix))
        return seconds_per_byte(suffix) * next((self.factors[each] for each in groups if each in self.factors), 1)


def calibrate(
    objects: Sequence[SourceObject],
    options: Mapping[str, object],
    max_opened: int = MAX_OPENED,
    of_each_channel: bool = False,
) -> Estimates:
    """Calibrates estimates by the headers of at most `max_opened` of the objects, spread over suffixes and folders.

    `options` are those of the input's storage. With `of_each_channel`, the seconds of all channels count. What cannot
    be read says nothing, and nothing is raised for it.
    """
    found = [each for each in candidates(objects) if _may_be_sampled(each)]
    containers = spread((each for each in found if each.is_container), min(MAX_CONTAINERS, max_opened))
    sample = spread((each for each in found if not each.is_container), max_opened - len(containers)) + containers
    sums = defaultdict[tuple[str, str], list[float]](lambda: [0.0, 0.0])
    for source, seconds in zip(sample, measure(sample, options, of_each_channel=of_each_channel), strict=True):
        if seconds is not None:
            for group in _groups_above(*group_of(source.uri)):
                sums[group][0] += seconds
                sums[group][1] += nominal_seconds(source)
    factors = dict[tuple[str, str], float]()
    for group in sorted(sums, key=lambda each: len(each[0])):  # folders after those above them
        seconds, nominal = sums[group]
        factor = min(max(seconds / nominal, 1 / MAX_FACTOR), MAX_FACTOR)
        above = next((factors[each] for each in _groups_above(*group) if each in factors), None)
        if above is None or max(factor / above, above / factor) > AGREEMENT:
            factors[group] = factor
    return Estimates(factors)


def _may_be_sampled(source: SourceObject) -> bool:
    """Whether an object's header would tell something: not if it is refused or limited, or its duration is stated."""
    return source.limit is None and source.size > 0 and known_seconds(source) is None


def _groups_above(folder: str, suffix: str) -> Iterator[tuple[str, str]]:
    """The group of a folder and a suffix, then those of the folders above it, the last of all folders."""
    while folder:
        yield folder, suffix
        folder = folder.rpartition("/")[0]
    yield "", suffix
