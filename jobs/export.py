"""Writes committed transcripts as subtitles, text, JSON lines, NeMo manifests or TextGrids."""

import errno
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, astuple, dataclass
from itertools import islice

from actors.parts.recordings import are_channels, as_dialogue
from actors.storage.outputs import check_folder
from actors.storage.place import Place
from jobs.cli.command import FAILED, exit_process, run_job
from jobs.cli.config import Config, ConfigError
from jobs.cli.terminal import MAX_EXAMPLES, StatusLine, print_json, show_table
from jobs.planning.files import EXPORT_FOLDER
from jobs.transcripts.file_names import FileNames
from jobs.transcripts.formats import PER_RECORDING, SUFFIXES, WRITERS, Writer
from jobs.transcripts.out_files import atomic_file, write_below
from jobs.transcripts.read import Transcript, conversations, report_problems, transcripts
from jobs.transcripts.subtitles import SubtitleLayout

EPILOG = """
examples:
  python -m jobs.export configs/demo.yaml
  python -m jobs.export configs/demo.yaml export.format=vtt export.uri=s3://archive/subtitles
  python -m jobs.export configs/demo.yaml export.format=manifest export.min_confidence=0.9

Formats: srt, vtt, textgrid, text, jsonl, manifest (NeMo's, one line per segment). The first three are one file per
recording, named like the recording; the others are a single file, or with export.files=recording one per recording too.
Recordings with an error are counted and left out. Files that cannot be written are listed; the rest is written, and the
exit status is 1. Times are those of the tokens if the audio was transcribed with output.tokens=true, else they are
spread evenly over the segment. All keys are described in docs/configuration.md. The last line of standard output is one
JSON object.
"""
CONCURRENT_WRITES = 16  # files
FAILURES_IN_A_ROW = 20  # after which the storage is considered broken
FILE_ERRORS = (PermissionError, FileNotFoundError, FileExistsError, NotADirectoryError, IsADirectoryError)
FILE_ERRNOS = (errno.ENAMETOOLONG, errno.EINVAL, errno.EILSEQ, errno.ELOOP, errno.ENOTEMPTY)
STORAGE_ERRNOS = (errno.ENOSPC, errno.EDQUOT, errno.EROFS)


@dataclass(frozen=True)
class FailedFile:
    """A file that could not be written."""

    recording_id: str
    file: str
    problem: str


def main(arguments: list[str] | None = None) -> int:
    return run_job("jobs.export", __doc__, EPILOG, run, arguments)


def run(config: Config) -> int:
    policy = config.export
    is_one_file = policy.files == "one" or (policy.files == "auto" and policy.format not in PER_RECORDING)
    if is_one_file and policy.format in PER_RECORDING:
        raise ConfigError(f"export.files: a {policy.format} file holds one recording; use files=recording")
    target = _target(config)
    writer = WRITERS[policy.format, is_one_file]
    names = tuple(policy.channel_names)
    layout = SubtitleLayout(policy.characters_per_line, policy.lines, policy.min_seconds, policy.max_seconds, names)
    counts, line, problems = Counter[str](), StatusLine(), list[str]()
    found = conversations(transcripts(config, problems), are_channels)
    selected = _select(found, policy.min_confidence, counts, line)
    failed = list[FailedFile]()
    if is_one_file:
        _write_one(target / f"all{SUFFIXES[policy.format]}", selected, writer, layout)
    else:
        failed = list(_write_each(target, SUFFIXES[policy.format], selected, writer, layout))
    line.clear()
    summary = {
        "format": policy.format,
        "files": 1 if is_one_file else counts["files"] - len(failed),
        "recordings": counts["recordings"],
        "errors": counts["errors"],
        "failed": len(failed),
        "failures": [asdict(each) for each in failed[:MAX_EXAMPLES]],
        "export": target.uri,
    }
    _show(summary, failed[:MAX_EXAMPLES])
    print_json(summary)
    status = report_problems(problems)
    return FAILED if failed else status


def _target(config: Config) -> Place:
    """The folder to write to. Raises UsageError if it is below the output and is a link or not a folder."""
    policy = config.export
    options = policy.options() or config.output.options()
    if policy.uri:
        return Place.at(policy.uri, options)
    own = Place.at(config.output.uri, options) / EXPORT_FOLDER
    target = own / policy.format
    for folder in (own, target):
        check_folder(folder)
    return target


def _show(summary: Mapping[str, object], failures: Sequence[FailedFile]) -> None:
    rows = [(name, summary[name]) for name in ("format", "files", "recordings", "export")]
    rows += [("left out, with an error", summary["errors"]), ("not written", summary["failed"])]
    show_table("Exported", ("", ""), rows)
    if failures:
        title = f"{len(failures)} of {summary['failed']} files that could not be written"
        show_table(title, ("recording", "file", "what is wrong"), map(astuple, failures))


def _select(
    candidates: Iterator[Transcript], min_confidence: float, counts: Counter[str], line: StatusLine
) -> Iterator[Transcript]:
    """Yields the recordings to write, without those with an error, and without segments of low confidence. Each channel
    of a dialogue counts as one."""
    for transcript in candidates:
        said = [each.rows for each in transcript.channels if each.is_transcribed]
        counts["errors"] += len(transcript.channels) - len(said)
        said = [[row for row in rows if (row["confidence"] or 0.0) >= min_confidence] for rows in said]
        said = [rows for rows in said if rows]
        if said:
            counts["recordings"] += len(said)
            counts["files"] += 1
            line.say(f"{counts['recordings']:,} recordings …")
            yield Transcript([*as_dialogue(said)], transcript.is_dialogue)


def _write_one(place: Place, selected: Iterator[Transcript], writer: Writer, layout: SubtitleLayout) -> None:
    """Writes all recordings to one file, as they arrive."""
    with atomic_file(place) as file:
        for transcript in selected:
            file.write(writer(transcript, layout).encode("utf-8", "replace"))


def _write_each(
    target: Place, suffix: str, selected: Iterator[Transcript], writer: Writer, layout: SubtitleLayout
) -> Iterator[FailedFile]:
    """Writes a file per recording; yields those that could not be written. Raises OSError if the storage itself fails.

    An invalid name or missing permission concerns one file. A full disk concerns the storage, and so does any other
    error of many files in a row.
    """
    names, in_a_row = FileNames(target.path, suffix), 0

    def write(transcript: Transcript, name: str) -> OSError | None:
        try:
            write_below(target, name, writer(transcript, layout).encode("utf-8", "replace"))
        except OSError as problem:
            return problem
        return None

    def named(transcript: Transcript) -> str:
        return names.name(transcript.first["recording_id"], transcript.key)

    with ThreadPoolExecutor(CONCURRENT_WRITES) as pool:
        while batch := [(each, named(each)) for each in islice(selected, 16 * CONCURRENT_WRITES)]:
            for (transcript, name), problem in zip(batch, pool.map(lambda pair: write(*pair), batch), strict=True):
                if problem is None:
                    in_a_row = 0
                    continue
                if not isinstance(problem, FILE_ERRORS) and problem.errno not in FILE_ERRNOS:
                    in_a_row += 1
                    if problem.errno in STORAGE_ERRNOS or in_a_row == FAILURES_IN_A_ROW:
                        raise problem
                yield FailedFile(transcript.first["recording_id"], name, str(problem))


if __name__ == "__main__":
    exit_process(main())
