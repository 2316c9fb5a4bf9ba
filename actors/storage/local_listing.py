"""Listing of local disks. A link is followed if it leads below the listed path or below an allowed root."""

import contextlib
import errno
import os
import stat
from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

from actors.schema import UsageError
from actors.storage.entry import Entry, Fault
from actors.storage.retry import retried

MAX_REPEATS = 1_000_000  # further names of listed files: two links per folder, 30 levels deep, make a billion


class _Folder(NamedTuple):
    """A folder to list: its path, its real path, and the real paths of the folders with links that led to it."""

    path: str
    real: str
    chain: tuple[str, ...] = ()


def walk(
    path: str, roots: Sequence[str] = (), enters: Callable[[str], bool] = lambda folder: True, follow_links: bool = True
) -> Iterator[Entry]:
    """Every file at or below a path, in no particular order; nothing if it does not exist. Without `follow_links`,
    links are left out.

    A folder is listed if `enters` returns true for its path. An entry that cannot be read has a fault; special files
    are not opened. Raises PermissionError, or another OSError, if a folder cannot be listed, because what is not listed
    counts as deleted; UsageError if links make too many names.
    """
    top = _at(path)
    if not isinstance(top, _Folder):
        yield from [top] if top else []
        return
    folders, links = [top], _Links((top.real, *map(os.path.realpath, roots)))
    listed, repeats = set[str](), 0
    while folders:
        folder = folders.pop()
        below = folder.path.rstrip("/") + "/"
        is_repeat = folder.real in listed
        listed.add(folder.real)
        for each in _scan(folder.path):
            if each.is_symlink():
                found = links.follow(each, folder) if follow_links else None
            elif each.is_dir():
                found = _Folder(below + each.name, f"{folder.real.rstrip('/')}/{each.name}", folder.chain)
            else:
                found = _file(each)
            if isinstance(found, _Folder):
                if enters(found.path):
                    folders.append(found)
            elif found is not None:
                yield found
            repeats += is_repeat
            if repeats > MAX_REPEATS:
                raise UsageError(
                    f"links below {path} make more than {MAX_REPEATS:,} further names of files that are listed already,"
                    f" the last in {folder.path}; remove such links, or name the folders themselves"
                )


def files_in(folder: str, prefix: str) -> Iterator[Entry]:
    """The files directly in a folder whose names begin with a prefix, without links."""
    for each in _scan(folder):
        if each.name.startswith(prefix) and each.is_file(follow_symlinks=False) and (found := _file(each)):
            yield found


def _scan(folder: str) -> Iterator[os.DirEntry[str]]:
    """The entries of a folder; none if it does not exist, or disappears."""
    with contextlib.suppress(FileNotFoundError), _opened(folder) as scanned:
        yield from scanned


@retried
def _opened(folder: str) -> "os._ScandirIterator[str]":
    try:
        return os.scandir(folder)
    except PermissionError:
        raise PermissionError(errno.EACCES, "no permission to list this folder", folder) from None


def _at(path: str) -> Entry | _Folder | None:
    """What is at the listed path itself; None if nothing is."""
    try:
        status = _status(path)
    except (FileNotFoundError, NotADirectoryError):
        return Entry(path, 0, "", "dangling") if os.path.islink(path) else None
    except OSError as problem:
        if problem.errno != errno.ELOOP:
            raise
        return Entry(path, 0, "", "circle")
    return _Folder(path, os.path.realpath(path)) if stat.S_ISDIR(status.st_mode) else _entry(path, status)


@retried
def _status(path: str) -> os.stat_result:
    return os.stat(path)


def _file(each: os.DirEntry[str]) -> Entry | None:
    """The entry of what is neither a link nor a folder; None if it has disappeared."""
    try:
        return _entry(each.path, each.stat(follow_symlinks=False))
    except FileNotFoundError:
        return None


def _entry(path: str, status: os.stat_result) -> Entry:
    if stat.S_ISREG(status.st_mode):
        return Entry(path, status.st_size, str(status.st_mtime_ns))
    return Entry(path, 0, "", "special")


class _Links:
    """Resolves links. `roots` are the real paths that they must lead below."""

    def __init__(self, roots: Sequence[str]) -> None:
        self._roots = tuple({root.rstrip("/") + "/" for root in roots})
        self._reals = dict[str, str]()  # cache: real paths of the targets' parent folders, which are often the same

    def follow(self, link: os.DirEntry[str], folder: _Folder) -> Entry | _Folder | None:
        """The file or folder that a link leads to, or an entry with a fault; None if the link has disappeared."""
        try:
            real = self._real(folder.real, os.readlink(link.path))
            if not f"{real}/".startswith(self._roots):
                return _with_fault(link, "outside")  # without touching the target
            status = os.stat(real)
        except (FileNotFoundError, NotADirectoryError):
            return _with_fault(link, "dangling") if os.path.islink(link.path) else None
        except OSError as problem:
            if problem.errno != errno.ELOOP:
                raise
            return _with_fault(link, "circle")
        if not stat.S_ISDIR(status.st_mode):
            return _entry(link.path, status)
        ancestors = (*folder.chain, folder.real)
        if any(f"{each}/".startswith(real.rstrip("/") + "/") for each in ancestors):
            return _with_fault(link, "circle")
        return _Folder(link.path, real, ancestors)

    def _real(self, folder: str, target: str) -> str:
        """The real path of the target of a link in a folder."""
        head, name = os.path.split(target)
        if name in ("", ".", ".."):
            return os.path.realpath(os.path.join(folder, target))
        parent = os.path.join(folder, head)
        if parent not in self._reals:
            self._reals[parent] = os.path.realpath(parent).rstrip("/")
        real = f"{self._reals[parent]}/{name}"
        return os.path.realpath(real) if os.path.islink(real) else real


def _with_fault(link: os.DirEntry[str], fault: Fault) -> Entry:
    return Entry(link.path, 0, "", fault)
