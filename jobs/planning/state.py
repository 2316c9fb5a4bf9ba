"""Reads the state that earlier runs left below an output.

Third parties may have put files there too. Files whose names are not the job's are skipped. A plan that is damaged is
an error, because without it the job cannot know what is done.
"""

import time
from collections import defaultdict
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress

from actors import VERSION
from actors.foreign.errors import InvalidData, SchemaMismatch
from actors.parts.emissions import EMISSIONS, parse_emissions_name
from actors.parts.kept import PIECES, is_piece_file
from actors.parts.made import Made
from actors.parts.stored import COMMITS, Commit, read_commit, read_made, unit_of_part
from actors.schema import PASSING, ErrorKind, UsageError
from actors.storage import listing, outputs
from actors.storage.answers import OF_ONE_FILE, ArchivedObject
from actors.storage.local_writes import target_of
from actors.storage.place import Place
from actors.units import digest
from jobs.planning.plans import State, read_plan
from jobs.planning.run_files import LAST_RUN, OWN_FILES, PLAN, run_files

CONCURRENT_READS = 16


def load_state(output: Place, key: str = outputs.OUTPUT) -> State:
    """Reads plans, names of commits and of kept emissions, and names and versions of parts.

    Raises UsageError, which names the configuration's key, for a damaged plan, and if a folder of the state is a link
    or not a folder.
    """
    outputs.check_folders(output, key)
    state = _read_plans(output, key)
    while state is None:
        state = _read_plans(output, key)
    state.commits, state.parts = load_commits(output), _load_parts(output)
    state.emissions = {each.name for each in _emissions_in(output)}
    return state


def _read_plans(output: Place, key: str) -> State | None:
    """Reads all plans in order; None if one was deleted since it was listed, because a newer plan replaced it."""
    state = State()
    for file in run_files(output, key=key):
        if file.name == PLAN:
            try:
                read_plan(file.place, state)
            except FileNotFoundError:
                return None
            except (InvalidData, IsADirectoryError) as problem:
                why = f"is not a plan: {problem}; restore it"
                if isinstance(problem, SchemaMismatch):
                    why = f"{problem}; read its parts as they are"
                raise UsageError(f"{key}: {file.place.uri} {why}, or use another output") from None
        if file.name in OWN_FILES:
            state.next_number = file.run + 1
    if state.next_number > LAST_RUN:
        raise UsageError(f"{key}: {output.uri} has run {LAST_RUN}, the last possible number")
    return state


def load_commits(output: Place) -> dict[str, list[Commit]]:
    """Lists the commits of an output by unit, from their file names."""
    commits = defaultdict[str, list[Commit]](list)
    for entry in listing.in_folder(output / COMMITS, is_hashed=True):
        if commit := Commit.from_name(entry.name):
            commits[commit.unit].append(commit)
    return commits


def _load_parts(output: Place) -> dict[str, str]:
    """Lists the parts of an output: the digest of the version of each, by unit."""
    found = listing.in_folder(output, "part-", is_hashed=True, may_be_link=True)
    return {unit: digest([entry.version]) for entry in found if (unit := unit_of_part(entry.name))}


def _emissions_in(output: Place) -> list[listing.Entry]:
    """Lists the files of kept emissions of an output."""
    found = listing.in_folder(output / EMISSIONS, is_hashed=True)
    return [entry for entry in found if parse_emissions_name(entry.name)]


def made_of(unit: str, output: Place) -> Made | None:
    """What the part of a unit was made with; None if it cannot be read, is not valid, or does not say."""
    try:
        made = read_made(unit, output)
    except (*OF_ONE_FILE, ArchivedObject, InvalidData):
        return None
    return made if made.objects else None


def units_with_errors(kinds: frozenset[str], state: State, output: Place) -> dict[str, frozenset[str]]:
    """The units with errors of these kinds, or of a kind that may pass by itself, or with one that was not foreseen, if
    another version of the code met it: by id, with those kinds. Only commits that count such errors are opened."""
    commits = (commit for each in state.commits.values() for commit in each)
    suspects = [commit for commit in commits if commit.again or (kinds and commit.errors)]
    wanted = kinds | PASSING

    def kinds_of(commit: Commit) -> frozenset[str]:
        if not (body := read_commit(commit, output)):
            return frozenset()
        errors = body.get("errors")
        unforeseen = {ErrorKind.INTERNAL} if body.get("citrascribe_version") != VERSION else set[str]()
        return (wanted | unforeseen) & frozenset(errors if isinstance(errors, dict) else ())

    with ThreadPoolExecutor(CONCURRENT_READS) as pool:
        found = zip(suspects, pool.map(kinds_of, suspects), strict=True)
        return {commit.unit: matching for commit, matching in found if matching}


def sweep(output: Place, older_than_s: float) -> None:
    """Deletes temporary files that killed processes left on a local disk; other storage has none."""
    if not output.is_local:
        return
    for folder, is_own in (
        (output, unit_of_part),
        (output / COMMITS, Commit.from_name),
        (output / EMISSIONS, parse_emissions_name),
        (output / PIECES, is_piece_file),
    ):
        for entry in listing.in_folder(folder, ".", may_be_link=folder == output):
            target = target_of(entry.name)
            if target and is_own(target) and time.time_ns() - int(entry.version) > older_than_s * 1e9:
                (folder / entry.name).delete()


def sweep_emissions(output: Place, older_than_s: float) -> None:
    """Deletes files of kept emissions that nothing names any more, and that are older than that: another run may be
    about to name a new one.

    Such a file's unit has a valid commit that names another one, or neither a part nor a commit. That of a unit with a
    part alone stays, since the part may name it: a rewrite that was killed then goes on as a rewrite.
    """
    if not (found := _emissions_in(output)):
        return
    state = State(commits=load_commits(output), parts=_load_parts(output))  # as they are after the files were listed

    unnamed = [output / EMISSIONS / each.name for each in found if not _may_be_named(each.name, state)]

    def sweep_one(file: Place) -> None:
        with suppress(FileNotFoundError):  # deleted by another run
            if time.time() - file.modified().timestamp() > older_than_s:
                file.delete()

    with ThreadPoolExecutor(CONCURRENT_READS) as pool:
        list(pool.map(sweep_one, unnamed))


def _may_be_named(name: str, state: State) -> bool:
    """Whether a file of emissions is what its unit's commit names or, without a valid commit, its part may name."""
    unit, named = parse_emissions_name(name) or ("", "")
    commit = state.commit_of(unit)
    return commit.emissions == named if commit else unit in state.parts or unit in state.commits
