"""Vocabularies, and decoding of token ids to text as NeMo's CTC decoding does."""

import re
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import groupby
from typing import Protocol

_SPECIAL = re.compile(r"\[.*\]|<.*>|##.*|▁.*|\s*", re.DOTALL)
_REPLACEMENT = "\N{REPLACEMENT CHARACTER}"  # what a byte that is no part of a character is decoded to


class TokenDecoder(Protocol):
    """Decodes token ids. `blank` is the id of CTC's blank: the number of tokens."""

    blank: int

    def text(self, ids: Sequence[int]) -> str:
        """Decodes token ids to text."""
        ...

    def token_texts(self, ids: Sequence[int]) -> list[str]:
        """The text that each token adds to those before it: one that begins a word starts with a space.

        They concatenate to the text, unless a punctuation mark removes the space before it.
        """
        ...


@dataclass(frozen=True)
class Vocabulary:
    """The tokens of a model: labels that are concatenated, mostly characters, or the file of a SentencePiece model."""

    tokens: tuple[str, ...] | bytes

    @cached_property
    def pieces(self) -> tuple[str, ...]:
        """The tokens as texts: labels, or pieces."""
        return SentencePieces(self.tokens).pieces if isinstance(self.tokens, bytes) else self.tokens

    def decoder(self) -> TokenDecoder:
        return SentencePieces(self.tokens) if isinstance(self.tokens, bytes) else Characters(self.tokens)


class Characters:
    """Decoder of a vocabulary of characters, or of any labels that are simply concatenated."""

    def __init__(self, labels: Sequence[str]) -> None:
        self.blank, self._labels = len(labels), list(labels)
        self._spaces = spaces_before_punctuation(self._labels)
        self._texts = [remove_spaces(label, self._spaces) for label in self._labels]

    def text(self, ids: Sequence[int]) -> str:
        return remove_spaces("".join([self._labels[token] for token in ids]), self._spaces)

    def token_texts(self, ids: Sequence[int]) -> list[str]:
        return [self._texts[token] for token in ids]


class SentencePieces:
    """Decoder of a SentencePiece model, from its file's bytes."""

    def __init__(self, model: bytes) -> None:
        import sentencepiece

        self._processor = sentencepiece.SentencePieceProcessor(model_proto=model)
        self.pieces = tuple(self._processor.id_to_piece(token) for token in range(self._processor.get_piece_size()))
        self._spaces = spaces_before_punctuation(self.pieces)
        self.blank = len(self.pieces)

    def text(self, ids: Sequence[int]) -> str:
        return remove_spaces(self._raw(ids), self._spaces)

    def token_texts(self, ids: Sequence[int]) -> list[str]:
        table, texts, is_start = self._texts, list[str](), True
        for are_bytes, run in groupby(ids, table.bytes.__contains__):
            if are_bytes:
                texts += _texts_of_bytes(bytes(table.bytes[token] for token in run))
                is_start = False
                continue
            for token in run:
                texts.append(table.first[token] if is_start else table.later[token])
                is_start = is_start and token in table.keeping_start
        return texts

    def _raw(self, ids: Sequence[int]) -> str:
        text: str = self._processor.decode_pieces([self.pieces[token] for token in ids])
        return text

    @cached_property
    def _texts(self) -> "_PieceTexts":
        """Found by decoding pieces alone and in pairs, so that all rules are the library's."""
        tokens = range(self.blank)
        as_bytes = {token: int(self.pieces[token][3:-1], 16) for token in tokens if self._processor.is_byte(token)}
        first = [self._raw([token]) for token in tokens]
        others = [token for token in tokens if token not in as_bytes]
        before = min((token for token in others if first[token]), key=lambda token: len(first[token]), default=None)
        later = first
        if before is not None:
            later = [self._raw([before, token])[len(first[before]) :] for token in tokens]
        spaced = (token for token in others if first[token] != later[token])
        probe = min(spaced, key=lambda token: len(first[token]), default=None)
        keeping_start = frozenset(
            token
            for token in others
            if not first[token] and (probe is None or self._raw([token, probe]) == first[probe])
        )
        first, later = ([remove_spaces(text, self._spaces) for text in texts] for texts in (first, later))
        return _PieceTexts(first, later, keeping_start, as_bytes)


@dataclass(frozen=True)
class _PieceTexts:
    """The texts of pieces: at the start, where a piece that begins with a space loses it, and later. After those of
    `keeping_start`, which have no text, it is still the start. `bytes` has the values of pieces that are bytes."""

    first: list[str]
    later: list[str]
    keeping_start: frozenset[int]
    bytes: dict[int, int]


def _texts_of_bytes(content: bytes) -> list[str]:
    """The text that each byte adds: the last of a UTF-8 character that character, the others nothing."""
    texts, position = list[str](), 0
    while position < len(content):
        for size in range(1, min(4, len(content) - position) + 1):
            try:
                char = content[position : position + size].decode()
            except UnicodeDecodeError:
                continue
            break
        else:
            size, char = 1, _REPLACEMENT
        texts += [""] * (size - 1) + [char]
        position += size
    return texts


def spaces_before_punctuation(labels: Sequence[str]) -> re.Pattern[str] | None:
    """Matches a space before a punctuation mark of the vocabulary, which NeMo removes. None if there are no marks."""
    ordinary = (label for label in labels if not _SPECIAL.fullmatch(label))
    marks = sorted({char for label in ordinary for char in label if unicodedata.category(char).startswith("P")})
    return re.compile(r"(\s)([" + re.escape("".join(marks)) + "])") if marks else None


def remove_spaces(text: str, spaces: re.Pattern[str] | None) -> str:
    """A text without the spaces that `spaces_before_punctuation` matches."""
    return spaces.sub(r"\2", text) if spaces else text
