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
from typing import Any

from actors import storage
from actors.parquet_shards import count_in_parquet
from actors.recordings import AUDIO_SUFFIXES, COMPANION_SUFFIXES
from actors.schema import UsageError
from actors.tar_shards import count_in_tar
from actors.units import Format, SourceObject, printable
from jobs.config import ConfigError, Input, with_secrets
from jobs.manifests import manifest_objects

_MAGIC = re.compile(r"[*?\[]")
_SHARDS = re.compile(r"_OP_(\d+)\.\.(\d+)_CL_")  # NeMo's way to write audio_{0..511}.tar


@dataclass
class Listing:
    """The objects of an input in a fixed order.

    `unknown` counts the files whose name is not known, by suffix; `repeated` the lines of manifests that name a stretch
    of audio which another line named before: it is read once. `covers` says whether an object of that URI would be
    listed if it were there, so that one which is not can be told to be deleted.
    """

    objects: list[SourceObject] = field(default_factory=list)
    unknown: Counter[str] = field(default_factory=Counter)
    repeated: int = 0
    covers: Callable[[str], bool] = lambda uri: False


@dataclass(frozen=True)
class File:
    """A listed file: `name` is its path below the input's root, `asked` whether it was named itself, not found."""

    filesystem: storage.Filesystem
    path: str
    name: str
    info: dict[str, Any]
    asked: bool

    @property
    def uri(self) -> str:
        return storage.canonical(self.filesystem, self.path)


def list_input(config: Input, output_uri: str) -> Listing:
    """Lists an input. What lies below the output is passed over. Raises ConfigError where a URI holds nothing."""
    options = with_secrets(config.storage_options, "input.storage_options")
    own = storage.canonical(*storage.connect(output_uri, {})).rstrip("/") + "/"
    files = dict[str, File]()
    for uri in config.uris:
        found = list(_files_of(uri, options))
        if not found:
            raise ConfigError(f"input.uri: {uri} holds no file, or is not there")
        files |= {file.uri: file for file in found if not file.uri.startswith(own) and _is_wanted(file.name, config)}
    listing = _classify(files, config, options)
    listing.objects.sort(key=lambda each: (each.uri, each.key))
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


def _files_of(uri: str, options: dict[str, Any]) -> Iterator[File]:
    shards = _SHARDS.search(uri)
    if shards:
        for number in range(int(shards[1]), int(shards[2]) + 1):
            yield from _files_of(f"{uri[: shards.start()]}{number}{uri[shards.end() :]}", options)
        return
    try:
        filesystem, path = storage.connect(uri, options)
    except UsageError as problem:
        raise ConfigError(f"input.uri: {problem}") from None
    if _MAGIC.search(path) and not storage.exists(filesystem, path):
        root = path[: _MAGIC.search(path).start()].rpartition("/")[0]  # type: ignore[union-attr]
        found = storage.glob(filesystem, path)
    else:
        found = storage.find(filesystem, path)
        root = path.rpartition("/")[0] if list(found) == [path] else path
    for each, info in found.items():
        yield File(filesystem, each, each.removeprefix(root).lstrip("/"), info, asked=each == path)


def _is_wanted(name: str, config: Input) -> bool:
    included = not config.include or any(fnmatchcase(name, pattern) for pattern in config.include)
    return included and not any(fnmatchcase(name, pattern) for pattern in config.exclude)


def format_of(file: File, asked: str) -> Format | None:
    """The format that a file's name stands for, or None; `asked` is input.format.

    A .json is a manifest where it says so in its name or was named itself, for the fields of a recording are also
    kept in files of that suffix.
    """
    name = os.path.basename(file.path).lower()
    suffix = os.path.splitext(name)[1]
    known: Format | None = None
    if suffix in AUDIO_SUFFIXES:
        known = "audio"
    elif re.search(r"\.(tar|tgz|tar\.(gz|bz2|xz))$", name):
        known = "tar"
    elif suffix in (".parquet", ".pq"):
        known = "parquet"
    elif suffix in (".jsonl", ".ndjson") or (suffix == ".json" and ("manifest" in name or file.asked)):
        known = "manifest"
    if asked == "auto" or known == asked:
        return known
    return asked if file.asked or (known is None and suffix not in COMPANION_SUFFIXES) else None  # type: ignore[return-value]


def _classify(files: dict[str, File], config: Input, options: dict[str, Any]) -> Listing:
    listing, manifests, objects = Listing(), list[File](), dict[str, SourceObject]()
    stems = Counter(os.path.splitext(uri)[0] for uri in files)
    for uri, file in files.items():
        kind, (stem, suffix) = format_of(file, config.format), os.path.splitext(uri)
        if kind == "manifest":
            manifests.append(file)
        elif kind is not None:
            size, etag = int(file.info.get("size") or 0), storage.version(file.info)
            companion = next((stem + each for each in COMPANION_SUFFIXES if stem + each in files), None)
            spoken = companion if kind == "audio" else None
            version = storage.version(files[spoken].info) if spoken else ""
            objects[uri] = SourceObject(printable(uri), uri, file.name, kind, etag, size, spoken, text_version=version)
        elif not (suffix.lower() in COMPANION_SUFFIXES and stems[stem] > 1):
            listing.unknown[suffix.lower() or "(none)"] += 1
    spoken_of = dict[str, SourceObject]()
    for manifest in manifests:
        for each in manifest_objects(manifest, objects, config.allowed_roots, options):
            if spoken_of.setdefault(each.key, each) is not each:
                listing.repeated += 1
    claimed = {each.uri for each in spoken_of.values() if each.refusal is None}
    listing.objects = [each for uri, each in objects.items() if uri not in claimed] + list(spoken_of.values())
    return listing


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
