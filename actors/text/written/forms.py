"""The written form of a text, by language."""

from collections.abc import Callable

from actors.text.written.english import written_english
from actors.text.written.mandarin import written_mandarin

_WRITERS: dict[str, Callable[[str], str]] = {"en": written_english, "zh": written_mandarin}


def written_form(text: str, language: str) -> str:
    """A text with its numbers in digits, as people write them; nothing else of it changes.

    Raises ValueError for a language that has no rules.
    """
    if (writer := _WRITERS.get(language)) is None:
        raise ValueError(f"no written form for the language {language!r}; there are {', '.join(sorted(_WRITERS))}")
    return writer(text)
