"""Signals that ask a job to end: SIGTERM of schedulers and `ray job stop`, SIGINT of Ctrl-C, SIGHUP of a lost terminal.

The first one raises KeyboardInterrupt in the main thread, which sums up and ends. A later one, or one before there is
anything to sum up, ends the process at once, and what it has started.

These signals are blocked, and taken by a thread that waits for them. Handlers would not do: while Ray starts, it puts
one of its own in their place that exits without a word, and then one in C++ that kills the process.
"""

import enum
import fcntl
import json
import os
import select
import signal
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

ASKING = frozenset({signal.SIGTERM, signal.SIGINT, signal.SIGHUP})
INTERRUPTED = "interrupted: committed units are kept; the next run does the rest"
SAME_REQUEST_S = 1.0  # a group and its leader are often signalled both: such signals are one request
_WAKE = signal.SIGURG  # makes the main thread look; ignored by default, and left alone by Ray
FAILED = 1  # the exit status


class Stage(enum.Enum):
    """How far the process is."""

    IMPORTING = enum.auto()
    WORKING = enum.auto()
    TELLING = enum.auto()  # the job is over, and what became of it is being printed
    ENDING = enum.auto()  # it is printed, and Ray is ended


class Signals:
    """What signals have asked of this process, and what it does about that."""

    def __init__(self) -> None:
        self.asked: float | None = None  # when the first signal came, by the monotonic clock
        self.ends_with_json = True  # else standard output is for people
        self._stage, self._status = Stage.IMPORTING, FAILED
        self._error, self._output = -1, -1

    def take(self) -> None:
        """Takes the signals from now on. To be called once, while this thread is the only one: all others inherit the
        mask. Signals that whoever started the process has it ignore, such as `nohup`, stay ignored."""
        taken = {each for each in ASKING if signal.getsignal(each) is not signal.SIG_IGN}
        inherited = (
            signal.pthread_sigmask(signal.SIG_BLOCK, taken) - taken
        )  # a job that starts itself anew leaves them so
        os.register_at_fork(after_in_child=lambda: signal.pthread_sigmask(signal.SIG_SETMASK, inherited))
        with suppress(OSError):  # closed
            self._error = fcntl.fcntl(2, fcntl.F_DUPFD_CLOEXEC, 3)  # standard error may be silenced
        with suppress(OSError):
            self._output = fcntl.fcntl(1, fcntl.F_DUPFD_CLOEXEC, 3)
        signal.signal(_WAKE, self._interrupt)
        sys.unraisablehook = self._unraisable
        threading.Thread(target=self._wait, args=[taken], daemon=True, name="signals").start()

    @property
    def sentence(self) -> str:
        """What is said of a job that was asked to end."""
        return INTERRUPTED if self.ends_with_json else "interrupted"

    @contextmanager
    def working(self) -> Iterator[None]:
        """A block that the first signal interrupts with KeyboardInterrupt."""
        self._stage = Stage.WORKING
        try:
            yield
        finally:
            self._stage = Stage.TELLING

    def close(self, status: int) -> None:
        """Notes the status that the job ends with, which it has told. If it was asked to end, ends the process: Ray may
        have been half started, and what it would do at exit then crashes."""
        self._stage, self._status = Stage.ENDING, status
        if self.asked is not None:
            self._end_at_once()

    def _wait(self, taken: set[signal.Signals]) -> None:
        while True:
            signal.sigwait(taken)
            now, is_first = time.monotonic(), self.asked is None
            if is_first and self._stage in (Stage.WORKING, Stage.TELLING):
                self.asked = now
                _write(self._error, "stopping; a second signal ends the job at once")
                self._wake_main_thread()
            elif is_first or now - (self.asked or 0.0) >= SAME_REQUEST_S:
                _write(self._error, "interrupted while Ray ended" if self._stage is Stage.ENDING else self.sentence)
                self._end_at_once()

    def _wake_main_thread(self) -> None:
        signal.pthread_kill(threading.main_thread().ident or 0, _WAKE)

    def _interrupt(self, *_: object) -> None:
        if self.asked is not None and self._stage is Stage.WORKING:
            raise KeyboardInterrupt

    def _unraisable(self, what: "sys.UnraisableHookArgs") -> None:
        """Raises KeyboardInterrupt again where it was lost in code that cannot raise, such as a finalizer."""
        if issubclass(what.exc_type, KeyboardInterrupt):
            self._wake_main_thread()
        else:
            sys.__unraisablehook__(what)

    def _end_at_once(self) -> None:
        """Ends this process and its descendants, and prints the JSON line unless the job has."""
        kill_descendants()
        if self._stage is not Stage.ENDING and self.ends_with_json:
            _write(self._output, json.dumps({"status": FAILED, "error": INTERRUPTED}))
        os._exit(self._status)


def _write(descriptor: int, line: str) -> None:
    """Writes a line to a descriptor that may be closed, full, or a pipe that nobody reads."""
    with suppress(OSError, ValueError):
        if select.select([], [descriptor], [], 1.0)[1]:
            # A line of progress may stand on a terminal.
            before = "\r\x1b[K" if os.isatty(descriptor) and os.environ.get("TERM") not in ("dumb", "unknown") else ""
            os.write(descriptor, f"{before}{line}\n".encode())


def let_through() -> None:
    """Has SIGTERM and SIGHUP act as usual on this process, a child that inherited the mask. Ctrl-C is its parent's."""
    signal.pthread_sigmask(signal.SIG_UNBLOCK, ASKING - {signal.SIGINT})


def kill_descendants() -> None:
    """Kills the processes that this one has started, and those that they have. Finds none where there is no /proc."""
    children = dict[int, list[int]]()
    for file in Path("/proc").glob("[0-9]*/stat"):
        with suppress(OSError):
            parent = int(file.read_bytes().rpartition(b")")[2].split()[1])
            children.setdefault(parent, []).append(int(file.parent.name))
    found = [os.getpid()]
    for each in found:
        found += children.get(each, [])
    for each in found[1:]:
        with suppress(OSError):
            os.kill(each, signal.SIGKILL)


SIGNALS = Signals()
