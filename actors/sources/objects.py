"""Stored objects to recordings: files, members of tars, rows of Parquet files, or one piece's share of them."""

import json
import os
import tarfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from actors.audio.segments import SegmentationSettings
from actors.schema import ErrorKind, RecordingError
from actors.sources.memory import MemoryBudget
from actors.sources.parquet import read_parquet
from actors.sources.recordings import MAX_COMPANION_BYTES, Recording, companion_fields, split_fields
from actors.sources.tar import Shard, read_tar
from actors.sources.tar_headers import is_plain_tar
from actors.sources.tar_ranges import Chain, members_of
from actors.storage import files as storage
from actors.storage.files import StoredFile
from actors.units import Piece, SourceObject

HELD_BYTES = 64_000_000  # a larger audio file is read range by range, not whole
CHANGED = "replaced while the run was at work; the next run reads it"


@dataclass(frozen=True)
class ReadSettings:
    """How recordings are read. `max_megabytes` bounds those that lie in a tar or a Parquet file, `max_hours` the sound
    of any.

    With `vad`, segments without speech are not transcribed; with `drops_silence`, they are left out.

    Where for `patience_s` no recording was decoded, the process ends itself, for nothing else ends a loop in a codec.
    What ended its process is read again `isolated`: each recording is decoded in a child process.
    """

    max_megabytes: float = 512.0
    max_hours: float = 24.0
    segmentation: SegmentationSettings = field(default_factory=SegmentationSettings)
    channel: int | None = None
    vad: bool = False
    drops_silence: bool = False
    storage_options: Mapping[str, Any] = field(default_factory=dict, repr=False)
    patience_s: float = 600.0
    isolated: bool = False

    @property
    def max_bytes(self) -> int:
        return int(self.max_megabytes * 1e6)


@dataclass
class Reading:
    """What objects are read with, and what is found on the way beside their recordings.

    `texts` are those that lie in a tar, by the key of the recording that they speak of; all are known when the last
    recording was read. `chains` are the headers of a tar's ranges.
    """

    piece: Piece
    settings: ReadSettings
    budget: MemoryBudget
    texts: dict[str, list[tuple[str, bytes]]] = field(default_factory=dict)
    chains: list[Chain] = field(default_factory=list)


def read_objects(group: list[SourceObject], reading: Reading) -> Iterator[Recording]:
    """The recordings of objects that share one stored file: many lines of a manifest may, others are alone.

    What a recording holds is let go of when the next one is asked for.
    """
    first = group[0]
    if first.format in ("audio", "manifest"):
        yield from _read_file(group, reading)
        return
    found = 0
    try:
        stored, etag = _planned(first, reading.settings)
        for recording in _read_container(first, stored, etag, reading):
            found += 1
            yield recording
            del recording  # let go of before the next one is read
    except RecordingError as problem:
        yield Recording(first.name, first.uri, first.etag or "", problem)
        return
    if not found:
        nothing = RecordingError(ErrorKind.EMPTY, f"the {first.format} file holds no recording")
        yield Recording(first.name, first.uri, etag, nothing if reading.piece.is_whole else None)


def _read_container(source: SourceObject, stored: StoredFile, etag: str, reading: Reading) -> Iterator[Recording]:
    """The recordings of a tar or a Parquet file, or of a share of one."""
    piece, max_bytes = reading.piece, reading.settings.max_bytes
    number, count = piece.share
    if source.format == "parquet":
        yield from read_parquet(stored, source, etag, max_bytes, reading.budget, piece.share)
        return
    shard = Shard(source, etag, max_bytes, reading.budget, reading.texts)
    if count == 1 or piece.is_streamed or not is_plain_tar(stored.open().read(512)):
        yield from read_tar(stored, shard, piece.share)
        return
    chain = Chain()
    reading.chains.append(chain)
    try:
        for archive, member in members_of(stored, number, count, chain):
            yield from shard.take(archive, member)
    except tarfile.TarError:
        pass  # its chain says so, and the tar is read again from its start
    chain.sounds, chain.texts = shard.sounds, list(shard.texts)
    yield from shard.rest()


def _read_file(group: list[SourceObject], reading: Reading) -> Iterator[Recording]:
    """One audio file, whole or in the stretches that manifest lines name."""
    content: bytes | StoredFile | RecordingError
    etag, settings = group[0].etag or "", reading.settings
    if all(each.refusal for each in group):
        content = b""  # refused, so never touched
    else:
        size = 0
        try:
            content, etag = _planned(group[0], settings)
            size = content.size
            if size <= HELD_BYTES and reading.piece.stretches == 1:  # HTTP may not tell it, and then it is 0
                content = storage.read(content.filesystem, content.path, size or HELD_BYTES)
        except RecordingError as problem:
            content = problem
        except FileNotFoundError:
            content = RecordingError(ErrorKind.MISSING, f"{group[0].uri} is not there")
        except storage.NotRegularFile:
            content = RecordingError(ErrorKind.BAD_ENTRY, f"{group[0].uri} is no file")
        except storage.FileTooLarge as problem:
            grown = RecordingError(ErrorKind.CHANGED, CHANGED)
            content = grown if size else RecordingError(ErrorKind.TOO_LARGE, str(problem))
    for each in group:
        fields = json.loads(each.lines) if each.lines and not each.refusal else _read_companion(each, settings)
        reference, extra = split_fields(fields)
        refused = RecordingError(ErrorKind(each.refusal[0]), each.refusal[1]) if each.refusal else None
        yield Recording(
            each.name,
            each.uri,
            etag,
            refused or content,
            offset_s=float(fields.get("offset") or 0.0) if each.format == "manifest" and not refused else None,
            duration_s=fields.get("duration") if each.format == "manifest" and not refused else None,
            reference=reference,
            extra=extra,
        )


def _planned(source: SourceObject, settings: ReadSettings) -> tuple[StoredFile, str]:
    """Where an object lies and its version, after a check that it is the one that was planned."""
    filesystem, path = storage.connect(source.uri, settings.storage_options)
    try:
        info = storage.info(filesystem, path)
    except (FileNotFoundError, NotADirectoryError):
        raise RecordingError(ErrorKind.MISSING, f"{source.uri} is not there") from None
    if info.get("type", "file") != "file":  # a manifest may name anything
        raise RecordingError(ErrorKind.BAD_ENTRY, f"{source.uri} is a folder, a pipe or a device, and no file")
    etag = storage.version(info)
    if source.etag is not None and etag != source.etag:
        raise RecordingError(ErrorKind.CHANGED, CHANGED)
    return StoredFile(filesystem, path, int(info.get("size") or 0)), etag


def _read_companion(source: SourceObject, settings: ReadSettings) -> dict[str, Any]:
    """The fields of the .txt or .json beside an audio file; none where there is no such file, or no longer."""
    if source.companion is None:
        return {}
    filesystem, path = storage.connect(source.companion, settings.storage_options)
    try:
        text = storage.read(filesystem, path, MAX_COMPANION_BYTES)
    except FileNotFoundError:
        return {}
    except (storage.FileTooLarge, storage.NotRegularFile) as problem:
        return {"unread_text": str(problem)}
    return companion_fields(os.path.splitext(path)[1], text)


def check_version(stored: StoredFile, etag: str) -> None:
    """Raises RecordingError (changed, missing) where a file that was read range by range is no longer the same."""
    try:
        now = storage.version(storage.info(stored.filesystem, stored.path))
    except FileNotFoundError:
        raise RecordingError(ErrorKind.MISSING, f"{stored.path} went while it was read") from None
    if now != etag:
        raise RecordingError(ErrorKind.CHANGED, CHANGED)
