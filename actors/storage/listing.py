"""Listing of storage: the path, size and version of every file, as a stream."""

import contextlib
import errno
import os
import stat
from collections.abc import Iterable, Iterator, Mapping, Sequence

from actors.storage import http_listing, local_listing
from actors.storage.entry import Entry as Entry
from actors.storage.file_info import FileInfo
from actors.storage.globs import Glob
from actors.storage.outputs import refuse_link
from actors.storage.place import Place
from actors.storage.retry import retried

DIGITS = "0123456789abcdef"


def find(place: Place, roots: Sequence[str] = ()) -> Iterator[Entry]:
    """Every file at or below a place, in no particular order; nothing if it does not exist.

    On a local disk, links are followed if they lead below the place or one of `roots`; see `local_listing.walk`. An
    entry that cannot be read has a `fault`. Raises an OSError or a UsageError if anything could not be listed, so a
    file that is missing from the listing does not exist.
    """
    if place.is_local:
        return local_listing.walk(place.path, roots)
    if place.is_s3:
        return _find_s3(place)
    if place.is_http:
        return http_listing.find(place)
    return iter(_find(place))


def glob(pattern: Place, roots: Sequence[str] = ()) -> list[Entry]:
    """Every file that matches a pattern, sorted; links as for `find`, below the folder that the pattern begins with.

    Raises UsageError if the pattern is invalid, and as `find` does.
    """
    parsed = Glob(pattern.path)
    root = pattern.with_path(parsed.root)
    if root.is_local:
        found: Iterable[Entry] = local_listing.walk(root.path or "/", roots, parsed.enters)
    elif root.is_s3:
        from actors.storage.s3_listing import S3Listing

        listing = S3Listing(root)
        found = listing.below() if parsed.is_deep else listing.in_folders(parsed.enters)
    elif root.is_http:
        found = http_listing.find(root, parsed.enters)
    else:
        return _glob(pattern)
    return sorted(each for each in found if parsed.matches(each.path) or _hides(each, parsed))


def _hides(entry: Entry, parsed: Glob) -> bool:
    """Whether an entry may be a folder that was not entered, and that could contain a match."""
    return entry.fault in ("outside", "circle") and parsed.enters(entry.path) and _may_be_folder(entry.path)


def _may_be_folder(link: str) -> bool:
    """Whether a link leads to a folder, or to what cannot be looked at."""
    try:
        return stat.S_ISDIR(os.stat(link).st_mode)
    except (FileNotFoundError, NotADirectoryError):
        return False
    except OSError as problem:
        return problem.errno != errno.ELOOP


def below(folder: Place) -> Iterator[Entry]:
    """Every file below a folder of the output's state; links are not followed. Raises UsageError if the folder itself
    is a link."""
    refuse_link(folder)
    found = local_listing.walk(folder.path, follow_links=False) if folder.is_local else find(folder)
    return (each for each in found if not each.fault)


def in_folder(folder: Place, prefix: str = "", is_hashed: bool = False, may_be_link: bool = False) -> list[Entry]:
    """The files directly in a folder whose names begin with a prefix, sorted; none if the folder does not exist.

    `is_hashed`: a hexadecimal hash follows the prefix, by whose first digits S3 is listed in parallel. Links are left
    out. Raises UsageError if the folder itself is a link, unless `may_be_link`.
    """
    if not may_be_link:
        refuse_link(folder)
    if folder.is_local:
        found = list(local_listing.files_in(folder.path, prefix))
    elif folder.is_s3:
        from actors.storage.s3_listing import S3Listing

        starts = [prefix + digit for digit in DIGITS] if is_hashed else [prefix]
        found = list(S3Listing(folder).starting_with(starts))
    else:
        found = _ls(folder)
    valid = (each for each in found if each.path == f"{folder.path}/{each.name}" and not each.fault)
    return sorted(each for each in valid if each.name.startswith(prefix))


def names(folder: Place, prefix: str = "", is_hashed: bool = False, may_be_link: bool = False) -> list[str]:
    """The names of the files that `in_folder` returns."""
    return [each.name for each in in_folder(folder, prefix, is_hashed, may_be_link)]


def _find_s3(place: Place) -> Iterator[Entry]:
    from actors.storage.s3_listing import S3Listing

    is_empty = True
    for entry in S3Listing(place).below():
        is_empty = False
        yield entry
    if is_empty and "/" in place.path:
        with contextlib.suppress(FileNotFoundError):
            info = place.info()
            if info.is_file:
                yield Entry(place.path, info.size or 0, info.version)


@retried
def _find(place: Place) -> list[Entry]:
    return _entries(place.filesystem.find(place.path, detail=True).values())


@retried
def _glob(pattern: Place) -> list[Entry]:
    return _entries(pattern.filesystem.glob(pattern.path, detail=True).values())


@retried
def _ls(folder: Place) -> list[Entry]:
    try:
        return _entries(folder.filesystem.ls(folder.path, detail=True))
    except FileNotFoundError:
        return []


def _entries(found: Iterable[Mapping[str, object]]) -> list[Entry]:
    """The files among what fsspec found."""
    infos = ((str(each["name"]), FileInfo.of(each)) for each in found)
    return [Entry(path, info.size or 0, info.version) for path, info in infos if info.is_file and path[-1:] != "/"]
