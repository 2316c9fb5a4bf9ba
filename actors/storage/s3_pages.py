"""Pages of ListObjectsV2, which an endpoint may make up: each is read strictly, or is an EndpointError.

https://docs.aws.amazon.com/AmazonS3/latest/API/API_ListObjectsV2.html
"""

from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple
from urllib.parse import unquote_plus
from xml.etree import ElementTree

from actors.storage.answers import MAX_OBJECT_BYTES, EndpointError
from actors.storage.entry import Entry
from actors.storage.ranges import version

MAX_KEY = 1_024  # bytes of UTF-8, of S3 and all who are like it
MAX_EMPTY_PAGES = 1_000  # one after the other; S3 gives some where many keys were deleted
MAX_REPEATED_FOLDERS = 10  # pages one after the other that begin with a folder which began one before
_MAX_TAGS = 1_000_000  # of a page; 1,000 objects have about 20,000
_MAX_TOKEN = 8_000  # characters, as it has to fit in a URL


class Ask(NamedTuple):
    """What pages are asked for: keys that begin with a prefix, and with a delimiter only those that lie directly there.

    Without one, keys with no slash after `known` characters are passed over: they are in the pages of their folder.
    """

    prefix: str
    delimiter: str = ""
    known: int = 0


class Page(NamedTuple):
    """What a page says of its objects, as text, and the folders in it. `token` is the next page's."""

    keys: list[str]
    sizes: list[str]
    versions: list[str]
    prefixes: list[str]
    token: str | None


def parse(body: bytes) -> Page:
    """An answer to ListObjectsV2, with its keys decoded. Raises EndpointError where it is something else."""
    if body.count(b"<") > _MAX_TAGS:
        raise EndpointError(f"gives XML of more than {_MAX_TAGS:,} tags for a page")
    if b"<!DOCTYPE" in body or b"\0" in body:  # where entities would be; in UTF-16 every other byte of that is zero
        raise EndpointError("gives XML with a document type, or not in UTF-8, which S3 never does")
    try:
        page = ElementTree.fromstring(body, ElementTree.XMLParser(encoding="utf-8"))
    except ElementTree.ParseError as problem:
        what = f"{len(body):,} bytes that are no XML ({problem})" if body else "an empty answer"
        raise EndpointError(f"gives {what} where a page is asked for") from None
    space, brace, name = page.tag.rpartition("}")
    space += brace
    if name != "ListBucketResult":
        raise EndpointError(f"gives {name[:40]!r} where a page is asked for")
    contents, folders = page.findall(f"{space}Contents"), page.findall(f"{space}CommonPrefixes")
    keys, sizes, etags = ([each.findtext(space + tag) or "" for each in contents] for tag in ("Key", "Size", "ETag"))
    prefixes = [each.findtext(f"{space}Prefix") or "" for each in folders]
    if not (all(keys) and all(sizes) and all(prefixes)):
        raise EndpointError("gives an object without a key or a size, or a folder without a name")
    if page.findtext(f"{space}EncodingType") == "url":
        keys, prefixes = [unquote_plus(key) for key in keys], [unquote_plus(prefix) for prefix in prefixes]
    versions = [etag.strip('"') for etag in etags]
    if not all(versions):
        times = [each.findtext(f"{space}LastModified") for each in contents]
        told = zip(versions, times, sizes, strict=True)
        versions = [etag or _without_etag(time, size) for etag, time, size in told]
    token = page.findtext(f"{space}NextContinuationToken")
    if (page.findtext(f"{space}IsTruncated") or "false").lower() not in ("false", *(["true"] if token else [])):
        raise EndpointError("gives a page that is not the last, and does not say how to ask for the next")
    if token and len(token) > _MAX_TOKEN:
        raise EndpointError(f"gives a continuation token of {len(token):,} characters")
    return Page(keys, sizes, versions, prefixes, token or None)


def entries_of(page: Page, ask: Ask, bucket: str) -> list[Entry]:
    """The files of a page. Raises EndpointError where one is not what was asked for, or cannot be."""
    if not page.keys:
        return []
    _check_keys(page.keys, ask.prefix)
    _check_sizes(page.sizes)
    found = [
        Entry(f"{bucket}/{key}", int(size), version)
        for key, size, version in zip(page.keys, page.sizes, page.versions, strict=True)
        if key[-1] != "/" and (ask.delimiter or "/" in key[ask.known :])
    ]
    if ".." in "/".join(page.keys):
        found = [each._replace(fault="outside") if ".." in each.path.split("/") else each for each in found]
    return found


def folders_of(page: Page, ask: Ask) -> list[str]:
    """The folders of a page, as prefixes. Raises EndpointError where one is not directly below what was asked for."""
    if page.prefixes and not ask.delimiter:
        raise EndpointError(f"gives folders where none were asked for: {page.prefixes[0]!r:.60}")
    if page.prefixes:
        _check_keys(page.prefixes, ask.prefix)
    for each in page.prefixes:
        below = each[len(ask.prefix) :]
        if not below or below.find("/") != len(below) - 1:
            raise EndpointError(f"gives {each!r:.60} as a folder directly below {ask.prefix!r:.60}")
    return page.prefixes


class Progress:
    """Whether the pages of one ask get on: an endpoint may give the same for ever, or nothing for ever."""

    def __init__(self) -> None:
        self._tokens, self._begun = set[str](), set[tuple[str | None, bool]]()
        self._empty = self._again = 0

    def check(self, page: Page) -> None:
        """Raises EndpointError where a page does not get on from those before.

        Keys are in order nearly everywhere but not with all (S3 Express), so what begins a page tells: in an endless
        listing of some keys, whatever the pages, one has to begin a page again.
        """
        begin = next(iter(page.keys or page.prefixes), None)
        self._empty = 0 if begin else self._empty + 1
        if self._empty > MAX_EMPTY_PAGES:
            raise EndpointError(f"gives more than {MAX_EMPTY_PAGES:,} empty pages one after the other")
        begun = (begin, bool(page.keys))
        self._again = self._again + 1 if begin and begun in self._begun else 0
        # A folder may begin two pages, as some gateways have it; a key cannot.
        if self._again > (0 if page.keys else MAX_REPEATED_FOLDERS) or (page.token and page.token in self._tokens):
            raise EndpointError("gives the same page again and again")
        self._begun.add(begun)
        self._tokens |= {page.token} if page.token else set()


def _check_keys(keys: Sequence[str], prefix: str) -> None:
    for each in (min(keys), max(keys)):  # what lies between two strings with a prefix has it, too
        if not each.startswith(prefix):
            raise EndpointError(f"gives {each!r:.60}, which does not begin with {prefix!r:.60}")
    longest = max(keys, key=len)
    if len(longest) > MAX_KEY // 4 and any(len(each.encode(errors="replace")) > MAX_KEY for each in keys):
        raise EndpointError(f"gives a key of more than {MAX_KEY:,} bytes: {longest!r:.60}")


def _check_sizes(sizes: Iterable[str]) -> None:
    together = "".join(sizes)
    if together.isascii() and together.isdigit() and len(max(sizes, key=len)) < len(str(MAX_OBJECT_BYTES)):
        return  # together, for pages are many
    for each in sizes:
        if not (each.isascii() and each.isdigit() and len(each) <= 20 and int(each) <= MAX_OBJECT_BYTES):
            what = f"gives an object a size of {each!r:.40} bytes"
            raise EndpointError(f"{what}; 0 to {MAX_OBJECT_BYTES:,} are possible")


def _without_etag(time: str | None, size: str) -> str:
    from botocore.utils import parse_timestamp

    told: dict[str, Any] = {"size": size}
    if time:
        try:
            told["LastModified"] = parse_timestamp(time)  # as for the header that a file's own version is from
        except (ValueError, OverflowError):
            raise EndpointError(f"gives {time!r:.40} as a time") from None
    return version(told)
