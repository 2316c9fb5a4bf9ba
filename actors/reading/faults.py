"""Tells what concerns one recording from what concerns its storage as a whole, or the machine."""

import errno
from collections.abc import Iterable
from itertools import islice

from actors.schema import ErrorKind, RecordingError, UsageError
from actors.sources.objects import CHANGED, GONE
from actors.storage.answers import ArchivedObject, FileTooLarge, NotRegularFile
from actors.storage.place import Place

MAX_WITNESSES = 3  # other objects that are tried, to see whether the storage responds at all
MAX_INTERNAL_IN_A_ROW = 20  # recordings with an unforeseen exception, after which it is not they that are at fault
_NO_SUCH_NAME = (errno.ENAMETOOLONG, errno.EINVAL, errno.EILSEQ)


class StorageUnavailable(OSError):
    """The storage of the input does not respond, or denies access altogether, so nothing is known of a recording."""


def error_of(problem: Exception, place: Place | None, witnesses: Iterable[Place] = ()) -> RecordingError:
    """The error of a recording that could not be fetched or decoded: any exception has one.

    `place` is its file, None if it was in memory, and `witnesses` are others of the same piece. Raises
    StorageUnavailable, which names the file, if it is the storage as a whole that does not respond; and ImportError,
    since then this machine lacks something.
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
    if not _responds(place, witnesses):
        raise StorageUnavailable(f"{what} cannot be read, and the storage does not respond: {problem}") from problem
    if isinstance(problem, PermissionError):
        return RecordingError(ErrorKind.FORBIDDEN, f"no permission to read {what}")
    return RecordingError(
        ErrorKind.UNREACHABLE, f"{what} cannot be read, though its storage responds: {problem!s:.300}"
    )


def _responds(place: Place, witnesses: Iterable[Place]) -> bool:
    """Whether storage answers us at all: for the folder of a file, or, if listing it is not allowed, for others."""
    others = islice((each for each in witnesses if each.path != place.path), MAX_WITNESSES)
    for call in (place.check_access, *(lambda each=each: each.read_range(0, 1) for each in others)):
        try:
            call()
        except OSError:
            continue
        return True
    return False


class InternalErrors:
    """Counts recordings in a row with an unforeseen exception: after many, the fault is the code's or the machine's."""

    def __init__(self) -> None:
        self._in_a_row = 0

    def add(self, error_kind: object, detail: object) -> None:
        """Counts a recording. Raises RuntimeError if there were too many."""
        self._in_a_row = self._in_a_row + 1 if error_kind == ErrorKind.INTERNAL else 0
        if self._in_a_row > MAX_INTERNAL_IN_A_ROW:
            raise RuntimeError(f"{self._in_a_row} recordings in a row failed in a way that is not foreseen: {detail}")
