"""Reads NeMo's JSON-lines manifests and Kaldi's lists. Each line is an object, or describes a member of a tar shard.

Format: https://docs.nvidia.com/nemo-framework/user-guide/latest/nemotoolkit/asr/datasets.html
"""

import os
import re
from collections.abc import Iterator, Mapping
from dataclasses import replace

from actors.foreign.escape import escape_surrogates
from actors.foreign.plain_json import InvalidJson, parse_json
from actors.schema import ErrorKind, RecordingError
from actors.storage.place import Place
from actors.storage.urls import without_signatures
from actors.units import SourceObject, digest
from jobs.planning import kaldi
from jobs.planning.containment import AllowedFolders
from jobs.planning.files import WAV_SCP, File
from jobs.planning.lists import BadEntry, Line, ListReader

MAX_SECONDS = 1e7  # four months; limit of an offset or duration
MAX_BAD_ENTRIES = 1_000  # that get a row each; a file that is no list at all may have millions


def manifest_objects(
    manifest: File,
    listed: dict[str, SourceObject],
    reader: ListReader,
    allowed: AllowedFolders,
    options: Mapping[str, object],
) -> Iterator[SourceObject]:
    """Yields the objects of a manifest: audio files or stretches of them, and tar shards of `listed` with their lines.

    A line that is malformed, or names a file outside the input and the allowed roots, becomes an object with a refusal,
    and so a row with an error. Beyond MAX_BAD_ENTRIES, one last object gives the number of the rest.
    """
    is_kaldi, folder = manifest.place.name == WAV_SCP, manifest.place.parent
    shards, shard_lines, bad_entries = _shards_by_number(manifest, listed), dict[str, list[str]](), 0
    for found in kaldi.as_manifest(manifest, reader, allowed) if is_kaldi else _lines(manifest, reader):
        try:
            if isinstance(found, BadEntry):
                raise found.problem
            filepath, fields = _parse(found.text)
            place = allowed.locate(filepath, folder, options)
        except RecordingError as problem:
            bad_entries += 1
            if bad_entries <= MAX_BAD_ENTRIES:
                yield _refused_object(manifest, found, problem)
            continue
        if "shard_id" in fields and str(fields["shard_id"]) in shards:
            shard_lines.setdefault(shards[str(fields["shard_id"])], []).append(found.text)
        else:
            yield _line_object(found.text, filepath, fields, place, listed, allowed.refusal(place, filepath))
    for uri, lines in shard_lines.items():
        text = "\n".join(lines)
        yield replace(listed[uri], lines=text, text_version=digest([text]))
    if bad_entries > MAX_BAD_ENTRIES:
        detail = f"{bad_entries - MAX_BAD_ENTRIES:,} more entries are bad, besides the first {MAX_BAD_ENTRIES:,}"
        rest = BadEntry(f"{manifest.name}: others", RecordingError(ErrorKind.BAD_ENTRY, detail))
        yield _refused_object(manifest, rest, rest.problem)


def _lines(manifest: File, reader: ListReader) -> Iterator[Line | BadEntry]:
    """Yields the non-empty lines of a manifest."""
    try:
        for number, line in enumerate(reader.lines(manifest.place), 1):
            if isinstance(line, RecordingError):
                yield BadEntry(f"{manifest.name}:{number}", line)
            elif line.strip():
                yield Line(f"{manifest.name}:{number}", line)
    except FileNotFoundError:
        yield BadEntry(manifest.name, RecordingError(ErrorKind.MISSING, "it was deleted while the input was listed"))
    except RecordingError as problem:
        yield BadEntry(manifest.name, problem)


def _parse(line: str) -> tuple[str, dict[str, object]]:
    """Parses a line: the file that it names, and all its fields. Raises RecordingError (bad_entry) if its fields cannot
    be used."""
    try:
        fields = parse_json(line)
    except InvalidJson:
        raise RecordingError(ErrorKind.BAD_ENTRY, f"not JSON: {line[:120]}") from None
    if not isinstance(fields, dict) or not isinstance(filepath := fields.get("audio_filepath"), str) or not filepath:
        raise RecordingError(ErrorKind.BAD_ENTRY, f"no audio_filepath: {line[:120]}")
    if filepath.rstrip().endswith("|"):
        raise RecordingError(ErrorKind.BAD_ENTRY, f"commands are not run; name a file instead: {filepath[:120]}")
    for name in ("offset", "duration"):
        value = fields.get(name)
        if value is not None and not (type(value) in (int, float) and 0 <= value < MAX_SECONDS):
            detail = f"{name} must be a number of seconds, not {str(value)[:40]!r}"
            raise RecordingError(ErrorKind.BAD_ENTRY, detail)
    return filepath, fields


def _refused_object(manifest: File, found: Line | BadEntry, problem: RecordingError) -> SourceObject:
    """An object in place of a line that cannot be used."""
    key = f"{manifest.uri}#{digest([found.text or found.location])}"
    refusal = (str(problem.kind), without_signatures(problem.detail))
    return SourceObject(key, manifest.uri, found.location, "manifest", None, 0, lines="{}", refusal=refusal)


def _line_object(
    line: str,
    filepath: str,
    fields: dict[str, object],
    place: Place,
    listed: dict[str, SourceObject],
    refusal: RecordingError | None,
) -> SourceObject:
    uri = place.uri
    named = (fields[key] for key in ("id", "utt_id", "recording_id") if fields.get(key))
    name = str(next(named, without_signatures(filepath)))
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
        text_version=digest([without_signatures(line)]),
        refusal=(str(refusal.kind), without_signatures(refusal.detail)) if refusal else None,
    )


def _shards_by_number(manifest: File, listed: dict[str, SourceObject]) -> dict[str, str]:
    """Tar shards by the last number in their name: those in the manifest's folder or its parent, else all listed."""
    tars = [each for each in listed.values() if each.format == "tar"]
    folder = os.path.dirname(manifest.uri)
    near = [each for each in tars if os.path.dirname(each.uri) in (folder, os.path.dirname(folder))]
    numbered = [(re.findall(r"\d+", os.path.basename(each.uri).split(".")[0]), each.uri) for each in near or tars]
    return {str(int(numbers[-1])): uri for numbers, uri in numbered if numbers}
