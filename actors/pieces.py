"""Pieces of a unit to its rows: each is kept beside the parts, and whoever keeps the last one commits them all.

What is kept is read again by a later run, and anybody may have written it meanwhile: a piece that is not what it should
be counts as not kept, and is made again.
"""

import io
import logging
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from itertools import chain, islice
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from actors import outputs, storage
from actors.foreign import NotPlain, read_arrow
from actors.outputs import below
from actors.part_file import MOST_TOKENS
from actors.parts import commit_unit, measured_in
from actors.schema import PART_SCHEMA, ErrorKind
from actors.tallies import ROWS_AT_ONCE, rows_in
from actors.tar_ranges import Told, are_whole
from actors.units import FINGERPRINT, HEX, CutFiner, Piece, SourceObject, Unit, printable

PIECES = "_pieces"
MOST_FILE, MOST_ROWS_BYTES = 256_000_000, 512_000_000  # of a piece that is kept, and of its rows; a million are 400 MB
HELD_BYTES = 256_000_000  # of pieces that are kept at hand while their unit is committed; others are read twice
_GONE = (ErrorKind.CHANGED, ErrorKind.MISSING)  # what one piece says of an object is so for all of it
_CLAIM = "claim-"
_PIECE_NAME = r"[0-9]+\.[0-9]+-of-[0-9]+\.[0-9]+-by-[0-9.e+-]+s(-streamed)?\.arrow"
_KEPT_NAME = re.compile(rf"{HEX}\.{FINGERPRINT}\.({_PIECE_NAME}|{_CLAIM}[0-9A-Za-z-]+)")

Row = dict[str, Any]
_log = logging.getLogger(__name__)


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
    kept = {each.name for each in _kept_of(piece.unit, filesystem, root)}
    is_last = all(_file(each) in kept for each in piece.all()) and storage.create(
        filesystem, below(root, f"{PIECES}/{_prefix(piece.unit)}{_CLAIM}{attempt}"), piece.name.encode()
    )
    if not is_last:
        seconds = pc.sum(pc.subtract(rows.column("end_s"), rows.column("start_s"))).as_py() or 0.0
        return {"unit": piece.unit.id, "is_partial": True, "audio_seconds": seconds} | measured
    pieces = _Kept(piece, filesystem, root)
    try:
        if not _are_whole(piece, pieces):
            raise CutFiner(piece.ranges, piece.stretches, is_streamed=True)
        summary = commit_unit(piece.unit, assemble(piece, pieces), filesystem, root)
    except NotPlain:  # which the next run finds gone, and makes
        _forget(piece.unit, filesystem, root)
        raise
    _forget(piece.unit, filesystem, root)
    return summary | measured


def is_kept(piece: Piece, filesystem: storage.Filesystem, root: str) -> bool:
    """Whether a piece was done before, in a run that did not get to the end of its unit, and is what it should be."""
    if piece.is_whole:
        return False
    try:
        read_kept(piece, filesystem, root)
    except FileNotFoundError:
        return False
    except NotPlain as problem:
        _log.warning("%s: %s; it is made again", storage.canonical(filesystem, _path(piece, root)), problem)
        return False
    return True


def is_piece(name: str) -> bool:
    """Whether a file in the folder of pieces is the job's."""
    return bool(_KEPT_NAME.fullmatch(name))


def sweep_pieces(units: Iterable[Unit], filesystem: storage.Filesystem, root: str) -> None:
    """Removes what was kept of units that are not among those to do, as they are now."""
    current = tuple(_prefix(unit) for unit in units)
    for entry in outputs.files(filesystem, below(root, PIECES)):
        if is_piece(entry.name) and not entry.name.startswith(current):
            storage.delete(filesystem, below(root, f"{PIECES}/{entry.name}"))


def read_kept(piece: Piece, filesystem: storage.Filesystem, root: str) -> pa.Table:
    """The rows that are kept of a piece, of PART_SCHEMA. Raises NotPlain where they are not what they should be, and
    FileNotFoundError."""
    rows = read_arrow(outputs.read(filesystem, _path(piece, root), MOST_FILE), PART_SCHEMA, MOST_ROWS_BYTES)
    spoken = rows.filter(pc.is_valid(rows.column("start_s")))
    durations, indices = spoken.column("duration_s"), rows.column("segment_index").to_numpy()
    follows = (indices == 0) | np.concatenate([[False], np.diff(indices) == 1])
    for is_so, wanted in (
        (rows.num_rows > 0, "it has rows"),
        (follows.all(), "each recording's rows are counted from 0"),
        (
            set(rows.column("uri").unique().to_pylist()) <= {printable(each.uri) for each in piece.objects},
            "own objects",
        ),
        (set(rows.column("error_kind").unique().to_pylist()) <= {None, *ErrorKind}, "errors are of a known kind"),
        (spoken.column("end_s").null_count == 0, "what begins ends"),
        (durations.null_count == 0 and pc.all(pc.greater(durations, 0)).as_py() is not False, "sound has a duration"),
        ((pc.max(pc.list_value_length(rows.column("tokens"))).as_py() or 0) <= MOST_TOKENS, "tokens have an end"),
    ):
        if not is_so:
            raise NotPlain(f"its rows are not those of a piece, of which this holds: {wanted}")
    _told(rows)
    return rows


class _Kept(Sequence[pa.Table]):
    """The rows of a unit's pieces in their order, read as they are asked for. Raises NotPlain as `read_kept` does."""

    def __init__(self, piece: Piece, filesystem: storage.Filesystem, root: str) -> None:
        self._pieces, self._output = piece.all(), (filesystem, root)
        self._held, self._bytes = dict[int, pa.Table](), 0

    def __len__(self) -> int:
        return len(self._pieces)

    def __getitem__(self, at: Any) -> Any:
        if at in self._held:
            return self._held[at]
        rows = read_kept(self._pieces[at], *self._output)
        if self._bytes + rows.nbytes <= HELD_BYTES:
            self._held[at], self._bytes = rows, self._bytes + rows.nbytes
        return rows


def assemble(piece: Piece, pieces: Sequence[pa.Table]) -> Iterator[pa.Table]:
    """The rows of a unit from those of its pieces in their order, as if it had been done in one, some at a time.

    Raises NotPlain where pieces do not fit together.
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
    tables, size = list[pa.Table](), 0
    for at in stretches:
        tables.append(pieces[at])
        size += pieces[at].nbytes
        if size > MOST_ROWS_BYTES:
            raise NotPlain(f"the pieces of a recording have more than {MOST_ROWS_BYTES:,} bytes")
    try:
        for each in zip(*map(_recordings, tables), strict=True):
            yield _joined(each)
    except ValueError as problem:
        raise NotPlain(f"its pieces do not tell of the same recordings: {problem}") from None


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
        told = [_told(pieces[at]) for at in range(number * of_object, (number + 1) * of_object, piece.stretches)]
        if any(told) and not are_whole([each or Told() for each in told], source.size):
            return False
    return True


def _told(rows: pa.Table) -> Told | None:
    text = (rows.schema.metadata or {}).get(b"chain")
    return None if text is None else Told.from_text(text)


def _prefix(unit: Unit) -> str:
    return f"{unit.id}.{unit.fingerprint}."


def _file(piece: Piece) -> str:
    return f"{_prefix(piece.unit)}{piece.name}.arrow"


def _path(piece: Piece, root: str) -> str:
    return below(root, f"{PIECES}/{_file(piece)}")


def _kept_of(unit: Unit, filesystem: storage.Filesystem, root: str) -> list[Any]:
    found = outputs.files(filesystem, below(root, PIECES), _prefix(unit))
    return [each for each in found if is_piece(each.name)]


def _forget(unit: Unit, filesystem: storage.Filesystem, root: str) -> None:
    for entry in _kept_of(unit, filesystem, root):
        storage.delete(filesystem, below(root, f"{PIECES}/{entry.name}"))


def _as_file(rows: pa.Table) -> bytes:
    sink = io.BytesIO()
    with pa.ipc.new_file(sink, rows.schema, options=pa.ipc.IpcWriteOptions(compression="zstd")) as writer:
        writer.write_table(rows.unify_dictionaries())
    return sink.getvalue()
