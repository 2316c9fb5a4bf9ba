"""Derives file names from recording ids, which are untrusted: unique, and always below the folder.

An id is cleaned first and checked afterwards, because cleaning can make a name unsafe: " .. " without its spaces leaves
the folder. Names are valid on any storage: Windows reserves device names and strips trailing dots and spaces, some file
systems ignore case or normalize accents, and all limit the length of a name.

Formats: https://learn.microsoft.com/windows/win32/fileio/naming-a-file and
https://docs.aws.amazon.com/AmazonS3/latest/userguide/object-keys.html.
"""

import hashlib
import re
import unicodedata
from collections import Counter
from collections.abc import Iterable

MAX_PART = 180  # bytes; most file systems allow 255, and a mark, a suffix and a temporary name are added
MAX_PATH = 1_000  # bytes of a folder and the name in it; S3 allows 1,024
_DEVICE = re.compile(r"(con|prn|aux|nul|conin\$|conout\$|(com|lpt)[0-9¹²³])\s*(\..*)?", re.IGNORECASE)


class FileNames:
    """Assigns each recording a unique path below a folder; the same in every run if their order is the same.

    `root` is the folder, whose length counts towards MAX_PATH, and `suffix` the extension of all names. A name that is
    `taken` or too long gets a mark: eight digits of a hash.
    """

    def __init__(self, root: str, suffix: str, taken: Iterable[str] = ()) -> None:
        self._suffix = suffix
        self._max_bytes = max(MAX_PATH - len(root.encode("utf-8", "replace")) - 1, 2 * MAX_PART)
        self._files, self._folders = set(map(folded, taken)), set[str]()  # as returned by `folded`
        self._marks_given = Counter[tuple[object, ...]]()  # per key

    def name(self, recording_id: str, key: tuple[object, ...]) -> str:
        """Returns a path for a recording. `key` identifies it, and determines its mark."""
        parts = [part for part in map(clean, recording_id.split("/")) if part]
        *folders, base = parts or ["recording"]
        stem = clean(base.rsplit(".", 1)[0]) or base
        folder = self._folder(folders)
        name = self._join(folder, stem)
        while not self._is_free(name) or len(name.encode()) > self._max_bytes:
            self._marks_given[key] += 1
            mark = hashlib.sha256(repr((*key, self._marks_given[key])).encode("utf-8", "replace")).hexdigest()[:8]
            if len(name.encode()) > self._max_bytes:
                folder = ""
            name = self._join(folder, f"{stem}.{mark}")
        self._reserve(name)
        return name

    def _folder(self, parts: list[str]) -> str:
        """Joins a folder's parts; one that is the name of a file already gets a mark."""
        folder = ""
        for part in parts:
            path, tries = f"{folder}{part}", 0
            while folded(path) in self._files:
                tries += 1
                mark = hashlib.sha256(repr((folder, part, tries)).encode()).hexdigest()[:8]
                path = f"{folder}{part}.{mark}"
            folder = f"{path}/"
            if len(folder.encode()) > self._max_bytes:
                break  # too long, so it will not be used
        return folder

    def _join(self, folder: str, stem: str) -> str:
        return f"{folder}{stem}{self._suffix}"

    def _is_free(self, name: str) -> bool:
        form = folded(name)
        return form not in self._files and form not in self._folders

    def _reserve(self, name: str) -> None:
        self._files.add(folded(name))
        at = name.find("/")
        while at >= 0:
            self._folders.add(folded(name[:at]))
            at = name.find("/", at + 1)


def clean(part: str) -> str:
    """Makes a part of a path valid on any storage; "" if nothing remains."""
    safe = "".join("_" if char in '/\\:*?"<>|' or not char.isprintable() else char for char in part)
    short = safe.encode("utf-8", "replace")[:MAX_PART].decode("utf-8", "ignore").lstrip(" ").rstrip(" .")
    return f"_{short}" if _DEVICE.fullmatch(short) else short


def folded(path: str) -> str:
    """A path as compared by a file system that ignores case and normalizes characters."""
    return unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", path).upper().casefold())
