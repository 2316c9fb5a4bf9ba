"""Reads errors.accept: the errors that a person has looked at, as kinds or as recordings in files."""

import difflib
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field

from actors.schema import ErrorKind, UsageError
from actors.storage.place import Place
from jobs.cli.config import ConfigError, Errors
from jobs.planning.named import FORMS, Named, RecordingKey, read_named

_KINDS = frozenset(str(each) for each in ErrorKind)


@dataclass(frozen=True)
class Accepted:
    """What errors.accept names: kinds of errors, and recordings."""

    kinds: frozenset[str] = frozenset()
    named: Named = field(default_factory=Named)

    def __bool__(self) -> bool:
        return bool(self.kinds or self.named.count)

    def holds(self, key: RecordingKey, kind: str) -> bool:
        """Whether a recording with an error of a kind is accepted; `key` are its columns of KEY."""
        return self.named.holds(key) or kind in self.kinds  # in this order: a name that is there counts as found


def read_accepted(config: Errors, options: Mapping[str, object], max_bytes: float, roots: Collection[str]) -> Accepted:
    """Reads errors.accept, its files with the storage's `options`. Raises ConfigError for what is neither a kind of
    error nor a file of recordings."""
    kinds, named = {each for each in config.accept if each in _KINDS}, Named(frozenset(roots))
    for name in config.accept:
        if name in kinds:
            continue
        try:
            place = Place.at(name, options)
        except UsageError as problem:
            raise ConfigError(f"errors.accept: {problem}") from None
        if not place.exists():
            near = difflib.get_close_matches(name, _KINDS, n=1)
            hint = f"; did you mean {near[0]}?" if near else f"; give kinds of error, or {FORMS}"
            raise ConfigError(f"errors.accept: {name} is neither a kind of error nor a file that exists{hint}")
        read_named(named, place, "errors.accept", max_bytes)
    return Accepted(frozenset(kinds), named)
