"""How long a plan takes and what it costs: arithmetic on values worked out by hand, and a half of the demo, really."""

import json
import random
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile as sf
from screens import check_golden, screen

from actors.outcomes import READS, Read, Work, reads_text
from actors.pieces import Cut, Piece
from actors.reader import read_piece
from actors.reading import costs
from actors.reading.costs import Costs, file_kind
from actors.sources.objects import ReadSettings
from actors.storage.place import Place
from actors.units import SourceObject
from jobs import plan
from jobs.cli.config import Cluster, ConfigError
from jobs.cli.loading import load
from jobs.cli.terminal import say, show_table
from jobs.planning.forecast import Load, Machines, cpus_to_read, forecast, slack_of, stages_of
from jobs.planning.forecast_words import bound_of, duration, figure, rows, sentences, to_json
from jobs.planning.rates import START_SECONDS, Measured, Rates, merged
from jobs.running.actor_time import ActorTime
from jobs.running.cluster import allocate
from jobs.running.connect import CPUS_BY_GPU, LARGEST_NODE, MACHINES
from jobs.running.machines import divided, find_machines, scaled

GPU = Machines(
    count=1,
    cpus=16,
    gpus=1,
    actors=1,
    threads=1,
    reading_cpus=13,
    device="cuda",
    described="this machine: 16 CPUs, 1 GPU",
)
CPU = Machines(1, 4, 0, actors=1, threads=4, reading_cpus=2, device="cpu", described="this machine: 4 CPUs")
HOUR = 3_600.0
TOLD = {
    "audio_seconds": 1_000.0,
    "busy_seconds": 50.0,
    "warming_seconds": 1.0,
    "pieces": 10,
    "actors": 1,
    "threads": 2,
    "cpus": 2.0,
    "start_seconds": 7.0,
    "work_seconds": 60.0,
    "reading": {"mp3": {"audio_seconds": 1_000.0, "timed_seconds": 900.0, "cpu_seconds": 9.0}},
}


def measured(run: int = 1, **changed: Any) -> Measured:
    found = Measured.of(run, TOLD | changed)
    assert found is not None
    return found


def source_of(name: str, kind: Any = "audio", size: int = 1) -> SourceObject:
    return SourceObject(name, name, name, kind, None, size)


def test_decoding_bounds_a_gpu_that_mp3_feeds() -> None:
    """45,000 x real time, and 3 core-seconds an hour of audio, want 45,000 x 3 / 3,600 = 37.5 CPUs."""
    rates = Rates(1 / 45_000)
    load = Load(10_000 * HOUR, 10_000 * 3.0, pieces=4_000)
    stages = stages_of(load, rates.core_seconds, GPU)
    assert stages.hearing == pytest.approx(800)
    assert stages.reading == pytest.approx(30_000 / 13)
    assert stages.driving == pytest.approx(4_000 / 37)
    found = forecast(load, rates, GPU, cost_per_hour=4.0)
    assert found.bound == "decoding"
    assert found.decoding_cpus == pytest.approx(37.5)
    assert found.wall_seconds == pytest.approx(15 + 1.15 * 30_000 / 13 + 1.5)
    assert found.cost == pytest.approx(found.wall_seconds / HOUR * 4)
    assert bound_of(found) == (
        "Decoding is the bound, not the model: to keep one GPU busy, decoding this archive takes 37.5 CPUs, and there"
        " are 13."
    )


def test_the_model_bounds_what_decodes_fast() -> None:
    """On 4 CPUs, which both share: 0.02 core-seconds a second, and 0.72 an hour of audio for decoding."""
    load = Load(HOUR, 0.72, pieces=2)
    stages = stages_of(load, 0.02, CPU)
    assert stages.hearing == pytest.approx(HOUR * 0.02 / 4)
    assert stages.shared == pytest.approx((72 + 0.72) / 4)
    found = forecast(load, Rates(0.02, start_seconds=2.0), CPU)
    assert (found.bound, found.cost) == ("model", None)
    assert found.wall_seconds == pytest.approx(2 + 1.15 * stages.shared + 1.5)
    assert cpus_to_read(load, Rates(0.02), CPU) == pytest.approx(0.72 / 18)  # read while 18 s are heard
    assert bound_of(found) == (
        "The model is the bound, not decoding: to keep one actor busy, decoding this archive takes 0.04 of a CPU."
    )


def test_pieces_are_whole() -> None:
    eight = replace(GPU, actors=8)
    assert stages_of(Load(800.0, 0, pieces=8), 0.1, eight).hearing == pytest.approx(10)
    assert stages_of(Load(800.0, 0, pieces=2), 0.1, eight).hearing == pytest.approx(40)
    assert stages_of(Load(900.0, 0, pieces=9), 0.1, eight).hearing == pytest.approx(20)


def test_many_small_pieces_are_bound_by_who_sends_them() -> None:
    found = forecast(Load(37_000 * 10.0, 0.0, pieces=37_000), Rates(1 / 45_000), GPU)
    assert found.bound == "driver"
    assert "unit.target_minutes" in bound_of(found)


def test_nothing_to_hear_starts_nothing() -> None:
    found = forecast(Load(0.0, 0.0, 0, rewritten=4), Rates(0.02), CPU, cost_per_hour=36.0)
    assert (found.wall_seconds, found.start_seconds, found.bound) == (2.0, 0.0, None)
    assert found.cost == pytest.approx(0.02)
    assert sentences(found) == []
    assert next(rows(found)) == ("audio", "none to transcribe; 4 units are rewritten")
    assert next(rows(forecast(Load(0.0, 0.0, 0), Rates(0.02), CPU))) == ("audio", "none to transcribe")
    assert next(rows(forecast(Load(36.0, 0.0, 1), Rates(0.02), CPU))) == ("audio", "0.01 h in 1 piece")
    assert forecast(Load(0.0, 0.0, 0, rewritten=40), Rates(0.02, 9.0), CPU).wall_seconds == 9.0 + 10.0 + 1.5


def test_runs_are_weighted_by_their_work() -> None:
    """One has 50 s x 2 threads for 1,000 s of audio, the other 1 s x 4 for 10 s: 104 / 1,010, not their mean."""
    short = measured(2, audio_seconds=10.0, busy_seconds=1.0, threads=4, start_seconds=90.0, reading={})
    rates = merged([short, measured(), measured(3, start_seconds=9.0)], on_gpu=False)
    assert rates.core_seconds == pytest.approx(204 / 2_010)
    assert rates.start_seconds == 10.0  # 9 and 1 to warm up: one waited for others
    assert rates.decoding_of("mp3") == pytest.approx(0.01)
    assert rates.decoding_of("opus") == pytest.approx(5.75 / HOUR)  # by default
    assert rates.runs == [1, 2, 3]
    assert merged([measured()], on_gpu=True).core_seconds == pytest.approx(0.05)


def test_what_little_was_decoded_tells_nothing() -> None:
    little = {"mp3": {"audio_seconds": 1_000.0, "timed_seconds": 59.0, "cpu_seconds": 50.0}}
    assert merged([measured(reading=little)], on_gpu=False).decoding_of("mp3") == pytest.approx(2.76 / HOUR)


def test_slack_is_what_work_took_beyond_its_slowest_stage() -> None:
    """Hearing takes 50 s, and 10 core-seconds of reading share its 2 CPUs: 55 s, of 59 s without warming up."""
    rates = merged([measured()], on_gpu=False)
    assert slack_of(rates, "cpu") == pytest.approx((59 + 5 * 1.15) / (55 + 5))
    assert slack_of(Rates(0.02), "cpu") == 1.15
    tiny = merged([measured(audio_seconds=1.0, busy_seconds=0.05, work_seconds=2.0, reading={})], on_gpu=False)
    assert slack_of(tiny, "cpu") < 1.5
    slow = merged([measured(work_seconds=10_000.0)], on_gpu=False)
    assert slack_of(slow, "cpu") == 5.0


@pytest.mark.parametrize(
    "changed",
    [
        {"pieces": 1.5},
        {"pieces": True},
        {"actors": 0},
        {"audio_seconds": 0.0},
        {"audio_seconds": 5e-324},
        {"busy_seconds": 1e-300},
        {"busy_seconds": float("nan")},
        {"busy_seconds": float("inf")},
        {"start_seconds": -1.0},
        {"start_seconds": "7"},
        {"threads": 10**30},
        {"cpus": None},
        {"reading": []},
        {"reading": {"mp3": 3}},
        {"reading": {"mp3": {"audio_seconds": 1.0}}},
        {"reading": {"mp3": {"audio_seconds": 1.0, "timed_seconds": 1.0, "cpu_seconds": -1.0}}},
    ],
)
def test_rates_that_make_no_sense_do_not_count(changed: Mapping[str, Any]) -> None:
    assert Measured.of(1, TOLD) is not None
    assert Measured.of(1, TOLD | changed) is None
    assert Measured.of(1, None) is None


@pytest.mark.parametrize("on_gpu", [True, False])
def test_any_rates_that_count_give_a_forecast(on_gpu: bool) -> None:
    draw, extremes = random.Random(0), [0.0, 5e-324, 1e-300, 1e-3, 1.0, 9.9e11]
    counted = 0
    for _ in range(2_000):
        changed = {name: draw.choice(extremes) for name in draw.sample(sorted(TOLD.keys() - {"reading"}), 3)}
        changed |= {name: int(changed[name]) for name in ("pieces", "actors", "threads") if name in changed}
        read = {name: draw.choice(extremes) for name in ("audio_seconds", "timed_seconds", "cpu_seconds")}
        if (found := Measured.of(1, TOLD | changed | {"reading": {"mp3": read}})) is None:
            continue
        counted += 1
        for work in (Load(HOUR, 3.0, 2), Load(0.0, 0.0, 3), Load(1e9, 1e12, 100)):
            told = forecast(work, merged([found], on_gpu), GPU if on_gpu else CPU, 1e6)
            assert list(rows(told))
            json.dumps(to_json(told), allow_nan=False)
    assert counted > 100


def test_an_actors_first_piece_warms_it_up() -> None:
    """The first 10 s take 3 s, then 20 s take 2 s: 0.1 s a second, and 2 s more to warm up."""
    time = ActorTime(threads=2, cpus=8.0)
    mp3, wav = {"mp3": Read(10.0, 0.0, 0.0)}, {"mp3": Read(5.0, 5.0, 0.5), "wav": Read(15.0, 15.0, 0.1)}
    assert time.rates(100.0) is None
    time.add(Work("a", 107.0, 110.0, 3.0, 10.0, mp3))
    assert (time.rates(100.0) or {})["busy_seconds"] == 3.0
    time.add(Work("a", 110.0, 112.0, 2.0, 20.0, wav))
    assert time.rates(100.0) == {
        "audio_seconds": 30.0,
        "busy_seconds": 3.0,
        "warming_seconds": 2.0,
        "pieces": 2,
        "actors": 1,
        "threads": 2,
        "cpus": 8.0,
        "start_seconds": 7.0,
        "work_seconds": 5.0,
        "reading": {
            "mp3": {"audio_seconds": 15.0, "timed_seconds": 5.0, "cpu_seconds": 0.5},
            "wav": {"audio_seconds": 15.0, "timed_seconds": 15.0, "cpu_seconds": 0.1},
        },
    }
    assert Measured.of(1, time.rates(100.0)) is not None


def test_work_that_was_not_measured_when_it_was_read_gives_no_rates() -> None:
    time = ActorTime()
    time.add(Work("a", 1.0, 2.0, 1.0, 10.0))
    assert time.rates(0.0) is None


@pytest.mark.parametrize(
    ("name", "kind", "found"),
    [("a/b.MP3", "audio", "mp3"), ("a.tar.gz", "tar", "tar"), ("a.\udc80", "audio", "other"), ("b", "audio", "other")],
)
def test_kinds_of_files_are_a_closed_set(name: str, kind: str, found: str) -> None:
    assert file_kind(source_of(name, kind)) == found


def test_what_reading_took_travels_with_the_rows(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    noise = np.random.default_rng(0).integers(-3_000, 3_000, 16_000 * 30).astype(np.int16)
    for name in ("a.wav", "b.flac", "c.wav"):
        sf.write(tmp_path / name, noise, 16_000)
    sources = tuple(source_of(Place.at(f"{tmp_path}/{each}").uri) for each in ("a.wav", "b.flac", "c.wav"))
    piece = Piece("0a", "0" * 64, Cut(1_800.0), sources)
    monkeypatch.setattr(costs, "_is_cold", True)
    cold, warm = (json.loads(read_piece(piece, ReadSettings()).schema.metadata[READS]) for _ in range(2))
    assert {kind: read["audio_seconds"] for kind, read in warm.items()} == {"wav": 60.0, "flac": 30.0}
    assert {kind: read["timed_seconds"] for kind, read in warm.items()} == {"wav": 60.0, "flac": 30.0}
    assert all(0 < read["cpu_seconds"] < 10 for read in warm.values())
    assert [read["timed_seconds"] for read in cold.values()] == [0, 0]  # a decoder was loaded with it, perhaps
    work = Work("a", 1.0, 2.0, 1.0, 90.0)
    metadata = {key.encode(): value.encode() for key, value in work.to_metadata().items()}
    assert Work.from_metadata(metadata | {READS: json.dumps(warm).encode()}) == replace(
        work, reads={kind: Read(**read) for kind, read in warm.items()}
    )
    assert Work.from_metadata(metadata) == work
    assert json.loads(reads_text({"wav": Read(1.0, 2.0, 3.0)})) == {
        "wav": {"audio_seconds": 1.0, "timed_seconds": 2.0, "cpu_seconds": 3.0}
    }
    isolated = read_piece(piece, ReadSettings(isolated=True))
    assert READS not in (isolated.schema.metadata or {})  # another process decodes


def test_dropped_silence_counts_as_audio_that_was_read() -> None:
    found = Costs()
    rows = [
        {"own": True, "channel": None, "start_s": start, "end_s": end} for start, end in ((0.0, 10.0), (40.0, 50.0))
    ]
    both = [{**row, "channel": channel} for channel in (0, 1) for row in rows]
    with found.of(source_of("a.wav")):
        found.decoded(source_of("a.wav"), both)
        found.decoded(source_of("a.wav"), [{"own": True, "channel": None, "error_kind": "empty"}])
    assert found.reads()["wav"].audio_seconds == 100.0


TOTAL = {"CPU": 16.0, "GPU": 1.0, "memory": 64e9, LARGEST_NODE: 16.0, CPUS_BY_GPU: 16.0, MACHINES: 1.0}


def test_machines_are_shared_out_as_a_run_does() -> None:
    four = scaled(TOTAL, 4)
    assert (four["CPU"], four["GPU"], four[LARGEST_NODE]) == (64.0, 4.0, 16.0)
    found = divided(allocate(Cluster(), four, "cuda"), four, "cuda", 4, "4 like this one")
    assert (found.actors, found.reading_cpus) == (4, 64 - 4 * 2)
    assert found.described == "4 like this one: 64 CPUs, 4 GPUs"
    fewer = divided(allocate(Cluster(actors=(1, 2)), four, "cuda"), four, "cuda", 4, "")
    assert (fewer.actors, fewer.reading_cpus) == (2, 64 - 2 * 2)
    with pytest.raises(ConfigError, match=r"ray\.actors"):
        allocate(Cluster(actors=(8, 8)), four, "cuda")
    laptop = {"CPU": 2.0, "memory": 8e9, LARGEST_NODE: 2.0, MACHINES: 1.0}
    small = divided(allocate(Cluster(), laptop, "cpu"), laptop, "cpu", 1, "this machine")
    assert (small.actors, small.threads, small.reading_cpus) == (1, 2, 1.0)


def test_a_cluster_that_was_not_asked_is_not_taken_for_this_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    monkeypatch.setattr("jobs.running.machines.connected_resources", lambda: None)  # of other tests
    there = ["ray.address=10.0.0.9:6379", "model.precision=float32"]
    cpu = load("configs/demo.yaml", [*there, "model.device=cpu"])
    assert find_machines(cpu, "cpu").described.startswith("this machine, not the cluster: ")
    assert find_machines(load("configs/demo.yaml", []), "cpu").described.startswith("this machine: ")
    many = load("configs/demo.yaml", [*there, "model.device=cpu", "ray.cpus_per_actor=1000"])
    with pytest.raises(ConfigError, match=r"^the cluster is asked for its machines only with model\.device=auto, and "):
        find_machines(many, "cpu")
    with pytest.raises(ConfigError, match=r"^ray\.actors: 1 actors"):
        find_machines(load("configs/demo.yaml", ["ray.cpus_per_actor=1000"]), "cpu")


@pytest.mark.parametrize(
    ("seconds", "words"),
    [
        (0.1, "1 s"),
        (99.4, "99 s"),
        (99.6, "2 min"),
        (5_970, "1 h 40 min"),
        (12_000, "3 h 20 min"),
        (442_800, "5 days 3 h"),
    ],
)
def test_durations(seconds: float, words: str) -> None:
    assert duration(seconds) == words


@pytest.mark.parametrize(("value", "words"), [(0.00234, "0.00234"), (4.2, "4.2"), (12_345.6, "12,346")])
def test_figures(value: float, words: str) -> None:
    assert figure(value) == words


@pytest.mark.parametrize("columns", [60, 80, 140])
def test_the_screens_of_a_forecast(columns: int) -> None:
    by_runs = merged([measured(3), measured(5)], on_gpu=False)
    load = Load(1_234_567.0, 1_029.0, pieces=1_029)
    machines = replace(CPU, count=12, actors=12, reading_cpus=12, described="12 like this one: 48 CPUs")

    def show() -> None:
        for rates, where, price in ((by_runs, machines, 2.5), (Rates(1 / 45_000), GPU, None)):
            found = forecast(load, rates, where, price)
            show_table("How long", ("", ""), list(rows(found)))
            for sentence in sentences(found):
                say(sentence)

    check_golden("forecast", columns, screen(columns, show))


@pytest.mark.usefixtures("ray_two_cpus")
def test_half_of_the_demo_foretells_the_other(
    job: Callable[..., Any], demo_copy: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    where = (f"input.uri={demo_copy}", f"output.uri={tmp_path}/out", "plan.cost_per_hour=3600")
    _, before, seen = job(*where, main=plan.main)
    assert before["forecast"]["runs"] == []
    assert before["forecast"]["start_seconds"] == START_SECONDS
    assert "By default figures of docs/benchmarks.md" in seen

    _, summary, _ = job(*where, "input.include=[loose/*]")
    rates = summary["rates"]
    heard = {kind: read["audio_seconds"] for kind, read in rates["reading"].items()}
    assert sum(heard.values()) == pytest.approx(summary["audio_hours"] * 3_600, abs=1)
    assert {"wav", "flac", "mp3"} <= set(heard)
    assert rates["pieces"] >= summary["units"]["done"]

    _, after, seen = job(*where, main=plan.main)
    told = after["forecast"]
    assert told["runs"] == [1]
    assert "By run 1 of this output." in seen
    assert " is the bound" in told["told"]
    assert told["start_seconds"] == round(rates["start_seconds"] + rates["warming_seconds"], 1)
    assert 0 < told["hours"] < before["forecast"]["hours"]
    assert told["cost"] == pytest.approx(told["wall_seconds"], abs=0.1)
    assert told["machines"]["count"] == 1

    _, other, _ = job(*where, "model.precision=float32", "output.on_mismatch=replace", main=plan.main)
    assert other["forecast"]["runs"] == []  # with another precision, its speed is another

    job(*where)
    _, nothing, seen = job(*where, main=plan.main)
    assert (nothing["forecast"]["pieces"], nothing["forecast"]["start_seconds"]) == (0, 0.0)
    assert "is the bound" not in seen
