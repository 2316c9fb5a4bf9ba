"""What lies in a bucket of S3: several folders at once, page by page."""

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import FIRST_COMPLETED, ThreadPoolExecutor, wait
from typing import Any, NamedTuple

from fsspec.asyn import sync

from actors.storage.answers import EndpointError, Filesystem, place
from actors.storage.entry import Entry
from actors.storage.retry import patiently
from actors.storage.s3_pages import Ask, Page, Progress, entries_of, folders_of, parse

AT_ONCE = 16  # pages of an S3 listing asked for at the same time; each holds up to 1,000 objects
MAX_PREFIXES = 256  # that a folder of many folders is listed by


class _Found(NamedTuple):
    """What a page holds: the token is that of the next page of the same ask."""

    ask: Ask
    files: list[Entry]
    folders: list[str]
    token: str | None


class S3Listing:
    """Pages of ListObjectsV2 below a path. A folder is split into its folders until enough pages are under way.

    What an endpoint may answer, and what not, `s3_pages` says.
    """

    def __init__(self, filesystem: Filesystem, path: str) -> None:
        self._filesystem = filesystem
        self._bucket, _, key = path.partition("/")
        self._root = key and key + "/"
        self._read_pages_ourselves()

    @patiently
    def _read_pages_ourselves(self) -> None:
        self._filesystem.connect()
        client = sync(self._filesystem.loop, self._filesystem.get_s3, self._bucket)  # the one that lists this bucket
        client.meta.events.register("before-parse.s3.ListObjectsV2", _parse, unique_id="citrascribe")

    def below(self) -> Iterator[Entry]:
        """Every object below the path."""
        return self._walk([Ask(self._root, "/")], None)

    def beginning(self, starts: Iterable[str]) -> Iterator[Entry]:
        """The objects directly in the path whose names begin with one of some strings."""
        return self._walk([Ask(self._root + start, "/") for start in starts], lambda folder: False)

    def within(self, enters: Callable[[str], bool]) -> Iterator[Entry]:
        """The objects directly in the path and in those folders that `enters` wants; it is given "bucket/a/folder"."""
        return self._walk([Ask(self._root, "/")], lambda prefix: enters(f"{self._bucket}/{prefix[:-1]}"))

    def _walk(self, starts: list[Ask], enters: Callable[[str], bool] | None) -> Iterator[Entry]:
        """Objects, folder by folder where `enters` says which, or else all below, as fast as can be."""
        folders = defaultdict[Ask, dict[str, None]](dict)  # found so far, on earlier pages
        progress = defaultdict[Ask, Progress](Progress)
        pool = ThreadPoolExecutor(AT_ONCE)
        try:
            under_way = {pool.submit(self._page, ask, progress[ask], is_start=True) for ask in starts}
            while under_way:
                done, under_way = wait(under_way, return_when=FIRST_COMPLETED)
                for page in (future.result() for future in done):
                    yield from page.files
                    inside = folders[page.ask]
                    inside |= dict.fromkeys(filter(enters, page.folders) if enters else page.folders)
                    if page.token:
                        under_way.add(pool.submit(self._page, page.ask, progress[page.ask], page.token))
                        continue
                    if enters:
                        asks = [Ask(folder, "/") for folder in inside]
                    else:
                        asks = _asks(page.ask.prefix, list(inside), len(under_way) + len(inside) > AT_ONCE)
                    under_way |= {pool.submit(self._page, ask, progress[ask]) for ask in asks}
        finally:
            pool.shutdown(cancel_futures=True)

    def _page(self, ask: Ask, progress: Progress, token: str | None = None, is_start: bool = False) -> _Found:
        """A page of what is asked for. Raises EndpointError or PermissionError, which name it."""
        try:
            page = self.request(ask, token)
            progress.check(page)
            return _Found(ask, entries_of(page, ask, self._bucket), folders_of(page, ask), page.token)
        except FileNotFoundError:  # there is no such bucket
            if is_start:
                return _Found(ask, [], [], None)
            problem: OSError = EndpointError("no longer knows the bucket, of which it gave pages before")
        except OSError as found:
            problem = found
        kind = PermissionError if isinstance(problem, PermissionError) else EndpointError
        raise kind(f"{place(self._filesystem, f'{self._bucket}/{ask.prefix}')}: {problem}") from None

    @patiently
    def request(self, ask: Ask, token: str | None) -> Page:
        asked = {"Bucket": self._bucket, "Prefix": ask.prefix, "Delimiter": ask.delimiter} | self._filesystem.req_kw
        if token:
            asked["ContinuationToken"] = token
        page: Page | None = self._filesystem.call_s3("list_objects_v2", **asked).get("Page")
        if page is None:  # a status such as 204, with which there is no body to be parsed
            raise EndpointError("answers without a page of a listing")
        return page


def _parse(response_dict: dict[str, Any], customized_response_dict: dict[str, Any], **_: object) -> None:
    """Takes a page before botocore reads it, which takes ten times as long for it, and believes anything.

    Called by botocore for each page. What it puts into `customized_response_dict` becomes part of the answer.
    """
    if response_dict["status_code"] == 200:
        page = parse(response_dict["body"])
        response_dict["body"] = b"<ListBucketResult/>"
        customized_response_dict |= {"Page": page, "KeyCount": len(page.keys) + len(page.prefixes)}


def _asks(parent: str, folders: list[str], are_enough: bool) -> list[Ask]:
    """How a folder's folders are listed: one by one, or where they are many, by what their names begin with."""
    if len(folders) <= MAX_PREFIXES:
        return [Ask(folder, "" if are_enough else "/") for folder in folders]
    length, shared = len(parent), {parent}
    while len(longer := {folder[: length + 1] for folder in folders}) <= MAX_PREFIXES:
        length, shared = length + 1, longer
    return [Ask(start, known=len(parent)) for start in sorted(shared)]
