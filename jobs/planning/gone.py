"""Tells of objects that are no longer listed, and of those among them that seem to be renamed."""

from collections.abc import Sequence
from heapq import nsmallest
from typing import TypedDict

from jobs.planning.changes import Changes

MAX_SHOWN = 3  # names in a sentence
MAX_EXAMPLES = 20  # in the JSON of a plan


class Renamed(TypedDict):
    was: str
    now: str


class Gone(TypedDict):
    """Objects of earlier runs that are no longer listed: of how many the rows are kept, and are removed, and how many
    seem renamed, with some of these."""

    kept: int
    removed: int
    renamed: int
    examples: list[Renamed]


def count_gone(changes: Changes, roots: Sequence[str]) -> Gone:
    """Counts the objects that are no longer listed; `roots` are the URIs of the folders that names are below."""
    examples = nsmallest(MAX_EXAMPLES, changes.renamed.items())
    return {
        "kept": len(changes.kept),
        "removed": len(changes.deleted),
        "renamed": len(changes.renamed),
        "examples": [{"was": _name(key, roots), "now": _name(now, roots)} for key, now in examples],
    }


def gone_sentence(gone: Gone) -> str:
    """What becomes of them; "" if there are none."""
    count, renamed = gone["kept"] + gone["removed"], gone["renamed"]
    if not count:
        return ""
    what = "1 object is no longer listed; its rows are" if count == 1 else f"{count:,} objects are no longer listed;"
    what += "" if count == 1 else " their rows are"
    what += f" {'kept' if gone['kept'] else 'removed'} (output.on_deleted)"
    if not renamed:
        return what
    shown = [f"{each['was']} is now {each['now']}" for each in gone["examples"][:MAX_SHOWN]]
    seem = "it seems" if count == 1 else "1 of them seems" if renamed == 1 else f"{renamed:,} of them seem"
    more = ", …" if renamed > len(shown) else ""
    again = "under its new name, it is" if renamed == 1 else "under their new names, they are"
    return f"{what}. {seem.capitalize()} renamed: {', '.join(shown)}{more}; {again} transcribed again"


def _name(key: str, roots: Sequence[str]) -> str:
    """A key below the longest of the roots that it is below."""
    below = (key[len(root) + 1 :] for root in roots if key.startswith(f"{root}/"))
    return min(below, key=len, default=key)
