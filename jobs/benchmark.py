"""Compares ways to transcribe (sides) on the same weights and audio, in one run."""

import multiprocessing
import os
import shlex
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import date
from importlib.util import find_spec
from pathlib import Path
from statistics import median
from typing import ParamSpec, TypeVar

import yaml

from actors.benchmark.reports import PIPELINES, Report, SideReport
from actors.benchmark.results import commit_of_checkout, versions_of
from actors.benchmark.tables import result_of
from actors.engine.models import resolve
from actors.extras import how_to_install
from actors.schema import Samples, UsageError
from actors.storage.cache import cache_folder
from actors.storage.place import Place
from actors.storage.preflight import check_target
from jobs.cli.command import DONE, exit_process, run_job
from jobs.cli.config import Config, ConfigError
from jobs.cli.signals import let_through
from jobs.cli.terminal import print_json, read_json, say, show_table

EPILOG = """
examples:
  python -m jobs.benchmark configs/demo.yaml
  python -m jobs.benchmark configs/demo.yaml benchmark.model=reference benchmark.write=docs/benchmarks/engine.json
  python -m jobs.benchmark configs/demo.yaml benchmark.sides='["fused, bfloat16", "fused, int8"]' benchmark.minutes=10
  python -m jobs.benchmark configs/demo.yaml benchmark.model=reference model.device=cuda benchmark.minutes=120

Each side runs in a process of its own: start-up, a warm-up, then benchmark.repeats passes over the audio, of which the
median counts. The audio is generated (2 to 15 s per recording): speed does not depend on its content. With
benchmark.model=reference the weights are random, in the shape of Citrinet-1024 with gamma 0.25. onnxruntime and
sherpa-onnx are measured if the extra `bench` is installed, int8 on CPUs with VNNI. The whole pipeline is
jobs.transcribe with this config, from tar shards of WAV or FLAC to the last part; the shards contain the audio
benchmark.copies times. Start-up is not counted for any side; for the pipeline it is that of Ray, its workers, and the
model in the first actor. Kernels are measured on a GPU, each compared with the minimum time it could take on that card.
Decoding is that of generated emissions of the duration, on one core, with 5,207 tokens, a language model of 8 million
arcs and 10,000 phrases. Codecs are what it costs to read files of that duration, of speech and of noise, beside their
decoders alone. All keys are described in docs/configuration.md. Standard output gets a JSON object when a side has
ended, and at last one of them all; so does the file of benchmark.write.
"""


Arguments = ParamSpec("Arguments")
Returned = TypeVar("Returned")

KERNELS = "kernels"
DECODING = "decoding"
CODECS = "codecs"


def main(arguments: list[str] | None = None) -> int:
    command = shlex.join(["python", "-m", "jobs.benchmark", *(sys.argv[1:] if arguments is None else arguments)])
    return run_job("jobs.benchmark", __doc__, EPILOG, lambda config: run(config, command), arguments)


def run(config: Config, command: str) -> int:
    kept = config.benchmark.write
    if kept and not kept.endswith(".json"):
        raise ConfigError(f"benchmark.write: the result is JSON, so {kept} must end in .json")
    file = Place.at(kept, config.output.options()) if kept else None
    if file:
        check_target(file, "benchmark.write")
    for report, newest in measure_sides(config, command):
        print_json(newest)  # at once, and kept: if the run is stopped, only the side that was running is lost
        result = result_of(report)
        if file:
            file.write(result.to_json().encode())
    for table in result.tables:
        show_table(table.title or f"{result.title}, {result.machine}", table.columns, table.rows)
    print_json(dict(report))
    return DONE


def measure_sides(config: Config, command: str) -> Iterator[tuple[Report, Mapping[str, object]]]:
    """Measures every requested side, each in a new process, so that none profits from another. Yields the report when
    a side has ended, and what that side added to it."""
    from actors.benchmark import sides
    from actors.benchmark.decoding import decoding_times

    settings, name = config.benchmark, config.model.name
    device = "cpu" if config.model.device == "auto" else config.model.device
    has_kernels = device == "cuda" or os.environ.get("TRITON_INTERPRET") == "1"  # the latter to test without a GPU
    known = [*sides.SIDES, *PIPELINES, KERNELS, DECODING, CODECS]
    optional = [KERNELS] * has_kernels + [CODECS] * bool(find_spec("av"))  # a GPU's machine may lack PyAV
    available = [*sides.available(device), *PIPELINES, *optional, DECODING]
    for side in settings.sides:
        if side not in available:
            reason = (
                f"is not for {device}, or needs what is not installed: {how_to_install('bench')}"
                if side in known
                else f"is not one of {', '.join(known)}"
            )
            raise ConfigError(f"benchmark.sides: {side!r} {reason}")
    options = config.model.options()
    try:
        if settings.model == "reference":
            say("creating a Citrinet-1024 with random weights, unless it exists …")
            name = str(_in_new_process(sides.random_reference_model, cache_folder() / "benchmark"))
        model = resolve(name, config.model.revision, options)
        processor = _in_new_process(sides.device_name, device)
    except UsageError as problem:
        raise ConfigError(str(problem)) from None
    sounds = sides.generated_sounds(settings.minutes)
    threads = len(os.sched_getaffinity(0))
    report: Report = {
        "date": date.today().isoformat(),
        "commit": commit_of_checkout(),
        "machine": f"{threads} CPUs, {processor}",
        "versions": versions_of(),
        "model": "Citrinet-1024, gamma 0.25, random weights" if settings.model == "reference" else name,
        "minutes": settings.minutes,
        "sides": [],
        "command": command,
    }
    for side in settings.sides or available:
        if side == KERNELS:
            report["kernels"] = _in_new_process(sides.kernels, model, sounds, device, settings.repeats)
            yield report, {"kernels": report["kernels"]}
            continue
        if side == DECODING:
            say("decoding emissions of such a duration …")
            report["decoding"] = _in_new_process(decoding_times, settings.minutes, settings.repeats)
            yield report, {"decoding": report["decoding"]}
            continue
        if side == CODECS:
            from actors.benchmark.codecs import codec_times

            say("decoding files of each codec …")
            report["codecs"] = _in_new_process(codec_times, settings.minutes, settings.repeats)
            yield report, {"codecs": report["codecs"]}
            continue
        if side in PIPELINES:
            result = measure_pipeline(config, name, sounds, side)
        else:
            _in_new_process(sides.prepare, side, model)
            result = _in_new_process(sides.measure, side, model, sounds, device, threads, settings.repeats)
        say(f"{side}: {result['rtfx']:.1f} x real time")
        report["sides"].append(result)
        yield report, dict(result)


def _in_new_process(
    function: Callable[Arguments, Returned], *arguments: Arguments.args, **named: Arguments.kwargs
) -> Returned:
    """Runs a function in a new process and returns its result."""
    pool = multiprocessing.get_context("spawn").Pool(1, let_through)
    try:
        return pool.apply(function, arguments, named)
    except KeyboardInterrupt:
        pool.terminate()
        raise
    finally:
        pool.close()  # not terminated: libraries clean up when a process exits
        pool.join()


def measure_pipeline(config: Config, model: str, sounds: Sequence[Samples], side: str) -> SideReport:
    """Measures jobs.transcribe with this config, from shards to Parquet, without its start-up."""
    from actors.benchmark.sides import write_shards

    runs = []
    with tempfile.TemporaryDirectory() as folder:
        audio = Path(folder, "audio")
        audio.mkdir()
        write_shards(audio, sounds, PIPELINES[side], config.benchmark.copies)
        for number in range(config.benchmark.repeats):
            changes: dict[str, object] = {
                "input": {"uri": str(audio)},
                "output": {"uri": f"{folder}/text{number}"},
                "model": config.model.model_dump() | {"name": model},
            }
            page = Path(folder, "config.yaml")
            page.write_text(yaml.safe_dump(config.model_dump(mode="json") | changes), encoding="utf-8")
            command = [sys.executable, "-m", "jobs.transcribe", str(page)]
            done = subprocess.run(command, capture_output=True, encoding="utf-8", errors="replace")
            if done.returncode != DONE:
                raise ConfigError(
                    f"jobs.transcribe ended with status {done.returncode}", *done.stderr.splitlines()[-8:]
                )
            runs.append(read_json(done.stdout))
    passes = [run["wall_seconds"] - run["start_seconds"] for run in runs]
    return {
        "side": side,
        "rtfx": round(runs[0]["audio_hours"] * 3600 / median(passes), 2),
        "padding": None,
        "start_s": round(median(run["start_seconds"] for run in runs), 1),
        "peak_gb": None,
        "busy_share": median(run["busy_share"] for run in runs),
        "passes_s": [round(each, 2) for each in passes],
    }


if __name__ == "__main__":
    exit_process(main())
