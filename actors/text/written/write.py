"""Writes what was said as people write it: the column `written`, which is made of `text` alone."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

import pyarrow as pa

from actors.schema import UsageError
from actors.storage.fetched import StoredFile, fetch_file
from actors.text.written.forms import written_form
from actors.text.written.replacements import read_pairs, replacing

Write = Callable[[pa.Table], pa.Array]  # the column `written` of rows with the column `text`
_Step = Callable[[str], str]


@dataclass(frozen=True)
class TextSettings:
    """How texts are written: by the inverse text normalisation of a language, and with replacements after it."""

    itn: Literal["none", "zh", "en"] = "none"
    replace: StoredFile | None = None

    def to_dict(self) -> dict[str, object]:
        """What decides what is written, nothing by default; a file by its SHA-256."""
        told: dict[str, object] = {} if self.itn == "none" else {"itn": self.itn}
        return told | ({"replace": self.replace.sha256} if self.replace else {})

    @property
    def described(self) -> str:
        """`none`, or `itn=zh replace=4f0c1a2b3c4d5e6f`."""
        return " ".join(f"{name}={str(value)[:16]}" for name, value in self.to_dict().items()) or "none"


def load_write(settings: TextSettings) -> Write:
    """Loads what makes the column `written`: null in every row where nothing is asked for, else null without a text.

    Raises UsageError, which names the key, if the language's library is not there, or the file is not what it should
    be.
    """
    steps = list[_Step]()
    if settings.itn != "none":
        steps.append(_itn(settings.itn))
    if settings.replace:
        path = fetch_file(settings.replace)
        try:
            steps.append(replacing(read_pairs(path)))
        except UsageError as problem:
            raise UsageError(f"{settings.replace.key}: {settings.replace.place.described}: {problem}") from None
    return lambda rows: _written(rows, steps)


def _itn(language: str) -> _Step:
    try:
        written_form("0", language)  # which loads what it needs
    except ValueError as problem:
        raise UsageError(f"text.itn: {problem}") from None
    return lambda text: written_form(text, language)


def _written(rows: pa.Table, steps: Sequence[_Step]) -> pa.Array:
    if not steps:
        return pa.nulls(rows.num_rows, pa.string())
    texts = rows.column("text").to_pylist()
    for step in steps:
        texts = [text and step(text) for text in texts]
    return pa.array(texts, pa.string())
