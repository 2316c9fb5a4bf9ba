"""Reads recordings from Parquet files with a column of audio bytes."""

from collections.abc import Iterator, Sequence
from itertools import accumulate

from actors.foreign.arrow import open_parquet
from actors.foreign.errors import InvalidData
from actors.foreign.parquet_pages import Group
from actors.foreign.parquet_reach import list_columns
from actors.schema import ErrorKind, RecordingError
from actors.sources.account import Entries
from actors.sources.memory import MemoryBudget
from actors.sources.parquet_columns import columns_of
from actors.sources.parquet_file import BufferedFile
from actors.sources.parquet_groups import PATH, Content, GroupReader, is_damage, select_groups
from actors.sources.recordings import Recording, shortened_name, split_fields
from actors.storage.place import Place
from actors.storage.stored_file import StoredFile, reraise
from actors.units import SourceObject

HELD_BYTES = 64_000_000  # a larger file is read in ranges
MAX_ROWS = 1_000_000  # of a share of a file; each is a recording, and nulls take no bytes

_ID_FIELDS = ("id", "key", "__key__", "utt_id", "utterance_id", "recording_id")


def read_parquet(
    stored: StoredFile,
    source: SourceObject,
    etag: str,
    max_bytes: int,
    budget: MemoryBudget,
    share: tuple[int, int] = (0, 1),
    held_bytes: int | None = None,
    entries: Entries | None = None,
) -> Iterator[Recording]:
    """Reads the rows of a Parquet file with a column of audio bytes, or of Hugging Face's struct of bytes and path.

    At most `source.limit` rows. `share` is (number, count): one of several shares of the file's row groups, or of its
    rows if there are fewer groups than shares, for whose rows `entries` accounts. Each row of a group whose pages are
    too large to be decompressed has the error `too_large`. A file of more than `held_bytes` is not read whole. Raises
    RecordingError if there is no column of audio.
    """
    file, row = BufferedFile(stored, HELD_BYTES if held_bytes is None else held_bytes), 0
    entries = Entries() if entries is None else entries
    unread = 0  # rows that are neither read nor skipped for another reason
    try:
        parquet, groups = open_parquet(file, pre_buffer=False, page_checksum_verification=True)
        with parquet:
            row, end = _bounds(groups, share)
            within = max(min(end, source.limit or end), row)
            last = min(within, row + MAX_ROWS)
            unread = last - row
            entries.found += end - row
            entries.skip(source.over_limit, end - within)
            entries.skip("over the limit of rows", within - last)
            audio, names = columns_of(parquet.schema_arrow)
            reader = GroupReader(file, parquet, audio, names, list_columns(parquet), max_bytes)
            for group in select_groups(groups, names, row, last):
                with budget.hold(group.span[1] - group.span[0]):
                    for content, fields in reader.rows(group, row, last):
                        entries.recordings, unread = entries.recordings + 1, unread - 1
                        yield _recording(content, fields, row, source, etag)
                        row += 1
                        del content, fields  # release them before the next row is read: they may be large
        if within > last:
            detail = f"too many rows: rows from {last} to {within - 1} were not read"
            problem = RecordingError(ErrorKind.TOO_LARGE, detail)
            yield Recording(source.name, source.uri, etag, problem)
    except RecordingError:
        entries.skip("unreadable", unread)
        raise
    except Exception as problem:
        reraise(file)
        if not is_damage(problem):
            raise
        entries.skip("unreadable", unread)
        detail = f"the Parquet file cannot be read from row {row} on: {problem}"
        yield Recording(source.name, source.uri, etag, RecordingError(ErrorKind.UNREADABLE, detail))


def _bounds(groups: Sequence[Group], share: tuple[int, int]) -> tuple[int, int]:
    """The rows of a share: first and end."""
    ends = list(accumulate((group.rows for group in groups), initial=0))
    number, count = share
    if len(groups) < count:
        return ends[-1] * number // count, ends[-1] * (number + 1) // count
    return ends[len(groups) * number // count], ends[len(groups) * (number + 1) // count]


def _recording(content: Content, fields: dict[str, object], row: int, source: SourceObject, etag: str) -> Recording:
    path = fields.pop(PATH, None)
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
