"""The whole job with a beam, a language model and phrases: what is decoded does not depend on how the work was cut, and
other files or weights are decoded anew from what was heard."""

from collections import Counter
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from conftest import encoded
from test_heard_once import rows_of, without_sound
from test_transcribe import forbid_ray

from actors.storage.cache import sha256_of
from jobs import plan


def write_arpa(path: Path, sentences: list[str]) -> Path:
    """Writes a bigram model of characters, with probabilities that are simply counted."""
    words = [["<s>", *sentence, "</s>"] for sentence in sentences]
    singles = Counter(word for sentence in words for word in sentence[1:])
    pairs = Counter(pair for sentence in words for pair in pairwise(sentence))
    first = Counter(pair[0] for pair in pairs.elements())
    total = singles.total()
    lines = ["\\data\\", f"ngram 1={len(singles) + 2}", f"ngram 2={len(pairs)}", "", "\\1-grams:"]
    lines += ["-99\t<s>\t-0.5", f"{np.log10(0.5 / total):.5f}\t<unk>\t0"]
    lines += [f"{np.log10(count / total):.5f}\t{word}\t-0.5" for word, count in singles.items()]
    lines += ["", "\\2-grams:"]
    lines += [f"{np.log10(0.8 * count / first[left]):.5f}\t{left} {right}" for (left, right), count in pairs.items()]
    path.write_text("\n".join([*lines, "", "\\end\\", ""]), encoding="utf-8")
    return path


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory, speech: Any) -> dict[str, Path]:
    """Noisy speech, of which the greedy text is often wrong, with files to decode it by."""
    folder = tmp_path_factory.mktemp("decoding")
    audio = folder / "audio"
    audio.mkdir()
    noise = np.random.default_rng(0)
    texts = [text for _, text in speech]

    def noisy(sound: np.ndarray, level: float) -> bytes:
        return encoded(sound + noise.normal(0, level * np.sqrt(np.mean(np.square(sound))), len(sound)))

    for number, (sound, text) in enumerate(speech):
        (audio / f"{number:02d}.wav").write_bytes(noisy(sound, 2.0))
        (audio / f"{number:02d}.txt").write_text(text, encoding="utf-8")
    pause = np.zeros(4_000)
    (audio / "long.wav").write_bytes(
        noisy(np.concatenate([part for sound, _ in speech * 3 for part in (sound, pause)]), 1)
    )
    (folder / "phrases.txt").write_text(f"# of the tests\n{texts[0][:3]}\n{texts[1][1:4]}\t2.5\n", encoding="utf-8")
    return {"audio": audio, "lm": write_arpa(folder / "lm.arpa", texts), "phrases": folder / "phrases.txt"}


def decoding(files: dict[str, Path], **more: object) -> list[str]:
    """What the command line states of the files, and of weights at which they make a difference."""
    weights = {"lm_weight": 0.7, "token_bonus": 1.0, "alternatives": 3}
    stated = {"lm": files["lm"], "phrases": files["phrases"]} | weights | more
    return [f"decoding.{name}={value}" for name, value in stated.items()]


def same(rows: dict[Any, dict[str, Any]], *left_out: str) -> dict[Any, dict[str, Any]]:
    """Rows as they can be compared, without columns that may differ."""
    told = {}
    for key, row in rows.items():
        row = {name: value for name, value in row.items() if name not in {"unit", *left_out}}
        if row.get("alternatives") is not None:
            row["alternatives"] = [dict(each) for each in row["alternatives"]]
        told[key] = row
    return told


@pytest.mark.usefixtures("ray_two_cpus")
def test_a_beam_alone_says_what_the_greedy_path_says(job: Any, files: dict[str, Path], tmp_path: Path) -> None:
    where = f"input.uri={files['audio']}"
    assert job(where, f"output.uri={tmp_path / 'greedy'}")[0] == 0
    assert job(where, f"output.uri={tmp_path / 'beam'}", "decoding.beam=8", "decoding.alternatives=4")[0] == 0
    greedy, beam = rows_of(tmp_path / "greedy"), rows_of(tmp_path / "beam")
    assert {key: row["text"] for key, row in beam.items()} == {key: row["text"] for key, row in greedy.items()}
    for key, row in beam.items():
        assert row["decoding"] == "beam=8 alternatives=4"
        assert row["confidence"] == pytest.approx(greedy[key]["confidence"], abs=1e-3)
        times = [[(each["start_s"], each["end_s"]) for each in rows[key]["tokens"]] for rows in (beam, greedy)]
        assert times[0] == times[1]
        alternatives = row["alternatives"]
        assert 1 < len(alternatives) <= 4
        assert alternatives[0]["text"] == row["text"]
        scores = [each["score"] for each in alternatives]
        assert scores == sorted(scores, reverse=True)
        assert len({each["text"] for each in alternatives}) == len(alternatives)
    assert all(row["alternatives"] is None for row in greedy.values())


@pytest.mark.usefixtures("ray_two_cpus")
def test_what_is_decoded_does_not_depend_on_how_the_work_was_cut(
    job: Any, files: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Units and pieces of other sizes, batches, greedy first and decoded anew, or at once: the same rows."""
    where = f"input.uri={files['audio']}"
    whole = (where, f"output.uri={tmp_path / 'whole'}", "output.emissions=true")
    assert job(*whole)[0] == 0
    greedy = rows_of(tmp_path / "whole")
    cut = (where, f"output.uri={tmp_path / 'cut'}", "unit.target_minutes=0.4", "batch.max_padded_seconds=9")
    assert job(*cut, *decoding(files))[0] == 0
    at_once = same(rows_of(tmp_path / "cut"))
    kept = {path.name: path.read_bytes() for path in files["audio"].iterdir()}
    try:
        without_sound(files["audio"])
        with monkeypatch.context() as patched:
            forbid_ray(patched)
            _, dry, _ = job(*whole, *decoding(files), main=plan.main)
            assert dry["redone_from"]["audio"] == 0
            status, told, _ = job(*whole, *decoding(files))
            assert (status, told["audio_hours"]) == (0, 0)
            assert same(rows_of(tmp_path / "whole")) == at_once
            (described,) = {row["decoding"] for row in at_once.values()}
            lm, phrases = (sha256_of(files[name])[:16] for name in ("lm", "phrases"))
            weights = "lm_weight=0.7 token_bonus=1", "phrase_weight=1.5 alternatives=3"
            assert described == f"beam=16 lm={lm} {weights[0]} phrases={phrases} {weights[1]}"
            changed = [key for key, each in at_once.items() if each["text"] != greedy[key]["text"]]
            assert len(changed) > len(greedy) / 4
            assert job(*whole, *decoding(files, lm_weight=0.0))[1]["rewritten"] == told["rewritten"]
            assert same(rows_of(tmp_path / "whole")) != at_once
            assert job(*whole)[1]["rewritten"] == told["rewritten"]  # greedy again
            assert rows_of(tmp_path / "whole") == greedy
    finally:
        for name, content in kept.items():
            (files["audio"] / name).write_bytes(content)


@pytest.mark.parametrize(
    ("stated", "said"),
    [
        ({"lm": "nowhere.arpa"}, "decoding.lm: there is no file"),
        ({"lm": "audio/00.wav"}, "decoding.lm: "),
        ({"phrases": "nowhere.txt"}, "decoding.phrases: there is no file"),
        ({"phrases": "audio/00.wav"}, "decoding.phrases: "),
        ({"beam": 0}, "decoding.beam"),
        ({"beam": 1000}, "decoding.beam"),
        ({"lm_weight": "nan"}, "decoding.lm_weight"),
        ({"alternatives": -1}, "decoding.alternatives"),
    ],
)
def test_wrong_files_and_numbers_are_refused_when_planning(
    job: Any, files: dict[str, Path], tmp_path: Path, stated: dict[str, object], said: str
) -> None:
    folder = files["audio"].parent
    given = [
        f"decoding.{name}={folder / value if isinstance(value, str) and '.' in value else value}"
        for name, value in stated.items()
    ]
    status, _, seen = job(f"input.uri={files['audio']}", f"output.uri={tmp_path / 'out'}", *given, main=plan.main)
    assert status == 2
    assert said in seen
    assert "Traceback" not in seen


def test_phrases_that_the_model_cannot_write_are_told(job: Any, files: dict[str, Path], tmp_path: Path) -> None:
    (tmp_path / "phrases.txt").write_text("# names\n四百\niPhone 15\n", encoding="utf-8")
    where = (f"input.uri={files['audio']}", f"output.uri={tmp_path / 'out'}")
    status, told, seen = job(*where, f"decoding.phrases={tmp_path / 'phrases.txt'}", main=plan.main)
    assert (status, told["decoding"][:21]) == (0, f"beam=16 phrases={sha256_of(tmp_path / 'phrases.txt')[:5]}")
    for phrase in ("1 of 2 phrases", "line 3", "iPhone 15"):
        assert phrase in seen
