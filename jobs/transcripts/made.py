"""Tells which of the files that an input names were made by jobs of this package, so that none learns from itself."""

from collections.abc import Set

from actors.parts.emissions import EMISSIONS
from actors.parts.stored import COMMITS, unit_of_part
from jobs.planning.files import EXPORT_FOLDER, File
from jobs.planning.finding import Found
from jobs.planning.run_files import RUNS
from jobs.transcripts.aligned import FOLDER as ALIGN_FOLDER
from jobs.transcripts.aligned import unit_of_aligned

_OUTPUT_FOLDERS = (RUNS, COMMITS)  # each output of jobs.transcribe has one of them
_MADE_FOLDERS = (EXPORT_FOLDER, ALIGN_FOLDER, EMISSIONS)
_UNIT_DIGITS = 16  # other tools number their parts, as in part-00000.parquet


def made_by_jobs(found: Found) -> set[str]:
    """The URIs of files below an output of jobs.transcribe, whatever they are, and of those that have the names of what
    jobs write, but for files and folders that input.uri names itself."""
    files = [*found.files.values(), *(file for file, _ in found.passed_over.values())]
    outputs = {output for file in files if (output := _output_above(file))}
    return {file.uri for file in found.files.values() if _is_made(file) or _is_below(file, outputs)}


def is_part(file: File) -> bool:
    """Whether a file has the name of a part, or of the aligned references of one."""
    name = file.name.rpartition("/")[2]
    return len(unit_of_part(name) or unit_of_aligned(name) or "") >= _UNIT_DIGITS


def _output_above(file: File) -> str | None:
    """The output that a file tells of by the folders that it is in."""
    folders = file.name.split("/")[:-1]
    depth = next((number for number, name in enumerate(folders) if name in _OUTPUT_FOLDERS), None)
    return None if depth is None else _without(file.uri, len(folders) + 1 - depth)


def _without(uri: str, count: int) -> str:
    """A URI without the last names of its path."""
    return uri.rsplit("/", count)[0]


def _is_made(file: File) -> bool:
    folders = file.name.split("/")[:-1]
    return is_part(file) or any(name in folders for name in _MADE_FOLDERS)


def _is_below(file: File, outputs: Set[str]) -> bool:
    if file.is_explicit or not outputs:
        return False
    depth = file.name.count("/") + 1
    return any(_without(file.uri, count) in outputs for count in range(1, depth + 1))
