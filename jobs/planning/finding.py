"""Finds the files that input.uri names, and passes over those that are none of the input's, whatever their type."""

import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from urllib.parse import unquote

from actors.schema import UsageError
from actors.sources.recordings import is_apple_double
from actors.storage.entry import Entry
from actors.storage.listing import find, glob
from actors.storage.place import Place
from jobs.cli.config import ConfigError, Input
from jobs.planning.account import APPLE_DOUBLE, BELOW_OUTPUT, EXCLUDED, HIDDEN
from jobs.planning.files import File, format_of
from jobs.planning.patterns import expand, glob_start, has_choices

REPORT_EVERY = 10_000  # files


class Scope:
    """Which of the files below an input belong to it, by their names: none of the output's, hidden or excluded."""

    def __init__(self, config: Input, output: Place) -> None:
        self._include, self._exclude = config.include, config.exclude
        self._real_output = _folder_uri(real(output))
        self._outputs: tuple[str, ...] = (_folder_uri(output), self._real_output)

    def reason_to_skip(self, uri: str, name: str, is_named: bool = False) -> str | None:
        """Why a file is passed over, if it is; `name` is its path below the input. `is_named`: input.uri names hidden
        files itself."""
        if uri.startswith(self._outputs):
            return BELOW_OUTPUT
        if not is_named and ("/." in name or name.startswith((".", "__MACOSX/")) or "/__MACOSX/" in name):
            if is_apple_double(name):
                return APPLE_DOUBLE
            if any(part.startswith(".") and part not in (".", "..") for part in name.split("/")):
                return HIDDEN
        return None if self._is_included(name) else EXCLUDED

    def _is_included(self, name: str) -> bool:
        if not (self._include or self._exclude):
            return True
        included = not self._include or any(fnmatchcase(name, pattern) for pattern in self._include)
        return included and not any(fnmatchcase(name, pattern) for pattern in self._exclude)

    def enter(self, uri: str, root: Place) -> None:
        """Prepares for the files below the folder of an input. Raises ConfigError if the output is that folder, or
        above it."""
        real_root = real(root)
        if any(_folder_uri(each).startswith(self._outputs) for each in (root, real_root)):
            raise ConfigError(
                f"output.uri: it is, or contains, the input {uri}, and files below the output are never read; give the"
                " output a folder of its own"
            )
        if self._real_output.startswith(_folder_uri(real_root)):  # its files are listed below the root as it is named
            self._outputs += (_folder_uri(root) + self._real_output.removeprefix(_folder_uri(real_root)),)


@dataclass
class Found:
    """The files of an input by URI, and those that are passed over, with the reason. Both together are `listed`.

    `inputs` holds for each of input.uri the URIs of its files, unless it has an object by name and so yields something;
    `mistakes` has a sentence for each that holds no file, or cannot be read.
    """

    files: dict[str, File] = field(default_factory=dict)
    passed_over: dict[str, tuple[File, str]] = field(default_factory=dict)
    listed: int = 0
    roots: set[Place] = field(default_factory=set)
    inputs: dict[str, list[str]] = field(default_factory=dict)
    mistakes: list[str] = field(default_factory=list)

    def add(self, file: File, reason: str | None) -> None:
        """Adds a file. One that two inputs name counts once: as a file if one of them takes it, and as explicit if one
        names it itself."""
        known = self.files.get(file.uri)
        self.listed += known is None and file.uri not in self.passed_over
        if reason is not None:
            if known is None:
                self.passed_over[file.uri] = file, reason
            return
        if known is None:
            self.passed_over.pop(file.uri, None)
        elif known.is_explicit:
            return
        self.files[file.uri] = file


def find_files(
    config: Input, scope: Scope, links: Sequence[str], options: Mapping[str, object], say: Callable[[int], None]
) -> Found:
    """Finds the files of an input. Local links are followed to files below it or below the folders `links`.

    `say` is called every REPORT_EVERY files with the number found so far. Raises ConfigError if no URI is given, and an
    OSError if anything could not be listed.
    """
    if not config.uris:
        raise ConfigError("input.uri: the list is empty; name a file, a folder or a pattern")
    found = Found()
    for uri in dict.fromkeys(config.uris):
        try:
            _find_input(found, uri, config, scope, links, options, say)
        except ConfigError as problem:
            found.mistakes.append(str(problem))
        except UsageError as problem:
            found.mistakes.append(f"input.uri: {problem}")
    return found


def _find_input(
    found: Found,
    uri: str,
    config: Input,
    scope: Scope,
    links: Sequence[str],
    options: Mapping[str, object],
    say: Callable[[int], None],
) -> None:
    """Adds the files of one of input.uri."""
    if not uri.strip():
        raise ConfigError("input.uri: a name is empty; give a file, a folder or a pattern")
    holds_files, has_object, uris = False, False, list[str]()
    for file, reason in _files_of(uri, scope, links, options):
        holds_files |= file.fault != "absent"
        found.add(file, reason)
        found.roots.add(file.root)
        if found.listed % REPORT_EVERY == 0:
            say(found.listed)
        if not has_object:
            kind = format_of(file, config.format, config.uri_column)
            has_object = reason is None and not file.fault and kind not in (None, "manifest")
            uris.append(file.uri)
    if not holds_files:
        why = ": none of the names that it stands for exists" if uris else " holds no file, or does not exist"
        raise ConfigError(f"input.uri: {uri}{why}")
    if not has_object:
        found.inputs[uri] = uris


def _files_of(
    uri: str, scope: Scope, links: Sequence[str], options: Mapping[str, object]
) -> Iterator[tuple[File, str | None]]:
    """Yields the files of a URI or pattern, with the reason why one is passed over."""
    if not has_choices(uri) or place_of(uri, options).exists():
        yield from _files_at(uri, scope, links, options)
        return
    for name in expand(uri):
        is_absent = True
        for each in _files_at(name, scope, links, options):
            is_absent = False
            yield each
        if is_absent and glob_start(name) is not None:
            raise ConfigError(f"input.uri: {name}, for which {uri} stands, matches no file")
        if is_absent:
            place = place_of(name, options)
            absent = File(place.parent, place.uri, place.name, 0, "", is_explicit=True, fault="absent")
            yield absent, scope.reason_to_skip(absent.uri, absent.name, is_named=True)


def _files_at(
    uri: str, scope: Scope, links: Sequence[str], options: Mapping[str, object]
) -> Iterator[tuple[File, str | None]]:
    """Yields the files of a file, a folder or a glob, with the reason why one is passed over."""
    place = place_of(uri, options)
    wildcard, names_hidden = glob_start(place.path), False
    if wildcard is not None and not place.exists():
        root = place.with_path(place.path[:wildcard].rpartition("/")[0])
        found: Iterable[Entry] = glob(place, links)
        names_hidden = "/." in place.path[len(root.path) :]
    else:
        root, found = place, find(place, links)
    scope.enter(uri, root)
    protocol = place.uri.removesuffix(place.path)  # of every file
    start, is_encoded = root.path.rstrip("/") + "/", root.is_http
    for each in found:
        name, is_explicit = (
            each.path[len(start) :] if each.path.startswith(start) else each.name,
            each.path == place.path,
        )
        name = unquote(name, errors="surrogateescape") if is_encoded else name
        folder, file_uri = place.parent if is_explicit else root, protocol + each.path
        reason = scope.reason_to_skip(file_uri, name, is_explicit or names_hidden)
        yield File(folder, file_uri, name, each.size, each.version, is_explicit, each.fault), reason


def _folder_uri(folder: Place) -> str:
    return folder.uri.rstrip("/") + "/"


def place_of(uri: str, options: Mapping[str, object]) -> Place:
    """The place of an input or an allowed root; "~" is the user's folder. Raises UsageError."""
    return Place.at(uri, options)


def real(place: Place) -> Place:
    """A place with the links on its way resolved, if it is local."""
    return place.with_path(os.path.realpath(place.path or "/")) if place.is_local else place
