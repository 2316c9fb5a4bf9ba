"""NeMo's JSON-lines manifests: each line an object of its own, or a word about a member of a tar shard.

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
from actors.schema import ErrorKind, UsageError
from actors.units import SourceObject, digest, printable

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
    text = storage.read(manifest.filesystem, manifest.path).decode("utf-8-sig", "replace")
    roots = [os.path.dirname(manifest.path), *(storage.connect(root, options)[1] for root in allowed_roots)]
    shards = _shards_near(manifest, listed)
    lines_of = dict[str, list[str]]()
    for number, line in enumerate(text.splitlines(), 1):
        if not line.strip():
            continue
        fields, refusal = _parse(line, options)
        if refusal:
            here = f"{manifest.name}:{number}"
            key = f"{manifest.uri}#{digest([line])}"
            yield SourceObject(key, manifest.uri, here, "manifest", None, 0, lines="{}", refusal=refusal)
        elif "shard_id" in fields and str(fields["shard_id"]) in shards:
            lines_of.setdefault(shards[str(fields["shard_id"])], []).append(line)
        else:
            yield _line_object(line, fields, manifest, listed, roots, options)
    for uri, lines in lines_of.items():
        text = "\n".join(lines)
        yield replace(listed[uri], lines=text, text_version=digest([text]))


def _parse(line: str, options: dict[str, Any]) -> tuple[dict[str, Any], tuple[str, str] | None]:
    """A line's fields, or why they cannot be used."""
    try:
        fields = json.loads(line)
    except (ValueError, RecursionError):
        return {}, (str(ErrorKind.BAD_ENTRY), f"not JSON: {line[:120]}")
    if (
        not isinstance(fields, dict)
        or not isinstance(fields.get("audio_filepath"), str)
        or not fields["audio_filepath"]
    ):
        return {}, (str(ErrorKind.BAD_ENTRY), f"no audio_filepath: {line[:120]}")
    try:
        storage.connect(fields["audio_filepath"], options)
        if b"\0" in os.fsencode(fields["audio_filepath"]):
            raise UsageError("a file's name holds no zero bytes")
    except (UsageError, UnicodeEncodeError) as problem:  # no such protocol, a chain of URLs, or no name of a file
        return {}, (str(ErrorKind.BAD_ENTRY), f"audio_filepath: {problem}")
    for name in ("offset", "duration"):
        value = fields.get(name)
        if value is not None and not (type(value) in (int, float) and 0 <= value < MAX_SECONDS):
            return {}, (str(ErrorKind.BAD_ENTRY), f"{name} must be a number of seconds, not {str(value)[:40]!r}")
    return fields, None


def _line_object(
    line: str, fields: dict[str, Any], manifest: File, listed: dict[str, SourceObject], roots: list[str], options: Any
) -> SourceObject:
    written = fields["audio_filepath"]
    filesystem, path = manifest.filesystem, os.path.join(os.path.dirname(manifest.path), written)
    if "://" in written:
        filesystem, path = storage.connect(written, options)
    path = os.path.normpath(path)
    uri = storage.canonical(filesystem, path)
    name = str(next((fields[key] for key in ("id", "utt_id", "recording_id") if fields.get(key)), written))
    refusal = None
    if not any(_is_below(path, root, storage.is_local(filesystem)) for root in roots):
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


def _is_below(path: str, root: str, local: bool) -> bool:
    if local:  # a link must not lead out either
        path, root = os.path.realpath(path), os.path.realpath(root)
    return path.startswith(root.rstrip("/") + "/")


def _shards_near(manifest: File, listed: dict[str, SourceObject]) -> dict[str, str]:
    """Tar shards by number, the last in their name: those beside the manifest or one folder up, else all listed."""
    tars = [each for each in listed.values() if each.format == "tar"]
    folder = os.path.dirname(manifest.uri)
    near = [each for each in tars if os.path.dirname(each.uri) in (folder, os.path.dirname(folder))]
    numbered = [(re.findall(r"\d+", os.path.basename(each.uri).split(".")[0]), each.uri) for each in near or tars]
    return {str(int(numbers[-1])): uri for numbers, uri in numbered if numbers}
