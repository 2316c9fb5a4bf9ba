"""The verdict on every object of a plan, and on every file that was listed, one by one."""

from collections.abc import Iterator
from heapq import merge
from typing import Any, NamedTuple

from actors.foreign.escape import escape_surrogates, without_credentials
from actors.storage.urls import without_signatures
from actors.units import SourceObject
from jobs.planning.listed_files import ListedFile
from jobs.planning.listing import Listing
from jobs.planning.plans import PlannedObject, State
from jobs.planning.reasons import NEW
from jobs.planning.verdicts import Plan
from jobs.planning.versions import changes_between, heard_of


class Row(NamedTuple):
    """An object, or a file that is none itself; docs/running.md describes the columns."""

    uri: str
    offset_s: float | None
    stretch_s: float | None
    channel: int | None
    name: str | None
    verdict: str
    reason: str
    file: str | None
    format: str | None
    size_bytes: int | None
    estimated_s: float | None
    listed_by: str | None
    unit: str | None
    unit_verdict: str | None


def rows(listing: Listing, state: State, plan: Plan) -> Iterator[Row]:
    """Yields the objects of a plan and the files of its input, by URI, always in the same order; of one URI first the
    objects that are listed, in the order of the listing, then the file, then what is gone.

    The objects are those that are listed, and those of earlier plans that no longer are, where the listing tells. Each
    file is told once: with its object, or by itself.
    """
    objects = _Objects(listing, state, plan)
    return merge(
        objects.listed(), map(_of_file, listing.files_without_object()), objects.gone(), key=lambda row: row.uri
    )


class _Objects:
    """Gives the verdicts on objects: those that a plan gave on their units, made precise."""

    def __init__(self, listing: Listing, state: State, plan: Plan) -> None:
        self._listing, self._state, self._plan = listing, state, plan
        self._heard = {each.key for unit in plan.redo for each in unit.objects}
        self._was = {now: key for key, now in plan.changes.renamed.items()}

    def listed(self) -> Iterator[Row]:
        """Yields the objects of the listing."""
        for each in self._listing.objects:
            known = self._state.objects.get(each.key)
            planned = self._plan.objects.get(each.key) or known
            assert planned is not None  # every listed object is in a unit
            verdict, reason = self._verdict(each, known, planned)
            if each.refusal:
                reason += f"; an error: {': '.join(each.refusal)}"
            is_line = each.format == "manifest"
            yield _row(
                each.uri,
                known=planned,
                name=each.name,
                verdict=verdict,
                reason=reason,
                file=None if is_line else "read" if each.lines is None else "spoken of",
                format=each.format,
                size_bytes=each.size,
                estimated_s=round(self._plan.estimate(each), 3),
                unit_verdict=self._plan.verdicts[planned.unit].kind,
            )

    def _verdict(self, source: SourceObject, known: PlannedObject | None, planned: PlannedObject) -> tuple[str, str]:
        """The verdict on a listed object, given what it was in the last plan and what it is in this one, and why."""
        was = self._was.get(source.key)
        seems = "" if was is None else f"; it seems to be {was}, renamed"
        if known is None:
            return "new", NEW.reason + seems
        of_unit = self._plan.verdicts[planned.unit]
        if of_unit.kind == "done":
            return of_unit.kind, of_unit.reason
        if known.removed:
            return "redo", "it came back"
        if changes := changes_between(known.version, planned.version, source.format):
            return "changed", ", ".join(changes)
        if source.key in self._heard or planned.unit in self._plan.made_otherwise:
            return "redo", of_unit.reason + seems
        return "done", f"its rows are carried over; of its unit: {of_unit.reason}"

    def gone(self) -> Iterator[Row]:
        """Yields the objects of earlier plans that are no longer listed, or whose rows are removed."""
        plan, changes, known = self._plan, self._plan.changes, self._state.objects
        keys = changes.gone | {key for key, each in plan.objects.items() if each.removed}
        units = {*plan.remove}
        keys |= {key for key, each in known.items() if each.removed and each.unit in units} if units else set()
        for key in sorted(keys, key=lambda key: (known[key].uri, key)):
            each, verdict = known[key], plan.verdicts.get(known[key].unit)
            of = heard_of(each.version)
            yield _row(
                each.uri,
                known=each,
                name=None,
                verdict="gone",
                reason=self._why_gone(key, each),
                size_bytes=of.size if of else None,
                unit_verdict=verdict.kind if verdict else None,
            )

    def _why_gone(self, key: str, known: PlannedObject) -> str:
        changes, listing = self._plan.changes, self._listing
        if key in changes.gone:
            rows_are = "kept" if key in changes.kept else "removed"
            seems = f"; it seems to be {changes.renamed[key]} now" if key in changes.renamed else ""
            return f"no longer listed; its rows are {rows_are} (output.on_deleted){seems}"
        if key in changes.excluded:
            return "excluded by the configuration; its rows are removed (output.on_excluded)"
        if known.removed:
            return "an earlier run was to remove its rows"
        if known.uri in listing.named:
            return "a manifest names it now, and its entries are objects; its own rows are removed"
        if known.listed_by in listing.lists:
            return "its manifest has it no longer, and its only row is an error, which is removed"
        return "no longer listed, and it has no rows"


def _of_file(file: ListedFile) -> Row:
    is_list = file.verdict == "list"
    return _row(
        file.uri,
        name=file.name,
        verdict=file.verdict,
        reason=file.reason,
        file="read" if is_list else file.verdict,
        format="manifest" if is_list else None,
        size_bytes=file.size,
    )


_NOTHING: dict[str, Any] = dict.fromkeys(Row._fields)


def _row(uri: str, known: PlannedObject | None = None, **fields: Any) -> Row:
    """A row, with texts as they may be stored: names are of any bytes, and URLs may hold credentials."""
    if known is not None:
        fields |= known.selection._asdict() | {"listed_by": known.listed_by, "unit": known.unit}
    for column in ("name", "reason"):
        if fields[column] is not None:
            fields[column] = without_credentials(escape_surrogates(fields[column]))
    return Row(**(_NOTHING | {"uri": without_signatures(escape_surrogates(uri))} | fields))
