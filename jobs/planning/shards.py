"""Assigns the lines of NeMo's tarred manifests to tar shards.

A line belongs to the shard whose number is its `shard_id`, or else that of its manifest's name: manifest_3.json
describes audio_3.tar. Format:
https://docs.nvidia.com/nemo-framework/user-guide/latest/nemotoolkit/asr/datasets.html#tarred-datasets
"""

import os
import re
from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import replace
from itertools import takewhile

from actors.schema import ErrorKind, RecordingError
from actors.sources.tar_lines import is_plain_name
from actors.sources.tar_names import without_dot
from actors.storage.connect import protocol_of
from actors.storage.place import Place
from actors.units import SourceObject, digest
from jobs.planning.entries import ManifestEntry
from jobs.planning.files import File

_NUMBERS = re.compile(r"\d+")


class Shards:
    """The tar shards of an input, with the manifest lines that describe their members.

    Several manifests may describe a shard. Of lines for the same stretch of a member, the first counts: `repeated` is
    the number of the others, `added` of all.
    """

    def __init__(self, listed: Mapping[str, SourceObject]) -> None:
        self._listed = listed
        self._by_folder = dict[str, dict[str, list[str]]]()
        self._lines = dict[str, dict[tuple[object, ...], str]]()
        self.repeated = self.added = 0
        uris = sorted(each.uri for each in listed.values() if each.format == "tar")
        for uri in uris:
            if number := _number_of(uri):
                self._by_folder.setdefault(os.path.dirname(uri), {}).setdefault(number, []).append(uri)
        everywhere = defaultdict[str, list[str]](list)
        for folder in self._by_folder.values():
            for number, found in folder.items():
                everywhere[number] += found
        self._unique = {number: found[0] for number, found in everywhere.items() if len(found) == 1}

    @property
    def is_empty(self) -> bool:
        """Whether the input has no tar with a number."""
        return not self._by_folder

    def beside(self, manifest: File) -> Mapping[str, str]:
        """The shards by number in a manifest's folder and, for other numbers, its parent. Of several with one number,
        as in train_0.tar and dev_0.tar, the one that is named most like the manifest."""
        folder, name = os.path.split(manifest.uri)
        near = self._by_folder.get(os.path.dirname(folder), {}) | self._by_folder.get(folder, {})
        chosen = ((number, _most_like(name, uris)) for number, uris in near.items())
        return {number: uri for number, uri in chosen if uri}

    @property
    def unique(self) -> Mapping[str, str]:
        """The shards by number, of those numbers that are in the input only once."""
        return self._unique

    def add(self, uri: str, entry: ManifestEntry) -> None:
        """Adds a line to a shard."""
        self.added += 1
        lines = self._lines.setdefault(uri, {})
        offset_s, stretch_s, channel = entry.selection
        interval = None if entry.fields.get("offset") is None else (offset_s, stretch_s)  # as the reader takes it
        stretch = (without_dot(entry.filepath), interval, channel)
        if lines.setdefault(stretch, entry.line) is not entry.line:
            self.repeated += 1

    def objects(self) -> Iterator[SourceObject]:
        """Yields the shards that manifests describe, with their lines."""
        for uri, lines in self._lines.items():
            text, selected = "\n".join(lines.values()), sorted(map(repr, lines))
            version = digest([text])
            if not all(is_plain_name(str(name)) for name, *_ in lines):  # which member they mean, only reading tells
                selected.append(version)
            yield replace(self._listed[uri], lines=text, text_version=version, lines_version=digest(selected))


class ShardedManifest:
    """Decides for the entries of a manifest whether they are members of a shard."""

    def __init__(self, manifest: File, shards: Shards) -> None:
        beside = shards.beside(manifest)
        self._near = beside or shards.unique
        self._is_tarred = not shards.is_empty
        self._number: str | None = None
        if "manifest" in manifest.place.name.lower() and (beside or manifest.is_explicit):
            self._number = _number_of(manifest.uri)
        self._names_files: bool | None = None
        self._missing = set[str]()

    def may_hold(self, entry: ManifestEntry) -> bool:
        """Whether an entry may be a member of a shard, which `shard_of` then decides."""
        return self._is_tarred and (self._number is not None or "shard_id" in entry.fields)

    def shard_of(self, entry: ManifestEntry, place: Place, is_listed: bool) -> str | RecordingError | None:
        """The URI of the shard that an entry is a member of; None if it names a file of its own, at `place`. The error
        `missing` if its shard is not in the input.

        An entry without shard_id is one of a file of its own if that file exists, which is tried for one of them: the
        others of its manifest are taken to be like it.
        """
        number, is_stated = self._number, "shard_id" in entry.fields
        if is_stated:
            number = _plain(str(entry.fields["shard_id"]))
        if number is None:
            return None
        uri = self._near.get(number)
        if uri and is_stated:
            return uri
        if is_listed or protocol_of(entry.filepath) or entry.filepath.startswith("/"):
            return None
        if self._names_files is None:
            self._names_files = place.exists()
        if self._names_files:
            return None
        detail = f"shard {number}, which the manifest describes, is not among the tars of the input, or several are it"
        return uri or RecordingError(ErrorKind.MISSING, detail)

    def is_new(self, problem: RecordingError) -> bool:
        """Whether a missing shard was not named before."""
        is_new = problem.detail not in self._missing
        self._missing.add(problem.detail)
        return is_new


def _most_like(name: str, uris: list[str]) -> str | None:
    """The only one of several URIs whose file name begins most like a name; None if there are several such."""
    if len(uris) == 1:
        return uris[0]
    alike = (takewhile(lambda pair: pair[0] == pair[1], zip(name, os.path.basename(uri), strict=False)) for uri in uris)
    shared = [sum(1 for _ in each) for each in alike]
    return uris[shared.index(max(shared))] if shared.count(max(shared)) == 1 else None


def _number_of(uri: str) -> str | None:
    """The last number in a file's name, before its first dot."""
    numbers = _NUMBERS.findall(os.path.basename(uri).split(".")[0])
    return _plain(numbers[-1]) if numbers else None


def _plain(number: str) -> str:
    """A number without leading zeros; another text itself."""
    return number.lstrip("0") or "0" if number.isascii() and number.isdigit() else number
