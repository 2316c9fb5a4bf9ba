"""Reads NeMo's JSON-lines manifests and what is like them. Each entry is an object, or describes a member of a tar
shard.

Format: https://docs.nvidia.com/nemo-framework/user-guide/latest/nemotoolkit/asr/datasets.html
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from operator import attrgetter

from actors.foreign.escape import escape_surrogates
from actors.foreign.plain_json import InvalidJson
from actors.schema import ErrorKind, RecordingError
from actors.storage.urls import without_signatures
from actors.units import SourceObject, digest
from jobs.planning import kaldi, tables
from jobs.planning.containment import AllowedFolders
from jobs.planning.entries import ManifestEntry, as_line, entry_name, parse_entry
from jobs.planning.files import EXPORT_FOLDER, PARQUET_SUFFIXES, WAV_SCP, File
from jobs.planning.json_documents import elements, is_document
from jobs.planning.lists import HEAD_BYTES, BadEntry, Line, ListReader, NamesNoAudio, UndecodableLine
from jobs.planning.shards import ShardedManifest, Shards

MAX_BAD_ENTRIES = 1_000  # that get a row each; a file that is no list at all may have millions


@dataclass
class FoundInManifests:
    """The objects of all manifests by key, in a fixed order.

    `repeated` counts entries for the same stretch of audio as an earlier one, which is read once. `skipped` are the
    files that are no manifests, with the reason, by URI; `in_use` are the URIs of those with any entry.
    """

    objects: dict[str, SourceObject] = field(default_factory=dict)
    repeated: int = 0
    skipped: dict[str, str] = field(default_factory=dict)
    in_use: set[str] = field(default_factory=set)


class NotAManifest(Exception):
    """A file with the name of a manifest is none; the message is the reason."""


def read_manifests(
    manifests: Iterable[File],
    listed: Mapping[str, SourceObject],
    reader: ListReader,
    allowed: AllowedFolders,
    options: Mapping[str, object],
    uri_column: str | None = None,
) -> FoundInManifests:
    """Reads manifests in the order of their URIs, so that the same of several equal entries counts in every run.

    `listed` are the objects of the other files by URI. `uri_column` is input.uri_column.
    """
    found, shards = FoundInManifests(), Shards(listed)
    for manifest in sorted(manifests, key=attrgetter("uri")):
        added, before = shards.added, (reader.left, reader.is_complete)
        try:
            for each in _Manifest(manifest, listed, shards, reader, allowed, options, uri_column).objects():
                found.in_use.add(manifest.uri)
                if found.objects.setdefault(each.key, each) is not each:
                    found.repeated += 1
        except NotAManifest as reason:
            found.skipped[manifest.uri] = str(reason)
            reader.left, reader.is_complete = before  # nothing of it is held, and nothing was missed
        if shards.added > added:
            found.in_use.add(manifest.uri)
    found.objects |= {each.key: each for each in shards.objects()}
    found.repeated += shards.repeated
    return found


@dataclass
class _Manifest:
    """A manifest that is read, and what its entries may refer to."""

    file: File
    listed: Mapping[str, SourceObject]
    shards: Shards
    reader: ListReader
    allowed: AllowedFolders
    options: Mapping[str, object]
    uri_column: str | None

    def __post_init__(self) -> None:
        place = self.file.place
        self._folder, self._name, self._is_kaldi = place.parent, place.name, place.name == WAV_SCP
        self._sharded = ShardedManifest(self.file, self.shards)

    def objects(self) -> Iterator[SourceObject]:
        """Yields the objects of the manifest: audio files or stretches of them. Those in tars are added to `shards`.

        An entry that is malformed, or names a file outside the input and the allowed roots, becomes an object with a
        refusal, and so a row with an error. Beyond MAX_BAD_ENTRIES, one last object gives the number of the rest.

        Raises NotAManifest, before anything else, if no entry names audio, unless the file's name claims that it is a
        manifest.
        """
        file = self.file
        if EXPORT_FOLDER in file.name.split("/")[:-1] and not file.is_explicit:
            raise NotAManifest("made by jobs.export")
        is_manifest = file.is_explicit or self._is_kaldi or "manifest" in self._name.lower()
        early, bad_entries = list[SourceObject](), 0  # rows for lines that name no audio, before the first that does
        is_empty = True
        for found in self._lines():
            is_empty = False
            try:
                if isinstance(found, BadEntry):
                    raise found.problem
                source = self._object_of(parse_entry(found.text, self.uri_column, self._is_listed))
            except RecordingError as problem:
                is_manifest = is_manifest or self._names_audio(problem)
                bad_entries += 1
                if bad_entries <= MAX_BAD_ENTRIES:
                    early.append(_refused_object(file, found, problem))
                source = None
            else:
                is_manifest = True
            if is_manifest:
                yield from early
                early.clear()
            if source is not None:
                yield source
        if not (is_manifest or (is_empty and self._name.lower().endswith(PARQUET_SUFFIXES))):  # a table without rows
            raise NotAManifest("no manifest")
        if bad_entries > MAX_BAD_ENTRIES:
            detail = f"{bad_entries - MAX_BAD_ENTRIES:,} more entries are bad, besides the first {MAX_BAD_ENTRIES:,}"
            rest = BadEntry(f"{file.name}: others", RecordingError(ErrorKind.BAD_ENTRY, detail))
            yield _refused_object(file, rest, rest.problem)

    def _lines(self) -> Iterator[Line | BadEntry]:
        if self._is_kaldi:
            return kaldi.as_manifest(self.file, self.reader, self.allowed)
        if tables.is_table(self.file):
            return tables.as_manifest(self.file, self.reader, self.uri_column)
        return _json_lines(self.file, self.reader)

    def _object_of(self, entry: ManifestEntry) -> SourceObject | None:
        """The object of an entry; None if it is a member of a shard, or of one that is missing and was named before.

        Raises RecordingError if it names no file that may be read, or the first member of a missing shard.
        """
        place = self.allowed.locate(entry.filepath, self._folder, self.options)
        refusal, uri = self.allowed.refusal(place, entry.filepath), place.uri
        file = self.listed.get(uri)
        if file is not None and file.is_container:
            raise RecordingError(ErrorKind.BAD_ENTRY, f"it names a {file.format} file, not a recording: {uri}")
        if not refusal and self._sharded.may_hold(entry):
            shard = self._sharded.shard_of(entry, place, file is not None)
            if isinstance(shard, RecordingError):
                if self._sharded.is_new(shard):
                    raise shard
                return None
            if shard is not None:
                self.shards.add(shard, entry)
                return None
        return _line_object(entry, uri, file, refusal, self.file.uri)

    def _is_listed(self, filepath: str) -> bool:
        try:
            file = self.listed.get(self.allowed.locate(filepath, self._folder, self.options).uri)
        except RecordingError:
            return False
        return file is not None and not file.is_container

    def _names_audio(self, problem: RecordingError) -> bool:
        """Whether a line with this error is nevertheless one of a manifest."""
        if isinstance(problem, UndecodableLine):
            try:
                parse_entry(problem.readable, self.uri_column, self._is_listed)
            except RecordingError as other:
                return not isinstance(other, NamesNoAudio)
        return not isinstance(problem, NamesNoAudio)


def _json_lines(file: File, reader: ListReader) -> Iterator[Line | BadEntry]:
    """Yields the non-empty lines of a manifest, or the elements of one that is a JSON document."""
    try:
        opened = reader.open_text(file.place)
        start = opened.tell()
        head = opened.read(HEAD_BYTES).decode("utf-8", "replace")
        opened.seek(start)
        if is_document(head, file.name.lower().endswith(".json")):
            for number, (name, value) in enumerate(elements(opened), 1):
                line = as_line({"id": name} | value if name is not None and isinstance(value, dict) else value)
                reader.charge(len(line))
                yield Line(f"{file.name}:{number}", line)
            return
        for number, text in enumerate(reader.lines(opened), 1):
            if isinstance(text, RecordingError):
                yield BadEntry(f"{file.name}:{number}", text)
            elif text.strip():
                yield Line(f"{file.name}:{number}", text)
    except FileNotFoundError:
        yield BadEntry(file.name, RecordingError(ErrorKind.MISSING, "it was deleted while the input was listed"))
    except (InvalidJson, RecursionError) as problem:
        reader.is_complete = False
        yield BadEntry(file.name, NamesNoAudio(f"{problem}"))
    except RecordingError as problem:
        yield BadEntry(file.name, problem)


def _refused_object(manifest: File, found: Line | BadEntry, problem: RecordingError) -> SourceObject:
    """An object in place of a line that cannot be used. Its URI is one of its own, for it identifies the row."""
    key, uri = f"{manifest.uri}#{digest([found.text or found.location])}", manifest.uri
    refusal = (str(problem.kind), without_signatures(problem.detail))
    return SourceObject(
        escape_surrogates(key), key, found.location, "manifest", None, 0, refusal=refusal, listed_by=uri
    )


def _line_object(
    entry: ManifestEntry,
    uri: str,
    file: SourceObject | None,
    refusal: RecordingError | None,
    listed_by: str,
) -> SourceObject:
    """The object of an entry."""
    offset_s, stretch_s, channel = entry.selection
    return SourceObject(
        key=escape_surrogates(f"{uri}#{offset_s}+{stretch_s}" + ("" if channel is None else f"@{channel}")),
        uri=uri,
        name=without_signatures(entry_name(entry)),
        format="manifest",
        etag=file.etag if file else None,
        size=file.size if file else 0,
        lines=entry.line,
        text_version=digest([without_signatures(entry.line)]),
        refusal=(str(refusal.kind), without_signatures(refusal.detail)) if refusal else None,
        listed_by=listed_by,
    )
