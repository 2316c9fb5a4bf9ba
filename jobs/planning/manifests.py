"""NeMo's JSON-lines manifests, and Kaldi's lists: each line an object of its own, or a word about a tar's member.

Format: https://docs.nvidia.com/nemo-framework/user-guide/latest/nemotoolkit/asr/datasets.html
"""

import os
import re
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

from actors.foreign.escape import escape_surrogates
from actors.foreign.plain_json import InvalidJson, parse_json
from actors.schema import ErrorKind, RecordingError
from actors.storage import files as storage
from actors.units import SourceObject, digest
from jobs.planning import kaldi
from jobs.planning.containment import Inside
from jobs.planning.files import WAV_SCP, File
from jobs.planning.lists import Bad, Line, Lists

MAX_SECONDS = 1e7  # four months: no offset or duration is more
MAX_BAD_ENTRIES = (
    1_000  # entries of a list that have a row each for being wrong; what is no list at all may have millions
)


def manifest_objects(
    manifest: File, listed: dict[str, SourceObject], lists: Lists, inside: Inside, options: dict[str, Any]
) -> Iterator[SourceObject]:
    """The objects of a manifest's lines: stretches of audio files, and those tars of `listed` that lines speak of.

    A line that is wrong, or that points out of the input and the allowed roots, becomes an object with a refusal, and
    so a row; of very many that are wrong the last row says how many more there are.
    """
    is_kaldi = os.path.basename(manifest.path) == WAV_SCP
    folder = (manifest.filesystem, os.path.dirname(manifest.path))
    shards, lines_of, wrong = _shards_near(manifest, listed), dict[str, list[str]](), 0
    for found in kaldi.as_manifest(manifest, lists, inside) if is_kaldi else _lines(manifest, lists):
        try:
            if isinstance(found, Bad):
                raise found.problem
            fields = _parse(found.text)
            place = inside.locate(fields["audio_filepath"], folder, options)
        except RecordingError as problem:
            wrong += 1
            if wrong <= MAX_BAD_ENTRIES:
                yield _refused(manifest, found, problem)
            continue
        if "shard_id" in fields and str(fields["shard_id"]) in shards:
            lines_of.setdefault(shards[str(fields["shard_id"])], []).append(found.text)
        else:
            yield _line_object(found.text, fields, place, listed, inside.refuses(place, fields["audio_filepath"]))
    for uri, lines in lines_of.items():
        text = "\n".join(lines)
        yield replace(listed[uri], lines=text, text_version=digest([text]))
    if wrong > MAX_BAD_ENTRIES:
        detail = f"{wrong - MAX_BAD_ENTRIES:,} more entries are wrong, besides the first {MAX_BAD_ENTRIES:,}"
        rest = Bad(f"{manifest.name}: others", RecordingError(ErrorKind.BAD_ENTRY, detail))
        yield _refused(manifest, rest, rest.problem)


def _lines(manifest: File, lists: Lists) -> Iterator[Line | Bad]:
    """The lines of a manifest that are not empty."""
    try:
        for number, line in enumerate(lists.lines(manifest.filesystem, manifest.path), 1):
            if isinstance(line, RecordingError):
                yield Bad(f"{manifest.name}:{number}", line)
            elif line.strip():
                yield Line(f"{manifest.name}:{number}", line)
    except FileNotFoundError:
        yield Bad(manifest.name, RecordingError(ErrorKind.MISSING, "it went while the input was listed"))
    except RecordingError as problem:
        yield Bad(manifest.name, problem)


def _parse(line: str) -> dict[str, Any]:
    """A line's fields. Raises RecordingError (bad_entry) where they cannot be used."""
    try:
        fields = parse_json(line)
    except InvalidJson:
        raise RecordingError(ErrorKind.BAD_ENTRY, f"not JSON: {line[:120]}") from None
    written = fields.get("audio_filepath") if isinstance(fields, dict) else None
    if not isinstance(written, str) or not written:
        raise RecordingError(ErrorKind.BAD_ENTRY, f"no audio_filepath: {line[:120]}")
    if written.rstrip().endswith("|"):
        raise RecordingError(ErrorKind.BAD_ENTRY, f"a command is not run, name a file instead: {written[:120]}")
    for name in ("offset", "duration"):
        value = fields.get(name)
        if value is not None and not (type(value) in (int, float) and 0 <= value < MAX_SECONDS):
            detail = f"{name} must be a number of seconds, not {str(value)[:40]!r}"
            raise RecordingError(ErrorKind.BAD_ENTRY, detail)
    return dict(fields)


def _refused(manifest: File, found: Line | Bad, problem: RecordingError) -> SourceObject:
    """The object that stands for a line which names nothing that may be read."""
    key = f"{manifest.uri}#{digest([found.text or found.here])}"
    refusal = (str(problem.kind), problem.detail)
    return SourceObject(key, manifest.uri, found.here, "manifest", None, 0, lines="{}", refusal=refusal)


def _line_object(
    line: str,
    fields: dict[str, Any],
    place: tuple[storage.Filesystem, str],
    listed: dict[str, SourceObject],
    refused: RecordingError | None,
) -> SourceObject:
    written, uri = fields["audio_filepath"], storage.canonical(*place)
    name = str(next((fields[key] for key in ("id", "utt_id", "recording_id") if fields.get(key)), written))
    file = listed.get(uri)
    offset, duration = fields.get("offset") or 0.0, fields.get("duration")
    return SourceObject(
        key=escape_surrogates(f"{uri}#{offset}+{duration}"),
        uri=uri,
        name=name,
        format="manifest",
        etag=file.etag if file else None,
        size=file.size if file else 0,
        lines=line,
        text_version=digest([line]),
        refusal=(str(refused.kind), refused.detail) if refused else None,
    )


def _shards_near(manifest: File, listed: dict[str, SourceObject]) -> dict[str, str]:
    """Tar shards by number, the last in their name: those beside the manifest or one folder up, else all listed."""
    tars = [each for each in listed.values() if each.format == "tar"]
    folder = os.path.dirname(manifest.uri)
    near = [each for each in tars if os.path.dirname(each.uri) in (folder, os.path.dirname(folder))]
    numbered = [(re.findall(r"\d+", os.path.basename(each.uri).split(".")[0]), each.uri) for each in near or tars]
    return {str(int(numbers[-1])): uri for numbers, uri in numbered if numbers}
