"""What an HTTP server lists: the links of its index pages to what lies below them."""

import re
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from html import unescape
from urllib.parse import unquote, urljoin

from actors.storage.answers import EndpointError, Filesystem, place
from actors.storage.entry import Entry
from actors.storage.files import info, read, version

AT_ONCE = 16  # files that are asked for their sizes, which no index page tells
MAX_PAGE_BYTES = 64_000_000  # bytes, of some 500,000 links
MAX_DEPTH = 64  # folders below one another; a server that makes its pages up has no end of them
MAX_FOLDERS = 100_000

_LINK = re.compile(rb"""<a\s[^<>]*?href\s*=\s*["']([^"'<>]+)""", re.IGNORECASE)


def find(filesystem: Filesystem, url: str, enters: Callable[[str], bool] = lambda folder: True) -> Iterator[Entry]:
    """The file of a URL, or what is linked below it where it is a page; nothing where there is none.

    Raises EndpointError where there is no end of folders.
    """
    try:
        known = info(filesystem, url)
    except FileNotFoundError:
        return
    if known.get("mimetype") != "text/html":
        yield Entry(url, known["size"] or 0, version(known))
        return
    folders, listed = [(url, 0)], {url}
    with ThreadPoolExecutor(AT_ONCE) as pool:
        while folders:
            folder, depth = folders.pop()
            links = _links(filesystem, folder + "/")
            files = [each for each in links if not each.endswith("/")]
            yield from (each for each in pool.map(lambda link: _entry(filesystem, link), files) if each)
            new = {each[:-1] for each in links if each.endswith("/") and enters(each[:-1])} - listed
            folders += [(each, depth + 1) for each in new]
            listed |= new
            if len(listed) > MAX_FOLDERS or depth > MAX_DEPTH:
                what = f"more than {MAX_FOLDERS:,} folders, or {MAX_DEPTH} below one another"
                raise EndpointError(f"{place(filesystem, url)}: lists {what}, the last {folder[:200]!r}")


def _links(filesystem: Filesystem, page: str) -> list[str]:
    """The URLs below a page that it links to, each once."""
    try:
        text = read(filesystem, page, MAX_PAGE_BYTES)
    except FileNotFoundError:
        return []
    links = (unescape(each.decode("utf-8", "replace")).split("#")[0].split("?")[0] for each in _LINK.findall(text))
    return sorted({link for each in links if (link := _joined(page, each)).startswith(page) and link != page})


def _joined(page: str, link: str) -> str:
    try:
        return urljoin(page, link)
    except ValueError:  # no URL
        return ""


def _entry(filesystem: Filesystem, url: str) -> Entry | None:
    if ".." in unquote(url).split("/"):
        return Entry(url, 0, "", "outside")
    try:
        known = info(filesystem, url)
    except FileNotFoundError:
        return None
    return Entry(url, known["size"] or 0, version(known))
