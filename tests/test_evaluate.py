"""Error rates that others count the same, by AISHELL-2's conditions among others."""

import io
import json
from collections import Counter
from pathlib import Path
from typing import Any

import jiwer
import numpy as np
import pyarrow.parquet as pq
import pytest
import soundfile
from conftest import encoded, tone
from hypothesis import given
from hypothesis import strategies as st

from actors.text.normalise import Normalisation, join_texts, normalise
from jobs import evaluate
from jobs.cli.config import Input
from jobs.planning.account import Files
from jobs.planning.listing import list_input
from jobs.transcripts.scoring import compare, interval


@pytest.fixture
def aishell(speech: Any, tmp_path: Path) -> Path:
    """A folder in the layout of AISHELL-2's development and test sets, of demo speech; some references are wrong."""
    root = tmp_path / "aishell2"
    draw = np.random.default_rng(0)
    for condition in ("iOS", "Android", "Mic"):
        for part in ("dev", "test"):
            folder = root / condition / part
            (folder / "wav" / "S1").mkdir(parents=True)
            listed, texts = [], []
            for index in draw.choice(len(speech), 4, replace=False):
                name = f"{condition[0]}{part[0].upper()}{index:04d}"
                soundfile.write(folder / "wav" / "S1" / f"{name}.wav", speech[index][0], 16_000)
                listed.append(f"{name}\twav/S1/{name}.wav\n")
                words = speech[index][1]
                texts.append(
                    f"{name}\t{words[1:] if index % 3 == 0 else words + '，吗' if index % 3 == 1 else words}\n"
                )
            (folder / "wav.scp").write_text("".join(listed))
            (folder / "trans.txt").write_text("".join(texts))
    return root


@pytest.mark.usefixtures("ray_two_cpus")
def test_the_six_conditions_of_aishell(job: Any, aishell: Path, tmp_path: Path) -> None:
    out, scores = f"output.uri={tmp_path / 'out'}", tmp_path / "scores" / "scores.parquet"
    status, summary, _ = job(f"input.uri={aishell}", out, "model.precision=float32")
    assert (status, summary["recordings"], summary["errors"]) == (0, 24, {})
    status, rates, seen = job(out, f"evaluate.write={scores}", main=evaluate.main)
    assert status == 0
    assert sorted(rates["groups"]) == [
        f"{each}/{part}" for each in ("Android", "Mic", "iOS") for part in ("dev", "test")
    ]
    assert "AISHELL-2, CER in %" in seen
    assert "dev iOS  test iOS  dev Android  test Android  dev Mic  test Mic" in seen
    rows = pq.read_table(scores).to_pylist()
    assert len(rows) == 24
    for group in [*rates["groups"], None]:
        pairs = [(row["reference"], row["transcript"]) for row in rows if group in (None, row["group"])]
        theirs = jiwer.process_characters([pair[0] for pair in pairs], [pair[1] for pair in pairs])
        ours = rates["groups"][group] if group else rates["all"]
        assert ours["cer"] == pytest.approx(theirs.cer, abs=1e-6)
        assert ours["characters"]["tokens"] == theirs.hits + theirs.substitutions + theirs.deletions
        assert ours["interval"][0] <= ours["cer"] <= ours["interval"][1]
    assert rates["all"]["cer"] == pytest.approx(summary["cer"], abs=1e-5)
    assert 0 < rates["all"]["cer"] < 0.2
    by_speaker = job(out, "evaluate.group=uri", "evaluate.punctuation=false", main=evaluate.main)[1]
    assert len(by_speaker["groups"]) == 24
    assert by_speaker["all"]["characters"]["deletions"] > rates["all"]["characters"]["deletions"]  # the commas count


def test_nothing_to_compare_with_is_told(job: Any, tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "a.wav").write_bytes(encoded(tone(1)))
    status, _, seen = job(f"output.uri={tmp_path / 'out'}", main=evaluate.main)
    assert (status, "has no committed transcripts" in seen) == (2, True)


@given(st.text("abcd ", max_size=12), st.text("abcd ", max_size=12))
def test_edits_are_counted_as_others_do(reference: str, transcript: str) -> None:
    confusions = Counter[tuple[str, str]]()
    edits = compare(reference, transcript, confusions)
    assert sum(confusions.values()) == edits.errors
    if reference.strip():
        theirs = jiwer.process_words(" ".join(reference.replace(" ", "_")), " ".join(transcript.replace(" ", "_")))
        assert edits.errors == theirs.substitutions + theirs.deletions + theirs.insertions
        assert edits.rate == pytest.approx(theirs.wer)


def test_what_is_made_equal_can_be_chosen() -> None:
    text = "ＡＢ c，12。"
    assert normalise(text) == "abc12"
    assert normalise(text, Normalisation(digits="chinese")) == "abc一二"
    assert normalise(text, Normalisation(width=False, case=False)) == "ＡＢc12"
    assert normalise(text, Normalisation(punctuation=False, spaces=False)) == "ab c,12。"
    assert join_texts(["今天", None, "天气"]) == "今天天气"
    assert join_texts(["one two", "", "three"]) == "one two three"
    assert join_texts(["one", "three"]) == "one three"


def test_an_interval_holds_the_rate() -> None:
    draw = np.random.default_rng(1)
    lengths = draw.integers(5, 25, 400)
    held = 0
    for _ in range(40):
        low, high = interval(draw.binomial(lengths, 0.1), lengths, 400)
        held += low <= 0.1 <= high
    assert held >= 35
    many = draw.integers(5, 25, 50_000)
    low, high = interval(draw.binomial(many, 0.1), many, 200)
    assert 0.098 < low < high < 0.102


def test_kaldi_folders(tmp_path: Path) -> None:
    folder = tmp_path / "data"
    (folder / "train").mkdir(parents=True)
    (folder / "train" / "a.wav").write_bytes(encoded(tone(5)))
    (folder / "train" / "wav.scp").write_text(
        "rec1 a.wav\nrec2 sox b.mp3 -t wav - |\nrec3 /etc/passwd\nrec4 gone.wav\n"
    )
    (folder / "train" / "text").write_text("utt1 今天 天气\nutt2 好\nutt3 x\n")
    segments = "utt1 rec1 0.5 2.0\nutt2 rec1 2.0 4.5\nutt3 rec2 0 1\nutt4 rec3 0 1\nutt5 rec9 0 1\nutt6 rec1 one two\n"
    (folder / "train" / "segments").write_text(segments)
    (folder / "train" / "utt2spk").write_text("utt1 s1\nutt2 s2\n")
    for kind in ("auto", "kaldi"):
        listing = list_input(Input(uri=str(folder), format=kind), "/nowhere/out")
        objects = {each.name: each for each in listing.objects}
        lines = [f"train/segments:{number}" for number in (3, 5, 6)]
        assert sorted(objects) == ["rec4", *lines, "utt1", "utt2", "utt4"]
        fields = json.loads(objects["utt1"].lines or "")
        assert (fields["offset"], fields["duration"], fields["text"]) == (0.5, 1.5, "今天 天气")
        assert (fields["speaker"], fields["folder"]) == ("s1", "train")
        assert objects["utt4"].refusal and objects["utt4"].refusal[0] == "outside_input"  # noqa: PT018
        refused = objects["train/segments:3"].refusal
        assert refused is not None
        assert "commands are not run" in refused[1]
        assert listing.files == Files(5, read=4, spoken_of=1)
    (folder / "train" / "segments").unlink()
    whole = {each.name: each for each in list_input(Input(uri=str(folder)), "/nowhere/out").objects}
    assert sorted(whole) == ["rec1", "rec3", "rec4", "train/wav.scp:2"]
    assert io.StringIO(whole["rec1"].lines).read().count("offset") == 0
