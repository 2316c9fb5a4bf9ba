"""Reads the vocabulary of a CTC model of NeMo from its configuration and its tokenizer, as data."""

import base64
import json
from collections.abc import Mapping

from actors.engine.citrinet.settings import MAX_LABELS, read_labels
from actors.engine.vocabulary import Vocabulary
from actors.foreign.escape import describe
from actors.schema import UsageError

_SUPPORTED = "supported are SentencePiece models (type bpe) and vocabularies of characters"


def vocabulary_of(config: Mapping[str, object], tokenizer: bytes | None) -> Vocabulary:
    """The vocabulary of a model; `tokenizer` is the file of its SentencePiece model, if it has one.

    Raises UsageError if it has none, or one that is not supported.
    """
    settings = config.get("tokenizer")
    if settings is None:
        if str(config.get("target")).endswith("BPE"):
            raise UsageError(f"it has no tokenizer; {_SUPPORTED}")
        return Vocabulary(tuple(read_labels(config)))
    _check_settings(settings)
    return Vocabulary(_checked_model(tokenizer))


def check_classes(vocabulary: Vocabulary, classes: int) -> None:
    """Raises UsageError if a vocabulary is not that of a head with that many classes, the blank included."""
    has, count = ("vocabulary", "characters"), vocabulary.decoder().blank
    if isinstance(vocabulary.tokens, bytes):
        has = ("tokenizer", "pieces")
    if count != classes - 1:
        raise UsageError(f"its {has[0]} has {count} {has[1]}, and its head {classes} classes with the blank")


def to_json(vocabulary: Vocabulary) -> str:
    tokens = vocabulary.tokens
    if isinstance(tokens, bytes):
        return json.dumps({"sentencepiece": base64.b64encode(tokens).decode()})
    return json.dumps({"labels": tokens})


def from_json(content: bytes) -> Vocabulary:
    """Reads what `to_json` wrote."""
    kept = json.loads(content)
    return Vocabulary(tuple(kept["labels"]) if "labels" in kept else base64.b64decode(kept["sentencepiece"]))


def _check_settings(settings: object) -> None:
    """Raises UsageError for the settings of a tokenizer that is not SentencePiece's. Source of names: NeMo,
    asr/parts/mixins/mixins.py."""
    if not isinstance(settings, dict):
        raise UsageError(f"its tokenizer is not a SentencePiece model, but {describe(settings)}; {_SUPPORTED}")
    kind = settings.get("type", "bpe")
    if not isinstance(kind, str) or kind.lower() != "bpe":
        raise UsageError(f"its tokenizer is not a SentencePiece model, but of type {describe(kind)}; {_SUPPORTED}")
    if settings.get("custom_tokenizer") is not None:
        raise UsageError(f"its tokenizer is not a SentencePiece model, but a custom_tokenizer; {_SUPPORTED}")


def _checked_model(model: bytes | None) -> bytes:
    """The file of a SentencePiece model, each piece of which was decoded. Raises UsageError if it is none."""
    if model is None:
        raise UsageError(f"its tokenizer is not a SentencePiece model: it has no model_path; {_SUPPORTED}")
    try:
        decoder = Vocabulary(model).decoder()
        decoder.token_texts(range(decoder.blank))  # which decodes each
    except (MemoryError, UsageError):
        raise
    except Exception as problem:  # noqa: BLE001 - a C++ library may raise anything for invalid bytes
        raise UsageError(f"its tokenizer is not a SentencePiece model: {type(problem).__name__}") from None
    if decoder.blank > MAX_LABELS:
        raise UsageError(f"its tokenizer has {decoder.blank:,} pieces, more than the limit of {MAX_LABELS:,}")
    return model
