"""An entry of a listing."""

from typing import Literal, NamedTuple

#: Why an entry cannot be read: it links "outside" of the listed folders, to nothing ("dangling"), or back into one of
#: its own parent folders ("circle"), or it is a "special" file such as a pipe.
Fault = Literal["", "outside", "dangling", "special", "circle"]


class Entry(NamedTuple):
    """A file: its path, size in bytes, and version as in its `FileInfo`; or a path with a fault, which has
    no size and version."""

    path: str
    size: int
    version: str
    fault: Fault = ""

    @property
    def name(self) -> str:
        return self.path.rpartition("/")[2]
