"""Decodes token ids to text as NeMo's CTC decoding does."""

import re
import unicodedata
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from actors.engine.citrinet.configuration import Configuration

if TYPE_CHECKING:
    import torch

_SPECIAL = re.compile(r"\[.*\]|<.*>|##.*|▁.*|\s*", re.DOTALL)


class Characters:
    """Decoder of a vocabulary of characters, or of any pieces that are simply concatenated."""

    def __init__(self, labels: Sequence[str]) -> None:
        self._labels = list(labels)
        self._spaces = _spaces_before_punctuation(self._labels)

    def __call__(self, tokens: Sequence[int]) -> str:
        return _remove_spaces("".join(self._labels[token] for token in tokens), self._spaces)


class SentencePieces:
    """Decoder of a SentencePiece model, from its file's bytes."""

    def __init__(self, model: bytes) -> None:
        import sentencepiece

        self._processor = sentencepiece.SentencePieceProcessor(model_proto=model)
        self._pieces = [self._processor.id_to_piece(token) for token in range(self._processor.get_piece_size())]
        self._spaces = _spaces_before_punctuation(self._pieces)

    def __len__(self) -> int:
        return len(self._pieces)

    def __call__(self, tokens: Sequence[int]) -> str:
        return _remove_spaces(self._processor.decode_pieces([self._pieces[token] for token in tokens]), self._spaces)


def token_decoder(config: Configuration, tensors: "Mapping[str, torch.Tensor]") -> Characters | SentencePieces:
    """The decoder of a converted checkpoint's token ids."""
    if config["vocabulary"]:
        return Characters(config["vocabulary"])
    return SentencePieces(tensors["tokenizer"].numpy().tobytes())


def _spaces_before_punctuation(labels: Sequence[str]) -> re.Pattern[str] | None:
    """Matches a space before a punctuation mark of the vocabulary, which NeMo removes. None if there are no marks."""
    ordinary = (label for label in labels if not _SPECIAL.fullmatch(label))
    marks = sorted({char for label in ordinary for char in label if unicodedata.category(char).startswith("P")})
    return re.compile(r"(\s)([" + re.escape("".join(marks)) + "])") if marks else None


def _remove_spaces(text: str, spaces: re.Pattern[str] | None) -> str:
    return spaces.sub(r"\2", text) if spaces else text
