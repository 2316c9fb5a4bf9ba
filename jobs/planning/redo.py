"""Finds the listed objects that input.redo names: by URI, path or glob, or in files of recordings."""

import os
from collections import defaultdict
from collections.abc import Collection, Iterator
from contextlib import suppress
from fnmatch import fnmatchcase

from actors.foreign.escape import escape_surrogates
from actors.formats import AUDIO_SUFFIXES
from actors.schema import KEY, UsageError
from actors.storage.place import Place
from actors.units import SourceObject
from jobs.cli.config import ConfigError, Input
from jobs.cli.terminal import say
from jobs.planning.files import TAR_SUFFIXES
from jobs.planning.listing import Listing
from jobs.planning.named import FORMS, Named, Stated, read_named
from jobs.planning.patterns import glob_start

_OF_SELECTION = {KEY.index(name) for name in ("offset_s", "stretch_s", "channel")}


def objects_to_redo(config: Input, listing: Listing) -> frozenset[str]:
    """The keys of the listed objects that input.redo names. Says how many names in files are none of a listed object's.

    Raises ConfigError for a name of the list itself that is nothing listed and no such file either.
    """
    asked, named, mistakes = set[str](), Named(), list[str]()
    for name, found in _found_by_name(config, listing).items():
        if found:
            asked |= found
        elif _may_be_a_list(name) and (place := Place.at(name, config.options())).exists():
            read_named(named, place, "input.redo", config.max_list_megabytes * 1e6, listing.roots)
        else:
            mistakes.append(
                f"input.redo: {name} is nothing that is listed; give a URI, a path below input.uri or a glob on it, or"
                f" {FORMS}"
            )
    if mistakes:
        raise ConfigError(*mistakes)
    asked |= _of_files(named, listing)
    if named.missing:
        say(f"input.redo: {named.missing} of {named.count} names in files are nothing that is listed", "yellow")
    return frozenset(asked)


def _found_by_name(config: Input, listing: Listing) -> dict[str, set[str]]:
    """The keys of the listed objects that each of input.redo names itself; by a pattern only if none has that name."""
    exact, alike = ({name: set[str]() for name in config.redo} for _ in range(2))
    spelled = defaultdict[str, list[str]](list)
    for name in exact:
        for spelling in {name, *_canonical(name, config)}:
            spelled[spelling].append(name)
    patterns = [name for name in exact if glob_start(name) is not None]
    for each in listing.objects if exact else ():
        uri = escape_surrogates(each.uri)
        for known_as in {each.key, uri, each.name, *_below(uri, listing.roots)}:
            for name in spelled.get(known_as, ()):
                exact[name].add(each.key)
            for pattern in patterns:
                if fnmatchcase(known_as, pattern):
                    alike[pattern].add(each.key)
    return {name: found or alike[name] for name, found in exact.items()}


def _canonical(name: str, config: Input) -> Iterator[str]:
    """The URI that a name is that of, if it is one or a path."""
    with suppress(UsageError):
        yield escape_surrogates(Place.at(name, config.options()).uri)


def _below(uri: str, roots: Collection[str]) -> Iterator[str]:
    return (uri[len(root) + 1 :] for root in roots if uri.startswith(f"{root}/"))


def _may_be_a_list(name: str) -> bool:
    lower = name.lower()
    is_glob = glob_start(name) is not None
    return not is_glob and os.path.splitext(lower)[1] not in AUDIO_SUFFIXES and not lower.endswith(TAR_SUFFIXES)


def _of_files(named: Named, listing: Listing) -> set[str]:
    """The keys of the listed objects that files name. A name within a container stands for all of it."""
    return {
        each.key
        for each in (listing.objects if named.count else ())
        if (stated := named.by_uri.get(escape_surrogates(each.uri))) and _is_named(each, stated, named)
    }


def _is_named(source: SourceObject, names: list[tuple[Stated, int]], named: Named) -> bool:
    values = dict(zip(KEY[2:], source.selection, strict=True)) if source.format == "manifest" else {}
    numbers = [
        number
        for stated, number in names
        if all(
            values[KEY[at]] in (value, None) if KEY[at] == "channel" else values[KEY[at]] == value
            for at, value in stated
            if values and at in _OF_SELECTION
        )
    ]
    named.found.update(numbers)
    return bool(numbers)
