"""Texts as they are joined and compared."""

import unicodedata
from collections.abc import Iterable
from dataclasses import dataclass
from itertools import pairwise
from typing import Literal

_CHINESE_DIGITS = str.maketrans("0123456789", "零一二三四五六七八九")


@dataclass(frozen=True)
class Normalisation:
    """What is made equal before texts are compared: characters of full and half width, and other forms that Unicode
    has twice (NFKC); upper and lower case; punctuation and spaces are left out; digits may become Chinese ones, one by
    one. The default is what character error rates of Mandarin are given with."""

    width: bool = True
    case: bool = True
    punctuation: bool = True
    spaces: bool = True
    digits: Literal["keep", "chinese"] = "keep"


CHARACTERS = Normalisation()


def normalise(text: str, how: Normalisation = CHARACTERS) -> str:
    """A text as it is compared."""
    text = unicodedata.normalize("NFKC", text) if how.width else text
    text = text.casefold() if how.case else text
    text = text.translate(_CHINESE_DIGITS) if how.digits == "chinese" else text
    if how.punctuation:
        text = "".join(char for char in text if not unicodedata.category(char).startswith("P"))
    return "".join(text.split()) if how.spaces else " ".join(text.split())


def join(texts: Iterable[str | None]) -> str:
    """The text of a recording from those of its segments: with spaces between where the language has any."""
    said = [text for text in texts if text]
    spaced = any(" " in text for text in said)
    spaced = spaced or any(_is_latin(left[-1]) and _is_latin(right[0]) for left, right in pairwise(said))
    return (" " if spaced else "").join(said)


def _is_latin(char: str) -> bool:
    return char.isalpha() and char < "\u0250"
