"""Lists the objects of an input by name, without opening audio.

Manifests are opened, because their lines are objects. An audio file that is listed in a manifest is read through the
manifest only, not a second time as a file of its own. Every file is accounted for.
"""

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from operator import attrgetter

from actors.foreign.escape import escape_surrogates
from actors.sources.parquet import count_in_parquet
from actors.sources.tar import count_in_tar
from actors.storage.place import Place
from actors.units import SourceObject
from jobs.cli.config import ConfigError, Input
from jobs.planning.account import EXCLUDED, NOT_SAMPLED, OVER_LIMIT, UNKNOWN_TYPE, Files, listed_reasons
from jobs.planning.containment import AllowedFolders
from jobs.planning.files import KNOWN
from jobs.planning.finding import Scope, find_files, place_of
from jobs.planning.listed_files import ListedFile, files_without_object
from jobs.planning.lists import ListReader
from jobs.planning.manifests import read_manifests
from jobs.planning.patterns import is_pattern
from jobs.planning.sampled import take_sample
from jobs.planning.sorting import Sorted


@dataclass
class Listing:
    """The objects of an input in a fixed order, and the account of its files.

    `repeated` counts manifest lines with the same stretch of audio as an earlier line, which is read once. `covers`
    tells whether an object with a URI would be listed if it existed, so that an unlisted one counts as deleted. It
    covers nothing unless `is_complete`: every manifest could be read. `lists` are the URIs of manifests of which every
    entry is among the objects, `named` those of the files that they name. `excluded` are the URIs of files that are
    there, and that input.include, input.exclude or input.format leaves out; none unless the listing is complete,
    nor of a sample. `roots` are the URIs of the folders that names of objects are below.
    `files_without_object` yields the files that are no objects themselves, if they were to be kept.
    """

    objects: list[SourceObject] = field(default_factory=list)
    files: Files = field(default_factory=Files)
    repeated: int = 0
    covers: Callable[[str], bool] = lambda uri: False
    is_complete: bool = True
    lists: frozenset[str] = frozenset()
    named: frozenset[str] = frozenset()
    excluded: frozenset[str] = frozenset()
    roots: tuple[str, ...] = ()
    files_without_object: Callable[[], Iterator[ListedFile]] = lambda: iter(())


def list_input(
    config: Input, output_uri: str, say: Callable[[int], None] = lambda files: None, keeps_files: bool = False
) -> Listing:
    """Lists an input, without files below the output. Raises ConfigError if a URI yields nothing, Unaccounted, and an
    OSError or UsageError if anything could not be listed.

    `say` is called now and then with the number of files found so far. With `keeps_files`, the listing tells of each
    file what became of it, for which all of them stay in memory.
    """
    options = config.options()
    roots = [place_of(root, options) for root in config.allowed_roots]
    if not all(root.strip() for root in config.allowed_roots):
        raise ConfigError("input.allowed_roots: a name is empty; give a folder")
    for root in roots:
        if root.is_local and not root.exists():  # perhaps not mounted: each entry that names a file there would fail
            raise ConfigError(f"input.allowed_roots: there is no folder {root.path}")
    scope = Scope(config, Place.at(output_uri))
    found = find_files(config, scope, [root.path for root in roots if root.is_local], options, say)
    files, listing = Sorted.of(found, config.format, config.uri_column), Listing()
    _refuse_useless(files, {each.uri for each in files.manifests})  # soon, before they are read
    named, lists_in_use = _read_lists(files, listing, config, AllowedFolders([*found.roots, *roots]), options)
    listing.objects.sort(key=attrgetter("uri", "key"))
    if listing.is_complete:
        listing.covers = _coverage(config, scope, options)
        if config.takes_all:
            listing.lists = frozenset(escape_surrogates(each.uri) for each in files.manifests)
            listing.named = frozenset(map(escape_surrogates, named))
    standing = None
    if not config.takes_all:
        listing.objects = list(_take_recordings(config, listing.objects, options))
        standing = {each.uri for each in listing.objects}
    listing.files = files.account(standing, named, NOT_SAMPLED if config.sample else OVER_LIMIT)
    listing.files.check()
    listing.roots = tuple(sorted(each.uri.rstrip("/") for each in files.found.roots))
    if listing.is_complete and config.sample is None:
        listing.excluded = frozenset(
            escape_surrogates(uri) for uri, reason in files.skipped.items() if reason == EXCLUDED
        )
    _refuse_useless(files, lists_in_use)
    if keeps_files:
        listing.files_without_object = partial(files_without_object, files)
    return listing


def _coverage(config: Input, scope: Scope, options: Mapping[str, object]) -> Callable[[str], bool]:
    """`Listing.covers`: files below plain URIs that are in scope. Patterns, limits, samples, formats cover nothing."""
    plain = [uri for uri in config.uris if not is_pattern(uri)]
    if not config.takes_all or config.format != "auto":
        plain = []
    roots = [place_of(uri, options).uri.rstrip("/") for uri in plain]

    def covers(uri: str) -> bool:
        below = (uri[len(root) :].lstrip("/") for root in roots if uri == root or uri.startswith(root + "/"))
        return any(scope.reason_to_skip(uri, name) is None for name in below)

    return covers


def _read_lists(
    files: Sorted, listing: Listing, config: Input, allowed: AllowedFolders, options: Mapping[str, object]
) -> tuple[set[str], set[str]]:
    """Reads the manifests, and sets the objects of the listing: theirs, and the files that they do not name.

    Returns the URIs that manifests name, and those of the manifests that have an object.
    """
    reader = ListReader(config.max_list_megabytes * 1e6)
    nameable = files.nameable() if files.manifests else {}
    found = read_manifests(files.manifests, nameable, reader, allowed, options, config.uri_column)
    files.drop_lists(found.skipped)
    named = {each.uri for each in found.objects.values() if each.refusal is None}
    listing.objects = [each for uri, each in files.objects.items() if uri not in named] + list(found.objects.values())
    listing.repeated, listing.is_complete = found.repeated, reader.is_complete
    return named, found.in_use


def _refuse_useless(files: Sorted, lists_in_use: set[str]) -> None:
    """Raises ConfigError, with a sentence for each of input.uri that yields nothing."""
    mistakes = list(files.found.mistakes)
    for uri, listed in files.found.inputs.items():
        useful = files.objects.keys() | files.companions.keys() | lists_in_use
        useful |= {file.uri for file in files.tables} if lists_in_use else set()
        if not useful.isdisjoint(listed):
            continue
        why = Counter(files.skipped.get(each, "list that names nothing") for each in listed)
        sentence = f"input.uri: {uri} yields nothing to transcribe: {listed_reasons(why)}"
        if any(reason.startswith(UNKNOWN_TYPE) for reason in why):
            sentence += f"; known are {KNOWN}; input.format can force a type (docs/inputs.md)"
        mistakes.append(sentence)
    if mistakes:
        raise ConfigError(*mistakes)


def _take_recordings(
    config: Input, objects: Sequence[SourceObject], options: Mapping[str, object]
) -> Iterable[SourceObject]:
    """The objects that hold the recordings of input.sample or input.limit."""
    if config.sample is not None:
        return take_sample(config.sample, objects, partial(_count_recordings, options=options))
    assert config.limit is not None
    return _take_first(config.limit, objects, options)


def _take_first(limit: int, objects: Iterable[SourceObject], options: Mapping[str, object]) -> Iterator[SourceObject]:
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
    try:
        return count_in_tar(place, max_count) if source.format == "tar" else count_in_parquet(place)
    except OSError:
        return 1  # a row says why it cannot be read
