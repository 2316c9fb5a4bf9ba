"""A bound on the bytes that threads hold at once, however large single items are."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager


class MemoryBudget:
    """A budget of bytes shared by threads. A request that exceeds what is free waits; one that exceeds the whole budget
    is granted when nothing else is held."""

    def __init__(self, max_bytes: int) -> None:
        self._max_bytes, self._held = max_bytes, 0
        self._changed = threading.Condition()

    @contextmanager
    def hold(self, size: int) -> Iterator[None]:
        """Holds `size` bytes of the budget until the block is left."""
        with self._changed:
            self._changed.wait_for(lambda: not self._held or self._held + size <= self._max_bytes)
            self._held += size
        try:
            yield
        finally:
            with self._changed:
                self._held -= size
                self._changed.notify_all()
