"""Lists the folders of runs below an output, and the files in them."""

import os
import re
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field

from actors.storage import listing, outputs
from actors.storage.place import Place

RUNS, PLAN = "_runs", "plan.arrow"
LAST_RUN = 999_999_999

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
