"""Emissions that no run writes, as a kept piece or a file of emissions may have them."""

from collections.abc import Iterator
from typing import Any

import numpy as np
import pyarrow as pa
from transcribing import emission_of

from actors.schema import EMISSION
from actors.text.emissions import MAX_FRAMES, MAX_SECONDS, to_columns

Fields = dict[str, Any]  # of a struct of the type EMISSION


def fields_of(content: bytes) -> Fields:
    """A good emission, whose text is some bytes in HEXADECIMAL."""
    frames = {name: column[0].as_py() for name, column in to_columns([emission_of(content)]).items()}
    return {"start_s": -0.04, "end_s": 20.0, "frame_s": 0.08, "previous": None, "is_followed": False} | frames


def as_column(*emissions: Fields | None) -> pa.ChunkedArray:
    return pa.chunked_array([pa.array(list(emissions), EMISSION)])


GOOD = fields_of(b"today")
FRAMES = len(GOOD["counts"])


def _hostile() -> Iterator[tuple[str, Fields]]:
    for name in ("best", "probability", "ids", "log_probs", "blank"):
        size = {"probability": 4}.get(name, 2)
        yield f"half a value of {name}", {name: GOOD[name][:-1]}
        yield f"half a value of {name} more", {name: GOOD[name] + b"\0"}
        yield f"a value of {name} less", {name: GOOD[name][:-size]}
        yield f"a value of {name} more", {name: GOOD[name] + bytes(size)}
    for name in ("best", "probability", "counts", "ids", "log_probs", "blank"):
        yield f"no {name}", {name: None}
    yield "a count less", {"counts": GOOD["counts"][:-1]}
    yield "a count more", {"counts": GOOD["counts"] + b"\0"}
    yield "more candidates than ids", {"counts": GOOD["counts"][:-1] + b"\xff"}
    yield "a count and no candidate", {"counts": bytes(FRAMES)}
    for value in (float("nan"), float("inf"), -1e-3, 1.001, -float("inf")):
        likely = np.array([0.5] * (FRAMES - 1) + [value], np.float32)
        yield f"a probability of {value}", {"probability": likely.tobytes()}
    for name in ("start_s", "end_s", "frame_s"):
        for number in (None, float("nan"), float("inf"), MAX_SECONDS, -1.0):
            yield f"{name} of {number}", {name: number}
    for number in (-1, 65_536, 2**31 - 1):
        yield f"a previous class {number}", {"previous": number}
    yield "frames of no length", {"frame_s": 0.0}
    yield "too many frames", fields_of(b"x" * (MAX_FRAMES // 2 + 1))


HOSTILE = {name: GOOD | change for name, change in _hostile()}
