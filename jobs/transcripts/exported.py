"""Keeps a list of the files that exports wrote to a folder, and removes those whose recordings are gone.

The folder may hold files of others, so only what the list names is ever removed, and only as it was written: a file
that someone changed stays. There is a list for each output and suffix, so that two archives may share a folder.
"""

import hashlib
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from functools import partial

from actors.foreign.errors import InvalidData
from actors.foreign.plain_json import parse_object, to_json
from actors.storage.answers import OF_ONE_FILE, FileTooLarge
from actors.storage.place import Place
from jobs.cli.terminal import say
from jobs.transcripts.file_names import clean, folded
from jobs.transcripts.out_files import LinkOutside, remove_below

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
        self._list = target / f".exported{suffix}.{digits}"  # no suffix that anything reads
        self._before = self._read()
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
        with ThreadPoolExecutor(CONCURRENT) as pool:
            removed = sum(pool.map(partial(self._remove, gone), gone))
        if changed := len(gone) - removed:
            say(f"{changed} files of recordings that are gone were changed, or are gone already: they stay as they are")
        if gone:
            self._write({name: mark for name, mark in self._before.items() if name not in gone} | self._written)
        return removed

    def _remove(self, gone: Mapping[str, str], name: str) -> bool:
        """Removes a file if it is as it was written. Returns whether it did."""
        try:
            size = int(gone[name].partition("-")[2])
            if self._is_name(name) and mark_of((self._target / name).read(size)) == gone[name]:
                remove_below(self._target, name)
                return True
        except (*OF_ONE_FILE, FileTooLarge, LinkOutside, NotADirectoryError, ValueError):
            pass  # gone already, or another's
        return False

    def _is_name(self, name: str) -> bool:
        """Whether a name in a list, which anyone may have written, is one that an export gives."""
        return name.endswith(self._suffix) and all(part and clean(part) == part for part in name.split("/"))

    def _read(self) -> dict[str, str]:
        """What earlier exports wrote; nothing if there is no list, or it is not valid."""
        with suppress(*OF_ONE_FILE, FileTooLarge, NotADirectoryError, InvalidData):
            if self._list.is_link():
                return {}
            found = parse_object(self._list.read(MAX_LIST_BYTES))
            files = found.get("files")
            if found.get("output") == self._output and isinstance(files, dict):
                return {name: mark for name, mark in files.items() if isinstance(mark, str)}
        return {}

    def _write(self, files: Mapping[str, str]) -> None:
        if files or self._before:
            self._list.write(to_json({"output": self._output, "files": dict(sorted(files.items()))}).encode())


def mark_of(data: bytes) -> str:
    return f"{hashlib.sha256(data).hexdigest()[:16]}-{len(data)}"
