"""Files that hold many recordings: tar shards (WebDataset and NeMo tarred) and Parquet shards. Sound stays encoded.

Archives are hostile: nothing is extracted to disk, links and devices are passed over, sizes are checked before they are
believed, and a damaged archive ends in a row that says so.
"""

import io
import json
import os
import re
import tarfile
import zlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from actors import storage
from actors.schema import ErrorKind, RecordingError
from actors.units import SourceObject

AUDIO_SUFFIXES = frozenset(
    ".wav .wave .w64 .rf64 .flac .mp3 .ogg .oga .opus .m4a .m4b .mp4 .mov .aac .webm .mka .mkv .amr .awb .wma .asf"
    " .aif .aiff .aifc .au .snd .caf .sph .nist .3gp".split()
)
COMPANION_SUFFIXES = (".txt", ".json")  # a recording's text, or fields with its text
MAX_COMPANION_BYTES = 1_000_000  # a text of a recording; more is not one
READ_AHEAD_BYTES = 8_000_000  # a tar is read in requests of this size, one after the other
ROWS_AT_ONCE = 16  # of a Parquet shard

_TEXT_FIELDS = ("text", "sentence", "transcript", "transcription", "reference")
_ID_FIELDS = ("id", "key", "__key__", "utt_id", "utterance_id", "recording_id")


@dataclass(frozen=True)
class Recording:
    """One recording as it is stored: `content` is its encoded bytes, or what is wrong with it.

    `offset_s` and `duration_s` are the stretch of the content that is meant, None for all of it.
    """

    recording_id: str
    uri: str
    etag: str
    content: bytes | RecordingError
    member: str | None = None
    offset_s: float | None = None
    duration_s: float | None = None
    reference: str | None = None
    extra: Mapping[str, Any] | None = None


def companion_fields(suffix: str, data: bytes) -> dict[str, Any]:
    """What a .txt or .json beside a recording says: its fields, the text under "text"."""
    text = data[:MAX_COMPANION_BYTES].decode("utf-8-sig", "replace")
    if suffix.lower() != ".json":
        return {"text": text.strip()}
    try:
        fields = json.loads(text)
    except (ValueError, RecursionError):
        return {"unreadable_json": text[:200]}
    return fields if isinstance(fields, dict) else {"text": fields} if isinstance(fields, str) else {"json": fields}


def split_fields(fields: Mapping[str, Any]) -> tuple[str | None, dict[str, Any]]:
    """Fields that came with a recording as its reference text and all others."""
    known = next((name for name in _TEXT_FIELDS if isinstance(fields.get(name), str)), None)
    structural = ("audio_filepath", "offset", "duration", "shard_id")
    extra = {name: value for name, value in fields.items() if name != known and name not in structural}
    return (fields[known] if known else None), extra


def read_tar(
    filesystem: storage.Filesystem, path: str, source: SourceObject, etag: str, max_bytes: int
) -> Iterator[Recording]:
    """The recordings of a tar, plain or compressed, in the order of their audio; read once from front to back.

    WebDataset style: members that share a name up to the first dot of its last part belong together, wherever they
    lie. NeMo tarred: the manifest's lines speak of members by name, several perhaps of one. At most `source.limit`.
    """
    recordings, companions = list[Recording](), dict[str, dict[str, Any]]()
    damage: RecordingError | None = None
    member = None
    with filesystem.open(path, "rb", block_size=READ_AHEAD_BYTES) as file:
        try:
            with tarfile.open(fileobj=file, mode="r|*", tarinfo=_CheckedHeader) as archive:
                for member in archive:
                    key, suffix = split_key(member.name)
                    if not member.isreg():
                        continue
                    if suffix in COMPANION_SUFFIXES and member.size <= MAX_COMPANION_BYTES:
                        companions.setdefault(key, {}).update(companion_fields(suffix, _content(archive, member)))
                    elif suffix in AUDIO_SUFFIXES and (source.limit is None or len(recordings) < source.limit):
                        content: bytes | RecordingError
                        if member.size > max_bytes:
                            detail = f"{member.size / 1e6:.0f} MB, more than {max_bytes / 1e6:g} MB"
                            content = RecordingError(ErrorKind.TOO_LONG, detail)
                        else:
                            content = _content(archive, member)
                        recordings.append(Recording(key, source.uri, etag, content, member.name))
                    member = None
        except (tarfile.TarError, EOFError, zlib.error, ValueError) as problem:
            damage = RecordingError(
                ErrorKind.TRUNCATED if recordings or member else ErrorKind.UNREADABLE,
                f"the tar breaks off after {len(recordings)} recordings: {problem}",
            )
    yield from _with_texts(recordings, companions, source, etag)
    if damage:
        yield Recording(
            member.name if member else source.name, source.uri, etag, damage, member.name if member else None
        )


def split_key(name: str) -> tuple[str, str]:
    """A member's key, up to the first dot of its last part, and its last suffix in lower case.

    WebDataset's rule: https://github.com/webdataset/webdataset, `base_plus_ext`.
    """
    folder, _, base = name.rpartition("/")
    stem = base.split(".", 1)[0] or base
    return (f"{folder}/{stem}" if folder else stem), os.path.splitext(base)[1].lower()


def _with_texts(
    recordings: list[Recording], companions: Mapping[str, Mapping[str, Any]], source: SourceObject, etag: str
) -> Iterator[Recording]:
    """Recordings joined with the members or the manifest lines that speak of them."""
    if source.lines is None:
        for recording in recordings:
            reference, extra = split_fields(companions.get(recording.recording_id, {}))
            yield replace(recording, reference=reference, extra=extra)
        return
    entries = dict[str, list[dict[str, Any]]]()
    for line in source.lines.splitlines():
        fields = json.loads(line)
        # NeMo names the second and later stretches of one member "name-sub1.wav", "name-sub2.wav", …
        named = re.sub(r"-sub\d+(?=\.[^.]*$|$)", "", str(fields["audio_filepath"]))
        entries.setdefault(named, []).append(fields)
    for recording in recordings:
        matching = entries.pop(recording.member or "", None) or entries.pop(
            os.path.basename(recording.member or ""), None
        )
        for fields in matching or [{}]:
            reference, extra = split_fields(fields)
            stretch = {name: float(fields[name]) for name in ("offset", "duration") if fields.get("offset") is not None}
            yield replace(
                recording,
                recording_id=str(fields.get("audio_filepath", recording.recording_id)),
                offset_s=stretch.get("offset"),
                duration_s=stretch.get("duration"),
                reference=reference,
                extra=extra,
            )
    for named in entries if source.limit is None else ():
        problem = RecordingError(ErrorKind.MISSING, f"the manifest names {named!r}, which the tar does not hold")
        yield Recording(named, source.uri, etag, problem, named)


def count_recordings(source: SourceObject, enough: int, options: Mapping[str, Any]) -> int:
    """How many recordings a tar or Parquet file holds, counted up to `enough`; 1 where it is damaged."""
    if source.lines is not None:
        return len(source.lines.splitlines())
    filesystem, path = storage.connect(source.uri, options)
    with filesystem.open(path, "rb", block_size=READ_AHEAD_BYTES) as file:
        try:
            if source.format == "parquet":
                with pq.ParquetFile(file) as parquet:
                    return int(parquet.metadata.num_rows)
            count = 0
            with tarfile.open(fileobj=file, mode="r|*", tarinfo=_CheckedHeader) as archive:
                for member in archive:
                    count += member.isreg() and split_key(member.name)[1] in AUDIO_SUFFIXES
                    if count >= enough:
                        break
            return count
        except (tarfile.TarError, EOFError, zlib.error, pa.ArrowException):
            return 1  # its row of error


class _CheckedHeader(tarfile.TarInfo):
    """A header whose damage is an error; tarfile itself takes a bad one after the first for the archive's end."""

    @classmethod
    def frombuf(cls, buf: bytes | bytearray, encoding: str, errors: str) -> "_CheckedHeader":
        try:
            header = super().frombuf(buf, encoding, errors)
        except (tarfile.InvalidHeaderError, tarfile.TruncatedHeaderError) as problem:  # type: ignore[attr-defined]
            raise tarfile.ReadError(f"damaged header: {problem}") from None
        describes_next = header.type in (
            tarfile.XHDTYPE,
            tarfile.XGLTYPE,
            tarfile.GNUTYPE_LONGNAME,
            tarfile.GNUTYPE_LONGLINK,
        )
        if header.size < 0 or (describes_next and header.size > MAX_COMPANION_BYTES):
            raise tarfile.ReadError(f"a header claims {header.size} bytes")
        return header


def _content(archive: tarfile.TarFile, member: tarfile.TarInfo) -> bytes:
    file = archive.extractfile(member)
    return file.read() if file else b""


def read_parquet(
    filesystem: storage.Filesystem, path: str, source: SourceObject, etag: str, max_bytes: int
) -> Iterator[Recording]:
    """The rows of a Parquet file with a column of audio bytes, or of Hugging Face's struct of bytes and path."""
    data = storage.read(filesystem, path)
    row = 0
    try:
        with pq.ParquetFile(io.BytesIO(data)) as file:
            audio = audio_column(file.schema_arrow)
            for batch in file.iter_batches(ROWS_AT_ONCE):
                for fields in batch.to_pylist():
                    yield _parquet_recording(fields, audio, row, source, etag, max_bytes)
                    row += 1
    except (pa.ArrowException, OSError) as problem:
        detail = f"the Parquet file cannot be read from row {row} on: {problem}"
        yield Recording(source.name, source.uri, etag, RecordingError(ErrorKind.UNREADABLE, detail))


def audio_column(schema: pa.Schema) -> str:
    """The name of the column that holds audio: a struct with bytes, else the one of bytes, by preference "audio".

    Raises RecordingError (unreadable) where there is none, or more than one to choose from.
    """

    def is_bytes(kind: pa.DataType) -> bool:
        return bool(pa.types.is_binary(kind) or pa.types.is_large_binary(kind))

    structs = [
        each.name for each in schema if pa.types.is_struct(each.type) and each.type.get_field_index("bytes") >= 0
    ]
    found = structs or [each.name for each in schema if is_bytes(each.type)]
    if "audio" in found:
        return "audio"
    if len(found) != 1:
        columns = ", ".join(found or schema.names)
        detail = f"{len(found)} columns of audio bytes, and one is needed, called audio if there are more ({columns})"
        raise RecordingError(ErrorKind.UNREADABLE, detail)
    return str(found[0])


def _parquet_recording(
    fields: dict[str, Any], audio: str, row: int, source: SourceObject, etag: str, max_bytes: int
) -> Recording:
    value = fields.pop(audio)
    stored_path = value.get("path") if isinstance(value, dict) else None
    data = value.get("bytes") if isinstance(value, dict) else value
    content: bytes | RecordingError = data if data is not None else b""
    if data is None:
        content = RecordingError(ErrorKind.BAD_ENTRY, f"row {row} has no audio bytes (its path: {stored_path})")
    elif len(data) > max_bytes:
        content = RecordingError(ErrorKind.TOO_LONG, f"{len(data) / 1e6:.0f} MB, more than {max_bytes / 1e6:g} MB")
    name = next((str(fields[each]) for each in _ID_FIELDS if fields.get(each) is not None), None)
    reference, extra = split_fields({key: value for key, value in fields.items() if not isinstance(value, bytes)})
    recording_id = name or stored_path or f"{source.name}:{row}"
    return Recording(recording_id, source.uri, etag, content, str(row), reference=reference, extra=extra)
