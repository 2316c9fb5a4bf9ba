"""Files that a configuration names by path or URL: known by their SHA-256, and fetched once per machine."""

import hashlib
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from filelock import FileLock

from actors.schema import UsageError
from actors.storage.answers import FileTooLarge
from actors.storage.cache import cache_folder, new_file, sha256_of
from actors.storage.place import Place
from actors.storage.preflight import check_storage

_SHA256 = re.compile("[0-9a-f]{64}")


@dataclass(frozen=True)
class StoredFile:
    """A file with some content: the key of the configuration that names it, and its place."""

    key: str
    sha256: str
    max_bytes: int
    place: Place = field(repr=False)


def resolve_file(uri: str, storage_options: Mapping[str, object], key: str, max_bytes: int) -> StoredFile:
    """Resolves a name to the current content of its file. The SHA-256 of a version in remote storage is remembered.

    Raises UsageError, which names the key, if there is no such file, or it cannot be read, or it has more bytes.
    """
    try:
        place = Place.at(uri, storage_options)
    except UsageError as problem:
        raise UsageError(f"{key}: {problem}") from None
    check_storage(place, key)
    etag = _version(place, key, max_bytes)
    if place.is_local:  # two versions may have the same size and time
        return StoredFile(key, _hash(Path(place.path), place, key), max_bytes, place)
    known = cache_folder() / "hashes" / f"{_digest(place, etag)}.sha256"
    sha256 = known.read_text(encoding="ascii", errors="replace") if known.exists() else ""
    if not _SHA256.fullmatch(sha256):
        sha256 = _hash(_path_of(place, etag, key, max_bytes), place, key)
        with FileLock(f"{known}.lock"), new_file(known) as partial:
            partial.write_text(sha256, encoding="ascii")
    return StoredFile(key, sha256, max_bytes, place)


def fetch_file(file: StoredFile) -> Path:
    """The path on this machine of a file with the content that was resolved. Raises UsageError if it has changed."""
    etag = _version(file.place, file.key, file.max_bytes)
    for anew in (False, True):  # a copy may be damaged
        path = _path_of(file.place, etag, file.key, file.max_bytes, anew)
        if _hash(path, file.place, file.key) == file.sha256:
            return path
        if file.place.is_local:
            break
    raise UsageError(f"{file.key}: {file.place.described} was changed during the run; run the job again")


def _version(place: Place, key: str, max_bytes: int) -> str:
    try:
        info = place.info()
    except FileNotFoundError:
        raise UsageError(f"{key}: there is no file {place.described}") from None
    except PermissionError as problem:
        raise UsageError(f"{key}: {place.described} may not be read: {problem}") from None
    if not info.is_file:
        raise UsageError(f"{key}: {place.described} is not a file")
    if info.size is not None and info.size > max_bytes:
        raise UsageError(f"{key}: {place.described} has {info.size:,} bytes, and at most {max_bytes:,} are read")
    return info.version


def _hash(path: Path, place: Place, key: str) -> str:
    try:
        return sha256_of(path)
    except OSError as problem:
        raise UsageError(f"{key}: {place.described} cannot be read: {problem.strerror or problem}") from None


def _path_of(place: Place, etag: str, key: str, max_bytes: int, anew: bool = False) -> Path:
    """The file itself if it is local, else its copy in the cache, fetched if it is not there, or `anew`."""
    if place.is_local:
        return Path(place.path)
    try:
        target = cache_folder() / "files" / _digest(place, etag)
        return fetch_once(place, target, max_bytes, lambda copy: not anew and copy.exists())
    except FileTooLarge:
        raise UsageError(f"{key}: {place.described} has more than {max_bytes:,} bytes") from None


def fetch_once(place: Place, target: Path, max_bytes: int, is_good: Callable[[Path], bool]) -> Path:
    """Copies a file to `target`, unless what is there is good already; if many processes start at once, one does.
    Raises FileTooLarge."""
    target.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(f"{target}.lock"):
        if not is_good(target):
            with new_file(target) as partial:
                place.copy_to(str(partial), max_bytes)
    return target


def _digest(place: Place, etag: str) -> str:
    """Identifies a version of a file in the cache."""
    return hashlib.sha256(f"{place.uri}\0{etag}".encode(errors="surrogateescape")).hexdigest()[:32]
