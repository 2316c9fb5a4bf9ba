"""Transcribes an archive: lists audio, does what is not done yet, writes Parquet."""

import json
import sys
import time
from collections import Counter
from typing import Any

from actors import storage
from actors.engines import EngineSettings
from jobs import pipeline
from jobs.command_line import DONE, FAILED, OVER_BUDGET, run_job
from jobs.config import Config, ConfigError
from jobs.planning import TRIES, claim, new_run_id
from jobs.prepare import Prepared, is_on_cluster, prepare, standing
from jobs.report import Progress, console, show_failures, show_table, show_transcripts

EPILOG = """
examples:
  python -m jobs.transcribe configs/demo.yaml
  python -m jobs.transcribe configs/local.yaml input.uri=/archive output.uri=/transcripts
  python -m jobs.transcribe configs/s3.yaml input.uri=s3://archive/2026/ input.limit=10
  ray job submit --working-dir . -- python -m jobs.transcribe configs/s3.yaml

Run it again at any time: what is done is skipped, what is new or changed is done. Start with input.limit=10, or look
first with `python -m jobs.plan`. The keys are described in configs/local.yaml and in the README.

exit status: 0 done, within the error budget; 1 the run failed, run it again; 2 a mistake in usage or configuration;
3 more recordings with errors than errors.max_fraction allows. The last line of standard output is one JSON object.
"""


def main(arguments: list[str] | None = None) -> int:
    return run_job("jobs.transcribe", __doc__, EPILOG, run, arguments)


def run(config: Config) -> int:
    """One run: plan, claim, transcribe, sum up."""
    began = time.monotonic()
    run_id = new_run_id()
    prepared, folder = prepare_and_claim(config, run_id)
    plan, listing = prepared.plan, prepared.listing
    console.print(
        f"{len(listing.objects)} objects · units: {len(plan.new)} new, {len(plan.again)} again, {len(plan.done)} done"
    )
    if listing.unknown:
        names = ", ".join(f"{count} {suffix}" for suffix, count in listing.unknown.most_common(5))
        console.print(f"passed over, their names being of no known format: {names}", markup=False)
    ray_began = time.time()
    resources = connect(config) if plan.units else None
    results = transcribe(config, prepared, run_id, resources) if resources else []
    first = min((each["began"] for each in results if "began" in each), default=0)  # that an actor had something to do
    summary = sum_up(run_id, prepared, results, time.monotonic() - began, max(first - ray_began, 0))
    summary["status"] = status = close(config, results, summary)
    storage.write(prepared.output[0], f"{folder}/summary.json", json.dumps(summary, ensure_ascii=False).encode())
    print(json.dumps(summary, ensure_ascii=False), flush=True)
    return status


def prepare_and_claim(config: Config, run_id: str) -> tuple[Prepared, str]:
    """A plan that is this run's own: where another run took its number, the state is read and planned anew."""
    for _ in range(TRIES):
        prepared = prepare(config, is_on_cluster(config))
        folder = claim(*prepared.output, prepared.plan, prepared.settings, run_id)
        if folder is not None:
            return prepared, folder
    raise ConfigError(f"output.uri: {TRIES} other runs took the next number; is something writing there in a loop?")


def connect(config: Config) -> pipeline.Resources:
    """Connects to Ray, or starts one; what of it each stage gets."""
    console.print("starting Ray and loading the model …" if not is_on_cluster(config) else "connecting to Ray …")
    return pipeline.share_out(config.ray, pipeline.connect(config.ray.address), config.model.device)


def transcribe(config: Config, prepared: Prepared, run_id: str, resources: pipeline.Resources) -> list[dict[str, Any]]:
    """Sends the planned units through Ray; returns a summary each, {"unit", "failure"} where not committed."""
    padded = config.batch.max_padded_seconds
    engine = EngineSettings(
        engine=prepared.settings["engine"],
        device=resources.device,
        precision=prepared.settings["precision"],
        threads=resources.threads,
        max_padded_seconds=pipeline.PADDED_SECONDS[resources.device] if padded == "auto" else padded,
    )
    console.print(
        f"engine {engine.engine}, {engine.precision} on {engine.device}; {config.ray.actors[0]} to"
        f" {config.ray.actors[1]} actors of {resources.actor_cpus:g} CPUs and {resources.actor_gpus:g} GPUs"
    )
    dataset = pipeline.build_graph(
        prepared.plan.units,
        prepared.reading,
        prepared.model,
        engine,
        run_id,
        prepared.output,
        resources,
        config.ray.actors,
    )
    results = {unit.id: {"unit": unit.id, "failure": "its worker process died"} for unit in prepared.plan.units}
    progress = Progress(len(results))
    try:
        for summary in pipeline.summaries(dataset):
            results[summary["unit"]] = summary
            progress.add(summary)
    except pipeline.GraphError as problem:
        console.print(f"Ray ended early: {problem}", style="red", markup=False)
    return list(results.values())


def sum_up(
    run_id: str, prepared: Prepared, results: list[dict[str, Any]], wall_seconds: float, start_seconds: float
) -> dict[str, Any]:
    """The run as one JSON object."""
    committed = [result for result in results if "failure" not in result]
    audio_seconds = sum(result["audio_seconds"] for result in committed)
    errors = sum((Counter(result["errors"]) for result in committed), Counter[str]())
    characters = sum(result["reference_characters"] for result in committed)
    edits = sum(result["character_errors"] for result in committed)
    recordings, with_error = standing(prepared)
    return {
        "run_id": run_id,
        "units": {"planned": len(results), "skipped": len(prepared.plan.done), "done": len(committed)},
        "recordings": sum(result["recordings"] for result in committed),
        "segments": sum(result["segments"] for result in committed),
        "errors": dict(errors),
        "standing": {"recordings": recordings, "errors": with_error},
        "cer": round(edits / characters, 5) if characters else None,
        "audio_hours": round(audio_seconds / 3600, 4),
        "wall_seconds": round(wall_seconds, 2),
        "start_seconds": round(start_seconds, 2),
        "rtfx": round(audio_seconds / wall_seconds, 2),
        "output": prepared.output_uri,
    }


def close(config: Config, results: list[dict[str, Any]], summary: dict[str, Any]) -> int:
    """Shows the closing tables and returns the exit status."""
    committed = [result for result in results if "failure" not in result]
    show_transcripts([row for result in committed for row in result["transcripts"]])
    failures = [row for result in committed for row in result["failures"]]
    show_failures(failures, sum(summary["errors"].values()))
    rows = [
        ("units", f"{summary['units']['done']} done, {summary['units']['skipped']} skipped"),
        ("recordings", f"{summary['recordings']}, {sum(summary['errors'].values())} with an error"),
        ("in the output", "{recordings} recordings, {errors} with an error".format(**summary["standing"])),
        (
            "audio",
            f"{summary['audio_hours']:.3f} h in {summary['wall_seconds']:.1f} s, {summary['rtfx']:.1f} x real time",
        ),
        ("character error rate", "nothing to compare" if summary["cer"] is None else f"{summary['cer']:.2%}"),
        ("output", summary["output"]),
    ]
    show_table("This run", ("", ""), rows)
    failed = [result for result in results if "failure" in result]
    for result in failed[:5]:
        console.print(f"unit {result['unit']} was not committed: {result['failure']}", style="red", markup=False)
    if failed:
        console.print(f"{len(failed)} of {len(results)} units failed; run it again to do them", style="red")
        return FAILED
    standing_rows = summary["standing"]
    if standing_rows["errors"] > config.errors.max_fraction * standing_rows["recordings"]:
        share = standing_rows["errors"] / standing_rows["recordings"]
        console.print(f"{share:.1%} of the recordings have an error, more than errors.max_fraction allows", style="red")
        return OVER_BUDGET
    return DONE


if __name__ == "__main__":
    sys.exit(main())
