"""Writes committed transcripts as subtitles, text, JSON lines, NeMo manifests or TextGrids."""

import errno
import sys
from collections import Counter
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from itertools import islice
from typing import Any

from actors.storage import files as storage
from actors.storage.outputs import below, check_folder
from jobs.cli.command import FAILED, run_job
from jobs.cli.config import Config, ConfigError, with_secrets
from jobs.cli.terminal import SHOWN, Line, print_json, show_table
from jobs.transcripts.file_names import Names
from jobs.transcripts.formats import PER_RECORDING, SUFFIXES, WRITERS, Writer
from jobs.transcripts.out_files import whole_file, write_below
from jobs.transcripts.read import Transcript, tell_wrong, transcripts
from jobs.transcripts.subtitles import SubtitleLayout

EPILOG = """
examples:
  python -m jobs.export configs/demo.yaml
  python -m jobs.export configs/demo.yaml export.format=vtt export.uri=s3://archive/subtitles
  python -m jobs.export configs/demo.yaml export.format=manifest export.min_confidence=0.9

Formats: srt, vtt, textgrid, text, jsonl, manifest (of NeMo, a line a segment). The first three are a file a recording,
named like the recording; the others are one file, or with export.files=recording likewise. Recordings with an error
are counted and left out. Files that cannot be written are named; the others are, and the status is 1. With
output.tokens=true when they were transcribed, times are those of the tokens, else they are spread over the segment. The
last line of standard output is one JSON object.
"""
EXPORT = "_export"  # below the output, unless export.uri says otherwise
AT_ONCE = 16  # files that are written at the same time
FAILURES_IN_A_ROW = 20  # after which the storage is taken to be out of order
OF_ONE_FILE = (PermissionError, FileNotFoundError, FileExistsError, NotADirectoryError, IsADirectoryError)
ERRNOS_OF_ONE_FILE = (errno.ENAMETOOLONG, errno.EINVAL, errno.EILSEQ, errno.ELOOP, errno.ENOTEMPTY)
ERRNOS_OF_ALL = (errno.ENOSPC, errno.EDQUOT, errno.EROFS)


@dataclass(frozen=True)
class Failed:
    """A file that could not be written."""

    recording_id: str
    file: str
    problem: str


def main(arguments: list[str] | None = None) -> int:
    return run_job("jobs.export", __doc__, EPILOG, run, arguments)


def run(config: Config) -> int:
    policy = config.export
    in_one = policy.files == "one" or (policy.files == "auto" and policy.format not in PER_RECORDING)
    if in_one and policy.format in PER_RECORDING:
        raise ConfigError(f"export.files: a {policy.format} file holds one recording; use files=recording")
    options = with_secrets(policy.storage_options or config.output.storage_options, "export.storage_options")
    filesystem, root = _place(config, options)
    writer = WRITERS[policy.format, in_one]
    layout = SubtitleLayout(policy.characters_per_line, policy.lines, policy.min_seconds, policy.max_seconds)
    counts, line, wrong = Counter[str](), Line(), list[str]()
    chosen = _chosen(transcripts(config, wrong), policy.min_confidence, counts, line)
    failed = list[Failed]()
    if in_one:
        _write_one(filesystem, f"{root}/all{SUFFIXES[policy.format]}", chosen, writer, layout)
    else:
        failed = list(_write_each(filesystem, root, SUFFIXES[policy.format], chosen, writer, layout))
    line.clear()
    summary = {
        "format": policy.format,
        "files": 1 if in_one else counts["recordings"] - len(failed),
        "recordings": counts["recordings"],
        "errors": counts["errors"],
        "failed": len(failed),
        "failures": [asdict(each) for each in failed[:SHOWN]],
        "export": storage.canonical(filesystem, root),
    }
    _show(summary)
    print_json(summary)
    status = tell_wrong(wrong)
    return FAILED if failed else status


def _place(config: Config, options: Mapping[str, Any]) -> tuple[storage.Filesystem, str]:
    """The folder to write to. Raises UsageError where it is the output's own, and a link or no folder."""
    policy = config.export
    if policy.uri:
        return storage.connect(policy.uri, options)
    filesystem, output = storage.connect(config.output.uri, options)
    own = below(output, EXPORT)
    root = below(own, policy.format)
    for folder in (own, root):
        check_folder(filesystem, folder)
    return filesystem, root


def _show(summary: Mapping[str, Any]) -> None:
    rows = [(name, summary[name]) for name in ("format", "files", "recordings", "export")]
    rows += [("left out, with an error", summary["errors"]), ("not written", summary["failed"])]
    show_table("Exported", ("", ""), rows)
    if summary["failures"]:
        title = f"{len(summary['failures'])} of {summary['failed']} files that could not be written"
        show_table(title, ("recording", "file", "what is wrong"), map(Mapping.values, summary["failures"]))


def _chosen(
    found: Iterator[Transcript], min_confidence: float, counts: Counter[str], line: Line
) -> Iterator[Transcript]:
    """The recordings to write: without those that have an error, and segments that are too unsure."""
    for transcript in found:
        if not transcript.is_heard:
            counts["errors"] += 1
            continue
        transcript.rows = [each for each in transcript.rows if (each["confidence"] or 0.0) >= min_confidence]
        if transcript.rows:
            counts["recordings"] += 1
            line.say(f"{counts['recordings']:,} recordings …")
            yield transcript


def _write_one(
    filesystem: storage.Filesystem, path: str, chosen: Iterator[Transcript], writer: Writer, layout: SubtitleLayout
) -> None:
    """One file for all, as they come."""
    with whole_file(filesystem, path) as file:
        for transcript in chosen:
            file.write(writer(transcript, layout).encode("utf-8", "replace"))


def _write_each(
    filesystem: storage.Filesystem,
    root: str,
    suffix: str,
    chosen: Iterator[Transcript],
    writer: Writer,
    layout: SubtitleLayout,
) -> Iterator[Failed]:
    """A file for each; yields those that could not be written. Raises OSError where it is the storage that takes none.

    A name that is refused, or a folder that may not be written, is the file's own trouble. A full disk is not, nor
    whatever else is wrong with many files in a row.
    """
    names, in_a_row = Names(root, suffix), 0

    def write(transcript: Transcript, name: str) -> OSError | None:
        try:
            write_below(filesystem, root, name, writer(transcript, layout).encode("utf-8", "replace"))
        except OSError as problem:
            return problem
        return None

    with ThreadPoolExecutor(AT_ONCE) as pool:
        while some := [(each, names.name(*_key(each))) for each in islice(chosen, 16 * AT_ONCE)]:
            for (transcript, name), problem in zip(some, pool.map(lambda pair: write(*pair), some), strict=True):
                if problem is None:
                    in_a_row = 0
                    continue
                if not isinstance(problem, OF_ONE_FILE) and problem.errno not in ERRNOS_OF_ONE_FILE:
                    in_a_row += 1
                    if problem.errno in ERRNOS_OF_ALL or in_a_row == FAILURES_IN_A_ROW:
                        raise problem
                yield Failed(transcript.first["recording_id"], name, str(problem))


def _key(transcript: Transcript) -> tuple[str, tuple[object, ...]]:
    first = transcript.first
    return first["recording_id"], (first["uri"], first["member"], first["offset_s"])


if __name__ == "__main__":
    sys.exit(main())
