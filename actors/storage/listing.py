"""What lies in storage: the path, size and version of every file, as a stream."""

import contextlib
import os
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from actors.storage import http_listing, local_listing
from actors.storage.answers import is_http, is_local, is_s3
from actors.storage.entry import Entry as Entry
from actors.storage.files import Filesystem, info, version
from actors.storage.globs import Glob
from actors.storage.retry import patiently

DIGITS = "0123456789abcdef"


def find(filesystem: Filesystem, path: str, roots: Sequence[str] = ()) -> Iterator[Entry]:
    """Every file at or below a path, in no order; nothing where there is none.

    On a local disk, links are followed that lead below the path or one of `roots`; see `local_listing.walk`. A name
    that is no file to be read comes with its `fault`. Raises an OSError or a UsageError where anything could not be
    listed: what is not there was not found.
    """
    if is_local(filesystem):
        return local_listing.walk(path, roots)
    if is_s3(filesystem):
        return _find_s3(filesystem, path)
    if is_http(filesystem):
        return http_listing.find(filesystem, path)
    return _entries(_find(filesystem, path))


def glob(filesystem: Filesystem, pattern: str, roots: Sequence[str] = ()) -> list[Entry]:
    """Every file that matches a pattern, by name; links as for `find`, below the folder that the pattern begins with.

    Raises UsageError where it is no pattern, and as `find` does.
    """
    asked = Glob(pattern)
    if is_local(filesystem):
        found: Iterable[Entry] = local_listing.walk(asked.root or "/", roots, asked.enters)
    elif is_s3(filesystem):
        from actors.storage.s3_listing import S3Listing

        listing = S3Listing(filesystem, asked.root)
        found = listing.below() if asked.is_deep else listing.within(asked.enters)
    elif is_http(filesystem):
        found = http_listing.find(filesystem, asked.root, asked.enters)
    else:
        return list(_entries(_glob(filesystem, pattern)))
    return sorted(each for each in found if asked.matches(each.path) or _hides(each, asked))


def _hides(entry: Entry, asked: Glob) -> bool:
    """Whether an entry is a folder that was not entered, with what would match in it."""
    return entry.fault in ("outside", "circle") and asked.enters(entry.path) and os.path.isdir(entry.path)


def below(filesystem: Filesystem, folder: str) -> Iterator[Entry]:
    """Every file below a folder of the output's state, which is none through a link. Raises UsageError where the folder
    itself is a link."""
    if is_local(filesystem):
        local_listing.refuse_link(folder)
        found = local_listing.walk(folder, follows=False)
    else:
        found = find(filesystem, folder)
    return (each for each in found if not each.fault)


def in_folder(
    filesystem: Filesystem, folder: str, prefix: str = "", is_hashed: bool = False, may_be_link: bool = False
) -> list[Entry]:
    """The files directly in a folder whose names begin with a prefix, by name; none without the folder.

    `is_hashed` says that a hexadecimal hash follows the prefix, by whose first digits S3 can be asked in parallel.
    Links are no files here, and raise UsageError where the folder itself is one, unless it `may_be_link`.
    """
    if is_local(filesystem):
        found = list(local_listing.directly(folder, prefix, may_be_link))
    elif is_s3(filesystem):
        from actors.storage.s3_listing import S3Listing

        starts = [prefix + digit for digit in DIGITS] if is_hashed else [prefix]
        found = list(S3Listing(filesystem, folder).beginning(starts))
    else:
        found = list(_entries(_ls(filesystem, folder)))
    right = (each for each in found if each.path == f"{folder}/{each.name}" and not each.fault)
    return sorted(each for each in right if each.name.startswith(prefix))


def names(
    filesystem: Filesystem, folder: str, prefix: str = "", is_hashed: bool = False, may_be_link: bool = False
) -> list[str]:
    """The names, sorted, of those files."""
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


@patiently
def _find(filesystem: Filesystem, path: str) -> list[dict[str, Any]]:
    return list(filesystem.find(path, detail=True).values())


@patiently
def _glob(filesystem: Filesystem, pattern: str) -> list[dict[str, Any]]:
    return list(filesystem.glob(pattern, detail=True).values())


@patiently
def _ls(filesystem: Filesystem, folder: str) -> list[dict[str, Any]]:
    try:
        return list(filesystem.ls(folder, detail=True))
    except FileNotFoundError:
        return []
