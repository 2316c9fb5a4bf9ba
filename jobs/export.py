"""Writes committed transcripts as subtitles, text, JSON lines, NeMo manifests or TextGrids."""

import hashlib
import json
import sys
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import islice

from actors import storage
from jobs.command_line import run_job
from jobs.config import Config, ConfigError, with_secrets
from jobs.cues import Layout
from jobs.formats import PER_RECORDING, SUFFIXES, WRITERS, Writer
from jobs.report import Line, show_table
from jobs.transcripts import Transcript, tell_wrong, transcripts

EPILOG = """
examples:
  python -m jobs.export configs/demo.yaml
  python -m jobs.export configs/demo.yaml export.format=vtt export.uri=s3://archive/subtitles
  python -m jobs.export configs/demo.yaml export.format=manifest export.min_confidence=0.9

Formats: srt, vtt, textgrid, text, jsonl, manifest (of NeMo, a line a segment). The first three are a file a recording,
named like the recording; the others are one file, or with export.files=recording likewise. Recordings with an error
are counted and left out. With output.tokens=true when they were transcribed, times are those of the tokens, else they
are spread over the segment. The last line of standard output is one JSON object.
"""
AT_ONCE = 16  # files that are written at the same time
LONGEST_NAME = 180  # bytes of a file's name


def main(arguments: list[str] | None = None) -> int:
    return run_job("jobs.export", __doc__, EPILOG, run, arguments)


def run(config: Config) -> int:
    wishes = config.export
    in_one = wishes.files == "one" or (wishes.files == "auto" and wishes.format not in PER_RECORDING)
    if in_one and wishes.format in PER_RECORDING:
        raise ConfigError(f"export.files: a {wishes.format} file holds one recording; use files=recording")
    options = with_secrets(wishes.storage_options or config.output.storage_options, "export.storage_options")
    uri = wishes.uri or f"{config.output.uri.rstrip('/')}/_export/{wishes.format}"
    filesystem, root = storage.connect(uri, options)
    writer = WRITERS[wishes.format, in_one]
    layout = Layout(wishes.characters_per_line, wishes.lines, wishes.min_seconds, wishes.max_seconds)
    counts, line, wrong = Counter[str](), Line(), list[str]()
    chosen = _chosen(transcripts(config, wrong), wishes.min_confidence, counts, line)
    if in_one:
        _write_one(filesystem, f"{root}/all{SUFFIXES[wishes.format]}", chosen, writer, layout)
    else:
        _write_each(filesystem, root, SUFFIXES[wishes.format], chosen, writer, layout)
    line.clear()
    summary = {
        "format": wishes.format,
        "files": 1 if in_one else counts["recordings"],
        "recordings": counts["recordings"],
        "errors": counts["errors"],
        "export": storage.canonical(filesystem, root),
    }
    rows = [(name, value) for name, value in summary.items() if name != "errors"]
    show_table("Exported", ("", ""), [*rows, ("left out, with an error", counts["errors"])])
    print(json.dumps(summary, ensure_ascii=False), flush=True)
    return tell_wrong(wrong)


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
    filesystem: storage.Filesystem, path: str, chosen: Iterator[Transcript], writer: Writer, layout: Layout
) -> None:
    """One file for all, as they come: it is there once it is whole."""
    if storage.is_local(filesystem):
        filesystem.makedirs(path.rpartition("/")[0], exist_ok=True)
    with filesystem.transaction, filesystem.open(path, "wb") as file:
        for transcript in chosen:
            file.write(writer(transcript, layout).encode("utf-8", "replace"))


def _write_each(
    filesystem: storage.Filesystem, root: str, suffix: str, chosen: Iterator[Transcript], writer: Writer, layout: Layout
) -> None:
    taken = set[str]()

    def write(transcript: Transcript, name: str) -> None:
        storage.write(filesystem, f"{root}/{name}", writer(transcript, layout).encode("utf-8", "replace"))

    with ThreadPoolExecutor(AT_ONCE) as pool:
        while some := [(each, file_name(each, suffix, taken)) for each in islice(chosen, 16 * AT_ONCE)]:
            list(pool.map(lambda pair: write(*pair), some))


def file_name(transcript: Transcript, suffix: str, taken: set[str]) -> str:
    """A recording's path below the export, without a way out of it; two that would have one name are told apart."""
    parts = [_safe(part) for part in transcript.first["recording_id"].split("/") if part not in ("", ".", "..")]
    *folders, base = parts or ["recording"]
    base = base.rsplit(".", 1)[0] or base
    name = "/".join([*folders, base])
    if name.lower() in taken or len(base.encode()) > LONGEST_NAME:
        key = repr([transcript.first[each] for each in ("uri", "member", "offset_s")])
        mark = hashlib.sha256(key.encode("utf-8", "replace")).hexdigest()[:8]
        name = "/".join([*folders, f"{base.encode()[:LONGEST_NAME].decode('utf-8', 'ignore')}.{mark}"])
    taken.add(name.lower())
    return name + suffix


def _safe(part: str) -> str:
    """A part of a path without characters that some storage or shell takes ill."""
    return "".join("_" if char in '\\:*?"<>|' or not char.isprintable() else char for char in part).strip() or "_"


if __name__ == "__main__":
    sys.exit(main())
