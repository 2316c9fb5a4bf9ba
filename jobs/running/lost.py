"""Ends an execution of the graph whose reserved workers are lost with their machine and have no place to come back to.

Ray reserves lost places of a group again together, once there is room for all of them on the machines that are left.
Until then it keeps the workers that were in them, and what was sent to them, waiting: for ever, where the run's own
other workers hold that room.
"""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from typing import TYPE_CHECKING

from jobs.running.cluster import ShareLost

if TYPE_CHECKING:
    from ray.util.placement_group import PlacementGroup

LOOK_EVERY_S = 5.0
LOST_AFTER_S = 60.0  # a machine may come back, and others may make room


@contextmanager
def watched(group: "PlacementGroup") -> Iterator[None]:
    """Within the block, a graph that this process executes raises ShareLost if what the group reserves is lost."""
    import ray.data

    context = ray.data.DataContext.get_current()
    context.custom_execution_callback_classes = [partial(_Watch, group)]
    try:
        yield
    finally:
        context.custom_execution_callback_classes = []


class _Watch:
    """Looks at a group from Ray Data's own loop, which gives what is raised there to who iterates over the results. (It
    has the methods of Ray Data's ExecutionCallback, to inherit from which would load Ray with this module.)"""

    def __init__(self, group: "PlacementGroup") -> None:
        self._group, self._look_at, self._lost_at = group, 0.0, float("inf")

    def before_execution_starts(self, executor: object) -> None: ...

    def on_execution_step(self, executor: object) -> None:
        now = time.monotonic()
        if now < self._look_at:
            return
        self._look_at = now + LOOK_EVERY_S
        self._lost_at = min(self._lost_at, now) if _state(self._group) == "RESCHEDULING" else float("inf")
        if now - self._lost_at >= LOST_AFTER_S:
            raise ShareLost("a machine is lost, and there is no room for the workers that were reserved on it")

    def after_execution_succeeds(self, executor: object) -> None: ...

    def after_execution_fails(self, executor: object, error: Exception) -> None: ...


def _state(group: "PlacementGroup") -> str:
    """The state of a group, by Ray's name."""
    from ray.util import placement_group_table

    return str(placement_group_table(group).get("state"))
