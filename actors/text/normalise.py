"""Normalises texts for comparison, and joins those of segments."""

import unicodedata
from collections.abc import Iterable
from dataclasses import dataclass
from itertools import pairwise
from typing import Literal

_CHINESE_DIGITS = str.maketrans("0123456789", "零一二三四五六七八九")


@dataclass(frozen=True)
class Normalisation:
    """Differences that a comparison ignores.

    `width`: full and half width, and other compatibility forms (NFKC); `case`: upper and lower case. Punctuation and
    spaces are removed. Digits may be replaced by Chinese ones, one by one. The default is the usual one for character
    error rates of Mandarin.
    """

    width: bool = True
    case: bool = True
    punctuation: bool = True
    spaces: bool = True
    digits: Literal["keep", "chinese"] = "keep"


CHARACTERS = Normalisation()


def normalise(text: str, normalisation: Normalisation = CHARACTERS) -> str:
    """Normalises a text."""
    text = unicodedata.normalize("NFKC", text) if normalisation.width else text
    text = text.casefold() if normalisation.case else text
    text = text.translate(_CHINESE_DIGITS) if normalisation.digits == "chinese" else text
    if normalisation.punctuation:
        text = "".join(char for char in text if not unicodedata.category(char).startswith("P"))
    return "".join(text.split()) if normalisation.spaces else " ".join(text.split())


def join_texts(texts: Iterable[str | None]) -> str:
    """Joins the texts of a recording's segments, with spaces if the language uses them."""
    texts_present = [text for text in texts if text]
    spaced = any(" " in text for text in texts_present)
    spaced = spaced or any(_is_latin(left[-1]) and _is_latin(right[0]) for left, right in pairwise(texts_present))
    return (" " if spaced else "").join(texts_present)


def _is_latin(char: str) -> bool:
    return char.isalpha() and char < "\u0250"
