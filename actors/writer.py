"""Pieces of a unit to its rows: each is kept beside the parts, and whoever keeps the last one commits them all."""

from collections import Counter
from collections.abc import Iterator, Sequence
from itertools import chain, islice
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from actors.foreign.errors import InvalidData
from actors.parts.commit import commit_unit, measured_in
from actors.parts.kept import MAX_EXPANDED_BYTES, MAX_TEXT, Kept, claim, forget, keep, text_bytes, told_in
from actors.parts.summary import ROWS_AT_ONCE, rows_in
from actors.schema import PART_SCHEMA, ErrorKind
from actors.sources.tar_ranges import ChainSummary, are_complete
from actors.storage import files as storage
from actors.units import Piece, Recut, SourceObject

_GONE = (ErrorKind.CHANGED, ErrorKind.MISSING)  # what one piece says of an object is so for all of it

Row = dict[str, Any]


def commit_piece(piece: Piece, rows: pa.Table, filesystem: storage.Filesystem, root: str, attempt: str) -> Row:
    """Keeps a piece's rows, of PART_SCHEMA, none where they are kept already; commits the unit once it has them all.

    Of several who find all pieces kept, one commits: `attempt` tells apart the times that this is tried. Returns the
    unit's summary, or what the piece adds to it, with "is_partial". Raises Recut where the ranges of a tar do not
    fit together, and InvalidData where what is kept is not what it should be. Safe to repeat.
    """
    if piece.is_whole:
        return commit_unit(piece.unit, rows, filesystem, root)
    measured = measured_in(rows)
    if rows.num_rows:
        keep(piece, rows, filesystem, root)
    if not claim(piece, filesystem, root, attempt):
        seconds = pc.sum(pc.subtract(rows.column("end_s"), rows.column("start_s"))).as_py() or 0.0
        return {"unit": piece.unit.id, "is_partial": True, "audio_seconds": seconds} | measured
    pieces = Kept(piece, filesystem, root)
    try:
        if not _are_whole(piece, pieces):
            raise Recut(piece.ranges, piece.stretches, is_streamed=True)
        summary = commit_unit(piece.unit, assemble(piece, pieces), filesystem, root)
    except (Recut, OSError):
        raise
    except Exception:  # what is kept cannot be put together: the next run finds nothing of it, and makes it again
        forget(piece.unit, filesystem, root)
        raise
    forget(piece.unit, filesystem, root)
    return summary | measured


def assemble(piece: Piece, pieces: Sequence[pa.Table]) -> Iterator[pa.Table]:
    """The rows of a unit from those of its pieces in their order, as if it had been done in one, some at a time.

    Raises InvalidData where pieces do not fit together.
    """
    of_object = piece.share[1] * piece.stretches
    rows = chain.from_iterable(
        _object_rows(
            source, [range(at, at + piece.stretches) for at in range(first, first + of_object, piece.stretches)], pieces
        )
        for source, first in zip(piece.unit.objects, range(0, piece.count, of_object), strict=False)
    )
    while some := list(islice(rows, ROWS_AT_ONCE)):
        yield pa.Table.from_pylist(some, schema=PART_SCHEMA)


def _object_rows(source: SourceObject, ranges: Sequence[range], pieces: Sequence[pa.Table]) -> Iterator[Row]:
    """The rows of an object, of which there is at least one, from those of its ranges' stretches."""
    for at in chain.from_iterable(ranges):
        is_gone = pc.and_(
            pc.is_null(pieces[at].column("member")), pc.is_in(pieces[at].column("error_kind"), pa.array(_GONE))
        )
        for row in pieces[at].filter(is_gone).slice(0, 1).to_pylist():
            yield row
            return
    is_empty, missing, told = True, Counter[str](), set[str]()
    for stretches in ranges:
        for recording in _recordings_of(stretches, pieces):
            wrong = recording[0]["error_kind"] if recording else None
            if wrong == ErrorKind.MISSING:  # a member that a manifest names is, only where no range holds it
                missing[recording[0]["member"]] += 1
                if missing[recording[0]["member"]] < len(ranges):
                    continue
            if wrong and recording[0]["member"] is None:  # of the whole container, told by each range
                if wrong in told:
                    continue
                told.add(wrong)
            is_empty = is_empty and not recording
            yield from recording
    if is_empty:
        nothing = {"error_kind": ErrorKind.EMPTY, "error_detail": f"the {source.format} file holds no recording"}
        yield pieces[ranges[0][0]].slice(0, 1).to_pylist()[0] | nothing


def _recordings_of(stretches: range, pieces: Sequence[pa.Table]) -> Iterator[list[Row]]:
    """The rows of each recording of a range, from those of its stretches, which tell of the same recordings."""
    tables, size, text = list[pa.Table](), 0, 0
    for at in stretches:
        tables.append(pieces[at])
        size += tables[-1].nbytes
        text += text_bytes(tables[-1])
        if size > MAX_EXPANDED_BYTES or text > MAX_TEXT:
            raise InvalidData("its pieces have more text than can be said")
    try:
        for each in zip(*map(_recordings, tables), strict=True):
            yield _joined(each)
    except InvalidData:
        raise
    except ValueError as problem:
        raise InvalidData(f"its pieces do not tell of the same recordings: {problem}") from None


def _recordings(table: pa.Table) -> Iterator[list[Row]]:
    """Rows by recording: with each first segment, one begins."""
    recording = list[Row]()
    for row in rows_in([table]):
        if row["segment_index"] == 0 and recording:
            yield recording
            recording = []
        recording.append(row)
    yield recording


def _joined(stretches: Sequence[Sequence[Row]]) -> list[Row]:
    """The rows of a recording from those of its stretches; none where it is a range's word that it holds nothing."""
    every = [row for rows in stretches for row in rows]
    rows = [row for row in every if row["start_s"] is not None or row["error_kind"]]
    rows = [row for row in rows if row["error_kind"] == ErrorKind.TOO_LONG][:1] or rows  # one stretch tells it of all
    spoken = [row for row in rows if row["start_s"] is not None]
    rows = rows if spoken else rows[:1]
    told = {"reference": every[0]["reference"], "extra": every[0]["extra"]}
    length = {"duration_s": max(row["duration_s"] for row in every if row["duration_s"])} if spoken else {}
    return [
        row | length | {"segment_index": index} | (told if index == 0 else dict.fromkeys(told))
        for index, row in enumerate(rows)
    ]


def _are_whole(piece: Piece, pieces: Sequence[pa.Table]) -> bool:
    """Whether the ranges of a tar fit together, as the chains of headers say that the first stretches found."""
    of_object = piece.share[1] * piece.stretches
    for number, source in enumerate(piece.unit.objects):
        told = [told_in(pieces[at]) for at in range(number * of_object, (number + 1) * of_object, piece.stretches)]
        if any(told) and not are_complete([each or ChainSummary() for each in told], source.size):
            return False
    return True
