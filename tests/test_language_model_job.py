"""jobs.language_model: texts become a language model in the tokens of the model, which loads, scores and helps."""

import gzip
import hashlib
import io
import json
import math
import random
import re
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import kenlm
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from conftest import DEMO_MODEL, ROOT
from test_language_model import scores

from actors.engine.models import read_vocabulary, resolve
from actors.engine.vocabulary import Vocabulary
from actors.foreign.errors import InvalidData
from actors.foreign.gzipped import unzipped
from actors.foreign.parquet_rows import read_rows
from actors.text.language_model import LanguageModel, load_language_model
from actors.text.spelling import Speller
from jobs import language_model
from jobs.transcripts.halves import is_held_back

sys.path.insert(0, str(ROOT))
from demo.sentences import sentences


@pytest.fixture(scope="module")
def texts() -> list[str]:
    """Sentences of the demo's grammar."""
    return draw_sentences(600)


def draw_sentences(count: int, seed: int = 5) -> list[str]:
    found = sentences(seed, held_out=False)
    return [next(found) for _ in range(count)]


@pytest.fixture
def train(job: Callable[..., Any], tmp_path: Path) -> Callable[..., tuple[int, dict[str, Any], str]]:
    def run(*overrides: str, output: str = "lm.arpa") -> tuple[int, dict[str, Any], str]:
        return job(*overrides, f"output.uri={tmp_path / output}", main=language_model.main)

    return run


def vocabulary_of(model: Path = DEMO_MODEL) -> Vocabulary:
    return read_vocabulary(resolve(str(model), None, {}))


def loaded(path: Path, vocabulary: Vocabulary) -> LanguageModel:
    return load_language_model(path, hashlib.sha256(path.read_bytes()).hexdigest(), vocabulary)


def test_sentences_become_a_model(train: Callable[..., Any], texts: list[str], tmp_path: Path) -> None:
    (tmp_path / "texts.txt").write_text("\n".join(texts))
    status, summary, seen = train(f"input.uri={tmp_path}/texts.txt")
    assert status == 0
    assert (summary["trainer"], summary["order"], summary["sentences"]) == ("kaldingram", 4, 600)
    assert summary["tokens"] == sum(map(len, texts))
    assert summary["left_out"] == {"characters": 0, "different": 0, "most_frequent": {}}
    assert "kaldingram" in seen
    vocabulary = vocabulary_of()
    model, speller = loaded(tmp_path / "lm.arpa", vocabulary), Speller(vocabulary)
    assert summary["ngrams"][0] == len({*"".join(texts)}) + 3
    theirs = kenlm.Model(str(tmp_path / "lm.arpa"))
    for text in draw_sentences(50, seed=6):
        expected = [each * math.log(10) for each, _, _ in theirs.full_scores(" ".join(text))]
        assert scores(model, speller.spell(text).ids) == pytest.approx(expected, abs=1e-5)
    shuffled = ["".join(random.Random(1).sample(text, len(text))) for text in texts[:50]]
    for right, wrong in zip(texts[:50], shuffled, strict=True):
        assert right == wrong or sum(scores(model, speller.spell(right).ids)) > sum(
            scores(model, speller.spell(wrong).ids)
        )


def test_forms_of_texts_give_the_same_model(train: Callable[..., Any], texts: list[str], tmp_path: Path) -> None:
    column = pa.table({"id": [*range(len(texts))], "sentence": texts})
    pq.write_table(column, tmp_path / "texts.parquet")
    (tmp_path / "texts.txt").write_text("\n".join(texts))
    (tmp_path / "texts.gz").write_bytes(gzip.compress("\n".join(texts).encode()))
    (tmp_path / "crlf.txt").write_text("﻿" + "\r\n".join(texts) + "\r\n\r\n")
    (tmp_path / "gbk.txt").write_bytes("\n".join(texts).encode("gb18030"))
    (tmp_path / "texts.jsonl").write_text("".join(json.dumps({"sentence": text}) + "\n" for text in texts))
    (tmp_path / "texts.jsonl.gz").write_bytes(gzip.compress((tmp_path / "texts.jsonl").read_bytes()))
    (tmp_path / "folder").mkdir()
    for begin in range(0, len(texts), 100):
        (tmp_path / "folder" / f"{begin:03}.txt").write_text("\n".join(texts[begin : begin + 100]))
    (tmp_path / "folder" / "sound.wav").write_bytes(b"RIFF")
    models = set()
    for name in (
        "texts.txt",
        "texts.gz",
        "crlf.txt",
        "gbk.txt",
        "texts.parquet",
        "texts.jsonl",
        "texts.jsonl.gz",
        "folder",
    ):
        status, summary, _ = train(f"input.uri={tmp_path}/{name}", "language_model.column=sentence")
        assert (status, summary["sentences"]) == (0, 600), name
        assert summary["skipped_files"] == ({".wav": 1} if name == "folder" else {})
        models.add((tmp_path / "lm.arpa").read_bytes())
    assert len(models) == 1
    status, _, _ = train(f"input.uri={tmp_path}/texts.txt", output="lm.arpa.gz")
    assert gzip.decompress((tmp_path / "lm.arpa.gz").read_bytes()) in models


def test_texts_are_written_as_the_vocabulary_writes(
    train: Callable[..., Any], texts: list[str], tmp_path: Path
) -> None:
    dressed = [f"{text[:3]}，{text[3:]}。" for text in texts]
    strange = ["今天A天气☃很好B", "☃☃", "", "  "]
    (tmp_path / "texts.txt").write_text("\n".join([*dressed, *strange]))
    status, summary, seen = train(f"input.uri={tmp_path}/texts.txt")
    assert status == 0
    assert summary["sentences"] == 603  # 今天, 天气 and 很好 are what is left of one
    assert summary["empty"] == 3
    assert summary["left_out"]["most_frequent"].keys() == {"☃", "A", "B"}
    assert "☃" in seen
    assert "，" not in (tmp_path / "lm.arpa").read_text()


def test_the_references_of_an_output(train: Callable[..., Any], job: Callable[..., Any], tmp_path: Path) -> None:
    status, _, _ = job(f"output.uri={tmp_path}/out", "input.limit=30", "errors.max_fraction=1")
    assert status == 0
    status, half, _ = train(f"input.uri={tmp_path}/out", "language_model.order=2")
    assert status == 0
    status, summary, _ = train(f"input.uri={tmp_path}/out", "language_model.order=2", "language_model.held_back=use")
    assert status == 0
    assert summary["references"] == summary["sentences"] > 10
    assert half["references"] + half["held_back"] == summary["references"] > half["references"] > 0
    assert summary["held_back"] == 0
    (tmp_path / "a.txt").write_text("今天天气很好\n" * 100)
    status, summary, seen = train(f"input.uri={tmp_path}", "input.exclude=[cache/*]", "language_model.order=2")
    assert (status, summary["files"], summary["sentences"]) == (0, 1, 100)
    assert summary["skipped_files"]["made by jobs"] > 1
    assert "passed over; for references, give the folder" in seen
    for pattern in ("out/*.parquet", "*/*"):
        status, summary, _ = train(f"input.uri={tmp_path}/{pattern}", "input.exclude=[cache/*]")
        assert (status, "is a part of an output of jobs.transcribe" in summary["error"]) == (2, True)
    assert loaded(tmp_path / "lm.arpa", vocabulary_of()).start


def test_references_of_manifests_and_companions(train: Callable[..., Any], texts: list[str], tmp_path: Path) -> None:
    folder = tmp_path / "in"
    folder.mkdir()
    held_back = sum(is_held_back(text) for text in texts)
    lines = [json.dumps({"audio_filepath": f"{number}.wav", "text": text}) for number, text in enumerate(texts)]
    (folder / "a.jsonl").write_text("\n".join(lines))
    status, summary, seen = train(f"input.uri={folder}")
    assert (status, summary["held_back"], summary["sentences"]) == (0, held_back, 600 - held_back)
    assert "held_back" in seen
    assert train(f"input.uri={folder}", "language_model.held_back=use")[1]["sentences"] == 600
    (folder / "a.jsonl").unlink()
    for number, text in enumerate(texts):
        (folder / f"{number}.wav").write_bytes(b"RIFF")
        (folder / f"{number}.txt").write_text(f"{text}\n")
    status, summary, _ = train(f"input.uri={folder}")
    assert (status, summary["held_back"], summary["sentences"]) == (0, held_back, 600 - held_back)


def test_files_beside_texts(train: Callable[..., Any], texts: list[str], tmp_path: Path) -> None:
    folder = tmp_path / "in"
    folder.mkdir()
    (folder / "a.txt").write_text("\n".join(texts))
    (folder / "b.tar.gz").write_bytes(gzip.compress(bytes(10_240)))
    (folder / "c.wav").write_bytes(b"RIFF")
    (folder / "c.json").write_text(json.dumps({"text": "今天"}, indent=2))
    (folder / "part-0123456789abcdef.parquet").write_bytes(b"PAR1")
    status, summary, _ = train(f"input.uri={folder}")
    assert (status, summary["sentences"], summary["problems"]) == (0, 600, [])
    assert summary["skipped_files"] == {".tar.gz": 1, ".wav": 1, ".json": 1, "made by jobs": 1}
    (folder / "d.txt").write_bytes(bytes(100))
    (folder / "manifest.json").write_text(json.dumps([{"text": text} for text in texts], indent=2))
    status, summary, seen = train(f"input.uri={folder}")
    assert (status, summary["sentences"], summary["failed"]) == (1, 1_200, 1)
    assert "d.txt: its line 1 has NUL bytes" in seen


def test_gzipped_text_of_unknown_size() -> None:
    data = gzip.compress(random.Random(1).randbytes(3_000_000).hex().encode())
    assert len(unzipped(io.BytesIO(data), 0).read()) == 6_000_000
    with pytest.raises(InvalidData, match="more than 100 times"):
        unzipped(io.BytesIO(gzip.compress(bytes(10_000_000))), 0).read()


def test_one_column_is_read_alone() -> None:
    file = io.BytesIO()
    pq.write_table(pa.table({"id": [1], "text": ["a"]}), file)
    assert [*read_rows(file, ["text"], 1 << 20, has_others=False)] == [{"text": "a"}]


def test_an_output_of_another_version(train: Callable[..., Any]) -> None:
    status, summary, _ = train("input.uri=tests/outputs/schema_2")
    assert (status, "input.uri: " in summary["error"], "schema 2" in summary["error"]) == (2, True, True)


def test_sentencepiece(train: Callable[..., Any], lively_model: Callable[..., Path], tmp_path: Path) -> None:
    path = lively_model("pieces", sentencepiece=True)
    draw = random.Random(1)
    words = ["".join(draw.choices("abcdefgh", k=draw.randrange(2, 6))) for _ in range(40)]
    (tmp_path / "texts.txt").write_text("\n".join(" ".join(draw.choices(words, k=5)) for _ in range(300)))
    status, summary, _ = train(f"input.uri={tmp_path}/texts.txt", f"model.name={path}", "language_model.order=3")
    assert (status, summary["sentences"]) == (0, 300)
    assert "▁" in (tmp_path / "lm.arpa").read_text()
    assert loaded(tmp_path / "lm.arpa", vocabulary_of(path)).start


def test_labels_that_are_spaces(train: Callable[..., Any], lively_model: Callable[..., Path], tmp_path: Path) -> None:
    path = lively_model("letters")
    draw = random.Random(1)
    words = ["".join(draw.choices("abcdefgh", k=draw.randrange(2, 6))) for _ in range(40)]
    lines = [" ".join(draw.choices(words, k=5)) for _ in range(300)]
    (tmp_path / "texts.txt").write_text("\n".join(lines).upper())
    status, summary, _ = train(f"input.uri={tmp_path}/texts.txt", f"model.name={path}", "language_model.order=3")
    assert (status, summary["tokens"]) == (0, sum(map(len, lines)))
    assert "<space>" in (tmp_path / "lm.arpa").read_text()
    vocabulary = vocabulary_of(path)
    model = loaded(tmp_path / "lm.arpa", vocabulary)
    assert scores(model, [vocabulary.pieces.index(each) for each in lines[0]])[5] > math.log(1e-3)


def parquet_bytes(table: pa.Table) -> bytes:
    sink = pa.BufferOutputStream()
    pq.write_table(table, sink)
    return bytes(sink.getvalue())


LONG = "今天" * 150_000
GOOD = "今天天气很好\n" * 3
NUMBERS = parquet_bytes(pa.table({"text": [1, 2, 3]}))
REFUSED: dict[str, tuple[str, bytes, str]] = {
    "empty": ("texts.txt", b"", "its texts are empty"),
    "empty lines": ("texts.txt", b"\n \n\n", "its texts are empty"),
    "another language": ("texts.txt", "Здравствуйте\n".encode(), "can write nothing of the texts, but lacks .*'З'"),
    "not UTF-8": ("texts.txt", GOOD.encode() + b"caf\xe9 au lait\n", r"texts.txt: its line 4 is no text in UTF-8"),
    "cut character": ("texts.txt", (GOOD + "今").encode()[:-1], r"texts.txt: its line 4 is no text in UTF-8"),
    "NUL": ("texts.txt", GOOD.encode() + b"a\0b\n", r"texts.txt: its line 4 has NUL bytes"),
    "cut gzip": (
        "texts.gz",
        gzip.compress(LONG.encode() + random.Random(1).randbytes(9))[:-20],
        "texts.gz: it is damaged",
    ),
    "bomb": ("texts.gz", gzip.compress(b"\n" * 10_000_000), "texts.gz: it expands to more than 100 times"),
    "no Parquet": ("texts.parquet", b"PAR1" + bytes(100), r"texts.parquet: .*Parquet"),
    "no JSON": (
        "texts.jsonl",
        b'{"text": "a"}\n{"text": \n',
        "texts.jsonl: its line 2: it is not JSON.*object in each line",
    ),
    "no object": ("texts.jsonl", b'{"text": "a"}\n[1]\n', "texts.jsonl: its line 2 is no JSON object"),
    "no such key": (
        "texts.jsonl",
        b'{"words": "a"}\n',
        "column: it is missing, or no text, in 1 records",
    ),
    "numbers": ("texts.parquet", NUMBERS, "column: it is missing, or no text, in 3 records"),
    "too few": ("texts.txt", "今天天气很好\n".encode(), "too few texts for language_model.order=4"),
    "nothing of its kind": ("sound.wav/x.wav", b"RIFF", r"it has no texts, but .wav \(1\)"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_is_refused(name: str, train: Callable[..., Any], tmp_path: Path) -> None:
    file, content, sentence = REFUSED[name]
    (tmp_path / "in" / file).parent.mkdir(parents=True)
    (tmp_path / "in" / file).write_bytes(content)
    status, summary, _ = train(f"input.uri={tmp_path}/in/{file.partition('/')[0]}")
    assert status == 2
    assert re.search(sentence, summary["error"]), summary["error"]
    assert [each.name for each in tmp_path.iterdir() if each.name not in ("in", "cache")] == []


@pytest.mark.parametrize(
    ("overrides", "sentence"),
    [
        (["output.uri=out/demo"], "is not the name of a model, which ends in .arpa"),
        (["output.uri=https://example.com/lm.arpa"], "HTTP cannot be written to"),
        (["language_model.order=6"], "kaldingram trains up to 5"),
        (["language_model.order=1"], "language_model.order"),
        (["language_model.trainer=lmplz"], "lmplz is not on the PATH"),
        (["input.uri=/nowhere/texts.txt"], "input.uri: /nowhere/texts.txt"),
        (["model.name=/nowhere/model.nemo"], "/nowhere/model.nemo"),
    ],
)
def test_mistakes_of_the_configuration(
    overrides: list[str], sentence: str, train: Callable[..., Any], job: Callable[..., Any], tmp_path: Path
) -> None:
    (tmp_path / "texts.txt").write_text("今天天气很好")
    given = [f"input.uri={tmp_path}/texts.txt", f"output.uri={tmp_path}/lm.arpa", *overrides]
    status, summary, _ = job(*given, main=language_model.main)
    assert (status, sentence in summary["error"]) == (2, True), summary["error"]


def test_an_extra_that_is_missing(train: Callable[..., Any], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "kaldingram", None)
    monkeypatch.setattr("jobs.transcripts.ngrams.find_spec", lambda name: None)
    status, summary, _ = train("input.uri=texts.txt")
    assert (status, "pip install -c constraints.txt '.[lm]'" in summary["error"]) == (2, True)


def test_long_lines_are_cut(train: Callable[..., Any], texts: list[str], tmp_path: Path) -> None:
    (tmp_path / "texts.txt").write_text("\n".join([*texts, LONG]))
    status, summary, _ = train(f"input.uri={tmp_path}/texts.txt", "language_model.order=2")
    assert (status, summary["tokens"]) == (0, sum(map(len, texts)) + len(LONG))
    assert summary["cut"] > 1


def test_an_old_model_stays_when_training_fails(
    train: Callable[..., Any], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "texts.txt").write_text("今天天气很好\n" * 100)
    (tmp_path / "lm.arpa").write_text("old")
    monkeypatch.setattr(sys, "executable", "/bin/false")
    status, summary, _ = train(f"input.uri={tmp_path}/texts.txt")
    assert (status, "kaldingram ended with status 1" in summary["error"]) == (1, True)
    assert (tmp_path / "lm.arpa").read_text() == "old"
