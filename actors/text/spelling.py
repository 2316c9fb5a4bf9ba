"""Spells texts in the tokens of a model's vocabulary."""

import re
import unicodedata
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import takewhile
from typing import TYPE_CHECKING

from actors.engine.vocabulary import Vocabulary, remove_spaces, spaces_before_punctuation
from actors.text.scripts import UNSPACED

if TYPE_CHECKING:
    import sentencepiece

_WORD_START = "▁"
_NOT_TEXT = re.compile(r"<.+>|\[.+\]", re.DOTALL)  # labels such as <pad>
_TYPED_AS = {"’": "'", "ʼ": "'", "‐": "-"}  # typographic forms that NFKC leaves
#: Appended to a serialised SentencePiece model, they are merged into it: normalizer_spec.add_dummy_prefix is true, or
#: false (sentencepiece_model.proto, https://protobuf.dev/programming-guides/encoding/#last-one-wins).
_WITH_WORD_START, _WITHOUT_WORD_START = b"\x1a\x02\x18\x01", b"\x1a\x02\x18\x00"


class CannotSpell(ValueError):
    """A text has characters that the vocabulary cannot write: `characters`, each once, in their order."""

    def __init__(self, characters: Sequence[str]) -> None:
        super().__init__(f"the model's vocabulary cannot write {' '.join(map(repr, characters))}")
        self.characters = tuple(characters)


@dataclass(frozen=True)
class Spelled:
    """A text as the vocabulary writes it, and the ids of its tokens."""

    text: str
    ids: list[int]


class Speller:
    """Spells texts with one vocabulary. Texts are first written as its tokens are: in their case, full or half width,
    and without the punctuation and the spaces that they have not.

    What a character becomes is the first of its forms that the vocabulary has: itself, NFKC's, that of the other width,
    the lower case, the upper case, or with its accent apart.
    """

    def __init__(self, vocabulary: Vocabulary) -> None:
        tokens = vocabulary.tokens
        self._spelling = _Pieces(tokens) if isinstance(tokens, bytes) else _Labels(tokens)
        characters = self._spelling.characters
        self._is_spaced = self._spelling.is_spaced
        self._characters = frozenset(char for char in characters if not char.isspace() or self._is_spaced)
        self._table = _Table(self._characters)
        own = sorted(char for char in characters if unicodedata.normalize("NFKC", char) != char)
        self._own = re.compile(f"([{re.escape(''.join(own))}])") if own else None
        self._spaces = spaces_before_punctuation(vocabulary.pieces)

    def normalised(self, text: str) -> str:
        """A text as the vocabulary writes it; characters that it cannot write are left in it, punctuation is not."""
        if self._characters.issuperset(text):
            if not self._is_spaced:
                return text
        else:
            parts = self._own.split(text) if self._own else [text]  # at every other place a character of its own
            parts[::2] = [unicodedata.normalize("NFKC", part) for part in parts[::2]]
            text = "".join(parts).translate(self._table)
        if not self._is_spaced:
            return "".join(text.split())
        return remove_spaces(" ".join(text.split()), self._spaces)

    def spell(self, text: str) -> Spelled:
        """Raises CannotSpell."""
        text = self.normalised(text)
        return Spelled(text, self._spelling.ids(text))

    def phrase_ids(self, text: str) -> list[list[int]]:
        """The spellings of a phrase, none of which contains another: with SentencePiece that of a new word and, if it
        begins in a script without spaces, that right after a character. Raises CannotSpell."""
        return self._spelling.phrase_ids(self.normalised(text))


class _Table(dict[int, str]):
    """What each character is written as, found when it is first seen; for `str.translate`."""

    def __init__(self, characters: frozenset[str]) -> None:
        super().__init__()
        self._characters = characters
        self._other_width = dict[str, str]()
        for char in sorted(characters):
            kind, _, code = unicodedata.decomposition(char).partition(" ")
            if kind in ("<wide>", "<narrow>"):
                self._other_width[chr(int(code, 16))] = char

    def __missing__(self, code: int) -> str:
        char = chr(code)
        self[code] = next((form for form in self._forms(char) if self._characters.issuperset(form)), None) or _kept(
            char
        )
        return self[code]

    def _forms(self, char: str) -> Iterator[str]:
        typed = _TYPED_AS.get(char, char)
        for form in dict.fromkeys((char, typed, char.lower(), char.upper(), typed.lower())):
            yield form
            yield self._other_width.get(form, form)
            yield unicodedata.normalize("NFD", form)


def _kept(char: str) -> str:
    """What is left of a character that cannot be written: nothing of punctuation and of what is invisible."""
    if char.isspace():
        return " "
    return "" if unicodedata.category(char).startswith("P") or unicodedata.category(char) == "Cf" else char


class _Labels:
    """Spells texts in labels that are concatenated."""

    def __init__(self, labels: Sequence[str]) -> None:
        self._ids = dict[str, int]()
        for token, label in enumerate(labels):
            if label and not _NOT_TEXT.fullmatch(label):
                self._ids.setdefault(label, token)
        self.characters = set("".join(self._ids))
        self.is_spaced = any(" " in label for label in self._ids)
        self._sizes = sorted(set(map(len, self._ids)))

    def ids(self, text: str) -> list[int]:
        if self._sizes in ([], [1]):
            try:
                return [self._ids[char] for char in text]
            except KeyError:
                raise CannotSpell(self._strange(text)) from None
        return self._fewest(text)

    def phrase_ids(self, text: str) -> list[list[int]]:
        return [self.ids(text)]

    def _strange(self, text: str) -> list[str]:
        return [char for char in dict.fromkeys(text) if char not in self.characters]

    def _fewest(self, text: str) -> list[int]:
        """The fewest labels that make a text, the longest first."""
        if strange := self._strange(text):
            raise CannotSpell(strange)
        counts, sizes = [0] * (len(text) + 1), [0] * (len(text) + 1)  # of the labels from each place to the end
        for place in range(len(text) - 1, -1, -1):
            counts[place] = len(text) + 1
            for size in takewhile((len(text) - place).__ge__, self._sizes):
                count = 1 + counts[place + size]
                if count <= counts[place] and text[place : place + size] in self._ids:
                    counts[place], sizes[place] = count, size
        if counts[0] > len(text):
            raise CannotSpell(text[self._reach(text)])
        ids, place = list[int](), 0
        while place < len(text):
            ids.append(self._ids[text[place : place + sizes[place]]])
            place += sizes[place]
        return ids

    def _reach(self, text: str) -> int:
        """How far labels make the beginning of a text that they do not make whole."""
        ends = [True] + [False] * len(text)
        for end in range(1, len(text) + 1):
            begins = (end - size for size in takewhile(end.__ge__, self._sizes))
            ends[end] = any(ends[begin] and text[begin:end] in self._ids for begin in begins)
        return max(end for end, is_one in enumerate(ends) if is_one)


class _Pieces:
    """Spells texts in the pieces of a SentencePiece model."""

    def __init__(self, model: bytes) -> None:
        import sentencepiece

        self._model = model
        self._processor = sentencepiece.SentencePieceProcessor(model_proto=model)
        tokens = range(self._processor.get_piece_size())
        is_text = [
            not (self._processor.is_control(each) or self._processor.is_unknown(each) or self._processor.is_byte(each))
            for each in tokens
        ]
        texts = (self._processor.id_to_piece(each) for each in tokens if is_text[each])
        self.characters = set("".join(texts)) - {_WORD_START} | {" "}
        self.is_spaced = True
        self._unknown = self._processor.unk_id()

    def ids(self, text: str) -> list[int]:
        return self._encoded(self._processor, text)

    def phrase_ids(self, text: str) -> list[list[int]]:
        word = self._encoded(self._words, text)
        if not UNSPACED.match(text) and self.ids(text) == word:
            return [word]
        inner = self._encoded(self._inner, text)
        begins = range(len(word) - len(inner) + 1)
        return [inner] if any(word[begin : begin + len(inner)] == inner for begin in begins) else [word, inner]

    @cached_property
    def _words(self) -> "sentencepiece.SentencePieceProcessor":
        """Spells texts as they are after a space."""
        return type(self._processor)(model_proto=self._model + _WITH_WORD_START)

    @cached_property
    def _inner(self) -> "sentencepiece.SentencePieceProcessor":
        """Spells texts as they are right after a character."""
        return type(self._processor)(model_proto=self._model + _WITHOUT_WORD_START)

    def _encoded(self, processor: "sentencepiece.SentencePieceProcessor", text: str) -> list[int]:
        if strange := [char for char in dict.fromkeys(text) if char == _WORD_START or _is_surrogate(char)]:
            raise CannotSpell(strange)
        ids: list[int] = processor.encode(text, out_type=int)
        if self._unknown in ids:
            pieces = zip(ids, processor.encode(text, out_type=str), strict=True)
            unknown = "".join(piece for token, piece in pieces if token == self._unknown)
            raise CannotSpell([*dict.fromkeys(unknown.replace(_WORD_START, ""))])
        return ids


def _is_surrogate(char: str) -> bool:
    return "\ud800" <= char <= "\udfff"
