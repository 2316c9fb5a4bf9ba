"""The elements of a plan: stored objects, and the units in which they are committed."""

import hashlib
import json
import re
from collections.abc import Iterable, Mapping, Set
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

from actors.formats import SECONDS_PER_BYTE

#: Patterns of ids, fingerprints and digests. They become file names, so what is read must match.
HEX = r"[0-9a-f]{1,64}"
NO_EMISSIONS = "0" * 8  # in a fingerprint
FINGERPRINT = rf"(?:{HEX}|[0-9a-f]{{1,32}}incomplete)"

Format = Literal["audio", "tar", "parquet", "manifest"]

_DEFAULT_SECONDS_PER_BYTE = 1 / 16_000  # of shards, which mostly hold FLAC, and of unknown suffixes

_DURATION = re.compile(r'"duration"\s*:\s*([-+.\deE]+)')

MAX_CLAIMED_SECONDS = 4 * 3_600.0  # limit of a manifest entry's duration if the size of its file is unknown
DAY_SECONDS = 86_400.0  # a duration of a day or more stands for "to the end of the file": NeMo writes 100000
UNKNOWN_SECONDS = 600.0  # what such an entry counts for if the size of its file is unknown
MAX_CHANNELS = 1_024  # of a file
BYTES_PER_SECOND = 500  # minimum of audio, limits a manifest's duration by the file's size; AMR has 600


@dataclass(frozen=True, slots=True)
class SourceObject:
    """A stored file, or a line of a manifest, as it was listed.

    `key` identifies it across runs: its URI, for a manifest's line with the stretch. `name` is its path below the
    input's root. `etag` is the stored file's version, None if a manifest named it and it was not listed.
    """

    key: str
    uri: str
    name: str
    format: Format
    etag: str | None
    size: int
    companion: str | None = None  # URI of the .txt or .json beside an audio file
    lines: str | None = None  # manifest lines that refer to it: its own one, or all those of a NeMo tar shard
    text_version: str = ""  # of the companion or the lines
    lines_version: str = ""  # of what the lines of a tar shard select in it
    refusal: tuple[str, str] | None = None  # (error kind, detail) if a manifest's line is not allowed or invalid
    limit: int | None = None  # how many of its recordings to read, None for all
    listed_by: str | None = None  # URI of the manifest whose line it is
    is_sampled: bool = False  # `limit` is that of input.sample

    @property
    def version(self) -> "Version":
        """The object's version. What the lines of a tar shard select is part of what is heard."""
        return Version(f"{self.etag}/{self.size}/{self.limit}/{self.lines_version}", self.text_version)

    @classmethod
    def from_dict(cls, fields: Mapping[str, Any]) -> "SourceObject":
        refusal = fields.get("refusal")
        return cls(**{**fields, "refusal": tuple(refusal) if refusal else None})

    @property
    def selection(self) -> "Selection":
        """What a manifest's line asks for of its file; of any other object, all."""
        if self.format != "manifest" or not (fields := json.loads(self.lines or "{}")):
            return ALL
        return Selection.of(fields)

    @property
    def over_limit(self) -> str:
        """Why recordings of it beyond the limit are skipped."""
        return "not in input.sample" if self.is_sampled else "over input.limit"

    @property
    def is_container(self) -> bool:
        """Whether it holds recordings by number, in a tar or a Parquet file, and is not one itself."""
        return self.format in ("tar", "parquet")


class Selection(NamedTuple):
    """What is read of a stored file, as in the columns of these names: from an offset, for a time, both in seconds, and
    one of its channels. None for the whole of each; a file as a whole has no offset either."""

    offset_s: float | None = None
    stretch_s: float | None = None
    channel: int | None = None

    @classmethod
    def of(cls, fields: Mapping[str, Any]) -> "Selection":
        """What the fields of a manifest's line select. Raises ValueError if `channel_selector` is not a channel."""
        length, channel = fields.get("duration"), fields.get("channel_selector")
        if channel is not None:
            channel = channel[0] if isinstance(channel, list) and len(channel) == 1 else channel
            channel = int(channel) if isinstance(channel, float) and channel.is_integer() else channel
            if type(channel) is not int or not 0 <= channel < MAX_CHANNELS:
                raise ValueError(f"channel_selector must be the number of one channel, not {str(channel)[:40]!r}")
        return cls(float(fields.get("offset") or 0.0), None if length is None else float(length), channel)


ALL = Selection()  # shared by millions of objects


class Version(NamedTuple):
    """The version of an object in two parts: where `heard` differs, the object is heard again; where only that of its
    `companions` does, its rows get the new ones."""

    heard: str
    companions: str = ""


class Carried(NamedTuple):
    """An object of a unit that is not heard: its rows, those with this URI and selection, are taken from the committed
    part. `source` is the object as it is listed now, with which they are brought up to date; None if it is not
    listed. If it `is_left`, they stay as they were heard or said, with other settings."""

    key: str
    version: Version
    uri: str
    selection: Selection = ALL
    source: SourceObject | None = None
    is_left: bool = False

    @property
    def is_as_wanted(self) -> bool:
        """Whether its rows are brought up to date in every respect."""
        return self.source is not None and not self.is_left


@dataclass(frozen=True)
class Unit:
    """Whole objects that are committed together, as one part."""

    id: str
    fingerprint: str
    objects: tuple[SourceObject, ...]
    carried: tuple[Carried, ...] = ()

    @classmethod
    def of(cls, unit_id: str, recipe: str, objects: Iterable[SourceObject], carried: Iterable[Carried] = ()) -> "Unit":
        """A unit with its fingerprint: of the recipe's digest, and of the versions of its objects."""
        objects, carried = tuple(objects), tuple(carried)
        fingerprint = Fingerprint.of(recipe, *_versions(objects, carried))
        return cls(unit_id, fingerprint, objects, carried)

    @property
    def hearing(self) -> str:
        """What is heard of it: with what, and which of its objects; its fingerprint is the same if some are carried.

        How it is decoded decides which candidates are listed, unless those are listed that are kept.
        """
        said = Fingerprint.said(self.fingerprint) * (Fingerprint.emissions(self.fingerprint) == NO_EMISSIONS)
        which = [*(each.key for each in self.objects), *map(repr, self.carried), said]
        return Fingerprint.of_hearing(self.fingerprint) + digest(which)

    @property
    def has_own_fingerprint(self) -> bool:
        """Whether its fingerprint is that of its objects."""
        recipe = Fingerprint.recipe(self.fingerprint)
        return self.fingerprint == Fingerprint.of(recipe, *_versions(self.objects, self.carried))


def _versions(
    sources: Iterable[SourceObject], carried: Iterable[Carried]
) -> tuple[dict[str, Version], dict[str, Version]]:
    """The versions of objects by key, and of those whose rows may be of another recipe."""
    as_wanted, as_they_are = {each.key: each.version for each in sources}, dict[str, Version]()
    for each in carried:
        (as_wanted if each.is_as_wanted else as_they_are)[each.key] = each.version
    return as_wanted, as_they_are


class Fingerprint:
    """A unit's fingerprint, of 64 hexadecimal digits: what its part is made with.

    First the recipe, 8 digits each for the settings by which its objects are heard, those of the emissions that are
    kept (NO_EMISSIONS if none are), those by which the emissions are decoded, and those by which the text is written;
    then 16 digits each for the versions of its objects and for those of their companions. They are separate so that
    planning, which reads commits by name, can tell what has to be done again.
    """

    @staticmethod
    def of(recipe: str, versions: Mapping[str, Version], carried: Mapping[str, Version] = {}) -> str:
        """The fingerprint for a recipe's 32 digits and the versions of the unit's objects by key.

        The rows of those that are `carried` as they are may be of another recipe, so a unit with such rows has a
        different fingerprint.
        """
        marked = {key: version._replace(heard=f"{version.heard}*") for key, version in carried.items()}
        ordered = sorted({**versions, **marked}.items())
        heard = digest(f"{key}\n{version.heard}" for key, version in ordered)
        return recipe[:32] + heard + digest(f"{key}\n{version.companions}" for key, version in ordered)

    @staticmethod
    def incomplete(fingerprint: str) -> str:
        """A fingerprint of the same recipe that is never planned: the part lacks rows that should have been carried."""
        return fingerprint[:32] + "incomplete"

    @staticmethod
    def is_incomplete(fingerprint: str) -> bool:
        return fingerprint[32:] == "incomplete"

    @staticmethod
    def recipe(fingerprint: str) -> str:
        return fingerprint[:32]

    @staticmethod
    def heard(fingerprint: str) -> str:
        """The settings by which its objects are heard. As the others, also of a recipe alone."""
        return fingerprint[:8]

    @staticmethod
    def emissions(fingerprint: str) -> str:
        return fingerprint[8:16]

    @staticmethod
    def said(fingerprint: str) -> str:
        return fingerprint[16:24]

    @staticmethod
    def written(fingerprint: str) -> str:
        return fingerprint[24:32]

    @staticmethod
    def objects(fingerprint: str) -> str:
        return fingerprint[32:48]

    @staticmethod
    def companions(fingerprint: str) -> str:
        return fingerprint[48:]

    @staticmethod
    def of_hearing(fingerprint: str) -> str:
        """What a unit's emissions come with: all but how they are decoded, and how the text is written."""
        return fingerprint[:16] + fingerprint[32:]

    @staticmethod
    def with_emissions(fingerprint: str, kept: Set[str]) -> str:
        """The fingerprint of the same, with emissions that were kept with these settings: none, or several."""
        emissions = next(iter(kept)) if len(kept) == 1 else digest(sorted(kept))[:8] if kept else NO_EMISSIONS
        return fingerprint[:8] + emissions + fingerprint[16:]


def digest(texts: Iterable[str]) -> str:
    """16 hexadecimal digits of a hash of texts in order, each terminated so that different lists hash differently."""
    state = hashlib.sha256()
    for text in texts:
        state.update(text.encode("utf-8", "surrogatepass") + b"\0")
    return state.hexdigest()[:16]


def nominal_seconds(source: SourceObject) -> float:
    """An object's seconds of audio by its manifest's duration, or by its size and suffix; 0 if refused."""
    if (source.refusal or source.format == "manifest") and (known := known_seconds(source)) is not None:
        return known
    suffix = source.uri.rpartition(".")[2]
    return source.size * (SECONDS_PER_BYTE.get(suffix) or seconds_per_byte(suffix))


def known_seconds(source: SourceObject) -> float | None:
    """The seconds of audio that are known of an object without its suffix: 0 if it is refused, else its manifest's
    duration, capped at what its file can hold. None if there is neither."""
    if source.refusal:
        return 0.0
    if source.format != "manifest" or (duration := _duration(source.lines or "{}")) is None:
        return None
    if not source.size:
        return min(duration, MAX_CLAIMED_SECONDS) if duration < DAY_SECONDS else UNKNOWN_SECONDS
    return min(duration, source.size / BYTES_PER_SECOND)


def _duration(line: str) -> float | None:
    """The duration in a manifest's line, which was validated when it was listed.

    A single key of this name in a single object is found by itself; other lines are parsed, for ten times as long.
    """
    if line.count("{") == line.count('"duration"') == 1 and "\\" not in line:
        found = _DURATION.search(line)
        return float(found[1]) if found else None
    duration = json.loads(line).get("duration")
    return None if duration is None else float(duration)


def seconds_per_byte(suffix: str) -> float:
    """The nominal seconds of audio in a byte of a file, by its suffix without the dot."""
    return SECONDS_PER_BYTE.get(suffix.lower(), _DEFAULT_SECONDS_PER_BYTE)
