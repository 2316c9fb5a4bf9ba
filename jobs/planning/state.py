"""Reads the state that earlier runs left below an output.

Third parties may have put files there too. Files whose names are not the job's are skipped. A plan that is damaged is
an error, because without it the job cannot know what is done.
"""

import time
from collections import defaultdict
from concurrent.futures import ThreadPoolExecutor

from actors import VERSION
from actors.foreign.errors import InvalidData, SchemaMismatch
from actors.foreign.plain_json import parse_object
from actors.parts.commit import COMMITS, Commit, unit_of_part
from actors.parts.kept import PIECES, is_piece_file
from actors.schema import PASSING, ErrorKind, UsageError
from actors.storage import listing, outputs
from actors.storage.local_writes import target_of
from actors.storage.place import Place
from actors.units import digest
from jobs.planning.plans import State, read_plan
from jobs.planning.run_files import LAST_RUN, OWN_FILES, PLAN, run_files

CONCURRENT_READS = 16
MAX_COMMIT_BYTES = 100_000  # of a commit's content


def load_state(output: Place) -> State:
    """Reads plans, names of commits, and names and versions of parts.

    Raises UsageError for a damaged plan, and if a folder of the state is a link or not a folder.
    """
    outputs.check_folders(output)
    state = _read_plans(output)
    while state is None:
        state = _read_plans(output)
    state.commits = load_commits(output)
    for entry in listing.in_folder(output, "part-", is_hashed=True, may_be_link=True):
        if unit := unit_of_part(entry.name):
            state.parts[unit] = digest([entry.version])
    return state


def _read_plans(output: Place) -> State | None:
    """Reads all plans in order; None if one was deleted since it was listed, because a newer plan replaced it."""
    state = State()
    for file in run_files(output):
        if file.name == PLAN:
            try:
                read_plan(file.place, state)
            except FileNotFoundError:
                return None
            except (InvalidData, IsADirectoryError) as problem:
                why = f"is not a plan: {problem}; restore it"
                if isinstance(problem, SchemaMismatch):
                    why = f"{problem}; read its parts as they are"
                raise UsageError(f"output.uri: {file.place.uri} {why}, or use another output.uri") from None
        if file.name in OWN_FILES:
            state.next_number = file.run + 1
    if state.next_number > LAST_RUN:
        raise UsageError(f"output.uri: {output.uri} has run {LAST_RUN}, the last possible number")
    return state


def load_commits(output: Place) -> dict[str, list[Commit]]:
    """Lists the commits of an output by unit, from their file names."""
    commits = defaultdict[str, list[Commit]](list)
    for entry in listing.in_folder(output / COMMITS, is_hashed=True):
        if commit := Commit.from_name(entry.name):
            commits[commit.unit].append(commit)
    return commits


def read_commit(commit: Commit, output: Place) -> dict[str, object]:
    """The content of a commit; nothing if another run deleted it meanwhile, or it is damaged."""
    try:
        return parse_object(outputs.read(output / COMMITS / commit.name, MAX_COMMIT_BYTES))
    except (FileNotFoundError, InvalidData):
        return {}


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
        (output / PIECES, is_piece_file),
    ):
        for entry in listing.in_folder(folder, ".", may_be_link=folder == output):
            target = target_of(entry.name)
            if target and is_own(target) and time.time_ns() - int(entry.version) > older_than_s * 1e9:
                (folder / entry.name).delete()
