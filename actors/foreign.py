"""Arrow and Parquet that others may have written, read as plain data.

An Arrow schema may name an extension type for any column, and whoever registered that type in this process then turns
its cells into objects: Ray Data registers one, in every worker, that unpickles them. So no extension type is ever seen
here. A Parquet file is read by its own schema and not by the Arrow schema that it may carry; an Arrow file that names
an extension is refused. What is read is validated in full, for Arrow trusts offsets and lengths, and a damaged one ends
the process.

Formats: https://arrow.apache.org/docs/format/Columnar.html (extension types, IPC files) and
https://parquet.apache.org/docs/file-format/ (the footer).
"""

import io
from typing import Any, BinaryIO

import pyarrow as pa
import pyarrow.parquet as pq

MOST_FOOTER = 256_000_000  # bytes; the footer of a Parquet file of 100,000 row groups has 50 MB
_ARROW_SCHEMA, _UNREAD = b"ARROW:schema", b"arrow.schema"  # the key of the Arrow schema, and one that nobody reads
_EXTENSION = b"ARROW:extension:name"


class NotPlain(ValueError):
    """A file is not what it should be: damaged, of another schema, or of types that are not plain data."""


def open_parquet(file: BinaryIO | pa.NativeFile, **options: Any) -> pq.ParquetFile:
    """A seekable Parquet file with columns of plain types alone: those of extension types are as they are stored.

    Bytes are `large_binary`, whatever they were. `options` are ParquetFile's. Raises NotPlain, and what reading raises.
    """
    try:
        footer = _footer(file, b"PAR1", b"PAR1", MOST_FOOTER).replace(_ARROW_SCHEMA, _UNREAD)
        alone = b"PAR1" + footer + len(footer).to_bytes(4, "little") + b"PAR1"
        metadata = pq.read_metadata(io.BytesIO(alone))
        return pq.ParquetFile(
            file, metadata=metadata, arrow_extensions_enabled=False, binary_type=pa.large_binary(), **options
        )
    except (pa.ArrowException, ValueError) as problem:
        raise NotPlain(f"no Parquet file: {problem}") from None


def read_arrow(data: bytes, schema: pa.Schema) -> pa.Table:
    """The rows of an Arrow file (IPC) of exactly that schema, whose metadata may differ. Raises NotPlain."""
    try:
        if _EXTENSION in _footer(io.BytesIO(data), b"ARROW1", b"ARROW1", len(data)):
            raise NotPlain("it has columns of an extension type, which are not read")
        with pa.ipc.open_file(pa.BufferReader(data)) as file:
            if not file.schema.equals(schema):
                raise NotPlain("its columns are not those of this version of the job")
            table = file.read_all()
        table.validate(full=True)
    except (pa.ArrowException, OSError, ValueError) as problem:
        raise NotPlain(str(problem)) from None
    return table


def _footer(file: BinaryIO | pa.NativeFile, first: bytes, last: bytes, most: int) -> bytes:
    """The footer that stands at a file's end, before its own length in 4 bytes and the magic word."""
    end = file.seek(0, io.SEEK_END)
    tail = 4 + len(last)
    if end < len(first) + tail:
        raise NotPlain("it is too short")
    file.seek(end - tail)
    told = file.read(tail)
    length = int.from_bytes(told[:4], "little")
    if told[4:] != last or length > min(end - tail, most):
        raise NotPlain("it has no footer where one should be")
    file.seek(end - tail - length)
    return bytes(file.read(length))
