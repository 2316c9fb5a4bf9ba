"""The Parquet file of a part, written and read one row group at a time: a part may hold a million rows.

Parts are untrusted when read. A page can state any size, a value stored once may be that of every row, and a row can
have any number of tokens: each is bounded before memory is allocated for it.
"""

import functools
import io
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import BinaryIO

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from numpy.typing import NDArray

from actors import VERSION
from actors.foreign.arrow import check_table, open_parquet
from actors.foreign.errors import InvalidData, SchemaMismatch, one_line
from actors.foreign.parquet_pages import Group, pages
from actors.schema import PART_SCHEMA, SCHEMA_VERSION
from actors.storage.stored_file import reraise

GROUP_ROWS, GROUP_BYTES = 50_000, 64_000_000  # approximate size of a row group, in rows and in bytes of Arrow

MAX_FOOTER_BYTES = 16_000_000  # bytes; for 400 row groups it has 2 MB
MAX_ROWS = 20_000_000  # of a part: a tar of a terabyte, with members of 50 kB
MAX_EXPANDED_BYTES = 8_000_000_000  # bytes of Arrow; a million rows with tokens have 1 GB
MAX_PAGE_BYTES = 256_000_000  # bytes held at the same time: a page and a dictionary per column, usually a megabyte each
ENTRY_OVERHEAD_BYTES = 16  # of overhead per value of a dictionary in a reader
MAX_VALUES = 32_000_000  # of a column in a row group; earlier versions wrote all tokens of a part into one
MAX_ROW_BYTES = 16_000_000  # bytes
MAX_TOKENS = 50_000  # of a row; an hour has 45,000 frames
MAX_SECONDS = 1e8  # of a recording; three years
MAX_TIME_US = 253_402_300_800_000_000  # microseconds since 1970; Python's dates end with the year 9999
BATCH_ROWS, BATCH_BYTES = 10_000, 16_000_000  # read together

#: Of a part's file: the versions that it was written with.
METADATA = {"citrascribe_schema": SCHEMA_VERSION, "citrascribe_version": VERSION}

_ENCODINGS = frozenset({0, 2, 3, 8})  # plain, run-length and dictionary; the others can expand without bound
_TEXTS = (pa.string(), pa.dictionary(pa.int32(), pa.string()))


def check_rows(rows: pa.Table) -> None:
    """Raises InvalidData if valid rows of PART_SCHEMA have values that Python or a reader of parts cannot handle."""
    check_times(rows)
    tokens = pc.list_flatten(rows.column("tokens"))
    if not _are_possible([pc.struct_field(tokens, name) for name in ("start_s", "end_s")]):
        raise InvalidData("it has impossible times")
    if (pc.max(pc.list_value_length(rows.column("tokens"))).as_py() or 0) > MAX_TOKENS:
        raise InvalidData(f"it has a row of more than {MAX_TOKENS:,} tokens")


def check_times(rows: pa.Table) -> None:
    """Raises InvalidData if rows, of PART_SCHEMA or of HEARD_SCHEMA, have impossible times."""
    if not _are_possible([rows.column(name) for name in ("start_s", "end_s", "duration_s")]):
        raise InvalidData("it has impossible times")
    written = pc.min_max(rows.column("transcribed_at").cast(pa.int64())).as_py()
    if written["min"] is not None and not 0 <= written["min"] <= written["max"] < MAX_TIME_US:
        raise InvalidData("it has values of transcribed_at outside the years 1970 to 9999")


def _are_possible(times: Sequence[pa.ChunkedArray]) -> bool:
    return not any(pc.all(pc.less(pc.abs(each), MAX_SECONDS)).as_py() is False for each in times)


class PartWriter:
    """Writes a part to memory, compressed; or a file of another schema."""

    def __init__(self, schema: pa.Schema = PART_SCHEMA) -> None:
        self._sink = io.BytesIO()
        self._writer = pq.ParquetWriter(self._sink, schema.with_metadata(METADATA), compression="zstd")
        self._waiting, self._rows, self._bytes = list[pa.Table](), 0, 0

    def add(self, rows: pa.Table) -> None:
        """Adds rows of its schema."""
        self._waiting.append(rows.replace_schema_metadata(None))
        self._rows, self._bytes = self._rows + rows.num_rows, self._bytes + rows.nbytes
        if self._rows >= GROUP_ROWS or self._bytes >= GROUP_BYTES:
            self._flush()

    def finish(self, metadata: Mapping[str, str] = {}) -> bytes:
        """Finishes the file, with further metadata; returns its content."""
        self._flush()
        if metadata:
            self._writer.add_key_value_metadata(metadata)
        self._writer.close()
        return self._sink.getvalue()

    def _flush(self) -> None:
        if self._rows:
            group = pa.concat_tables(self._waiting).unify_dictionaries().combine_chunks()
            self._writer.write_table(group, row_group_size=GROUP_ROWS)
        self._waiting, self._rows, self._bytes = [], 0, 0


class Part:
    """A part that was read once from start to end and is valid; or a file of another schema, as PartWriter writes."""

    def __init__(
        self, file: BinaryIO, check: Callable[[pa.Table], None] = check_rows, schema: pa.Schema = PART_SCHEMA
    ) -> None:
        """Raises InvalidData if the file (seekable) is not a part of this version, or `check` raises it."""
        self._file, self._check, self._schema = file, check, schema
        self.rows = sum(table.num_rows for table in self.tables())

    def metadata(self) -> Mapping[bytes, bytes]:
        """The metadata of its file. Raises InvalidData."""
        return part_metadata(self._file, self._schema)

    def tables(self) -> Iterator[pa.Table]:
        """Yields its rows, of its schema, in small tables. Raises InvalidData."""
        try:
            file, groups = _open(self._file, self._schema)
            if not file.schema_arrow.equals(_stored_schema(self._schema)):
                raise SchemaMismatch("its columns are not those of this version of the job")
            if file.metadata.num_rows > MAX_ROWS:
                raise InvalidData(f"it has more than {MAX_ROWS:,} rows")
            expanded = 0
            for number, group in zip(range(file.num_row_groups), groups, strict=True):
                if not self._fits(group):
                    raise InvalidData(f"its row group {number} would expand to more than a part may hold")
                for batch in file.iter_batches(BATCH_ROWS, row_groups=[number], use_threads=False):
                    for table in _expand(batch, self._schema):
                        expanded += table.nbytes
                        if expanded > MAX_EXPANDED_BYTES:
                            raise InvalidData(f"it expands to more than {MAX_EXPANDED_BYTES:,} bytes")
                        self._check(table)
                        yield table
        except InvalidData:
            raise
        except (pa.ArrowException, OSError, IndexError, ValueError) as problem:
            reraise(self._file)
            raise InvalidData(one_line(problem)) from None

    def _fits(self, group: Group) -> bool:
        """Whether a row group can be read: that takes the largest page and the dictionary of each column at once."""
        held = 0
        for chunk in group.chunks:
            largest = dictionary = values = 0
            for page in pages(self._file, chunk):
                if page.is_dictionary:
                    dictionary = max(dictionary, page.unpacked + ENTRY_OVERHEAD_BYTES * page.values)
                elif page.encoding not in _ENCODINGS:
                    return False
                else:
                    largest, values = max(largest, page.unpacked), values + page.values
            held += largest + dictionary
            if values > MAX_VALUES or held > MAX_PAGE_BYTES:
                return False
        return True


def part_metadata(file: BinaryIO, schema: pa.Schema = PART_SCHEMA) -> Mapping[bytes, bytes]:
    """The metadata of a part's file, of which only the footer is read. Raises InvalidData."""
    try:
        opened, _ = _open(file, schema)
        if not opened.schema_arrow.equals(_stored_schema(schema)):
            raise SchemaMismatch("its columns are not those of this version of the job")
        return dict(opened.metadata.metadata or {})
    except InvalidData:
        raise
    except (pa.ArrowException, OSError, IndexError, ValueError) as problem:
        reraise(file)
        raise InvalidData(one_line(problem)) from None


def _open(file: BinaryIO, schema: pa.Schema) -> tuple[pq.ParquetFile, list[Group]]:
    """Opens a part such that texts stay dictionary-encoded, as stored, because only then their size is known."""
    texts = [path for field in schema for path in _text_paths(field)]
    return open_parquet(file, MAX_FOOTER_BYTES, binary_type=None, read_dictionary=texts, pre_buffer=False)


def _text_paths(field: pa.Field) -> list[str]:
    """The columns of Parquet that have the texts of a column: its own, or those in the elements of its lists."""
    if field.type in _TEXTS:
        return [field.name]
    if not pa.types.is_list(field.type):
        return []
    inner = list(field.type.value_type) if pa.types.is_struct(field.type.value_type) else []
    path = f"{field.name}.list.element"
    return [f"{path}.{each.name}" for each in inner if each.type in _TEXTS] if inner else [path]


@functools.cache
def _stored_schema(schema: pa.Schema) -> pa.Schema:
    """The schema of a part as `_open` returns it."""
    return _open(io.BytesIO(PartWriter(schema).finish()), schema)[0].schema_arrow


def _expand(batch: pa.RecordBatch, schema: pa.Schema) -> Iterator[pa.Table]:
    """Expands dictionaries as the schema requires; yields tables of about BATCH_BYTES. Raises InvalidData."""
    batch.validate(full=True)
    sizes = sum(map(_row_sizes, batch.columns), np.zeros(batch.num_rows, np.int64))
    if sizes.max(initial=0) > MAX_ROW_BYTES:
        raise InvalidData(f"it has a row of more than {MAX_ROW_BYTES:,} bytes")
    ends, first = np.cumsum(sizes), 0
    while first < batch.num_rows:
        before = ends[first - 1] if first else 0
        last = max(int(np.searchsorted(ends, before + BATCH_BYTES, "right")), first + 1)
        rows = pa.Table.from_batches([batch.slice(first, last - first)])
        columns = [rows.column(each.name).cast(each.type) for each in schema]
        table = pa.Table.from_arrays(columns, schema=schema)
        check_table(table)
        yield table
        first = last


def _row_sizes(column: pa.Array) -> NDArray[np.int64]:
    """Bytes of each row of a column once dictionaries are expanded."""
    if pa.types.is_dictionary(column.type):
        return _as_int64(pc.binary_length(column.dictionary).take(column.indices))
    if pa.types.is_list(column.type):
        lengths = _as_int64(column.value_lengths())
        if lengths.max(initial=0) > MAX_TOKENS:
            raise InvalidData(f"it has a row of more than {MAX_TOKENS:,} tokens or warnings")
        ends = np.concatenate([[0], np.cumsum(_row_sizes(column.flatten()))]).astype(np.int64)
        lasts = np.cumsum(lengths)
        sizes: NDArray[np.int64] = ends[lasts] - ends[lasts - lengths]
        return sizes
    if pa.types.is_struct(column.type):
        fields = (_row_sizes(pc.struct_field(column, [at])) for at in range(column.type.num_fields))
        return sum(fields, np.zeros(len(column), np.int64))
    return np.full(len(column), 8, np.int64)


def _as_int64(lengths: pa.Array) -> NDArray[np.int64]:
    """Lengths as an array of numpy; 0 for a null."""
    numbers: NDArray[np.int64] = lengths.fill_null(0).to_numpy(zero_copy_only=False).astype(np.int64)
    return numbers
