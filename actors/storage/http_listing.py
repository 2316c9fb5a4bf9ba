"""Listing of HTTP servers: follows links of index pages to what is below them."""

import re
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from html import unescape
from urllib.parse import unquote, urljoin

from actors.storage.answers import EndpointError, Filesystem, location
from actors.storage.entry import Entry
from actors.storage.files import info, read, version

AT_ONCE = 16  # concurrent requests for the sizes of files, which index pages do not have
MAX_PAGE_BYTES = 64_000_000  # some 500,000 links
MAX_DEPTH = 64  # of nested folders; a server that generates its pages may never end
MAX_FOLDERS = 100_000

_LINK = re.compile(rb"""<a\s[^<>]*?href\s*=\s*["']([^"'<>]+)""", re.IGNORECASE)


def find(filesystem: Filesystem, url: str, enters: Callable[[str], bool] = lambda folder: True) -> Iterator[Entry]:
    """The file at a URL, or, if it is a page, the files that are linked below it; nothing if it does not exist.

    Raises EndpointError if there are too many folders.
    """
    try:
        details = info(filesystem, url)
    except FileNotFoundError:
        return
    if details.get("mimetype") != "text/html":
        yield Entry(url, details["size"] or 0, version(details))
        return
    folders, seen = [(url, 0)], {url}
    with ThreadPoolExecutor(AT_ONCE) as pool:
        while folders:
            folder, depth = folders.pop()
            links = _links(filesystem, folder + "/")
            files = [each for each in links if not each.endswith("/")]
            yield from (each for each in pool.map(lambda link: _entry(filesystem, link), files) if each)
            new = {each[:-1] for each in links if each.endswith("/") and enters(each[:-1])} - seen
            folders += [(each, depth + 1) for each in new]
            seen |= new
            if len(seen) > MAX_FOLDERS or depth > MAX_DEPTH:
                what = f"more than {MAX_FOLDERS:,} folders, or {MAX_DEPTH} nested ones"
                raise EndpointError(f"{location(filesystem, url)}: lists {what}, the last {folder[:200]!r}")


def _links(filesystem: Filesystem, page: str) -> list[str]:
    """The distinct URLs below a page that it links to."""
    try:
        text = read(filesystem, page, MAX_PAGE_BYTES)
    except FileNotFoundError:
        return []
    links = (unescape(each.decode("utf-8", "replace")).split("#")[0].split("?")[0] for each in _LINK.findall(text))
    return sorted({link for each in links if (link := _join(page, each)).startswith(page) and link != page})


def _join(page: str, link: str) -> str:
    try:
        return urljoin(page, link)
    except ValueError:  # not a URL
        return ""


def _entry(filesystem: Filesystem, url: str) -> Entry | None:
    if ".." in unquote(url).split("/"):
        return Entry(url, 0, "", "outside")
    try:
        details = info(filesystem, url)
    except FileNotFoundError:
        return None
    return Entry(url, details["size"] or 0, version(details))
