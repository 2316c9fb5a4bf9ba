"""The blocks that travel between the stages of the graph: each has one row, which is one piece.

The piece's table is stored in that row as an Arrow IPC stream, so that Ray cannot split it, merge it with another, or
drop it for being empty; reading it back copies nothing. Once a piece has its outcome, by its last step or because an
earlier one failed, the block carries that instead, unchanged through later stages to the driver: a bad unit does not
fail the others.
"""

import traceback
from collections.abc import Callable

import pyarrow as pa

from actors.foreign.arrow import read_stream
from actors.foreign.errors import unforeseen
from actors.outcomes import Failed, Outcome, Recut, from_json, to_json
from actors.pieces import NeedsRecut, Piece

MAX_REASON = 2_000  # characters
_BLOCK = pa.schema([("piece", pa.string()), ("rows", pa.large_binary()), ("outcome", pa.string())])

Step = Callable[[Piece, pa.Table], pa.Table | Outcome]


def start(piece: Piece) -> dict[str, str]:
    """The row with which a piece enters the graph."""
    return {"piece": piece.to_json()}


def advance(block: pa.Table, step: Step) -> pa.Table:
    """Applies a step to a block's table; a block with an outcome is returned unchanged."""
    if "outcome" in block.schema.names and block.column("outcome")[0].is_valid:
        return block
    piece = Piece.from_json(block.column("piece")[0].as_py())
    try:
        rows = read_stream(block.column("rows")[0].as_buffer()) if "rows" in block.schema.names else pa.table({})
        result = step(piece, rows)
    except NeedsRecut as needed:
        result = Recut(piece.unit, needed.cut)
    except Exception as problem:  # noqa: BLE001 - reported to the driver, which ends the run as failed
        where = traceback.extract_tb(problem.__traceback__)[-1]
        reason = f"{unforeseen(problem, MAX_REASON)} ({where.name}, line {where.lineno})"
        result = Failed(piece.unit, reason, is_storage=isinstance(problem, OSError))
    return _pack(block.column("piece"), result)


def outcome_of(block: pa.Table) -> Outcome:
    """The outcome of a piece, from the block that it left the graph in."""
    return from_json(block.column("outcome")[0].as_py())


def _pack(piece: pa.ChunkedArray, result: pa.Table | Outcome) -> pa.Table:
    """A block of one row: the piece, with its table or its outcome."""
    if not isinstance(result, pa.Table):
        columns = [piece, pa.nulls(1, pa.large_binary()), pa.array([to_json(result)])]
        return pa.table(columns, schema=_BLOCK)
    size = pa.MockOutputStream()  # measures: a buffer that grew would be moved, and be twice as large as the sound
    _write(result, size)
    stream = pa.allocate_buffer(size.size())
    _write(result, pa.FixedSizeBufferWriter(stream))
    offsets = pa.array([0, stream.size], pa.int64()).buffers()[1]
    rows = pa.LargeBinaryArray.from_buffers(pa.large_binary(), 1, [None, offsets, stream])  # no copy of the sound
    return pa.table([piece, rows, pa.nulls(1, pa.string())], schema=_BLOCK)


def _write(table: pa.Table, sink: pa.NativeFile) -> None:
    with pa.ipc.new_stream(sink, table.schema) as writer:
        writer.write_table(table)
