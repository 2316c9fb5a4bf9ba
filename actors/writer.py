"""Commits pieces: those of a unit in several are kept beside the parts, and the writer that keeps the last one commits
the unit."""

import pyarrow as pa
import pyarrow.compute as pc

from actors.outcomes import Committed, Kept, Work
from actors.parts.assemble import Pieces, rows_of, unit_of
from actors.parts.commit import commit_unit
from actors.parts.kept import KeptPiece, KeptPieces, claim, delete_kept, keep
from actors.pieces import NeedsRecut, Piece
from actors.storage.place import Place


def commit_piece(piece: Piece, rows: pa.Table, output: Place, attempt: str) -> Committed | Kept:
    """Commits a piece's rows, of PART_SCHEMA; those of a share of a unit once all shares are kept.

    A piece that is kept already comes without rows. If several writers find all pieces kept, one of them commits:
    `attempt` identifies the execution of the graph. Raises NeedsRecut if the ranges of a tar do not fit together, and
    InvalidData if a kept piece is not valid. Safe to repeat.
    """
    work = Work.from_metadata(rows.schema.metadata)
    if piece.is_whole:
        return _commit(lambda _: KeptPiece(piece, rows), 1, output, work)
    if rows.num_rows:
        keep(piece, rows, output)
    if not claim(piece, output, attempt):
        seconds = pc.sum(pc.subtract(rows.column("end_s"), rows.column("start_s"))).as_py() or 0.0
        return Kept(piece.unit, seconds, work)
    try:
        committed = _commit(KeptPieces(piece, output), piece.count, output, work)
    except (NeedsRecut, OSError):
        raise
    except Exception:  # the pieces do not fit together: delete them, so that the next run redoes them
        delete_kept(piece, output)
        raise
    delete_kept(piece, output)
    return committed


def _commit(pieces: Pieces, count: int, output: Place, work: Work | None) -> Committed:
    """Commits the unit that pieces make up. Here a unit has all of its rows, whether it came in one piece or many."""
    unit, entries = unit_of(pieces, count)
    return commit_unit(unit, rows_of(pieces, count), output, work, entries)
