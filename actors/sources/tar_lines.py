"""The lines of a NeMo manifest that describe the members of a tar shard.

Format: https://docs.nvidia.com/nemo-framework/user-guide/latest/nemotoolkit/asr/datasets.html#tarred-datasets
"""

import json
import os
import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from typing import Any

from actors.foreign.escape import escape_surrogates
from actors.sources.recordings import Recording, shortened_name, split_fields, stated_id
from actors.sources.tar_names import without_dot
from actors.units import Selection

Fields = dict[str, Any]

MAX_ALIKE = 8  # paths with one file name among which the end of a path is searched
_STRETCH = re.compile(r"-sub\d+(?=\.[^./]*$|$)")  # NeMo numbers the second and later stretches of a member


class ManifestLines:
    """The lines of a shard by the member that they name. Each is given once. `present` are the names that members
    have."""

    def __init__(self, lines: str | None) -> None:
        self._lines = dict[str, list[Fields]]()
        self._names, self._stretches, self.present = _Names(), _Names(), set[str]()
        for line in lines.split("\n") if lines is not None else ():
            fields = json.loads(line)
            name = without_dot(str(fields["audio_filepath"]))
            if name not in self._lines:
                self._names.add(name, name)
                if name != (whole := _STRETCH.sub("", name)):
                    self._stretches.add(whole, name)
            self._lines.setdefault(name, []).append(fields)

    def take(self, member: str, is_own: bool) -> list[Fields]:
        """The lines of a member; none of another share's member."""
        names = self._names.of(member) if self._lines else []
        self.present.update(names)
        lines = [fields for name in names for fields in self._lines.pop(name, ())]
        return lines if is_own else []

    def stretches(self, member: str) -> list[str]:
        """The names in lines that mean stretches of a member, unless the tar has members of these very names."""
        return self._stretches.of(member)

    def take_stretch(self, name: str) -> list[Fields]:
        """The lines of a stretch, once all members are known; none if they were a member's own."""
        return self._lines.pop(name, [])

    def left(self) -> Iterable[str]:
        """The names in lines that were not given."""
        return self._lines


def recordings_of(recording: Recording, lines: list[Fields], known: set[tuple[object, ...]]) -> Iterator[Recording]:
    """The recordings that lines make of a member; the member itself if there are none. What a line selects that is
    `known` is left out, for its row would have the key of another."""
    if not lines:
        yield recording
    for fields in lines:
        selection = Selection.of(fields)
        has_offset = fields.get("offset") is not None
        offset_s, stretch_s = (selection.offset_s, selection.stretch_s) if has_offset else (None, None)
        key = recording.member, offset_s, stretch_s, selection.channel
        if key in known:
            continue
        known.add(key)
        reference, extra = split_fields(fields)
        yield replace(
            recording,
            recording_id=str(stated_id(fields) or fields["audio_filepath"]),
            offset_s=offset_s,
            duration_s=stretch_s,
            channel=selection.channel,
            reference=reference,
            extra=extra,
        )


def is_plain_name(name: str) -> bool:
    """Whether a line's name is that of a member as its row has it: no stretch of another, and not changed for the
    row."""
    return not _STRETCH.search(name) and escape_surrogates(name) == name and shortened_name(name) == name


def described_by(lines: str) -> Callable[[Recording], Recording | None]:
    """A function that describes the recordings of a shard, which was read with lines of plain names that select the
    same, by these. It takes them without their content, in the order of their rows; None for one of no line."""
    known, described = ManifestLines(lines), dict[str, dict[Selection, Recording]]()

    def describe(recording: Recording) -> Recording | None:
        member = recording.member or ""
        if member not in described:
            found = recordings_of(recording, fields, set()) if (fields := known.take(member, is_own=True)) else ()
            described[member] = {Selection(each.offset_s, each.duration_s, each.channel): each for each in found}
        selection = Selection(recording.offset_s, recording.duration_s, recording.channel)
        of_line = described[member]
        return of_line.get(selection) or of_line.get(selection._replace(channel=None))

    return describe


class _Names:
    """Names by a path, which may be written with more or fewer of its folders."""

    def __init__(self) -> None:
        self._by_path, self._paths = dict[str, list[str]](), dict[str, list[str]]()

    def add(self, path: str, name: str) -> None:
        if path not in self._by_path:
            self._paths.setdefault(os.path.basename(path), []).append(path)
        self._by_path.setdefault(path, []).append(name)

    def of(self, member: str) -> list[str]:
        """The names for a member's path, else those of the only path that ends like it."""
        path = without_dot(member)
        if not self._by_path or path in self._by_path:
            return self._by_path.get(path, [])
        alike = self._paths.get(os.path.basename(path), [])
        near = [each for each in alike if f"/{path}".endswith(f"/{each}") or f"/{each}".endswith(f"/{path}")]
        return self._by_path[near[0]] if len(near) == 1 and len(alike) <= MAX_ALIKE else []
