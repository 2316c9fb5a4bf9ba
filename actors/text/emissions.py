"""Emissions as columns of Arrow, and back."""

from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from actors.engine.interface import MAX_CLASSES, Candidates, Emission
from actors.foreign.errors import InvalidData
from actors.schema import EMISSION, FRAMES

MAX_SECONDS = 1e8  # of a recording; three years
MAX_FRAMES = 100_000  # of a segment; one of 120 s has 12,000 at most, if a frame is a hop
#: The type of the values of each column of frames.
TYPES: dict[str, np.dtype[Any]] = {
    "best": np.dtype("<u2"),
    "probability": np.dtype("<f4"),
    "counts": np.dtype("<u1"),
    "ids": np.dtype("<u2"),
    "log_probs": np.dtype("<u2"),
    "blank": np.dtype("<u2"),
}


def to_columns(emissions: Sequence[Emission | None]) -> dict[str, pa.Array]:
    """The columns FRAMES of emissions, null where there is none; candidates are null where an emission has none."""
    best = [each and each.best for each in emissions]
    likely = [each and each.probability for each in emissions]
    candidates = [each and each.candidates for each in emissions]
    return {"best": _column("best", best), "probability": _column("probability", likely)} | {
        name: _column(name, [None if each is None else getattr(each, name) for each in candidates])
        for name in ("counts", "ids", "log_probs", "blank")
    }


def _column(name: str, values: Sequence[NDArray[np.generic] | None]) -> pa.Array:
    """A column of bytes; all of them are copied at once, because there may be many thousands."""
    there = [each for each in values if each is not None]
    if not there:
        return pa.nulls(len(values), pa.large_binary())
    data = np.concatenate(there).astype(TYPES[name], copy=False)
    sizes = np.array([0, *(0 if each is None else len(each) for each in values)], np.int64) * data.itemsize
    validity = None if len(there) == len(values) else pa.array([each is not None for each in values]).buffers()[1]
    buffers = [validity, pa.py_buffer(np.cumsum(sizes)), pa.py_buffer(np.ascontiguousarray(data))]
    return pa.LargeBinaryArray.from_buffers(pa.large_binary(), len(values), buffers)


class Heard(NamedTuple):
    """The emission of a segment alone, as of the type EMISSION, with the arrays of all its frames."""

    start_s: float
    end_s: float
    frame_s: float
    previous: int | None
    best: NDArray[np.uint16]
    probability: NDArray[np.float32]
    is_followed: bool = False
    candidates: Candidates | None = None


def heard_in(emissions: pa.ChunkedArray) -> Iterator[Heard | None]:
    """The emissions in a column of the type EMISSION."""
    for chunk in emissions.chunks:
        fields = dict(zip(chunk.type.names, chunk.flatten(), strict=True))
        numbers = [fields[name].to_pylist() for name in ("start_s", "end_s", "frame_s", "previous", "is_followed")]
        frames = zip(*(fields[name] for name in TYPES), strict=True)
        for (start_s, end_s, frame_s, previous, is_followed), arrays in zip(
            zip(*numbers, strict=True), frames, strict=True
        ):
            if not arrays[0].is_valid:
                yield None
                continue
            best, probability, *listed = map(_array, TYPES.values(), arrays)
            candidates = Candidates(*listed) if arrays[2].is_valid else None
            yield Heard(start_s, end_s, frame_s, previous, best, probability, bool(is_followed), candidates)


def _array(kind: np.dtype[Any], value: pa.LargeBinaryScalar) -> NDArray[Any]:
    return np.frombuffer(value.as_buffer() or b"", kind)


def check_emissions(emissions: pa.ChunkedArray) -> None:
    """Raises InvalidData for emissions that no run has written: read from storage, they may be anything."""
    for chunk in emissions.chunks:
        there = chunk.filter(chunk.is_valid())
        fields = dict(zip(there.type.names, there.flatten(), strict=True))
        start_s, end_s, frame_s = (_times(fields[name]) for name in ("start_s", "end_s", "frame_s"))
        if not ((frame_s > 0) & (start_s > -frame_s) & (end_s >= 0)).all():
            raise InvalidData("it has emissions of impossible times")
        previous = fields["previous"].fill_null(0).to_numpy(zero_copy_only=False)
        if not ((previous >= 0) & (previous < MAX_CLASSES)).all():
            raise InvalidData("it has emissions that follow a class of no model")
        lengths = {name: _lengths(fields[name], name) for name in TYPES}
        frames = lengths["best"]
        if frames.min(initial=0) < 0 or frames.max(initial=0) > MAX_FRAMES or fields["best"].null_count:
            raise InvalidData("it has emissions without frames, or of too many")
        with_candidates = lengths["counts"] >= 0
        if not np.array_equal(lengths["probability"], frames):
            raise InvalidData("it has emissions whose columns differ in length")
        for name in ("counts", "blank"):
            if not np.array_equal(lengths[name], np.where(with_candidates, frames, -1)):
                raise InvalidData("it has emissions whose columns differ in length")
        counted = np.array([_sum_of_bytes(each) for each in fields["counts"]], np.int64)
        for name in ("ids", "log_probs"):
            if not np.array_equal(lengths[name], np.where(with_candidates, counted, -1)):
                raise InvalidData("it has other candidates than it counts")
        for each in fields["probability"]:
            likely = np.frombuffer(each.as_buffer(), TYPES["probability"])
            if not ((likely >= 0) & (likely <= 1)).all():
                raise InvalidData("it has emissions of impossible probabilities")


def _times(column: pa.Array) -> NDArray[np.float64]:
    """Seconds, as those of a recording can be; NaN where they cannot."""
    seconds: NDArray[np.float64] = column.fill_null(np.nan).to_numpy(zero_copy_only=False)
    return np.where(np.abs(seconds) < MAX_SECONDS, seconds, np.nan)


def _lengths(column: pa.Array, name: str) -> NDArray[np.int64]:
    """How many values each row has, -1 where it is null."""
    size = TYPES[name].itemsize
    sizes: NDArray[np.int64] = pc.binary_length(column).fill_null(-size).to_numpy(zero_copy_only=False)
    if (sizes % size).any():
        raise InvalidData(f"it has emissions whose {name} are not whole")
    return sizes // size


def _sum_of_bytes(counts: pa.LargeBinaryScalar) -> int:
    return int(np.frombuffer(counts.as_buffer(), np.uint8).sum(dtype=np.int64)) if counts.is_valid else -1


def structs(columns: dict[str, pa.Array], is_there: NDArray[np.bool_]) -> pa.Array:
    """An array of the type EMISSION, null where nothing is there."""
    arrays = [columns[field.name] for field in EMISSION]
    return pa.StructArray.from_arrays(arrays, fields=list(EMISSION), mask=pa.array(~is_there))


assert [each.name for each in FRAMES] == list(TYPES)
