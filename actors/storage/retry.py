"""Retries of calls to storage after transient errors."""

import errno
import functools
from collections.abc import Callable
from typing import ParamSpec, TypeVar

from tenacity import retry, retry_if_exception, stop_after_attempt, wait_exponential_jitter

from actors.storage.answers import ArchivedObject, FileTooLarge, NotRegularFile

Result = TypeVar("Result")
Parameters = ParamSpec("Parameters")

_PERMANENT = (
    FileNotFoundError,
    FileExistsError,
    PermissionError,
    NotADirectoryError,
    IsADirectoryError,
    NotRegularFile,
    ArchivedObject,
    FileTooLarge,
)
_PERMANENT_ERRNOS = (errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.ENAMETOOLONG, errno.ELOOP)
_CLIENTS = ("botocore", "aiobotocore", "aiohttp", "asyncio", "fsspec")  # whose exceptions are not OSErrors


def retried(call: Callable[Parameters, Result]) -> Callable[Parameters, Result]:
    """Retries a call to storage after transient errors, with jittered exponential backoff: three tries in all, beside
    those of the storage's own client.

    A full disk, a missing key or a denied permission is raised at once. A client's own exceptions, such as that of an
    endpoint that does not respond, become OSErrors, or PermissionErrors if credentials are missing.
    """

    @functools.wraps(call)
    def translated(*args: Parameters.args, **kwargs: Parameters.kwargs) -> Result:
        try:
            return call(*args, **kwargs)
        except Exception as problem:
            kind = type(problem)
            if isinstance(problem, OSError) or not is_of_client(problem):
                raise
            refused = "Credentials" in kind.__name__
            raise (PermissionError if refused else OSError)(f"{kind.__name__}: {problem}") from problem

    return retry(
        retry=retry_if_exception(_is_transient),
        wait=wait_exponential_jitter(multiplier=0.5, max=8),
        stop=stop_after_attempt(3),
        reraise=True,
    )(translated)


def is_of_client(problem: Exception) -> bool:
    """Whether an exception is one of a storage's client."""
    return type(problem).__module__.split(".")[0] in _CLIENTS


def _is_transient(problem: BaseException) -> bool:
    if not isinstance(problem, OSError) or isinstance(problem, _PERMANENT):
        return False
    return problem.errno not in _PERMANENT_ERRNOS
