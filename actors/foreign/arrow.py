"""Arrow and Parquet that others may have written, read as plain data.

An Arrow schema may name an extension type for any column, and whoever registered that type in this process then turns
its cells into objects: Ray Data registers one, in every worker, that unpickles them. So no extension type is ever seen
here. A Parquet file is read by its own schema and not by the Arrow schema that it may carry; an Arrow file or stream
that names an extension is refused. What is read is validated in full, for Arrow trusts offsets and lengths, and a
damaged one ends the process; and what it would expand to is bounded before.

Formats: https://arrow.apache.org/docs/format/Columnar.html (extension types, IPC files) and
https://parquet.apache.org/docs/file-format/ (the footer).
"""

import io
from typing import Any, BinaryIO

import pyarrow as pa
import pyarrow.parquet as pq

from actors.foreign.arrow_sizes import expanded_bytes
from actors.foreign.errors import NotPlain, OtherColumns, in_a_line
from actors.foreign.parquet_pages import Group, groups_of

MAX_FOOTER_BYTES = 64_000_000  # bytes; the footer of a Parquet file of 100,000 row groups has 50 MB
_ARROW_SCHEMA, _UNREAD = b"ARROW:schema", b"arrow.schema"  # the key of the Arrow schema, and one that nobody reads
_EXTENSION = b"ARROW:extension:name"
_EXTENDED = "it has columns of an extension type, which are not read"


def open_parquet(
    file: BinaryIO | pa.NativeFile, max_footer: int = MAX_FOOTER_BYTES, **options: Any
) -> tuple[pq.ParquetFile, list[Group]]:
    """A seekable Parquet file with columns of plain types alone: those of extension types are as they are stored. And
    its row groups, which are counted before Arrow takes memory for them.

    Bytes are `large_binary`, and texts `large_string`, whatever they were. `options` are ParquetFile's. Raises
    NotPlain, and what reading the file raises.
    """
    try:
        footer = parquet_footer(file, max_footer).replace(_ARROW_SCHEMA, _UNREAD)
        groups = groups_of(footer)
        alone = b"PAR1" + footer + len(footer).to_bytes(4, "little") + b"PAR1"
        metadata = pq.read_metadata(io.BytesIO(alone))
        plain = {"metadata": metadata, "arrow_extensions_enabled": False, "binary_type": pa.large_binary()}
        return pq.ParquetFile(file, **plain | options), groups
    except (pa.ArrowException, ValueError, LookupError) as problem:  # KeyError where a column of `options` is not there
        raise NotPlain(f"no Parquet file: {in_a_line(problem)}") from None


def parquet_footer(file: BinaryIO | pa.NativeFile, max_bytes: int) -> bytes:
    """The footer of a Parquet file, of at most so many bytes. Raises NotPlain."""
    return _footer(file, b"PAR1", b"PAR1", max_bytes)


def read_arrow(data: bytes, schema: pa.Schema, max_bytes: int) -> pa.Table:
    """The rows of an Arrow file (IPC) of exactly that schema, whose metadata may differ, where they are of no more than
    so many bytes. Raises NotPlain."""
    try:
        footer = _footer(io.BytesIO(data), b"ARROW1", b"ARROW1", len(data))
        if _EXTENSION in footer:
            raise NotPlain(_EXTENDED)
        if expanded_bytes(data, footer, max_bytes) > max_bytes:
            raise NotPlain(f"it would expand to more than {max_bytes:,} bytes")
        with pa.ipc.open_file(pa.BufferReader(data)) as file:
            if not file.schema.equals(schema):
                raise OtherColumns("its columns are not those of this version of the job")
            table = file.read_all()
        check(table)
    except NotPlain:
        raise
    except (pa.ArrowException, OSError, IndexError, ValueError) as problem:
        raise NotPlain(in_a_line(problem)) from None
    return table


def read_stream(data: pa.Buffer) -> pa.Table:
    """The rows of an Arrow stream from a process of this very job, without a copy. Raises NotPlain where its schema
    names an extension type."""
    if _EXTENSION in pa.ipc.read_message(data).metadata.to_pybytes():
        raise NotPlain(_EXTENDED)
    return pa.ipc.open_stream(data).read_all()


def check(table: pa.Table | pa.RecordBatch) -> None:
    """Raises NotPlain, or ArrowException, where a table's arrays are not what Arrow takes them for, or a column holds
    nulls that may not."""
    table.validate(full=True)
    for field, column in zip(table.schema, table.columns, strict=True):
        if not field.nullable and column.null_count:
            raise NotPlain(f"its column {field.name} has nulls")


def _footer(file: BinaryIO | pa.NativeFile, first: bytes, last: bytes, max_bytes: int) -> bytes:
    """The footer that stands at a file's end, before its own length in 4 bytes and the magic word."""
    end = file.seek(0, io.SEEK_END)
    tail = 4 + len(last)
    if end < len(first) + tail:
        raise NotPlain("it is too short")
    file.seek(end - tail)
    told = file.read(tail)
    length = int.from_bytes(told[:4], "little")
    if told[4:] != last or length > min(end - tail, max_bytes):
        raise NotPlain("it has no footer where one should be")
    file.seek(end - tail - length)
    return bytes(file.read(length))
