"""How a person calls jobs: by the command that an installation brings, or as modules."""

import os
import shutil
import sys
from pathlib import PurePath

COMMAND, PACKAGE = "citrascribe", "python -m jobs"


def command_called() -> str:
    """How the command was called that does all jobs: by its name if that is enough, else by the path that was typed."""
    typed, found = sys.argv[0], shutil.which(COMMAND)
    if PurePath(typed).name != COMMAND:
        return PACKAGE
    return COMMAND if found and os.path.exists(typed) and os.path.samefile(found, typed) else typed


def take_job(called: str, job: str, arguments: list[str]) -> None:
    """Leaves the command line as a job of the command finds it: `citrascribe plan` is the program's name then."""
    sys.argv[:] = [f"{called} {job}", *arguments]


def how_to_call(job: str) -> str:
    """How to call a job, as this one was called: `citrascribe language-model`, or `python -m jobs.language_model`."""
    called, _, name = sys.argv[0].rpartition(" ")
    is_command = "/" not in name and (called == PACKAGE or PurePath(called).name == COMMAND)
    return f"{called} {job.replace('_', '-')}" if is_command else f"{PACKAGE}.{job}"
