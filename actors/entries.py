"""What lies in storage: the path, size and version of every file, as a stream; of S3, several folders at once."""

import contextlib
import os
from collections import defaultdict
from collections.abc import Iterable, Iterator
from concurrent.futures import FIRST_COMPLETED, ThreadPoolExecutor, wait
from typing import Any, NamedTuple
from xml.etree import ElementTree

from actors.storage import Filesystem, info, is_local, is_s3, patiently, version

AT_ONCE = 16  # pages of an S3 listing asked for at the same time; each holds up to 1,000 objects
MOST_PREFIXES = 256  # that a folder of many folders is listed by
DIGITS = "0123456789abcdef"


class Entry(NamedTuple):
    """A file: its path, size in bytes, and version as `storage.version` tells it."""

    path: str
    size: int
    version: str

    @property
    def name(self) -> str:
        return self.path.rpartition("/")[2]


def find(filesystem: Filesystem, path: str) -> Iterator[Entry]:
    """Every file at or below a path, in no order; nothing where there is none."""
    if not is_s3(filesystem):
        yield from _entries(_find(filesystem, path))
        return
    is_empty = True
    for entry in _S3Listing(filesystem, path).below():
        is_empty = False
        yield entry
    if is_empty and "/" in path:
        with contextlib.suppress(FileNotFoundError):
            yield from _entries([info(filesystem, path)])


def glob(filesystem: Filesystem, pattern: str) -> list[Entry]:
    """Every file that matches a glob."""
    return list(_entries(_glob(filesystem, pattern)))


def in_folder(filesystem: Filesystem, folder: str, prefix: str = "", is_hashed: bool = False) -> list[Entry]:
    """The files directly in a folder whose names begin with a prefix, by name; none without the folder.

    `is_hashed` says that a hexadecimal hash follows the prefix, by whose first digits S3 can be asked in parallel.
    """
    if is_local(filesystem):
        found = _scan(folder, prefix)
    elif is_s3(filesystem):
        starts = [prefix + digit for digit in DIGITS] if is_hashed else [prefix]
        found = list(_S3Listing(filesystem, folder).beginning(starts))
    else:
        found = list(_entries(_ls(filesystem, folder)))
    return sorted(each for each in found if each.path == f"{folder}/{each.name}" and each.name.startswith(prefix))


def names(filesystem: Filesystem, folder: str, prefix: str = "", is_hashed: bool = False) -> list[str]:
    """The names, sorted, of those files."""
    return [each.name for each in in_folder(filesystem, folder, prefix, is_hashed)]


def _entries(infos: Iterable[dict[str, Any]]) -> Iterator[Entry]:
    for each in infos:
        if each["type"] == "file" and not each["name"].endswith("/"):
            yield Entry(str(each["name"]), int(each.get("size") or 0), version(each))


@patiently
def _find(filesystem: Filesystem, path: str) -> list[dict[str, Any]]:
    return list(filesystem.find(path, detail=True).values())


@patiently
def _glob(filesystem: Filesystem, pattern: str) -> list[dict[str, Any]]:
    return list(filesystem.glob(pattern, detail=True).values())


@patiently
def _ls(filesystem: Filesystem, folder: str) -> list[dict[str, Any]]:
    try:
        return list(filesystem.ls(folder, detail=True))
    except FileNotFoundError:
        return []


@patiently
def _scan(folder: str, prefix: str) -> list[Entry]:
    found = list[Entry]()
    with contextlib.suppress(FileNotFoundError), os.scandir(folder) as scanned:
        for each in scanned:
            if each.name.startswith(prefix) and each.is_file():
                with contextlib.suppress(FileNotFoundError):  # gone meanwhile
                    known = each.stat()
                    found.append(Entry(each.path, known.st_size, str(known.st_mtime_ns)))
    return found


class _Ask(NamedTuple):
    """What pages are asked for: keys that begin with a prefix, and with a delimiter only those that lie directly there.

    Without one, keys with no slash after `known` characters are passed over: they are in the pages of their folder.
    """

    prefix: str
    delimiter: str = ""
    known: int = 0


class _Page(NamedTuple):
    ask: _Ask
    files: list[Entry]
    folders: list[str]
    token: str | None  # of the next page


class _S3Listing:
    """Pages of ListObjectsV2 below a path. A folder is split into its folders until enough pages are under way.

    https://docs.aws.amazon.com/AmazonS3/latest/API/API_ListObjectsV2.html
    """

    def __init__(self, filesystem: Filesystem, path: str) -> None:
        self._filesystem = filesystem
        self._bucket, _, key = path.partition("/")
        self._root = key and key + "/"
        self._read_pages_fast()

    @patiently
    def _read_pages_fast(self) -> None:
        events = self._filesystem.connect().meta.events  # of the client that this filesystem keeps
        events.register("before-parse.s3.ListObjectsV2", _parse_contents, unique_id="citrascribe")

    def below(self) -> Iterator[Entry]:
        """Every object below the path."""
        return self._walk([self._root], descends=True)

    def beginning(self, starts: Iterable[str]) -> Iterator[Entry]:
        """The objects directly in the path whose names begin with one of some strings."""
        return self._walk([self._root + start for start in starts], descends=False)

    def _walk(self, prefixes: list[str], descends: bool) -> Iterator[Entry]:
        folders = defaultdict[_Ask, list[str]](list)  # found so far, on earlier pages
        with ThreadPoolExecutor(AT_ONCE) as pool:
            under_way = {pool.submit(self._page, _Ask(prefix, "/")) for prefix in prefixes}
            while under_way:
                done, under_way = wait(under_way, return_when=FIRST_COMPLETED)
                for page in (future.result() for future in done):
                    yield from page.files
                    inside = folders[page.ask]
                    inside += page.folders if descends else []
                    if page.token:
                        under_way.add(pool.submit(self._page, page.ask, page.token))
                    else:
                        asks = _asks(page.ask.prefix, inside, are_enough=len(under_way) + len(inside) > AT_ONCE)
                        under_way |= {pool.submit(self._page, ask) for ask in asks}

    @patiently
    def _page(self, ask: _Ask, token: str | None = None) -> _Page:
        asked = {"Bucket": self._bucket, "Prefix": ask.prefix, "Delimiter": ask.delimiter} | self._filesystem.req_kw
        if token:
            asked["ContinuationToken"] = token
        try:
            told = self._filesystem.call_s3("list_objects_v2", **asked)
        except FileNotFoundError:  # there is no such bucket
            told = {}
        files = [
            Entry(f"{self._bucket}/{each['Key']}", int(each["Size"]), version(each))
            for each in told.get("Contents", ())
            if not each["Key"].endswith("/") and (ask.delimiter or "/" in each["Key"][ask.known :])
        ]
        folders = [each["Prefix"] for each in told.get("CommonPrefixes", ())]
        return _Page(ask, files, folders, told.get("NextContinuationToken"))


def _parse_contents(response_dict: dict[str, Any], customized_response_dict: dict[str, Any], **_: object) -> None:
    """Takes the objects out of a page before botocore reads it, which takes ten times as long for them.

    Called by botocore for each page. What it puts into `customized_response_dict` becomes part of the answer.
    """
    if response_dict["status_code"] != 200:
        return
    page = ElementTree.fromstring(response_dict["body"])
    space = page.tag.removesuffix("ListBucketResult")
    contents = page.findall(f"{space}Contents")
    objects = [{name: each.findtext(space + name) for name in ("Key", "ETag", "Size")} for each in contents]
    if contents and all(all(each.values()) for each in objects):
        page[:] = [each for each in page if each.tag != f"{space}Contents"]
        response_dict["body"] = ElementTree.tostring(page)
        customized_response_dict["Contents"] = objects


def _asks(parent: str, folders: list[str], are_enough: bool) -> list[_Ask]:
    """How a folder's folders are listed: one by one, or where they are many, by what their names begin with."""
    if len(folders) <= MOST_PREFIXES:
        return [_Ask(folder, "" if are_enough else "/") for folder in folders]
    length, shared = len(parent), {parent}
    while len(longer := {folder[: length + 1] for folder in folders}) <= MOST_PREFIXES:
        length, shared = length + 1, longer
    return [_Ask(start, known=len(parent)) for start in sorted(shared)]
