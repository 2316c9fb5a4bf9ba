"""Every kernel computes what its twin in plain torch does: on a GPU, or in Triton's interpreter where there is none."""

import os
import subprocess
import sys
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from conftest import ROOT
from interpreter import DEVICE

from actors.engine.citrinet.configuration import FeaturesConfig
from actors.engine.citrinet.cpu_layers import CpuLayers
from actors.engine.citrinet.features import Features
from actors.engine.citrinet.gpu_layers import GpuLayers
from actors.engine.citrinet.layers import Affine, Layers
from actors.engine.citrinet.levels import levels_of
from actors.engine.citrinet.packing import Packing, pack
from actors.engine.citrinet.tiles import Choice, choice_for

LENGTHS = [37, 1, 90, 12, 3, 64, 30]
TOLERANCE = {torch.float32: 1e-5, torch.bfloat16: 2e-2}
DTYPES = pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])


def packings(gap: int = 5) -> tuple[Packing, Packing]:
    packing = pack(LENGTHS, gap)
    return packing, packing.strided(gap)


def drawn(*shape: int, seed: int = 1, scale: float = 1.0) -> torch.Tensor:
    return torch.from_numpy(np.random.default_rng(seed).normal(0, scale, shape).astype(np.float32))


def rows_of(packing: Packing, channels: int, dtype: torch.dtype, seed: int = 1) -> torch.Tensor:
    """Rows as a layer on CPUs leaves them: zero in gaps."""
    x = drawn(packing.rows, channels, seed=seed).to(dtype)
    x[packing.gaps] = 0
    return x


def beyond(x: torch.Tensor, rows: int, packing: Packing | None = None) -> torch.Tensor:
    """The same rows on the device, in a buffer that has room for more and holds rubbish there, and in the gaps of a
    packing."""
    wide = torch.full((rows, *x.shape[1:]), float("nan"), dtype=x.dtype)
    wide[: len(x)] = x
    if packing is not None:
        wide[packing.gaps] = float("nan")
    return wide.to(DEVICE)


def same(ours: torch.Tensor, twin: torch.Tensor, dtype: torch.dtype, rows: Any = slice(None)) -> None:
    ours = ours[: len(twin)].cpu().float()[rows]
    twin = twin.float()[rows]
    assert torch.isfinite(ours).all()
    difference = (ours - twin).norm() / twin.norm()
    assert difference < TOLERANCE[dtype], difference


def compare(make: Callable[[Layers[Any]], Any], dtype: torch.dtype, choice: Choice | None = None) -> tuple[Any, Any]:
    """An operation on kernels and its twin."""
    return make(GpuLayers(DEVICE, dtype, choice)), make(CpuLayers(dtype))


@DTYPES
@pytest.mark.parametrize(("kernel", "dilation"), [(1, 1), (3, 1), (5, 1), (7, 1), (11, 1), (5, 2), (21, 1), (39, 1)])
def test_depthwise(kernel: int, dilation: int, dtype: torch.dtype) -> None:
    """Sliding or not, the bits are the same; the widest does not slide."""
    gap = dilation * (kernel - 1) // 2
    packing = pack(LENGTHS, gap)
    (level, *_), budget = levels_of([packing], DEVICE, spare=40), packing.rows + 40
    weight = drawn(96, 1, kernel, seed=2)
    ours, twin = compare(lambda layers: layers.depthwise(weight, 1, dilation), dtype)
    x = beyond(rows_of(packing, 96, dtype), budget, packing)
    found, inside = ours(x, level), packing.recording >= 0
    same(found, twin(rows_of(packing, 96, dtype), packing), dtype, inside)
    choice = choice_for(DEVICE, dtype)._replace(slides=False)
    resting, _ = compare(lambda layers: layers.depthwise(weight, 1, dilation), dtype, choice)
    assert torch.equal(resting(x, level)[: packing.rows], found[: packing.rows])


@DTYPES
def test_depthwise_with_a_stride(dtype: torch.dtype) -> None:
    packing, halved = packings()
    fine, coarse = levels_of([packing, halved], DEVICE, spare=40)
    weight = drawn(160, 1, 9, seed=2)
    ours, twin = compare(lambda layers: layers.depthwise(weight, 2, 1), dtype)
    x = rows_of(packing, 160, dtype)
    same(ours(beyond(x, len(fine.recording), packing), coarse), twin(x, halved), dtype, halved.recording >= 0)
    ours, twin = compare(lambda layers: layers.subsample, dtype)
    assert torch.equal(ours(beyond(x, len(fine.recording)), coarse)[: halved.rows].cpu(), twin(x, halved))


@DTYPES
@pytest.mark.parametrize("shares", [True, False])
@pytest.mark.parametrize("channels", [136, 600])
def test_pointwise(channels: int, shares: bool, dtype: torch.dtype) -> None:
    packing, _ = packings()
    (level,) = levels_of([packing], DEVICE, spare=300)
    affine = Affine(drawn(channels, 80, seed=2, scale=0.1), drawn(channels, seed=3))
    choice = choice_for(DEVICE, dtype)._replace(shares=shares)
    ours, twin = compare(lambda layers: layers.pointwise(affine), dtype, choice)
    x = rows_of(packing, 80, dtype)
    wide = beyond(x, len(level.recording), packing)
    same(ours(wide, level), twin(x, packing), dtype, packing.recording >= 0)


@DTYPES
@pytest.mark.parametrize("gated", [True, False])
@pytest.mark.parametrize("residual", [True, False])
def test_the_end_of_a_block(gated: bool, residual: bool, dtype: torch.dtype) -> None:
    packing, _ = packings()
    (level,) = levels_of([packing], DEVICE, spare=7)
    budget = len(level.recording)
    x, entered = rows_of(packing, 96, dtype), rows_of(packing, 64, dtype, seed=5) if residual else None
    factors = torch.sigmoid(drawn(len(LENGTHS), 160, seed=6)) if gated else None
    affine = Affine(drawn(160, 96, seed=2, scale=0.1), drawn(160, seed=3))
    other = Affine(drawn(160, 64, seed=7, scale=0.1), drawn(160, seed=8)) if residual else None
    ours, twin = compare(lambda layers: layers.closing(affine, other), dtype)
    wide = None if factors is None else beyond(factors, len(level.starts))
    second = None if entered is None else beyond(entered, budget, packing)
    y = ours(beyond(x, budget, packing), level, wide, second)
    same(y, twin(x, packing, factors, entered), dtype, packing.recording >= 0)


@DTYPES
def test_gate(dtype: torch.dtype) -> None:
    packing, _ = packings()
    (level,) = levels_of([packing], DEVICE, spare=9)
    down, up = drawn(20, 160, seed=2, scale=0.3), drawn(160, 20, seed=3)
    affine = Affine(drawn(160, 96, seed=4), drawn(160, seed=5))
    ours, twin = compare(lambda layers: layers.gate(down, up, affine), dtype)
    x = rows_of(packing, 96, dtype)
    same(ours(beyond(x, len(level.recording)), level), twin(x, packing), torch.float32)


@pytest.mark.parametrize("is_float", [False, True])
@pytest.mark.parametrize(("power", "guard_type", "preemphasis"), [(2.0, "add", 0.97), (1.0, "clamp", None)])
def test_log_mel(power: float, guard_type: str, preemphasis: float | None, is_float: bool) -> None:
    config: FeaturesConfig = {
        "n_fft": 512,
        "hop": 160,
        "preemphasis": preemphasis,
        "power": power,
        "guard": 2**-24,
        "guard_type": guard_type,
    }
    window, filters = torch.hann_window(400), drawn(80, 257).abs() / 257
    draw = np.random.default_rng(1)
    batch = [draw.normal(0, 3_000, count).astype(np.int16) for count in (1_601, 9_000, 20_000, 5_119)]
    if is_float:
        batch = [batch[0], *(pcm.astype(np.float32) * 1e-7 for pcm in batch[1:])]
    tensors = {"features.window": window, "features.filters": filters}
    whole = compare(lambda layers: Features(layers, config, tensors), torch.float32)
    theirs = whole[1]
    packing = theirs.packing(batch, 0)
    (level,) = levels_of([packing], DEVICE, spare=9)
    sound, ends = theirs.packed(batch, packing)
    assert sound.dtype == (torch.float32 if is_float else torch.int16)
    padded = torch.nn.functional.pad(window, (56, 56))
    for ours, twin in (compare(lambda layers: layers.log_mel(config, padded, filters), torch.float32), whole):
        found = ours(sound.to(DEVICE), ends.to(DEVICE), level)
        same(found, twin(sound, ends, packing), torch.float32, packing.recording >= 0)


def test_normalise() -> None:
    packing = pack([37, 2, 90, 12, 64], 4)
    (level,) = levels_of([packing], DEVICE, spare=9)
    log = drawn(packing.rows, 80) * 3 - 9
    for dtype in (torch.float32, torch.bfloat16):
        ours, twin = compare(lambda layers: layers.normalise, dtype)
        wide = ours(beyond(log, len(level.recording)), level)
        same(wide, twin(log, packing), dtype, packing.recording >= 0)


@DTYPES
def test_head(dtype: torch.dtype) -> None:
    packing, _ = packings()
    (level,) = levels_of([packing], DEVICE, spare=9)
    affine = Affine(drawn(333, 96, seed=2), drawn(333, seed=3))
    ours, twin = compare(lambda layers: layers.head(affine), dtype)
    x = rows_of(packing, 96, dtype)
    # Of bfloat16 rows the weights' remainders make it far better than bfloat16, and the same in float32.
    inside = packing.recording >= 0
    same(ours(beyond(x, len(level.recording)), level), twin(x, packing), torch.float32, inside)


def test_best() -> None:
    packing, _ = packings()
    (level,) = levels_of([packing], DEVICE, spare=9)
    logits = drawn(packing.rows, 333, scale=4)
    logits[3, [7, 200]] = 50.0  # of equals the first
    ours, twin = compare(lambda layers: layers.best, torch.float32)
    ids, probabilities = ours(beyond(logits, len(level.recording)), level)
    their_ids, their_probabilities = twin(logits, packing)
    assert torch.equal(ids[: packing.rows].cpu().long(), their_ids)
    assert int(ids[3]) == 7
    same(probabilities, their_probabilities, torch.float32)


COMPILED = """
import re, subprocess, tempfile
from pathlib import Path
import triton
from triton.backends.compiler import GPUTarget
from triton.compiler import ASTSource
from actors.engine.citrinet import kernels, product_kernels
from actors.engine.citrinet.gpu_layers import MAX_HELD, SLID_ROWS
from actors.engine.citrinet.tiles import BFLOAT16_LARGE, FLOAT32

def spills(made):
    # Whether the assembler keeps registers in memory: a thread then has a stack.
    with tempfile.NamedTemporaryFile(suffix=".cubin") as file:
        file.write(made.asm["cubin"])
        file.flush()
        tool = Path(triton.__file__).parent / "backends/nvidia/bin/cuobjdump"
        told = subprocess.run([tool, "-res-usage", file.name], capture_output=True, text=True, check=True).stdout
    return re.search(r"STACK:(\\d+)", told)[1] != "0"

def assembled(kernel, constants, options, **types):
    names = kernel.arg_names
    signature = {name: types.get(name, "constexpr") for name in names}
    aligned = {(names.index(name),): [["tt.divisibility", 16]] for name, kind in types.items() if kind[0] == "*"}
    values = {(names.index(name),): value for name, value in constants.items()}
    source = ASTSource(kernel, signature, values, aligned)
    return triton.compile(source, target=GPUTarget("cuda", 90, 32), options=options)

def described(tile, kind, halves):
    shapes = (tile.rows, tile.inner), (tile.out, tile.inner), (tile.rows, tile.out // halves)
    return [f"tensordesc<{kind}[{a}, {b}]>" for a, b in shapes]

pointers = dict(bias="*fp32", count="*i32")
for tile, halves in ((BFLOAT16_LARGE.plain, 2), (BFLOAT16_LARGE.closing, 1), (FLOAT32.plain, 2), (FLOAT32.closing, 1)):
    is_float32 = tile == FLOAT32.plain
    rows, weights, out = described(tile, "fp32" if is_float32 else "bf16", halves)
    constants = dict(INNER=1024, OUTER=1024, RELU=True, PRECISION="tf32x3" if is_float32 else "ieee")
    constants |= dict(BLOCK_ROWS=tile.rows, BLOCK_OUT=tile.out, BLOCK_IN=tile.inner)
    if halves == 2:
        kernel, constants, more = product_kernels.pointwise, constants | dict(PROGRAMS=132), {}
    else:
        kernel, constants = product_kernels.closing, constants | dict(ENTERED=1024, GATED=True)
        more = dict(entered=rows, residual=weights, residual_bias="*fp32", factors="*fp32", recording="*i32")
    made = assembled(kernel, constants, {"num_warps": tile.warps, "num_stages": tile.stages},
                     x=rows, weight=weights, y=out, **pointers, **more)
    ptx = made.asm["ptx"]
    assert "wgmma.mma_async" in ptx and "cp.async.bulk.tensor" in ptx and not spills(made)
    assert ("tf32" in ptx) == is_float32
    assert made.metadata.shared <= 227 * 1024, made.metadata.shared
constants = dict(CHANNELS=1024, KERNEL=11, DILATION=1, STRIDED=True, BLOCK_ROWS=32, BLOCK_CHANNELS=128)
pointers = dict.fromkeys(("x", "weight", "y"), "*bf16")
pointers |= dict.fromkeys(("source", "recording", "rows_in", "rows_out"), "*i32")
made = assembled(kernels.depthwise, constants, {"num_warps": 8}, **pointers)
assert "ld.global.v4" in made.asm["ptx"]
taps = (MAX_HELD - SLID_ROWS + 1) // 2
constants = dict(CHANNELS=1024, DILATION=1, BLOCK_ROWS=SLID_ROWS, BLOCK_CHANNELS=512)
pointers = dict.fromkeys(("x", "weight", "y"), "*bf16") | dict(recording="*i32", count="*i32")
made = assembled(kernels.depthwise_slid, constants | {"KERNEL": taps}, {"num_warps": 4}, **pointers)
assert taps == 21 and "ld.global.v2" in made.asm["ptx"] and not spills(made)
made = assembled(kernels.depthwise_slid, constants | {"KERNEL": 33}, {"num_warps": 4}, **pointers)
assert spills(made)
constants = dict(HOP=160, EMPHASIS=0.97, SIZE=512, BLOCK_ROWS=4)
pointers = dict(window="*fp32", ends="*i64", recording="*i32", count="*i32", first="i32", y="*fp32")
for kind, unit in (("*i16", 2**-15), ("*fp32", 1.0)):
    made = assembled(kernels.frames, constants | {"UNIT": unit}, {}, sound=kind, **pointers)
    assert ("cvt.rn.f32.s16" in made.asm["ptx"]) == (kind == "*i16") and "div." not in made.asm["ptx"]
constants = dict(CLASSES=5207, MOST=32, THRESHOLD=-9.2, PER_NAT=4096, BLOCK=8192)
pointers = dict(logits="*fp32", stride="i32", count="*i32", counts="*i32", ids="*i16", codes="*i16", blanks="*i16")
made = assembled(kernels.candidates, constants, {"num_warps": 8}, **pointers)
assert not spills(made)  # a row fits the registers
print("compiled")
"""


def test_kernels_compile_for_hopper() -> None:
    """The compiler needs no GPU: products by warpgroups, copies by the tensor memory accelerator, 16 bytes a load."""
    environment = {name: value for name, value in os.environ.items() if name != "TRITON_INTERPRET"}
    done = subprocess.run([sys.executable, "-c", COMPILED], cwd=ROOT, env=environment, capture_output=True, text=True)
    assert done.stdout == "compiled\n", done.stderr
