"""Ends a process in which nothing is finished any more: nothing else stops a loop in a codec, or a read that hangs."""

import faulthandler
import threading
import time


class Patience:
    """Ends the process if it is entered and `finished` is not called for `seconds`, with the stacks of all threads on
    standard error. Ray then repeats the block.

    There is one timer for all that is going on, and it is set again once a second at most: setting it starts a thread,
    which takes tens of microseconds, and a piece may have a million tiny recordings. The thread needs no GIL, which the
    code that loops may hold.
    """

    def __init__(self, seconds: float) -> None:
        self._step = min(seconds / 10, 1.0)
        self._seconds, self._set_at, self._lock = seconds + self._step, 0.0, threading.Lock()

    def __enter__(self) -> "Patience":
        self._set()
        return self

    def __exit__(self, *_: object) -> None:
        with self._lock:
            faulthandler.cancel_dump_traceback_later()

    def finished(self) -> None:
        """Says that something was finished."""
        if time.monotonic() - self._set_at > self._step:
            self._set()

    def _set(self) -> None:
        with self._lock:
            self._set_at = time.monotonic()
            faulthandler.dump_traceback_later(self._seconds, exit=True)
