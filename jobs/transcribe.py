"""Transcribes an archive: lists audio, transcribes what is not done yet, writes Parquet."""

import time
from dataclasses import replace
from typing import Any

from actors.engine.interface import EngineSettings
from actors.parts.commit import remove_unit
from actors.parts.kept import sweep_pieces
from actors.storage.place import Place
from jobs import pipeline
from jobs.cli.command import BUSY, FAILED, exit_process, run_job
from jobs.cli.config import Config, ConfigError
from jobs.cli.terminal import print_json, say, summary_json
from jobs.planning.prepare import Prepared, is_on_cluster, prepare
from jobs.planning.state import sweep, write_plan
from jobs.planning.verdicts import new_run_id, recipe_of
from jobs.running import cluster
from jobs.running.cluster import PADDED_SECONDS, GraphError, Resources
from jobs.running.lease import active_run, heartbeat
from jobs.running.outcomes import Ledger, TooManyFailures
from jobs.running.summary import close, say_plan, sum_up

TRIES = 20  # to get a plan's number before other runs

EPILOG = """
examples:
  python -m jobs.transcribe configs/demo.yaml
  python -m jobs.transcribe configs/local.yaml input.uri=/archive output.uri=/transcripts
  python -m jobs.transcribe configs/s3.yaml input.uri=s3://archive/2026/ input.limit=10
  ray job submit --working-dir . -- python -m jobs.transcribe configs/s3.yaml

Run it again at any time: what is done is skipped, what is new or changed is transcribed. Start with input.limit=10, or
check first with `python -m jobs.plan`. All keys are described in docs/configuration.md and in configs/local.yaml.

exit status: 0 done, within the error budget; 1 the run failed, run it again; 2 an error in usage or configuration;
3 more recordings with errors than errors.max_fraction allows; 4 another run is at work on this output. The last line of
standard output is one JSON object.
"""


def main(arguments: list[str] | None = None) -> int:
    return run_job("jobs.transcribe", __doc__, EPILOG, run, arguments)


def run(config: Config) -> int:
    """Runs the job: plans, claims a run number, transcribes, sums up. Returns the exit status."""
    began = time.monotonic()
    run_id = new_run_id()
    prepared, folder = prepare_and_claim(config, run_id)
    with heartbeat(folder, config.output.lease_seconds, run_id):
        other = active_run(prepared.output, folder, config.output.lease_seconds)
        if other:
            summary: dict[str, Any] = {"run_id": run_id, "status": BUSY, "output": prepared.output_uri}
            say(f"another run is at work on this output, {other.name}", "red")
        else:
            summary = work(config, prepared, run_id, began)
        try:
            (folder / "summary.json").write(summary_json(summary).encode())
        except OSError as problem:  # a full disk: the summary is printed all the same
            say(f"storage: summary.json was not written: {problem}", "red")
            summary["status"] = summary["status"] or FAILED
    print_json(summary)
    return int(summary["status"])


def prepare_and_claim(config: Config, run_id: str) -> tuple[Prepared, Place]:
    """Plans, and claims the next run number; plans again if another run took it. Returns the plan and the run's folder.

    Raises ConfigError.
    """
    for _ in range(TRIES):
        prepared = prepare(config, is_on_cluster(config))
        recipe = recipe_of(prepared.settings), prepared.settings
        try:
            folder = write_plan(prepared.output, prepared.state, prepared.plan.objects, recipe, run_id)
        except PermissionError as problem:
            raise ConfigError(f"output.uri: {prepared.output_uri} may not be written: {problem}") from None
        if folder is not None:
            return prepared, folder
    raise ConfigError(
        f"output.uri: {TRIES} other runs took the next number first; is something starting runs in a loop?"
    )


def work(config: Config, prepared: Prepared, run_id: str, began: float) -> dict[str, Any]:
    """Executes a plan. Returns the summary, which holds the exit status."""
    plan, output = prepared.plan, prepared.output
    say_plan(prepared.listing, plan)
    sweep(output, 10 * config.output.lease_seconds)
    sweep_pieces(plan.units, output)
    for unit_id in plan.remove:
        remove_unit(unit_id, output)
    ray_began = time.time()
    resources = claim_resources(config) if plan.units else None
    outcomes = transcribe(config, prepared, run_id, resources) if resources else []
    first = min((each["began"] for each in outcomes if "began" in each), default=0)  # when an actor first had work
    actors = resources.actors[0] if resources else 0
    summary = sum_up(run_id, prepared, outcomes, actors, time.monotonic() - began, max(first - ray_began, 0))
    return summary | {"status": close(config, outcomes, summary)}


def claim_resources(config: Config) -> Resources:
    """Connects to Ray, or starts it, and divides its resources among the stages. Raises ConfigError."""
    say("connecting to Ray …" if is_on_cluster(config) else "starting Ray and loading the model …")
    return cluster.allocate(config.ray, cluster.connect_ray(config.ray.address), config.model.device)


def transcribe(config: Config, prepared: Prepared, run_id: str, resources: Resources) -> list[dict[str, Any]]:
    """Sends the planned units through the graph. Returns a summary per unit, {"unit", "failure"} if not committed.

    Units that hold more audio than estimated are recut and sent again. Units that crashed their worker are retried
    once, with one recording per process.
    """
    engine = engine_settings(config, prepared, resources)
    say(f"engine {engine.engine}, {engine.precision} on {engine.device}; {resources.described()}")
    ledger = Ledger(run_id, prepared.plan.units, resources.actors[0])
    pieces = {unit.id: prepared.pieces_of(unit) for unit in prepared.plan.units}
    units, isolated = prepared.plan.units, False
    try:
        while units:
            dataset = pipeline.build_graph(
                [piece for unit in units for piece in pieces[unit.id]],
                replace(prepared.reading, isolated=isolated),
                prepared.model,
                replace(engine, isolated=isolated),
                run_id,
                prepared.output,
                resources,
            )
            for outcome in pipeline.outcomes(dataset):
                ledger.add(outcome)
            recuts = ledger.to_recut()
            pieces |= {unit: replace(pieces[unit][0], **cut).all() for unit, cut in recuts.items()}
            units = [unit for unit in prepared.plan.units if unit.id in recuts]
            if units:
                say(f"splitting {len(units)} units that hold more audio than estimated")
            elif not isolated and (units := ledger.lost()):
                isolated = True
                ledger.count_retries()
                say(f"{len(units)} units crashed their worker; retrying one recording per process")
    except GraphError as problem:
        ledger.defer_rest()
        say(f"Ray ended early: {problem}", "red")
    except (KeyboardInterrupt, TooManyFailures) as why:
        deferred = ledger.defer_rest()
        say(f"{str(why) or 'interrupted'}: {deferred} units are left for the next run; committed units are kept")
    return ledger.all()


def engine_settings(config: Config, prepared: Prepared, resources: Resources) -> EngineSettings:
    """The settings of every actor's engine."""
    padded = config.batch.max_padded_seconds
    return EngineSettings(
        engine=prepared.settings["engine"],
        device=resources.device,
        precision=prepared.settings["precision"],
        threads=resources.threads,
        max_padded_seconds=PADDED_SECONDS[resources.device] if padded == "auto" else padded,
        patience_s=config.errors.patience_seconds,
        tokens=config.output.tokens,
    )


if __name__ == "__main__":
    exit_process(main())
