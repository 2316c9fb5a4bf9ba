"""What became of each file of an input, one by one, as its account counts them."""

from collections.abc import Iterator
from typing import Literal, NamedTuple

from jobs.planning.files import File
from jobs.planning.sorting import Sorted


class ListedFile(NamedTuple):
    """A file that is no object itself, what became of it, and why."""

    uri: str
    name: str
    size: int
    verdict: Literal["list", "companion", "spoken of", "skipped"]
    reason: str


def files_without_object(files: Sorted) -> Iterator[ListedFile]:
    """Yields the files of an input that are not objects themselves, in the order of their URIs, once `files` has
    accounted for them. The others have an object of the listing each, which is no line of a manifest."""
    tables = {each.uri for each in files.tables}
    for uri in sorted(files.found.files.keys() | files.found.passed_over.keys()):
        file = files.found.files.get(uri) or files.found.passed_over[uri][0]
        if reason := files.skipped.get(uri):
            yield _listed(file, "skipped", reason)
        elif uri in files.spoken_of:
            if uri not in files.objects or not files.objects[uri].is_container:
                yield _listed(file, "spoken of", "a manifest names it, and its entries are objects")
        elif uri in files.companions:
            yield _listed(file, "companion", f"goes with {files.companions[uri]}")
        elif uri not in files.objects:
            why = (
                "is read with the wav.scp beside it" if uri in tables else "its entries are objects, or members of tars"
            )
            yield _listed(file, "list", why)


def _listed(file: File, verdict: Literal["list", "companion", "spoken of", "skipped"], reason: str) -> ListedFile:
    return ListedFile(file.uri, file.name, file.size, verdict, reason)
