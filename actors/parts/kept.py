"""Pieces that are kept beside the parts until their unit has all of them.

A later run goes on with what it finds, and anybody may have written it: a piece that is not what it should be counts as
not kept, and is made again.
"""

import io
import logging
import re
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from actors.foreign.arrow import read_arrow
from actors.foreign.errors import InvalidData
from actors.foreign.escape import escape_surrogates
from actors.parts.part import check_rows
from actors.schema import PART_SCHEMA, ErrorKind
from actors.sources.tar_ranges import ChainSummary
from actors.storage import files as storage
from actors.storage import listing, outputs
from actors.storage.outputs import below
from actors.units import FINGERPRINT, HEX, Piece, Unit

PIECES = "_pieces"
MAX_FILE_BYTES, MAX_EXPANDED_BYTES = (
    256_000_000,
    512_000_000,
)  # bytes of a piece, and of its rows; a million have 400 MB
MAX_TEXT = 32_000_000  # bytes of the recordings of a piece; a day of speech has 1.2 MB
HELD_BYTES = 256_000_000  # of pieces that are kept at hand while their unit is committed; others are read twice
_CLAIM = "claim-"
_PIECE_NAME = r"[0-9]+\.[0-9]+-of-[0-9]+\.[0-9]+-by-[0-9.e+-]+s(-streamed)?\.arrow"
_KEPT_NAME = re.compile(rf"{HEX}\.{FINGERPRINT}\.({_PIECE_NAME}|{_CLAIM}[0-9A-Za-z-]+)")

_log = logging.getLogger(__name__)


def keep(piece: Piece, rows: pa.Table, filesystem: storage.Filesystem, root: str) -> None:
    """Keeps a piece's rows, of PART_SCHEMA. Raises ValueError where they are more than `read_kept` would take."""
    rows = rows.unify_dictionaries().combine_chunks()
    sink = io.BytesIO()
    with pa.ipc.new_file(sink, rows.schema, options=pa.ipc.IpcWriteOptions(compression="zstd")) as writer:
        writer.write_table(rows)
    if rows.nbytes > MAX_EXPANDED_BYTES or sink.tell() > MAX_FILE_BYTES:
        raise ValueError(f"a piece of {rows.nbytes:,} bytes of rows is not kept; lower unit.target_minutes")
    storage.write(filesystem, _path(piece, root), sink.getvalue())


def claim(piece: Piece, filesystem: storage.Filesystem, root: str, attempt: str) -> bool:
    """Whether all pieces of the unit are kept, and it is this one's to commit them."""
    kept = set(_names(piece.unit, filesystem, root))
    return all(_file(each) in kept for each in piece.all()) and storage.create(
        filesystem, below(root, f"{PIECES}/{_prefix(piece.unit)}{_CLAIM}{attempt}"), piece.name.encode()
    )


def is_kept(piece: Piece, filesystem: storage.Filesystem, root: str) -> bool:
    """Whether a piece was done before, in a run that did not get to the end of its unit, and is what it should be."""
    if piece.is_whole:
        return False
    try:
        read_kept(piece, filesystem, root)
    except FileNotFoundError:
        return False
    except InvalidData as problem:
        _log.warning("%s: %s; it is made again", storage.canonical(filesystem, _path(piece, root)), problem)
        return False
    return True


def forget(unit: Unit, filesystem: storage.Filesystem, root: str) -> None:
    """Removes what is kept of a unit."""
    for name in _names(unit, filesystem, root):
        storage.delete(filesystem, below(root, f"{PIECES}/{name}"))


def sweep_pieces(units: Iterable[Unit], filesystem: storage.Filesystem, root: str) -> None:
    """Removes what was kept of units that are not among those to do, as they are now."""
    current = tuple(_prefix(unit) for unit in units)
    for entry in listing.in_folder(filesystem, below(root, PIECES)):
        if is_piece(entry.name) and not entry.name.startswith(current):
            storage.delete(filesystem, below(root, f"{PIECES}/{entry.name}"))


def is_piece(name: str) -> bool:
    """Whether a file in the folder of pieces is the job's."""
    return bool(_KEPT_NAME.fullmatch(name))


def read_kept(piece: Piece, filesystem: storage.Filesystem, root: str) -> pa.Table:
    """The rows that are kept of a piece, of PART_SCHEMA. Raises InvalidData where they are not what they should be, and
    FileNotFoundError."""
    rows = read_arrow(outputs.read(filesystem, _path(piece, root), MAX_FILE_BYTES), PART_SCHEMA, MAX_EXPANDED_BYTES)
    check_rows(rows)
    fault = _fault(piece, rows)
    if fault:
        raise InvalidData(fault)
    told_in(rows)
    return rows


def _fault(piece: Piece, rows: pa.Table) -> str | None:
    """What is wrong with rows that ought to be a piece's."""
    indices = rows.column("segment_index").to_numpy()
    if not len(indices) or not np.all((indices == 0) | np.concatenate([[False], np.diff(indices) == 1])):
        return "its recordings do not count their segments from 0"
    if not _values(rows, "uri") <= {escape_surrogates(each.uri) for each in piece.objects}:
        return "it tells of objects that are not its own"
    if not _values(rows, "error_kind") <= {None, *ErrorKind}:
        return "it has errors of an unknown kind"
    if text_bytes(rows) > MAX_TEXT:
        return "it has more text than can be said"
    spoken = rows.filter(pc.is_valid(rows.column("start_s")))
    if spoken.column("end_s").null_count or spoken.num_rows != _count(pc.greater(spoken.column("duration_s"), 0)):
        return "it has segments without an end, or of recordings without a duration"
    return None


def _count(are_so: Any) -> int:
    return int(pc.sum(are_so).as_py() or 0)


def text_bytes(rows: pa.Table) -> int:
    return _count(pc.binary_length(rows.column("text")))


def _values(rows: pa.Table, name: str) -> set[Any]:
    return set(rows.column(name).unique().to_pylist())


def told_in(rows: pa.Table) -> ChainSummary | None:
    """What a piece tells of its range of a tar; None where it is of none. Raises InvalidData."""
    text = (rows.schema.metadata or {}).get(b"chain")
    return None if text is None else ChainSummary.from_text(text)


class Kept(Sequence[pa.Table]):
    """The rows of a unit's pieces in order, read as they are requested. Raises InvalidData as `read_kept` does."""

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


def _names(unit: Unit, filesystem: storage.Filesystem, root: str) -> list[str]:
    found = listing.in_folder(filesystem, below(root, PIECES), _prefix(unit))
    return [each.name for each in found if is_piece(each.name)]


def _prefix(unit: Unit) -> str:
    return f"{unit.id}.{unit.fingerprint}."


def _file(piece: Piece) -> str:
    return f"{_prefix(piece.unit)}{piece.name}.arrow"


def _path(piece: Piece, root: str) -> str:
    return below(root, f"{PIECES}/{_file(piece)}")
