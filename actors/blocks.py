"""What travels between the stages of the graph: a block of one row, which is one piece.

The piece's table is folded into that row as an Arrow IPC stream, so that nothing on the way can split it, merge it with
another, or drop it for being empty; reading it back copies nothing. A stage that raises turns its piece into a failure,
which passes the later stages untouched and reaches the driver: one bad unit fails without the rest.
"""

import traceback
from collections.abc import Callable
from typing import Any

import pyarrow as pa

from actors.units import Unit

_BLOCK = pa.schema([("unit", pa.string()), ("rows", pa.large_binary()), ("failure", pa.string())])

Step = Callable[[Unit, pa.Table], pa.Table]


def pack(unit: str, rows: pa.Table | None, failure: str | None = None) -> pa.Table:
    """A block of one row from a unit, as JSON, and its table or why there is none."""
    column = pa.nulls(1, pa.large_binary())
    if rows is not None:
        sink = pa.BufferOutputStream()
        with pa.ipc.new_stream(sink, rows.schema) as writer:
            writer.write_table(rows)
        stream = sink.getvalue()
        offsets = pa.array([0, stream.size], pa.int64()).buffers()[1]
        column = pa.LargeBinaryArray.from_buffers(pa.large_binary(), 1, [None, offsets, stream])  # no copy of the sound
    return pa.table([pa.array([unit]), column, pa.array([failure], pa.string())], schema=_BLOCK)


def start(unit: Unit) -> dict[str, Any]:
    """A unit as the row that enters the graph."""
    return {"unit": unit.to_json()}


def advance(block: pa.Table, step: Step) -> pa.Table:
    """A block with its table replaced by what a step makes of it; a failure stays what it is."""
    unit = block.column("unit")[0].as_py()
    rows = pa.table({})
    if "rows" in block.schema.names:
        stream = block.column("rows")[0]
        if not stream.is_valid:
            return block
        rows = pa.ipc.open_stream(stream.as_buffer()).read_all()
    try:
        return pack(unit, step(Unit.from_json(unit), rows))
    except Exception as problem:  # told to the driver, which ends the run as failed
        where = traceback.extract_tb(problem.__traceback__)[-1]
        return pack(unit, None, f"{type(problem).__name__}: {problem} ({where.name}, line {where.lineno})")
