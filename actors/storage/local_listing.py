"""What lies on a local disk. A link is followed where it leads below what was asked for, or below an allowed root."""

import contextlib
import errno
import os
import stat
from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

from actors.schema import UsageError
from actors.storage.entry import Entry, Fault
from actors.storage.retry import patiently

MAX_REPEATS = 1_000_000  # names of what was listed by another: two links a folder, 30 folders deep, make a billion


class _Folder(NamedTuple):
    """A folder to be listed: its path, its real path, and the real paths that links led to on the way."""

    path: str
    real: str
    chain: tuple[str, ...] = ()


def walk(
    path: str, roots: Sequence[str] = (), enters: Callable[[str], bool] = lambda folder: True, follows: bool = True
) -> Iterator[Entry]:
    """Every file at or below a path, in no order; nothing where there is none. Links that `follows` not are left out.

    A folder is listed where `enters` wants it. A name that is no file to be read comes with its fault; special files
    are not opened. Raises PermissionError, and any other OSError, where a folder cannot be listed, for what was not
    listed would count as deleted; UsageError where links make too many names.
    """
    if not os.path.isdir(path):
        yield from _asked_for(path)
        return
    real = os.path.realpath(path)
    folders, links = [_Folder(path, real)], _Links((real, *map(os.path.realpath, roots)))
    listed, again = set[str](), 0
    while folders:
        folder = folders.pop()
        below = folder.path.rstrip("/") + "/"
        is_again = folder.real in listed
        listed.add(folder.real)
        for each in _scan(folder.path):
            if each.is_symlink():
                found = links.follow(each, folder) if follows else None
            elif each.is_dir():
                found = _Folder(below + each.name, f"{folder.real.rstrip('/')}/{each.name}", folder.chain)
            else:
                found = _file(each)
            if isinstance(found, _Folder):
                if enters(found.path):
                    folders.append(found)
            elif found is not None:
                yield found
            again += is_again
            if again > MAX_REPEATS:
                raise UsageError(
                    f"links below {path} make more than {MAX_REPEATS:,} further names of what is listed anyway, the"
                    f" last in {folder.path}; remove such links, or name the folders themselves"
                )


def directly(folder: str, prefix: str, may_be_link: bool) -> Iterator[Entry]:
    """The files directly in a folder whose names begin with a prefix; links are none. Raises UsageError as below."""
    if not may_be_link:
        refuse_link(folder)
    for each in _scan(folder):
        if each.name.startswith(prefix) and each.is_file(follow_symlinks=False) and (found := _file(each)):
            yield found


def refuse_link(folder: str) -> None:
    """Raises UsageError where a folder of the output's state is a link: what it leads to is not the output's."""
    if os.path.islink(folder):
        raise UsageError(f"{folder} is a link; the output's state must lie in the output itself")


def _scan(folder: str) -> Iterator[os.DirEntry[str]]:
    """What is in a folder; nothing where it is not there, or is a file."""
    with contextlib.suppress(FileNotFoundError), _opened(folder) as scanned:
        yield from scanned


@patiently
def _opened(folder: str) -> "os._ScandirIterator[str]":
    try:
        return os.scandir(folder)
    except PermissionError:
        raise PermissionError(errno.EACCES, "this folder may not be listed", folder) from None


def _asked_for(path: str) -> Iterator[Entry]:
    """What is no folder, by the path that was asked for."""
    try:
        known = os.stat(path)
    except (FileNotFoundError, NotADirectoryError):
        if os.path.islink(path):
            yield Entry(path, 0, "", "dangling")
    except OSError as problem:
        if problem.errno != errno.ELOOP:
            raise
        yield Entry(path, 0, "", "circle")
    else:
        yield _entry(path, known)


def _file(each: os.DirEntry[str]) -> Entry | None:
    """What is neither a link nor a folder; None where it is gone meanwhile."""
    try:
        return _entry(each.path, each.stat(follow_symlinks=False))
    except FileNotFoundError:
        return None


def _entry(path: str, known: os.stat_result) -> Entry:
    if stat.S_ISREG(known.st_mode):
        return Entry(path, known.st_size, str(known.st_mtime_ns))
    return Entry(path, 0, "", "special")


class _Links:
    """Where links lead. `roots` are the real paths below which they may."""

    def __init__(self, roots: Sequence[str]) -> None:
        self._roots = tuple({root.rstrip("/") + "/" for root in roots})
        self._reals = dict[str, str]()  # of the folders that hold what links name: often the same

    def follow(self, link: os.DirEntry[str], folder: _Folder) -> Entry | _Folder | None:
        """The file or folder that a link leads to, or the fault; None where the link is gone."""
        try:
            real = self._real(folder.real, os.readlink(link.path))
            if not f"{real}/".startswith(self._roots):
                return _faulty(link, "outside")  # and is not looked at
            known = os.stat(real)
        except (FileNotFoundError, NotADirectoryError):
            return _faulty(link, "dangling") if os.path.islink(link.path) else None
        except OSError as problem:
            if problem.errno != errno.ELOOP:
                raise
            return _faulty(link, "circle")
        if not stat.S_ISDIR(known.st_mode):
            return _entry(link.path, known)
        way = (*folder.chain, folder.real)
        if any(f"{each}/".startswith(real.rstrip("/") + "/") for each in way):
            return _faulty(link, "circle")
        return _Folder(link.path, real, way)

    def _real(self, folder: str, target: str) -> str:
        """The real path of what a link in a folder names."""
        head, name = os.path.split(target)
        if name in ("", ".", ".."):
            return os.path.realpath(os.path.join(folder, target))
        holder = os.path.join(folder, head)
        if holder not in self._reals:
            self._reals[holder] = os.path.realpath(holder).rstrip("/")
        real = f"{self._reals[holder]}/{name}"
        return os.path.realpath(real) if os.path.islink(real) else real


def _faulty(link: os.DirEntry[str], fault: Fault) -> Entry:
    return Entry(link.path, 0, "", fault)
