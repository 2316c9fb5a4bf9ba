"""A file that a listing found."""

from typing import Literal, NamedTuple

#: Why a name is no file that may be read: it leads "outside" of what was asked for, to nothing ("dangling"), to a
#: "special" file such as a pipe, or back into a folder on the way to itself ("circle").
Fault = Literal["", "outside", "dangling", "special", "circle"]


class Entry(NamedTuple):
    """A file: its path, size in bytes, and version as `storage.version` tells it; or a name with a fault, of none."""

    path: str
    size: int
    version: str
    fault: Fault = ""

    @property
    def name(self) -> str:
        return self.path.rpartition("/")[2]
