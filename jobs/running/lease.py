"""Signs of life in a run's folder, so that a second run on the same output says so and stops.

They are a courtesy: what keeps two runs at once from doing harm is the order in which units are committed. Ages are
told by the storage's own clock, as the distance between two files that it holds.
"""

import json
import os
import platform
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from actors.foreign.errors import InvalidData
from actors.foreign.plain_json import parse_object
from actors.storage import files as storage
from actors.storage import outputs
from jobs.planning.run_files import run_files

BEATS_A_LEASE = 4
MAX_HEARTBEAT_BYTES = 10_000  # bytes


@contextmanager
def heartbeat(filesystem: storage.Filesystem, folder: str, lease_seconds: float, run_id: str) -> Iterator[None]:
    """Writes a run's sign of life now and then, from a thread of its own, until the block is left."""
    ended = threading.Event()
    own = {"run_id": run_id, "machine": _machine(), "process": os.getpid(), "began": _began(os.getpid())}

    def beat() -> None:
        storage.write(filesystem, f"{folder}/heartbeat", json.dumps(own).encode())

    def beat_on() -> None:
        while not ended.wait(lease_seconds / BEATS_A_LEASE):
            with suppress(OSError):  # the run itself meets what is wrong with the storage, and says so
                beat()

    beat()
    thread = threading.Thread(target=beat_on, daemon=True)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join(timeout=5)
        with suppress(OSError):
            storage.delete(filesystem, f"{folder}/heartbeat")


def active_run(filesystem: storage.Filesystem, root: str, folder: str, lease_seconds: float) -> str | None:
    """The folder of an earlier run that is still at work, as its sign of life says; None where there is none.

    Of two that start at once, the one with the lower number goes on. `folder` is the caller's, which has a heartbeat.
    """
    now = storage.modified(filesystem, f"{folder}/heartbeat")
    own = int(folder.rpartition("/")[2])
    for sign in reversed(run_files(filesystem, root)):
        if sign.name == "heartbeat" and sign.run < own:
            with suppress(FileNotFoundError, InvalidData):  # it has just ended; or no run wrote it
                written = _Sign.of(outputs.read(filesystem, sign.path, MAX_HEARTBEAT_BYTES))
                age = (now - storage.modified(filesystem, sign.path)).total_seconds()
                if abs(age) < lease_seconds and not written.is_known_dead:  # one of the future is no sign of now
                    return sign.path.rpartition("/")[0]
    return None


@dataclass(frozen=True)
class _Sign:
    """Whose sign of life it is."""

    machine: str
    process: int
    began: str

    @classmethod
    def of(cls, data: bytes) -> "_Sign":
        """Raises InvalidData."""
        written = parse_object(data)
        machine, process, began = (written.get(name) for name in ("machine", "process", "began"))
        if not (isinstance(machine, str) and type(process) is int and isinstance(began, str)):
            raise InvalidData("it is no sign of life")
        return cls(machine, process, began)

    @property
    def is_known_dead(self) -> bool:
        """Whether it is of a process of this very machine which is gone, so that nobody need wait for it."""
        return bool(_machine()) and self.machine == _machine() and self.began != _began(self.process)


def _machine() -> str:
    """This machine since its start; "" where it does not say."""
    try:
        return f"{platform.node()} {Path('/proc/sys/kernel/random/boot_id').read_text().strip()}"
    except OSError:
        return ""


def _began(process: int) -> str:
    """When a process of this machine began, in its own ticks; "" where there is none of that number."""
    try:
        return Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[19]
    except OSError:
        return ""
