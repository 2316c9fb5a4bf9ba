"""Finds what is wrong with a storage before a run begins: an endpoint, a bucket, credentials, a folder.

What may pass, such as a server that is overloaded, is no mistake of the configuration: it remains an OSError.
"""

import errno
import os
import socket
from urllib.parse import urlsplit
from urllib.request import getproxies

from actors.foreign.escape import describe
from actors.schema import UsageError
from actors.storage.place import Place

_PATIENCE_S = 10.0  # for a connection
_REFUSED = ("InvalidAccessKeyId", "SignatureDoesNotMatch", "InvalidToken", "ExpiredToken", "InvalidSecurity")


def check_storage(place: Place, key: str, must_list: bool = False) -> None:
    """Raises UsageError, which names the configuration's key, if an S3 storage refuses or misses credentials, or has no
    such bucket; OSError if it cannot be reached, or fails in passing. Other storages are not asked.

    The folder of the place is listed. An object may be readable where that is not allowed; with `must_list` that is a
    mistake too.
    """
    if not place.is_s3:
        return
    section, (bucket, _, _) = key.partition(".")[0], place.filesystem.split_path(place.path)
    endpoint = place.filesystem.endpoint_url or place.filesystem.client_kwargs.get("endpoint_url")
    if endpoint and not _has_proxy(place):
        _check_endpoint(str(endpoint), section)
    try:
        place.check_access()
    except FileNotFoundError:
        where = f" at {endpoint}" if endpoint else ""
        raise UsageError(f"{key}: there is no bucket {bucket}{where}; create it, or correct the name") from None
    except PermissionError as problem:
        if "Credentials" in str(problem) and not _code(problem):
            raise UsageError(
                f"{key}: there are no credentials for s3://{bucket}; set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY,"
                f" or AWS_PROFILE, or key and secret in {section}.storage_options (anon: true for a public bucket)"
            ) from None
        if must_list or _code(problem) in _REFUSED:
            raise UsageError(
                f"{key}: s3://{bucket} refuses these credentials ({_code(problem) or problem}); correct"
                f" AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, AWS_PROFILE, or key and secret in"
                f" {section}.storage_options, or what they may do there"
            ) from None
    except OSError as problem:
        if "ParamValidationError" in str(problem):
            raise UsageError(f"{key}: {describe(bucket)} cannot be the name of a bucket; correct the URL") from None
        if "SSL" in str(problem):
            raise UsageError(f"{key}: {place.described}: {problem}; correct {section}.storage_options") from None
        if "ProfileNotFound" in str(problem):
            raise UsageError(f"{key}: {problem}; correct AWS_PROFILE, or {section}.storage_options") from None
        raise OSError(f"{key}: {place.described}: {problem}") from None


def check_writable(folder: Place, key: str) -> None:
    """Raises UsageError if a local folder may not be written, or cannot be made. Writes nothing."""
    if not folder.is_local:
        return
    path = folder.path
    try:
        os.lstat(path)
    except OSError as problem:
        if problem.errno == errno.ENAMETOOLONG:
            raise UsageError(f"{key}: {describe(folder.path)}: a name in it is too long for this disk") from None
    while not os.path.lexists(path) and path != os.path.dirname(path):
        path = os.path.dirname(path)
    if not os.path.isdir(path):
        raise UsageError(f"{key}: {folder.path} cannot be a folder, for {path} is not one; give another path")
    if not os.access(path, os.W_OK | os.X_OK):
        raise UsageError(f"{key}: {path} may not be written by this user; change its permissions, or give another path")


def check_target(file: Place, key: str) -> None:
    """Raises UsageError if a file cannot be written, as far as that can be told without writing it, and OSError if its
    storage does not answer."""
    if file.is_http:
        raise UsageError(f"{key}: HTTP cannot be written to; give a file, or the storage's own URL (s3://…)")
    if file.is_local and os.path.isdir(file.path):
        raise UsageError(f"{key}: {file.path} is a folder; name a file in it")
    check_storage(file, key)
    check_writable(file.parent, key)


def _check_endpoint(endpoint: str, section: str) -> None:
    """Raises UsageError if an endpoint is none, and OSError, within seconds, if nothing listens there: it may be about
    to start."""
    url = urlsplit(endpoint)
    key = f"{section}.storage_options: endpoint_url"
    if url.scheme not in ("http", "https") or not url.hostname:
        raise UsageError(f"{key} should be a URL such as https://minio.example:9000")
    shown = f"{url.scheme}://{url.netloc.rpartition('@')[2]}"
    try:
        port = url.port or {"http": 80, "https": 443}[url.scheme]
        socket.create_connection((url.hostname, port), _PATIENCE_S).close()
    except ValueError as problem:  # UnicodeError of a name, a port that is no number
        raise UsageError(f"{key} is {shown}: {problem}; correct it") from None
    except OSError as problem:
        raise OSError(f"{key} is {shown}, where nothing answers ({problem.strerror or problem})") from None


def _has_proxy(place: Place) -> bool:
    """Whether a proxy may be what reaches the endpoint."""
    return bool(getproxies() or place.filesystem.config_kwargs.get("proxies"))


def _code(problem: BaseException) -> str:
    """S3's code of an error, "" if there is none."""
    cause = problem.__cause__
    response = getattr(cause, "response", None)
    error = response.get("Error") if isinstance(response, dict) else None
    return str(error.get("Code", "")) if isinstance(error, dict) else ""
