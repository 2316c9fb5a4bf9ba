"""Phrases: their files, and an automaton that adds what counting their occurrences adds."""

import bz2
import gzip
import lzma
import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from actors.engine.vocabulary import Vocabulary
from actors.schema import UsageError
from actors.text.compiled.steps import phrase_step
from actors.text.phrases import (
    MAX_BYTES,
    MAX_PHRASES,
    Phrase,
    Phrases,
    build_phrases,
    no_phrases,
    phrases_in,
    read_phrases,
    sentences_about,
)
from actors.text.spelling import Speller

LABELS = "abc"
SPELLER = Speller(Vocabulary(tuple(LABELS)))
WEIGHTS = st.sampled_from([-2.0, -0.5, 0.0, 0.25, 0.7, 1.5, 3.0])
PHRASES = st.dictionaries(st.text(LABELS, min_size=1, max_size=5), st.one_of(st.none(), WEIGHTS), max_size=8)


@pytest.fixture(scope="module")
def pieces(make_pieces: Callable[..., bytes]) -> Vocabulary:
    """A SentencePiece vocabulary of English words and of 今天, which is in texts without spaces around it."""
    texts = ["abc dog see cat", "see今天dog", "今天 abc", "dog今天", "cab god as"]
    return Vocabulary(make_pieces(texts * 20, vocab_size=40))


def built(
    phrases: Mapping[str, float | None], weight: float = 1.5, speller: Speller = SPELLER, tokens: int = 3
) -> Phrases:
    listed = [Phrase(text, own, line) for line, (text, own) in enumerate(phrases.items(), 1)]
    automaton, unspelled = build_phrases(listed, speller, tokens, weight)
    assert not unspelled
    return automaton


def steps(automaton: Phrases, ids: Sequence[int]) -> tuple[list[float], float]:
    """What each token adds, and what is still lent at the end."""
    state, added = 0, list[float]()
    for token in ids:
        amount, state = phrase_step(automaton, state, token)
        added.append(float(amount))
    return added, float(automaton.lent[state])


def counted(phrases: dict[str, float | None], text: str, weight: float = 1.5) -> float:
    """The bonus of a text by counting, overlapping occurrences too."""
    return sum(
        (weight if own is None else own) * len(phrase) * len(re.findall(f"(?={phrase})", text))
        for phrase, own in phrases.items()
    )


@settings(max_examples=600, deadline=None)
@given(PHRASES, st.text(LABELS, max_size=30))
def test_a_text_earns_what_is_counted(phrases: dict[str, float | None], text: str) -> None:
    automaton = built(phrases)
    added, lent = steps(automaton, [LABELS.index(char) for char in text])
    assert sum(added) - lent == pytest.approx(counted(phrases, text), abs=1e-3)
    assert lent >= 0
    assert max(added, default=0) <= automaton.most


@settings(max_examples=200, deadline=None)
@given(PHRASES, st.text(LABELS, max_size=20))
def test_what_is_lent_is_the_best_that_has_begun(phrases: dict[str, float | None], text: str) -> None:
    automaton = built(phrases)
    begun = [
        (1.5 if own is None else own) * size
        for phrase, own in phrases.items()
        for size in range(1, len(phrase))
        if text.endswith(phrase[:size])
    ]
    _, lent = steps(automaton, [LABELS.index(char) for char in text])
    assert lent == pytest.approx(max([0.0, *begun]), abs=1e-5)


def test_phrases_that_contain_each_other_count_each() -> None:
    automaton = built({"a": 1.0, "ab": 0.5, "bab": 2.0, "aa": 1.0})
    added, lent = steps(automaton, [0, 1, 0, 1])  # abab: a, ab, a, ab, bab
    assert sum(added) - lent == 1 + 1 + 1 + 1 + 6
    added, lent = steps(automaton, [0, 0, 0])
    assert sum(added) - lent == 3 + 4


def test_what_is_begun_is_given_back() -> None:
    automaton = built({"abca": 2.0})
    assert steps(automaton, [0, 1, 2]) == ([2.0, 2.0, 2.0], 6.0)
    assert steps(automaton, [0, 1, 2, 2]) == ([2.0, 2.0, 2.0, -6.0], 0.0)
    assert steps(automaton, [0, 1, 2, 0]) == ([2.0, 2.0, 2.0, 4.0], 2.0)  # its last token begins another
    assert steps(built({"abc": 2.0}), [0, 1, 2]) == ([2.0, 2.0, 2.0], 0.0)
    assert automaton.most == 2.0 + 2.0
    added, lent = steps(built({"abca": 0.7, "bcb": 1.1}), [0, 1, 2, 2])
    assert (sum(added), lent) == (0.0, 0.0)  # to the last bit


def test_no_phrase_adds_nothing() -> None:
    assert steps(no_phrases(3), [0, 1, 2]) == ([0.0, 0.0, 0.0], 0.0)
    assert no_phrases(3).most == 0.0
    assert steps(built({}), [0, 1, 2]) == ([0.0, 0.0, 0.0], 0.0)


def test_of_phrases_spelled_alike_the_last_counts() -> None:
    automaton, _ = build_phrases([Phrase("Ab", 9.0, 1), Phrase("a b。", None, 2)], SPELLER, 3, 0.5)
    assert steps(automaton, [0, 1]) == ([0.5, 0.5], 0.0)


def test_long_phrases_in_one_another() -> None:
    phrases: dict[str, float | None] = {"a" * size: 1.0 for size in (1, 7, 400, 499)} | {"b" + "a" * 498 + "b": 2.0}
    text = "b" + "a" * 1200 + "b" + "a" * 498 + "b"
    added, lent = steps(built(phrases), [LABELS.index(char) for char in text])
    assert sum(added) - lent == pytest.approx(counted(phrases, text), rel=1e-6)


def test_a_hundred_thousand_phrases() -> None:
    draw = np.random.default_rng(0)
    labels = [chr(0x4E00 + index) for index in range(5_207)]
    drawn = draw.integers(0, 300, (100_000, 8))
    sizes = draw.integers(2, 9, 100_000)
    phrases = {
        "".join(labels[each] for each in row[:size]): float(size)
        for row, size in zip(drawn.tolist(), sizes.tolist(), strict=True)
    }
    automaton = built(phrases, 1.5, Speller(Vocabulary(tuple(labels))), len(labels))
    text = "".join([*phrases][:2_000])
    added, lent = steps(automaton, [ord(char) - 0x4E00 for char in text])
    parts = (text[end - size : end] for end in range(len(text) + 1) for size in range(2, 9) if size <= end)
    assert sum(added) - lent == pytest.approx(sum(len(part) * phrases.get(part, 0.0) for part in parts), rel=1e-6)


def test_words_are_spelled_from_their_beginning(pieces: Vocabulary) -> None:
    speller, names = Speller(pieces), pieces.pieces
    automaton, unspelled = build_phrases([Phrase("Abc dog", 1.0, 1), Phrase("今天", 1.0, 2)], speller, len(names), 1.0)
    assert not unspelled
    counts = {"abc dog": 1, "see abc dog": 1, "今天": 1, "see今天": 1, "see 今天 今天": 2, "seeabc dog": 0, "abc do": 0}
    for text, times in counts.items():
        ids = speller.spell(text).ids
        added, lent = steps(automaton, ids)
        tokens = len(speller.spell("abc dog").ids if "dog" in text else speller.phrase_ids("今天")[-1])
        assert times <= (sum(added) - lent) / tokens <= times * 1.5, text


def test_a_file_of_phrases(tmp_path: Path) -> None:
    path = tmp_path / "phrases.txt"
    path.write_bytes("\ufeff# names\r\n\r\n 北京 \t 2.5\r\n张 三\n  \n\t\n今天\t\r上海\t-1e0\n#x\t3".encode())
    assert read_phrases(path) == [
        Phrase("北京", 2.5, 3),
        Phrase("张 三", None, 4),
        Phrase("今天", None, 7),
        Phrase("上海", -1.0, 8),
    ]
    for encoding in ("utf-16", "gb18030"):
        path.write_bytes("今天\t2\n天气\n我们的中国人民\n".encode(encoding))
        assert [each.text for each in read_phrases(path)] == ["今天", "天气", "我们的中国人民"]


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (b"a\nb\xff\xfec\n", "line 2: it is neither UTF-8"),
        (b"\xff\xfea", "line 1: it is not UTF-16"),
        *((f"a\nb\t{weight}\n".encode(), "line 2: the weight after the tab is '") for weight in (
            "x", "nan", "inf", "1e400", "-1e400", "1_0", "101", "-100.5", "1,5", "0x1", "1 2", "１", "1\0", "9" * 400)),
        (b"a\t1\t2\n", "line 1: it has 2 tabs"),
        (b"a\n\t1\n", "line 2: it has a weight, but no phrase"),
        (b"a\n" + b"b" * 501, "line 2: a phrase has at most 500 characters, and this one 501"),
        (gzip.compress(b"a"), "it is packed by gzip; unpack it first"),
        (bz2.compress(b"a"), "it is packed by bzip2"),
        (lzma.compress(b"a"), "it is packed by xz"),
        (b"", "it has no phrases"),
        (b"# one\n\n", "it has no phrases"),
        (b"a\n" * (MAX_PHRASES + 1), "it has 1,000,001 phrases"),
        (b"a" * (MAX_BYTES + 1), "it has more than 32 MiB"),
    ],
)  # fmt: skip
def test_what_is_no_file_of_phrases(content: bytes, told: str, tmp_path: Path) -> None:
    (tmp_path / "phrases").write_bytes(content)
    with pytest.raises(UsageError, match=re.escape(told)) as raised:
        read_phrases(tmp_path / "phrases")
    assert len(str(raised.value)) < 300


def test_what_cannot_be_written_is_told() -> None:
    phrases = [Phrase("iPhone15", None, 7), Phrase("ab", None, 8), Phrase("。", None, 9)]
    automaton, unspelled = build_phrases(phrases, Speller(Vocabulary(tuple("abehinop"))), 8, 1.0)
    assert [(each.phrase.line, each.characters) for each in unspelled] == [(7, ("1", "5")), (9, ("。",))]
    assert steps(automaton, [0, 1])[0] == [1.0, 1.0]
    assert sentences_about(unspelled, 3) == [
        "2 of 3 phrases cannot be written by the model: line 7 'iPhone15' ('1', '5'); line 9 '。' ('。')"
    ]
    assert sentences_about([], 3) == []
    many = sentences_about(unspelled * 10, 100)
    assert many[0].endswith("; and 12 more")
    assert many[1] == "most often for '1' (in 10), '5' (in 10), '。' (in 10)"


@settings(max_examples=300, deadline=None)
@given(st.one_of(st.binary(max_size=30), st.text("今天a\t1.#\n\r\ufeff\0\u2028▁<> ", max_size=30).map(str.encode)))
def test_any_file_is_read_or_refused(data: bytes) -> None:
    try:
        phrases = phrases_in(data)
    except UsageError as problem:
        told = str(problem)
    else:
        automaton, unspelled = build_phrases(phrases, SPELLER, 3, 1.5)
        assert np.isfinite(automaton.lent).all()
        told = "".join(sentences_about(unspelled, len(phrases)))
    assert "\n" not in told
