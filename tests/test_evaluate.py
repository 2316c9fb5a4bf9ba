"""Error rates that others count the same, by AISHELL-2's conditions among others."""

import io
import json
import re
from collections import Counter
from itertools import product
from pathlib import Path
from typing import Any

import jiwer
import numpy as np
import pyarrow.parquet as pq
import pytest
import soundfile
from conftest import encoded, tone
from hypothesis import given, settings
from hypothesis import strategies as st

from actors.text.normalise import Normalisation, join_texts, normalise
from actors.text.phrases import Phrase, phrases_in
from jobs import evaluate
from jobs.cli.config import Input
from jobs.planning.account import Files
from jobs.planning.listing import list_input
from jobs.transcripts.paired import ErrorsByKey, pair
from jobs.transcripts.phrase_scores import PhraseScore, PhraseScores
from jobs.transcripts.read import Transcript
from jobs.transcripts.scores import Compared
from jobs.transcripts.scoring import Edits, Interval, compare, difference, interval, wilson


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
        if group:
            assert (ours["interval"], ours["interval_method"]) == (None, None)  # of four recordings
        else:
            assert ours["interval"][0] < ours["cer"] < ours["interval"][1]
            assert ours["interval_method"] == "bootstrap"
    assert rates["all"]["cer"] == pytest.approx(summary["cer"], abs=1e-5)
    assert 0 < rates["all"]["cer"] < 0.2
    by_speaker = job(out, "evaluate.group=uri", "evaluate.punctuation=false", main=evaluate.main)[1]
    assert len(by_speaker["groups"]) == 24
    assert by_speaker["all"]["characters"]["deletions"] > rates["all"]["characters"]["deletions"]  # the commas count


@pytest.fixture
def twice(job: Any, aishell: Path, tmp_path: Path) -> tuple[Path, Path]:
    """Two outputs of the same audio: the second of what was heard in much noise, and without two of the recordings."""
    outputs = tmp_path / "clear", tmp_path / "noisy"
    assert job(f"input.uri={aishell}", f"output.uri={outputs[0]}")[0] == 0
    draw = np.random.default_rng(1)
    for path in sorted(aishell.rglob("*.wav")):
        sound, rate = soundfile.read(path)
        soundfile.write(path, sound + draw.normal(0, 1.8 * sound.std(), len(sound)), rate)
    listed = aishell / "iOS" / "dev" / "wav.scp"
    listed.write_text("".join(listed.read_text().splitlines(keepends=True)[2:]))
    assert job(f"input.uri={aishell}", f"output.uri={outputs[1]}")[0] == 0
    return outputs


@pytest.mark.usefixtures("ray_two_cpus")
def test_two_outputs_are_compared(job: Any, twice: tuple[Path, Path], aishell: Path, tmp_path: Path) -> None:
    rows = list[dict[str, Any]]()
    for out in twice:
        scores = tmp_path / f"{out.name}.parquet"
        assert job(f"output.uri={out}", f"evaluate.write={scores}", main=evaluate.main)[0] == 0
        rows.append({row["uri"]: row for row in pq.read_table(scores).to_pylist()})
    common = sorted(rows[0].keys() & rows[1].keys())
    mine, theirs = (np.array([each[uri]["character_errors"] for uri in common]) for each in rows)
    tokens = sum(rows[0][uri]["character_tokens"] for uri in common)
    against = f"evaluate.against={twice[1]}"
    status, summary, seen = job(f"output.uri={twice[0]}", against, main=evaluate.main)
    paired = summary["against"]
    assert (status, paired["uri"], paired["recordings"]) == (0, twice[1].as_uri(), 22)
    assert paired["cer_here"] == pytest.approx(mine.sum() / tokens, abs=1e-6)
    assert paired["cer_there"] == pytest.approx(theirs.sum() / tokens, abs=1e-6)
    assert paired["difference"] == pytest.approx((mine - theirs).sum() / tokens, abs=1e-6)
    assert paired["interval"][0] < paired["difference"] < paired["interval"][1] < 0
    assert paired["p_value"] < 0.01
    counts = [int(each.sum()) for each in (mine < theirs, mine > theirs, mine == theirs)]
    assert [paired[name] for name in ("better", "worse", "equal")] == counts
    assert (paired["only_here"], paired["only_there"], paired["other_references"], paired["failed"]) == (2, 0, 0, 0)
    assert "this output is better" in seen
    assert "2 recordings are only in this output" in seen

    swapped = job(f"output.uri={twice[1]}", f"evaluate.against={twice[0]}", main=evaluate.main)[1]["against"]
    assert (swapped["difference"], swapped["only_there"]) == (-paired["difference"], 2)
    linked, linked_run, damaged = (tmp_path / name for name in ("linked", "linked_run", "damaged"))
    for folder in (linked, linked_run / "_runs", damaged / "_runs" / "000001"):
        folder.mkdir(parents=True)
    (linked / "_commits").symlink_to(twice[1] / "_commits")
    (linked_run / "_runs" / "000001").symlink_to(twice[1])
    (damaged / "_runs" / "000001" / "plan.arrow").write_bytes(b"no plan")
    for uri, told in (
        (twice[0], "is output.uri itself"),
        (f"{twice[0]}/../clear/", "is output.uri itself"),
        (tmp_path / "nothing", "has no committed transcripts"),
        (tmp_path / "clear.parquet", "is not a folder"),
        (linked, "is a link, which is not followed"),
        (linked_run, "is a link, which is not followed"),
        (damaged, "is not a plan"),
        ("http://localhost/x", "cannot be listed over HTTP"),
    ):
        status, _, seen = job(f"output.uri={twice[0]}", f"evaluate.against={uri}", main=evaluate.main)
        assert (status, seen.count("evaluate.against: "), told in seen) == (2, 1, True)

    other = tmp_path / "elsewhere"
    (aishell / "iOS").rename(tmp_path / "moved")
    assert job(f"input.uri={tmp_path / 'moved'}", f"output.uri={other}")[0] == 0
    status, _, seen = job(f"output.uri={twice[0]}", f"evaluate.against={other}", main=evaluate.main)
    assert (status, "has no recording with a reference in common" in seen) == (2, True)


@pytest.mark.usefixtures("ray_two_cpus")
def test_phrases_are_counted(job: Any, twice: tuple[Path, Path], tmp_path: Path) -> None:
    scores, listed = tmp_path / "scores.parquet", tmp_path / "phrases.txt"
    out = f"output.uri={twice[1]}"
    job(out, f"evaluate.write={scores}", main=evaluate.main)
    pairs = [(row["reference"], row["transcript"]) for row in pq.read_table(scores).to_pylist()]
    phrases = sorted({text[at : at + 2] for text, _ in pairs for at in range(0, len(text) - 1, 3)})
    listed.write_text("# of the references\n" + "".join(f"{each}，\t2.5\n" for each in phrases) + "。\n")
    expected = np.array([[text.count(each) for each in phrases] for text, _ in pairs])
    actual = np.array([[text.count(each) for each in phrases] for _, text in pairs])
    hits = np.minimum(expected, actual)
    status, summary, seen = job(out, f"evaluate.phrases={listed}", "evaluate.shown=3", main=evaluate.main)
    found = summary["phrases"]
    assert (status, found["phrases"], found["occurring"]) == (0, len(phrases), len(phrases))
    assert found["in_references"] == expected.sum()
    assert (found["hits"], found["misses"]) == (hits.sum(), (expected - hits).sum())
    assert found["false_alarms"] == (actual - hits).sum() > 0
    assert found["recall"] == pytest.approx(hits.sum() / expected.sum(), abs=1e-6)
    assert found["precision"] == pytest.approx(hits.sum() / actual.sum(), abs=1e-6)
    assert found["recall_interval"][0] < found["recall"] < found["recall_interval"][1]
    wrong = (expected + actual - 2 * hits).sum(axis=0)
    assert [each["misses"] + each["false_alarms"] for each in found["worst"]] == sorted(wrong)[:-4:-1]
    assert "phrases of which nothing is left: 1, first in line" in seen
    for path, told in (
        (tmp_path / "none", "there is no file"),
        (tmp_path, "is not a file"),
        (scores, "neither UTF-8"),
        ("/dev/zero", "is not a file"),
    ):
        status, _, seen = job(out, f"evaluate.phrases={path}", main=evaluate.main)
        assert (status, seen.count("evaluate.phrases: "), told in seen) == (2, 1, True), seen


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


def test_intervals_of_phrases_are_of_recordings_that_have_some() -> None:
    scores = PhraseScores(phrases_in("今天".encode()), Normalisation())
    for _ in range(2):
        scores.add("今天好", "今天好")
    for _ in range(20):
        scores.add("好", "今天好")
    rates = scores.rates(1_000, 0)
    assert (rates.recall, rates.recall_interval) == (1.0, None)  # of two recordings
    assert rates.precision_interval is not None
    assert rates.precision_interval[0] < 2 / 22 < rates.precision_interval[1]
    assert rates.precision_interval_method == "bootstrap"
    never = PhraseScores(phrases_in("今天".encode()), Normalisation())
    for _ in range(6):
        never.add("好", "今天好")
    rates = never.rates(100, 0)
    assert (rates.recall_interval, rates.recall_interval_method) == (None, None)
    assert (rates.precision_interval, rates.precision_interval_method) == ((0.0, 0.39033), "wilson")
    assert (rates.with_errors, rates.worst) == (1, [])


def test_an_interval_holds_the_rate() -> None:
    draw = np.random.default_rng(1)
    lengths = draw.integers(5, 25, 400)
    held = 0
    for _ in range(40):
        found = interval(draw.binomial(lengths, 0.1), lengths, 400)
        assert found
        assert found.method == "bootstrap"
        held += found.low <= 0.1 <= found.high
    assert held >= 35
    many = draw.integers(5, 25, 50_000)
    found = interval(draw.binomial(many, 0.1), many, 200)
    assert found
    assert 0.098 < found.low < found.high < 0.102


def test_an_interval_of_what_is_alike_is_wilsons() -> None:
    """By hand, and by scipy.stats.binomtest(k, n).proportion_ci(method="wilson")."""
    square = 1.959964**2
    for count, tokens in ((5, 10), (100, 30)):
        found = interval([0] * count, [tokens] * count, 1_000)
        assert found == Interval(0.0, pytest.approx(square / (count * tokens + square), abs=1e-6), "wilson")
    for errors, tokens, low, high in (
        (1, 4, 0.111862, 0.468701),  # 5 of 20
        (4, 4, 0.838875, 1.0),  # 20 of 20
    ):
        assert interval([errors] * 5, [tokens] * 5, 1_000) == Interval(
            pytest.approx(low, abs=1e-6), pytest.approx(high, abs=1e-6), "wilson"
        )
    assert interval([1, 2, 3, 4, 5, 6], [10, 20, 30, 40, 50, 60], 100) == wilson(21, 210)
    assert interval([9] * 8, [4] * 8, 100) is None  # more errors than tokens: no share of them
    one_sample = interval([0, 1, 2, 0, 1, 4], [9] * 6, 1)
    assert one_sample
    assert one_sample.low < 8 / 54 < one_sample.high


def test_few_recordings_have_no_interval() -> None:
    for count in range(5):
        assert interval([0] * count, [1_000] * count, 100) is None
        assert interval([*range(count)], [1_000] * count, 100) is None
        assert difference([*range(count)], [0] * count, [1_000] * count, 100).interval is None
    assert interval([3, 0, 1, 2, 1, 1], [9, 9, 9, 9, 0, 0], 100) is None  # two have only insertions
    assert interval([3, 0, 1, 2, 1], [9] * 5, 100) is not None
    assert difference([3, 0, 1, 2, 1], [0, 0, 1, 2, 1], [9] * 5, 100).interval is not None
    nothing = difference([1, 2, 3, 4, 5, 6], [1, 2, 3, 4, 5, 6], [9] * 6, 100)
    assert (nothing.interval, nothing.p_value) == (None, 1)
    assert difference([2] * 6, [1] * 6, [9] * 6, 100).interval is None  # the same in each


def test_a_difference_is_tested() -> None:
    draw = np.random.default_rng(2)
    mine, theirs, tokens = draw.integers(0, 4, 12), draw.integers(0, 5, 12), draw.integers(8, 20, 12)
    tested = difference(mine, theirs, tokens, 20_000)
    signs = np.array(list(product((-1, 1), repeat=12)))
    far = np.abs(signs @ (mine - theirs)) >= abs((mine - theirs).sum())
    assert tested.p_value == pytest.approx(far.mean(), abs=0.015)  # all 4,096 ways to swap
    drawn = draw.integers(0, 12, (20_000, 12))
    rates = (mine - theirs)[drawn].sum(axis=1) / tokens[drawn].sum(axis=1)
    assert tested.interval == pytest.approx(tuple(np.quantile(rates, [0.025, 0.975])), abs=0.004)
    assert difference(mine, mine, tokens, 100).p_value == 1
    assert difference([1], [0], [5], 100).p_value == 1  # one recording shows nothing
    many = draw.integers(5, 25, 30_000)
    errors = draw.binomial(many, 0.1)
    assert difference(errors, draw.permutation(errors), many, 300).p_value > 0.01
    assert difference(errors, draw.binomial(many, 0.105), many, 300).p_value < 0.02


def recording(uri: str, errors: int, reference: str = "今天天气", channel: int | None = None) -> Compared:
    row = {"recording_id": uri, "uri": uri, "member": None, "offset_s": None, "stretch_s": None, "channel": channel}
    edits = Edits(len(reference), substitutions=errors)
    return Compared(Transcript([row]), "all", reference, "", reference, "", edits, edits)


def test_recordings_are_paired_by_their_keys() -> None:
    here, there = ErrorsByKey(), ErrorsByKey()
    for each in ("a", 1), ("b", 0), ("c", 2), ("d", 3), ("only here", 9):
        here.add(recording(*each))
    here.add(recording("call", 1, channel=0))
    here.add(recording("call", 2, channel=1))
    for each in ("d", 0), ("b", 1), ("a", 1), ("only there", 9), ("only there \udcff", 9):
        there.add(recording(*each))
    there.add(recording("c", 9, "另一个"))
    there.add(recording("call", 4, channel=1))
    paired = pair(here, there, 100)
    assert paired is not None
    assert (paired.recordings, paired.only_here, paired.only_there, paired.other_references) == (4, 2, 2, 1)
    assert (paired.better, paired.worse, paired.equal) == (2, 1, 1)
    assert (paired.cer_here, paired.cer_there, paired.difference) == (6 / 16, 6 / 16, 0)
    assert paired.p_value == 1
    assert pair(here, ErrorsByKey(), 100) is None
    assert pair(ErrorsByKey(), there, 100) is None


def test_chance_is_rarely_called_a_difference() -> None:
    draw, found = np.random.default_rng(5), 0
    for _ in range(200):
        lengths = draw.integers(5, 25, 60)
        outputs = draw.binomial(lengths, 0.1), draw.binomial(lengths, 0.1)
        found += difference(*outputs, lengths, 200).p_value < 0.05
    assert 2 <= found <= 22  # 10 are expected


@settings(max_examples=300, deadline=None)
@given(
    st.dictionaries(st.text("今天a ", min_size=1, max_size=3), st.none(), min_size=1, max_size=5),
    st.lists(st.tuples(st.text("今天ab ", max_size=9), st.text("今天ab ", max_size=9)), max_size=4),
)
def test_phrases_as_counted_by_expressions(phrases: dict[str, None], pairs: list[tuple[str, str]]) -> None:
    listed = [Phrase(each, None, line) for line, each in enumerate(phrases, 1)]
    scores = PhraseScores(listed, Normalisation())
    plain = [tuple(normalise(text, Normalisation(spaces=False)) for text in both) for both in pairs]
    for both in plain:
        scores.add(*both)
    rates = scores.rates(50, 100)
    found = Counter[str]()
    forms = {re.sub(r"(?<=[今天]) | (?=[今天])", "", " ".join(each.split())) for each in phrases} - {""}
    for form in forms:
        whole = rf"(?={'(?<![ab])' if form[0] == 'a' else ''}{form}{'(?![ab])' if form[-1] == 'a' else ''})"
        for both in plain:
            here, there = (len(re.findall(whole, re.sub(r"(?<=[今天]) | (?=[今天])", "", text))) for text in both)
            found.update(expected=here, hits=min(here, there), actual=there)
    assert (rates.in_references, rates.hits) == (found["expected"], found["hits"])
    assert rates.hits + rates.false_alarms == found["actual"]
    assert rates.phrases == len(forms)
    assert (rates.recall is None) == (found["expected"] == 0)
    assert len(scores.empty) == sum(not each.strip() for each in phrases)


def test_phrases_of_words_are_whole_words() -> None:
    scores = PhraseScores([Phrase("New York", 1.0, 1), Phrase("art", None, 2)], Normalisation())
    scores.add("new york has art", "newyork has party art")
    scores.add("i like art", "i like smart art art")
    by_phrase = {each.phrase: each for each in scores.rates(10, 9).worst}
    assert by_phrase["New York"] == PhraseScore("New York", 1, 1, 0, 1, 0)
    assert by_phrase["art"] == PhraseScore("art", 2, 2, 2, 0, 1)


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
