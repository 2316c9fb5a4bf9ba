"""Tells what concerns one recording from what concerns its storage as a whole, or the machine."""

import errno
from collections.abc import Iterable
from itertools import islice

from actors.schema import ErrorKind, RecordingError, UsageError
from actors.sources.objects import CHANGED, GONE
from actors.storage.answers import ArchivedObject, FileTooLarge, NotRegularFile
from actors.storage.place import Place
from actors.storage.retry import is_of_client

MAX_WITNESSES = 4  # other files that are tried, to see whether the storage lets us read at all
_NO_SUCH_NAME = (errno.ENAMETOOLONG, errno.EINVAL, errno.EILSEQ)


class StorageUnavailable(OSError):
    """The storage of the input does not respond, or denies access altogether, so nothing is known of a recording."""


def error_of(problem: Exception, place: Place | None, witnesses: Iterable[Place] = ()) -> RecordingError:
    """The error of a recording that could not be fetched or decoded: any exception has one.

    `place` is its file, None if it was in memory, and `witnesses` are others of the same piece. Raises
    StorageUnavailable, which names the file, if it is the storage as a whole that does not respond, but for web
    servers, of which an input may have many; and ImportError, since then this machine lacks something.
    """
    match problem:
        case RecordingError():
            return problem
        case ImportError():
            raise problem
        case MemoryError():
            return RecordingError(ErrorKind.HOST_MEMORY, "this machine's memory does not hold it")
        case UsageError():
            return RecordingError(ErrorKind.BAD_ENTRY, str(problem))
        case OSError() if place is not None:
            return _storage_error(problem, place, witnesses)
        case _ if place is not None and is_of_client(problem):
            return _storage_error(OSError(f"{type(problem).__name__}: {problem}"), place, witnesses)
        case _:
            return RecordingError(ErrorKind.INTERNAL, f"{type(problem).__name__}: {problem!s:.200}")


def _storage_error(problem: OSError, place: Place, witnesses: Iterable[Place]) -> RecordingError:
    """The error of a recording whose file could not be read."""
    what = place.described
    match problem:
        case FileNotFoundError() | NotADirectoryError():  # it was there when it was opened
            return RecordingError(ErrorKind.CHANGED, GONE)
        case OSError(errno=code) if code in _NO_SUCH_NAME and place.is_local:  # s3fs has EINVAL for any bad request
            return RecordingError(ErrorKind.MISSING, f"{what[:200]} cannot be the name of a file: {problem.strerror}")
        case IsADirectoryError():
            return RecordingError(ErrorKind.BAD_ENTRY, f"{what} is a folder, not a file")
        case NotRegularFile():
            return RecordingError(ErrorKind.BAD_ENTRY, f"{what} is a pipe or a device, not a regular file")
        case OSError(errno=errno.ELOOP):
            return RecordingError(ErrorKind.BAD_ENTRY, f"{what} is a link in a circle")
        case FileTooLarge():
            return RecordingError(ErrorKind.CHANGED, CHANGED)
        case ArchivedObject():
            return RecordingError(ErrorKind.ARCHIVED, f"{what} is in cold storage; restore it, then errors.retry it")
    is_denied = isinstance(problem, PermissionError)
    if not _responds(place, is_denied, witnesses):
        if (
            place.is_http
        ):  # of many servers one may be gone, or a signature may have expired: for now, as far as we know
            return RecordingError(
                ErrorKind.UNREACHABLE, f"{what} cannot be read, nor can others there: {problem!s:.300}"
            )
        raise StorageUnavailable(f"{what} cannot be read, and the storage does not respond: {problem}") from problem
    if is_denied:
        return RecordingError(ErrorKind.FORBIDDEN, f"no permission to read {what}")
    return RecordingError(
        ErrorKind.UNREACHABLE, f"{what} cannot be read, though its storage responds: {problem!s:.300}"
    )


def _responds(place: Place, is_denied: bool, witnesses: Iterable[Place]) -> bool:
    """Whether storage lets us read at all: it does if the folder of a file can be listed, or, if that is not allowed,
    if another file of the same store can be read. Of a web server that denies a file only the latter tells.

    It takes a fraction of the patience for a recording, for only a storage that responds is asked more than once.
    """
    try:
        place.check_access()
    except PermissionError:
        pass  # listing is not allowed, now or ever
    except OSError:
        return False
    else:
        if not (place.is_http and is_denied):
            return True
    others = (each for each in witnesses if each.path != place.path and each.store == place.store)
    return any(_is_readable(each) for each in islice(others, MAX_WITNESSES))


def _is_readable(place: Place) -> bool:
    try:
        place.read_range(0, 1)
    except OSError:
        return False
    return True
