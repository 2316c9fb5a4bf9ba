"""NeMo's JSON-lines manifests, and Kaldi's lists: each line an object of its own, or a word about a tar's member.

Format: https://docs.nvidia.com/nemo-framework/user-guide/latest/nemotoolkit/asr/datasets.html
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterator
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from actors import storage
from actors.schema import ErrorKind, RecordingError, UsageError
from actors.units import SourceObject, digest, printable
from jobs import kaldi

if TYPE_CHECKING:
    from jobs.listing import File

MAX_SECONDS = 1e7  # four months: no offset or duration is more


def manifest_objects(
    manifest: File, listed: dict[str, SourceObject], allowed_roots: list[str], options: dict[str, Any]
) -> Iterator[SourceObject]:
    """The objects of a manifest's lines: stretches of audio files, and those tars of `listed` that lines speak of.

    A line that is wrong, or that points out of the manifest's folder and the allowed roots, becomes an object with a
    refusal, and so a row.
    """
    is_kaldi = os.path.basename(manifest.path) == kaldi.LIST
    lines = kaldi.as_manifest(manifest) if is_kaldi else _lines(manifest)
    own_folder = (manifest.filesystem, os.path.dirname(manifest.path))
    roots = [
        _real_uri(*place) + "/" for place in (own_folder, *(storage.connect(root, options) for root in allowed_roots))
    ]
    shards = _shards_near(manifest, listed)
    lines_of = dict[str, list[str]]()
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        try:
            fields = _parse(line)
            place = _locate(fields["audio_filepath"], manifest, options)
        except RecordingError as problem:
            here, key = f"{manifest.name}:{number}", f"{manifest.uri}#{digest([line])}"
            refusal = (str(problem.kind), problem.detail)
            yield SourceObject(key, manifest.uri, here, "manifest", None, 0, lines="{}", refusal=refusal)
            continue
        if "shard_id" in fields and str(fields["shard_id"]) in shards:
            lines_of.setdefault(shards[str(fields["shard_id"])], []).append(line)
        else:
            yield _line_object(line, fields, place, listed, roots)
    for uri, lines in lines_of.items():
        text = "\n".join(lines)
        yield replace(listed[uri], lines=text, text_version=digest([text]))


def _lines(manifest: File) -> list[str]:
    return storage.read(manifest.filesystem, manifest.path).decode("utf-8-sig", "replace").splitlines()


def _parse(line: str) -> dict[str, Any]:
    """A line's fields. Raises RecordingError (bad_entry) where they cannot be used."""
    try:
        fields = json.loads(line)
    except (ValueError, RecursionError):
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


def _locate(written: str, manifest: File, options: dict[str, Any]) -> tuple[storage.Filesystem, str]:
    """Where an audio_filepath lies: a URL, or a path from the manifest's folder. Raises RecordingError (bad_entry)."""
    try:
        if b"\0" in os.fsencode(written):
            raise UsageError("a file's name holds no zero bytes")
        filesystem, path = storage.connect(written, options)
    except (UsageError, UnicodeEncodeError) as problem:  # no such protocol, a chain of URLs, or no name of a file
        raise RecordingError(ErrorKind.BAD_ENTRY, f"audio_filepath: {problem}") from None
    if "://" not in written:
        filesystem, path = manifest.filesystem, os.path.join(os.path.dirname(manifest.path), written)
    return filesystem, os.path.normpath(path)


def _line_object(
    line: str,
    fields: dict[str, Any],
    place: tuple[storage.Filesystem, str],
    listed: dict[str, SourceObject],
    roots: list[str],
) -> SourceObject:
    written, uri = fields["audio_filepath"], storage.canonical(*place)
    name = str(next((fields[key] for key in ("id", "utt_id", "recording_id") if fields.get(key)), written))
    refusal = None
    if not _real_uri(*place).startswith(tuple(roots)):
        outside = f"{written} lies outside the manifest's folder; input.allowed_roots may allow its own"
        refusal = (str(ErrorKind.OUTSIDE_INPUT), outside)
    file = listed.get(uri)
    offset, duration = fields.get("offset") or 0.0, fields.get("duration")
    return SourceObject(
        key=printable(f"{uri}#{offset}+{duration}"),
        uri=uri,
        name=name,
        format="manifest",
        etag=file.etag if file else None,
        size=file.size if file else 0,
        lines=line,
        text_version=digest([line]),
        refusal=refusal,
    )


def _real_uri(filesystem: storage.Filesystem, path: str) -> str:
    """The URI that says where a file truly lies: with its protocol, and no link that leads elsewhere."""
    return storage.canonical(filesystem, os.path.realpath(path) if storage.is_local(filesystem) else path).rstrip("/")


def _shards_near(manifest: File, listed: dict[str, SourceObject]) -> dict[str, str]:
    """Tar shards by number, the last in their name: those beside the manifest or one folder up, else all listed."""
    tars = [each for each in listed.values() if each.format == "tar"]
    folder = os.path.dirname(manifest.uri)
    near = [each for each in tars if os.path.dirname(each.uri) in (folder, os.path.dirname(folder))]
    numbered = [(re.findall(r"\d+", os.path.basename(each.uri).split(".")[0]), each.uri) for each in near or tars]
    return {str(int(numbers[-1])): uri for numbers, uri in numbered if numbers}
