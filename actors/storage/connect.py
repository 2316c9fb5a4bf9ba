"""Finds the filesystem of a URL or path, and the path there."""

import os
import re
from collections.abc import Mapping
from typing import Any

import fsspec
from fsspec import AbstractFileSystem
from fsspec.implementations.local import LocalFileSystem
from fsspec.registry import known_implementations

from actors.schema import UsageError
from actors.storage.urls import Signatures, is_web, normal_url, public_url, without_signatures

_PROTOCOL = re.compile(r"([a-z][a-z0-9+._-]*(?:::[a-z0-9+._-]*)*)://", re.IGNORECASE | re.ASCII)
_ALIASES = {"local": "file", "s3a": "s3", "gcs": "gs", "abfss": "abfs"}
#: Packages of protocols that fsspec implements itself.
_PACKAGES = {"sftp": "paramiko", "ssh": "paramiko", "smb": "smbprotocol", "git": "pygit2"}
#: Protocols whose files are within another file, which such a URL could choose freely.
_NESTED = ("zip", "tar", "libarchive", "reference", "dir", "cached", "blockcache", "filecache", "simplecache")

#: Protocols of storage in a network, which are no names of local folders; the host of some may be in the options.
_HOSTS_BY_OPTIONS = frozenset("ftp hdfs sftp smb ssh webdav webhdfs".split())
_OBJECT_STORES = frozenset("abfs abfss adl az cos gcs gs obs oci oss s3 s3a s3n tos".split())
_REMOTE = _HOSTS_BY_OPTIONS | _OBJECT_STORES | {"http", "https"}
#: A protocol with a colon or slashes missing, or with a slash too many.
_MISTYPED = re.compile(r"([a-z][a-z0-9]*)(:/{0,1}(?=[^/])|:/{3,}|/{2,})(?=[^/])", re.IGNORECASE | re.ASCII)
_LOGIN = re.compile(r"[^/]+://[^/@]*:[^/@]*@")
_SHORT_FILE_URL = re.compile(r"file:/(?!/)", re.IGNORECASE)

#: The option with `Signatures`: URLs of the web that are known by their public form.
SIGNATURES = "signatures"
#: Options of botocore: timeouts in seconds, and no retries beside those of s3fs and of `retried`, since storage that
#: does not respond would delay a run for the product of all three. Some stores send the checksum of the whole object
#: with a range, which botocore would compare with that of the range.
_S3_CLIENT = {
    "connect_timeout": 10,
    "read_timeout": 30,
    "retries": {"total_max_attempts": 1},
    "response_checksum_validation": "when_required",
}
_S3_TRIES = 2  # of s3fs, which reads an object in two nested retry loops


def protocol_of(uri: str) -> str | None:
    """A URL's protocol, with aliases resolved; None for a path."""
    match = _PROTOCOL.match(uri) if "://" in uri else None
    return _ALIASES.get(match[1].lower(), match[1].lower()) if match else None


def url_mistake(text: str) -> str | None:
    """What is wrong with a URL, or with what was certainly meant as one, such as s3:/bucket, without what may be a
    secret in it; None if nothing is."""
    if protocol_of(text) in _OBJECT_STORES and _LOGIN.match(text):
        return "has a login in front of its bucket; give that in storage_options, as env:NAME"
    match = _MISTYPED.match(text)
    protocol = match[1].lower() if match else ""
    if match is None or protocol not in _REMOTE or (protocol in _HOSTS_BY_OPTIONS and match[2] == ":///"):
        return None
    place = "HOST" if is_web(f"{protocol}://") or protocol in _HOSTS_BY_OPTIONS else "BUCKET"
    return (
        f"begins with {match[1]}{match[2]}, which no URL does; did you mean {protocol}://{place}/… (or, for a local"
        f" path, ./{match[1]}{match[2]}…)?"
    )


def file_url(text: str) -> str:
    """A path or a URL, with file:/path, which is one of the forms of such a URL, as file:///path.

    https://www.rfc-editor.org/rfc/rfc8089#appendix-B
    """
    return _SHORT_FILE_URL.sub("file:///", text)


def connect(uri: str, options: Mapping[str, object]) -> tuple[AbstractFileSystem, str]:
    """The filesystem of a URL or local path, and its path there; a relative path is made absolute.

    Listings are never cached: a run must see what other runs wrote. Raises UsageError if the protocol is unknown, or
    the URL is chained ("zip::s3://…"), which could name any other file.
    """
    protocol = protocol_of(uri)
    rest = uri.partition("://")[2] if protocol else uri
    protocol = protocol or "file"
    if "::" in protocol or protocol in _NESTED:
        raise UsageError(f"{without_signatures(uri)!r}: chained URLs are not read; name the stored object itself")
    if protocol == "file":
        return LocalFileSystem(), os.path.abspath(rest)
    arguments: dict[str, Any] = dict(options)
    signatures: Signatures = arguments.pop(SIGNATURES, None) or Signatures()
    if is_web(uri):
        return _connect_web(uri, arguments, signatures)
    if protocol == "s3":
        from actors.storage.s3_session import S3, BoundedSession

        client = _S3_CLIENT | {"http_session_cls": BoundedSession} | arguments.get("config_kwargs", {})
        arguments = {"use_listings_cache": False} | arguments | {"config_kwargs": client}
    try:
        filesystem = S3(**arguments) if protocol == "s3" else fsspec.filesystem(protocol, **arguments)
    except (ValueError, ImportError, TypeError, OSError) as problem:
        raise UsageError(f"{without_signatures(uri)!r}: {_advice(protocol, problem)}") from None
    if protocol == "s3":
        filesystem.retries = _S3_TRIES
    return filesystem, path_of(filesystem, f"{protocol}://{rest}").rstrip("/")  # the protocol must be in lower case


def _advice(protocol: str, problem: Exception) -> str:
    """What a protocol needs that is not there."""
    missing = re.findall(r"'(\w+)'", str(problem)) if isinstance(problem, TypeError) else []
    if missing:
        return f"{protocol}:// needs more than a URL: {' and '.join(missing)} in storage_options"
    if isinstance(problem, ImportError):
        module = str(known_implementations.get(protocol, {}).get("class", "")).partition(".")[0]
        package = _PACKAGES.get(protocol, module)
        return f"{protocol}:// needs the package {package} on every machine: pip install {package}"
    if protocol not in known_implementations:
        return f"no storage has the protocol {protocol}; stores that are compatible with S3 are s3:// with endpoint_url"
    if isinstance(problem, OSError):
        return f"{protocol}:// cannot be used on this machine ({str(problem).partition(chr(10))[0]:.120})"
    return str(problem)


def _connect_web(uri: str, arguments: dict[str, Any], signatures: Signatures) -> tuple[AbstractFileSystem, str]:
    from actors.storage.web import TIMEOUT, Web

    client = {"timeout": TIMEOUT} | arguments.get("client_kwargs", {})
    filesystem = Web(**arguments | {"client_kwargs": client, "signatures": signatures})
    path = public_url(uri) if uri in signatures else normal_url(uri)  # any other is signed by its path
    return filesystem, path if "?" in path else path.rstrip("/")


def path_of(filesystem: AbstractFileSystem, uri: str) -> str:
    """The path that a filesystem takes for a URI."""
    return str(filesystem._strip_protocol(uri))  # noqa: SLF001 - fsspec has no public method
