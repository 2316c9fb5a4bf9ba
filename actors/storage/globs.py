"""Glob patterns: `*`, `?` and `[…]` within a name, and `**` for any folders."""

import re

from fsspec.utils import glob_translate

from actors.schema import UsageError

_MAGIC = re.compile(r"[*?\[]")


class Glob:
    """A pattern of fsspec's kind. `root` is the deepest folder before any wildcard, `is_deep` whether it has a `**`."""

    def __init__(self, pattern: str) -> None:
        """Raises UsageError if the pattern is invalid."""
        parts = pattern.split("/")
        literal = next((at for at, part in enumerate(parts) if _MAGIC.search(part)), len(parts) - 1)
        self.root = "/".join(parts[:literal])
        try:
            self._all = re.compile(glob_translate(pattern))
            above = parts[: parts.index("**")] if "**" in parts else parts[:-1]
            self._folders = [re.compile(glob_translate("/".join(above[: at + 1]))) for at in range(len(above))]
        except (ValueError, re.error) as problem:
            raise UsageError(f"{pattern!r}: {problem}") from None
        self.is_deep = "**" in parts

    def matches(self, path: str) -> bool:
        return self._all.match(path) is not None

    def enters(self, folder: str) -> bool:
        """Whether something below a folder could match; its parent folders must have passed this test."""
        depth = folder.count("/")
        return self.is_deep if depth >= len(self._folders) else self._folders[depth].match(folder) is not None
