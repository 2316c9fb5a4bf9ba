"""Keeps a list of the files that exports wrote to a folder, and removes those whose recordings are gone.

The folder may hold files of others, so only what the list names is ever removed, and only as it was written: a file
that someone changed stays. There is a list for each output and suffix, so that two archives may share a folder; what
the list of another output names stays too, for both may have written the same there, such as a file without cues.
"""

import hashlib
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from functools import partial

from actors.foreign.errors import InvalidData
from actors.foreign.plain_json import parse_object, to_json
from actors.storage.answers import OF_ONE_FILE, FileTooLarge
from actors.storage.listing import names
from actors.storage.place import Place
from jobs.cli.terminal import say
from jobs.transcripts.file_names import clean, folded
from jobs.transcripts.out_files import concerns_one_file, remove_below

MAX_LIST_BYTES = 2_000_000_000  # of a list: some 10 million files
CONCURRENT = 16
FIRST_SAVE = 1_000  # files; the list is saved when it has grown to twice as many, so that a kill leaves few unnamed


class ExportedFiles:
    """The files that exports of an output wrote to a folder with a suffix: those of earlier ones, and of this one.

    A file is known by the first digits of its content's SHA-256 and its size.
    """

    def __init__(self, target: Place, suffix: str, output: str) -> None:
        digits = hashlib.sha256(output.encode("utf-8", "replace")).hexdigest()[:8]
        self._target, self._suffix, self._output = target, suffix, output
        self.name = f".exported{suffix}.{digits}"  # of the list; no suffix that anything reads
        self._list = target / self.name
        self._before = self._read(self.name, output)
        self._written = dict[str, str]()
        self._save_at = FIRST_SAVE

    def add(self, name: str, data: bytes) -> None:
        """Notes a file that is written now. Raises OSError if the list cannot be saved."""
        self._written[name] = mark_of(data)
        if len(self._written) >= self._save_at:
            self._save_at *= 2
            self.save()

    def save(self) -> None:
        """Writes the list with what earlier exports wrote and this one. Raises OSError."""
        self._write(self._before | self._written)

    def remove_others(self, kept: set[str]) -> int:
        """Removes the files of earlier exports that this one did not write, save those `kept`, as they are to be
        written again. Returns their number. Raises OSError if the storage fails."""
        current = {folded(name) for name in (*self._written, *kept)}
        gone = {name: mark for name, mark in self._before.items() if folded(name) not in current}
        others = self._of_other_outputs() if gone else set[str]()
        own = {name: mark for name, mark in gone.items() if folded(name) not in others}
        with ThreadPoolExecutor(CONCURRENT) as pool:
            removed = sum(pool.map(partial(self._remove, own), own))
        if changed := len(own) - removed:
            say(f"{changed} files of recordings that are gone were changed, or are gone already: they stay as they are")
        if gone:
            self._write({name: mark for name, mark in self._before.items() if name not in gone} | self._written)
        return removed

    def _of_other_outputs(self) -> set[str]:
        """The files that the lists of other outputs name, as returned by `folded`. Raises OSError."""
        others = set(names(self._target, self.name.rpartition(".")[0] + ".", may_be_link=True)) - {self.name}
        return {folded(name) for other in others for name in self._read(other)}

    def _remove(self, gone: Mapping[str, str], name: str) -> bool:
        """Removes a file if it is as it was written. Returns whether it did."""
        try:
            size = int(gone[name].partition("-")[2])
            if self._is_name(name) and mark_of((self._target / name).read(size)) == gone[name]:
                remove_below(self._target, name)
                return True
        except (FileTooLarge, ValueError):
            pass  # another's
        except OSError as problem:
            if not concerns_one_file(problem):
                raise
        return False

    def _is_name(self, name: str) -> bool:
        """Whether a name in a list, which anyone may have written, is one that an export gives."""
        return name.endswith(self._suffix) and all(part and clean(part) == part for part in name.split("/"))

    def _read(self, name: str, output: str | None = None) -> dict[str, str]:
        """What a list names, of an output if one is given; nothing if there is no list, or it is not valid."""
        place = self._target / name
        with suppress(*OF_ONE_FILE, FileTooLarge, NotADirectoryError, InvalidData):
            if place.is_link():
                return {}
            found = parse_object(place.read(MAX_LIST_BYTES))
            files = found.get("files")
            if output in (None, found.get("output")) and isinstance(files, dict):
                return {name: mark for name, mark in files.items() if isinstance(mark, str)}
        return {}

    def _write(self, files: Mapping[str, str]) -> None:
        if files or self._before:
            self._list.write(to_json({"output": self._output, "files": dict(sorted(files.items()))}).encode())


def mark_of(data: bytes) -> str:
    return f"{hashlib.sha256(data).hexdigest()[:16]}-{len(data)}"
