"""Scripts that are written without spaces between words."""

import re
import unicodedata

#: Matches a character of one: Thai, Lao, Burmese, Khmer, kana and Chinese characters.
UNSPACED = re.compile(
    "[\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3005-\u30ff\u31f0-\u31ff\u3400-\u9fff\uf900-\ufaff\uff66-\uff9f"
    "\U00020000-\U0003ffff]"
)


def is_in_word(text: str, place: int) -> bool:
    """Whether a place is within a word of a script that has spaces between words."""
    return 0 < place < len(text) and _is_of_word(text[place - 1]) and _is_of_word(text[place])


def _is_of_word(char: str) -> bool:
    return unicodedata.category(char)[0] in "LMN" and not UNSPACED.match(char)
