"""Lists the folders of runs below an output, and the files in them."""

import os
import re
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass

from actors.storage import files as storage
from actors.storage import listing, outputs
from actors.storage.outputs import below

RUNS, PLAN = "_runs", "plan.arrow"
LAST_RUN = 999_999_999

_RUN = re.compile(r"[0-9]{6,9}")


@dataclass(frozen=True, order=True)
class RunFile:
    """A file in a run's folder: the run's number, and the file's name and path."""

    run: int
    name: str
    path: str


def run_files(filesystem: storage.Filesystem, root: str) -> list[RunFile]:
    """Lists the files of all runs, in the order of their numbers. Skips folders that are not named like a run.

    Raises UsageError if a run's folder is a link.
    """
    folder = below(root, RUNS)
    if storage.is_local(filesystem):
        paths = list(_local_paths(filesystem, folder))
    else:
        paths = [each.path for each in listing.find(filesystem, folder)]
    found = list[RunFile]()
    for path in paths:
        run, _, name = path.removeprefix(f"{folder}/").partition("/")
        if _RUN.fullmatch(run) and run == f"{int(run):06d}" and path == f"{folder}/{run}/{name}" and "/" not in name:
            found.append(RunFile(int(run), name, path))
    return sorted(found)


def _local_paths(filesystem: storage.Filesystem, folder: str) -> Iterator[str]:
    try:
        names = os.listdir(folder)
    except FileNotFoundError:
        return
    for run in filter(_RUN.fullmatch, names):
        outputs.refuse_link(filesystem, f"{folder}/{run}")
        with suppress(FileNotFoundError, NotADirectoryError):  # deleted meanwhile; or a file, not a folder
            paths = [f"{folder}/{run}/{name}" for name in os.listdir(f"{folder}/{run}")]
            yield from (path for path in paths if path.endswith(f"/{PLAN}") or not os.path.isdir(path))
