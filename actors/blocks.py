"""The blocks that travel between the stages of the graph: each has one row, which is one piece.

The piece's table is stored in that row as an Arrow IPC stream, so that Ray cannot split it, merge it with another, or
drop it for being empty; reading it back copies nothing. If a stage raises, the block carries the problem instead, which
passes through the later stages unchanged to the driver: a bad unit does not fail the others.
"""

import json
import traceback
from collections.abc import Callable
from typing import Any

import pyarrow as pa

from actors.foreign.arrow import read_stream
from actors.units import Piece, Recut

_BLOCK = pa.schema([("piece", pa.string()), ("rows", pa.large_binary()), ("problem", pa.string())])

Step = Callable[[Piece, pa.Table], pa.Table]


def pack(piece: str, rows: pa.Table | None, problem: str | None = None) -> pa.Table:
    """A block of one row: a piece, as JSON, and its table, or the problem, as JSON, if there is no table."""
    column = pa.nulls(1, pa.large_binary())
    if rows is not None:
        sink = pa.BufferOutputStream()
        with pa.ipc.new_stream(sink, rows.schema) as writer:
            writer.write_table(rows)
        stream = sink.getvalue()
        offsets = pa.array([0, stream.size], pa.int64()).buffers()[1]
        column = pa.LargeBinaryArray.from_buffers(pa.large_binary(), 1, [None, offsets, stream])  # no copy of the sound
    return pa.table([pa.array([piece]), column, pa.array([problem], pa.string())], schema=_BLOCK)


def start(piece: Piece) -> dict[str, Any]:
    """The row with which a piece enters the graph."""
    return {"piece": piece.to_json()}


def advance(block: pa.Table, step: Step) -> pa.Table:
    """Applies a step to a block's table; a block with a problem is returned unchanged."""
    piece, rows = block.column("piece")[0].as_py(), pa.table({})
    stream = block.column("rows")[0] if "rows" in block.schema.names else None
    if stream is not None and not stream.is_valid:
        return block
    try:
        if stream is not None:
            rows = read_stream(stream.as_buffer())
        return pack(piece, step(Piece.from_json(piece), rows))
    except Recut as recut:
        return pack(piece, None, json.dumps({"recut": recut.cut}))
    except Exception as problem:  # noqa: BLE001 - reported to the driver, which ends the run as failed
        where = traceback.extract_tb(problem.__traceback__)[-1]
        failure = f"{type(problem).__name__}: {problem} ({where.name}, line {where.lineno})"
        return pack(piece, None, json.dumps({"failure": failure}))


def outcome(block: pa.Table) -> dict[str, Any]:
    """The outcome of a block: the summary that its last step made, or {"unit", "failure" or "recut"}."""
    problem = block.column("problem")[0].as_py()
    if problem is not None:
        unit = json.loads(block.column("piece")[0].as_py())["unit"]["id"]
        return {"unit": unit} | dict(json.loads(problem))
    rows = read_stream(block.column("rows")[0].as_buffer())
    return dict(json.loads(rows.column("summary")[0].as_py()))
