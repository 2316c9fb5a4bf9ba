"""What comes back from the graph for each piece: one of four outcomes."""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from typing import Any

from actors.foreign.errors import InvalidData
from actors.foreign.plain_json import parse_object
from actors.pieces import Cut


@dataclass(frozen=True)
class Read:
    """What was read and decoded, in seconds of audio, and what some of it took: `cpu_seconds` of CPUs for
    `timed_seconds` of audio."""

    audio_seconds: float
    timed_seconds: float
    cpu_seconds: float

    def __add__(self, other: "Read") -> "Read":
        return Read(
            self.audio_seconds + other.audio_seconds,
            self.timed_seconds + other.timed_seconds,
            self.cpu_seconds + other.cpu_seconds,
        )


READS = b"reads"  # in a schema's metadata


@dataclass(frozen=True)
class Work:
    """What transcribing took: of an actor, from `began` to `ended`, in seconds since 1970, of which the device was busy
    for `busy_seconds`, with `padded_seconds` of audio, padding included; and before that of readers, by kind of file,
    if that was measured."""

    actor: str
    began: float
    ended: float
    busy_seconds: float
    padded_seconds: float
    reads: Mapping[str, Read] = field(default_factory=dict)

    def to_metadata(self) -> dict[str, str]:
        """As metadata of an Arrow schema, to travel with the rows; without the reads, which the reader adds to them."""
        return {name: str(value) for name, value in vars(self).items() if name != "reads"}

    @classmethod
    def from_metadata(cls, metadata: Mapping[bytes, bytes] | None) -> "Work | None":
        """The work that a schema's metadata state, if they state any."""
        names = [each.name for each in fields(cls) if each.name != "reads"]
        values = [(metadata or {}).get(name.encode()) for name in names]
        if not all(values):
            return None
        actor, *numbers = (value.decode() for value in values if value)
        began, ended, busy, padded = map(float, numbers)
        return cls(actor, began, ended, busy, padded, _reads(json.loads((metadata or {}).get(READS, b"{}"))))


def reads_text(reads: Mapping[str, Read]) -> str:
    """What a reader puts under READS into the metadata of its rows."""
    return json.dumps({kind: asdict(read) for kind, read in reads.items()})


def _reads(found: Mapping[str, Mapping[str, float]]) -> dict[str, Read]:
    return {kind: Read(**read) for kind, read in found.items()}


@dataclass(frozen=True)
class Example:
    """A recording to show at the end of a run: its reference and transcript, or its error."""

    recording_id: str
    reference: str = ""
    text: str = ""
    error_kind: str = ""
    error_detail: str = ""


@dataclass(frozen=True)
class Counts:
    """Totals over recordings. `errors` counts those with an error by its kind; `character_errors` are the edits to
    `reference_characters`."""

    recordings: int = 0
    segments: int = 0
    audio_seconds: float = 0.0
    errors: Mapping[str, int] = field(default_factory=dict)
    character_errors: int = 0
    reference_characters: int = 0

    def __add__(self, other: "Counts") -> "Counts":
        return Counts(
            self.recordings + other.recordings,
            self.segments + other.segments,
            self.audio_seconds + other.audio_seconds,
            {kind: self.errors.get(kind, 0) + other.errors.get(kind, 0) for kind in {**self.errors, **other.errors}},
            self.character_errors + other.character_errors,
            self.reference_characters + other.reference_characters,
        )


@dataclass(frozen=True)
class Committed:
    """A unit was committed, with this piece as the last of it. `work` is the piece's, None if nothing was heard;
    `entries` is what was found in containers, as `Entries.to_dict` returns it."""

    unit: str
    counts: Counts
    work: Work | None = None
    transcripts: tuple[Example, ...] = ()
    failures: tuple[Example, ...] = ()
    entries: Mapping[str, object] = field(default_factory=dict)


@dataclass(frozen=True)
class Kept:
    """A piece is kept until its unit has all of them."""

    unit: str
    audio_seconds: float
    work: Work | None = None


@dataclass(frozen=True)
class Failed:
    """A unit was not committed, for a reason that concerns all of it; `is_storage` if storage failed, which the next
    run may find well again."""

    unit: str
    reason: str
    is_storage: bool = False


@dataclass(frozen=True)
class Recut:
    """A unit has to be cut into other pieces."""

    unit: str
    cut: Cut


Outcome = Committed | Kept | Failed | Recut


def to_json(outcome: Outcome) -> str:
    return json.dumps({"kind": type(outcome).__name__} | asdict(outcome))


def from_json(text: str) -> Outcome:
    """Raises InvalidData if the text was not made by `to_json`."""
    try:
        return _from_fields(**dict[str, Any](parse_object(text)))
    except (TypeError, KeyError, AttributeError) as problem:
        raise InvalidData(f"it is not an outcome: {problem}") from None


def _from_fields(kind: str, unit: str, work: Mapping[str, Any] | None = None, **fields: Any) -> Outcome:
    done = Work(**{**work, "reads": _reads(work["reads"])}) if work else None
    match kind:
        case "Committed":
            shown, failed = (tuple(Example(**each) for each in fields[name]) for name in ("transcripts", "failures"))
            return Committed(unit, Counts(**fields["counts"]), done, shown, failed, fields["entries"])
        case "Kept":
            return Kept(unit, fields["audio_seconds"], done)
        case "Failed":
            return Failed(unit, fields["reason"], fields["is_storage"])
        case "Recut":
            return Recut(unit, Cut(**fields["cut"]))
        case _:
            raise InvalidData(f"{kind[:80]!r} is not an outcome")
