"""Writes heartbeats to a run's folder, so that a second run on the same output stops with a message.

They are a courtesy: two concurrent runs do no harm, because of the order in which units are committed. Ages are
measured by the storage's own clock, as the difference between the modification times of two files.
"""

import json
import os
import platform
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from actors.foreign.errors import InvalidData
from actors.foreign.plain_json import parse_object
from actors.storage import outputs
from actors.storage.place import Place
from jobs.planning.run_files import HEARTBEAT, RunFile, run_files

BEATS_PER_LEASE = 4
MAX_HEARTBEAT_BYTES = 10_000


@contextmanager
def heartbeat(
    folder: Place, lease_seconds: float, run_id: str, on_beat: Callable[[], None] = lambda: None
) -> Iterator[None]:
    """Writes a run's heartbeat regularly, from a thread of its own, until the block is left. `on_beat` is called after
    each but the first; an OSError of it is passed over."""
    ended, file = threading.Event(), folder / HEARTBEAT
    own = {"run_id": run_id, "machine": _machine_id(), "process": os.getpid(), "began": _start_time(os.getpid())}

    def write() -> None:
        file.write(json.dumps(own).encode())

    def write_regularly() -> None:
        while not ended.wait(lease_seconds / BEATS_PER_LEASE):
            with suppress(OSError):  # the run itself meets and reports storage errors
                write()
                on_beat()

    write()
    thread = threading.Thread(target=write_regularly, daemon=True)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join(timeout=5)
        with suppress(OSError):
            file.delete()


def active_run(output: Place, folder: Place, lease_seconds: float) -> Place | None:
    """The folder of an earlier run whose heartbeat is recent, or None.

    Of two runs that start at the same time, the one with the lower number continues. `folder` is the caller's own run,
    which has a heartbeat.
    """
    now = (folder / HEARTBEAT).modified()
    own = int(folder.name)
    for file in reversed(run_files(output)):
        if file.run < own and file.name == HEARTBEAT and is_alive(file, lease_seconds, now):
            return file.place.parent
    return None


def is_alive(file: RunFile, lease_seconds: float, now: datetime) -> bool:
    """Whether a heartbeat is of a run that is at work: it is recent, and its process is not known to be gone."""
    with suppress(FileNotFoundError, InvalidData):  # the run has just ended; or no run wrote the file
        is_known_dead = _is_known_dead(file.place)
        age = (now - file.place.modified()).total_seconds()
        return abs(age) < lease_seconds and not is_known_dead  # one from the future is not recent
    return False


def _is_known_dead(heartbeat_file: Place) -> bool:
    """Whether a heartbeat is of a process that is known to be gone; of one that may not be read, nothing is known."""
    try:
        return _Heartbeat.of(outputs.read(heartbeat_file, MAX_HEARTBEAT_BYTES)).is_known_dead
    except PermissionError:  # of another user's run
        return False


@dataclass(frozen=True)
class _Heartbeat:
    """The process that wrote a heartbeat."""

    machine: str
    process: int
    began: str

    @classmethod
    def of(cls, data: bytes) -> "_Heartbeat":
        """Parses a heartbeat. Raises InvalidData."""
        fields = parse_object(data)
        machine, process, began = (fields.get(name) for name in ("machine", "process", "began"))
        if not (isinstance(machine, str) and type(process) is int and isinstance(began, str)):
            raise InvalidData("it is not a heartbeat")
        return cls(machine, process, began)

    @property
    def is_known_dead(self) -> bool:
        """Whether it is of a process on this machine that no longer exists, so that its lease need not expire first."""
        return bool(_machine_id()) and self.machine == _machine_id() and self.began != _start_time(self.process)


def _machine_id() -> str:
    """Identifies this machine and its boot; "" if unknown."""
    try:
        return f"{platform.node()} {Path('/proc/sys/kernel/random/boot_id').read_text(encoding='utf-8').strip()}"
    except OSError:
        return ""


def _start_time(process: int) -> str:
    """Start time of a process on this machine, in clock ticks since boot; "" if there is no such process."""
    try:
        return (
            Path(f"/proc/{process}/stat").read_text(encoding="utf-8", errors="replace").rpartition(")")[2].split()[19]
        )
    except OSError:
        return ""
