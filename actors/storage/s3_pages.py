"""Strict parsing of ListObjectsV2 pages: the endpoint is not trusted, and an invalid page raises EndpointError.

https://docs.aws.amazon.com/AmazonS3/latest/API/API_ListObjectsV2.html
"""

from collections.abc import Iterable, Sequence
from typing import NamedTuple
from urllib.parse import unquote_plus
from xml.etree import ElementTree

from actors.storage.answers import MAX_OBJECT_BYTES, EndpointError
from actors.storage.entry import Entry
from actors.storage.file_info import version_of

MAX_KEY = 1_024  # bytes of UTF-8, in S3 and compatible stores
MAX_EMPTY_PAGES = 1_000  # in a row; S3 sends some if many keys were deleted
MAX_REPEATED_FOLDERS = 10  # pages in a row that begin with a folder with which an earlier one began
_MAX_TAGS = 1_000_000  # of a page; 1,000 objects have about 20,000
_MAX_TOKEN = 8_000  # characters, because it must fit in a URL


class Query(NamedTuple):
    """A query for keys that begin with a prefix; with a delimiter, only those directly in it.

    Without one, keys with no slash after `parent_length` characters are skipped: they are in the pages of the parent
    folder.
    """

    prefix: str
    delimiter: str = ""
    parent_length: int = 0


class Page(NamedTuple):
    """A page's objects, their fields as text, and its folders (`prefixes`). `token` is the next page's."""

    keys: list[str]
    sizes: list[str]
    versions: list[str]
    prefixes: list[str]
    token: str | None


def parse(body: bytes) -> Page:
    """Parses a response to ListObjectsV2 and decodes its keys. Raises EndpointError if it is invalid."""
    if body.count(b"<") > _MAX_TAGS:
        raise EndpointError(f"sent a page of XML with more than {_MAX_TAGS:,} tags")
    if b"<!DOCTYPE" in body or b"\0" in body:  # a DOCTYPE may define entities; one in UTF-16 would contain zeros
        raise EndpointError("sent XML with a document type, or not in UTF-8, which S3 never does")
    try:
        page = ElementTree.fromstring(body, ElementTree.XMLParser(encoding="utf-8"))
    except ElementTree.ParseError as problem:
        what = f"{len(body):,} bytes that are not XML ({problem})" if body else "an empty response"
        raise EndpointError(f"sent {what} instead of a page") from None
    space, brace, name = page.tag.rpartition("}")
    space += brace
    if name != "ListBucketResult":
        raise EndpointError(f"sent {name[:40]!r} instead of a page")
    contents, folders = page.findall(f"{space}Contents"), page.findall(f"{space}CommonPrefixes")
    keys, sizes, etags = ([each.findtext(space + tag) or "" for each in contents] for tag in ("Key", "Size", "ETag"))
    prefixes = [each.findtext(f"{space}Prefix") or "" for each in folders]
    if not (all(keys) and all(sizes) and all(prefixes)):
        raise EndpointError("listed an object without a key or a size, or a folder without a name")
    if page.findtext(f"{space}EncodingType") == "url":
        keys, prefixes = [unquote_plus(key) for key in keys], [unquote_plus(prefix) for prefix in prefixes]
    versions = [etag.strip('"') for etag in etags]
    if not all(versions):
        times = [each.findtext(f"{space}LastModified") for each in contents]
        columns = zip(versions, times, sizes, strict=True)
        versions = [etag or _without_etag(time, size) for etag, time, size in columns]
    token = page.findtext(f"{space}NextContinuationToken")
    if (page.findtext(f"{space}IsTruncated") or "false").lower() not in ("false", *(["true"] if token else [])):
        raise EndpointError("sent a page that is not the last, without a token for the next")
    if token and len(token) > _MAX_TOKEN:
        raise EndpointError(f"sent a continuation token of {len(token):,} characters")
    return Page(keys, sizes, versions, prefixes, token or None)


def entries_of(page: Page, query: Query, bucket: str) -> list[Entry]:
    """The files of a page. Raises EndpointError if one is not in the query, or is impossible."""
    if not page.keys:
        return []
    _check_keys(page.keys, query.prefix)
    _check_sizes(page.sizes)
    found = [
        Entry(f"{bucket}/{key}", int(size), version)
        for key, size, version in zip(page.keys, page.sizes, page.versions, strict=True)
        if key[-1] != "/" and (query.delimiter or "/" in key[query.parent_length :])
    ]
    if ".." in "/".join(page.keys):
        found = [each._replace(fault="outside") if ".." in each.path.split("/") else each for each in found]
    return found


def folders_of(page: Page, query: Query) -> list[str]:
    """The folders of a page, as prefixes. Raises EndpointError if one is not directly below the query's prefix."""
    if page.prefixes and not query.delimiter:
        raise EndpointError(f"listed folders, which were not requested: {page.prefixes[0]!r:.60}")
    if page.prefixes:
        _check_keys(page.prefixes, query.prefix)
    for each in page.prefixes:
        below = each[len(query.prefix) :]
        if not below or below.find("/") != len(below) - 1:
            raise EndpointError(f"listed {each!r:.60} as a folder directly below {query.prefix!r:.60}")
    return page.prefixes


class LoopCheck:
    """Detects endless listings: an endpoint may repeat the pages of a query, or send empty ones, forever."""

    def __init__(self) -> None:
        self._tokens, self._starts = set[str](), set[tuple[str | None, bool]]()
        self._empty = self._repeats = 0

    def check(self, page: Page) -> None:
        """Raises EndpointError if a page makes no progress beyond the earlier ones.

        Keys are sorted in most stores but not in all (S3 Express), so the first key of each page is compared: in an
        endless listing of finitely many keys, one must begin a page twice.
        """
        first = next(iter(page.keys or page.prefixes), None)
        self._empty = 0 if first else self._empty + 1
        if self._empty > MAX_EMPTY_PAGES:
            raise EndpointError(f"sent more than {MAX_EMPTY_PAGES:,} empty pages in a row")
        start = (first, bool(page.keys))
        self._repeats = self._repeats + 1 if first and start in self._starts else 0
        # A folder may begin two pages, with some gateways; a key cannot.
        if self._repeats > (0 if page.keys else MAX_REPEATED_FOLDERS) or (page.token and page.token in self._tokens):
            raise EndpointError("sent the same page again and again")
        self._starts.add(start)
        self._tokens |= {page.token} if page.token else set()


def _check_keys(keys: Sequence[str], prefix: str) -> None:
    for each in (min(keys), max(keys)):  # what sorts between two strings with a prefix has it, too
        if not each.startswith(prefix):
            raise EndpointError(f"listed {each!r:.60}, which does not begin with {prefix!r:.60}")
    longest = max(keys, key=len)
    if len(longest) > MAX_KEY // 4 and any(len(each.encode(errors="replace")) > MAX_KEY for each in keys):
        raise EndpointError(f"listed a key of more than {MAX_KEY:,} bytes: {longest!r:.60}")


def _check_sizes(sizes: Iterable[str]) -> None:
    joined = "".join(sizes)
    if joined.isascii() and joined.isdigit() and len(max(sizes, key=len)) < len(str(MAX_OBJECT_BYTES)):
        return  # checked together, which is faster
    for each in sizes:
        if not (each.isascii() and each.isdigit() and len(each) <= 20 and int(each) <= MAX_OBJECT_BYTES):
            what = f"listed an object with a size of {each!r:.40} bytes"
            raise EndpointError(f"{what}; 0 to {MAX_OBJECT_BYTES:,} are possible")


def _without_etag(time: str | None, size: str) -> str:
    from botocore.utils import parse_timestamp

    metadata: dict[str, object] = {"size": size}
    if time:
        try:
            metadata["LastModified"] = parse_timestamp(time)  # as botocore parses it in the metadata of a single file
        except (ValueError, OverflowError):
            raise EndpointError(f"listed {time!r:.40} as a time") from None
    return version_of(metadata)
