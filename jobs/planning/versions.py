"""What the version of an object states, and what differs between two of them, in words."""

import re
from typing import NamedTuple

from actors.units import Version

_TIME_DIGITS = 16  # at least, of a time in nanoseconds
#: What is heard of an object, as `SourceObject.version` writes it.
_HEARD = re.compile(r"(.*)/(\d{1,18})/(None|\d{1,18})/([^/]*)", re.DOTALL | re.ASCII)


class Heard(NamedTuple):
    """What is heard of an object: the file as stored, how many of its recordings (None for all), and which of them its
    manifest's lines select, by a digest."""

    etag: str | None
    size: int
    limit: int | None
    lines: str


def heard_of(version: Version) -> Heard | None:
    """What a version states of what is heard; None if no version of this job wrote it."""
    found = _HEARD.fullmatch(version.heard)
    if found is None:
        return None
    etag, size, limit, lines = found.groups()
    return Heard(None if etag == "None" else etag, int(size), None if limit == "None" else int(limit), lines)


def changes_between(before: Version, now: Version, kind: str) -> list[str]:
    """What differs between two versions of an object of a format, in words."""
    of, is_now, changes = heard_of(before), heard_of(now), list[str]()
    if before.heard != now.heard and (of is None or is_now is None):
        changes.append("its version changed")
    elif of and is_now:
        if of.size != is_now.size:
            changes.append(f"size was {of.size:,} bytes and is {is_now.size:,}")
        if of.etag != is_now.etag:
            changes.append(f"{_name_of_version(of.etag)} changed")
        if of.limit != is_now.limit:
            changes.append(f"recordings to read were {of.limit or 'all'} and are {is_now.limit or 'all'}")
        if of.lines != is_now.lines:
            changes.append("lines of its manifest select other recordings")
    if before.companions != now.companions:
        what = {"audio": "companion", "manifest": "fields of its line"}.get(kind, "lines of its manifest")
        how = "changed" if before.companions and now.companions else "new" if now.companions else "no longer there"
        changes.append(f"{what} {how}")
    return changes


def _name_of_version(etag: str | None) -> str:
    is_time = etag is not None and etag.isdecimal() and len(etag) >= _TIME_DIGITS
    return "time of modification" if is_time else "version (ETag or date)"
