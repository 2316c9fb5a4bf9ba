"""What the input holds: every object below the URIs, by its name alone; no audio is opened.

Manifests are opened, for their lines are objects. An audio file that a listed manifest names is read through the
manifest and not a second time as a loose file.
"""

import os
import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field, replace
from fnmatch import fnmatchcase
from operator import attrgetter
from typing import Any

from actors.foreign.escape import escape_surrogates
from actors.schema import ErrorKind, UsageError
from actors.sources.parquet import count_in_parquet
from actors.sources.recordings import COMPANION_SUFFIXES
from actors.sources.tar import count_in_tar
from actors.storage import files as storage
from actors.storage.entry import Entry
from actors.storage.listing import find, glob
from actors.units import Format, SourceObject
from jobs.cli.config import ConfigError, Input, with_secrets
from jobs.planning.containment import ADVICE, Inside, Place
from jobs.planning.files import SIDECARS, WAV_SCP, File, format_of
from jobs.planning.lists import Lists
from jobs.planning.manifests import manifest_objects

SAID_EVERY = 10_000  # files
_MAGIC = re.compile(r"[*?\[]")
_SHARDS = re.compile(r"_OP_(\d+)\.\.(\d+)_CL_")  # NeMo's way to write audio_{0..511}.tar


@dataclass
class Listing:
    """The objects of an input in a fixed order.

    `unknown` counts the files whose name is not known, by suffix; `repeated` the lines of manifests that name a stretch
    of audio which another line named before: it is read once. `covers` says whether an object of that URI would be
    listed if it were there, so that one which is not can be told to be deleted; nothing would be where the listing is
    not `is_whole`, for a manifest of it could not be read.
    """

    objects: list[SourceObject] = field(default_factory=list)
    unknown: Counter[str] = field(default_factory=Counter)
    repeated: int = 0
    covers: Callable[[str], bool] = lambda uri: False
    is_whole: bool = True


def list_input(config: Input, output_uri: str, say: Callable[[int], None] = lambda files: None) -> Listing:
    """Lists an input. What lies below the output is passed over. Raises ConfigError where a URI holds nothing.

    `say` is told now and then how many files have been found.
    """
    options = with_secrets(config.storage_options, "input.storage_options")
    own = storage.canonical(*storage.connect(output_uri, {})).rstrip("/") + "/"
    allowed = [storage.connect(root, options) for root in config.allowed_roots]
    links = [path for filesystem, path in allowed if storage.is_local(filesystem)]
    files, folders, found = dict[str, File](), set[Place](), 0
    for uri in config.uris:
        before = found
        for file in _files_of(uri, links, options):
            found += 1
            if found % SAID_EVERY == 0:
                say(found)
            folders.add((file.filesystem, file.root))
            if not file.uri.startswith(own) and _is_wanted(file.name, config):
                files[file.uri] = file
        if found == before:
            raise ConfigError(f"input.uri: {uri} holds no file, or is not there")
    listing = _classify(files, config, Inside([*folders, *allowed]), options)
    listing.objects.sort(key=attrgetter("uri", "key"))
    if listing.is_whole:
        listing.covers = _coverage(config, options)
    if config.limit is not None:
        listing.objects = list(_first(config.limit, listing.objects, options))
    return listing


def _coverage(config: Input, options: dict[str, Any]) -> Callable[[str], bool]:
    """Covered is what lies below a plain URI and is wanted; globs, shard patterns, limits and formats cover nothing."""
    plain = [uri for uri in config.uris if not (_MAGIC.search(uri) or _SHARDS.search(uri))]
    if config.limit is not None or config.format != "auto":
        plain = []
    roots = [storage.canonical(*storage.connect(uri, options)).rstrip("/") for uri in plain]

    def covers(uri: str) -> bool:
        below = (uri[len(root) :].lstrip("/") for root in roots if uri == root or uri.startswith(root + "/"))
        return any(_is_wanted(name, config) for name in below)

    return covers


def _files_of(uri: str, links: list[str], options: dict[str, Any]) -> Iterator[File]:
    """The files of a URL or a pattern. Links on a local disk may lead below it, or below the folders `links`."""
    shards = _SHARDS.search(uri)
    if shards:
        for number in range(int(shards[1]), int(shards[2]) + 1):
            yield from _files_of(f"{uri[: shards.start()]}{number}{uri[shards.end() :]}", links, options)
        return
    try:
        filesystem, path = storage.connect(uri, options)
    except UsageError as problem:
        raise ConfigError(f"input.uri: {problem}") from None
    if _MAGIC.search(path) and not storage.exists(filesystem, path):
        root = path[: _MAGIC.search(path).start()].rpartition("/")[0]  # type: ignore[union-attr]
        found: Iterable[Entry] = glob(filesystem, path, links)
    else:
        root, found = path, find(filesystem, path, links)
    protocol = storage.canonical(filesystem, path).removesuffix(path)  # the same for all
    for each in found:
        name, is_asked = each.path.removeprefix(root).lstrip("/") or each.name, each.path == path
        folder = os.path.dirname(path) if is_asked else root
        yield File(filesystem, protocol + each.path, name, each.size, each.version, is_asked, folder, each.fault)


def _is_wanted(name: str, config: Input) -> bool:
    if not (config.include or config.exclude):
        return True
    included = not config.include or any(fnmatchcase(name, pattern) for pattern in config.include)
    return included and not any(fnmatchcase(name, pattern) for pattern in config.exclude)


def _classify(files: dict[str, File], config: Input, inside: Inside, options: dict[str, Any]) -> Listing:
    listing, manifests, objects = Listing(), list[File](), dict[str, SourceObject]()
    kaldis = {os.path.dirname(uri) for uri in files if uri.endswith("/" + WAV_SCP)}
    files = {uri: file for uri, file in files.items() if not _is_sidecar(uri, kaldis)}
    faulty = [file for file in files.values() if file.fault]
    files = {uri: file for uri, file in files.items() if not file.fault} if faulty else files
    texts = {uri: file.version for uri, file in files.items() if uri.endswith(COMPANION_SUFFIXES)}
    for uri, file in files.items():
        kind = format_of(file, config.format)
        if kind == "manifest":
            manifests.append(file)
        elif kind is not None:
            objects[uri] = _object_of(file, kind, texts)
        elif uri not in texts:
            listing.unknown[os.path.splitext(uri)[1].lower() or "(none)"] += 1
    if texts:
        stems = {os.path.splitext(uri)[0] for uri in objects}
        loose = (os.path.splitext(uri) for uri in texts.keys() - objects.keys() - {each.uri for each in manifests})
        listing.unknown.update(suffix for stem, suffix in loose if stem not in stems)
    for file in faulty:
        is_known = format_of(file, config.format) is not None or file.name.endswith(COMPANION_SUFFIXES)
        if file.fault == "outside" or (is_known and file.fault != "circle"):
            objects[file.uri] = _refused(file)
        else:
            listing.unknown[f"({file.fault} link)" if file.fault != "special" else "(no file)"] += 1
    spoken_of, lists = dict[str, SourceObject](), Lists(config.max_list_megabytes * 1e6)
    for manifest in manifests:
        for each in manifest_objects(manifest, objects, lists, inside, options):
            if spoken_of.setdefault(each.key, each) is not each:
                listing.repeated += 1
    listing.is_whole = lists.are_whole
    claimed = {each.uri for each in spoken_of.values() if each.refusal is None}
    listing.objects = [each for uri, each in objects.items() if uri not in claimed] + list(spoken_of.values())
    return listing


def _refused(file: File) -> SourceObject:
    """The object that stands for a name which is no file that may be read."""
    kind, detail = {
        "outside": (ErrorKind.OUTSIDE_INPUT, f"it is a link that leads out of the input; {ADVICE}"),
        "dangling": (ErrorKind.MISSING, "it is a link to what is not there"),
        "special": (ErrorKind.BAD_ENTRY, "it is a pipe or a device, and no file"),
    }[file.fault]
    return SourceObject(escape_surrogates(file.uri), file.uri, file.name, "audio", None, 0, refusal=(str(kind), detail))


def _is_sidecar(uri: str, lists: set[str]) -> bool:
    """Whether a file says more of what a wav.scp in the same folder lists."""
    folder, _, name = uri.rpartition("/")
    return name in SIDECARS and folder in lists


def _object_of(file: File, kind: Format, texts: dict[str, str]) -> SourceObject:
    """A file as an object, with the text beside it where it is audio; `texts` are versions by URI."""
    companion = None
    if texts and kind == "audio":
        stem = os.path.splitext(file.uri)[0]
        companion = next((stem + suffix for suffix in COMPANION_SUFFIXES if stem + suffix in texts), None)
    version = texts[companion] if companion else ""
    key = escape_surrogates(file.uri)
    return SourceObject(key, file.uri, file.name, kind, file.version, file.size, companion, text_version=version)


def _first(limit: int, objects: Iterable[SourceObject], options: dict[str, Any]) -> Iterator[SourceObject]:
    """The objects that hold the first `limit` recordings; the last of them perhaps in part."""
    left = limit
    for each in objects:
        held = _recordings_in(each, left + 1, options)
        yield each if held <= left else replace(each, limit=left)
        left -= held
        if left <= 0:
            return


def _recordings_in(source: SourceObject, enough: int, options: dict[str, Any]) -> int:
    """How many recordings an object holds, counted up to `enough`."""
    if source.format in ("audio", "manifest"):
        return 1
    if source.lines is not None:
        return len(source.lines.splitlines())
    filesystem, path = storage.connect(source.uri, options)
    return count_in_tar(filesystem, path, enough) if source.format == "tar" else count_in_parquet(filesystem, path)
