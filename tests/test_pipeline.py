"""The graph as Ray Data executes it, and resources that fit."""

import re
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from conftest import DEMO_MODEL, encoded, tone

from actors.engine.models import read_vocabulary, resolve
from actors.outcomes import Committed, Failed
from actors.pieces import Cut, cut_unit
from actors.storage.place import Place
from actors.units import Unit
from actors.writer import WriteSettings
from jobs import pipeline
from jobs.cli.config import Cluster, ConfigError, Input
from jobs.cli.loading import load
from jobs.planning.listing import list_input
from jobs.planning.recipe import Device, Devices, Recipe
from jobs.running import cluster, connect
from jobs.running.share import Share, hold

MEMORY = 8e9


def shared(
    cpus: float,
    gpus: float = 0,
    device: Device | None = None,
    node: float | None = None,
    free: tuple[float, float] | None = None,
    **keys: Any,
) -> cluster.Resources:
    """A cluster's resources as they are divided, where all of its CPUs and GPUs are free, or so many."""
    there = {"CPU": cpus, "GPU": gpus, "memory": MEMORY, connect.LARGEST_NODE: node or cpus}
    left = free and {"CPU": free[0], "GPU": free[1], "memory": MEMORY, connect.LARGEST_NODE: min(free[0], node or cpus)}
    return cluster.allocate(Cluster(**keys), there, device or ("cuda" if gpus else "cpu"), left)


@pytest.mark.parametrize("cpus", [1, 2, 3, 4, 8, 64])
@pytest.mark.parametrize("gpus", [0, 1, 8])
def test_stages_fit_together_on_any_machine(cpus: int, gpus: int) -> None:
    each = shared(cpus, gpus)
    assert 0 < each.actor_cpus + each.decoder_cpus + each.commit_cpus <= cpus
    assert each.actor_cpus < 1 or each.actor_cpus == int(each.actor_cpus)
    assert each.actor_gpus == (1 if gpus else 0)
    assert each.device == ("cuda" if gpus else "cpu")
    assert 1 <= each.threads <= cpus
    assert each.decoder_memory < MEMORY


def test_an_actor_fits_on_one_machine_of_a_cluster() -> None:
    each = shared(cpus=64, node=16, actors=(1, 1))
    assert (each.actor_cpus, each.threads) == (16, 16)
    assert shared(cpus=64, node=16, actors=(8, 8)).threads == 8
    with pytest.raises(ConfigError, match="CPUs on one machine"):
        shared(cpus=64, node=16, actors=(1, 1), cpus_per_actor=32)


def test_a_gpus_actor_takes_cpus_of_its_own_machine() -> None:
    """Decoders may have the others; what it takes of its own leaves room for the other GPUs' actors."""
    for beside, cpus in ((32, 3), (16, 2), (4, 1), (2, 1), (0.5, 0.5)):
        there = {"CPU": 128.0, "GPU": 2.0, "memory": MEMORY, connect.LARGEST_NODE: 64.0, connect.CPUS_BY_GPU: beside}
        assert cluster.allocate(Cluster(), there, "cuda").actor_cpus == cpus


def test_what_cannot_fit_is_refused_before_anything_starts() -> None:
    for wanted in (
        {"cpus": 2, "cpus_per_actor": 2},
        {"cpus": 2, "cpus_per_decoder": 2},
        {"cpus": 8, "gpus": 1, "actors": (2, 2)},
        {"cpus": 8, "device": "cuda"},
        {"cpus": 8, "actors": (9, 9), "cpus_per_actor": 1},
    ):
        with pytest.raises(ConfigError, match=r"(ray\.actors|model\.device): .* and Ray has"):
            shared(**wanted)
    with pytest.raises(ConfigError, match=r"ray\.gpus_per_actor"):
        shared(8, 1, device="cuda", gpus_per_actor=0)
    assert shared(8, 1, actors=(2, 2), gpus_per_actor=0.5).actor_gpus == 0.5


def test_without_a_wish_every_gpu_or_machine_has_its_actor() -> None:
    assert shared(16, 1).actors == (1, 1)
    assert shared(96, 8).actors == (1, 8)
    assert shared(16, 1, gpus_per_actor=0.5).actors == (1, 2)
    assert shared(2).actors == (1, 1)
    assert shared(cpus=64, node=16).actors == (1, 4)
    assert shared(cpus=64, node=16, actors=(1, 8)).actors == (1, 8)
    assert [each.first_actors for each in (shared(96, 8), shared(cpus=64, node=16))] == [8, 4]


def test_an_actor_on_a_gpu_has_cpus_of_its_own_and_leaves_most_to_decoders() -> None:
    assert [shared(cpus, 1).actor_cpus for cpus in (1, 2, 4, 8, 16, 24, 64)] == [0.625, 1, 1, 1, 2, 3, 3]
    assert shared(128, 8).actor_cpus == 2
    assert shared(16, 1, gpus_per_actor=0.5).actor_cpus == 1
    assert shared(16, 1, cpus_per_actor=4).actor_cpus == 4


def test_what_others_hold_is_left_to_them() -> None:
    assert shared(16).actor_cpus == 14
    assert [shared(16, free=(cpus, 0)).actor_cpus for cpus in (8, 3, 2)] == [6, 1, 0.5]
    assert [shared(16, free=(cpus, 0)).threads for cpus in (16, 8, 2)] == [16, 8, 2]
    assert shared(16, free=(0, 0)).actor_cpus == 1  # to wait for
    assert shared(2, free=(1, 0)).least["CPU"] == 1
    busy = shared(96, 8, free=(20, 3))
    assert (busy.actors, busy.first_actors, busy.actor_cpus) == ((1, 8), 3, 1)
    assert shared(96, 8, free=(20, 3), actors=(4, 8)).first_actors == 4
    assert shared(4, 4, free=(2, 2)).least == {"CPU": 2, "GPU": 1, "memory": 2e9}


@pytest.fixture
def graph_of(ray_two_cpus: None) -> Iterator[Callable[..., Any]]:
    """Makes a graph of units with the resources of a device, whose engine computes on the CPU."""
    with hold(Cluster(), connect.connect_ray(None), "cpu", "run", "/out") as share:
        yield partial(make_graph, share)


def make_graph(share: Share, units: list[Unit], out: Path, device: Device = "cpu") -> Any:
    config = load("configs/demo.yaml", [f"model.name={DEMO_MODEL}", "model.device=cpu", "batch.max_padded_seconds=60"])
    recipe = Recipe.of(config, resolve(str(DEMO_MODEL), None, {}), Devices(0, has_bfloat16=False))
    pieces = [cut_unit(unit, Cut(60))[0] for unit in units]
    output = Place.at(str(out))
    with_device = replace(share, resources=replace(share.resources, device=device))
    writing = WriteSettings(recipe.model, read_vocabulary(recipe.model), "run", recipe.reading)
    return pipeline.build_graph(pieces, recipe, with_device, output, writing)


def units_of(folder: Path) -> list[Unit]:
    """One unit for each object of a folder."""
    objects = list_input(Input(uri=str(folder)), "/nowhere").objects
    return [Unit(f"a{number}", "f", (each,)) for number, each in enumerate(objects)]


def test_reading_transcribing_and_committing_stay_three_operators(graph_of: Any, tmp_path: Path) -> None:
    for number in range(3):
        (tmp_path / f"{number}.wav").write_bytes(encoded(tone(1)))
    dataset = graph_of(units_of(tmp_path), tmp_path / "out")
    outcomes = list(pipeline.outcomes(dataset))
    assert sorted(each.unit for each in outcomes) == ["a0", "a1", "a2"]
    executed = [line for line in dataset.stats().splitlines() if line.startswith("Operator")]
    names = [line.split()[2] for line in executed]
    assert names == [
        "FromItems:",
        "MapBatches(ReadBlock):",
        "MapBatches(HearBlock):",
        "MapBatches(CommitBlock):",
    ]
    assert ["3 blocks produced" in line for line in executed] == [True] * 4


def test_an_actor_works_on_two_blocks_at_once_as_on_a_gpu(
    graph_of: Any, tmp_path: Path, speech: list[tuple[Any, str]]
) -> None:
    for number, (samples, _) in enumerate(speech[:8]):
        (tmp_path / f"{number}.wav").write_bytes(encoded(samples))
    units, out = units_of(tmp_path), tmp_path / "out"
    committed = [each for each in pipeline.outcomes(graph_of(units, out, device="cuda")) if isinstance(each, Committed)]
    assert {each.unit for each in committed} == {unit.id for unit in units}
    works = [each.work for each in committed if each.work]
    spans = sorted((work.began, work.ended) for work in works)
    assert any(later < ended for (_, ended), (later, _) in pairwise(spans))  # two were worked on at the same time
    found = pd.read_parquet(sorted(out.glob("*.parquet"))).set_index("recording_id")["text"]
    assert [found[f"{number}.wav"] for number in range(8)] == [text for _, text in speech[:8]]
    assert sum(work.padded_seconds for work in works) == pytest.approx(
        sum(len(samples) for samples, _ in speech[:8]) / 16_000
    )


def test_a_unit_that_fails_leaves_the_others(graph_of: Any, tmp_path: Path) -> None:
    for number in range(3):
        (tmp_path / f"{number}.wav").write_bytes(encoded(tone(1)))
    units = units_of(tmp_path)
    out = tmp_path / "out"
    (out / f"part-{units[1].id}.parquet").mkdir(parents=True)  # nothing can be renamed over a folder
    outcomes = {each.unit: each for each in pipeline.outcomes(graph_of(units, out))}
    assert sorted(unit for unit, each in outcomes.items() if isinstance(each, Committed)) == ["a0", "a2"]
    failed = outcomes["a1"]
    assert isinstance(failed, Failed)
    assert "IsADirectoryError" in failed.reason
    assert sorted(each.name.split(".")[0] for each in (out / "_commits").iterdir()) == ["a0", "a2"]


@pytest.mark.usefixtures("ray_two_cpus")
def test_a_run_whose_share_is_lost_goes_on_with_another(
    job: Callable[..., Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Ray says so of the first share from the third commit on, as it would if a machine were lost."""
    out, shares = tmp_path / "out", list[str]()

    def state(group: Any) -> str:
        shares.extend({group.id.hex()} - set(shares))
        is_lost = group.id.hex() == shares[0] and len(list(out.glob("_commits/*"))) > 2
        return "RESCHEDULING" if is_lost else "CREATED"

    for name, value in {"_state": state, "LOOK_EVERY_S": 0.0, "LOST_AFTER_S": 0.0}.items():
        monkeypatch.setattr(f"jobs.running.lost.{name}", value)
    status, summary, seen = job(f"output.uri={out}", "unit.target_minutes=0.5")
    left = re.search(r"a machine is lost.*; starting anew, with (\d+) units", seen)
    assert (status, len(shares)) == (0, 2), seen
    assert left
    assert 0 < int(left[1]) < summary["units"]["planned"]
    assert summary["units"]["done"] == summary["units"]["planned"]
    found = pd.concat([pd.read_parquet(part) for part in out.glob("*.parquet")])
    assert not found.duplicated(["uri", "member", "offset_s", "segment_index"]).any()
    assert summary["recordings"] == 77
