"""Assembles the rows of a unit from those of its pieces, as if it had been one piece."""

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from itertools import chain, groupby, islice

import pyarrow as pa
import pyarrow.compute as pc

from actors.foreign.errors import InvalidData
from actors.foreign.escape import escape_surrogates
from actors.parts.kept import MAX_EXPANDED_BYTES, KeptPiece, chain_in, entries_in
from actors.parts.recordings import ROWS_AT_ONCE, Row, recordings_in
from actors.pieces import NeedsRecut, Piece
from actors.schema import HEARD_SCHEMA, KEY, TRIED_AGAIN, ErrorKind
from actors.sources.account import Entries
from actors.sources.tar_ranges import ChainSummary, are_complete
from actors.units import SourceObject, Unit

_OF_WHOLE_FILE = (ErrorKind.CHANGED, ErrorKind.MISSING)  # reported by one piece, true of all
#: Of which one in any stretch is that of the whole recording, for a text without its middle is none. Those that a later
#: run tries again come first.
_OF_WHOLE_RECORDING = (
    *(ErrorKind.CHANGED, ErrorKind.UNREACHABLE, ErrorKind.HOST_MEMORY, ErrorKind.INTERNAL, ErrorKind.MISSING),
    *(ErrorKind.FORBIDDEN, ErrorKind.ARCHIVED, ErrorKind.TOO_LONG),
)

Pieces = Callable[[int], KeptPiece]  # by number


def unit_of(pieces: Pieces, piece: Piece) -> tuple[Unit, Entries]:
    """The unit that pieces make up, of which `piece` is one, and what was found in its containers. Raises InvalidData
    if they are not all pieces of one."""
    objects, entries = dict[str, SourceObject](), Entries()
    for number in range(piece.count):
        kept, rows = pieces(number)
        objects |= {each.key: each for each in kept.objects}
        entries += entries_in(rows)
    unit = Unit(piece.unit, piece.fingerprint, tuple(objects.values()), pieces(0).piece.carried)
    if piece.count > 1 and (unit.hearing != piece.hearing or not unit.has_own_fingerprint):
        raise InvalidData("its pieces do not have the objects of the unit")
    return unit, entries


def rows_of(pieces: Pieces, count: int) -> Iterator[pa.Table]:
    """Yields the rows of a unit, tables of HEARD_SCHEMA, in the order of its objects; at least one row per object.

    Raises InvalidData if the pieces do not fit together, and NeedsRecut if the ranges of a tar do not.
    """
    number = 0
    while number < count:
        piece, rows = pieces(number)
        group = range(number, number + piece.ranges * piece.stretches)
        if piece.has_whole_objects:
            yield rows
        else:
            joined = _rows_of_group(group, pieces)
            while batch := list(islice(joined, ROWS_AT_ONCE)):
                yield pa.Table.from_pylist(batch, schema=HEARD_SCHEMA)
        number = group.stop


def _rows_of_group(group: range, pieces: Pieces) -> Iterator[Row]:
    """The rows of the objects that a group of pieces reads together: each of its ranges, in as many stretches."""
    first = pieces(group.start).piece
    for index, number in enumerate(group):
        at, stretch = divmod(index, first.stretches)
        expected = replace(first, carried=(), number=number, range=at, stretch=stretch)
        if replace(pieces(number).piece, carried=()) != expected:
            raise InvalidData("its pieces do not follow each other")
    sources = {escape_surrogates(each.uri): each for each in first.objects}
    ranges = [group[at : at + first.stretches] for at in range(0, len(group), first.stretches)]
    for uri, source in sources.items():
        own_uri = uri if len(sources) > 1 else None
        if source.is_container:
            yield from _container_rows(source, ranges, pieces, own_uri)
        else:
            yield from chain.from_iterable(_recordings_of(ranges[0], pieces, own_uri))


def _container_rows(source: SourceObject, ranges: Sequence[range], pieces: Pieces, uri: str | None) -> Iterator[Row]:
    """The rows of a tar or a Parquet file, at least one, joined from its ranges."""
    for number in chain.from_iterable(ranges):
        rows = _own_rows(number, pieces, uri)
        kinds = pc.is_in(rows.column("error_kind"), pa.array(_OF_WHOLE_FILE))
        is_gone = pc.and_(pc.is_null(rows.column("member")), kinds)
        for row in rows.filter(is_gone).slice(0, 1).to_pylist():
            yield row
            return
    chains = [chain_in(pieces(each.start).rows) for each in ranges]
    if any(chains) and not are_complete([each or ChainSummary() for each in chains], source.size):
        cut = pieces(ranges[0].start).piece.cut
        if cut.is_streamed:
            raise InvalidData("it has a chain of headers, though it was read from the start of its tar")
        raise NeedsRecut(replace(cut, is_streamed=True))
    is_empty, missing, of_all = True, Counter[str](), list[Row]()
    for stretches in ranges:
        for recording in _recordings_of(stretches, pieces, uri):
            error = recording[0]["error_kind"] if recording else None
            if error == ErrorKind.MISSING:  # a member named by a manifest is missing only if no range holds it
                missing[recording[0]["member"]] += 1
                if missing[recording[0]["member"]] < len(ranges):
                    continue
            if error and recording[0]["member"] is None:  # concerns the whole container, and each range reports it
                of_all += recording
                continue
            is_empty = is_empty and not recording
            yield from recording
    if of_all:
        yield min(of_all, key=lambda row: row["error_kind"] not in TRIED_AGAIN)
    elif is_empty:
        nothing = {"error_kind": ErrorKind.EMPTY, "error_detail": f"the {source.format} file holds no recording"}
        yield _own_rows(ranges[0].start, pieces, uri).slice(0, 1).to_pylist()[0] | nothing


def _recordings_of(stretches: range, pieces: Pieces, uri: str | None) -> Iterator[list[Row]]:
    """The rows of each recording of a range, joined from its stretches, which all have the same recordings."""
    tables, size = list[pa.Table](), 0
    for number in stretches:
        tables.append(_own_rows(number, pieces, uri))
        size += tables[-1].nbytes
        if size > MAX_EXPANDED_BYTES:
            raise InvalidData("its pieces have more rows than a part may hold")
    try:
        for each in zip(*(_sources_in(table) for table in tables), strict=True):
            yield from map(_join_stretches, zip(*_with_equal_channels(each), strict=True))
    except InvalidData:
        raise
    except ValueError as problem:
        raise InvalidData(f"its pieces do not have the same recordings: {problem}") from None


def _source_of(recording: list[Row]) -> list[object]:
    return [recording[0][name] for name in ("recording_id", *KEY) if name != "channel"]


def _sources_in(rows: pa.Table) -> Iterator[list[list[Row]]]:
    """The recordings that are of the same sound: one, or one for each of its channels."""
    for _, found in groupby(recordings_in([rows]), _source_of):
        yield list(found)


def _with_equal_channels(stretches: Sequence[list[list[Row]]]) -> Sequence[list[list[Row]]]:
    """The recordings of each stretch of the same sound, such that all stretches have the same ones.

    A stretch that could not be decoded has one, without a channel, where others may have one for each channel. An error
    of the whole recording leaves that alone; another is that of each channel.
    """
    channels = [[recording[0]["channel"] for recording in each] for each in stretches]
    numbers = next((each for each in channels if None not in each), [None])
    if numbers == [None] or any(each not in (numbers, [None]) for each in channels):
        return stretches
    failed = [each for each, found in zip(stretches, channels, strict=True) if found == [None]]
    if any(each[0][0]["error_kind"] in _OF_WHOLE_RECORDING for each in failed):
        companions = {name: stretches[0][0][0][name] for name in ("reference", "extra")}
        return [[[row | companions for row in each[0]]] for each in failed]
    return [
        [[row | {"channel": number} for row in each[0]] for number in numbers] if found == [None] else each
        for each, found in zip(stretches, channels, strict=True)
    ]


def _own_rows(number: int, pieces: Pieces, uri: str | None) -> pa.Table:
    """The rows of a piece, or those of one of its objects."""
    rows = pieces(number).rows
    return rows if uri is None else rows.filter(pc.equal(rows.column("uri"), uri))


def _join_stretches(stretches: Sequence[Sequence[Row]]) -> list[Row]:
    """The rows of a recording, joined from its stretches; none if they only report that the range has no recording."""
    all_rows = [row for rows in stretches for row in rows]
    rows = [row for row in all_rows if row["start_s"] is not None or row["error_kind"]]
    errors = [row for row in rows if row["start_s"] is None]
    whole = next((row for kind in _OF_WHOLE_RECORDING for row in errors if row["error_kind"] == kind), None)
    rows = [whole] if whole else rows
    spoken = [row for row in rows if row["start_s"] is not None]
    rows = rows if spoken else rows[:1]
    warnings = {warning for row in all_rows for warning in row["warning"] or ()}
    companions = {name: all_rows[0][name] for name in ("reference", "extra")} | {"warning": sorted(warnings) or None}
    length = {"duration_s": max(row["duration_s"] for row in all_rows if row["duration_s"])} if spoken else {}
    return [
        row | length | {"segment_index": index} | (companions if index == 0 else dict.fromkeys(companions))
        for index, row in enumerate(rows)
    ]
