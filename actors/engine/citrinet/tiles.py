"""The tiles in which a GPU multiplies matrices."""

from typing import NamedTuple

import torch


class Tile(NamedTuple):
    """The tile of a program of the pointwise kernel: rows and columns of the output, depth of a step of the sum, warps,
    and stages, the steps whose operands are loaded ahead."""

    rows: int
    out: int
    inner: int
    warps: int
    stages: int


FLOAT32 = Tile(64, 64, 32, 8, 3)  # the precision of its inputs
#: For bfloat16 on multiprocessors with 227 KB of shared memory, such as Hopper's: two warpgroups share a tile whose
#: products are wgmma, and four stages of it fill that memory. `jobs.benchmark` also measures ALTERNATIVES, among them
#: smaller ones, of which two fit on a multiprocessor.
BFLOAT16_LARGE = Tile(128, 256, 64, 8, 4)
ALTERNATIVES = (Tile(128, 256, 64, 8, 3), Tile(128, 128, 64, 4, 3), Tile(128, 128, 64, 8, 4), Tile(256, 128, 64, 8, 3))
BFLOAT16_SMALL = Tile(128, 128, 64, 8, 3)  # for bfloat16 elsewhere


def tile_for(device: torch.device, dtype: torch.dtype) -> Tile:
    """The tile for the products of a precision."""
    if dtype == torch.float32:
        return FLOAT32
    has_large_shared_memory = device.type != "cuda" or torch.cuda.get_device_capability(device)[0] in (9, 10)
    return BFLOAT16_LARGE if has_large_shared_memory else BFLOAT16_SMALL
