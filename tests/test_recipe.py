"""Every `auto` is resolved once, from the devices that the run will use, whatever the driver's own machine has."""

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from conftest import DEMO_MODEL, ROOT, encoded, free_port, tone

from actors.engine.models import ModelFile
from actors.units import NO_EMISSIONS, Fingerprint
from jobs import plan, transcribe
from jobs.cli.loading import load
from jobs.cli.terminal import read_json
from jobs.planning import recipe
from jobs.planning.prepare import prepare
from jobs.planning.recipe import Devices, Recipe, depends_on_devices, recipe_digest, section_differences

MODEL = ModelFile("m.nemo", "a" * 64)
CPUS, OLD_CPUS, GPUS = Devices(0, has_bfloat16=True), Devices(0, has_bfloat16=False), Devices(8, has_bfloat16=False)


def recipe_of(devices: Devices, *overrides: str) -> Recipe:
    autos = ["unit.target_minutes=auto", "batch.max_padded_seconds=auto", "model.device=auto", "model.precision=auto"]
    return Recipe.of(load("configs/demo.yaml", [*autos, *overrides]), MODEL, devices)


def test_a_driver_that_is_told_of_gpus_plans_for_them() -> None:
    recipe = recipe_of(GPUS)
    assert (recipe.device, recipe.engine, recipe.precision) == ("cuda", "fused", "bfloat16")
    assert (recipe.piece_seconds, recipe.max_padded_seconds) == (150 * 60, 3_600)
    engine = recipe.engine_settings(threads=3)
    assert (engine.device, engine.precision, engine.max_padded_seconds, engine.threads) == (
        "cuda",
        "bfloat16",
        3_600,
        3,
    )


def test_without_gpus_a_cpu_decides() -> None:
    for devices, precision in ((CPUS, "bfloat16"), (OLD_CPUS, "float32")):
        recipe = recipe_of(devices)
        assert (recipe.device, recipe.precision, recipe.piece_seconds) == ("cpu", precision, 30 * 60)
        assert recipe.max_padded_seconds == 30
    assert recipe_of(GPUS, "model.device=cpu").precision == "float32"
    assert recipe_of(CPUS, "model.engine=nemo").precision == "float32"
    assert recipe_of(OLD_CPUS, "model.device=cuda").precision == "bfloat16"
    assert recipe_of(GPUS, "unit.target_minutes=2").piece_seconds == 120


def test_the_device_is_no_part_of_the_fingerprint_but_the_precision_is() -> None:
    assert recipe_of(GPUS).digest == recipe_of(CPUS).digest != recipe_of(OLD_CPUS).digest
    assert recipe_of(CPUS).digest == recipe_digest(recipe_of(CPUS).settings)
    assert section_differences(recipe_of(CPUS).settings, recipe_of(OLD_CPUS).settings) == [
        "model.precision was bfloat16 and is float32"
    ]


@pytest.mark.parametrize(
    ("override", "section"),
    [
        ("model.precision=float32", "heard"),
        ("model.precision=int8", "heard"),
        ("model.engine=nemo", "heard"),
        ("audio.channel=1", "heard"),
        ("segmentation.vad=silero", "heard"),
        ("output.emissions=true", "emissions"),
        ("output.tokens=false", "said"),
        ("decoding.candidates=64", None),  # of emissions, which are not kept
        ("unit.target_minutes=3", None),
        ("output.on_mismatch=keep", None),
    ],
)
def test_each_setting_is_of_one_section_of_the_fingerprint(override: str, section: str | None) -> None:
    before, after = recipe_of(CPUS).digest, recipe_of(CPUS, override).digest
    assert len(before) == len(after) == 32
    sections = {"heard": Fingerprint.heard, "emissions": Fingerprint.emissions, "said": Fingerprint.said}
    sections |= {"written": Fingerprint.written}
    assert [name for name, of in sections.items() if of(before) != of(after)] == ([section] if section else [])


def test_emissions_are_part_of_the_fingerprint_where_they_are_kept() -> None:
    kept = [recipe_of(CPUS, "output.emissions=true", f"decoding.candidates={count}") for count in (32, 64)]
    assert [each.candidates for each in (recipe_of(CPUS), *kept)] == [0, 32, 64]
    assert [each.engine_settings(1).candidates for each in (recipe_of(CPUS), *kept)] == [0, 32, 64]
    assert Fingerprint.emissions(recipe_of(CPUS).digest) == NO_EMISSIONS
    assert len({Fingerprint.emissions(each.digest) for each in kept} | {NO_EMISSIONS}) == 3
    assert len({Fingerprint.heard(each.digest) for each in (recipe_of(CPUS), *kept)}) == 1


def test_differences_are_told_by_key_and_without_noise() -> None:
    plain, kept, more = (
        recipe_of(CPUS, *keys).settings
        for keys in ([], ["output.emissions=true"], ["output.emissions=true", "decoding.candidates=64"])
    )
    assert section_differences(plain, kept) == section_differences(kept, plain) == []
    assert section_differences(kept, more) == ["decoding.candidates was 32 and is 64"]
    assert section_differences(plain, recipe_of(CPUS, "output.tokens=false").settings) == [
        "output.tokens was true and is false"
    ]
    both = recipe_of(OLD_CPUS, "audio.channel=1", "output.tokens=false").settings
    assert section_differences(plain, both, ["heard"]) == [
        "model.precision was bfloat16 and is float32",
        "audio.channel was average and is 1",
    ]
    assert section_differences(plain, both, ["said", "written"]) == ["output.tokens was true and is false"]


@pytest.mark.parametrize("section", [None, [], "text", 7, {"audio": None}, {"audio": {"channel": []}}])
def test_settings_of_others_are_told_as_far_as_they_go(section: object) -> None:
    """Plans are read as data: a section of a recipe may be anything."""
    told = section_differences({"heard": section, "emissions": section}, recipe_of(CPUS).settings)
    assert all(" was " in each for each in told)


@pytest.mark.parametrize(
    ("overrides", "depends"),
    [
        ([], True),
        (["model.device=cuda"], False),
        (["model.device=cpu"], True),
        (["model.device=cpu", "model.precision=float32"], False),
        (["model.device=cpu", "model.engine=nemo"], False),
        (["model.precision=float32"], True),
    ],
)
def test_devices_are_asked_for_only_where_something_depends_on_them(overrides: list[str], depends: bool) -> None:
    config = load("configs/demo.yaml", ["model.device=auto", "model.precision=auto", *overrides])
    assert depends_on_devices(config.model) == depends
    if not depends:
        found = [Recipe.of(config, MODEL, devices) for devices in (CPUS, OLD_CPUS, GPUS)]
        assert len({(each.device, each.digest, each.piece_seconds, each.max_padded_seconds) for each in found}) == 1


def test_units_are_as_large_as_the_devices_need(tmp_path: Path) -> None:
    sound, stored = encoded(tone(1)), 29 * 60 * 32_000  # bytes of 29 minutes, of which the file has a hole for most
    for number in range(10):
        path = tmp_path / "in" / f"{number}.wav"
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(sound.replace((32_000).to_bytes(4, "little"), stored.to_bytes(4, "little")))
        os.truncate(path, len(sound) - 32_000 + stored)
    keys = [f"input.uri={tmp_path}/in", f"output.uri={tmp_path}/out", f"model.name={DEMO_MODEL}"]
    config = load("configs/demo.yaml", [*keys, "model.device=auto", "unit.target_minutes=auto"])
    for devices, expected in ((CPUS, [1] * 10), (GPUS, [5, 5])):
        assert [len(unit.objects) for unit in prepare(config, lambda found=devices: found).plan.new] == expected


@pytest.mark.parametrize("shown", ["", "-1", "NoDevFiles"])
def test_hidden_gpus_do_not_count(monkeypatch: pytest.MonkeyPatch, shown: str) -> None:
    monkeypatch.setattr(recipe, "count_gpus", lambda: 2)
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    assert Devices.of_this_machine().gpus == 2
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "1")
    assert Devices.of_this_machine().gpus == 1
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", shown)
    assert Devices.of_this_machine().gpus == 0


@pytest.mark.parametrize("main", [plan.main, transcribe.main])
@pytest.mark.parametrize("host", ["127.0.0.1", "x" * 70, "no-such-host.invalid"])
def test_a_cluster_that_does_not_answer_is_named(
    job: Any, monkeypatch: pytest.MonkeyPatch, main: Any, host: str, tmp_path: Path
) -> None:
    import ray

    address = f"{host}:{free_port()}"
    monkeypatch.setattr(ray, "is_initialized", lambda: False)  # another test may have a Ray in this process
    monkeypatch.setenv("RAY_ADDRESS", address)
    status, _, seen = job("model.device=auto", f"output.uri={tmp_path}", main=main)
    assert status == 2
    assert f"ray.address: no cluster answers at {address}" in seen


@pytest.fixture
def cluster_with_gpus() -> Iterator[str]:
    """The address of a cluster that says that it has eight GPUs, on a machine of its own that is this one."""
    from ray.cluster_utils import Cluster

    made = Cluster(True, head_node_args={"num_cpus": 0, "dashboard_agent_listen_port": free_port()})
    made.add_node(num_cpus=16, num_gpus=8, dashboard_agent_listen_port=free_port())
    yield made.address
    made.shutdown()


@pytest.mark.timeout(180)
def test_a_cluster_is_asked_for_its_devices(cluster_with_gpus: str, tmp_path: Path) -> None:
    def planned(*keys: str) -> tuple[str, str]:
        command = [sys.executable, "-m", "jobs.plan", "configs/demo.yaml", f"output.uri={tmp_path}/out", *keys]
        environment = os.environ | {"RAY_ADDRESS": cluster_with_gpus, "PYTHONPATH": str(ROOT)}
        done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=True)
        summary = read_json(done.stdout)
        return summary["device"], summary["precision"]

    autos = ["model.device=auto", "model.precision=auto"]
    assert planned(*autos) == ("cuda", "bfloat16")
    here = "bfloat16" if Devices.of_this_machine().has_bfloat16 else "float32"
    assert planned(*autos, "model.device=cpu") == ("cpu", here)
