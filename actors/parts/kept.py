"""Pieces kept beside the parts until their unit has all of them.

A later run continues with those it finds. They are untrusted: a piece that is not valid counts as not kept, and is
redone.
"""

import io
import logging
import re
from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from actors.foreign.arrow import read_arrow
from actors.foreign.errors import InvalidData
from actors.foreign.escape import escape_surrogates
from actors.parts.part import check_times
from actors.pieces import MAX_PIECES, Cut, Piece
from actors.schema import HEARD_SCHEMA, ErrorKind
from actors.sources.account import Entries
from actors.sources.tar_ranges import ChainSummary
from actors.storage import listing, outputs
from actors.storage.place import Place
from actors.text.emissions import check_emissions
from actors.units import FINGERPRINT, HEX, Unit

PIECES = "_pieces"
MAX_FILE_BYTES, MAX_EXPANDED_BYTES = 256_000_000, 512_000_000  # of a piece and of its rows; a million rows have 400 MB
HELD_BYTES = 256_000_000  # of pieces held in memory while their unit is committed; others are read several times
MAX_PIECE_BYTES = 32_000_000  # of what a piece is, as JSON; parsed it takes thirty times as much
_CLAIM_PREFIX = "claim-"
_PIECE_NAME = r"\d{1,9}-of-\d{1,9}\.(?P<cut>[0-9.e+-]{1,40}s(?:-streamed)?)\.arrow"
_OLD_PIECE_NAME = r"\d+\.\d+-of-\d+\.\d+-by-[0-9.e+-]+s(?:-streamed)?\.arrow"  # of earlier outputs: only removed
_KEPT_NAME = re.compile(
    rf"(?P<prefix>{HEX}\.{FINGERPRINT}\.)(?:{_PIECE_NAME}|{_OLD_PIECE_NAME}|{_CLAIM_PREFIX}[0-9A-Za-z-]+)", re.ASCII
)

_log = logging.getLogger(__name__)


def keep(piece: Piece, rows: pa.Table, output: Place) -> None:
    """Keeps what was heard of a piece, of HEARD_SCHEMA. Raises ValueError if it exceeds what `read_kept` accepts."""
    rows = rows.unify_dictionaries().combine_chunks()
    own = piece.as_kept().to_json().encode()
    metadata = (rows.schema.metadata or {}) | {b"piece": own}
    sink = io.BytesIO()
    options = pa.ipc.IpcWriteOptions(compression="zstd")
    with pa.ipc.new_file(sink, rows.schema.with_metadata(metadata), options=options) as writer:
        writer.write_table(rows.replace_schema_metadata(metadata))
    if rows.nbytes > MAX_EXPANDED_BYTES or sink.tell() > MAX_FILE_BYTES or len(own) > MAX_PIECE_BYTES:
        raise ValueError(f"a piece of {rows.nbytes:,} bytes of rows is not kept; lower unit.target_minutes")
    _place(piece, piece.name, output).write(sink.getvalue())


def claim(piece: Piece, output: Place, attempt: str) -> bool:
    """Whether all pieces of the unit are kept and this writer is the one that commits them."""
    kept, prefix = set(_file_names(piece, output)), _prefix(piece)
    file = output / PIECES / f"{prefix}{_CLAIM_PREFIX}{attempt}"
    are_kept = all(f"{prefix}{piece.sibling(number)}.arrow" in kept for number in range(piece.count))
    return are_kept and file.create(piece.name.encode())


def is_kept(piece: Piece, output: Place) -> bool:
    """Whether a valid piece was kept by an earlier run that did not finish its unit."""
    if piece.is_whole:
        return False
    try:
        kept = read_kept(piece, piece.number, output)
    except FileNotFoundError:
        return False
    except InvalidData as problem:
        _log.warning("%s: %s; it is redone", _place(piece, piece.name, output).uri, problem)
        return False
    return kept.piece == piece.as_kept()


def kept_first(pieces: Sequence[Piece], output: Place) -> list[Piece]:
    """The pieces of a unit in the order in which they are to be done; if all are kept, one of them is enough.

    Whoever keeps the last one commits the unit and removes them all. One that was kept before and is looked for after
    that would be heard again.
    """
    names = set(_file_names(pieces[0], output))
    kept = [each for each in pieces if f"{_prefix(each)}{each.name}.arrow" in names]
    return kept[:1] if len(kept) == len(pieces) else sorted(pieces, key=lambda each: each not in kept)


def delete_kept(piece: Piece, output: Place) -> None:
    """Removes the kept pieces of a piece's unit."""
    for name in _file_names(piece, output):
        (output / PIECES / name).delete()


def sweep_pieces(units: Iterable[Unit], seconds: float, output: Place, keeps_others: bool = False) -> dict[str, Cut]:
    """Removes the kept pieces of all units but these, which are to be done in pieces of about `seconds` at most. With
    `keeps_others`, nothing is removed: a run of a sample leaves what one of all that was killed has heard.

    Returns the cut of the units that have such pieces, by unit: with another one they would be of no use. Of several
    cuts, the finest.
    """
    current, cuts = {_prefix(unit): unit.id for unit in units}, dict[str, Cut]()
    for entry in listing.in_folder(output / PIECES):
        match = _KEPT_NAME.fullmatch(entry.name)
        if match and match["prefix"] not in current:
            if not keeps_others:
                (output / PIECES / entry.name).delete()
            continue
        cut = Cut.parse(match["cut"] or "") if match else None
        if match and cut and cut.seconds <= seconds and cut.shares * cut.stretches <= MAX_PIECES:
            unit = current[match["prefix"]]
            cuts[unit] = max(cuts.get(unit, cut), cut, key=lambda each: each.shares * each.stretches / each.seconds)
    return cuts


def is_piece_file(name: str) -> bool:
    """Whether a file name in the folder of pieces is one of this job's."""
    return bool(_KEPT_NAME.fullmatch(name))


class KeptPiece(NamedTuple):
    """A piece as it was kept (`Piece.as_kept`), and what was heard of it, of HEARD_SCHEMA."""

    piece: Piece
    rows: pa.Table


def read_kept(sibling: Piece, number: int, output: Place) -> KeptPiece:
    """Reads what is kept of a piece, by its number in the unit of another, or of the same.

    Raises InvalidData for damaged ones, and FileNotFoundError.
    """
    data = outputs.read(_place(sibling, sibling.sibling(number), output), MAX_FILE_BYTES)
    rows = read_arrow(data, HEARD_SCHEMA, MAX_EXPANDED_BYTES)
    text = (rows.schema.metadata or {}).get(b"piece", b"")
    if len(text) > MAX_PIECE_BYTES:
        raise InvalidData(f"it has more than {MAX_PIECE_BYTES:,} bytes of objects")
    piece = Piece.from_json(text)
    own = sibling.as_kept()
    if (piece.unit, piece.fingerprint, piece.hearing, piece.cut, piece.number, piece.count) != (
        *(own.unit, own.fingerprint, own.hearing, own.cut),
        *(number, own.count),
    ):
        raise InvalidData("it is of another piece than its name says")
    check_times(rows)
    check_emissions(rows.column("emission"))
    fault = _fault(piece, rows)
    if fault:
        raise InvalidData(fault)
    chain_in(rows)
    entries_in(rows)
    return KeptPiece(piece, rows)


def _fault(piece: Piece, rows: pa.Table) -> str | None:
    """What is wrong with the rows of a piece, or None."""
    indices = rows.column("segment_index").to_numpy()
    if not len(indices) or not np.all((indices == 0) | np.concatenate([[False], np.diff(indices) == 1])):
        return "the segments of its recordings are not numbered from 0"
    if not _unique_values(rows, "uri") <= {escape_surrogates(each.uri) for each in piece.objects}:
        return "it has rows of objects that are not its own"
    if not _unique_values(rows, "error_kind") <= {None, *ErrorKind}:
        return "it has errors of an unknown kind"
    spoken = rows.filter(pc.is_valid(rows.column("start_s")))
    if spoken.column("end_s").null_count or spoken.num_rows != _count(pc.greater(spoken.column("duration_s"), 0)):
        return "it has segments without an end, or of recordings without a duration"
    return None


def _count(mask: Any) -> int:
    return int(pc.sum(mask).as_py() or 0)


def _unique_values(rows: pa.Table, name: str) -> set[Any]:
    return set(rows.column(name).unique().to_pylist())


def chain_in(rows: pa.Table) -> ChainSummary | None:
    """The chain of headers of a piece that is a range of a tar, None for other pieces. Raises InvalidData."""
    text = (rows.schema.metadata or {}).get(b"chain")
    return None if text is None else ChainSummary.from_text(text)


def entries_in(rows: pa.Table) -> Entries:
    """What was found in the containers of a piece. Raises InvalidData."""
    text = (rows.schema.metadata or {}).get(b"entries")
    return Entries() if text is None else Entries.from_text(text)


class KeptPieces:
    """The pieces of a unit by number, each read when it is asked for. Raises InvalidData as `read_kept` does."""

    def __init__(self, piece: Piece, output: Place) -> None:
        self._piece, self._output = piece, output
        self._held, self._bytes = dict[int, KeptPiece](), 0

    def __call__(self, number: int) -> KeptPiece:
        if number in self._held:
            return self._held[number]
        kept = read_kept(self._piece, number, self._output)
        if self._bytes + kept.rows.nbytes <= HELD_BYTES:
            self._held[number], self._bytes = kept, self._bytes + kept.rows.nbytes
        return kept


def _file_names(piece: Piece, output: Place) -> list[str]:
    found = listing.in_folder(output / PIECES, _prefix(piece))
    return [each.name for each in found if is_piece_file(each.name)]


def _prefix(unit: Unit | Piece) -> str:
    """How the names of a unit's pieces begin."""
    return f"{unit.unit if isinstance(unit, Piece) else unit.id}.{unit.hearing}."


def _place(piece: Piece, name: str, output: Place) -> Place:
    return output / PIECES / f"{_prefix(piece)}{name}.arrow"
