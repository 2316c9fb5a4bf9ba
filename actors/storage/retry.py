"""Calls to storage, tried again while what is wrong may pass."""

import errno
import functools
from collections.abc import Callable
from typing import ParamSpec, TypeVar

from tenacity import retry, retry_if_exception, stop_after_attempt, wait_exponential_jitter

from actors.storage.answers import NotRegular, TooMuch

Result = TypeVar("Result")
Parameters = ParamSpec("Parameters")

_PERMANENT = (
    FileNotFoundError,
    FileExistsError,
    PermissionError,
    NotADirectoryError,
    IsADirectoryError,
    NotRegular,
    TooMuch,
)
_PERMANENT_ERRNOS = (errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.ENAMETOOLONG, errno.ELOOP)
_CLIENTS = ("botocore", "aiobotocore", "aiohttp", "asyncio")  # whose exceptions are no OSErrors


def patiently(call: Callable[Parameters, Result]) -> Callable[Parameters, Result]:
    """Tries a call to storage again, at growing, jittered distances, while what it raises may pass: three tries in all,
    beside those that the storage's own client makes.

    A full disk, a missing key or a refused permission is told at once. What a client raises of its own, such as an
    endpoint that does not answer, becomes an OSError, or a PermissionError where credentials are missing.
    """

    @functools.wraps(call)
    def translated(*args: Parameters.args, **kwargs: Parameters.kwargs) -> Result:
        try:
            return call(*args, **kwargs)
        except Exception as problem:
            kind = type(problem)
            if isinstance(problem, OSError) or kind.__module__.split(".")[0] not in _CLIENTS:
                raise
            refused = "Credentials" in kind.__name__
            raise (PermissionError if refused else OSError)(f"{kind.__name__}: {problem}") from problem

    return retry(
        retry=retry_if_exception(_is_transient),
        wait=wait_exponential_jitter(multiplier=0.5, max=8),
        stop=stop_after_attempt(3),
        reraise=True,
    )(translated)


def _is_transient(problem: BaseException) -> bool:
    if not isinstance(problem, OSError) or isinstance(problem, _PERMANENT):
        return False
    return problem.errno not in _PERMANENT_ERRNOS
