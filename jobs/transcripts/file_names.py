"""Names of files for recordings, whose own names come from archives: none leads anywhere else, none is taken twice.

A name is cleaned first and judged then, for what is harmless before may not be after: " .. " without its spaces is a
way out. Any storage shall take it: Windows knows devices by name and ends no name with a dot or a space, some file
systems tell neither upper from lower case nor the forms of an accent, and all have a longest name.

Formats: https://learn.microsoft.com/windows/win32/fileio/naming-a-file and
https://docs.aws.amazon.com/AmazonS3/latest/userguide/object-keys.html.
"""

import hashlib
import re
import unicodedata
from collections import Counter

MAX_PART = 180  # bytes; most file systems take 255, and a mark, a suffix and a temporary name are added
MAX_PATH = 1_000  # bytes of a folder and the name in it; S3 takes 1,024
_DEVICE = re.compile(r"(con|prn|aux|nul|conin\$|conout\$|(com|lpt)[0-9¹²³])\s*(\..*)?", re.IGNORECASE)


class Names:
    """Gives each recording of an archive, in their order, a path of its own below a folder; the same in every run.

    `root` is the folder, whose length counts, and `suffix` what the names end in.
    """

    def __init__(self, root: str, suffix: str) -> None:
        self._suffix = suffix
        self._longest = max(MAX_PATH - len(root.encode("utf-8", "replace")) - 1, 2 * MAX_PART)
        self._files, self._folders = set[str](), set[str]()  # folded, see `_folded`
        self._times = Counter[tuple[object, ...]]()  # that a recording's key was given a mark

    def name(self, recording_id: str, key: tuple[object, ...]) -> str:
        """The path for a recording; `key` is what tells it from others, or from all but those of the same key."""
        parts = [part for part in map(clean, recording_id.split("/")) if part]
        *folders, base = parts or ["recording"]
        stem = clean(base.rsplit(".", 1)[0]) or base
        folder = self._folder(folders)
        name = self._join(folder, stem)
        while not self._is_free(name) or len(name.encode()) > self._longest:
            self._times[key] += 1
            mark = hashlib.sha256(repr((*key, self._times[key])).encode("utf-8", "replace")).hexdigest()[:8]
            if len(name.encode()) > self._longest:
                folder = ""
            name = self._join(folder, f"{stem}.{mark}")
        self._take(name)
        return name

    def _folder(self, parts: list[str]) -> str:
        """A folder, no part of which is a file already: that part is marked."""
        folder = ""
        for part in parts:
            path, times = f"{folder}{part}", 0
            while _folded(path) in self._files:
                times += 1
                mark = hashlib.sha256(repr((folder, part, times)).encode()).hexdigest()[:8]
                path = f"{folder}{part}.{mark}"
            folder = f"{path}/"
            if len(folder.encode()) > self._longest:
                break  # it is not used, being too long
        return folder

    def _join(self, folder: str, stem: str) -> str:
        return f"{folder}{stem}{self._suffix}"

    def _is_free(self, name: str) -> bool:
        folded = _folded(name)
        return folded not in self._files and folded not in self._folders

    def _take(self, name: str) -> None:
        self._files.add(_folded(name))
        at = name.find("/")
        while at >= 0:
            self._folders.add(_folded(name[:at]))
            at = name.find("/", at + 1)


def clean(part: str) -> str:
    """A part of a path as any storage takes it; "" where nothing is left of it."""
    safe = "".join("_" if char in '/\\:*?"<>|' or not char.isprintable() else char for char in part)
    short = safe.encode("utf-8", "replace")[:MAX_PART].decode("utf-8", "ignore").lstrip(" ").rstrip(" .")
    return f"_{short}" if _DEVICE.fullmatch(short) else short


def _folded(path: str) -> str:
    """A path as the least discerning file system compares it."""
    return unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", path).upper().casefold())
