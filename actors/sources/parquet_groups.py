"""Reads the rows of one row group of a Parquet file, within bounds. What is damaged costs only the rows and the columns
that it is in, as far as Arrow can read the others."""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence, Set
from dataclasses import dataclass

import pyarrow as pa
import pyarrow.parquet as pq

from actors.foreign.arrow_values import approximate
from actors.foreign.errors import InvalidData, one_line
from actors.foreign.parquet_pages import Chunk, Group, Page, pages
from actors.foreign.parquet_reach import column_of, columns_to_skip, row_bytes
from actors.schema import ErrorKind, RecordingError
from actors.sources.parquet_file import BufferedFile
from actors.sources.recordings import UNREAD_TEXT
from actors.storage.stored_file import reraise

ROWS_AT_ONCE = 16  # decoded together; each may be a whole recording
BYTES_AT_ONCE = 256_000_000  # upper bound of rows decoded together, if each were as large as a row can be
MAX_COMPRESSION_RATIO = 50  # of a page of more than BYTES_AT_ONCE; audio compresses tenfold at most
MAX_UNREAD_NAMES = 20  # of skipped columns, listed in a row's fields

PATH = "\0path"  # key for the path in Hugging Face's struct, among a row's fields
UNREAD_COLUMNS = "unread_columns"

Content = bytes | RecordingError
Row = tuple[Content, dict[str, object]]  # the audio and the other fields


@dataclass(frozen=True)
class SelectedGroup:
    """A row group to read: its number, its rows in the file, `first` up to `end`, and the chunks to read."""

    number: int
    first: int
    end: int
    chunks: Sequence[Chunk]

    @property
    def span(self) -> tuple[int, int]:
        """The range of bytes that contains all chunks: start and end."""
        return min((each.start for each in self.chunks), default=0), max((each.end for each in self.chunks), default=0)


def select_groups(groups: Sequence[Group], names: Sequence[str], first: int, last: int) -> Iterator[SelectedGroup]:
    """The row groups that contain rows `first` up to `last`, with the chunks of the columns `names`."""
    end, columns = 0, frozenset(names)
    for number, group in enumerate(groups):
        start, end = end, end + group.rows
        if start < last and end > first:
            chunks = [each for each in group.chunks if column_of(each.path, columns) is not None]
            yield SelectedGroup(number, start, end, chunks)


@dataclass(frozen=True)
class GroupReader:
    """Reads the row groups of a file. `names` are the columns to read, `lists` those that may have several values in a
    row; the audio is in the column `audio`."""

    file: BufferedFile
    parquet: pq.ParquetFile
    audio: str
    names: Sequence[str]
    lists: Set[str]
    max_bytes: int

    def rows(self, group: SelectedGroup, first: int, last: int) -> Iterator[Row]:
        """The rows of a group among `first` up to `last`. If the group is damaged, they are read without the columns
        that are; rows whose audio cannot be read are errors (unreadable)."""
        at, last = max(first, group.first), min(last, group.end)
        detail = "its row group has fewer rows than it states"
        if group.span[1] - group.span[0] <= BYTES_AT_ONCE:
            self.file.hold(*group.span)
        for is_repeated in (False, True):
            try:
                names = self._readable(group) if is_repeated else self.names
                for row in self._contents(group, names, at, last, 1 if is_repeated else ROWS_AT_ONCE):
                    at += 1
                    yield row
                    del row  # release it before the next one is read: it may be large
            except Exception as problem:
                if not is_damage(problem):
                    raise
                reraise(self.file)
                detail = f"its row group is damaged: {one_line(problem)}"
            if at >= last:
                return
        for _ in range(at, last):
            yield RecordingError(ErrorKind.UNREADABLE, detail), {}

    def _readable(self, group: SelectedGroup) -> list[str]:
        """The columns of a group that can be read, and those of the audio in any case."""
        readable = list[str]()
        for name in self.names:
            try:
                if name not in self._required:
                    sizes, bomb = self._sizes(group, [name])
                    if bomb or sizes[name] > BYTES_AT_ONCE:
                        continue
                    for _ in self._batches(group, [name], sizes[name]):
                        pass
                readable.append(name)
            except Exception as problem:
                if not is_damage(problem):
                    raise
                reraise(self.file)
        return readable

    @property
    def _required(self) -> set[str]:
        return {self.audio, f"{self.audio}.bytes"}

    def _sizes(self, group: SelectedGroup, names: Sequence[str]) -> tuple[Counter[str], Page | None]:
        """The most bytes that a row of each column takes, and a page that is too large to decompress, if any."""
        sizes, columns = Counter(dict.fromkeys(names, 0)), frozenset(names)
        chunks = {each: name for each in group.chunks if (name := column_of(each.path, columns)) is not None}
        found = {chunk: list(pages(self.file, chunk)) for chunk in chunks}
        for page in (page for each in found.values() for page in each if _is_too_large(page, self.max_bytes)):
            return sizes, page
        for chunk, each in found.items():
            is_list = chunk.path in self.lists
            if not is_list and sum(page.values for page in each if not page.is_dictionary) > group.end - group.first:
                raise InvalidData(f"column {chunk.path[:80]} has more values than rows")
            sizes[chunks[chunk]] += row_bytes(self.file, chunk, each, is_list)
        return sizes, None

    def _contents(self, group: SelectedGroup, names: Sequence[str], first: int, last: int, most: int) -> Iterator[Row]:
        """The rows of a group from `first` up to `last`, `most` of which are decoded together. The largest columns are
        skipped if a row could be too large: the field `unread_columns` lists them."""
        sizes, bomb = self._sizes(group, names)
        if bomb:
            detail = f"{bomb.stored} bytes of its row group decompress to {bomb.unpacked / 1e6:.0f} MB"
            detail += f" (audio.max_megabytes is {self.max_bytes / 1e6:g})"
            yield from ((RecordingError(ErrorKind.TOO_LARGE, detail), {}) for _ in range(first, last))
            return
        others = {name: size for name, size in sizes.items() if name not in self._required}
        unread = columns_to_skip(others, BYTES_AT_ONCE)
        read = [name for name in names if name not in unread]
        unread |= set(self.names) - set(names)
        note = {UNREAD_COLUMNS: sorted(unread)[:MAX_UNREAD_NAMES]} if unread else {}
        at, largest = group.first, sum(sizes[name] for name in read)
        for batch in self._batches(group, read, largest, most):
            begin = max(first - at, 0)
            selected = batch.slice(begin, max(last - at - begin, 0))
            at += batch.num_rows
            columns = list(zip(batch.schema.names, selected.columns, strict=True))
            for number in range(selected.num_rows):
                yield self._row(columns, number, note)
            del batch, selected, columns

    def _batches(
        self, group: SelectedGroup, names: Sequence[str], row_size: int, most: int = ROWS_AT_ONCE
    ) -> Iterator[pa.RecordBatch]:
        at_once = min(max(BYTES_AT_ONCE // max(row_size, 1), 1), most)
        batches: Iterator[pa.RecordBatch] = self.parquet.iter_batches(
            at_once, row_groups=[group.number], columns=list(names)
        )
        return batches

    def _row(self, columns: Sequence[tuple[str, pa.Array]], number: int, note: Mapping[str, object]) -> Row:
        """A row of a batch; `note` is added to its fields."""
        fields, unread = dict[str, object](note), list[str]()
        for name, column in columns:
            try:
                fields[name] = column[number].as_py()
            except (MemoryError, pa.ArrowMemoryError):
                raise
            except Exception as problem:  # noqa: BLE001 - ValueError, OverflowError, ArrowException and others, by type
                problems = list[str]()
                value = approximate(column[number], problem, problems)
                unread += (f"column {name}: {each}" for each in problems[:1])
                if value is not None:
                    fields[name] = value
        value = fields.pop(self.audio, None)
        path = None
        if isinstance(value, dict):
            path, value = value.get("path"), value.get("bytes")
        if unread:
            fields[UNREAD_TEXT] = "; ".join(unread)
        if path:
            fields[PATH] = path
        if not isinstance(value, bytes):
            return RecordingError(ErrorKind.BAD_ENTRY, f"there are no audio bytes (its path: {path})"), fields
        if len(value) > self.max_bytes:
            detail = f"{len(value) / 1e6:.0f} MB, more than audio.max_megabytes ({self.max_bytes / 1e6:g})"
            return RecordingError(ErrorKind.TOO_LARGE, detail), fields
        return value, fields


def is_damage(problem: Exception) -> bool:
    """Whether an exception means a damaged file; Arrow's own MemoryError means an absurd size in it."""
    return not isinstance(problem, MemoryError) or isinstance(problem, pa.ArrowException)


def _is_too_large(page: Page, max_bytes: int) -> bool:
    """Whether a page is too large to decompress. Reading a row of it takes five times its size."""
    return page.unpacked > BYTES_AT_ONCE and page.unpacked > min(MAX_COMPRESSION_RATIO * page.stored, max_bytes)
