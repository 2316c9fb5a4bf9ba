"""Token ids become the text that NeMo makes of them, and each token has its own text, in linear time."""

import pickle
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import sentencepiece
from checkpoints import changed, demo_config, nemo
from conftest import DEMO_MODEL, make_tokenizer
from hypothesis import given, settings
from hypothesis import strategies as st

from actors.engine import models
from actors.engine.interface import MAX_CLASSES
from actors.engine.models import read_vocabulary, resolve
from actors.engine.vocabulary import SentencePieces, TokenDecoder, Vocabulary
from actors.schema import UsageError


def prefix_texts(decoder: TokenDecoder, ids: Sequence[int]) -> list[str]:
    """What each token adds to the text, found by decoding every prefix: the reference for `token_texts`."""
    texts, before = list[str](), ""
    for count in range(1, len(ids) + 1):
        now = decoder.text(ids[:count])
        texts.append(now[len(before) :] if now.startswith(before) else decoder.text(ids[count - 1 : count]))
        before = now
    return texts


def test_text_has_no_space_before_a_mark() -> None:
    decoder = Vocabulary(("a", " ", ",", "<unk>", "'")).decoder()
    assert decoder.blank == 5
    assert decoder.text([0, 1, 2, 1, 0, 4]) == "a, a'"
    assert decoder.text([3, 1, 3]) == "<unk> <unk>"
    assert decoder.token_texts([0, 1, 2, 1, 0, 4]) == ["a", " ", ",", " ", "a", "'"]


LABELS = st.lists(st.text("ab ,.?\t\u3000今<>[]▁", max_size=4), min_size=1, max_size=8)


@settings(max_examples=300, deadline=None)
@given(LABELS, st.lists(st.integers(0, 7), max_size=12))
def test_characters_add_what_prefixes_show(labels: list[str], drawn: list[int]) -> None:
    decoder = Vocabulary(tuple(labels)).decoder()
    ids = [token % len(labels) for token in drawn]
    assert decoder.token_texts(ids) == prefix_texts(decoder, ids)


SYMBOLS = ["<x>", " , ", "[y]", "▁?"]
MODELS: dict[str, dict[str, Any]] = {
    "bpe": {"model_type": "bpe"},
    "unigram": {"model_type": "unigram"},
    "no space at the start": {"model_type": "bpe", "add_dummy_prefix": False},
    "spaces are kept": {"model_type": "unigram", "remove_extra_whitespaces": False},
    "neither": {"model_type": "unigram", "remove_extra_whitespaces": False, "add_dummy_prefix": False},
    "symbols": {"model_type": "bpe", "user_defined_symbols": SYMBOLS, "control_symbols": ["<c>"]},
    "symbols and spaces": {"model_type": "bpe", "user_defined_symbols": SYMBOLS, "remove_extra_whitespaces": False},
    "spaces at the end": {"model_type": "bpe", "treat_whitespace_as_suffix": True},
    "words": {"model_type": "word", "vocab_size": 60},
    "bytes": {"model_type": "unigram", "byte_fallback": True, "vocab_size": 360},
    "bytes and spaces": {
        "model_type": "bpe", "byte_fallback": True, "vocab_size": 360, "remove_extra_whitespaces": False
    },
}  # fmt: skip


@pytest.fixture(scope="module")
def pieces_of(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], SentencePieces]:
    """Decoders of tiny models, trained on words with punctuation and of several scripts."""
    folder = tmp_path_factory.mktemp("pieces")
    draw = np.random.default_rng(3)
    chars = list("abcdefghiklmnop,.!?é—'rstuw今天")
    words = ["".join(draw.choice(chars, size=draw.integers(1, 9))) for _ in range(400)]
    text = folder / "text"
    text.write_text("\n".join(" ".join(draw.choice(words, size=6)) for _ in range(300)))

    def made(name: str) -> SentencePieces:
        asked = {"vocab_size": 100} | MODELS[name]
        sentencepiece.SentencePieceTrainer.Train(
            input=str(text), model_prefix=str(folder / "m"), minloglevel=2, **asked
        )
        return SentencePieces((folder / "m.model").read_bytes())

    return made


def bytes_of(decoder: SentencePieces) -> list[int]:
    """The ids of pieces that stand for a byte, in the order of the bytes."""
    processor = decoder._processor  # noqa: SLF001
    return [token for token in range(decoder.blank) if processor.is_byte(token)]


@pytest.mark.parametrize("name", MODELS)
def test_pieces_add_what_prefixes_show(name: str, pieces_of: Callable[[str], SentencePieces]) -> None:
    decoder = pieces_of(name)
    tokens = sorted(set(range(decoder.blank)) - set(bytes_of(decoder)))
    odd = [token for token in tokens if not decoder.text([token]).isalpha()]  # nothing, marks, spaces, symbols

    @settings(max_examples=400, deadline=None)
    @given(st.lists(st.one_of(st.sampled_from(tokens), st.sampled_from(odd)), max_size=9))
    def holds(ids: list[int]) -> None:
        assert decoder.token_texts(ids) == prefix_texts(decoder, ids)

    holds()


@pytest.mark.parametrize("name", ["bytes", "bytes and spaces"])
def test_bytes_join_to_characters(name: str, pieces_of: Callable[[str], SentencePieces]) -> None:
    decoder = pieces_of(name)
    of_bytes = bytes_of(decoder)
    assert len(of_bytes) == 256
    spelt = [of_bytes[byte] for byte in "é今🎙".encode()]
    assert decoder.token_texts(spelt) == ["", "é", "", "", "今", "", "", "", "🎙"]
    assert decoder.token_texts([of_bytes[0xE4], of_bytes[0x41]]) == ["\N{REPLACEMENT CHARACTER}", "A"]
    others = [token for token in range(decoder.blank) if token not in of_bytes and decoder.text([token]).isalpha()]
    joined = st.one_of(st.sampled_from(of_bytes), st.sampled_from(spelt), st.sampled_from(others))

    @settings(max_examples=400, deadline=None)
    @given(st.lists(joined, max_size=9))
    def holds(ids: list[int]) -> None:
        text = decoder._processor.decode_pieces([decoder.pieces[token] for token in ids])  # noqa: SLF001
        assert "".join(decoder.token_texts(ids)) == text

    holds()


@pytest.mark.parametrize("name", ["demo", "pieces"])
def test_texts_are_nemos(name: str, lively_model: Callable[..., Path]) -> None:
    from nemo.collections.asr.models import ASRModel

    path = DEMO_MODEL if name == "demo" else lively_model("family pieces", filters=64, sentencepiece=True)
    theirs = ASRModel.restore_from(str(path), map_location="cpu").decoding
    decoder = pickle.loads(pickle.dumps(read_vocabulary(resolve(str(path), None, {})))).decoder()
    assert decoder.blank == theirs.blank_id

    @settings(max_examples=200, deadline=None)
    @given(st.lists(st.integers(0, decoder.blank - 1), max_size=30))
    def holds(ids: list[int]) -> None:
        assert decoder.text(ids) == theirs.decode_tokens_to_str_with_strip_punctuation(ids)
        assert decoder.token_texts(ids) == prefix_texts(decoder, ids)

    holds()


def test_a_vocabulary_is_read_once(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    path = nemo(tmp_path / "m.nemo", mode="w:gz")
    model = resolve(str(path), None, {})
    kept = sorted((tmp_path / "cache" / "vocabularies").glob("*.json"))
    assert len(kept) == 1
    with monkeypatch.context() as patched:
        patched.setattr(models, "fetch", lambda model: pytest.fail("it was opened again"))
        vocabulary = read_vocabulary(model)
    assert vocabulary.tokens == tuple(demo_config()["decoder"]["vocabulary"])
    kept[0].write_bytes(kept[0].read_bytes()[:-9])
    assert read_vocabulary(model) == vocabulary
    path.write_bytes(DEMO_MODEL.read_bytes())
    kept[0].unlink()
    with pytest.raises(UsageError, match="not those that the run was planned with"):
        read_vocabulary(model)


BPE = "nemo.collections.asr.models.EncDecCTCModelBPE"
REFUSED: dict[str, tuple[dict[str, Any], str]] = {
    "wpe": (
        {"target": BPE, "tokenizer": {"type": "wpe", "dir": "d", "vocab_path": "nemo:v.txt"}},
        "its tokenizer is not a SentencePiece model, but of type wpe; supported are SentencePiece models (type bpe)",
    ),
    "aggregate": (
        {"target": BPE, "tokenizer": {"type": "agg", "langs": {"en": {"type": "bpe", "model_path": "nemo:m.model"}}}},
        "its tokenizer is not a SentencePiece model, but of type agg; supported are",
    ),
    "custom": (
        {"target": BPE, "tokenizer": {"type": "bpe", "model_path": "m.model", "custom_tokenizer": {"_target_": "x"}}},
        "its tokenizer is not a SentencePiece model, but a custom_tokenizer; supported are",
    ),
    "no tokenizer": ({"target": BPE}, "it has no tokenizer; supported are"),
    "no file": (
        {"target": BPE, "tokenizer": {"type": "bpe", "model_path": "nemo:other.model"}},
        "it is not a .nemo file: it holds no other.model",
    ),
    "no model": (
        {"target": BPE, "tokenizer": {"type": "bpe", "model_path": "nemo:x.model"}},
        "its tokenizer is not a SentencePiece model: ",
    ),
    "other classes": (
        changed(demo_config(), "decoder.vocabulary", ["a", "b"]),
        "its vocabulary has 2 characters, and its head 274 classes with the blank",
    ),
    "pieces for another head": (
        {"target": BPE, "tokenizer": {"type": "BPE", "model_path": "nemo:m.model"}},
        "its tokenizer has 64 pieces, and its head 274 classes with the blank",
    ),
    "too many": (
        changed(changed(demo_config(), "decoder.vocabulary", ["x"] * MAX_CLASSES), "decoder.num_classes", MAX_CLASSES),
        f"its vocabulary is a list of {MAX_CLASSES}; list should have at most {MAX_CLASSES - 1} items",
    ),
}


@pytest.mark.parametrize("is_fused", [False, True])
@pytest.mark.parametrize("kind", REFUSED)
def test_what_cannot_be_decoded_is_refused_by_name(kind: str, is_fused: bool, tmp_path: Path) -> None:
    """When a run is planned, for either engine."""
    config, message = REFUSED[kind]
    pieces = (make_tokenizer(tmp_path / "t") / "tokenizer.model").read_bytes()
    path = nemo(tmp_path / "m.nemo", demo_config() | config, **{"m.model": pieces, "x.model": b"pieces"})
    with pytest.raises(UsageError) as caught:
        resolve(str(path), None, {}, is_fused)
    assert f"model.name: {path}: {message}" in str(caught.value)
