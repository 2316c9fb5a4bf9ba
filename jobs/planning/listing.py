"""Lists the objects of an input by name, without opening audio.

Manifests are opened, because their lines are objects. An audio file that is listed in a manifest is read through the
manifest only, not a second time as a file of its own.
"""

import os
import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from fnmatch import fnmatchcase
from operator import attrgetter

from actors.foreign.escape import escape_surrogates
from actors.schema import ErrorKind, UsageError
from actors.sources.parquet import count_in_parquet
from actors.sources.recordings import COMPANION_SUFFIXES
from actors.sources.tar import count_in_tar
from actors.storage.entry import Entry
from actors.storage.listing import find, glob
from actors.storage.place import Place
from actors.units import Format, SourceObject
from jobs.cli.config import ConfigError, Input
from jobs.planning.containment import ADVICE, AllowedFolders
from jobs.planning.files import PARQUET_SUFFIXES, SIDECARS, WAV_SCP, File, format_of
from jobs.planning.lists import ListReader
from jobs.planning.manifests import read_manifests

REPORT_EVERY = 10_000  # files
_GLOB = re.compile(r"[*?\[]")
_SHARD_RANGE = re.compile(r"_OP_(\d+)\.\.(\d+)_CL_")  # NeMo's notation for audio_{0..511}.tar


@dataclass
class Listing:
    """The objects of an input in a fixed order.

    `unknown` counts files of unknown type by suffix; `repeated` counts manifest lines with the same stretch of audio as
    an earlier line, which is read once. `covers` tells whether an object with a URI would be listed if it existed, so
    that an unlisted one counts as deleted. It covers nothing unless `is_complete`: every manifest could be read.
    """

    objects: list[SourceObject] = field(default_factory=list)
    unknown: Counter[str] = field(default_factory=Counter)
    repeated: int = 0
    covers: Callable[[str], bool] = lambda uri: False
    is_complete: bool = True


def list_input(config: Input, output_uri: str, say: Callable[[int], None] = lambda files: None) -> Listing:
    """Lists an input, without files below the output. Raises ConfigError if a URI holds no file.

    `say` is called every REPORT_EVERY files with the number found so far.
    """
    options = config.options()
    output_prefix = Place.at(output_uri).uri.rstrip("/") + "/"
    roots = [Place.at(root, options) for root in config.allowed_roots]
    links = [root.path for root in roots if root.is_local]
    files, folders, found = dict[str, File](), set[Place](), 0
    for uri in config.uris:
        before = found
        for file in _find_files(uri, links, options):
            found += 1
            if found % REPORT_EVERY == 0:
                say(found)
            folders.add(file.root)
            if not file.uri.startswith(output_prefix) and _is_included(file.name, config):
                files[file.uri] = file
        if found == before:
            raise ConfigError(f"input.uri: {uri} holds no file, or does not exist")
    listing = _classify(files, config, AllowedFolders([*folders, *roots]), options)
    listing.objects.sort(key=attrgetter("uri", "key"))
    if listing.is_complete:
        listing.covers = _coverage(config, options)
    if config.limit is not None:
        listing.objects = list(_take_recordings(config.limit, listing.objects, options))
    return listing


def _coverage(config: Input, options: Mapping[str, object]) -> Callable[[str], bool]:
    """`Listing.covers`: included files below plain URIs. Globs, shard patterns, limits and formats cover nothing."""
    plain = [uri for uri in config.uris if not (_GLOB.search(uri) or _SHARD_RANGE.search(uri))]
    if config.limit is not None or config.format != "auto":
        plain = []
    roots = [Place.at(uri, options).uri.rstrip("/") for uri in plain]

    def covers(uri: str) -> bool:
        below = (uri[len(root) :].lstrip("/") for root in roots if uri == root or uri.startswith(root + "/"))
        return any(_is_included(name, config) for name in below)

    return covers


def _find_files(uri: str, links: list[str], options: Mapping[str, object]) -> Iterator[File]:
    """Yields the files of a URI or pattern. Local links are followed to files below it or below the folders `links`."""
    shards = _SHARD_RANGE.search(uri)
    if shards:
        for number in range(int(shards[1]), int(shards[2]) + 1):
            yield from _find_files(f"{uri[: shards.start()]}{number}{uri[shards.end() :]}", links, options)
        return
    try:
        place = Place.at(uri, options)
    except UsageError as problem:
        raise ConfigError(f"input.uri: {problem}") from None
    wildcard = _GLOB.search(place.path)
    if wildcard and not place.exists():
        root = place.with_path(place.path[: wildcard.start()].rpartition("/")[0])
        found: Iterable[Entry] = glob(place, links)
    else:
        root, found = place, find(place, links)
    protocol = place.uri.removesuffix(place.path)  # of every file
    for each in found:
        name, is_explicit = each.path.removeprefix(root.path).lstrip("/") or each.name, each.path == place.path
        folder = place.parent if is_explicit else root
        yield File(folder, protocol + each.path, name, each.size, each.version, is_explicit, each.fault)


def _is_included(name: str, config: Input) -> bool:
    if not (config.include or config.exclude):
        return True
    included = not config.include or any(fnmatchcase(name, pattern) for pattern in config.include)
    return included and not any(fnmatchcase(name, pattern) for pattern in config.exclude)


def _classify(files: dict[str, File], config: Input, allowed: AllowedFolders, options: Mapping[str, object]) -> Listing:
    listing, manifests, objects = Listing(), list[File](), dict[str, SourceObject]()
    kaldi_folders = {os.path.dirname(uri) for uri in files if uri.endswith("/" + WAV_SCP)}
    files = {uri: file for uri, file in files.items() if not _is_sidecar(uri, kaldi_folders)}
    faulty = [file for file in files.values() if file.fault]
    files = {uri: file for uri, file in files.items() if not file.fault} if faulty else files
    companions = {uri: file.version for uri, file in files.items() if uri.endswith(COMPANION_SUFFIXES)}
    for uri, file in files.items():
        kind = format_of(file, config.format, config.uri_column)
        if kind == "manifest":
            manifests.append(file)
        elif kind is not None:
            objects[uri] = _object_of(file, kind, companions)
        elif uri not in companions:
            listing.unknown[os.path.splitext(uri)[1].lower() or "(none)"] += 1
    if companions:
        stems = {os.path.splitext(uri)[0] for uri in objects}
        loose = (os.path.splitext(uri) for uri in companions.keys() - objects.keys() - {each.uri for each in manifests})
        listing.unknown.update(suffix for stem, suffix in loose if stem not in stems)
    for file in faulty:
        is_known = format_of(file, config.format) is not None or file.name.endswith(COMPANION_SUFFIXES)
        if file.fault == "outside" or (is_known and file.fault != "circle"):
            objects[file.uri] = _refused_object(file)
        else:
            listing.unknown[f"({file.fault} link)" if file.fault != "special" else "(no file)"] += 1
    reader = ListReader(config.max_list_megabytes * 1e6)
    found = read_manifests(manifests, objects, reader, allowed, options, config.uri_column)
    for uri, reason in found.skipped.items():
        if uri.lower().endswith(PARQUET_SUFFIXES):  # no table of input.uri_column, so it holds the audio itself
            objects[uri] = _object_of(files[uri], "parquet", companions)
        elif uri not in companions:
            listing.unknown[f"{os.path.splitext(uri)[1].lower()} ({reason})"] += 1
    listing.repeated, listing.is_complete = found.repeated, reader.is_complete
    named_uris = {each.uri for each in found.objects.values() if each.refusal is None}
    listing.objects = [each for uri, each in objects.items() if uri not in named_uris] + list(found.objects.values())
    return listing


def _refused_object(file: File) -> SourceObject:
    """An object in place of a file that cannot be read."""
    kind, detail = {
        "outside": (ErrorKind.OUTSIDE_INPUT, f"it is a link to outside the input; {ADVICE}"),
        "dangling": (ErrorKind.MISSING, "it is a link to a file that does not exist"),
        "special": (ErrorKind.BAD_ENTRY, "it is a pipe or a device, not a file"),
    }[file.fault]
    return SourceObject(escape_surrogates(file.uri), file.uri, file.name, "audio", None, 0, refusal=(str(kind), detail))


def _is_sidecar(uri: str, kaldi_folders: set[str]) -> bool:
    """Whether a file describes the utterances of a wav.scp in the same folder."""
    folder, _, name = uri.rpartition("/")
    return name in SIDECARS and folder in kaldi_folders


def _object_of(file: File, kind: Format, companions: dict[str, str]) -> SourceObject:
    """The object of a file, with its companion if it is audio. `companions` are their versions by URI."""
    companion = None
    if companions and kind == "audio":
        stem = os.path.splitext(file.uri)[0]
        companion = next((stem + suffix for suffix in COMPANION_SUFFIXES if stem + suffix in companions), None)
    version = companions[companion] if companion else ""
    key = escape_surrogates(file.uri)
    return SourceObject(key, file.uri, file.name, kind, file.version, file.size, companion, text_version=version)


def _take_recordings(
    limit: int, objects: Iterable[SourceObject], options: Mapping[str, object]
) -> Iterator[SourceObject]:
    """Yields the objects that hold the first `limit` recordings; the last one may be limited itself."""
    left = limit
    for each in objects:
        recordings = _count_recordings(each, left + 1, options)
        yield each if recordings <= left else replace(each, limit=left)
        left -= recordings
        if left <= 0:
            return


def _count_recordings(source: SourceObject, max_count: int, options: Mapping[str, object]) -> int:
    """Counts the recordings of an object, those of a tar up to `max_count`."""
    if source.format in ("audio", "manifest"):
        return 1
    if source.lines is not None:
        return source.lines.count("\n") + 1
    place = Place.at(source.uri, options)
    return count_in_tar(place, max_count) if source.format == "tar" else count_in_parquet(place)
