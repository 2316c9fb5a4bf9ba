"""Listing of HTTP servers: follows links of index pages to what is below them."""

import re
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from html import unescape
from urllib.parse import unquote, urljoin

from actors.storage.answers import EndpointError
from actors.storage.entry import Entry
from actors.storage.file_info import FileInfo
from actors.storage.place import Place
from actors.storage.urls import address_of, normal_url

AT_ONCE = 16  # concurrent requests for the sizes of files, which index pages do not have
MAX_PAGE_BYTES = 64_000_000  # some 500,000 links
MAX_DEPTH = 64  # of nested folders; a server that generates its pages may never end
MAX_FOLDERS = 100_000

_LINK = re.compile(rb"""<a\s[^<>]*?href\s*=\s*(?:"([^"]+)"|'([^']+)'|([^\s"'<>]+))""", re.IGNORECASE)
_PAGE = re.compile(r".*\.html?", re.IGNORECASE)  # a name of a page that is not itself a folder


def find(place: Place, enters: Callable[[str], bool] = lambda folder: True) -> Iterator[Entry]:
    """The file at a place, or, if it is a page, the files that are linked below it; nothing if it does not exist.

    Raises EndpointError if there are too many folders.
    """
    try:
        info = _info(place)
    except FileNotFoundError:
        return
    if info.media_type != "text/html":
        yield Entry(place.path, info.size or 0, info.version)
        return
    start = place.folder if "?" in place.path or _PAGE.fullmatch(place.name) else place.path
    pages, seen = [(place if start != place.path else place.with_path(start + "/"), start, 0)], {start}
    with ThreadPoolExecutor(AT_ONCE) as pool:
        while pages:
            page, folder, depth = pages.pop()
            links = _links(page, folder + "/")
            files = [each for each in links if not each.endswith("/")]
            yield from pool.map(lambda link: _entry(place.with_path(link)), files)
            new = {each[:-1] for each in links if each.endswith("/") and enters(each[:-1])} - seen
            pages += [(place.with_path(each + "/"), each, depth + 1) for each in new]
            seen |= new
            if len(seen) > MAX_FOLDERS or depth > MAX_DEPTH:
                what = f"more than {MAX_FOLDERS:,} folders, or {MAX_DEPTH} nested ones"
                raise EndpointError(f"{place.described}: lists {what}, the last {folder[:200]!r}")


def _info(place: Place) -> FileInfo:
    """The metadata of a file or page; some servers have a folder's page only by its name with a slash."""
    try:
        return place.info()
    except FileNotFoundError:
        if "?" in place.path:
            raise
        return place.with_path(place.path + "/").info()


def _links(page: Place, folder: str) -> list[str]:
    """The distinct URLs below a folder to which a page links, without their queries: those sort the page."""
    try:
        text = page.read(MAX_PAGE_BYTES)
    except FileNotFoundError:
        return []
    found = (unescape(b"".join(each).decode("utf-8", "replace")) for each in _LINK.findall(text))
    links = {_join(page.path, each.partition("#")[0]) for each in found}
    return sorted(link for link in links if link.startswith(folder) and link not in (folder, address_of(page.path)))


def _join(page: str, link: str) -> str:
    try:
        return address_of(normal_url(urljoin(page, link.strip())))
    except ValueError:  # not a URL
        return ""


def _entry(place: Place) -> Entry:
    """The entry of a link; a server may also list what it does not have."""
    if ".." in unquote(place.path).split("/"):
        return Entry(place.path, 0, "", "outside")
    try:
        info = place.info()
    except FileNotFoundError:
        return Entry(place.path, 0, "", "dangling")
    return Entry(place.path, info.size or 0, info.version)
