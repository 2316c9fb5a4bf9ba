"""Writes committed transcripts as subtitles, text, JSON lines, NeMo manifests or TextGrids."""

import errno
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import islice

from actors.parts.recordings import Row, are_channels, as_dialogue
from actors.storage.outputs import check_folder, check_folders
from actors.storage.place import Place
from actors.storage.preflight import check_writable
from jobs.cli.command import FAILED, exit_process, run_job
from jobs.cli.config import Config, ConfigError
from jobs.cli.terminal import MAX_EXAMPLES, StatusLine, print_json, say, show_table
from jobs.planning.files import EXPORT_FOLDER
from jobs.transcripts.aligned import references
from jobs.transcripts.exported import ExportedFiles
from jobs.transcripts.failures import Failures
from jobs.transcripts.file_names import FileNames
from jobs.transcripts.formats import FOR_READERS, PER_RECORDING, SUBTITLES, SUFFIXES, Writer, writer_of
from jobs.transcripts.out_files import atomic_file, concerns_one_file, write_below
from jobs.transcripts.read import Transcript, conversations, report_problems, transcripts
from jobs.transcripts.subtitles import SubtitleLayout

EPILOG = """
examples:
  python -m jobs.export configs/demo.yaml
  python -m jobs.export configs/demo.yaml export.format=vtt export.uri=s3://archive/subtitles
  python -m jobs.export configs/demo.yaml export.format=manifest export.min_confidence=0.9
  python -m jobs.export configs/demo.yaml export.format=vtt export.text=text             # as it was heard
  python -m jobs.export configs/demo.yaml export.format=textgrid export.text=reference   # after jobs.align

Formats: srt, vtt, textgrid, text, jsonl, manifest (NeMo's, one line per segment). The first three are one file per
recording, named like the recording; the others are a single file, or with export.files=recording one per recording too.
Where parts have the written form (text.itn), srt, vtt and text have that, and its numbers the times of their words;
textgrid and manifest have the text as it was heard, for training; jsonl has both. export.text=written and
export.text=text ask for one of them in any format. A segment without a written form has its text.
Recordings with an error are counted and left out; one without words has a file without cues. A recording that cannot be
written is named, the others are written, and the exit status is 1. Times are those of the tokens, which output.tokens
keeps unless it is false: then they are spread evenly over each segment, and it is said of how many recordings. Lines
and cues end between words, also of Chinese. Where each recording has a file, that of one that is gone, or left out now,
is removed: only what an export of the same output wrote, nobody changed since, and no other output claims. All keys are
described in docs/configuration.md. The last line of standard output is one JSON object.
"""
CONCURRENT_WRITES = 16  # files
FAILURES_IN_A_ROW = 20  # after which the storage is considered broken
STORAGE_ERRNOS = (errno.ENOSPC, errno.EDQUOT, errno.EROFS)


def main(arguments: list[str] | None = None) -> int:
    return run_job("jobs.export", __doc__, EPILOG, run, arguments)


def run(config: Config) -> int:
    policy = config.export
    is_one_file = policy.files == "one" or (policy.files == "auto" and policy.format not in PER_RECORDING)
    if is_one_file and policy.format in PER_RECORDING:
        raise ConfigError(f"export.files: a {policy.format} file holds one recording; use files=recording")
    target = _target(config)
    is_written = policy.text == "written" or (policy.text == "auto" and policy.format in FOR_READERS)
    writer = writer_of(policy.format, is_one_file, is_written)
    names = tuple(policy.channel_names)
    layout = SubtitleLayout(policy.characters_per_line, policy.lines, policy.min_seconds, policy.max_seconds, names)
    counts, line, problems = Counter[str](), StatusLine(), list[str]()
    invalid, failed = Failures(), Failures()
    is_reference = policy.text == "reference"
    each = references(config, problems, counts) if is_reference else transcripts(config, problems)
    found = conversations(each, are_channels)
    has_times = policy.format in SUBTITLES
    selected = _select(found, policy.min_confidence, counts, invalid, line, has_times)
    suffix = SUFFIXES[policy.format]
    if is_one_file:
        _write_one(target / f"all{suffix}", selected, writer, layout, failed)
    else:
        exported = ExportedFiles(target, suffix, Place.at(config.output.uri, config.output.options()).uri)
        try:
            unwritten = _write_each(target, suffix, selected, writer, layout, failed, exported)
        finally:  # also when it is interrupted: what is written is to be known as its own
            exported.save()
        if not problems and not invalid.count:  # else what is left out may be there all the same
            counts["removed"] = exported.remove_others(unwritten)
    line.clear()
    summary = {
        "format": policy.format,
        "files": 1 if is_one_file else counts["files"] - failed.count,
        "recordings": counts["recordings"],
        "silent": counts["silent"],
        "errors": counts["errors"],
        "skipped": counts["skipped"],
        "unaligned": counts["unaligned"],
        "invalid": invalid.count,
        "failed": failed.count,
        "removed": counts["removed"],
        "spread": counts["spread"],
        "failures": [*failed.to_dicts(), *invalid.to_dicts()][:MAX_EXAMPLES],
        "export": target.uri,
    }
    _show(summary)
    failed.show("recordings that could not be written" if is_one_file else "files that could not be written")
    invalid.show("recordings whose rows cannot be used")
    print_json(summary)
    status = report_problems(problems)
    return FAILED if failed.count else status


def _target(config: Config) -> Place:
    """The folder to write to. Raises UsageError if it cannot be one, or is below the output and is a link."""
    policy = config.export
    options = policy.options() or config.output.options()
    check_folders(config.output.place())
    if policy.uri:
        place = Place.at(policy.uri, options)
        check_writable(place, "export.uri")
        return place
    own = Place.at(config.output.uri, options) / EXPORT_FOLDER
    target = own / (policy.format if policy.text == "auto" else f"{policy.format}-{policy.text}")
    for folder in (own, target):
        check_folder(folder)
    return target


def _show(summary: Mapping[str, object]) -> None:
    rows = [(name, summary[name]) for name in ("format", "files", "recordings", "export")]
    rows += [
        (what, summary[name])
        for name, what in (
            ("silent", "without words"),
            ("errors", "left out, with an error"),
            ("skipped", "left out, of low confidence"),
            ("unaligned", "left out, without an aligned reference"),
            ("invalid", "left out, with impossible rows"),
            ("failed", "not written"),
            ("removed", "removed, of earlier exports"),
        )
        if summary[name] or name in ("silent", "errors")
    ]
    show_table("Exported", ("", ""), rows)
    if spread := summary["spread"]:
        say(
            f"{spread} recordings have no times within their segments, so their words are spread evenly over each of"
            " them: run jobs.transcribe with output.tokens=true, which takes the times from kept emissions"
            " (output.emissions), or else transcribes again",
            "yellow",
        )


def _select(
    candidates: Iterator[Transcript],
    min_confidence: float,
    counts: Counter[str],
    invalid: Failures,
    line: StatusLine,
    has_times: bool,
) -> Iterator[Transcript]:
    """Yields the recordings to write, without those with an error, those with a fault, and segments of low confidence.
    Each channel of a dialogue counts as one. Where words have times, counts those whose words have none of theirs."""
    for transcript in candidates:
        if transcript.fault:
            invalid.add(transcript.first["recording_id"], transcript.fault)
            continue
        transcribed = [each.rows for each in transcript.channels if each.is_transcribed]
        counts["errors"] += len(transcript.channels) - len(transcribed)
        said = [[row for row in rows if _confidence(row) >= min_confidence] for rows in transcribed]
        said = [rows for rows in said if any(row["text"] is not None for row in rows)]
        counts["skipped"] += len(transcribed) - len(said)
        if said:
            counts["recordings"] += len(said)
            counts["silent"] += sum(not any((row["text"] or "").strip() for row in rows) for rows in said)
            counts["files"] += 1
            counts["spread"] += has_times and any(_lacks_times(rows) for rows in said)
            line.say(f"recordings: {counts['recordings']:,} …")
            yield Transcript([*as_dialogue(said)], transcript.is_dialogue)


def _lacks_times(rows: Sequence[Row]) -> bool:
    return any(row["text"] and not row["tokens"] for row in rows)


def _confidence(row: Row) -> float:
    """A segment's confidence. One that no model heard, for nobody speaks there, has none, and is as sure as can be."""
    if row["confidence"] is None:
        return 1.0
    return float(row["confidence"]) if row["confidence"] > 0 else 0.0  # NaN is not


def _write_one(
    place: Place, selected: Iterator[Transcript], writer: Writer, layout: SubtitleLayout, failed: Failures
) -> None:
    """Writes all recordings to one file, as they arrive. Those that cannot be written are added to `failed`."""
    with atomic_file(place) as file:
        for transcript in selected:
            try:
                data = writer(transcript, layout).encode("utf-8", "replace")
            except Exception as problem:  # noqa: BLE001 - of this recording: the file is not touched here
                failed.add(transcript.first["recording_id"], problem)
            else:
                file.write(data)


def _write_each(
    target: Place,
    suffix: str,
    selected: Iterator[Transcript],
    writer: Writer,
    layout: SubtitleLayout,
    failed: Failures,
    exported: ExportedFiles,
) -> set[str]:
    """Writes a file per recording; those that cannot be written are added to `failed`, and their names are returned.
    Raises OSError if the storage itself fails.

    An invalid name, missing permission, or an exception that nobody foresaw concerns one file. A full disk concerns the
    storage, and so does any other error of storage for many files in a row.
    """
    names, in_a_row, unwritten = FileNames(target.path, suffix, taken=[exported.name]), 0, set[str]()

    def write(transcript: Transcript, name: str) -> bytes | Exception:
        try:
            data = writer(transcript, layout).encode("utf-8", "replace")
            write_below(target, name, data)
        except Exception as problem:  # noqa: BLE001 - of this recording, or told apart below
            return problem
        return data

    def named(transcript: Transcript) -> str:
        return names.name(transcript.first["recording_id"], transcript.key)

    with ThreadPoolExecutor(CONCURRENT_WRITES) as pool:
        while batch := [(each, named(each)) for each in islice(selected, 16 * CONCURRENT_WRITES)]:
            for (transcript, name), problem in zip(batch, pool.map(lambda pair: write(*pair), batch), strict=True):
                if isinstance(problem, bytes):
                    in_a_row = 0
                    exported.add(name, problem)
                    continue
                unwritten.add(name)
                if isinstance(problem, OSError) and not concerns_one_file(problem):
                    in_a_row += 1
                    if problem.errno in STORAGE_ERRNOS or in_a_row == FAILURES_IN_A_ROW:
                        raise problem
                failed.add(transcript.first["recording_id"], problem, name)
    return unwritten


if __name__ == "__main__":
    exit_process(main())
