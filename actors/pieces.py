"""Pieces of a unit to its rows: each is kept beside the parts, and whoever keeps the last one commits them all."""

import io
import json
from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Any

import pyarrow as pa

from actors import entries, storage
from actors.parts import commit_unit, measured_in
from actors.schema import PART_SCHEMA, ErrorKind
from actors.tar_ranges import Chain, are_whole
from actors.units import CutFiner, Piece, SourceObject, Unit

PIECES = "_pieces"
_GONE = (ErrorKind.CHANGED, ErrorKind.MISSING)  # what one piece says of an object is so for all of it

Row = dict[str, Any]


def commit_piece(piece: Piece, rows: pa.Table, filesystem: storage.Filesystem, root: str, attempt: str) -> Row:
    """Keeps a piece's rows, of PART_SCHEMA, none where they are kept already; commits the unit once it has them all.

    Of several who find all pieces kept, one commits: `attempt` tells apart the times that this is tried. Returns the
    unit's summary, or what the piece adds to it, with "is_partial". Raises CutFiner where the ranges of a tar do not
    fit together. Safe to repeat.
    """
    if piece.is_whole:
        return commit_unit(piece.unit, rows, filesystem, root)
    measured = measured_in(rows)
    if rows.num_rows:
        storage.write(filesystem, _path(piece, root), _as_file(rows))
    kept = set(entries.names(filesystem, f"{root}/{PIECES}", _prefix(piece.unit)))
    is_last = all(_file(each) in kept for each in piece.all()) and storage.create(
        filesystem, f"{root}/{PIECES}/{_prefix(piece.unit)}{attempt}", piece.name.encode()
    )
    if not is_last:
        spans = zip(rows.column("start_s").to_pylist(), rows.column("end_s").to_pylist(), strict=True)
        seconds = sum(end - start for start, end in spans if start is not None)
        return {"unit": piece.unit.id, "is_partial": True, "audio_seconds": seconds} | measured
    tables = [_read(filesystem, _path(each, root)) for each in piece.all()]
    if not _are_whole(piece, tables):
        raise CutFiner(piece.ranges, piece.stretches, is_streamed=True)
    whole = assemble(piece, [table.to_pylist() for table in tables])
    summary = commit_unit(piece.unit, pa.Table.from_pylist(whole, schema=PART_SCHEMA), filesystem, root)
    for name in entries.names(filesystem, f"{root}/{PIECES}", _prefix(piece.unit)):
        storage.delete(filesystem, f"{root}/{PIECES}/{name}")
    return summary | measured


def is_kept(piece: Piece, filesystem: storage.Filesystem, root: str) -> bool:
    """Whether a piece was done before, in a run that did not get to the end of its unit."""
    return not piece.is_whole and storage.exists(filesystem, _path(piece, root))


def sweep_pieces(units: Iterable[Unit], filesystem: storage.Filesystem, root: str) -> None:
    """Removes what was kept of units that are not among those to do, as they are now."""
    current = tuple(_prefix(unit) for unit in units)
    for name in entries.names(filesystem, f"{root}/{PIECES}"):
        if not name.startswith(current):
            storage.delete(filesystem, f"{root}/{PIECES}/{name}")


def assemble(piece: Piece, pieces: Sequence[Sequence[Row]]) -> list[Row]:
    """The rows of a unit from those of its pieces in their order, as if it had been done in one."""
    rows, of_object = list[Row](), piece.share[1] * piece.stretches
    for number, first in enumerate(range(0, piece.count, of_object)):
        ranges = [pieces[at : at + piece.stretches] for at in range(first, first + of_object, piece.stretches)]
        rows += _object_rows(piece.unit.objects[number], ranges)
    return rows


def _object_rows(source: SourceObject, ranges: Sequence[Sequence[Sequence[Row]]]) -> list[Row]:
    """The rows of an object, of which there is at least one, from those of its ranges' stretches."""
    every = [row for stretches in ranges for rows in stretches for row in rows]
    gone = [row for row in every if row["member"] is None and row["error_kind"] in _GONE]
    if gone:
        return gone[:1]
    rows, missing, told = list[Row](), Counter[str](), set[str]()
    for recording in (_joined(each) for stretches in ranges for each in zip(*map(_recordings, stretches), strict=True)):
        wrong = recording[0]["error_kind"] if recording else None
        if wrong == ErrorKind.MISSING:  # a member that a manifest names is, only where no range holds it
            missing[recording[0]["member"]] += 1
            if missing[recording[0]["member"]] < len(ranges):
                continue
        if wrong and recording[0]["member"] is None:  # of the whole container, told by each range
            if wrong in told:
                continue
            told.add(wrong)
        rows += recording
    nothing = {"error_kind": ErrorKind.EMPTY, "error_detail": f"the {source.format} file holds no recording"}
    return rows or [every[0] | nothing]


def _recordings(rows: Sequence[Row]) -> list[list[Row]]:
    """Rows by recording: with each first segment, one begins."""
    firsts = [at for at, row in enumerate(rows) if row["segment_index"] == 0]
    return [list(rows[first:end]) for first, end in zip(firsts, [*firsts[1:], len(rows)], strict=True)]


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


def _are_whole(piece: Piece, tables: Sequence[pa.Table]) -> bool:
    """Whether the ranges of a tar fit together, as the chains of headers say that the first stretches found."""
    of_object = piece.share[1] * piece.stretches
    for number, source in enumerate(piece.unit.objects):
        ranges = tables[number * of_object : (number + 1) * of_object : piece.stretches]
        told = [(each.schema.metadata or {}).get(b"chain") for each in ranges]
        if any(told) and not are_whole([Chain(**json.loads(each)) if each else Chain() for each in told], source.size):
            return False
    return True


def _prefix(unit: Unit) -> str:
    return f"{unit.id}.{unit.fingerprint}."


def _file(piece: Piece) -> str:
    return f"{_prefix(piece.unit)}{piece.name}.arrow"


def _path(piece: Piece, root: str) -> str:
    return f"{root}/{PIECES}/{_file(piece)}"


def _as_file(rows: pa.Table) -> bytes:
    sink = io.BytesIO()
    with pa.ipc.new_file(sink, rows.schema, options=pa.ipc.IpcWriteOptions(compression="zstd")) as writer:
        writer.write_table(rows.unify_dictionaries())
    return sink.getvalue()


def _read(filesystem: storage.Filesystem, path: str) -> pa.Table:
    return pa.ipc.open_file(io.BytesIO(storage.read(filesystem, path))).read_all()
