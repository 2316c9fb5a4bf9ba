"""Estimates the seconds of audio in objects from their sizes, calibrated by the headers of a sample of them."""

import re
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from actors.audio.headers.seconds import MIN_BYTES_PER_SECOND
from actors.units import SourceObject
from jobs.planning.sample import candidates, group_of, known_suffix, measure, spread

#: Seconds of audio per byte, by suffix: of PCM at 16 kHz, mono, 16 bit, or at the usual bit rates for speech.
SECONDS_PER_BYTE = {
    **dict.fromkeys(
        ("wav", "wave", "w64", "rf64", "aif", "aiff", "aifc", "au", "snd", "caf", "sph", "nist"), 1 / 32_000
    ),
    "flac": 1 / 16_000,
    **dict.fromkeys(("mp3", "aac", "m4a", "m4b", "mp4", "mov", "wma", "asf"), 1 / 8_000),
    **dict.fromkeys(("ogg", "oga", "webm", "mka", "mkv"), 1 / 8_000),
    **dict.fromkeys(("opus", "amr", "awb", "3gp"), 1 / 3_000),
}
_DEFAULT_SECONDS_PER_BYTE = 1 / 16_000  # of shards, which mostly hold FLAC, and of unknown suffixes

MAX_CLAIMED_SECONDS = 4 * 3_600.0  # limit of a manifest entry's duration if the size of its file is unknown
MAX_OPENED = 200  # objects of which the header is read
MAX_FACTOR = 64.0  # on the nominal seconds, and its inverse the least; 8 channels of 96 kHz and 16 bit have 1/48
AGREEMENT = 1.25  # a folder whose factor differs by less from that of the folder above has that one
MAX_REMEMBERED = 10_000  # folders whose factors are looked up once; objects come in order, so a few would do

#: A line of a manifest is valid JSON when it is listed, and parsing it again would take longer than all the rest.
_DURATION = re.compile(r'"duration"\s*:\s*([\d.eE+-]+)')


class _Remembered(dict[str, Any]):
    """Values that are made when they are first asked for, and forgotten when there are many."""

    def __init__(self, make: Callable[[str], Any]) -> None:
        super().__init__()
        self._make = make

    def __missing__(self, key: str) -> Any:
        if len(self) >= MAX_REMEMBERED:
            self.clear()
        self[key] = value = self._make(key)
        return value


@dataclass(frozen=True, slots=True)
class Estimates:
    """Calibrated estimates of audio: factors on the nominal seconds, by folder and suffix, as of `sample.group_of`.

    An object has the factor of its folder, else of the nearest folder above it that has one, else that of all folders,
    which is "", else 1.
    """

    factors: Mapping[tuple[str, str], float] = field(default_factory=dict)
    _rates: dict[str, float] = field(init=False, repr=False, compare=False)  # seconds per byte by suffix, as spelled
    _folders: dict[str, dict[str, float]] | None = field(init=False, repr=False, compare=False)  # the same, by folder

    def __post_init__(self) -> None:
        with_factors = {folder: self._rates_in(folder) for folder in {"", *(folder for folder, _ in self.factors)}}

        def nearest(folder: str) -> dict[str, float]:
            while folder not in with_factors:
                folder = folder.rpartition("/")[0]
            return with_factors[folder]

        object.__setattr__(self, "_rates", with_factors[""])
        object.__setattr__(self, "_folders", _Remembered(nearest) if len(with_factors) > 1 else None)

    def seconds(self, source: SourceObject) -> float:
        """Estimates an object's seconds of audio from its manifest's duration, or from its size, suffix and folder; 0
        if refused. A manifest's duration is capped at what its file can hold."""
        if source.refusal:
            return 0.0
        if source.format == "manifest" and (stated := _stated_seconds(source)) is not None:
            return stated
        uri = source.uri
        rates = self._rates if self._folders is None else self._folders[uri.rpartition("/")[0]]
        return source.size * rates[uri.rpartition(".")[2]]

    def _rates_in(self, folder: str) -> dict[str, float]:
        """The seconds per byte of a folder's objects by suffix, as it is spelled."""
        return _Remembered(lambda suffix: self._rate(folder, known_suffix(suffix)))

    def _rate(self, folder: str, suffix: str) -> float:
        nominal = SECONDS_PER_BYTE.get(suffix, _DEFAULT_SECONDS_PER_BYTE)
        return nominal * next((self.factors[each] for each in _groups_above(folder, suffix) if each in self.factors), 1)


_NOMINAL = Estimates()

#: Estimates an object's seconds of audio as `Estimates.seconds` does, without any sample.
nominal_seconds = _NOMINAL.seconds


def calibrate(objects: Sequence[SourceObject], options: Mapping[str, Any], max_opened: int = MAX_OPENED) -> Estimates:
    """Calibrates estimates by the headers of at most `max_opened` of the objects, spread over suffixes and folders.

    `options` are those of the input's storage. What cannot be read says nothing, and nothing is raised for it.
    """
    sample = spread((each for each in candidates(objects) if _may_be_sampled(each)), max_opened)
    sums = defaultdict[tuple[str, str], list[float]](lambda: [0.0, 0.0])
    for source, seconds in zip(sample, measure(sample, options), strict=True):
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


def _stated_seconds(line: SourceObject) -> float | None:
    """The duration that a manifest's line states, capped at what its file can hold; None if it states none."""
    found = _DURATION.search(line.lines or "")
    if found is None:
        return None
    return min(float(found[1]), line.size / MIN_BYTES_PER_SECOND if line.size else MAX_CLAIMED_SECONDS)


def _may_be_sampled(source: SourceObject) -> bool:
    """Whether an object's header would tell something: not if it is refused or limited, or its duration is stated."""
    if source.refusal or source.limit is not None or not source.size:
        return False
    return source.format != "manifest" or _stated_seconds(source) is None


def _groups_above(folder: str, suffix: str) -> Iterator[tuple[str, str]]:
    """The group of a folder and a suffix, then those of the folders above it, the last of all folders."""
    while folder:
        yield folder, suffix
        folder = folder.rpartition("/")[0]
    yield "", suffix
