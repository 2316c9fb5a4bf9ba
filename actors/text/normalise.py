"""Normalises texts for comparison, and joins those of segments."""

import unicodedata
from collections.abc import Iterable
from dataclasses import dataclass
from itertools import pairwise
from typing import Literal

from actors.text.written.readings import alike
from actors.text.written.spoken import spoken_form

_CHINESE_DIGITS = str.maketrans("0123456789", "零一二三四五六七八九")


@dataclass(frozen=True)
class Normalisation:
    """Differences that a comparison ignores.

    `width`: full and half width, and other compatibility forms (NFKC); `case`: upper and lower case. Punctuation and
    spaces are removed. Digits may be replaced by Chinese ones, one by one, or read aloud as in Mandarin, with what has
    several readings made equal (`spoken_form`, `alike`). The default is the usual one for character
    error rates of Mandarin.
    """

    width: bool = True
    case: bool = True
    punctuation: bool = True
    spaces: bool = True
    digits: Literal["keep", "chinese", "spoken"] = "keep"


CHARACTERS = Normalisation()


def normalise(text: str, normalisation: Normalisation = CHARACTERS, beside: str = "") -> str:
    """Normalises a text. The one beside it, with which it is compared, tells whether a text of digits is Mandarin."""
    is_spoken = normalisation.digits == "spoken"
    text = spoken_form(text, beside) if is_spoken else text  # first: 13:15 and 30.5% are nothing without their marks
    text = unicodedata.normalize("NFKC", text) if normalisation.width else text
    text = text.casefold() if normalisation.case else text
    text = text.translate(_CHINESE_DIGITS) if normalisation.digits == "chinese" else text
    if normalisation.punctuation:
        text = "".join(char for char in text if not unicodedata.category(char).startswith("P"))
    text = "".join(text.split()) if normalisation.spaces else " ".join(text.split())
    return alike(text) if is_spoken else text  # last: a transcript has no comma between two numbers


def join_texts(texts: Iterable[str | None]) -> str:
    """Joins the texts of a recording's segments, with spaces if the language uses them."""
    texts_present = [text for text in texts if text]
    spaced = any(" " in text for text in texts_present)
    spaced = spaced or any(_is_latin(left[-1]) and _is_latin(right[0]) for left, right in pairwise(texts_present))
    return (" " if spaced else "").join(texts_present)


def _is_latin(char: str) -> bool:
    return char.isalpha() and char < "\u0250"
