"""Commits pieces: each is kept beside the parts, and the writer that keeps a unit's last piece commits the unit."""

from collections import Counter
from collections.abc import Iterator, Sequence
from itertools import chain, islice
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from actors.foreign.errors import InvalidData
from actors.parts.commit import commit_unit, counters_in
from actors.parts.kept import (
    MAX_EXPANDED_BYTES,
    MAX_TEXT_BYTES,
    KeptPieces,
    chain_in,
    claim,
    delete_kept,
    keep,
    text_bytes,
)
from actors.parts.summary import ROWS_AT_ONCE, rows_in
from actors.schema import PART_SCHEMA, ErrorKind
from actors.sources.tar_ranges import ChainSummary, are_complete
from actors.storage.place import Place
from actors.units import Piece, Recut, SourceObject

_OF_WHOLE_OBJECT = pa.array([ErrorKind.CHANGED, ErrorKind.MISSING])  # reported by one piece, true of all

Row = dict[str, Any]


def commit_piece(piece: Piece, rows: pa.Table, output: Place, attempt: str) -> Row:
    """Keeps a piece's rows, of PART_SCHEMA (no rows if it is kept already); commits the unit once all pieces are kept.

    If several writers find all pieces kept, one of them commits: `attempt` identifies the execution of the graph.
    Returns the unit's summary, or the piece's share of it with "is_partial". Raises Recut if the ranges of a tar do not
    fit together, and InvalidData if a kept piece is not valid. Safe to repeat.
    """
    if piece.is_whole:
        return commit_unit(piece.unit, rows, output)
    counters = counters_in(rows)
    if rows.num_rows:
        keep(piece, rows, output)
    if not claim(piece, output, attempt):
        seconds = pc.sum(pc.subtract(rows.column("end_s"), rows.column("start_s"))).as_py() or 0.0
        return {"unit": piece.unit.id, "is_partial": True, "audio_seconds": seconds} | counters
    kept = KeptPieces(piece, output)
    try:
        if not _ranges_fit(piece, kept):
            raise Recut(piece.ranges, piece.stretches, is_streamed=True)
        summary = commit_unit(piece.unit, assemble(piece, kept), output)
    except (Recut, OSError):
        raise
    except Exception:  # the pieces do not fit together: delete them, so that the next run redoes them
        delete_kept(piece.unit, output)
        raise
    delete_kept(piece.unit, output)
    return summary | counters


def assemble(piece: Piece, kept: Sequence[pa.Table]) -> Iterator[pa.Table]:
    """Joins the rows of a unit's pieces, in order, as if the unit had been one piece; yields small tables.

    Raises InvalidData if the pieces do not fit together.
    """
    per_object = piece.share[1] * piece.stretches
    rows = chain.from_iterable(
        _object_rows(
            source,
            [range(index, index + piece.stretches) for index in range(first, first + per_object, piece.stretches)],
            kept,
        )
        for source, first in zip(piece.unit.objects, range(0, piece.count, per_object), strict=False)
    )
    while batch := list(islice(rows, ROWS_AT_ONCE)):
        yield pa.Table.from_pylist(batch, schema=PART_SCHEMA)


def _object_rows(source: SourceObject, ranges: Sequence[range], kept: Sequence[pa.Table]) -> Iterator[Row]:
    """The rows of an object, at least one, joined from the stretches of its ranges."""
    for index in chain.from_iterable(ranges):
        is_gone = pc.and_(
            pc.is_null(kept[index].column("member")),
            pc.is_in(kept[index].column("error_kind"), _OF_WHOLE_OBJECT),
        )
        for row in kept[index].filter(is_gone).slice(0, 1).to_pylist():
            yield row
            return
    is_empty, missing, reported = True, Counter[str](), set[str]()
    for stretches in ranges:
        for recording in _recordings_of(stretches, kept):
            error = recording[0]["error_kind"] if recording else None
            if error == ErrorKind.MISSING:  # a member named by a manifest is missing only if no range holds it
                missing[recording[0]["member"]] += 1
                if missing[recording[0]["member"]] < len(ranges):
                    continue
            if error and recording[0]["member"] is None:  # concerns the whole container, and each range reports it
                if error in reported:
                    continue
                reported.add(error)
            is_empty = is_empty and not recording
            yield from recording
    if is_empty:
        nothing = {"error_kind": ErrorKind.EMPTY, "error_detail": f"the {source.format} file holds no recording"}
        yield kept[ranges[0][0]].slice(0, 1).to_pylist()[0] | nothing


def _recordings_of(stretches: range, kept: Sequence[pa.Table]) -> Iterator[list[Row]]:
    """The rows of each recording of a range, joined from its stretches, which all have the same recordings."""
    tables, size, text = list[pa.Table](), 0, 0
    for index in stretches:
        tables.append(kept[index])
        size += tables[-1].nbytes
        text += text_bytes(tables[-1])
        if size > MAX_EXPANDED_BYTES or text > MAX_TEXT_BYTES:
            raise InvalidData("its pieces have more text than a part may hold")
    try:
        for each in zip(*map(_recordings, tables), strict=True):
            yield _join_stretches(each)
    except InvalidData:
        raise
    except ValueError as problem:
        raise InvalidData(f"its pieces do not have the same recordings: {problem}") from None


def _recordings(table: pa.Table) -> Iterator[list[Row]]:
    """Groups rows by recording: each segment 0 starts one."""
    recording = list[Row]()
    for row in rows_in([table]):
        if row["segment_index"] == 0 and recording:
            yield recording
            recording = []
        recording.append(row)
    yield recording


def _join_stretches(stretches: Sequence[Sequence[Row]]) -> list[Row]:
    """The rows of a recording, joined from its stretches; none if they only report that the range has no recording."""
    all_rows = [row for rows in stretches for row in rows]
    rows = [row for row in all_rows if row["start_s"] is not None or row["error_kind"]]
    rows = [row for row in rows if row["error_kind"] == ErrorKind.TOO_LONG][:1] or rows  # one for all stretches
    spoken = [row for row in rows if row["start_s"] is not None]
    rows = rows if spoken else rows[:1]
    companions = {"reference": all_rows[0]["reference"], "extra": all_rows[0]["extra"]}
    length = {"duration_s": max(row["duration_s"] for row in all_rows if row["duration_s"])} if spoken else {}
    return [
        row | length | {"segment_index": index} | (companions if index == 0 else dict.fromkeys(companions))
        for index, row in enumerate(rows)
    ]


def _ranges_fit(piece: Piece, kept: Sequence[pa.Table]) -> bool:
    """Whether the ranges of a tar fit together, by the chains of headers that their first stretches found."""
    per_object = piece.share[1] * piece.stretches
    for number, source in enumerate(piece.unit.objects):
        summaries = [
            chain_in(kept[index]) for index in range(number * per_object, (number + 1) * per_object, piece.stretches)
        ]
        if any(summaries) and not are_complete([each or ChainSummary() for each in summaries], source.size):
            return False
    return True
