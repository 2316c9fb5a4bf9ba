"""Finds the members that the links of a tar point to: by name, and where their headers are."""

import os.path
import tarfile
from dataclasses import dataclass, field

from actors.sources.recordings import shortened_name
from actors.sources.tar_names import without_dot

MAX_TARGETS = 1_000_000  # members that links may point to
MAX_LINKS = 40  # in a row that lead to a member, as in Linux


def target_of(link: tarfile.TarInfo) -> str:
    """The path in the tar that a link leads to. A hard link names a member, a symbolic one a path from its folder."""
    if link.islnk():
        return without_dot(link.linkname)
    return os.path.normpath(os.path.join(os.path.dirname(without_dot(link.name)), link.linkname))


@dataclass
class Targets:
    """The members of a tar so far: the offsets of their headers, and the paths to which links lead."""

    _offsets: dict[str, int] = field(default_factory=dict)
    _links: dict[str, str] = field(default_factory=dict)

    def add(self, member: tarfile.TarInfo) -> None:
        """Adds a member with content or a link; a later one of the same name replaces it."""
        path = shortened_name(without_dot(member.name))
        if len(self._offsets) + len(self._links) >= MAX_TARGETS:
            return
        offset = member.offset if member.isreg() else self.offset(target_of(member)) if member.islnk() else None
        if offset is None:
            self._links[path] = shortened_name(target_of(member))
        else:
            self._offsets[path] = offset
            self._links.pop(path, None)

    def offset(self, path: str) -> int | None:
        """The offset of the header of the member to which a path leads; None if there is none."""
        path = shortened_name(path)
        for _ in range(MAX_LINKS):
            if path not in self._links:
                break
            path = self._links[path]
        return self._offsets.get(path)
