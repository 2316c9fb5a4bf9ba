"""Transcribes an archive: lists audio, transcribes what is not done yet, writes Parquet."""

import time
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from functools import partial

from actors.engine.models import read_vocabulary
from actors.parts.kept import kept_first, sweep_pieces
from actors.parts.stored import remove_unit
from actors.pieces import Cut, Piece, cut_unit
from actors.schema import UsageError
from actors.storage.place import Place
from actors.writer import WriteSettings
from jobs import pipeline
from jobs.cli.command import BUSY, exit_process, run_job
from jobs.cli.config import Config, ConfigError
from jobs.cli.terminal import print_json, say, shown_live
from jobs.planning.decoding import say_what_takes_time
from jobs.planning.plans import write_plan
from jobs.planning.prepare import Prepared, is_on_cluster, prepare
from jobs.planning.recipe import Devices
from jobs.planning.run_files import sweep_runs
from jobs.planning.state import sweep, sweep_emissions
from jobs.planning.verdicts import Plan, new_run_id
from jobs.running import connect
from jobs.running.budget import take_account
from jobs.running.cluster import NO_GPU, GraphError, ShareLost
from jobs.running.lease import active_run, heartbeat
from jobs.running.metrics import Metrics
from jobs.running.outcomes import LOST, NOT_STARTED, Ledger, TooManyFailures
from jobs.running.record import RunRecord, recorded
from jobs.running.share import Share, hold
from jobs.running.summary import Finished, close, say_plan, sum_up

TRIES = 20  # to get a plan's number before other runs
MAX_REWRITTEN_HERE = 20  # units, of a second or less each: Ray takes more than ten to start

EPILOG = """
examples:
  python -m jobs.transcribe configs/demo.yaml
  python -m jobs.transcribe configs/local.yaml input.uri=/archive output.uri=/transcripts
  python -m jobs.transcribe configs/s3.yaml input.uri=s3://archive/2026/ input.sample=10
  RAY_AUTH_MODE=token ray job submit --working-dir . -- python -m jobs.transcribe configs/s3.yaml

Start with input.sample=10: ten recordings, spread over the archive; or check first with `python -m jobs.plan`. Run it
again at any time: what is done is skipped, what is new or changed is transcribed. All keys are described in
docs/configuration.md and in configs/local.yaml.

exit status: 0 done, within the error budget; 1 failed or interrupted, run it again; 2 wrong usage or configuration;
3 more recordings with errors than errors.max_fraction or errors.max_new_fraction allows; 4 another run is at work on
this output. The last line of standard output is one JSON object.
"""


def main(arguments: list[str] | None = None) -> int:
    return run_job("jobs.transcribe", __doc__, EPILOG, run, arguments)


def run(config: Config) -> int:
    """Runs the job: plans, claims a run number, transcribes, sums up. Returns the exit status."""
    began = time.monotonic()
    run_id = new_run_id()
    with recorded(config, run_id) as record:
        prepared, folder = prepare_and_claim(config, run_id)
        record.claim(prepared, folder)
        with heartbeat(folder, config.output.lease_seconds, run_id, record.refresh):
            other = active_run(prepared.output, folder, config.output.lease_seconds)
            if other:
                say(f"another run is at work on this output, {other.name}", "red")
                sweep_runs(prepared.output, record.number, config.output.keep_runs, 10 * config.output.lease_seconds)
                record.end(BUSY)
            else:
                finished = work(config, prepared, run_id, began, record)
                told = sum_up(finished)
                record.finish(close(finished, told, config.errors), finished, told)
    print_json(record.summary)
    return record.status


def needs_ray(plan: Plan) -> bool:
    """Whether a plan's work is done on Ray: all that is heard, and what is rewritten of more than a few units."""
    return bool(plan.units) or len(plan.rewrite) > MAX_REWRITTEN_HERE


def prepare_and_claim(config: Config, run_id: str) -> tuple[Prepared, Place]:
    """Plans, and claims the next run number; plans again if another run took it. Returns the plan and the run's folder.

    Raises ConfigError.
    """
    max_plans = max(config.output.keep_runs // 2, 1)  # their folders stay; others are to be kept beside them
    for _ in range(TRIES):
        prepared = prepare(config, partial(connect.find_devices, config), partial(connect.check_address, config))
        connect.check_address(config, will_connect=needs_ray(prepared.plan))
        recipe = prepared.recipe.digest, prepared.recipe.settings
        try:
            folder = write_plan(prepared.output, prepared.state, prepared.plan.objects, recipe, run_id, max_plans)
        except (PermissionError, FileNotFoundError, NotADirectoryError) as problem:  # no such bucket or disk, too
            raise ConfigError(f"output.uri: {prepared.output_uri} may not be written: {problem}") from None
        if folder is not None:
            return prepared, folder
    raise ConfigError(
        f"output.uri: {TRIES} other runs took the next number first; is something starting runs in a loop?"
    )


def work(config: Config, prepared: Prepared, run_id: str, began: float, record: RunRecord) -> Finished:
    """Executes a plan."""
    plan, output = prepared.plan, prepared.output
    say_plan(prepared.listing, plan)
    for note in prepared.notes:
        say(note, "yellow")
    say_what_takes_time(prepared.recipe.decoding)
    record.begin(prepared)
    sweep(output, 10 * config.output.lease_seconds)
    sweep_runs(output, record.number, config.output.keep_runs, 10 * config.output.lease_seconds)
    sweep_emissions(output, 10 * config.output.lease_seconds)
    kept_cuts = sweep_pieces(plan.units, prepared.recipe.piece_seconds, output, not config.input.takes_all)
    for unit_id in plan.remove:
        remove_unit(unit_id, output)
    ledger = Ledger(plan.committed, plan.estimate)
    record.watch(ledger)
    if ledger.waiting:
        with ended_early(ledger, record), shown_live(ledger.progress.line):
            writing = write_settings(prepared, run_id, config.output.show)
            if plan.rewrite:
                rewrite(config, prepared, writing, ledger)
            if plan.units:
                transcribe(config, prepared, writing, ledger, kept_cuts)
    totals, wall_seconds = ledger.totals, time.monotonic() - began
    return Finished(
        run_id=run_id,
        planned=len(plan.committed),
        skipped=len(plan.done),
        totals=totals,
        failed=ledger.failed,
        hopeless=ledger.hopeless,
        wall_seconds=wall_seconds,
        start_seconds=max(totals.time.began - (time.time() - wall_seconds), 0),
        in_output=take_account(prepared, run_id, totals.counts.errors, is_complete=not ledger.failed),
        output=prepared.output_uri,
        files=prepared.listing.files,
        number=record.number,
        shows=config.output.show,
    )


def write_settings(prepared: Prepared, run_id: str, shows: bool) -> WriteSettings:
    """The settings of the last stage, with the model's vocabulary, and whether it `shows` transcripts. Raises
    ConfigError if the vocabulary cannot be read."""
    recipe = prepared.recipe
    try:
        vocabulary = read_vocabulary(recipe.model)
    except UsageError as problem:
        raise ConfigError(str(problem)) from None
    return WriteSettings(
        recipe.model, vocabulary, run_id, recipe.reading, recipe.tokens, recipe.decoding, recipe.text, shows
    )


def claim_share(config: Config, prepared: Prepared, run_id: str, hears: bool = True) -> AbstractContextManager[Share]:
    """Connects to Ray, or starts it, and waits for a share of it, which is held until the block is left. Raises
    ConfigError."""
    is_here = not is_on_cluster(config)
    if hears and prepared.recipe.device == "cuda" and is_here and not Devices.of_this_machine().gpus:
        raise ConfigError(f"model.device: {NO_GPU.format('this machine')}")  # before Ray is started in vain
    say("connecting to Ray …" if not is_here else f"starting Ray{' and loading the model' * hears} …")
    total = connect.connect_ray(config.ray.address)
    return hold(config.ray, total, prepared.recipe.device if hears else None, run_id, prepared.output_uri)


@contextmanager
def ended_early(ledger: Ledger, record: RunRecord) -> Iterator[None]:
    """Leaves the units that are not done to the next run, however the block ends early."""
    try:
        yield
        ledger.give_up(LOST)
    except GraphError as problem:
        ledger.give_up(NOT_STARTED)
        record.stopped(f"Ray ended early: {problem}")
        say(f"Ray ended early: {problem}", "red")
    except (KeyboardInterrupt, TooManyFailures) as problem:
        left, why = ledger.give_up(NOT_STARTED), str(problem) or "interrupted"
        record.stopped(why)
        say(f"{why}: {left} units are left for the next run; committed units are kept", "yellow")


def rewrite(config: Config, prepared: Prepared, writing: WriteSettings, ledger: Ledger) -> None:
    """Commits the planned units of which nothing is to be heard: a few of them in this process, many on Ray."""
    output = prepared.output
    pieces = [piece for unit in prepared.plan.rewrite for piece in cut_unit(unit, prepared.cut_of(unit))]
    if len(pieces) <= MAX_REWRITTEN_HERE:
        for outcome in pipeline.rewrite_here(pieces, output, writing):
            ledger.add(outcome)
        return
    with claim_share(config, prepared, writing.run_id, hears=False) as share:
        ledger.publish(Metrics(writing.run_id, len(ledger.waiting), prepared.output_uri))
        for outcome in pipeline.outcomes(pipeline.build_rewriting(pieces, share, output, writing)):
            ledger.add(outcome)


def transcribe(
    config: Config, prepared: Prepared, writing: WriteSettings, ledger: Ledger, kept_cuts: Mapping[str, Cut]
) -> None:
    """Hears the planned units of which something is to be heard; what becomes of each is in `ledger`. If the share of
    the cluster that this takes is lost with a machine, another one is taken for what is left."""
    plan, lost, left_before = prepared.plan, "", 0
    while True:
        try:
            with claim_share(config, prepared, writing.run_id) as share:
                return send(prepared, writing, share, ledger, kept_cuts)
        except ShareLost as problem:
            lost, left = str(problem), sum(unit.id in ledger.waiting for unit in plan.units)  # its frames hold workers
            if left == left_before:
                raise GraphError(f"{lost}, for the second time without a unit done") from None
            left_before = left
            say(f"{lost}; starting anew, with {left} units", "yellow")
            is_limited = not config.input.takes_all
            kept_cuts = sweep_pieces(plan.units, prepared.recipe.piece_seconds, prepared.output, is_limited)
        except ConfigError as problem:
            if not lost:
                raise
            raise GraphError(f"{lost}; {problem}") from None  # what is left of the cluster is too small


def send(
    prepared: Prepared, writing: WriteSettings, share: Share, ledger: Ledger, kept_cuts: Mapping[str, Cut]
) -> None:
    """Sends the planned units that wait through the graph. Raises GraphError, ShareLost and TooManyFailures.

    Units with pieces that an earlier run kept are cut as they were. Units that hold more audio than estimated are cut
    again and sent again. Units that fail are retried once; those that crashed their worker, or fail again for the same
    reason, with one recording per process.
    """
    recipe, plan = prepared.recipe, prepared.plan
    say(f"engine {recipe.engine}, {recipe.precision} on {recipe.device}; {share.resources.described()}")
    ledger.publish(Metrics(writing.run_id, len(ledger.waiting), prepared.output_uri))
    ledger.totals.time.threads, ledger.totals.time.cpus = share.resources.threads, share.resources.cpus
    cuts = {unit.id: kept_cuts.get(unit.id) or prepared.cut_of(unit) for unit in plan.committed}
    units, isolated = [unit for unit in plan.units if unit.id in ledger.waiting] or ledger.to_retry(), False
    while units:
        pieces = list[Piece]()
        for unit in units:
            whole = cut_unit(unit, cuts[unit.id])
            pieces += kept_first(whole, prepared.output) if unit.id in kept_cuts else whole
        graph = pipeline.build_graph(pieces, recipe, share, prepared.output, writing, isolated)
        for outcome in pipeline.outcomes(graph):
            ledger.add(outcome)
        needed = ledger.to_recut(cuts)
        cuts |= needed
        units = [unit for unit in plan.units if unit.id in needed]
        if units:
            say(f"splitting {len(units)} units that hold more audio than estimated")
        elif not isolated and (units := ledger.to_retry()):
            say(f"{len(units)} units failed; trying them again", "yellow")
        elif not isolated and (units := ledger.to_isolate()):
            isolated = True
            what = f"{len(units)} units crashed their worker, or failed twice"
            say(f"{what}; trying each of their recordings alone", "yellow")


if __name__ == "__main__":
    exit_process(main())
