"""Shows what a run would do: files, objects and units, how long it takes, what bounds it, and what it costs."""

from collections import Counter, defaultdict
from functools import partial
from typing import TypedDict

from actors.pieces import cut_unit
from jobs.cli.command import DONE, exit_process, run_job
from jobs.cli.config import Config
from jobs.cli.terminal import print_json, say, show_table
from jobs.planning.account import FileCounts
from jobs.planning.forecast_words import ForecastTold
from jobs.planning.gone import Gone, count_gone, gone_sentence
from jobs.planning.plan_list import Written, list_place, listed_in, write_list
from jobs.planning.prepare import Prepared, prepare
from jobs.running.connect import check_address, find_devices
from jobs.running.forecasting import show_forecast
from jobs.transcripts.out_files import atomic_file

EPILOG = """
examples:
  python -m jobs.plan configs/demo.yaml
  python -m jobs.plan configs/s3.yaml input.uri=s3://archive/2026/ input.sample=10
  python -m jobs.plan configs/local.yaml plan.list=/data/plan.parquet

Lists the input and reads the state of the output; Ray is not started, and nothing is written but plan.list, a Parquet
or CSV file with the verdict on every object. input.sample=10 takes ten recordings, spread over the archive. Hours are
taken from manifests, or estimated from sizes and the headers of at most 200 of the objects to be transcribed; no other
audio is opened. All keys are described in docs/configuration.md. The last line of standard output is one JSON object.
"""

MAX_REASONS = 30  # shown, of those why units are done or not


def main(arguments: list[str] | None = None) -> int:
    return run_job("jobs.plan", __doc__, EPILOG, run, arguments)


def run(config: Config) -> int:
    place = list_place(config)
    devices, address = partial(find_devices, config), partial(check_address, config)
    prepared = prepare(config, devices, address, keeps_files=place is not None)
    summary = describe(prepared)
    if place is not None:
        with atomic_file(place) as file:
            summary["list"] = write_list(file, place, prepared)
    show(config, summary)
    if written := summary["list"]:
        say(listed_in(written))
    if gone := gone_sentence(summary["no_longer_listed"]):
        say(gone)
    if advice := prepared.plan.advice:
        say(advice, "yellow")
    for note in prepared.notes:
        say(note, "yellow")
    summary["forecast"] = show_forecast(config, prepared, summary["pieces"])
    print_json(summary)
    return DONE


class UnitCounts(TypedDict):
    new: int
    redo: int
    done: int
    remove: int


class RedoneFrom(TypedDict):
    """Units to redo, by what they are made of: rows of their part, kept emissions, or audio."""

    rows: int
    emissions: int
    audio: int


class AskedCounts(TypedDict):
    """What input.redo has done again: units, and the recordings committed in them."""

    units: int
    recordings: int


class RemovedCounts(TypedDict):
    """Objects whose rows are removed, because they are no longer listed, and because they are excluded."""

    deleted: int
    excluded: int


class Summary(TypedDict):
    """The JSON object of a plan. `reasons` counts units by verdict and reason, the most frequent ones;
    `without_emissions` those that are transcribed again only because no emissions were kept to decode their text
    from."""

    objects: dict[str, int]
    bytes: dict[str, int]
    estimated_hours: dict[str, float]
    units: UnitCounts
    redone_from: RedoneFrom
    without_emissions: int
    reasons: dict[str, dict[str, int]]
    asked: AskedCounts
    removed: RemovedCounts
    no_longer_listed: Gone
    pieces: int
    estimated_hours_to_do: float
    forecast: ForecastTold | None
    files: FileCounts
    repeated_lines: int
    device: str
    precision: str
    model_sha256: str
    decoding: str
    written: str
    output: str
    list: Written | None


def describe(prepared: Prepared) -> Summary:
    """Summarises a plan in numbers."""
    counts, sizes, hours = Counter[str](), Counter[str](), defaultdict[str, float](float)
    plan, estimate = prepared.plan, prepared.plan.estimate
    for kind, _, size in {(each.format, each.uri, each.size) for each in prepared.listing.objects}:
        sizes[kind] += size  # a file counts once, however many manifest lines refer to it
    for each in prepared.listing.objects:
        counts[each.format] += 1
        hours[each.format] += estimate(each) / 3600
    to_do = sum(estimate(each) for unit in plan.units for each in unit.objects) / 3600
    reasons = defaultdict[str, dict[str, int]](dict)
    for verdict, count in Counter(plan.verdicts.values()).most_common(MAX_REASONS):
        reasons[verdict.kind][verdict.reason] = count
    return {
        "objects": dict(counts),
        "bytes": dict(sizes),
        "estimated_hours": {name: round(value, 3) for name, value in hours.items()},
        "units": {
            "new": len(plan.new),
            "redo": len(plan.redo) + len(plan.rewrite),
            "done": len(plan.done),
            "remove": len(plan.remove),
        },
        "redone_from": {
            "rows": plan.redone_from["rows"],
            "emissions": plan.redone_from["emissions"],
            "audio": plan.redone_from["audio"],
        },
        "without_emissions": plan.without_emissions,
        "reasons": dict(reasons),
        "asked": {"units": len(plan.asked), "recordings": plan.asked_recordings},
        "removed": {"deleted": plan.deleted, "excluded": plan.excluded},
        "no_longer_listed": count_gone(plan.changes, prepared.listing.roots),
        "pieces": sum(len(cut_unit(unit, prepared.cut_of(unit))) for unit in plan.units),
        "estimated_hours_to_do": round(to_do, 3),
        "forecast": None,
        "files": prepared.listing.files.counts(),
        "repeated_lines": prepared.listing.repeated,
        "device": prepared.recipe.device,
        "precision": prepared.recipe.precision,
        "model_sha256": prepared.recipe.model.sha256,
        "decoding": prepared.recipe.decoding.described,
        "written": prepared.recipe.text.described,
        "output": prepared.output_uri,
        "list": None,
    }


def show(config: Config, summary: Summary) -> None:
    rows = [
        (name, count, f"{summary['bytes'][name] / 1e9:.3f}", f"{summary['estimated_hours'][name]:.2f}")
        for name, count in sorted(summary["objects"].items())
    ]
    files = summary["files"]
    taken = [("read", files["read"]), ("companions", files["companions"]), ("spoken of", files["spoken_of"])]
    skipped = [(f"skipped: {reason}", count) for reason, count in files["skipped"].items()]
    show_table("Files", ("", "files"), [("listed", files["listed"]), *taken, *skipped])
    show_table("Listed", ("format", "objects", "GB", "hours, estimated"), rows)
    reasons = [(kind, why, count) for kind, counts in summary["reasons"].items() for why, count in counts.items()]
    show_table("Units", ("verdict", "because", "units"), reasons)
    facts = [
        ("units", "{new} new, {redo} to redo, {done} done, {remove} to remove".format(**summary["units"])),
        ("redone from", "{rows} rows, {emissions} emissions, {audio} audio".format(**summary["redone_from"])),
        ("done again by input.redo", "{units} units, {recordings} recordings".format(**summary["asked"])),
        ("objects to remove", "{deleted} no longer listed, {excluded} excluded".format(**summary["removed"])),
        ("pieces", summary["pieces"]),
        ("to transcribe, estimated", f"{summary['estimated_hours_to_do']:.2f} h"),
        ("device", f"{summary['device']}, in {summary['precision']}"),
        ("model", f"{config.model.name} ({summary['model_sha256'][:12]}…)"),
        ("decoding", summary["decoding"]),
        ("written form", summary["written"]),
        ("output", summary["output"]),
    ]
    show_table("Plan", ("", ""), facts)


if __name__ == "__main__":
    exit_process(main())
