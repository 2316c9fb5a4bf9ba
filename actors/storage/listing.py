"""Listing of storage: the path, size and version of every file, as a stream."""

import contextlib
import os
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from actors.storage import http_listing, local_listing
from actors.storage.answers import is_http, is_local, is_s3
from actors.storage.entry import Entry as Entry
from actors.storage.files import Filesystem, info, version
from actors.storage.globs import Glob
from actors.storage.retry import retried

DIGITS = "0123456789abcdef"


def find(filesystem: Filesystem, path: str, roots: Sequence[str] = ()) -> Iterator[Entry]:
    """Every file at or below a path, in no particular order; nothing if the path does not exist.

    On a local disk, links are followed if they lead below the path or one of `roots`; see `local_listing.walk`. An
    entry that cannot be read has a `fault`. Raises an OSError or a UsageError if anything could not be listed, so a
    file that is missing from the listing does not exist.
    """
    if is_local(filesystem):
        return local_listing.walk(path, roots)
    if is_s3(filesystem):
        return _find_s3(filesystem, path)
    if is_http(filesystem):
        return http_listing.find(filesystem, path)
    return _entries(_find(filesystem, path))


def glob(filesystem: Filesystem, pattern: str, roots: Sequence[str] = ()) -> list[Entry]:
    """Every file that matches a pattern, sorted; links as for `find`, below the folder that the pattern begins with.

    Raises UsageError if the pattern is invalid, and as `find` does.
    """
    parsed = Glob(pattern)
    if is_local(filesystem):
        found: Iterable[Entry] = local_listing.walk(parsed.root or "/", roots, parsed.enters)
    elif is_s3(filesystem):
        from actors.storage.s3_listing import S3Listing

        listing = S3Listing(filesystem, parsed.root)
        found = listing.below() if parsed.is_deep else listing.in_folders(parsed.enters)
    elif is_http(filesystem):
        found = http_listing.find(filesystem, parsed.root, parsed.enters)
    else:
        return list(_entries(_glob(filesystem, pattern)))
    return sorted(each for each in found if parsed.matches(each.path) or _hides(each, parsed))


def _hides(entry: Entry, parsed: Glob) -> bool:
    """Whether an entry is a folder that was not entered, and that could contain a match."""
    return entry.fault in ("outside", "circle") and parsed.enters(entry.path) and os.path.isdir(entry.path)


def below(filesystem: Filesystem, folder: str) -> Iterator[Entry]:
    """Every file below a folder of the output's state; links are not followed. Raises UsageError if the folder itself
    is a link."""
    if is_local(filesystem):
        local_listing.refuse_link(folder)
        found = local_listing.walk(folder, follow_links=False)
    else:
        found = find(filesystem, folder)
    return (each for each in found if not each.fault)


def in_folder(
    filesystem: Filesystem, folder: str, prefix: str = "", is_hashed: bool = False, may_be_link: bool = False
) -> list[Entry]:
    """The files directly in a folder whose names begin with a prefix, sorted; none if the folder does not exist.

    `is_hashed`: a hexadecimal hash follows the prefix, by whose first digits S3 is listed in parallel. Links are left
    out. Raises UsageError if the folder itself is a link, unless `may_be_link`.
    """
    if is_local(filesystem):
        found = list(local_listing.files_in(folder, prefix, may_be_link))
    elif is_s3(filesystem):
        from actors.storage.s3_listing import S3Listing

        starts = [prefix + digit for digit in DIGITS] if is_hashed else [prefix]
        found = list(S3Listing(filesystem, folder).starting_with(starts))
    else:
        found = list(_entries(_ls(filesystem, folder)))
    valid = (each for each in found if each.path == f"{folder}/{each.name}" and not each.fault)
    return sorted(each for each in valid if each.name.startswith(prefix))


def names(
    filesystem: Filesystem, folder: str, prefix: str = "", is_hashed: bool = False, may_be_link: bool = False
) -> list[str]:
    """The names of the files that `in_folder` returns."""
    return [each.name for each in in_folder(filesystem, folder, prefix, is_hashed, may_be_link)]


def _find_s3(filesystem: Filesystem, path: str) -> Iterator[Entry]:
    from actors.storage.s3_listing import S3Listing

    is_empty = True
    for entry in S3Listing(filesystem, path).below():
        is_empty = False
        yield entry
    if is_empty and "/" in path:
        with contextlib.suppress(FileNotFoundError):
            yield from _entries([info(filesystem, path)])


def _entries(infos: Iterable[dict[str, Any]]) -> Iterator[Entry]:
    for each in infos:
        if each["type"] == "file" and not each["name"].endswith("/"):
            yield Entry(str(each["name"]), int(each.get("size") or 0), version(each))


@retried
def _find(filesystem: Filesystem, path: str) -> list[dict[str, Any]]:
    return list(filesystem.find(path, detail=True).values())


@retried
def _glob(filesystem: Filesystem, pattern: str) -> list[dict[str, Any]]:
    return list(filesystem.glob(pattern, detail=True).values())


@retried
def _ls(filesystem: Filesystem, folder: str) -> list[dict[str, Any]]:
    try:
        return list(filesystem.ls(folder, detail=True))
    except FileNotFoundError:
        return []
