"""Chooses the columns of a Parquet file that are read: the audio, and what is not binary."""

import pyarrow as pa

from actors.schema import ErrorKind, RecordingError


def columns_of(schema: pa.Schema) -> tuple[str, list[str]]:
    """The name of the audio column, and the paths of the columns to read: the audio's bytes and path, and all other
    columns that contain no bytes.

    The audio column is a struct with bytes, or else a column of bytes; of several, the one named "audio". Raises
    RecordingError (unreadable) if there is none, or the choice is ambiguous.
    """
    structs = [each.name for each in schema if _is_audio_struct(each.type)]
    found = structs or [each.name for each in schema if _is_binary(each.type)]
    audio = "audio" if "audio" in found else found[0] if len(found) == 1 else None
    if audio is None:
        columns = ", ".join(found or schema.names)
        detail = f"{len(found)} columns of audio bytes; one is needed, named audio if there are several ({columns})"
        raise RecordingError(ErrorKind.UNREADABLE, detail)
    parts = ("bytes", "path")
    kind = schema.field(audio).type
    own = [f"{audio}.{part}" for part in parts if kind.get_field_index(part) >= 0] if structs else [audio]
    return audio, own + [each.name for each in schema if each.name != audio and not _contains_binary(each.type)]


def _is_audio_struct(kind: pa.DataType) -> bool:
    index = kind.get_field_index("bytes") if pa.types.is_struct(kind) else -1
    return index >= 0 and _is_binary(kind.field(index).type)


def _is_binary(kind: pa.DataType) -> bool:
    return bool(pa.types.is_binary(kind) or pa.types.is_large_binary(kind))


def _contains_binary(kind: pa.DataType) -> bool:
    inner = (kind.field(index).type for index in range(kind.num_fields))
    return _is_binary(kind) or pa.types.is_fixed_size_binary(kind) or any(map(_contains_binary, inner))
