"""How much is held at once by those who work side by side, however large the single things are."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager


class Room:
    """Room for so many bytes. Whoever wants some waits until they are free; who wants more than there are is let in
    alone."""

    def __init__(self, most: int) -> None:
        self._most, self._held = most, 0
        self._changed = threading.Condition()

    @contextmanager
    def of(self, size: int) -> Iterator[None]:
        """Holds so many bytes until the block is left."""
        with self._changed:
            self._changed.wait_for(lambda: not self._held or self._held + size <= self._most)
            self._held += size
        try:
            yield
        finally:
            with self._changed:
                self._held -= size
                self._changed.notify_all()
