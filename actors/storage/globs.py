"""Patterns of paths: `*`, `?` and `[…]` within a name, and `**` for any folders."""

import re

from fsspec.utils import glob_translate

from actors.schema import UsageError

_MAGIC = re.compile(r"[*?\[]")


class Glob:
    """A pattern, as fsspec understands it: `root` is the longest folder before any wildcard, `is_deep` says whether it
    has a `**`."""

    def __init__(self, pattern: str) -> None:
        """Raises UsageError where it is none."""
        parts = pattern.split("/")
        literal = next((at for at, part in enumerate(parts) if _MAGIC.search(part)), len(parts) - 1)
        self.root = "/".join(parts[:literal])
        try:
            self._all = re.compile(glob_translate(pattern))
            known = parts[: parts.index("**")] if "**" in parts else parts[:-1]
            self._folders = [re.compile(glob_translate("/".join(known[: at + 1]))) for at in range(len(known))]
        except (ValueError, re.error) as problem:
            raise UsageError(f"{pattern!r}: {problem}") from None
        self.is_deep = "**" in parts

    def matches(self, path: str) -> bool:
        return self._all.match(path) is not None

    def enters(self, folder: str) -> bool:
        """Whether something below a folder could match; of those above it, that is known."""
        depth = folder.count("/")
        return self.is_deep if depth >= len(self._folders) else self._folders[depth].match(folder) is not None
