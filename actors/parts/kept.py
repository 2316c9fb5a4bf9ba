"""Pieces kept beside the parts until their unit has all of them.

A later run continues with those it finds. They are untrusted: a piece that is not valid counts as not kept, and is
redone.
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
from actors.storage import listing, outputs
from actors.storage.place import Place
from actors.units import FINGERPRINT, HEX, Piece, Unit

PIECES = "_pieces"
MAX_FILE_BYTES, MAX_EXPANDED_BYTES = 256_000_000, 512_000_000  # of a piece and of its rows; a million rows have 400 MB
MAX_TEXT_BYTES = 32_000_000  # bytes of transcripts of a piece; a day of speech has 1.2 MB
HELD_BYTES = 256_000_000  # of pieces held in memory while their unit is committed; further ones are read twice
_CLAIM_PREFIX = "claim-"
_PIECE_NAME = r"[0-9]+\.[0-9]+-of-[0-9]+\.[0-9]+-by-[0-9.e+-]+s(-streamed)?\.arrow"
_KEPT_NAME = re.compile(rf"{HEX}\.{FINGERPRINT}\.({_PIECE_NAME}|{_CLAIM_PREFIX}[0-9A-Za-z-]+)")

_log = logging.getLogger(__name__)


def keep(piece: Piece, rows: pa.Table, output: Place) -> None:
    """Keeps a piece's rows, of PART_SCHEMA. Raises ValueError if they exceed what `read_kept` accepts."""
    rows = rows.unify_dictionaries().combine_chunks()
    sink = io.BytesIO()
    with pa.ipc.new_file(sink, rows.schema, options=pa.ipc.IpcWriteOptions(compression="zstd")) as writer:
        writer.write_table(rows)
    if rows.nbytes > MAX_EXPANDED_BYTES or sink.tell() > MAX_FILE_BYTES:
        raise ValueError(f"a piece of {rows.nbytes:,} bytes of rows is not kept; lower unit.target_minutes")
    _place(piece, output).write(sink.getvalue())


def claim(piece: Piece, output: Place, attempt: str) -> bool:
    """Whether all pieces of the unit are kept and this writer is the one that commits them."""
    kept = set(_file_names(piece.unit, output))
    file = output / PIECES / f"{_prefix(piece.unit)}{_CLAIM_PREFIX}{attempt}"
    return all(_file_name(each) in kept for each in piece.all()) and file.create(piece.name.encode())


def is_kept(piece: Piece, output: Place) -> bool:
    """Whether a valid piece was kept by an earlier run that did not finish its unit."""
    if piece.is_whole:
        return False
    try:
        read_kept(piece, output)
    except FileNotFoundError:
        return False
    except InvalidData as problem:
        _log.warning("%s: %s; it is redone", _place(piece, output).uri, problem)
        return False
    return True


def delete_kept(unit: Unit, output: Place) -> None:
    """Removes the kept pieces of a unit."""
    for name in _file_names(unit, output):
        (output / PIECES / name).delete()


def sweep_pieces(units: Iterable[Unit], output: Place) -> None:
    """Removes the kept pieces of all units but these, which are to be done."""
    current = tuple(_prefix(unit) for unit in units)
    for entry in listing.in_folder(output / PIECES):
        if is_piece_file(entry.name) and not entry.name.startswith(current):
            (output / PIECES / entry.name).delete()


def is_piece_file(name: str) -> bool:
    """Whether a file name in the folder of pieces is one of this job's."""
    return bool(_KEPT_NAME.fullmatch(name))


def read_kept(piece: Piece, output: Place) -> pa.Table:
    """Reads the kept rows of a piece, of PART_SCHEMA. Raises InvalidData for damaged ones, and FileNotFoundError."""
    rows = read_arrow(outputs.read(_place(piece, output), MAX_FILE_BYTES), PART_SCHEMA, MAX_EXPANDED_BYTES)
    check_rows(rows)
    fault = _fault(piece, rows)
    if fault:
        raise InvalidData(fault)
    chain_in(rows)
    return rows


def _fault(piece: Piece, rows: pa.Table) -> str | None:
    """What is wrong with the rows of a piece, or None."""
    indices = rows.column("segment_index").to_numpy()
    if not len(indices) or not np.all((indices == 0) | np.concatenate([[False], np.diff(indices) == 1])):
        return "the segments of its recordings are not numbered from 0"
    if not _unique_values(rows, "uri") <= {escape_surrogates(each.uri) for each in piece.objects}:
        return "it has rows of objects that are not its own"
    if not _unique_values(rows, "error_kind") <= {None, *ErrorKind}:
        return "it has errors of an unknown kind"
    if text_bytes(rows) > MAX_TEXT_BYTES:
        return "it has more text than a piece may hold"
    spoken = rows.filter(pc.is_valid(rows.column("start_s")))
    if spoken.column("end_s").null_count or spoken.num_rows != _count(pc.greater(spoken.column("duration_s"), 0)):
        return "it has segments without an end, or of recordings without a duration"
    return None


def _count(mask: Any) -> int:
    return int(pc.sum(mask).as_py() or 0)


def text_bytes(rows: pa.Table) -> int:
    return _count(pc.binary_length(rows.column("text")))


def _unique_values(rows: pa.Table, name: str) -> set[Any]:
    return set(rows.column(name).unique().to_pylist())


def chain_in(rows: pa.Table) -> ChainSummary | None:
    """The chain of headers of a piece that is a range of a tar, None for other pieces. Raises InvalidData."""
    text = (rows.schema.metadata or {}).get(b"chain")
    return None if text is None else ChainSummary.from_text(text)


class KeptPieces(Sequence[pa.Table]):
    """The rows of a unit's pieces, in order, each read when it is accessed. Raises InvalidData as `read_kept` does."""

    def __init__(self, piece: Piece, output: Place) -> None:
        self._pieces, self._output = piece.all(), output
        self._held, self._bytes = dict[int, pa.Table](), 0

    def __len__(self) -> int:
        return len(self._pieces)

    def __getitem__(self, index: Any) -> Any:
        if index in self._held:
            return self._held[index]
        rows = read_kept(self._pieces[index], self._output)
        if self._bytes + rows.nbytes <= HELD_BYTES:
            self._held[index], self._bytes = rows, self._bytes + rows.nbytes
        return rows


def _file_names(unit: Unit, output: Place) -> list[str]:
    found = listing.in_folder(output / PIECES, _prefix(unit))
    return [each.name for each in found if is_piece_file(each.name)]


def _prefix(unit: Unit) -> str:
    return f"{unit.id}.{unit.fingerprint}."


def _file_name(piece: Piece) -> str:
    return f"{_prefix(piece.unit)}{piece.name}.arrow"


def _place(piece: Piece, output: Place) -> Place:
    return output / PIECES / _file_name(piece)
