"""Listing of HTTP servers: follows links of index pages to what is below them."""

import re
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from html import unescape
from urllib.parse import unquote, urljoin

from actors.storage.answers import EndpointError
from actors.storage.entry import Entry
from actors.storage.place import Place

AT_ONCE = 16  # concurrent requests for the sizes of files, which index pages do not have
MAX_PAGE_BYTES = 64_000_000  # some 500,000 links
MAX_DEPTH = 64  # of nested folders; a server that generates its pages may never end
MAX_FOLDERS = 100_000

_LINK = re.compile(rb"""<a\s[^<>]*?href\s*=\s*["']([^"'<>]+)""", re.IGNORECASE)


def find(place: Place, enters: Callable[[str], bool] = lambda folder: True) -> Iterator[Entry]:
    """The file at a place, or, if it is a page, the files that are linked below it; nothing if it does not exist.

    Raises EndpointError if there are too many folders.
    """
    try:
        info = place.info()
    except FileNotFoundError:
        return
    if info.media_type != "text/html":
        yield Entry(place.path, info.size or 0, info.version)
        return
    folders, seen = [(place.path, 0)], {place.path}
    with ThreadPoolExecutor(AT_ONCE) as pool:
        while folders:
            folder, depth = folders.pop()
            links = _links(place.with_path(folder + "/"))
            files = [each for each in links if not each.endswith("/")]
            yield from (each for each in pool.map(lambda link: _entry(place.with_path(link)), files) if each)
            new = {each[:-1] for each in links if each.endswith("/") and enters(each[:-1])} - seen
            folders += [(each, depth + 1) for each in new]
            seen |= new
            if len(seen) > MAX_FOLDERS or depth > MAX_DEPTH:
                what = f"more than {MAX_FOLDERS:,} folders, or {MAX_DEPTH} nested ones"
                raise EndpointError(f"{place.described}: lists {what}, the last {folder[:200]!r}")


def _links(page: Place) -> list[str]:
    """The distinct URLs below a page that it links to."""
    try:
        text = page.read(MAX_PAGE_BYTES)
    except FileNotFoundError:
        return []
    links = (unescape(each.decode("utf-8", "replace")).split("#")[0].split("?")[0] for each in _LINK.findall(text))
    url = page.path
    return sorted({link for each in links if (link := _join(url, each)).startswith(url) and link != url})


def _join(page: str, link: str) -> str:
    try:
        return urljoin(page, link)
    except ValueError:  # not a URL
        return ""


def _entry(place: Place) -> Entry | None:
    if ".." in unquote(place.path).split("/"):
        return Entry(place.path, 0, "", "outside")
    try:
        info = place.info()
    except FileNotFoundError:
        return None
    return Entry(place.path, info.size or 0, info.version)
