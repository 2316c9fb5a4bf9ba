"""What a local Ray needs of this machine, and why it does not start."""

import contextlib
import os
import shutil

from actors.foreign.errors import one_line
from jobs.cli.config import ConfigError

NEEDED_BYTES = 30_000_000  # of each folder that a local Ray writes to, for it to start at all
_SHARED_MEMORY = "/dev/shm"


def check_room() -> None:
    """Raises ConfigError if a folder that a local Ray writes to is full: it would wait for long, and say nothing."""
    for folder, advice in (
        (_temporary_folder(), "or set RAY_TMPDIR to another folder"),
        (_SHARED_MEMORY, "or give the machine or its container more of it (docker run --shm-size)"),
    ):
        with contextlib.suppress(FileNotFoundError):
            if shutil.disk_usage(folder).free < NEEDED_BYTES:
                raise ConfigError(
                    f"ray.address: a local Ray needs {NEEDED_BYTES // 10**6} MB of room in {folder}, which has less;"
                    f" free some there, {advice}"
                )


def _temporary_folder() -> str:
    """Where a local Ray keeps its files: https://docs.ray.io/en/latest/ray-core/configure.html."""
    return os.environ.get("RAY_TMPDIR") or os.environ.get("TMPDIR") or "/tmp"


def not_started(problem: Exception) -> Exception:
    """The error of a local Ray that does not start, with where it tells why; a mistake of ours stays as it is."""
    if isinstance(problem, (ConfigError, TypeError, ImportError)):
        return problem
    return ConfigError(
        f"ray.address: a local Ray does not start on this machine ({one_line(problem, 200)}); its own logs are in"
        f" {_temporary_folder()}/ray/session_latest/logs"
    )
