"""Stored objects to recordings: files, members of tars, rows of Parquet files, or one piece's share of them."""

import json
import os
import tarfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from actors import storage
from actors.parquet_shards import read_parquet
from actors.recordings import Recording, companion_fields, split_fields
from actors.schema import ErrorKind, RecordingError
from actors.segmentation import Segmentation
from actors.storage import Stored
from actors.tar_ranges import Chain, members_of
from actors.tar_shards import Samples, is_plain_tar, read_tar
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
    segmentation: Segmentation = field(default_factory=Segmentation)
    channel: int | None = None
    vad: bool = False
    drops_silence: bool = False
    storage_options: Mapping[str, Any] = field(default_factory=dict, repr=False)
    patience_s: float = 600.0
    isolated: bool = False

    @property
    def max_bytes(self) -> int:
        return int(self.max_megabytes * 1e6)


def read_objects(
    group: list[SourceObject], piece: Piece, settings: ReadSettings, chains: list[Chain]
) -> Iterator[Recording]:
    """The recordings of objects that share one stored file: many lines of a manifest may, others are alone."""
    first = group[0]
    if first.format in ("audio", "manifest"):
        yield from _read_file(group, piece, settings)
        return
    found = 0
    try:
        stored, etag = _planned(first, settings)
        for recording in _read_container(first, stored, etag, piece, settings, chains):
            found += 1
            yield recording
    except RecordingError as problem:
        yield Recording(first.name, first.uri, first.etag or "", problem)
        return
    if not found:
        nothing = RecordingError(ErrorKind.EMPTY, f"the {first.format} file holds no recording")
        yield Recording(first.name, first.uri, etag, nothing if piece.is_whole else None)


def _read_container(
    source: SourceObject, stored: Stored, etag: str, piece: Piece, settings: ReadSettings, chains: list[Chain]
) -> Iterator[Recording]:
    """The recordings of a tar or a Parquet file, or of a share of one."""
    number, count = piece.share
    if source.format == "parquet":
        return read_parquet(stored, source, etag, settings.max_bytes, piece.share)
    if count == 1 or piece.is_streamed or not is_plain_tar(stored.open().read(512)):
        return read_tar(stored, source, etag, settings.max_bytes, piece.share)
    chain, samples = Chain(), Samples(source, etag, settings.max_bytes)
    chains.append(chain)
    try:
        for archive, member in members_of(stored, number, count, chain):
            samples.take(archive, member)
    except (tarfile.TarError, EOFError, ValueError):
        pass  # its chain says so, and the tar is read again from its start
    chain.sounds, chain.texts = [each.recording_id for each in samples.recordings], list(samples.companions)
    return samples.joined()


def _read_file(group: list[SourceObject], piece: Piece, settings: ReadSettings) -> Iterator[Recording]:
    """One audio file, whole or in the stretches that manifest lines name."""
    content: bytes | Stored | RecordingError
    etag = group[0].etag or ""
    if all(each.refusal for each in group):
        content = b""  # refused, so never touched
    else:
        try:
            content, etag = _planned(group[0], settings)
            if content.size <= HELD_BYTES and piece.stretches == 1:
                content = storage.read(content.filesystem, content.path)
        except RecordingError as problem:
            content = problem
        except FileNotFoundError:
            content = RecordingError(ErrorKind.MISSING, f"{group[0].uri} is not there")
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


def _planned(source: SourceObject, settings: ReadSettings) -> tuple[Stored, str]:
    """Where an object lies and its version, after a check that it is the one that was planned."""
    filesystem, path = storage.connect(source.uri, settings.storage_options)
    try:
        info = storage.info(filesystem, path)
    except FileNotFoundError:
        raise RecordingError(ErrorKind.MISSING, f"{source.uri} is not there") from None
    etag = storage.version(info)
    if source.etag is not None and etag != source.etag:
        raise RecordingError(ErrorKind.CHANGED, CHANGED)
    return Stored(filesystem, path, int(info.get("size") or 0)), etag


def _read_companion(source: SourceObject, settings: ReadSettings) -> dict[str, Any]:
    """The fields of the .txt or .json beside an audio file; none where there is no such file, or no longer."""
    if source.companion is None:
        return {}
    filesystem, path = storage.connect(source.companion, settings.storage_options)
    try:
        text = storage.read(filesystem, path)
    except FileNotFoundError:
        return {}
    return companion_fields(os.path.splitext(path)[1], text)


def check_version(stored: Stored, etag: str) -> None:
    """Raises RecordingError (changed, missing) where a file that was read range by range is no longer the same."""
    try:
        now = storage.version(storage.info(stored.filesystem, stored.path))
    except FileNotFoundError:
        raise RecordingError(ErrorKind.MISSING, f"{stored.path} went while it was read") from None
    if now != etag:
        raise RecordingError(ErrorKind.CHANGED, CHANGED)
