"""Lists the runs of an output, and tells what one of them did: its settings, its errors, and why it failed."""

from collections.abc import Iterator, Mapping, Sequence
from functools import partial

from actors.storage import outputs
from jobs.cli.called import how_to_call
from jobs.cli.command import DONE, exit_process, run_job
from jobs.cli.config import Config, ConfigError
from jobs.cli.terminal import print_json, show_table
from jobs.planning.run_files import RunFile
from jobs.running.failing import show_failing
from jobs.running.runs import Run, RunRow, all_runs, changes, previous_with_settings, read_run, read_runs, text_of

EPILOG = """
examples:
  python -m jobs.history configs/demo.yaml
  python -m jobs.history configs/s3.yaml history.limit=100
  python -m jobs.history configs/s3.yaml history.run=last
  python -m jobs.history configs/s3.yaml history.run=12

Reads what runs left below output.uri, and nothing else: neither the input nor the model need to exist any more, and Ray
is not started. A run that was killed is told by its last heartbeat. The newest output.keep_runs runs are kept. All keys
are described in docs/configuration.md. The last line of standard output is one JSON object.
"""
FAILING = ("recording_id", "error_kind", "error_detail")
FAILED_UNITS = ("unit", "reason", "objects", "uri")
PREVIOUS = 20  # runs to look through for the settings before
FACTS = ("version", "commit", "schema", "host", "input", "device", "engine", "precision", "cer", "busy_share", "why")


def main(arguments: list[str] | None = None) -> int:
    return run_job("jobs.history", __doc__, EPILOG, run, arguments)


def run(config: Config) -> int:
    output = config.output.asked_place()
    outputs.check_folders(output)
    files = all_runs(output)
    if not files:
        raise ConfigError(f"output.uri: {output.uri} has no runs; run {how_to_call('transcribe')} first")
    if config.history.run is None:
        print_json({"output": output.uri, "runs_in_all": len(files), "runs": show_runs(config, output.uri, files)})
        return DONE
    number = max(files) if config.history.run == "last" else config.history.run
    if number not in files:
        known = f"{len(files)}, from {min(files)} to {max(files)}"
        raise ConfigError(f"history.run: {output.uri} has no run {config.history.run}; it has {known}")
    print_json({"output": output.uri} | show_run(config, output.uri, files, number))
    return DONE


def show_runs(config: Config, uri: str, files: Mapping[int, Sequence[RunFile]]) -> list[dict[str, object]]:
    """Shows the newest runs; returns them as objects, the newest last."""
    newest = sorted(files)[-config.history.limit :]
    runs = read_runs([files[number] for number in newest], config.output.lease_seconds)
    columns = ("run", "start, UTC", "took", "status", "units", "recordings", "errors", "hours", "speed", "host")
    title, below = f"{len(files)} runs below {uri}", ""
    if len(runs) < len(files):
        title, below = f"the last {len(runs)} of {title}", f"all of them: history.limit={len(files)}"
    show_table(title, columns, map(_cells, runs), below, spare=("host", "speed", "hours", "took", "units"))
    return [{**row} for row in runs]


def _cells(row: RunRow) -> Iterator[object]:
    """The row of a run in the table; what is not known of it stays empty."""
    units, hours = row["units"], row["audio_hours"]
    yield row["run"]
    yield (row["start"] or "")[:16].replace("T", " ")
    yield _duration(row["wall_seconds"])
    yield row["state"] if row["state"] in ("killed", "running") else row["told"]  # when is told of the run alone
    yield "{done}/{planned}".format(**units) if units else ""
    yield "" if row["recordings"] is None else f"{row['recordings']:,}"
    yield "" if row["recordings"] is None else f"{row['errors'] or 0:,}"
    yield "" if hours is None else f"{hours:.2f}"
    yield "" if row["rtfx"] is None else f"{row['rtfx']:.1f}"
    yield row["host"] or ""


def show_run(config: Config, uri: str, files: Mapping[int, Sequence[RunFile]], number: int) -> dict[str, object]:
    """Shows one run; returns it as an object."""
    read = partial(read_run, lease_seconds=config.output.lease_seconds)
    told = read(files[number])
    before = previous_with_settings(files, number, PREVIOUS, read) if told.settings else None
    differing = changes(before, told) if before else []
    failing, failed = told.named("failing", FAILING), told.named("failed_units", FAILED_UNITS)
    show_table(f"Run {number}", ("", ""), list(_facts(told)))
    if before:
        rows = [(phrase,) for phrase in differing] or [("nothing",)]
        show_table(f"What differs from run {before.number}", ("",), rows)
    if failing:
        show_failing(failing, told.row()["errors"] or 0, uri, told.row()["run_id"] or "")
    if failed:
        columns = ("unit", "why", "objects", "the first")
        show_table("Units that were not committed", columns, (row.values() for row in failed), spare=("unit",))
    return {
        "run": told.row(),
        "summary": told.summary,
        "previous": before.number if before else None,
        "differences": differing,
        "failing": failing,
        "failed_units": failed,
    }


def _facts(run: Run) -> Iterator[tuple[str, object]]:
    row = run.row()
    for name in ("run_id", "start", "end", "last_heartbeat"):
        if row[name]:
            yield name.replace("_", " "), row[name]
    yield "took", _duration(row["wall_seconds"])
    yield "status", row["told"]
    units, model, totals = row["units"], run.summary.get("model"), run.summary.get("totals")
    if units:
        yield "units", "{done} of {planned} done, {skipped} skipped".format(**units)
    if row["recordings"] is not None:
        yield "recordings", f"{row['recordings']}, {row['errors'] or 0} with an error"
    if isinstance(totals, dict):
        counts = [text_of(totals.get(name)) or "?" for name in ("recordings", "errors")]
        yield "in the output", f"{counts[0]} recordings, {counts[1]} with an error"
    if row["audio_hours"] is not None:
        yield "audio", f"{row['audio_hours']:.3f} h" + (f", {row['rtfx']:.1f} x real time" if row["rtfx"] else "")
    if isinstance(model, dict):
        known = [text_of(model.get(name)) for name in ("name", "revision", "sha256")]
        yield "model", ", ".join(each for each in known if each)
    for name in FACTS:
        value = run.summary.get(name)
        shown = ", ".join(filter(None, map(text_of, value))) if isinstance(value, list) else text_of(value)
        if shown:
            yield name.replace("_", " "), shown


def _duration(seconds: float | None) -> str:
    """Seconds as `12 s`, `3:04` or `1:02:03`."""
    if seconds is None:
        return ""
    whole = round(seconds)
    minutes, hours = whole // 60 % 60, whole // 3600
    if whole < 60:
        return f"{seconds:.1f} s"
    return f"{hours}:{minutes:02}:{whole % 60:02}" if hours else f"{minutes}:{whole % 60:02}"


if __name__ == "__main__":
    exit_process(main())
