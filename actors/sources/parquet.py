"""Reads recordings from Parquet files with a column of audio bytes."""

import io
from collections import Counter
from collections.abc import Callable, Iterator, Sequence, Set
from dataclasses import dataclass
from itertools import accumulate
from typing import Any, cast

import pyarrow as pa
import pyarrow.parquet as pq

from actors.foreign.arrow import open_parquet
from actors.foreign.errors import InvalidData
from actors.foreign.parquet_pages import Chunk, Group, Page, pages
from actors.foreign.parquet_reach import column_of, columns_to_skip, list_columns, row_bytes
from actors.schema import ErrorKind, RecordingError
from actors.sources.memory import MemoryBudget
from actors.sources.parquet_columns import columns_of
from actors.sources.recordings import Recording, shortened_name, split_fields
from actors.storage.answers import FileTooLarge
from actors.storage.place import Place
from actors.storage.stored_file import StoredFile, reraise
from actors.units import SourceObject

ROWS_AT_ONCE = 16  # decoded together; each may be a whole recording
BYTES_AT_ONCE = 256_000_000  # upper bound of rows decoded together, if each were as large as a row can be
MAX_COMPRESSION_RATIO = 50  # of a page of more than BYTES_AT_ONCE; audio compresses tenfold at most
HELD_BYTES = 64_000_000  # a larger file is read in ranges
MAX_UNREAD_NAMES = 20  # of skipped columns, listed in a row's fields
MAX_ROWS = 1_000_000  # of a share of a file; each is a recording, and nulls take no bytes

_PATH = "\0path"  # key for the path in Hugging Face's struct, among a row's fields
_ID_FIELDS = ("id", "key", "__key__", "utt_id", "utterance_id", "recording_id")

Content = bytes | RecordingError


@dataclass(frozen=True)
class _SelectedGroup:
    """A row group to read: its number, its rows in the file, `first` up to `end`, and the chunks to read."""

    number: int
    first: int
    end: int
    chunks: Sequence[Chunk]

    @property
    def rows(self) -> int:
        return self.end - self.first

    @property
    def span(self) -> tuple[int, int]:
        """The range of bytes that contains all chunks: start and end."""
        return min(each.start for each in self.chunks), max(each.end for each in self.chunks)


def read_parquet(
    stored: StoredFile,
    source: SourceObject,
    etag: str,
    max_bytes: int,
    budget: MemoryBudget,
    share: tuple[int, int] = (0, 1),
    held_bytes: int | None = None,
) -> Iterator[Recording]:
    """Reads the rows of a Parquet file with a column of audio bytes, or of Hugging Face's struct of bytes and path.

    At most `source.limit` rows. `share` is (number, count): one of several shares of the file's row groups, or of its
    rows if there are fewer groups than shares. Each row of a group whose pages are too large to be decompressed has the
    error `too_large`. A file of more than `held_bytes` is not read whole.
    """
    file, row = _BufferedFile(stored, HELD_BYTES if held_bytes is None else held_bytes), 0
    try:
        parquet, groups = open_parquet(file, pre_buffer=False)
        with parquet:
            audio, names = columns_of(parquet.schema_arrow)
            row, last = _bounds(groups, share)
            end = min(last, source.limit or last)
            last = min(end, row + MAX_ROWS)
            lists = list_columns(parquet)
            for group in _select_groups(groups, names, row, last):
                with budget.hold(group.span[1] - group.span[0]):
                    for content, fields in _contents(file, parquet, group, audio, names, lists, (row, last), max_bytes):
                        yield _recording(content, fields, row, source, etag)
                        row += 1
                        del content, fields  # release them before the next row is read: they may be large
        if end > last:
            problem = RecordingError(ErrorKind.TOO_LARGE, f"too many rows: rows from {last} to {end - 1} were not read")
            yield Recording(source.name, source.uri, etag, problem)
    except RecordingError:
        raise
    except Exception as problem:  # Arrow raises many kinds; its own MemoryError means an absurd size
        reraise(file)
        if isinstance(problem, MemoryError) and not isinstance(problem, pa.ArrowException):
            raise
        detail = f"the Parquet file cannot be read from row {row} on: {problem}"
        yield Recording(source.name, source.uri, etag, RecordingError(ErrorKind.UNREADABLE, detail))


class _BufferedFile(io.RawIOBase):
    """A Parquet file with a buffer: one of at most `held_bytes` whole, else a row group at a time, in one request."""

    def __init__(self, stored: StoredFile, held_bytes: int) -> None:
        self._ranges, self._stored, self._at, self._held_bytes = stored.open(), stored, 0, held_bytes
        self._held, self._start, self._size = b"", 0, stored.size
        self.raw: Any = self._ranges.raw  # for `reraise`
        if stored.size <= held_bytes:
            try:
                self._held = stored.place.read(held_bytes)
            except FileTooLarge as problem:
                raise RecordingError(ErrorKind.TOO_LARGE, str(problem)) from None
            self._size = len(self._held)  # over HTTP it may have been unknown

    def hold(self, start: int, end: int) -> None:
        """Reads a range into the buffer, which replaces the earlier one."""
        if self._size > self._held_bytes:
            self._held, self._start = b"", start
            try:
                self._held = self._stored.place.read_range(start, end)
            except OSError as problem:
                self.raw.problem = problem
                raise

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        self._at = offset + {io.SEEK_SET: 0, io.SEEK_CUR: self._at, io.SEEK_END: self._size}[whence]
        return self._at

    def tell(self) -> int:
        return self._at

    def read(self, size: int = -1) -> bytes:
        at = self._at - self._start
        size = size if size >= 0 else self._size - self._at
        if at >= 0 and at + size <= len(self._held):
            data = self._held[at : at + size]
        else:
            self._ranges.seek(self._at)
            data = self._ranges.read(size)
        self._at += len(data)
        return data


def _bounds(groups: Sequence[Group], share: tuple[int, int]) -> tuple[int, int]:
    """The rows of a share: first and end."""
    ends = list(accumulate((group.rows for group in groups), initial=0))
    number, count = share
    if len(groups) < count:
        return ends[-1] * number // count, ends[-1] * (number + 1) // count
    return ends[len(groups) * number // count], ends[len(groups) * (number + 1) // count]


def _select_groups(groups: Sequence[Group], names: Sequence[str], first: int, last: int) -> Iterator[_SelectedGroup]:
    """The row groups that contain rows `first` up to `last`, with the chunks of the columns `names`."""
    end, columns = 0, frozenset(names)
    for number, group in enumerate(groups):
        start, end = end, end + group.rows
        if start < last and end > first:
            yield _SelectedGroup(
                number, start, end, [each for each in group.chunks if column_of(each.path, columns) is not None]
            )


def _contents(
    file: _BufferedFile,
    parquet: pq.ParquetFile,
    group: _SelectedGroup,
    audio: str,
    names: Sequence[str],
    lists: Set[str],
    rows: tuple[int, int],
    max_bytes: int,
) -> Iterator[tuple[Content, dict[str, object]]]:
    """The audio and the other fields of each row of a group, among `rows`, (first, end). The largest columns are
    skipped if a row could be too large: the field `unread_columns` lists them."""
    if group.span[1] - group.span[0] <= BYTES_AT_ONCE:
        file.hold(*group.span)
    found = {chunk: list(pages(file, chunk)) for chunk in group.chunks}
    if bombs := [page for each in found.values() for page in each if _is_too_large(page, max_bytes)]:
        detail = f"{bombs[0].stored} bytes of its row group decompress to {bombs[0].unpacked / 1e6:.0f} MB"
        detail += f" (audio.max_megabytes is {max_bytes / 1e6:g})"
        for _ in range(max(rows[0], group.first), min(rows[1], group.end)):
            yield RecordingError(ErrorKind.TOO_LARGE, detail), {}
        return
    required = {name for name in names if name in (audio, f"{audio}.bytes")}
    sizes, columns = Counter(dict.fromkeys(names, 0)), frozenset(names)
    for chunk, each in found.items():
        if chunk.path not in lists and sum(page.values for page in each if not page.is_dictionary) > group.rows:
            raise RecordingError(ErrorKind.UNREADABLE, f"column {chunk.path[:80]} has more values than rows")
        sizes[column_of(chunk.path, columns) or ""] += row_bytes(file, chunk, each, chunk.path in lists)
    unread = columns_to_skip({name: size for name, size in sizes.items() if name not in required}, BYTES_AT_ONCE)
    read = [name for name in names if name not in unread]
    largest = sum(sizes[name] for name in read)
    note = {"unread_columns": sorted(unread)[:MAX_UNREAD_NAMES]} if unread else {}
    for fields in _rows(parquet, group, read, *rows, max(BYTES_AT_ONCE // max(largest, 1), 1)):
        value = fields.pop(audio)
        path = value.get("path") if isinstance(value, dict) else None
        data = cast("bytes | None", value.get("bytes") if isinstance(value, dict) else value)
        content: Content = data or b""
        if data is None:
            content = RecordingError(ErrorKind.BAD_ENTRY, f"there are no audio bytes (its path: {path})")
        elif len(data) > max_bytes:
            detail = f"{len(data) / 1e6:.0f} MB, more than audio.max_megabytes ({max_bytes / 1e6:g})"
            content = RecordingError(ErrorKind.TOO_LARGE, detail)
        yield content, fields | note | ({_PATH: path} if path else {})
        del content, fields, value, data


def _is_too_large(page: Page, max_bytes: int) -> bool:
    """Whether a page is too large to decompress. Reading a row of it takes five times its size."""
    return page.unpacked > BYTES_AT_ONCE and page.unpacked > min(MAX_COMPRESSION_RATIO * page.stored, max_bytes)


def _rows(
    parquet: pq.ParquetFile, group: _SelectedGroup, names: Sequence[str], first: int, last: int, at_once: int
) -> Iterator[dict[str, object]]:
    """The rows of a group among `first` up to `last`, as values by column name."""
    at = group.first
    for batch in parquet.iter_batches(min(at_once, ROWS_AT_ONCE), row_groups=[group.number], columns=list(names)):
        begin = max(first - at, 0)
        selected = batch.slice(begin, max(last - at - begin, 0))
        at += batch.num_rows
        columns = {name: _values(column) for name, column in zip(batch.schema.names, selected.columns, strict=True)}
        for row in range(selected.num_rows):
            yield {name: value(row) for name, value in columns.items()}
        del batch, selected, columns


def _values(column: pa.Array) -> Callable[[int], object]:
    """A function that returns a column's value by row. A value that Python cannot represent, such as a date in the year
    20,000 or text that is not UTF-8, is approximated."""

    def value(row: int) -> object:
        scalar = column[row]
        try:
            return scalar.as_py()
        except (ValueError, OverflowError):  # UnicodeDecodeError is a ValueError
            pass
        try:
            return scalar.cast(pa.large_binary()).as_py().decode("utf-8", "replace")
        except (pa.ArrowException, ValueError):
            return str(getattr(scalar, "value", "unreadable"))  # dates and times: their integer

    return value


def _recording(content: Content, fields: dict[str, object], row: int, source: SourceObject, etag: str) -> Recording:
    path = fields.pop(_PATH, None)
    name = next((str(fields[each]) for each in _ID_FIELDS if fields.get(each) is not None), None)
    reference, extra = split_fields(fields)
    recording_id = name or str(path or f"{source.name}:{row}")
    return Recording(
        shortened_name(recording_id), source.uri, etag, content, str(row), reference=reference, extra=extra
    )


def count_in_parquet(place: Place) -> int:
    """The number of rows of a Parquet file, from its footer; 1 if it is damaged, for the row with its error."""
    with place.open() as file:
        try:
            return sum(group.rows for group in open_parquet(file)[1])
        except InvalidData:
            return 1
