"""Lists the folders of runs below an output, and the files in them; removes those of old runs."""

import os
import re
from collections import defaultdict
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime

from actors.storage import listing, outputs
from actors.storage.local_writes import target_of
from actors.storage.place import Place
from jobs.cli.terminal import say

RUNS, PLAN, HEARTBEAT, SUMMARY = "_runs", "plan.arrow", "heartbeat", "summary.json"
LAST_RUN = 999_999_999
CONCURRENT_DELETES = 16

_RUN = re.compile(r"[0-9]{6,9}")


@dataclass(frozen=True, order=True)
class RunFile:
    """A file in a run's folder: the run's number, and the file's name and place."""

    run: int
    name: str
    place: Place = field(compare=False)


def run_files(output: Place) -> list[RunFile]:
    """Lists the files of all runs, in the order of their numbers. Skips folders that are not named like a run.

    Raises UsageError if a run's folder is a link.
    """
    folder = output / RUNS
    paths = list(_local_paths(folder)) if folder.is_local else [each.path for each in listing.find(folder)]
    found = list[RunFile]()
    for path in paths:
        run, _, name = path.removeprefix(f"{folder.path}/").partition("/")
        is_direct = path == f"{folder.path}/{run}/{name}" and "/" not in name
        if is_direct and _RUN.fullmatch(run) and run == f"{int(run):06d}":
            found.append(RunFile(int(run), name, folder.with_path(path)))
    return sorted(found)


def sweep_runs(output: Place, newest: int, keep: int, lease_seconds: float) -> None:
    """Removes the job's files of runs older than the `keep` newest ones up to run `newest`, the caller's own, which has
    a heartbeat.

    A run whose plan is there stays, since what is done is known from it; so does one that may be alive, and whatever
    else lies in the folders. The highest number stays too, so that no number is used twice.
    """
    files = defaultdict[int, list[RunFile]](list)
    for file in run_files(output):
        if file.run <= newest and (target_of(file.name) or file.name) in (PLAN, HEARTBEAT, SUMMARY):
            files[file.run].append(file)
    old = [files[run] for run in sorted(files)[:-keep]]
    now = (output / RUNS / f"{newest:06d}" / HEARTBEAT).modified() if old else None
    gone = [of_run for of_run in old if now and not any(_is_needed(file, now, lease_seconds) for file in of_run)]
    try:
        with ThreadPoolExecutor(CONCURRENT_DELETES) as pool:
            list(pool.map(_remove, gone))
    except OSError as problem:  # transcripts are not the worse for it
        say(f"storage: folders of old runs were not removed: {problem}")


def _is_needed(file: RunFile, now: datetime, lease_seconds: float) -> bool:
    """Whether a file is a plan, or a heartbeat that is younger than the lease."""
    try:
        beats = file.name == HEARTBEAT and (now - file.place.modified()).total_seconds() < lease_seconds
    except FileNotFoundError:
        return False
    return file.name == PLAN or beats


def _remove(files: Iterable[RunFile]) -> None:
    for file in files:
        file.place.delete()
        if file.place.is_local:
            with suppress(OSError):  # others have files there
                os.rmdir(file.place.parent.path)


def _local_paths(folder: Place) -> Iterator[str]:
    try:
        names = os.listdir(folder.path)
    except FileNotFoundError:
        return
    for run in filter(_RUN.fullmatch, names):
        outputs.refuse_link(folder / run)
        with suppress(FileNotFoundError, NotADirectoryError):  # deleted meanwhile; or a file, not a folder
            paths = [f"{folder.path}/{run}/{name}" for name in os.listdir(f"{folder.path}/{run}")]
            yield from (path for path in paths if path.endswith(f"/{PLAN}") or not os.path.isdir(path))
