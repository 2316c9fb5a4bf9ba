"""Lists the folders of runs below an output, and the files in them; removes those of old runs."""

import os
import re
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime

from actors.foreign.errors import InvalidData
from actors.foreign.plain_json import parse_object
from actors.schema import UsageError
from actors.storage import listing, outputs
from actors.storage.local_writes import target_of
from actors.storage.place import Place
from jobs.cli.command import BUSY
from jobs.cli.terminal import say

RUNS, PLAN, HEARTBEAT, SUMMARY = "_runs", "plan.arrow", "heartbeat", "summary.json"
OWN_FILES = (PLAN, HEARTBEAT, SUMMARY)
LAST_RUN = 999_999_999
MAX_SUMMARY_BYTES = 4_000_000
CONCURRENT_REQUESTS = 16

_RUN = re.compile(r"[0-9]{6,9}")


@dataclass(frozen=True, order=True)
class RunFile:
    """A file in a run's folder: the run's number, and the file's name and place."""

    run: int
    name: str
    place: Place = field(compare=False)


def run_files(output: Place, may_be_closed: bool = False, key: str = outputs.OUTPUT) -> list[RunFile]:
    """Lists the files of all runs, in the order of their numbers. Skips folders that are not named like a run.

    Raises UsageError, which names the configuration's key, if a run's folder is a link, and PermissionError if it may
    not be read, unless `may_be_closed`: then it is listed as a file without a name.
    """
    folder = output / RUNS
    if folder.is_local:
        paths = list(_local_paths(folder, may_be_closed, key))
    else:
        paths = [each.path for each in listing.find(folder)]
    found = list[RunFile]()
    for path in paths:
        run, _, name = path.removeprefix(f"{folder.path}/").partition("/")
        is_direct = path == f"{folder.path}/{run}/{name}" and "/" not in name
        if is_direct and _RUN.fullmatch(run) and run == f"{int(run):06d}":
            found.append(RunFile(int(run), name, folder.with_path(path)))
    return sorted(found)


def is_overtaken(output: Place, number: int) -> bool:
    """Whether a run with a higher number is there, or one with this number has begun its work."""
    return any(
        (file.run > number and file.name in OWN_FILES) or (file.run == number and file.name in (HEARTBEAT, SUMMARY))
        for file in run_files(output)
    )


def sweep_runs(output: Place, newest: int, keep: int, lease_seconds: float) -> None:
    """Removes the job's files of all runs but the `keep` newest ones up to run `newest`, the caller's own, which has a
    heartbeat. Runs that ended with BUSY go first: they did nothing, and may be many. What fails is said.

    A run whose plan is there stays, since what is done is known from it; so does one that may be alive, and whatever
    else lies in the folders. The highest number stays too, so that no number is used twice.
    """
    files = defaultdict[int, list[RunFile]](list)
    try:
        for file in run_files(output):
            if file.run <= newest and (target_of(file.name) or file.name) in OWN_FILES:
                files[file.run].append(file)
        if len(files) <= keep:
            return
        now = (output / RUNS / f"{newest:06d}" / HEARTBEAT).modified()
        with ThreadPoolExecutor(CONCURRENT_REQUESTS) as pool:
            did_work = dict(zip(files, pool.map(_did_work, files.values()), strict=True))
            idle_plans = sum(not did_work[run] and any(file.name == PLAN for file in files[run]) for run in files)
            old = sorted(files, key=lambda run: (did_work[run], run))[: -max(keep - idle_plans, 1)]
            needed = pool.map(lambda run: any(_is_needed(file, now, lease_seconds) for file in files[run]), old)
            gone = [files[run] for run, is_needed in zip(old, needed, strict=True) if not is_needed]
            list(pool.map(_remove, gone))
    except (OSError, UsageError) as problem:  # transcripts are not the worse for it
        say(f"storage: folders of old runs were not removed: {problem}", "yellow")


def _did_work(files: Sequence[RunFile]) -> bool:
    """Whether a run is not known to have ended with BUSY."""
    summary = next((file.place for file in files if file.name == SUMMARY), None)
    try:
        return summary is None or parse_object(outputs.read(summary, MAX_SUMMARY_BYTES)).get("status") != BUSY
    except (InvalidData, FileNotFoundError, PermissionError):
        return True


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


def _local_paths(folder: Place, may_be_closed: bool, key: str) -> Iterator[str]:
    try:
        names = os.listdir(folder.path)
    except FileNotFoundError:
        return
    for run in filter(_RUN.fullmatch, names):
        outputs.refuse_link(folder / run, key)
        try:
            paths = [f"{folder.path}/{run}/{name}" for name in os.listdir(f"{folder.path}/{run}")]
            yield from (path for path in paths if path.endswith(f"/{PLAN}") or not os.path.isdir(path))
        except PermissionError:
            if not may_be_closed:
                raise
            yield f"{folder.path}/{run}/"
        except (FileNotFoundError, NotADirectoryError):  # deleted meanwhile; or a file, not a folder
            continue
