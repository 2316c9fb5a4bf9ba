"""Measures ways to transcribe against each other, on the same weights and audio, in one run."""

import json
import multiprocessing
import os
import shlex
import subprocess
import sys
import tempfile
from collections.abc import Callable, Sequence
from datetime import date
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from statistics import median
from typing import Any

import yaml

from actors.engine.models import resolve
from actors.foreign.escape import for_terminal
from actors.schema import UsageError
from actors.storage import files as storage
from actors.storage.cache import cache_folder
from jobs.cli.command import DONE, run_job
from jobs.cli.config import Config, ConfigError, with_secrets
from jobs.cli.terminal import print_json, say, show_table

EPILOG = """
examples:
  python -m jobs.benchmark configs/demo.yaml
  python -m jobs.benchmark configs/demo.yaml benchmark.model=reference benchmark.write=benchmarks.md
  python -m jobs.benchmark configs/demo.yaml benchmark.sides='["fused, float32"]' benchmark.minutes=10
  python -m jobs.benchmark configs/demo.yaml benchmark.model=reference model.device=cuda benchmark.minutes=120

Each side runs in a process of its own: start-up, a warm-up, then benchmark.repeats passes over the audio, of which the
median counts. The audio is generated (2 to 15 s a recording): speed does not depend on what is said. With
benchmark.model=reference the weights are random, in the shape of Citrinet-1024 with gamma 0.25. The last line of
standard output is one JSON object. onnxruntime and sherpa-onnx take part where the extra `bench` is installed. The
whole pipeline is jobs.transcribe as the config has it, from tar shards of WAV or FLAC to the last part, which have the
audio benchmark.copies times; what does not count, here as for every side, is the start-up: of Ray, its workers, and the
model in the first actor. Kernels are those of a GPU, each beside the least that it could take on that card.
"""


PIPELINES = {"the whole pipeline": "WAV", "the whole pipeline, FLAC": "FLAC"}
KERNELS = "kernels"
MAX_COMMAND = 4_000  # characters


def main(arguments: list[str] | None = None) -> int:
    command = shlex.join(["python", "-m", "jobs.benchmark", *(sys.argv[1:] if arguments is None else arguments)])
    return run_job("jobs.benchmark", __doc__, EPILOG, lambda config: run(config, command), arguments)


def run(config: Config, command: str) -> int:
    options = with_secrets(config.output.storage_options, "output.storage_options")
    page = storage.connect(config.benchmark.write, options) if config.benchmark.write else None
    report = measure_sides(config) | {"command": command}
    if report["sides"]:
        show_table(f"{report['model']}, {report['minutes']:g} minutes, {report['machine']}", *as_table(report))
    if KERNELS in report:
        about = "one batch, {seconds:g} s; copies {copy_gb_s:,.0f} GB/s, products {product_gflop_s:,.0f} GFLOP/s"
        show_table(about.format(**report[KERNELS]), *as_kernels(report[KERNELS]))
    if page:
        append(*page, report)
    print_json(report)
    return DONE


def measure_sides(config: Config) -> dict[str, Any]:
    """Measures every side that is asked for; each starts as a new process, so that none profits from another."""
    from actors.benchmark import sides

    wanted, name = config.benchmark, config.model.name
    device = "cpu" if config.model.device == "auto" else config.model.device
    has_kernels = device == "cuda" or os.environ.get("TRITON_INTERPRET") == "1"  # the latter to try it without a GPU
    known = [*sides.SIDES, *PIPELINES, KERNELS]
    possible = [*sides.available(device), *PIPELINES, *([KERNELS] if has_kernels else [])]
    for side in wanted.sides:
        if side not in possible:
            reason = (
                f"needs the extra `bench`, or is not for {device}"
                if side in known
                else f"is none of {', '.join(known)}"
            )
            raise ConfigError(f"benchmark.sides: {side!r} {reason}")
    options = with_secrets(config.model.storage_options, "model.storage_options")
    try:
        if wanted.model == "reference":
            say("making a Citrinet-1024 of random weights, where there is none yet …")
            name = str(_apart(sides.random_reference_model, cache_folder() / "benchmark"))
        model = resolve(name, config.model.revision, options)
        processor = _apart(sides.processor, device)
    except UsageError as problem:
        raise ConfigError(str(problem)) from None
    sounds = sides.generated_sounds(wanted.minutes)
    threads = len(os.sched_getaffinity(0))
    results, more = [], {}
    for side in wanted.sides or possible:
        if side == KERNELS:
            more[KERNELS] = _apart(sides.kernels, model, sounds, device, wanted.repeats)
            continue
        if side in PIPELINES:
            result = measure_pipeline(config, name, sounds, side)
        else:
            _apart(sides.make_ready, side, model)
            result = _apart(sides.measure, side, model, sounds, device, threads, wanted.repeats)
        say(f"{side}: {result['rtfx']:.1f} x real time")
        results.append(result)
    packages = ["torch", "triton", "nemo_toolkit", "ray", "numpy", "onnxruntime", "sherpa-onnx"]
    return {
        "date": date.today().isoformat(),
        "machine": f"{threads} CPUs, {processor}",
        "versions": {package: _version(package) for package in packages if _version(package)},
        "model": "Citrinet-1024, gamma 0.25, random weights" if wanted.model == "reference" else name,
        "minutes": wanted.minutes,
        "sides": results,
    } | more


def _apart(function: Callable[..., Any], *arguments: Any) -> Any:
    """The function's result, from a process that starts for it and ends."""
    pool = multiprocessing.get_context("spawn").Pool(1)
    try:
        return pool.apply(function, arguments)
    finally:
        pool.close()  # not terminated: libraries tidy up as a process ends
        pool.join()


def measure_pipeline(config: Config, model: str, sounds: Sequence[Any], side: str) -> dict[str, Any]:
    """jobs.transcribe itself, from shards to Parquet, as the config has it; start-up apart."""
    from actors.benchmark.sides import write_shards

    runs = []
    with tempfile.TemporaryDirectory() as folder:
        spoken = Path(folder, "audio")
        spoken.mkdir()
        write_shards(spoken, sounds, PIPELINES[side], config.benchmark.copies)
        for number in range(config.benchmark.repeats):
            changes: dict[str, Any] = {
                "input": {"uri": str(spoken)},
                "output": {"uri": f"{folder}/text{number}"},
                "model": config.model.model_dump() | {"name": model},
            }
            page = Path(folder, "config.yaml")
            page.write_text(yaml.safe_dump(config.model_dump(mode="json") | changes))
            command = [sys.executable, "-m", "jobs.transcribe", str(page)]
            done = subprocess.run(command, capture_output=True, text=True)
            if done.returncode != DONE:
                raise ConfigError(
                    f"jobs.transcribe ended with status {done.returncode}", *done.stderr.splitlines()[-8:]
                )
            runs.append(json.loads(done.stdout.splitlines()[-1]))
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


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def as_table(report: dict[str, Any]) -> tuple[list[str], list[list[str]]]:
    """A report as a header and rows; ratios are to the better of NeMo's own transcribe() runs."""
    shipped = [side["rtfx"] for side in report["sides"] if "transcribe()" in side["side"]]
    rows = [
        [
            side["side"],
            f"{side['rtfx']:.1f}",
            f"{side['rtfx'] / max(shipped):.2f}" if shipped else "",
            "" if side["padding"] is None else f"{side['padding']:.1%}",
            f"{side['start_s']:.1f}",
            "" if side["peak_gb"] is None else f"{side['peak_gb']:.1f}",
        ]
        for side in report["sides"]
    ]
    return ["", "x real time", "to transcribe()", "padding", "start-up s", "peak GB"], rows


def as_kernels(report: dict[str, Any]) -> tuple[list[str], list[list[str]]]:
    """What `kernels` found, as a header and rows; a share near 100 % of the least is a kernel that can gain no more."""
    whole = sum(row["batch_ms"] for row in report["kernels"])
    rows = [
        [
            row["kernel"],
            row["shape"],
            str(row["calls"]),
            f"{row['ms']:.3f}",
            f"{row['least_ms'] / row['ms']:.0%}",
            f"{row['batch_ms'] / whole:.1%}",
        ]
        for row in report["kernels"]
    ]
    rows += [["product in a tile", each["tile"], "", f"{each['ms']:.3f}", "", ""] for each in report["tiles"]]
    return ["kernel", "shape", "calls", "ms", "least / ms", "of the batch"], rows


def append(filesystem: storage.Filesystem, path: str, report: dict[str, Any]) -> None:
    """Adds a report to a page of benchmarks, with what made it. Raises OSError."""
    versions = ", ".join(f"{name} {number}" for name, number in report["versions"].items())
    lines = [f"## {report['date']}: {for_terminal(report['model'])}", ""]
    lines += [f"{report['machine']}; {versions}; {report['minutes']:g} minutes of audio, 2 to 15 s a recording.", ""]
    lines += [f"    {for_terminal(report['command'], MAX_COMMAND)}", ""]
    tables = [as_table(report)] if report["sides"] else []
    for header, rows in tables + ([as_kernels(report[KERNELS])] if KERNELS in report else []):
        lines += [f"| {' | '.join(row)} |" for row in [header, ["---"] * len(header), *rows]] + [""]
    there = storage.exists(filesystem, path)
    text = storage.read(filesystem, path).decode("utf-8") if there else "# Benchmarks\n"
    text = text.rstrip() + "\n\n" + "\n".join(lines).rstrip() + "\n"
    storage.write(filesystem, path, text.encode("utf-8"))


if __name__ == "__main__":
    sys.exit(main())
