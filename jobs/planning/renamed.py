"""Finds objects that seem to have another name than before: one is no longer listed, and a new one has its content."""

from collections import defaultdict
from collections.abc import Iterable, Mapping

from actors.units import Selection, SourceObject
from jobs.planning.plans import PlannedObject
from jobs.planning.versions import Heard, heard_of

_SECOND_NS = "0" * 9  # the end of a time of whole seconds, in nanoseconds


def renamed(gone: Iterable[str], known: Mapping[str, PlannedObject], new: Iterable[SourceObject]) -> dict[str, str]:
    """The keys of objects that are no longer listed, with those of the new ones that they seem to be now.

    Both have the same size and version, which is the ETag or, on disks, the time of modification, and select the same
    of their files. Where several have, those with one file name belong together, and the others in their order; but if
    the version is a time of whole seconds, which many files may share, nothing is known then, nor ever of empty files
    or without a version.
    """
    waiting = defaultdict[tuple[str, Selection], list[str]](list)
    for key in sorted(gone):
        of = heard_of(known[key].version)
        if of and of.size and of.etag and not of.etag.startswith("size-"):
            waiting[known[key].version.heard, known[key].selection].append(key)
    found = defaultdict[tuple[str, Selection], list[SourceObject]](list)
    for source in new if waiting else ():
        if (what := (source.version.heard, source.selection)) in waiting:
            found[what].append(source)
    pairs = dict[str, str]()
    for what, sources in found.items():
        keys = waiting[what]
        if len(keys) == len(sources) == 1 or not _is_coarse(heard_of(known[keys[0]].version)):
            pairs |= _paired(keys, known, sources)
    return pairs


def _is_coarse(of: Heard | None) -> bool:
    """Whether a version is a time of whole seconds."""
    etag = of.etag or "" if of else ""
    return ":" in etag or (etag.isdecimal() and etag.endswith(_SECOND_NS))


def _paired(keys: list[str], known: Mapping[str, PlannedObject], sources: list[SourceObject]) -> dict[str, str]:
    """Keys of objects with one content, with those of the new ones."""
    pairs, others = dict[str, str](), list[SourceObject]()
    by_name = {_name(known[key].uri): key for key in reversed(keys)}
    for source in sources:
        key = by_name.pop(_name(source.uri), None)
        if key is None:
            others.append(source)
        else:
            pairs[key] = source.key
    left = (key for key in keys if key not in pairs)
    return pairs | {key: source.key for key, source in zip(left, others, strict=False)}


def _name(uri: str) -> str:
    return uri.rpartition("/")[2]
