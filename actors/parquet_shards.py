"""Parquet shards with a column of audio bytes."""

import io
from collections.abc import Iterator
from itertools import accumulate
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from actors import storage
from actors.recordings import Recording, split_fields
from actors.schema import ErrorKind, RecordingError
from actors.units import SourceObject

ROWS_AT_ONCE = 16  # decoded from the file together; each may be a whole recording

_ID_FIELDS = ("id", "key", "__key__", "utt_id", "utterance_id", "recording_id")


def read_parquet(
    stored: storage.Stored, source: SourceObject, etag: str, max_bytes: int, share: tuple[int, int] = (0, 1)
) -> Iterator[Recording]:
    """The rows of a Parquet file with a column of audio bytes, or of Hugging Face's struct of bytes and path.

    At most `source.limit`. `share` is (number, count): one of several shares of the file's row groups, or of its rows
    where the groups are fewer.
    """
    is_whole = share == (0, 1)
    opened = io.BytesIO(storage.read(stored.filesystem, stored.path)) if is_whole else stored.open()
    row = 0
    try:
        with pq.ParquetFile(opened) as file:
            audio = audio_column(file.schema_arrow)
            row, last = _bounds(file.metadata, share)
            for fields in _rows(file, row, min(last, source.limit or last)):
                yield _parquet_recording(fields, audio, row, source, etag, max_bytes)
                row += 1
    except (pa.ArrowException, OSError) as problem:
        storage.check(opened)
        detail = f"the Parquet file cannot be read from row {row} on: {problem}"
        yield Recording(source.name, source.uri, etag, RecordingError(ErrorKind.UNREADABLE, detail))


def _bounds(metadata: pq.FileMetaData, share: tuple[int, int]) -> tuple[int, int]:
    """The first row of a share, and the one after its last."""
    groups, rows = metadata.num_row_groups, metadata.num_rows
    ends = list(accumulate((metadata.row_group(group).num_rows for group in range(groups)), initial=0))
    if groups < share[1]:
        return rows * share[0] // share[1], rows * (share[0] + 1) // share[1]
    return ends[groups * share[0] // share[1]], ends[groups * (share[0] + 1) // share[1]]


def _rows(file: pq.ParquetFile, first: int, last: int) -> Iterator[dict[str, Any]]:
    at = 0
    for group in range(file.num_row_groups):
        end = at + file.metadata.row_group(group).num_rows
        if at < last and end > first:
            for batch in file.iter_batches(ROWS_AT_ONCE, row_groups=[group]):
                begin = max(first - at, 0)
                yield from batch.slice(begin, max(last - at - begin, 0)).to_pylist()
                at += batch.num_rows
        at = end


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
        content = RecordingError(
            ErrorKind.TOO_LARGE, f"{len(data) / 1e6:.0f} MB, more than audio.max_megabytes ({max_bytes / 1e6:g})"
        )
    name = next((str(fields[each]) for each in _ID_FIELDS if fields.get(each) is not None), None)
    reference, extra = split_fields({key: value for key, value in fields.items() if not isinstance(value, bytes)})
    recording_id = name or stored_path or f"{source.name}:{row}"
    return Recording(recording_id, source.uri, etag, content, str(row), reference=reference, extra=extra)


def count_in_parquet(filesystem: storage.Filesystem, path: str) -> int:
    """How many rows a Parquet file holds, by its footer; 1 where it is damaged, for its row of error."""
    with filesystem.open(path, "rb") as file:
        try:
            with pq.ParquetFile(file) as parquet:
                return int(parquet.metadata.num_rows)
        except pa.ArrowException:
            return 1
