"""The error budget: which recordings count against it, and what a person is told when it is exceeded."""

from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass

from actors.foreign.errors import InvalidData
from actors.parts.stored import Commit, open_part, part_name, read_commit
from actors.schema import KEY, ErrorKind
from actors.storage.answers import OF_ONE_FILE
from actors.storage.place import Place
from jobs.cli.called import how_to_call
from jobs.cli.config import Errors
from jobs.cli.terminal import say
from jobs.planning.accepted import Accepted
from jobs.planning.plans import PlannedObject
from jobs.planning.prepare import Prepared
from jobs.planning.state import CONCURRENT_READS, load_commits

#: Errors with a cause outside of the file, which a person may end.
_OUTSIDE_THE_FILE = frozenset(
    {
        ErrorKind.MISSING,
        ErrorKind.FORBIDDEN,
        ErrorKind.ARCHIVED,
        ErrorKind.OUTSIDE_INPUT,
        ErrorKind.OUT_OF_MEMORY,
        ErrorKind.CRASHED,
    }
)


@dataclass(frozen=True, kw_only=True)
class Account:
    """Recordings in the output, of the units that the listing touches, and those of them with an error; of these, those
    that errors.accept names, and of these, those of this run. `accepted_names` counts the names in its files, and
    `missing_names` those of them that are no recording with an error."""

    recordings: int = 0
    errors: int = 0
    accepted: int = 0
    own_accepted: int = 0
    accepted_names: int = 0
    missing_names: int = 0


def take_account(prepared: Prepared, run_id: str, own_errors: Mapping[str, int], is_complete: bool = True) -> Account:
    """Counts what is in the output after a run, of which `own_errors` are the run's errors by kind.

    Nothing is opened unless errors.accept is set: then the commits that count errors, and the parts of those with
    recordings that it names. Nor if the run is not complete: its budgets are not looked at, and after a signal there is
    little time.
    """
    plan, commits, accepted = prepared.plan, prepared.state.commits, prepared.accepted
    if plan.committed or plan.remove:
        commits = load_commits(prepared.output)
    touched = {unit.id for unit in plan.committed} | set(plan.done)
    counted = [commit for unit, each in commits.items() if unit in touched for commit in each]
    recordings, errors = sum(each.recordings for each in counted), sum(each.errors for each in counted)
    if not accepted or not is_complete:
        return Account(recordings=recordings, errors=errors)
    named_units = _units_of(accepted, (prepared.state.objects, plan.objects))
    failed = [each for unit in commits.values() for each in unit if each.errors]
    to_open = [each for each in failed if each.unit in named_units]
    by_kind = [each for each in failed if each.unit in touched - named_units] if accepted.kinds else []
    in_output, own = 0, sum(own_errors.get(kind, 0) for kind in accepted.kinds)
    with ThreadPoolExecutor(CONCURRENT_READS) as pool:
        in_output += sum(pool.map(lambda each: _accepted_by_kind(each, accepted, prepared.output), by_kind))
        for commit, found in zip(
            to_open, pool.map(lambda each: _failures(each, prepared.output), to_open), strict=True
        ):
            held = [(kind, made_by) for key, (kind, made_by) in found.items() if accepted.holds(key, kind)]
            in_output += len(held) if commit.unit in touched else 0
            own += sum(made_by == run_id and kind not in accepted.kinds for kind, made_by in held)
    return Account(
        recordings=recordings,
        errors=errors,
        accepted=in_output,
        own_accepted=own,
        accepted_names=accepted.named.count,
        missing_names=accepted.named.missing,
    )


def _units_of(accepted: Accepted, planned: tuple[Mapping[str, PlannedObject], ...]) -> set[str]:
    """The units that hold objects of which errors.accept names a recording."""
    named = accepted.named
    objects = (each for known in planned for each in known.values()) if named.times else ()
    return {each.unit for each in objects if named.has_uri(each.uri)}


def _accepted_by_kind(commit: Commit, accepted: Accepted, output: Place) -> int:
    """How many errors of a commit have an accepted kind: by its own counts, or if it has none, by its part."""
    counts: object = None
    with suppress(*OF_ONE_FILE):
        counts = read_commit(commit, output).get("errors")
    are_counts = isinstance(counts, dict) and all(type(count) is int for count in counts.values())
    if isinstance(counts, dict) and are_counts and sum(counts.values()) == commit.errors:
        return sum(counts.get(kind, 0) for kind in accepted.kinds)
    return sum(kind in accepted.kinds for kind, _ in _failures(commit, output).values())


def _failures(commit: Commit, output: Place) -> dict[tuple[object, ...], tuple[str, str]]:
    """The recordings of a committed part that have an error, by their columns of KEY: its kind, and the run that made
    the row. Nothing if the part cannot be read, which is said: then none of its errors are accepted."""
    found = dict[tuple[object, ...], tuple[str, str]]()
    try:
        for table in open_part(commit.unit, output).tables():
            failed = table.select([*KEY, "error_kind", "run_id"]).filter(table.column("error_kind").is_valid())
            for *key, kind, run_id in zip(*(column.to_pylist() for column in failed.columns), strict=True):
                found.setdefault(tuple(key), (kind, run_id))
    except (*OF_ONE_FILE, InvalidData) as problem:
        say(
            f"errors.accept: {part_name(commit.unit)} cannot be read, so it accepts no error in it: {problem}", "yellow"
        )
        return {}
    return found


def exceeded(limits: Errors, account: Account, own: tuple[int, int]) -> Iterator[str]:
    """Sentences on the budgets that are exceeded. `own` are the recordings that this run committed, and those of them
    with an error that is not accepted."""
    whole = account.recordings, account.errors - account.accepted
    if whole[1] > limits.max_fraction * whole[0]:
        rest = f", {account.accepted} more are accepted" if account.accepted else ""
        yield _sentence(
            "of the recordings have an error", whole, "in the output" + rest, "errors.max_fraction", limits.max_fraction
        )
    if limits.max_new_fraction is not None and own[1] > limits.max_new_fraction * own[0]:
        rest = f", {account.own_accepted} more are accepted" if account.own_accepted else ""
        yield _sentence(
            "of this run's recordings have an error",
            own,
            "committed by it" + rest,
            "errors.max_new_fraction",
            limits.max_new_fraction,
        )


def _sentence(what: str, counts: tuple[int, int], where: str, key: str, limit: float) -> str:
    recordings, errors = counts
    return f"{errors / recordings:.1%} {what} ({errors} of {recordings} {where}), more than {key} allows ({limit:.1%})"


def advice(output: str, has_own: bool) -> str:
    """What a person can do about errors, of which this run met some itself, or earlier ones met all."""
    history = f"{how_to_call('history')} CONFIG history.run=last (those of this run), or " if has_own else ""
    query = f"SELECT uri, member, error_kind, error_detail FROM '{output}/part-*.parquet' WHERE error_kind IS NOT NULL"
    return (
        f"look at them: {history}{query}; accept those"
        " that may stay (errors.accept=KIND, or a file of recordings), do others again (errors.retry=KIND, all of it;"
        " input.redo=NAME, what you name)"
    )


def advice_to_retry(errors: Mapping[str, int]) -> str | None:
    """What a person can do about a run's errors, by kind, whose cause may be gone later while the files stay the same;
    None if there are none."""
    found = {kind: errors[kind] for kind in sorted(_OUTSIDE_THE_FILE) if errors.get(kind)}
    if not found:
        return None
    counts = ", ".join(f"{count} {kind}" for kind, count in found.items())
    kinds = next(iter(found)) if len(found) == 1 else f"[{', '.join(found)}]"
    return (
        f"{counts}: runs do not try these again by themselves while the files stay as they are; once the cause is gone,"
        f" run the job once with 'errors.retry={kinds}', which tries again all that have such an error"
    )
