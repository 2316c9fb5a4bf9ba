"""Reads the recordings of stored objects: audio files, tar members, Parquet rows, or one piece's share of them."""

import json
import os
from collections.abc import Callable, Generator, Iterator, Mapping
from dataclasses import dataclass, field

from actors.audio.mix import Channel
from actors.audio.segments import SegmentationSettings
from actors.audio.tracks import Track
from actors.pieces import Piece
from actors.schema import ErrorKind, RecordingError
from actors.sources.account import Entries
from actors.sources.memory import MemoryBudget
from actors.sources.parquet import read_parquet
from actors.sources.recordings import MAX_COMPANION_BYTES, UNREAD_TEXT, Recording, companion_fields, split_fields
from actors.sources.tar import Shard, read_tar
from actors.sources.tar_headers import is_plain_tar
from actors.sources.tar_lines import described_by
from actors.sources.tar_names import Member
from actors.sources.tar_ranges import Chain, range_members
from actors.storage.answers import FileTooLarge, NotRegularFile
from actors.storage.place import Place
from actors.storage.stored_file import StoredFile
from actors.units import SourceObject

HELD_BYTES = 64_000_000  # a larger audio file is read in ranges, not whole
CHANGED = "replaced during the run; the next run reads it"
GONE = "it was there when the run began, and is not any more; the next run reads it if it is back"


@dataclass(frozen=True)
class ReadSettings:
    """Settings for reading recordings. `max_megabytes` limits a recording in a tar or a Parquet file, `max_hours` the
    duration of any.

    With `vad`, segments without speech are not transcribed; with `drops_silence`, they are left out.

    If no recording was decoded for `patience_s`, the process exits, because nothing else stops a loop in a codec. A
    unit whose process ended is read again `isolated`: each recording is decoded in a child process.
    """

    max_megabytes: float = 512.0
    max_hours: float = 24.0
    segmentation: SegmentationSettings = field(default_factory=SegmentationSettings)
    channel: Channel = None
    track: Track = None
    vad: bool = False
    drops_silence: bool = False
    storage_options: Mapping[str, object] = field(default_factory=dict, repr=False)
    patience_s: float = 600.0
    isolated: bool = False

    @property
    def max_bytes(self) -> int:
        return int(self.max_megabytes * 1e6)


@dataclass
class Reading:
    """The inputs of reading a piece's objects, and what is collected beside their recordings.

    `texts` are the text files in a tar by the key of their recording, complete once the last recording was read.
    `chains` are the chains of headers of a tar's ranges, `entries` what was found in containers. `progress` is called
    while a container is searched for recordings.
    """

    piece: Piece
    settings: ReadSettings
    budget: MemoryBudget
    progress: Callable[[], None] = lambda: None
    texts: dict[str, list[tuple[str, bytes]]] = field(default_factory=dict)
    chains: list[Chain] = field(default_factory=list)
    entries: Entries = field(default_factory=Entries)


def read_objects(group: list[SourceObject], reading: Reading) -> Iterator[Recording]:
    """Reads the recordings of objects that share a stored file: those of manifest lines may, others are alone.

    A recording's content is released when the next one is requested.
    """
    first = group[0]
    if first.format in ("audio", "manifest"):
        yield from _read_file(group, reading)
        return
    found = 0
    try:
        stored, etag = _resolve(first, reading.settings)
        if not (stored.size or stored.place.is_http):  # where 0 means that the size is unknown
            raise RecordingError(ErrorKind.EMPTY, "the file has no bytes")
        for recording in _read_container(first, stored, etag, reading):
            found += 1
            yield recording
            del recording  # release it before the next one is read
    except RecordingError as problem:
        yield Recording(first.name, first.uri, first.etag or "", problem)
        return
    if not found:
        empty = RecordingError(ErrorKind.EMPTY, f"the {first.format} file holds no recording")
        yield Recording(first.name, first.uri, etag, empty if reading.piece.has_whole_objects else None)


def _read_container(source: SourceObject, stored: StoredFile, etag: str, reading: Reading) -> Iterator[Recording]:
    """Reads the recordings of a tar or a Parquet file, or of the piece's share of one."""
    piece, max_bytes = reading.piece, reading.settings.max_bytes
    entries = Entries() if piece.stretch else reading.entries  # each stretch of a recording reads all of them
    if source.format == "parquet":
        share = (piece.range, piece.ranges)
        yield from read_parquet(stored, source, etag, max_bytes, reading.budget, share, entries=entries)
        return
    shard = Shard(source, etag, max_bytes, reading.budget, reading.texts, entries)
    if piece.ranges == 1 or piece.cut.is_streamed or source.limit or not is_plain_tar(stored.open().read(512)):
        yield from read_tar(stored, shard, (piece.range, piece.ranges), reading.progress)
        return
    chain = Chain()
    reading.chains.append(chain)
    chains = iter((chain,))  # links make a shard go through the members again

    def walk() -> Generator[Member, None, None]:
        return range_members(stored, piece.range, piece.ranges, next(chains, Chain()))

    yield from shard.read(walk, is_last=False, is_in_run=lambda: chain.is_in_run)
    shard.describe(chain)


def _read_file(group: list[SourceObject], reading: Reading) -> Iterator[Recording]:
    """Reads an audio file, whole or in the stretches that manifest lines name."""
    content: bytes | StoredFile | RecordingError
    etag, settings = group[0].etag or "", reading.settings
    if all(each.refusal for each in group):
        content = b""  # the file is not touched
    else:
        size = 0
        try:
            content, etag = _resolve(group[0], settings)
            size = content.size
            if size <= HELD_BYTES and reading.piece.stretches == 1:  # over HTTP the size may be unknown, then it is 0
                content = content.place.read(size or HELD_BYTES)
        except RecordingError as problem:
            content = problem
        except FileTooLarge as problem:
            changed = RecordingError(ErrorKind.CHANGED, CHANGED)
            content = changed if size else RecordingError(ErrorKind.TOO_LARGE, str(problem))
    for each in group:
        yield recording_of(each, etag, content, settings)


def recording_of(
    source: SourceObject, etag: str, content: bytes | StoredFile | RecordingError, settings: ReadSettings
) -> Recording:
    """The recording of an object that is one, with its companion's fields or those of its manifest's line; of a
    container as a whole, its error."""
    fields: Mapping[str, object] = json.loads(source.lines) if source.lines and not source.is_container else {}
    if source.companion:
        try:
            fields = _read_companion(source, settings)
        except OSError:
            if not isinstance(content, RecordingError):
                raise
    reference, extra = split_fields(fields)
    refusal = RecordingError(ErrorKind(source.refusal[0]), source.refusal[1]) if source.refusal else None
    selection = source.selection
    return Recording(
        source.name,
        source.uri,
        etag,
        refusal or content,
        offset_s=selection.offset_s,
        duration_s=selection.stretch_s,
        channel=selection.channel,
        reference=reference,
        extra=extra,
    )


def describe(source: SourceObject, settings: ReadSettings) -> Callable[[Recording], Recording | None]:
    """A function that gives a recording of an object, without its content, the name and the companions that it has now;
    None if nothing beside its container tells of it."""
    if source.is_container:
        return described_by(source.lines) if source.lines is not None else lambda recording: None
    found = recording_of(source, source.etag or "", b"", settings)
    return lambda recording: found


def _resolve(source: SourceObject, settings: ReadSettings) -> tuple[StoredFile, str]:
    """An object's stored file and version. Raises RecordingError if it is missing, or not the version that was
    planned."""
    place = place_of(source, settings)
    try:
        info = place.info()
    except (FileNotFoundError, NotADirectoryError):
        if source.etag is not None:  # it was listed: perhaps its disk is gone, and comes back
            raise RecordingError(ErrorKind.CHANGED, GONE) from None
        raise RecordingError(ErrorKind.MISSING, f"{source.uri} does not exist") from None
    if not info.is_file:  # a manifest may name anything
        raise RecordingError(ErrorKind.BAD_ENTRY, f"{source.uri} is a folder, a pipe or a device, not a file")
    if source.etag is not None and info.version != source.etag:
        raise RecordingError(ErrorKind.CHANGED, CHANGED)
    return StoredFile(place, info.size or 0), info.version


def place_of(source: SourceObject, settings: ReadSettings) -> Place:
    """An object's place. A manifest may name it by a signed URL, and its URI has no signature."""
    place = Place.at(source.uri, settings.storage_options)
    if not place.is_http or source.format != "manifest" or not source.lines:
        return place
    named = (each for each in json.loads(source.lines).values() if isinstance(each, str))
    return next((signed for each in named if (signed := place.signed_by(each)) is not place), place)


def _read_companion(source: SourceObject, settings: ReadSettings) -> dict[str, object]:
    """The fields of the .txt or .json beside an audio file; none if there is no such file (any more)."""
    if source.companion is None:
        return {}
    place = Place.at(source.companion, settings.storage_options)
    try:
        text = place.read(MAX_COMPANION_BYTES)
    except FileNotFoundError:
        return {}
    except (FileTooLarge, NotRegularFile, PermissionError, IsADirectoryError) as problem:
        return {UNREAD_TEXT: str(problem)}
    return companion_fields(os.path.splitext(place.path)[1], text)


def check_version(stored: StoredFile, etag: str) -> None:
    """Raises RecordingError (changed) if a file was replaced or removed while it was read in ranges."""
    try:
        current = stored.place.info().version
    except FileNotFoundError:
        raise RecordingError(ErrorKind.CHANGED, GONE) from None
    if current != etag:
        raise RecordingError(ErrorKind.CHANGED, CHANGED)
