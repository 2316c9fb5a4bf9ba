"""Texts as a vocabulary writes them, and their tokens."""

import re
import unicodedata
from collections.abc import Callable
from itertools import product

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from actors.engine.vocabulary import Vocabulary
from actors.text.spelling import CannotSpell, Speller

MANDARIN = Vocabulary(tuple("今天气你好吗中国abcdefghijklmnopqrstuvwxyz"))
ENGLISH = Vocabulary(tuple("abcdefghijklmnopqrstuvwxyz '"))
MIXED = Vocabulary(tuple("abcdeABCDE今天，。 é"))


@pytest.mark.parametrize(
    ("vocabulary", "text", "written"),
    [
        (MANDARIN, "今天，天气 好吗？", "今天天气好吗"),
        (MANDARIN, "ＡＢc　\t中\r\n国", "abc中国"),
        (MANDARIN, "\ufeff今\u200b天\u00ad", "今天"),
        (MANDARIN, "ﬁ", "fi"),
        (MANDARIN, "iPhone１５", "iphone15"),
        (MANDARIN, "C++", "c++"),
        (MANDARIN, "\uf967", "\u4e0d"),  # a compatibility ideograph
        (ENGLISH, "  Don’t   STOP… (please) ", "don't stop please"),
        (ENGLISH, "it 's", "it's"),  # as NeMo decodes it
        (ENGLISH, "naïve", "naïve"),
        (MIXED, "ABcde, 今天.", "ABcde， 今天"),
        (MIXED, "É", "é"),
        (MIXED, "e\u0301", "é"),
        (MIXED, "a ，b", "a，b"),
        (Vocabulary(tuple("ABC ")), "a b, c", "A B C"),
        (Vocabulary(tuple("ABCｱ")), "ア", "ｱ"),
        (Vocabulary(("a", "e", "\u0301")), "É", "e\u0301"),
        (Vocabulary(("SS", "ß")), "Ss", "SS"),
        (Vocabulary(tuple("S")), "ß", "SS"),
        (Vocabulary(("²", "a")), "a²2", "a²2"),  # not the other form of a width
        (Vocabulary(("\uf967",)), "\uf967", "\uf967"),  # the vocabulary has the form that NFKC replaces
        (Vocabulary(tuple("ก ำ")), "กำ", "กำ"),
    ],
)
def test_texts_as_a_vocabulary_writes_them(vocabulary: Vocabulary, text: str, written: str) -> None:
    speller = Speller(vocabulary)
    assert speller.normalised(text) == written
    assert speller.normalised(written) == written


@pytest.mark.parametrize(
    ("text", "characters"),
    [("iPhone15", ("1", "5")), ("５1５", ("5", "1")), ("c++", ("+",)), ("今\ud800", ("\ud800",)), ("a\0b\0", ("\0",))],
)
def test_what_cannot_be_written_is_told(text: str, characters: tuple[str, ...]) -> None:
    with pytest.raises(CannotSpell) as raised:
        Speller(MANDARIN).spell(text)
    assert raised.value.characters == characters
    assert str(raised.value) == f"the model's vocabulary cannot write {' '.join(map(repr, characters))}"


def test_labels_that_are_no_text() -> None:
    speller = Speller(Vocabulary(("<pad>", "a", "", "[UNK]", "a", "<", "[")))
    assert speller.spell("a<[").ids == [1, 5, 6]  # the first of two alike
    for text in ("<pad>", "[UNK]"):
        with pytest.raises(CannotSpell):
            speller.spell(text)
    assert Speller(Vocabulary(())).spell("，").ids == []


@settings(max_examples=300, deadline=None)
@given(st.sets(st.text("abc", min_size=1, max_size=3), min_size=1, max_size=6), st.text("abc", max_size=7))
def test_the_fewest_labels_are_found(labels: set[str], text: str) -> None:
    listed = sorted(labels)
    ways = [
        way for size in range(len(text) + 1) for way in product(listed, repeat=size) if "".join(way) == text
    ]  # the shortest first
    speller = Speller(Vocabulary(tuple(listed)))
    if ways:
        ids = speller.spell(text).ids
        assert len(ids) == len(ways[0])
        assert "".join(listed[token] for token in ids) == text
    else:
        with pytest.raises(CannotSpell) as raised:
            speller.spell(text)
        assert set(raised.value.characters) <= set(text) != set()


def test_the_character_at_which_labels_stop_is_told() -> None:
    speller = Speller(Vocabulary(("ab", "abc", "cd")))
    assert speller.spell("abcd").ids == [0, 2]
    with pytest.raises(CannotSpell) as raised:
        speller.spell("abcdca")
    assert raised.value.characters == ("c",)


@settings(max_examples=500, deadline=None)
@given(st.one_of(st.text(max_size=12), st.text("今天ＡbÉé，. ’\u0301", max_size=12)))
def test_what_is_written_stays_so(text: str) -> None:
    for vocabulary in (MANDARIN, ENGLISH, MIXED):
        speller = Speller(vocabulary)
        written = speller.normalised(text)
        strange = [char for char in dict.fromkeys(written) if char not in vocabulary.tokens]
        if strange:
            assert not any(unicodedata.category(char)[0] in "PZ" for char in strange)
            with pytest.raises(CannotSpell, match=re.escape(repr(strange[0]))):
                speller.spell(text)
        else:
            assert speller.normalised(written) == written
            assert "".join(vocabulary.tokens[token] for token in speller.spell(text).ids) == written


KINDS = {
    "unigram": {"model_type": "unigram"},
    "bpe": {"model_type": "bpe"},
    "lower case": {"model_type": "bpe", "normalization_rule_name": "nmt_nfkc_cf"},
    "as it is": {"model_type": "bpe", "normalization_rule_name": "identity"},
    "no word start": {"model_type": "bpe", "add_dummy_prefix": False},
    "suffixes": {"model_type": "bpe", "treat_whitespace_as_suffix": True},
    "bytes": {"model_type": "bpe", "byte_fallback": True, "vocab_size": 360},
}


@pytest.fixture(scope="module")
def lines() -> list[str]:
    draw = np.random.default_rng(3)
    chars = list("abcdefghiklmnop,.!?é—'rstuw今天")
    words = ["".join(draw.choice(chars, size=draw.integers(1, 9))) for _ in range(400)]
    return [" ".join(draw.choice(words, size=6)) for _ in range(300)]


@pytest.mark.parametrize("kind", KINDS)
def test_pieces_decode_to_what_was_spelled(kind: str, make_pieces: Callable[..., bytes], lines: list[str]) -> None:
    vocabulary = Vocabulary(make_pieces(lines, **({"vocab_size": 100} | KINDS[kind])))
    speller, decoder = Speller(vocabulary), vocabulary.decoder()
    for text in [*lines[:100], "ABC  今 天.", "ＡＢ，今天", "’tis “A—b”", "", " "]:
        spelled = speller.spell(text)
        assert decoder.text(spelled.ids).rstrip() == spelled.text
    assert speller.normalised("Ａbc  Def (今天)") == "abc def 今天"
    if kind == "bytes":
        assert decoder.text(speller.spell("iPhone15").ids) == "iphone15"
    else:
        with pytest.raises(CannotSpell, match="write 'j' 'y' '9'"):
            speller.spell("ajyj 9")
    for text in ("a▁b", "a\ud800b"):
        with pytest.raises(CannotSpell):
            speller.spell(text)


def test_a_phrase_in_a_script_without_spaces_is_spelled_within_a_text(make_pieces: Callable[..., bytes]) -> None:
    vocabulary = Vocabulary(make_pieces(["see今天 今天 cat", "abc dog", "上海天气"] * 30, vocab_size=30))
    speller = Speller(vocabulary)
    spelled = [[vocabulary.pieces[token] for token in ids] for ids in speller.phrase_ids("今天")]
    assert len(spelled) == 1 or spelled[0][0] == "▁今天"
    within = [vocabulary.pieces[token] for token in speller.spell("see今天").ids]
    assert any(within[-len(ids) :] == ids for ids in spelled)
    assert len(speller.phrase_ids("dog")) == 1


def test_a_phrase_where_texts_begin_without_a_space(make_pieces: Callable[..., bytes]) -> None:
    vocabulary = Vocabulary(make_pieces(["abc dog cat"] * 30, vocab_size=20, add_dummy_prefix=False))
    speller = Speller(vocabulary)
    after, first = ["".join(vocabulary.pieces[token] for token in ids) for ids in speller.phrase_ids("dog abc")]
    assert (after, first) == ("▁dog▁abc", "dog▁abc")
