"""Products in int8: exact sums, a scale for each row, and the same bits whatever a row is batched with."""

import os
import subprocess
import sys
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from conftest import DEMO_MODEL, ROOT
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from test_citrinet import MODELS, engine_of, in_both_forms, sounds_of, texts_of
from torch.nn import functional

from actors.benchmark.sides import available
from actors.engine import devices, load
from actors.engine.citrinet.cpu_layers import CpuLayers
from actors.engine.citrinet.int8 import MOST_CHANNELS, Int8Layers, Int8Product, quantised
from actors.engine.citrinet.layers import Affine
from actors.engine.citrinet.packing import Packing, pack
from actors.engine.citrinet.passes import LEAST
from actors.engine.devices import cpu_has_int8
from actors.engine.interface import EngineSettings
from actors.engine.models import resolve
from actors.schema import UsageError
from jobs.cli.loading import ConfigError
from jobs.cli.loading import load as load_config
from jobs.planning.prepare import prepare
from jobs.planning.recipe import Devices, Recipe, depends_on_devices

needs_int8 = pytest.mark.skipif(not cpu_has_int8(), reason="this CPU multiplies no int8")

PACKING = pack([40, 1, 90, 17], gap=3)
BFLOAT16_STEP = 2.0**-8  # relative


def affine_of(out: int, into: int, seed: int = 1) -> Affine:
    draw = torch.Generator().manual_seed(seed)
    return Affine(torch.randn(out, into, generator=draw) / into**0.5, torch.randn(out, generator=draw))


def rows_of(packing: Packing, channels: int, seed: int = 2) -> torch.Tensor:
    """Rows of very different sizes; those of gaps are zero."""
    draw = torch.Generator().manual_seed(seed)
    x = torch.randn(packing.rows, channels, generator=draw) * torch.logspace(-3, 3, packing.rows)[:, None]
    return x.index_fill(0, packing.gaps, 0).bfloat16()


def restored(levels: torch.Tensor, scales: np.ndarray) -> torch.Tensor:
    return (levels.double() - 128) * torch.from_numpy(scales).double()[:, None]


@needs_int8
@pytest.mark.parametrize("channels", [1, 2, 3, 17, 80, 96, 127, 1_024, 1_025, 4_096])
def test_sums_are_those_of_whole_numbers(channels: int) -> None:
    """Also where every product is as large as can be: instructions without VNNI cut off at 16 bits there."""
    draw = torch.Generator().manual_seed(channels)
    for out, rows in ((1, 1), (3, 7), (29, 64), (640, 301)):
        for most in (False, True):
            weight = torch.randint(-127, 128, (out, channels), generator=draw)
            levels = torch.randint(1, 256, (rows, channels), generator=draw)
            if most:
                weight, levels = weight.sign() * 127, torch.where(levels > 128, 255, 1)
            weight[:, 0] = 127  # so that the weight's scale is 1
            product = Int8Product(Affine(weight.float(), torch.zeros(out)))
            exact = (levels - 128) @ weight.T
            assert torch.equal(product.of_levels(levels.to(torch.uint8)), exact.float())


@needs_int8
def test_rows_are_rounded_to_a_255th_of_their_own_range() -> None:
    x = rows_of(PACKING, 100)
    levels, scales = quantised(x)
    largest = x.double().abs().amax(dim=1)
    assert int(levels.min()) == 1
    assert int(levels.max()) == 255
    assert torch.from_numpy(scales).double() == pytest.approx(largest / 127, rel=1e-6, abs=2.0**-100)
    apart = (restored(levels, scales) - x.double()).abs().amax(dim=1)
    assert bool((apart <= largest / 127 * 0.5001).all())
    assert bool((levels[PACKING.gaps] == 128).all())


@needs_int8
@pytest.mark.parametrize("size", [0.0, 1e-40, 2.0**-126, 2.0**-110, 2.0**-99, 1e-20, 1.0, 1e20, 3.3e38])
def test_rows_of_any_finite_size_stay_finite(size: float) -> None:
    """Those of subnormal numbers, of which the reciprocal is infinite, are zeros."""
    x = torch.tensor([[1.0, -1.0, 0.25, 0.0] * 8]).mul(size).bfloat16()
    levels, _ = quantised(x)
    expected = [255, 1, 160, 128] if size > 1.1 * float(LEAST) else [128] * 4
    assert levels[0, :4].tolist() == expected
    y = Int8Layers().pointwise(Affine(torch.eye(32), torch.zeros(32)))(x, pack([1], 1))
    assert bool(torch.isfinite(y).all())
    if size > 1.1 * float(LEAST):
        assert y[0, :4].float() == pytest.approx(x[0, :4].float().clamp(min=0), rel=0.02)


@needs_int8
def test_channels_of_any_weight_are_as_in_float32() -> None:
    """A weight of zeros, one of subnormal numbers, and one far larger than the others'."""
    weight = affine_of(4, 64).weight
    weight[0], weight[1], weight[2] = 0, 1e-41, weight[2] * 1e6
    affine, x = Affine(weight, torch.tensor([0.5, 0.25, 0.0, 0.0])), torch.randn(9, 64).bfloat16()
    y, packing = Int8Layers().pointwise(affine), pack([9], 1)
    wanted = torch.relu(x.float() @ weight.T + affine.bias)
    assert y(x, packing)[:, :2].float().tolist() == [[0.5, 0.25]] * 9
    for found, expected in zip(y(x, packing).float().T, wanted.T, strict=True):
        assert found == pytest.approx(expected, abs=0.05 * float(expected.max()))


@needs_int8
@pytest.mark.parametrize("gate", [False, True])
@pytest.mark.parametrize("residual", [False, True])
def test_the_end_of_a_block_is_close_to_its_twin_in_float32(gate: bool, residual: bool) -> None:
    affine, other = affine_of(160, 96), affine_of(160, 33, seed=3) if residual else None
    factors = torch.rand(len(PACKING.lengths), 160) if gate else None
    x, entered = rows_of(PACKING, 96), rows_of(PACKING, 33, seed=4) if residual else None
    ours = Int8Layers().closing(affine, other)(x, PACKING, factors, entered)
    precise = CpuLayers(torch.float32).closing(affine, other)
    theirs = precise(x.float(), PACKING, factors, None if entered is None else entered.float())
    assert ours.dtype == torch.bfloat16
    assert bool((ours[PACKING.gaps] == 0).all())
    assert bool((ours >= 0).all())
    apart = (ours.float() - theirs).norm(dim=1) / theirs.norm(dim=1).clamp(min=1e-9)
    assert 0 < float(apart.max()) < 0.02
    rounded = ((ours.float() - theirs).abs() / theirs)[theirs > 0]
    assert float(rounded.median()) > 0.2 * BFLOAT16_STEP  # it is int8, and not float32 rounded


@needs_int8
def test_too_wide_a_product_is_refused() -> None:
    """Sums would not fit 32 bits."""
    assert MOST_CHANNELS * 255 * 127 < 2**31 <= (MOST_CHANNELS + 1) * 255 * 127
    Int8Product(affine_of(1, MOST_CHANNELS))
    with pytest.raises(UsageError, match=r"model\.precision: int8 takes at most 66,311 channels.* has 66,312; use"):
        Int8Product(affine_of(1, MOST_CHANNELS + 1))


@needs_int8
@pytest.mark.parametrize("name", ["256 filters", "quartznet"])
def test_a_batch_never_changes_a_result_to_the_bit(
    name: str, lively_model: Callable[..., Path], tmp_path: Path
) -> None:
    engine = engine_of(lively_model(f"family {name}", **MODELS[name]), tmp_path, "int8")

    @settings(max_examples=5, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
    @given(st.lists(st.floats(0.1, 6.0), min_size=1, max_size=7), st.integers(0, 1_000))
    def holds(seconds: list[float], seed: int) -> None:
        sounds = in_both_forms(sounds_of(seconds, seed))
        together, packing = engine.logits(sounds)
        for sound, rows in zip(sounds, packing.slices, strict=True):
            alone, _ = engine.logits([sound])
            assert torch.equal(alone, together[rows])

    holds()


@needs_int8
def test_threads_never_change_a_result_to_the_bit(lively_model: Callable[..., Path], tmp_path: Path) -> None:
    """Neither those within a product, nor batches side by side on the same weights."""
    engine = engine_of(lively_model("family 256 filters", **MODELS["256 filters"]), tmp_path, "int8")
    batches, threads = [sounds_of([3.1, 2.7, 4.4], seed) for seed in range(6)], torch.get_num_threads()
    found = dict[int, list[torch.Tensor]]()
    try:
        for count in (1, 2):
            torch.set_num_threads(count)
            found[count] = [engine.logits(batch)[0] for batch in batches]
    finally:
        torch.set_num_threads(threads)
    with ThreadPoolExecutor(3, initializer=torch.set_num_threads, initargs=(1,)) as pool:
        side_by_side = [logits for logits, _ in pool.map(engine.logits, batches)]
    assert all(map(torch.equal, found[1], found[2]))
    assert all(map(torch.equal, found[1], side_by_side))


@needs_int8
@pytest.mark.parametrize("name", [*MODELS, "demo"])
def test_every_family_is_close_to_float32(name: str, lively_model: Callable[..., Path], tmp_path: Path) -> None:
    path = DEMO_MODEL if name == "demo" else lively_model(f"family {name}", **MODELS[name])
    sounds = sounds_of([0.11, 1.0, 2.345, 7.7])
    (ours, _), (theirs, _) = (engine_of(path, tmp_path, each).logits(sounds) for each in ("int8", "float32"))
    assert torch.isfinite(ours).all()
    apart = (ours - theirs).norm() / (theirs - theirs.mean(dim=1, keepdim=True)).norm()
    assert 0 < float(apart) < 0.15


@needs_int8
def test_it_says_the_same_of_speech(speech: Sequence[tuple[np.ndarray, str]], tmp_path: Path) -> None:
    engine = engine_of(DEMO_MODEL, tmp_path, "int8")
    assert texts_of(DEMO_MODEL, engine, [(samples * 32_767).astype(np.int16) for samples, _ in speech]) == [
        text for _, text in speech
    ]


@needs_int8
@pytest.mark.parametrize(("flags", "computes_in"), [("avx512_vnni avx512_bf16", "bfloat16"), ("avx_vnni", "float32")])
def test_depthwise_convolutions_are_in_float32_on_cpus_without_bfloat16(
    flags: str, computes_in: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where oneDNN has nothing fast for bfloat16."""
    cpu_info, convolve, seen = tmp_path / "cpuinfo", functional.conv2d, set[torch.dtype]()

    def conv2d(image: torch.Tensor, taps: torch.Tensor, *others: Any) -> torch.Tensor:
        seen.update((image.dtype, taps.dtype))
        return convolve(image, taps, *others)

    cpu_info.write_text(f"flags : {flags}\n")
    monkeypatch.setattr(devices, "_CPU_INFO", cpu_info)
    monkeypatch.setattr(functional, "conv2d", conv2d)
    draw = torch.Generator().manual_seed(5)
    x, weight = rows_of(PACKING, 64), torch.randn(64, 1, 11, generator=draw)
    y = Int8Layers().depthwise(weight, 1, 1)(x, PACKING)
    assert seen == {getattr(torch, computes_in)}
    assert y.dtype == torch.bfloat16
    exact = CpuLayers(torch.float32).depthwise(weight.bfloat16(), 1, 1)(x.float(), PACKING)
    largest = CpuLayers(torch.float32).depthwise(weight.bfloat16().abs(), 1, 1)(x.float().abs(), PACKING)
    assert bool(((y.float() - exact).abs() <= BFLOAT16_STEP * largest).all())


@needs_int8
@pytest.mark.parametrize("instructions", ["AVX2_VNNI", "AVX512_CORE_VNNI"])
def test_older_cpus_with_vnni_have_the_same_products_at_speed(instructions: str) -> None:
    """As far as oneDNN can be kept from newer instructions. Where it has no fast product, these would take hours."""
    flag = {"AVX2_VNNI": "avx_vnni", "AVX512_CORE_VNNI": "avx512_vnni"}[instructions]
    if flag not in Path("/proc/cpuinfo").read_text().split():
        pytest.skip(f"this CPU has no {flag}")
    program = (
        "import torch, sys\nfrom actors.engine.citrinet.int8 import Int8Product, check_exact\n"
        "from actors.engine.citrinet.layers import Affine\ncheck_exact()\n"
        "draw = torch.Generator().manual_seed(1)\n"
        "product = Int8Product(Affine(torch.randn(640, 640, generator=draw), torch.zeros(640)))\n"
        "print(product(torch.randn(3_000, 640, generator=draw).bfloat16()).values.sum(dtype='float64'))"
    )
    sums = set()
    for environment in ({}, {"ONEDNN_MAX_CPU_ISA": instructions}):
        command = [sys.executable, "-c", program]
        done = subprocess.run(command, cwd=ROOT, env=os.environ | environment, capture_output=True, timeout=100)
        assert done.returncode == 0, done.stderr.decode()
        sums.add(done.stdout)
    assert len(sums) == 1


def test_products_that_are_not_exact_are_refused() -> None:
    """As of CPUs that add pairs of products in 16 bits: what oneDNN can be told to take this one for."""
    if "avx512f" not in Path("/proc/cpuinfo").read_text().split():
        pytest.skip("oneDNN is told to use AVX-512 without VNNI, which this CPU lacks")
    program = (
        "from actors.engine.citrinet.int8 import Int8Layers\nfrom actors.schema import UsageError\n"
        "try:\n    Int8Layers()\nexcept UsageError as problem:\n    print(problem)"
    )
    environment = os.environ | {"ONEDNN_MAX_CPU_ISA": "AVX512_CORE"}
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=ROOT, env=environment, capture_output=True, text=True, check=True
    )
    assert done.stdout.startswith("model.precision: products in int8 are not exact on this machine's CPU; use bfloat16")


@pytest.mark.parametrize(
    ("flags", "has"),
    [("avx2 avx512f avx512_bf16", False), ("avx2 avx_vnni", True), ("avx512_vnni", True), ("amx_int8", True)],
)
def test_a_cpu_is_known_by_its_flags(flags: str, has: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    cpu_info = tmp_path / "cpuinfo"
    monkeypatch.setattr(devices, "_CPU_INFO", cpu_info)
    assert not cpu_has_int8()
    cpu_info.write_text(f"processor : 0\nflags\t\t: fpu {flags} sse2\n")
    assert cpu_has_int8() == has
    assert ("fused, int8" in available("cpu")) == has
    assert "fused, int8" not in available("cuda")
    model, settings = resolve(str(DEMO_MODEL), None, {}), EngineSettings("fused", "cpu", "int8", 1, 30)
    config = load_config("configs/demo.yaml", ["model.precision=int8", f"output.uri={tmp_path}/out"])
    if not has:
        for refused in (lambda: load.load_engine(model, settings), lambda: prepare(config, Devices.of_this_machine)):
            with pytest.raises(
                (UsageError, ConfigError), match=r"int8 needs CPUs with VNNI or AMX .*this machine's has"
            ):
                refused()


@pytest.mark.parametrize(("engine", "device"), [("nemo", "cpu"), ("fused", "cuda")])
def test_only_the_fused_engine_on_cpus_takes_it(engine: str, device: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(load, "check_device", lambda device: None)  # as where there is a GPU
    with pytest.raises(UsageError, match=r"model\.precision: int8 is only for the fused engine on CPUs"):
        load.load_engine(resolve(str(DEMO_MODEL), None, {}), EngineSettings(engine, device, "int8", 1, 30))
    with pytest.raises(ConfigError, match=r"model\.precision: int8 is only for model\.(engine: fused|device: cpu)"):
        load_config("configs/demo.yaml", [f"model.engine={engine}", f"model.device={device}", "model.precision=int8"])


def test_it_is_never_chosen_and_not_for_a_gpu_that_is_found() -> None:
    config, model = load_config("configs/demo.yaml", ["model.precision=int8"]), resolve(str(DEMO_MODEL), None, {})
    for has_bfloat16 in (False, True):
        recipe = Recipe.of(config, model, Devices(0, has_bfloat16))
        assert (recipe.precision, recipe.engine_settings(1).precision) == ("int8", "int8")
        assert Recipe.of(load_config("configs/demo.yaml", []), model, Devices(0, has_bfloat16)).precision != "int8"
    with pytest.raises(ConfigError, match=r"int8 is only for CPUs, and there is a GPU; set model\.device=cpu"):
        Recipe.of(config, model, Devices(8, True))
    assert depends_on_devices(config.model)
    assert depends_on_devices(load_config("configs/demo.yaml", ["model.precision=int8", "model.device=cpu"]).model)
