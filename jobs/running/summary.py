"""The result of a run: one JSON object for programs, tables for people, and the exit status."""

from collections import Counter
from typing import Any

from jobs.cli.command import DONE, FAILED, OVER_BUDGET
from jobs.cli.config import Config
from jobs.cli.terminal import say, show_failures, show_table, show_transcripts
from jobs.planning.listing import Listing
from jobs.planning.prepare import Prepared, totals
from jobs.planning.verdicts import Plan


def say_plan(listing: Listing, plan: Plan) -> None:
    say(
        f"{len(listing.objects)} objects · units: {len(plan.new)} new, {len(plan.redo)} to redo, {len(plan.done)} done"
        + (f", {len(plan.remove)} to remove" if plan.remove else "")
    )
    if listing.unknown:
        names = ", ".join(f"{count} {suffix}" for suffix, count in listing.unknown.most_common(5))
        say(f"skipped, unknown file type: {names}")


def sum_up(
    run_id: str,
    prepared: Prepared,
    results: list[dict[str, Any]],
    actors: int,
    wall_seconds: float,
    start_seconds: float,
) -> dict[str, Any]:
    """Summarises a run as one JSON object. `actors` is their minimum number, 0 if none was started."""
    committed = [result for result in results if "failure" not in result]
    audio_seconds = sum(result["audio_seconds"] for result in committed)
    errors = sum((Counter(result["errors"]) for result in committed), Counter[str]())
    characters = sum(result["reference_characters"] for result in committed)
    edits = sum(result["character_errors"] for result in committed)
    recordings, with_error = totals(prepared)
    return {
        "run_id": run_id,
        "units": {"planned": len(results), "skipped": len(prepared.plan.done), "done": len(committed)},
        "recordings": sum(result["recordings"] for result in committed),
        "segments": sum(result["segments"] for result in committed),
        "errors": dict(errors),
        "totals": {"recordings": recordings, "errors": with_error},
        "cer": round(edits / characters, 5) if characters else None,
        "audio_hours": round(audio_seconds / 3600, 4),
        "wall_seconds": round(wall_seconds, 2),
        "start_seconds": round(start_seconds, 2),
        "rtfx": round(audio_seconds / wall_seconds, 2),
        "busy_share": busy_share(committed, actors),
        "output": prepared.output_uri,
    }


def busy_share(committed: list[dict[str, Any]], actors: int) -> float | None:
    """Share of the time from the first piece's arrival at an actor to the last one's end in which the actors were busy.

    On GPUs, busy time is the GPU's own, as measured there. None if nothing was transcribed.
    """
    processed = [each for each in committed if "ended" in each]
    span = max((each["ended"] for each in processed), default=0) - min((each["began"] for each in processed), default=0)
    return round(min(sum(each["busy_seconds"] for each in processed) / (span * actors), 1), 3) if span else None


def close(config: Config, results: list[dict[str, Any]], summary: dict[str, Any]) -> int:
    """Shows the closing tables and returns the exit status."""
    committed = [result for result in results if "failure" not in result]
    show_transcripts([row for result in committed for row in result["transcripts"]])
    failures = [row for result in committed for row in result["failures"]]
    show_failures(failures, sum(summary["errors"].values()))
    rows = [
        ("units", f"{summary['units']['done']} done, {summary['units']['skipped']} skipped"),
        ("recordings", f"{summary['recordings']}, {sum(summary['errors'].values())} with an error"),
        ("segments", summary["segments"]),
        ("in the output", "{recordings} recordings, {errors} with an error".format(**summary["totals"])),
        ("audio", f"{summary['audio_hours']:.3f} h in {summary['wall_seconds']:.1f} s"),
        ("speed", f"{summary['rtfx']:.1f} x real time, start-up included"),
        ("actors busy", "" if summary["busy_share"] is None else f"{summary['busy_share']:.0%} of the time"),
        ("character error rate", "nothing to compare" if summary["cer"] is None else f"{summary['cer']:.2%}"),
        ("output", summary["output"]),
    ]
    show_table("This run", ("", ""), rows)
    failed = [result for result in results if "failure" in result]
    example = {result["failure"]: result["unit"] for result in failed}
    for failure, count in Counter(result["failure"] for result in failed).most_common(5):
        more = f", and {count - 1} more" if count > 1 else ""
        say(f"unit {example[failure]}{more} was not committed: {failure}", "red")
    if failed:
        say(f"{len(failed)} of {len(results)} units failed; run the job again to retry them", "red")
        return FAILED
    output = summary["totals"]
    if output["errors"] > config.errors.max_fraction * output["recordings"]:
        share = output["errors"] / output["recordings"]
        say(f"{share:.1%} of the recordings have an error, more than errors.max_fraction allows", "red")
        return OVER_BUDGET
    return DONE
