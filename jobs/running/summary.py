"""The result of a run: one JSON object for programs, tables for people, and the exit status."""

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import TypedDict

from actors import VERSION
from actors.schema import PASSING, SCHEMA_VERSION
from jobs.cli.command import DONE, FAILED, OVER_BUDGET
from jobs.cli.config import Errors
from jobs.cli.terminal import say, show_table
from jobs.planning.account import FileCounts, Files
from jobs.planning.gone import count_gone, gone_sentence
from jobs.planning.listing import Listing
from jobs.planning.verdicts import Plan
from jobs.running.budget import Account, advice, advice_to_retry, exceeded
from jobs.running.facts import failing
from jobs.running.failing import show_failing
from jobs.running.outcomes import Totals
from jobs.running.progress import in_words

MAX_FAILURES = 20  # in the closing table


class UnitCounts(TypedDict):
    planned: int
    skipped: int
    done: int


class RecordingCounts(TypedDict):
    recordings: int
    errors: int
    accepted: int


class Summary(TypedDict):
    """The JSON object of a run; docs/running.md describes its keys."""

    run_id: str
    version: str
    schema: str
    files: FileCounts
    units: UnitCounts
    rewritten: int
    recordings: int
    segments: int
    entries: dict[str, object]
    errors: dict[str, int]
    accepted: int
    totals: RecordingCounts
    cer: float | None
    reference_characters: int
    audio_hours: float
    wall_seconds: float
    start_seconds: float
    rtfx: float
    busy_share: float | None
    output: str


@dataclass(frozen=True)
class Finished:
    """A run that has ended: how many units it planned and skipped, its totals, and why units failed, by id; those of
    them that are `hopeless` fail in the same way however they are tried.

    `start_seconds` is the time until an actor first had work, planning included. `in_output` are the recordings in the
    output now; `files` those of the input. `number` is the run's, and `shows` tells whether transcripts may be printed.
    """

    run_id: str
    planned: int
    skipped: int
    totals: Totals
    failed: Mapping[str, str]
    wall_seconds: float
    start_seconds: float
    in_output: Account
    output: str
    hopeless: frozenset[str] = frozenset()
    files: Files = field(default_factory=Files)
    number: int | None = None
    shows: bool = False


def say_plan(listing: Listing, plan: Plan) -> None:
    sources = f" ({_sources(plan)})" if plan.rewrite else ""
    say(
        f"{len(listing.objects)} objects · units: {len(plan.new)} new, {len(plan.redo) + len(plan.rewrite)} to"
        f" redo{sources}, {len(plan.done)} done" + (f", {len(plan.remove)} to remove" if plan.remove else "")
    )
    if plan.advice:
        say(plan.advice, "yellow")
    if plan.asked:
        say(f"input.redo: {len(plan.asked)} units with {plan.asked_recordings} recordings are done again")
    if plan.deleted or plan.excluded:
        say(f"objects whose rows are removed: {plan.deleted} no longer listed, {plan.excluded} excluded")
    if gone := gone_sentence(count_gone(plan.changes, listing.roots)):
        say(gone)
    say(listing.files)


def _sources(plan: Plan) -> str:
    """From what units are redone: `3 from rows, 2 from audio`."""
    counts = ((plan.redone_from[source], source) for source in ("rows", "emissions", "audio"))
    return ", ".join(f"{count} from {source}" for count, source in counts if count)


def sum_up(run: Finished) -> Summary:
    """Summarises a run."""
    done, found, busy = run.totals.counts, run.in_output, run.totals.time.busy_share
    return {
        "run_id": run.run_id,
        "version": VERSION,
        "schema": SCHEMA_VERSION,
        "files": run.files.counts(),
        "units": {"planned": run.planned, "skipped": run.skipped, "done": run.totals.units},
        "rewritten": run.totals.rewritten,
        "recordings": done.recordings,
        "segments": done.segments,
        "entries": run.totals.entries.to_dict(),
        "errors": dict(done.errors),
        "accepted": found.own_accepted,
        "totals": {"recordings": found.recordings, "errors": found.errors, "accepted": found.accepted},
        "cer": round(done.character_errors / done.reference_characters, 5) if done.reference_characters else None,
        "reference_characters": done.reference_characters,
        "audio_hours": round(done.audio_seconds / 3600, 4),
        "wall_seconds": round(run.wall_seconds, 2),
        "start_seconds": round(run.start_seconds, 2),
        "rtfx": round(done.audio_seconds / run.wall_seconds, 2),
        "busy_share": None if busy is None else round(busy, 3),
        "output": run.output,
    }


def close(run: Finished, summary: Summary, limits: Errors) -> int:
    """Shows the closing tables and returns the exit status: OVER_BUDGET if more recordings have an error, and one that
    is not accepted, than the configuration allows."""
    _show_transcripts(run)
    if run.totals.failures:
        errors, number = sum(run.totals.counts.errors.values()), str(run.number or "last")
        show_failing(failing(run.totals.failures), errors, run.output, run.run_id, MAX_FAILURES, number)
    show_table("This run", ("", ""), list(_facts(run, summary)))
    if run.failed:
        example = {reason: unit for unit, reason in run.failed.items()}
        for reason, count in Counter(run.failed.values()).most_common(5):
            more = f", and {count - 1} more" if count > 1 else ""
            say(f"unit {example[reason]}{more} was not committed: {reason}", "red")
        say(f"{len(run.failed)} of {run.planned} units failed{_advice(run)}", "red")
        return FAILED
    if passing := sum(count for kind, count in summary["errors"].items() if kind in PASSING):
        say(f"{passing} recordings could not be read now; run the job again to try them again", "yellow")
    if missing := run.in_output.missing_names:
        say(
            f"errors.accept: {missing} of {run.in_output.accepted_names} names in files are no recording with an error",
            "yellow",
        )
    own = summary["recordings"], sum(summary["errors"].values()) - summary["accepted"]
    if again := advice_to_retry(summary["errors"]):
        say(again)
    sentences = list(exceeded(limits, run.in_output, own))
    for sentence in sentences:
        say(sentence, "red")
    if sentences:
        say(advice(run.output, has_own=bool(summary["errors"])), "yellow")
    return OVER_BUDGET if sentences else DONE


def _show_transcripts(run: Finished) -> None:
    """Shows some transcripts, if that is asked for: whoever reads a log may not be meant to read them."""
    if run.shows and run.totals.transcripts:
        columns = ("recording", "reference", "transcript")
        rows = [(each.recording_id, each.reference, each.text) for each in run.totals.transcripts]
        show_table("Some transcripts", columns, rows)
    elif not run.shows and run.totals.counts.segments:
        say("transcripts are not shown here; output.show=true shows some of them")


def _advice(run: Finished) -> str:
    """What can be done about failed units: running again helps only if they may not fail in the same way."""
    if not run.hopeless:
        return "; run the job again to try them again"
    again = f"; run the job again to try the other {len(run.failed) - len(run.hopeless)} again"
    return ", each time in the same way: see the reason" + (again if len(run.failed) > len(run.hopeless) else "")


def _facts(run: Finished, summary: Summary) -> Iterator[tuple[str, object]]:
    """The rows of the closing table."""
    yield "input", run.files
    rewritten = summary["rewritten"]
    heard_nothing = f", {rewritten} of them without hearing anything" if rewritten else ""
    yield "units", "{done} done{}, {skipped} skipped".format(heard_nothing, **summary["units"])
    accepted = f", {summary['accepted']} of them accepted" if summary["accepted"] else ""
    yield "recordings", f"{summary['recordings']:,}, {sum(summary['errors'].values()):,} with an error{accepted}"
    yield "segments", f"{summary['segments']:,}"
    entries = run.totals.entries
    if entries.found:
        skipped = [f"{count} {reason}" for reason, count in entries.skipped.most_common()]
        found = f"{entries.found} entries: {entries.recordings} recordings, {entries.companions} companions"
        yield "in containers", ", ".join([found, *(["skipped: " + ", ".join(skipped)] if skipped else [])])
    totals = summary["totals"]
    accepted = f", {totals['accepted']} of them accepted" if totals["accepted"] else ""
    yield "in the output", "{recordings:,} recordings, {errors:,} with an error".format(**totals) + accepted
    seconds = summary["wall_seconds"]
    yield "audio", f"{summary['audio_hours']:,.3f} h in {f'{seconds:.1f} s' if seconds < 60 else in_words(seconds)}"
    yield "speed", f"{summary['rtfx']:.1f} x real time, start-up included"
    if summary["busy_share"] is not None:
        yield "actors busy", f"{summary['busy_share']:.0%} of the time from their first work to their last"
    of = f" over {summary['reference_characters']:,} characters"
    yield "character error rate", "nothing to compare" if summary["cer"] is None else f"{summary['cer']:.2%}{of}"
    yield "output", summary["output"]
