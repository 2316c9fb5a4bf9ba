"""Language models: ARPA files become arrays that score as KenLM does; others are refused by what is wrong with them."""

import gzip
import hashlib
import itertools
import math
import random
import subprocess
import sys
import zlib
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import kenlm
import numpy as np
import pytest
from arpa_files import arpa_of, random_levels
from conftest import ROOT, make_tokenizer

from actors.engine.vocabulary import Vocabulary
from actors.schema import UsageError
from actors.storage.cache import cache_folder
from actors.text import language_model
from actors.text.compiled.steps import lm_step
from actors.text.language_model import Coverage, LanguageModel, language_model_coverage, load_language_model

LETTERS = tuple("ab中d")
SMALL = arpa_of(
    [
        {("<s>",): (-99.0, -0.5), ("</s>",): (-1.0, 0.0), ("a",): (-0.5, -0.25), ("b",): (-0.75, -0.125)},
        {("<s>", "a"): (-0.25, 0.0), ("a", "b"): (-0.5, 0.0), ("b", "</s>"): (-0.125, 0.0)},
    ]
)


@pytest.fixture
def load(tmp_path: Path) -> Callable[..., LanguageModel]:
    """Loads a model from the content of its file."""

    def make(content: str | bytes, tokens: Iterable[str] | bytes = LETTERS) -> LanguageModel:
        data = content.encode() if isinstance(content, str) else content
        path = tmp_path / "lm.arpa"
        path.write_bytes(data)
        vocabulary = Vocabulary(tokens if isinstance(tokens, bytes) else tuple(tokens))
        return load_language_model(path, hashlib.sha256(data).hexdigest(), vocabulary)

    return make


def scores(model: LanguageModel, ids: Iterable[int]) -> list[float]:
    """Of each token of a sentence, and of its end."""
    state, found = model.start, list[float]()
    for token in ids:
        weight, state = lm_step(model, state, token)
        found.append(weight)
    return [*found, float(model.finals[state])]


def expect_kenlm(model: LanguageModel, path: Path, texts: Iterable[tuple[int, ...]], tokens: tuple[str, ...]) -> None:
    theirs = kenlm.Model(str(path))
    for ids in texts:
        words = " ".join(tokens[token] for token in ids)
        expected = [log_prob * math.log(10) for log_prob, _, _ in theirs.full_scores(words)]
        assert scores(model, ids) == pytest.approx(expected, abs=1e-5), words


def all_texts(tokens: int, longest: int) -> Iterable[tuple[int, ...]]:
    for length in range(longest + 1):
        yield from itertools.product(range(tokens), repeat=length)


@pytest.mark.parametrize("order", range(1, 7))
@pytest.mark.parametrize("has_unknown", [True, False])
def test_it_scores_as_kenlm_does(order: int, has_unknown: bool, load: Callable[..., Any], tmp_path: Path) -> None:
    draw = random.Random(order)
    known = ["a", "b", "中"]  # d is not in the model: it is <unk>, also within n-grams
    words = [*known, "<s>", "</s>", *(["<unk>"] if has_unknown else [])]
    model = load(arpa_of(random_levels(draw, words, order, 0.8)))
    texts = [*all_texts(4 if has_unknown else 3, 5)]
    texts += [tuple(draw.choices(range(4 if has_unknown else 3), k=20)) for _ in range(50)]
    if order > 1:  # of unigrams alone, KenLM reads none
        expect_kenlm(model, tmp_path / "lm.arpa", texts, LETTERS)
    assert len(model.begins) == len(model.backoffs) + 1
    assert int(model.begins[-1]) == len(model.labels) == len(model.targets)


def test_unigrams_alone(load: Callable[..., Any]) -> None:
    model = load(arpa_of([{("a",): (-0.5, 0.0), ("b",): (-1.0, 0.0), ("<unk>",): (-2.0, 0.0), ("</s>",): (-3.0, 0.0)}]))
    assert scores(model, [0, 1, 2]) == pytest.approx([each * math.log(10) for each in (-0.5, -1, -2, -3)], abs=1e-6)


def test_suffixes_that_were_pruned(load: Callable[..., Any], tmp_path: Path) -> None:
    draw = random.Random(4)
    levels = random_levels(draw, ["a", "b", "中", "d", "<s>", "</s>"], 4, 0.8)
    contexts = {ngram[:-1] for level in levels for ngram in level}
    dropped = 0
    for shorter, longer in itertools.pairwise(levels[1:]):
        for ngram in sorted(set(shorter) - contexts)[:12]:
            del shorter[ngram]
            dropped += any(each[1:] == ngram for each in longer)
    assert dropped > 5
    expect_kenlm(load(arpa_of(levels)), tmp_path / "lm.arpa", all_texts(4, 5), LETTERS)


def test_sentence_marks_in_the_middle_are_never_met(load: Callable[..., Any], tmp_path: Path) -> None:
    levels = random_levels(random.Random(5), ["a", "b", "中", "d", "<s>", "</s>"], 3)
    levels[1] |= {("a", "<s>"): (-0.5, -0.5), ("</s>", "a"): (-0.25, -0.5), ("</s>", "<s>"): (-0.25, -0.5)}
    levels[2] |= {("a", "<s>", "b"): (-0.5, 0.0), ("</s>", "<s>", "b"): (-0.5, 0.0), ("</s>", "a", "b"): (-0.5, 0.0)}
    expect_kenlm(load(arpa_of(levels)), tmp_path / "lm.arpa", all_texts(4, 4), LETTERS)


def test_without_unk_a_floor(load: Callable[..., Any]) -> None:
    assert scores(load(SMALL), [2])[0] == pytest.approx((-10 - 0.5) * math.log(10))


def test_without_ends_of_sentences(load: Callable[..., Any]) -> None:
    model = load(arpa_of([{("a",): (-0.5, -0.25), ("b",): (-0.75, 0.0)}, {("a", "b"): (-0.5, 0.0)}]))
    assert model.start == 0
    assert not model.finals.any()
    assert scores(model, [0, 1, 0]) == pytest.approx([each * math.log(10) for each in (-0.5, -0.5, -0.5, 0)])


def test_pieces_of_sentencepiece(load: Callable[..., Any], tmp_path: Path) -> None:
    proto = (make_tokenizer(tmp_path / "tokenizer") / "tokenizer.model").read_bytes()
    pieces = Vocabulary(proto).pieces
    words = [each for each in pieces if not each.startswith("<")]
    assert any(each.startswith("▁") and len(each) > 1 for each in words)
    draw = random.Random(1)
    model = load(arpa_of(random_levels(draw, [*words[:20], "<s>", "</s>", "<unk>"], 3, 0.2)), proto)
    texts = [tuple(draw.choices(range(3, len(pieces)), k=8)) for _ in range(300)]
    expect_kenlm(model, tmp_path / "lm.arpa", texts, pieces)


@pytest.mark.parametrize("name", ["<space>", "▁"])
def test_a_space_has_a_name(name: str, load: Callable[..., Any]) -> None:
    model = load(SMALL.replace("b", name), ("a", " "))
    assert scores(model, [0, 1]) == scores(load(SMALL, ("a", "b")), [0, 1])


def test_forms_of_the_file(load: Callable[..., Any]) -> None:
    levels = random_levels(random.Random(6), ["a", "b", "中", "<s>", "</s>", "<unk>"], 3)
    expected = load(arpa_of(levels))
    forms: list[str | bytes] = [
        arpa_of(levels, separator=" "),
        arpa_of(levels, end="\r\n"),
        arpa_of(levels).removesuffix("\n"),
        arpa_of(levels).replace("\n\n", "\n"),
        arpa_of(levels).replace("\\data\\", "\\DATA\\").replace("-grams", "-Grams").replace("\\end\\", "\\End\\"),
        arpa_of(levels).replace("ngram ", "ngram  ").replace("=", " = "),
        arpa_of(levels).replace("<unk>", "<UNK>"),
        "﻿" + arpa_of(levels),
        "# made by hand\n\n" + arpa_of(levels) + "and more that nobody reads\n",
        gzip.compress(arpa_of(levels).encode()),
    ]
    for form in forms:
        for mine, theirs in zip(load(form), expected, strict=True):
            assert np.array_equal(mine, theirs)


@pytest.mark.parametrize("number", ["-1.5e-1", "-.15", "-0.150000000000000000000000000001", "-15E-2", "-0.15"])
def test_numbers(number: str, load: Callable[..., Any]) -> None:
    assert load(SMALL.replace("-0.75\tb", f"{number}\tb")).unigrams[1] == np.float32(-0.15 * math.log(10))


def test_what_the_model_lacks_is_left_out(load: Callable[..., Any], tmp_path: Path) -> None:
    levels = random_levels(random.Random(7), ["a", "b", "中", "x", "<s>", "</s>", "<unk>"], 3)
    model = load(arpa_of(levels))
    without = [{ngram: each for ngram, each in level.items() if "x" not in ngram} for level in levels]
    for mine, theirs in zip(model, load(arpa_of(without)), strict=True):
        assert np.array_equal(mine, theirs)
    sha256 = hashlib.sha256(arpa_of(levels).encode()).hexdigest()
    assert language_model_coverage(sha256, Vocabulary(LETTERS)) == Coverage(4, 3)
    assert language_model_coverage("0" * 64, Vocabulary(LETTERS)) is None


def words_instead(count: int, letters: str = "") -> str:
    words = [*letters, *(f"词{number}" for number in range(count))]
    return arpa_of([{(word,): (-1.0, 0.0) for word in words}])


LONG = "x" * 3_000_000
REFUSED: dict[str, tuple[str | bytes, str]] = {
    "nothing": (b"", r"no line \\data\\"),
    "another text": ("The quick brown fox\n" * 100, r"it is no ARPA file: it has no line \\data\\"),
    "binary of KenLM": (b"mmap lm http://kheafield.com/code format version 5\n\0\1\2", "give the ARPA file"),
    "zip": (b"PK\3\4" + bytes(100), "NUL bytes"),
    "NUL bytes": (SMALL.replace("a", "\0"), "NUL bytes"),
    "another encoding": (SMALL.replace("b", "中").encode("gb18030"), r"no text in UTF-8 .*iconv"),
    "cut within n-grams": (SMALL[: SMALL.index("-0.5\ta b")], r"it is incomplete: it ends after 1 of its 3 2-grams"),
    "cut between orders": (SMALL[: SMALL.index("\\2-grams")], r"it is incomplete: it ends where its 2-grams"),
    "cut before its end": (SMALL.replace("\\end\\", ""), r"no \\end\\ line: it is incomplete"),
    "cut within its header": (SMALL[:15], "where its 1-grams should begin|not a count|no unigrams"),
    "no counts": ("\\data\\\n\n\\1-grams:\n\\end\\\n", "it states no unigrams"),
    "empty": ("\\data\\\nngram 1=0\n\\1-grams:\n\\end\\\n", "it states no unigrams"),
    "cut gzip": (gzip.compress(random.Random(1).randbytes(4_000))[:3_000], "damaged or incomplete: gzip says"),
    "damaged gzip": (gzip.compress(SMALL.encode())[:-8] + bytes(8), "damaged or incomplete: gzip says"),
    "bomb": (gzip.compress(("\\data\\\n" + "\n" * 200_000_000).encode()), "more than 1,000,000 empty lines"),
    "bomb of one n-gram": (
        gzip.compress(SMALL.replace("=3", "=900000000").partition("\n\n\\end")[0].encode() + b"\n-1 a b" * 20_000_000),
        "more than 100 times its size",
    ),
    "too few": (SMALL.replace("ngram 2=3", "ngram 2=4"), r"line 16 ends the 2-grams after 3 of the 4"),
    "too many": (SMALL.replace("ngram 2=3", "ngram 2=2"), r"line 14 is '-0.125\\tb </s>' where it should end"),
    "a lie": (SMALL.replace("ngram 2=3", "ngram 2=1000000000000"), "line 3 states more n-grams than"),
    "a greater lie": (SMALL.replace("ngram 2=3", "ngram 2=" + "9" * 5_000), "line 3 states more n-grams than"),
    "a lie that fits": (SMALL.replace("ngram 2=3", "ngram 2=1000000000"), "after 3 of the 1,000,000,000"),
    "no count": (SMALL.replace("ngram 2=3", "ngram 2=many"), "line 3 is 'ngram 2=many', not a count"),
    "orders that leave one out": (SMALL.replace("ngram 2", "ngram 3"), "counts n-grams of order 3, not 2"),
    "order 7": (
        "\\data\\\n" + "".join(f"ngram {order}=1\n" for order in range(1, 8)) + "\n\\1-grams:\n",
        "order above 6",
    ),
    "orders mixed": (SMALL.replace("\\2-grams:", "\\3-grams:"), r"is '\\\\3-grams:' where its 2-grams"),
    "no number": (SMALL.replace("-0.75", "often"), "line 9 has a log-probability .* no number"),
    "nan": (SMALL.replace("-0.75", "nan"), "line 9 has a log-probability .* no number"),
    "minus infinity": (SMALL.replace("-0.75", "-inf"), "line 9 has a log-probability .* no number"),
    "1e400": (SMALL.replace("-0.75", "-1e400"), "line 9 has a log-probability that is not from -1000 to 0"),
    "positive": (SMALL.replace("-0.75", "0.75"), "line 9 has a log-probability that is not from -1000 to 0"),
    "infinite weight": (SMALL.replace("-0.125\n", "1e99\n", 1), "line 9 has a log-probability .* or such a weight"),
    "probability": (SMALL.replace("-0.75", ""), r"line 9 is no 1-gram|line 9 has"),
    "too many words": (SMALL.replace("a b", "a b b"), "line 13 has a log|line 13 is no 2-gram"),
    "too many fields": (SMALL.replace("a b", "a b -1 -1"), "line 13 is no 2-gram: a log-probability, 2 words"),
    "twice": (SMALL.replace("b </s>", "a b"), "it has the 2-gram 'a b' twice"),
    "unigram twice": (SMALL.replace("-0.75\tb", "-0.75\ta"), "it has the 1-gram 'a' twice"),
    "no unigram": (SMALL.replace("a b", "a 中"), "line 13 has a word that is not among its unigrams"),
    "long line": (SMALL.replace("-0.75\tb", f"-0.75\t{LONG}"), "line 9 is longer than any"),
    "long line in its header": (SMALL.replace("ngram 1=4", LONG), "line 2 is longer|is 'xxx"),
    "long line and no other": (LONG, r"line 1 is longer than any of an ARPA|no line \\data\\"),
    "words": (words_instead(99, "a"), r"1 of its 100 words \(1%\) are tokens of the model; .*where characters are"),
    "mostly words": (words_instead(3, "ab"), r"2 of its 5 words \(40%\) are tokens"),
    "empty lines": (SMALL.replace("-0.75\tb", "\n" * 3_000_000 + "-0.75\tb"), "more than 1,000,000 empty lines"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_is_refused(name: str, load: Callable[..., Any]) -> None:
    content, sentence = REFUSED[name]
    with pytest.raises(UsageError, match=sentence) as refused:
        load(content)
    assert "lm.arpa" not in str(refused.value)
    assert len(str(refused.value)) < 400
    assert not [*(cache_folder() / "language_models").glob("*/")]


def test_contexts_are_needed(load: Callable[..., Any]) -> None:
    levels = random_levels(random.Random(8), ["a", "b", "<s>", "</s>"], 3, 1.0)
    del levels[1]["a", "b"]
    with pytest.raises(UsageError, match="continues an n-gram that it has not: every 3-gram needs its first 2 words"):
        load(arpa_of(levels))


def test_pieces_are_asked_for(load: Callable[..., Any], tmp_path: Path) -> None:
    proto = (make_tokenizer(tmp_path / "tokenizer") / "tokenizer.model").read_bytes()
    with pytest.raises(UsageError, match="where the model's own tokens are needed"):
        load(words_instead(99, "a"), proto)


def test_blocks_may_end_anywhere(load: Callable[..., Any], monkeypatch: pytest.MonkeyPatch) -> None:
    from actors.text import arpa_lines

    levels = random_levels(random.Random(9), ["a", "b", "中", "<s>", "</s>", "<unk>"], 3)
    expected = load(arpa_of(levels))
    for size in (1, 2, 7, 64, 1_000):
        monkeypatch.setattr(arpa_lines, "_BLOCK", size)
        for mine, theirs in zip(load(arpa_of(levels) + "\n" * size), expected, strict=True):
            assert np.array_equal(mine, theirs)


def test_it_is_converted_once(load: Callable[..., Any], monkeypatch: pytest.MonkeyPatch) -> None:
    model = load(SMALL)
    assert not any(each.flags.writeable for each in model[:-1])
    monkeypatch.setattr(language_model, "read_arpa", None)
    again = load(SMALL)
    for mine, theirs in zip(again, model, strict=True):
        assert np.array_equal(mine, theirs)
    with pytest.raises(TypeError):
        load(SMALL, "ab")  # another vocabulary


DAMAGE: dict[str, Callable[[bytes], bytes]] = {
    "a bit": lambda data: data[:-1] + bytes([data[-1] ^ 1]),
    "cut": lambda data: data[:-4],
    "empty": lambda data: b"",
    "zeros": lambda data: bytes(len(data)),
    "longer": lambda data: data + b"\0",
}


@pytest.mark.parametrize("damage", DAMAGE)
def test_what_is_damaged_is_made_again(damage: str, load: Callable[..., Any]) -> None:
    expected = [np.array(each) for each in load(SMALL)]
    (folder,) = (cache_folder() / "language_models").glob("*/")
    names = sorted(path.name for path in folder.iterdir())
    for name in names:
        whole = (folder / name).read_bytes()
        (folder / name).write_bytes(DAMAGE[damage](whole))
        for mine, theirs in zip(load(SMALL), expected, strict=True):
            assert np.array_equal(mine, theirs)
        assert (folder / name).read_bytes() == whole
        (folder / name).unlink()
        load(SMALL)
    assert sorted(path.name for path in folder.iterdir()) == names


def test_one_that_was_interrupted_is_begun_again(load: Callable[..., Any], monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(language_model, "_checksums", full)
        with pytest.raises(OSError, match="No space"):
            load(SMALL)
    folder = cache_folder() / "language_models"
    assert not [*folder.glob("*/")]
    (killed,) = (path.with_suffix(".partial") for path in folder.glob("*.lock"))
    killed.mkdir()
    (killed / "begins.npy").write_bytes(b"half")
    assert scores(load(SMALL), [0])
    assert not killed.exists()


def test_many_processes_at_once(tmp_path: Path) -> None:
    levels = random_levels(random.Random(10), ["a", "b", "中", "<s>", "</s>", "<unk>"], 5)
    (tmp_path / "lm.arpa").write_text(arpa_of(levels))
    program = (
        "import sys, zlib\nfrom pathlib import Path\nfrom actors.engine.vocabulary import Vocabulary\n"
        "from actors.text.language_model import load_language_model\n"
        "model = load_language_model(Path(sys.argv[1]), '0' * 64, Vocabulary(tuple('ab中d')))\n"
        "print(zlib.crc32(b''.join(each.tobytes() for each in model[:-1])))\n"
    )
    command = [sys.executable, "-c", program, str(tmp_path / "lm.arpa")]
    running = [subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE) for _ in range(4)]
    outputs = {each.communicate()[0] for each in running}
    assert [each.returncode for each in running] == [0] * 4
    model = load_language_model(tmp_path / "lm.arpa", "0" * 64, Vocabulary(LETTERS))
    assert outputs == {f"{zlib.crc32(b''.join(each.tobytes() for each in model[:-1]))}\n".encode()}


def test_no_language_model(load: Callable[..., Any]) -> None:
    model = language_model.no_language_model(3)
    assert scores(model, [0, 1, 2, 2]) == [0.0] * 5
    assert [(each.dtype, each.shape[1:]) for each in model[:-1]] == [
        (each.dtype, each.shape[1:]) for each in load(SMALL)[:-1]
    ]
