"""Listing of S3 buckets: several folders concurrently, page by page."""

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import FIRST_COMPLETED, ThreadPoolExecutor, wait
from typing import NamedTuple, TypedDict

from fsspec.asyn import sync

from actors.storage.answers import EndpointError
from actors.storage.entry import Entry
from actors.storage.location import Location
from actors.storage.retry import retried
from actors.storage.s3_pages import LoopCheck, Page, Query, entries_of, folders_of, parse

AT_ONCE = 16  # pages requested concurrently; each holds up to 1,000 objects
MAX_PREFIXES = 256  # by which a folder of many folders is listed


class _QueryPage(NamedTuple):
    """A page's files and folders. The token is that of the query's next page."""

    query: Query
    files: list[Entry]
    folders: list[str]
    token: str | None


class S3Listing:
    """Lists objects below a path with ListObjectsV2. A folder is split into its folders until enough pages are in
    flight.

    Responses are checked by `s3_pages`.
    """

    def __init__(self, place: Location) -> None:
        self._filesystem = place.filesystem
        self._bucket, _, key = place.path.partition("/")
        self._root = key and key + "/"
        self._register_parser()

    @retried
    def _register_parser(self) -> None:
        self._filesystem.connect()
        client = sync(self._filesystem.loop, self._filesystem.get_s3, self._bucket)  # the client for this bucket
        client.meta.events.register("before-parse.s3.ListObjectsV2", _parse_page, unique_id="citrascribe")

    def below(self) -> Iterator[Entry]:
        """Every object below the path."""
        return self._walk([Query(self._root, "/")], None)

    def starting_with(self, starts: Iterable[str]) -> Iterator[Entry]:
        """The objects directly in the path whose names begin with one of `starts`."""
        return self._walk([Query(self._root + start, "/") for start in starts], lambda folder: False)

    def in_folders(self, enters: Callable[[str], bool]) -> Iterator[Entry]:
        """The objects directly in the path and in the folders that `enters` accepts; its argument is
        "bucket/a/folder"."""
        return self._walk([Query(self._root, "/")], lambda prefix: enters(f"{self._bucket}/{prefix[:-1]}"))

    def _walk(self, starts: list[Query], enters: Callable[[str], bool] | None) -> Iterator[Entry]:
        """Objects in the folders that `enters` accepts, or, without it, all below."""
        folders = defaultdict[Query, dict[str, None]](dict)  # found on the pages so far
        loop_checks = defaultdict[Query, LoopCheck](LoopCheck)
        pool = ThreadPoolExecutor(AT_ONCE)
        try:
            in_flight = {pool.submit(self._page, query, loop_checks[query], is_start=True) for query in starts}
            while in_flight:
                done, in_flight = wait(in_flight, return_when=FIRST_COMPLETED)
                for page in (future.result() for future in done):
                    yield from page.files
                    found = folders[page.query]
                    found |= dict.fromkeys(filter(enters, page.folders) if enters else page.folders)
                    if page.token:
                        in_flight.add(pool.submit(self._page, page.query, loop_checks[page.query], page.token))
                        continue
                    if enters:
                        queries = [Query(folder, "/") for folder in found]
                    else:
                        queries = _split_queries(page.query.prefix, list(found), len(in_flight) + len(found) > AT_ONCE)
                    in_flight |= {pool.submit(self._page, query, loop_checks[query]) for query in queries}
        finally:
            pool.shutdown(cancel_futures=True)

    def _page(
        self, query: Query, loop_check: LoopCheck, token: str | None = None, is_start: bool = False
    ) -> _QueryPage:
        """A page of a query. Raises EndpointError or PermissionError, which name its location."""
        try:
            page = self.request(query, token)
            loop_check.check(page)
            return _QueryPage(query, entries_of(page, query, self._bucket), folders_of(page, query), page.token)
        except FileNotFoundError:  # no such bucket
            if is_start:
                return _QueryPage(query, [], [], None)
            problem: OSError = EndpointError("no longer knows the bucket, although it sent pages of it before")
        except OSError as raised:
            problem = raised
        kind = PermissionError if isinstance(problem, PermissionError) else EndpointError
        where = Location(self._filesystem, f"{self._bucket}/{query.prefix}").described
        raise kind(f"{where}: {problem}") from None

    @retried
    def request(self, query: Query, token: str | None) -> Page:
        args = {"Bucket": self._bucket, "Prefix": query.prefix, "Delimiter": query.delimiter} | self._filesystem.req_kw
        if token:
            args["ContinuationToken"] = token
        page: Page | None = self._filesystem.call_s3("list_objects_v2", **args).get("Page")
        if page is None:  # a status such as 204, without a body to parse
            raise EndpointError("responded without a page of a listing")
        return page


class _Response(TypedDict):
    """A response as botocore parses it."""

    status_code: int
    body: bytes


def _parse_page(response_dict: _Response, customized_response_dict: dict[str, object], **_: object) -> None:
    """Parses a page in place of botocore, which is ten times slower and checks nothing.

    Called by botocore for each page. The fields added to `customized_response_dict` become part of the response.
    """
    if response_dict["status_code"] == 200:
        page = parse(response_dict["body"])
        response_dict["body"] = b"<ListBucketResult/>"
        customized_response_dict |= {"Page": page, "KeyCount": len(page.keys) + len(page.prefixes)}


def _split_queries(parent: str, folders: list[str], has_enough: bool) -> list[Query]:
    """The queries for a folder's folders: one for each, or, if there are many, one for each prefix of their names."""
    if len(folders) <= MAX_PREFIXES:
        return [Query(folder, "" if has_enough else "/") for folder in folders]
    length, shared = len(parent), {parent}
    while len(longer := {folder[: length + 1] for folder in folders}) <= MAX_PREFIXES:
        length, shared = length + 1, longer
    return [Query(start, parent_length=len(parent)) for start in sorted(shared)]
