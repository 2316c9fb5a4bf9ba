"""In what pieces a GPU multiplies matrices."""

from typing import NamedTuple

import torch


class Tile(NamedTuple):
    """What a program of the pointwise kernel makes at once, rows and columns; how much of the sum it has at hand; by
    how many warps; and how many such pieces of the sum are on their way to it."""

    rows: int
    out: int
    inner: int
    warps: int
    stages: int


PRECISE = Tile(64, 64, 32, 8, 3)  # in float32
#: In bfloat16 where a multiprocessor has 227 KB of shared memory, as Hopper's: two warpgroups share a tile whose
#: products are wgmma, and four stages of it fill that memory. `jobs.benchmark` measures OTHERS beside it, among them
#: smaller ones, of which two fit on a multiprocessor.
LARGE = Tile(128, 256, 64, 8, 4)
OTHERS = (Tile(128, 256, 64, 8, 3), Tile(128, 128, 64, 4, 3), Tile(128, 128, 64, 8, 4), Tile(256, 128, 64, 8, 3))
SMALL = Tile(128, 128, 64, 8, 3)  # elsewhere


def tile_for(device: torch.device, dtype: torch.dtype) -> Tile:
    """The tile that the products of a precision are made in."""
    if dtype == torch.float32:
        return PRECISE
    is_roomy = device.type != "cuda" or torch.cuda.get_device_capability(device)[0] in (9, 10)
    return LARGE if is_roomy else SMALL
