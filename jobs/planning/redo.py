"""Finds the listed objects that input.redo names: by URI, path or glob, or in files of recordings."""

import os
from collections import defaultdict
from collections.abc import Iterator
from contextlib import suppress
from fnmatch import fnmatchcase

from actors.foreign.escape import escape_surrogates
from actors.formats import AUDIO_SUFFIXES
from actors.schema import KEY, UsageError
from actors.storage.place import Place
from actors.units import Selection, SourceObject
from jobs.cli.config import ConfigError, Input
from jobs.cli.terminal import say
from jobs.planning.files import TAR_SUFFIXES
from jobs.planning.listing import Listing
from jobs.planning.named import (
    FORMS,
    Named,
    folders_of,
    narrowed_to,
    paths_below,
    read_named,
    spelling_of,
)
from jobs.planning.patterns import glob_start

_STRETCH = KEY.index("offset_s"), KEY.index("stretch_s")
_CHANNEL = KEY.index("channel")


def objects_to_redo(config: Input, listing: Listing) -> frozenset[str]:
    """The keys of the listed objects that input.redo names. Says how many names in files are none of a listed object's.

    Raises ConfigError for a name of the list itself that is nothing listed and no such file either.
    """
    asked, named, mistakes = set[str](), Named(frozenset(listing.roots)), list[str]()
    for name, found in _found_by_name(config, listing).items():
        if found:
            asked |= found
        elif name and _may_be_a_list(name) and (place := Place.at(name, config.options())).exists():
            read_named(named, place, "input.redo", config.max_list_megabytes * 1e6)
        else:
            mistakes.append(
                f"input.redo: {name or 'an empty name'} is nothing that is listed; give a URI, the path of a file or"
                f" folder below input.uri, a glob on it, or {FORMS}"
            )
    if mistakes:
        raise ConfigError(*mistakes)
    asked |= _of_files(named, listing)
    if named.missing:
        say(f"input.redo: {named.missing} of {named.count} names in files are nothing that is listed", "yellow")
    return frozenset(asked)


def _found_by_name(config: Input, listing: Listing) -> dict[str, set[str]]:
    """The keys of the listed objects that each of input.redo names itself: those with that name, else those in a folder
    with that name, else those that match it as a pattern."""
    exact, within, alike = ({name: set[str]() for name in config.redo if name} for _ in range(3))
    spelled, folders = defaultdict[str, list[str]](list), defaultdict[str, list[str]](list)
    for name in exact:
        spellings = {name, spelling_of(name), *_canonical(name, config)}
        for spelling in spellings:
            spelled[spelling].append(name)
        for folder in {each.rstrip("/") for each in spellings}:
            folders[folder].append(name)
    patterns = [(name, *_globs(name)) for name in exact if glob_start(name) is not None]
    roots = frozenset(listing.roots)
    for each in listing.objects if exact else ():
        uri = escape_surrogates(each.uri)
        paths = {uri, *paths_below(roots, uri)}
        known_as = {each.key, each.name, *paths}
        for name in (name for known in known_as for name in spelled.get(known, ())):
            exact[name].add(each.key)
        for name in (
            name for path in paths for folder in folders_of(path) for name in folders.get(folder.rstrip("/"), ())
        ):
            within[name].add(each.key)
        known_below = known_as - {uri, each.key}  # a pattern such as f*.wav is not one of URIs, which begin with file:
        for name, is_absolute, globs in patterns:
            tried = {uri, each.key} if is_absolute else known_below
            if any(fnmatchcase(known, glob) for known in tried for glob in globs):
                alike[name].add(each.key)
    return {name: exact.get(name) or within.get(name) or alike.get(name) or set() for name in config.redo}


def _globs(pattern: str) -> tuple[bool, tuple[str, str]]:
    """Whether a pattern is one of URIs, not of paths below input.uri; and the globs of what it is and of what is in the
    folders that it is."""
    is_path = pattern.startswith("/")
    glob = f"file://{pattern}" if is_path else pattern
    return is_path or "://" in pattern, (glob, f"{glob.rstrip('/')}/*")


def _canonical(name: str, config: Input) -> Iterator[str]:
    """The URI that a name is that of, if it is one or a path."""
    with suppress(UsageError):
        yield escape_surrogates(Place.at(name, config.options()).uri)


def _may_be_a_list(name: str) -> bool:
    lower = name.lower()
    is_glob = glob_start(name) is not None
    return not is_glob and os.path.splitext(lower)[1] not in AUDIO_SUFFIXES and not lower.endswith(TAR_SUFFIXES)


def _of_files(named: Named, listing: Listing) -> set[str]:
    """The keys of the listed objects that files name, which are marked as found. A name within a container stands for
    all of it."""
    views, keys = dict[tuple[int, ...], Named](), set[str]()
    for each in listing.objects if named.times else ():
        uri = escape_surrogates(each.uri)
        if not named.has_uri(uri):
            continue
        selection = each.selection
        columns = _columns_of(each, selection)
        if columns not in views:
            views[columns] = named.narrowed(columns)
        if views[columns].holds((uri, None, *selection)):
            keys.add(each.key)
    for columns, view in views.items():
        named.found.update(name for name in named.times if (name[0], narrowed_to(columns, name[1])) in view.found)
    return keys


def _columns_of(source: SourceObject, selection: Selection) -> tuple[int, ...]:
    """The columns besides the URI by which an object is told from others, as positions in KEY. An entry of a
    manifest for all channels is named by any of them."""
    if source.format != "manifest":
        return ()
    return _STRETCH if selection.channel is None else (*_STRETCH, _CHANNEL)
