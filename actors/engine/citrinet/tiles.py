"""Which kernels a card runs: the tiles in which it multiplies matrices, and the form in which it takes float32.

The table has what was measured; `jobs.benchmark` times the alternatives beside it (docs/benchmarks.md).
"""

from typing import NamedTuple

import torch


class Tile(NamedTuple):
    """The tile of a program of a product: rows and columns of the output, depth of a step of the sum, warps, and
    stages, the steps whose operands are loaded ahead."""

    rows: int
    out: int
    inner: int
    warps: int
    stages: int


class Choice(NamedTuple):
    """The kernels of a precision on a card.

    `closing` is the tile of products with more than ReLU after them, a program each, and `plain` that of the others:
    as many programs as there are multiprocessors share them (`product_kernels.pointwise`), or, where `shares` is
    False, each has its own. `slides` is whether depthwise convolutions do (`kernels.depthwise_slid`).
    """

    plain: Tile
    closing: Tile
    shares: bool
    slides: bool = True


#: For bfloat16 on multiprocessors with 227 KB of shared memory, such as Hopper's: two warpgroups share a tile whose
#: products are wgmma, and four stages of it fill that memory.
BFLOAT16_LARGE = Choice(Tile(128, 256, 64, 8, 4), Tile(128, 256, 64, 8, 3), shares=True)
BFLOAT16_SMALL = Choice(Tile(128, 128, 64, 8, 3), Tile(128, 128, 64, 8, 3), shares=False)  # for bfloat16 elsewhere
FLOAT32 = Choice(Tile(64, 128, 32, 4, 3), Tile(64, 128, 32, 4, 3), shares=False)

#: Plain products that `jobs.benchmark` measures beside a card's own, and whether programs share the tiles.
ALTERNATIVES = (
    (Tile(128, 256, 64, 8, 4), False),
    (Tile(128, 256, 64, 8, 3), True),
    (Tile(256, 128, 64, 8, 3), True),
    (Tile(128, 128, 64, 8, 4), True),
)


def choice_for(device: torch.device, dtype: torch.dtype) -> Choice:
    """The kernels for a precision on a device."""
    if dtype == torch.float32:
        return FLOAT32
    has_large_shared_memory = device.type != "cuda" or torch.cuda.get_device_capability(device)[0] in (9, 10)
    return BFLOAT16_LARGE if has_large_shared_memory else BFLOAT16_SMALL


def multiprocessors_of(device: torch.device) -> int:
    """The number of a GPU's multiprocessors; of a CPU, which runs kernels in tests, 2."""
    return torch.cuda.get_device_properties(device).multi_processor_count if device.type == "cuda" else 2


def float32_products(device: torch.device) -> str:
    """The form of float32 products: three of TensorFloat-32, whose sum is as precise as one of float32 and many times
    as fast, on cards that have it (compute capability 8 and later)."""
    has_tf32 = device.type != "cuda" or torch.cuda.get_device_capability(device)[0] >= 8
    return "tf32x3" if has_tf32 else "ieee"
