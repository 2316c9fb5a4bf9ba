"""References are aligned to what was heard: words are where they are said, and what is not said has a low score."""

import json
import random
import shutil
from collections.abc import Callable, Iterator, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
from conftest import encoded, make_tokenizer
from heard_folders import hear_folder
from hypothesis import example, given, settings
from hypothesis import strategies as st

from actors.engine.interface import CODES_PER_NAT, THRESHOLD, Candidates
from actors.engine.vocabulary import Vocabulary
from actors.sources.objects import ReadSettings
from actors.text import compiled, forced
from actors.text.alignment import align_tokens
from actors.text.emissions import Heard
from actors.text.forced import Aligner, Unaligned
from actors.text.references import Referring, word_spans
from jobs import align, export
from jobs.cli.config import ConfigError, Input
from jobs.planning.listing import list_input
from jobs.transcripts import aligned as aligned_files
from jobs.transcripts.read import Transcript, recordings_of

RATE = 16_000
LETTERS = Vocabulary(tuple("abcdefghijkl"))
BLANK = len("abcdefghijkl")
UNLIKELY = 8.0  # nats below the best, of a candidate that is not


def heard(path: Sequence[int], start_s: float = 0.0, previous: int | None = None, blank: int = BLANK) -> Heard:
    """What is heard if one class is all but sure in each frame; frames last 0.1 s."""
    best = np.array(path, np.uint16)
    codes = np.where(best == blank, 0, round(UNLIKELY * CODES_PER_NAT)).astype(np.uint16)
    is_token = best != blank
    candidates = Candidates(is_token.astype(np.uint8), best[is_token], np.zeros(is_token.sum(), np.uint16), codes)
    end_s = start_s + 0.1 * len(path)
    return Heard(start_s, end_s, 0.1, previous, best, np.ones(len(path), np.float32), False, candidates)


def path_of(text: str) -> list[int]:
    """A dot is a blank."""
    return [BLANK if char == "." else ord(char) - ord("a") for char in text]


def aligned(reference: str, *segments: Heard | None, unheard: Sequence[Any] | None = None) -> Any:
    return Aligner(LETTERS)(reference, segments, unheard or [None] * len(segments))


def times(spans: Sequence[Any]) -> list[tuple[str, float, float]]:
    return [(each.text, round(each.start_s, 3), round(each.end_s, 3)) for each in spans]


def test_a_token_reaches_into_the_blanks_beside_it() -> None:
    found = aligned("abc", heard(path_of("....aa..b....c....")))
    (segment,) = found.segments
    assert times(segment.tokens) == [("a", 0.28, 0.7), ("b", 0.7, 1.06), ("c", 1.18, 1.56)]
    assert (segment.reference, segment.score, found.score, found.left_out) == ("abc", 0.0, 0.0, 0)
    assert times(segment.words) == [("abc", 0.28, 1.56)]  # no script of characters: one word


def test_a_score_is_what_the_reference_costs_a_token() -> None:
    """By the tokens of whichever has more; what is in no frame costs the threshold, what is not said the blank."""
    sound = heard(path_of("..a..b..c.."))
    assert aligned("abc", sound).score == 0
    assert aligned("ab", sound).score == pytest.approx(-UNLIKELY / 3, abs=1e-3)
    assert aligned("abcd", sound).score == pytest.approx(THRESHOLD / 4, abs=1e-3)
    assert aligned("abd", sound).score == pytest.approx(THRESHOLD / 3, abs=1e-3)
    assert aligned("a", heard(path_of("....")), heard(path_of("..a."))).segments[0].score is None  # nobody says a word


def test_the_segments_of_a_recording_share_a_reference() -> None:
    left, right = heard(path_of(".a.b.")), heard(path_of(".b.c."), 10.0)
    first, last = aligned("abbc", left, right).segments
    assert (first.reference, last.reference) == ("abbc", "")  # a word belongs to the segment that it begins in
    first, last = aligned("ab bc", left, right).segments
    assert (first.reference, last.reference) == ("ab", "bc")
    assert times(first.tokens)[-1] == ("b", 0.25, 0.5)
    assert times(last.tokens)[0] == ("b", 10.0, 10.25)  # not before its segment
    assert (first.score, last.score) == (0, 0)


def test_the_same_token_can_end_a_segment_and_begin_the_next() -> None:
    segments = heard(path_of("..a")), heard(path_of("a.."), 0.3)
    assert aligned("aa", *segments).score == 0
    joined = segments[0], segments[1]._replace(previous=0)  # one token, of both
    assert aligned("a", *joined).score == 0
    assert aligned("aa", *joined).score < -1
    assert times(aligned("a", *joined).segments[0].tokens) == [("a", 0.08, 0.3)]


def test_a_word_between_two_segments_that_nobody_says_costs_as_within_one() -> None:
    segments = [heard(path_of(path), start) for path, start in ((".a.b.", 0.0), (".c.d.", 9.0), (".e.f.", 20.0))]
    assert aligned("ab cd ef", *segments).score == pytest.approx(0, abs=1e-3)
    for reference in ("ab g cd ef", "ab cd g ef", "a g b cd ef"):
        found = aligned(reference, *segments)
        assert found.score == pytest.approx(THRESHOLD / 7, abs=1e-3)
        assert min(each.score for each in found.segments) == pytest.approx(THRESHOLD / 3, abs=1e-3)
    assert aligned("ab g cd h ef", *segments).score == pytest.approx(2 * THRESHOLD / 8, abs=1e-3)


def test_there_is_no_room_between_segments() -> None:
    segments = heard(path_of("ab")), heard(path_of("cd"), 9.0)
    assert aligned("abcd", *segments).score == 0
    assert aligned("abecd", *segments).unaligned == Unaligned.TOO_LONG
    assert aligned("abecd", segments[0], None, segments[1], unheard=[None, (0.2, 9.0), None]).score == 0


def test_what_was_not_heard_is_where_nothing_was() -> None:
    left, right = heard(path_of(".a.b.")), heard(path_of(".c.d."), 4.5)
    first, gone, last = aligned("ab efg cd", left, None, right, unheard=[None, (0.5, 4.5), None]).segments
    assert [each.reference for each in (first, gone, last)] == ["ab", "efg", "cd"]
    assert (first.score, gone.score, last.score) == (0, None, 0)
    assert gone.unaligned == Unaligned.NOT_HEARD
    assert all(0.5 <= begin < end <= 4.5 for _, begin, end in times(gone.tokens))
    # Dropped silence has no words: there is no room for them, so they spoil the scores beside it.
    silent = aligned("ab efg cd", left, None, right)
    assert silent.segments[1].reference == ""
    assert silent.score < -2


def test_what_was_not_heard_takes_no_more_memory_than_it_may() -> None:
    segments = [None, heard(path_of(".a.")), *[None] * 2_000]
    found = aligned("bcd a bcd", *segments, unheard=[(0.0, 1e7), None, *[(1e7, 2e7)] * 2_000])
    assert found.segments[1].score == 0
    assert found.segments[1].reference == "a"


@pytest.mark.parametrize(
    ("reference", "segments", "why"),
    [
        ("abcabcabc", [heard(path_of("abc"))], Unaligned.TOO_LONG),
        ("aa", [heard(path_of("ab"))], Unaligned.TOO_LONG),
        ("今天 !", [heard(path_of(".a."))], Unaligned.UNSPELLABLE),
        ("。", [heard(path_of(".a."))], Unaligned.UNSPELLABLE),
        ("ab", [None, None], Unaligned.NOT_HEARD),
        ("ab", [heard([])], Unaligned.NOT_HEARD),
    ],
)
def test_what_cannot_be_aligned_says_why(reference: str, segments: list[Heard | None], why: Unaligned) -> None:
    found = aligned(reference, *segments)
    assert (found.unaligned, found.score) == (why, None)
    assert found.segments[0].reference == reference
    assert {each.unaligned for each in found.segments} == {why}


def test_characters_that_cannot_be_written_are_left_out_and_counted() -> None:
    found = aligned("«Ab今, c天天!»", heard(path_of(".a.b..c..")))
    assert (found.left_out, found.score) == (3, 0)
    assert [each.text for each in found.segments[0].words] == ["«Ab今,", "c天天!»"]
    assert found.segments[0].reference == "«Ab今, c天天!»"


LONG = "".join(random.Random(4).choices("abcdefghijkl", k=3_000))


def long_sound(wrong: int) -> list[Heard]:
    """Twenty segments in which the text is said but for every so-many-th letter."""
    draw, segments = random.Random(1), list[Heard]()
    for number in range(20):
        path = list[int]()
        for place, char in enumerate(LONG[150 * number : 150 * (number + 1)]):
            said = draw.choice("abcdefghijkl") if (place + 1) % wrong == 0 else char
            path += [BLANK, *path_of(said) * draw.randint(1, 2), BLANK]
        segments.append(heard(path, 100.0 * number))
    return segments


@pytest.mark.parametrize("wrong", [10_000, 23])
def test_a_long_reference_is_aligned_in_parts_as_it_would_be_whole(wrong: int, monkeypatch: pytest.MonkeyPatch) -> None:
    sounds = long_sound(wrong)
    whole = aligned(LONG, *sounds)
    monkeypatch.setattr(forced, "_PART_STEPS", 100_000)
    calls = list[int]()

    def counted(ids: Sequence[int], *rest: Any, **named: Any) -> Any:
        calls.append(len(ids))
        return align_tokens(ids, *rest, **named)

    monkeypatch.setattr(forced, "align_tokens", counted)
    assert aligned(LONG, *sounds) == whole
    assert len(calls) > 5
    assert sum(calls) == len(LONG)


def test_a_place_that_is_not_sure_after_all_costs_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(forced, "_divisions", lambda ids, joined: [(2_900, 100)])
    found = aligned(LONG, *long_sound(10_000))
    assert found.score == 0


def test_a_long_reference_of_something_else_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(forced, "_PART_STEPS", 1_000)
    monkeypatch.setattr(forced, "_MAX_STEPS", 100_000)
    assert aligned(LONG[::-1], *long_sound(10_000)).unaligned == Unaligned.UNLIKE


TEXTS = st.text(st.sampled_from("abz ,.!«» \n今天。《》(\u0301é①Ａ3\u200b\x00"), max_size=40)


@given(TEXTS)
@example("«ab» (cd)")
def test_words_make_up_the_text(text: str) -> None:
    spans = list(word_spans(text))
    assert [text[begin:stop] for begin, stop in spans] == [
        each for each in (text[b:s].strip() for b, s in spans) if each
    ]
    assert all(left[1] <= right[0] for left, right in pairwise(spans))
    assert "".join(text[begin:stop] for begin, stop in spans) == "".join(text.split())


def sentencepiece_vocabulary(folder: Path) -> Vocabulary:
    return Vocabulary((make_tokenizer(folder / "pieces") / "tokenizer.model").read_bytes())


@pytest.fixture(scope="module")
def vocabularies(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Vocabulary]:
    return {
        "letters": LETTERS,
        "spaced": Vocabulary(tuple("abcdz 今天'")),
        "syllables": Vocabulary(("ab", "a", "b", " ", "今天", "今", "天")),
        "pieces": sentencepiece_vocabulary(tmp_path_factory.mktemp("pieces")),
    }


@settings(max_examples=200, deadline=None)
@given(text=TEXTS, name=st.sampled_from(["letters", "spaced", "syllables", "pieces"]))
def test_a_reference_keeps_its_text_and_has_all_of_its_tokens(
    text: str, name: str, vocabularies: dict[str, Vocabulary]
) -> None:
    found = Referring(vocabularies[name])(text)
    if not found.ids:
        return
    assert found.text_of(0, len(found.words)).strip() == found.source.strip()
    written = sum(bool(each.strip()) for each in found.token_texts)
    assert len({token for word in found.words for token in range(word.first, word.end)}) >= written
    assert all(word.first < word.end <= len(found.ids) for word in found.words)
    assert "".join(found.source.split()) == "".join(text.split())


def test_words_of_pieces_have_the_times_of_their_pieces(tmp_path: Path) -> None:
    import sentencepiece

    vocabulary = sentencepiece_vocabulary(tmp_path)
    words = (tmp_path / "pieces" / "text").read_text().split()[:3]
    processor = sentencepiece.SentencePieceProcessor(model_proto=vocabulary.tokens)
    blank, path, begins = processor.get_piece_size(), list[int](), list[float]()
    for word in words:
        path += [blank] * 3
        begins.append(0.1 * len(path))
        for token in processor.encode(word):
            path += [token, blank]
    reference = f"{words[0].upper()}, {words[1]}  {words[2]}."
    (segment,) = Aligner(vocabulary)(reference, [heard(path, blank=blank)], [None]).segments
    assert segment.score == 0
    assert segment.reference == reference
    assert [each.text for each in segment.words] == reference.split()
    assert [each.start_s for each in segment.words] == pytest.approx(begins, abs=0.13)


# On speech of the demo


def onset_and_end(sound: np.ndarray) -> tuple[float, float]:
    """Where speech begins and ends, in seconds, by its level."""
    level = np.sqrt(np.convolve(sound**2, np.ones(320) / 320, "same"))
    there = np.flatnonzero(level > 0.05 * level.max())
    return there[0] / RATE, there[-1] / RATE


def aligned_rows(output: Path) -> list[dict[str, Any]]:
    return [row for path in sorted((output / "_align").iterdir()) for row in pq.read_table(path).to_pylist()]


def where(output: Path) -> str:
    return f"output.uri={output}"


@pytest.fixture
def tape(tmp_path: Path, speech: list[tuple[np.ndarray, str]]) -> tuple[Path, list[tuple[str, float, float]]]:
    """A recording of several minutes of sentences with silence between them, and when each begins and ends."""
    folder, draw = tmp_path / "tape", np.random.default_rng(2)
    folder.mkdir()
    parts, known, place = [np.zeros(RATE // 2)], list[tuple[str, float, float]](), 0.5
    for sound, said in [*speech, *speech[::-1]]:
        begin, end = onset_and_end(sound)
        known.append((said, place + begin, place + end))
        silence = np.zeros(int(draw.uniform(0.4, 4.0) * RATE))
        parts += [sound, silence]
        place += (len(sound) + len(silence)) / RATE
    (folder / "tape.wav").write_bytes(encoded(np.concatenate(parts)))
    (folder / "tape.txt").write_text("，".join(said for said, _, _ in known) + "。")
    return folder, known


@pytest.mark.parametrize("drops_silence", [False, True])
def test_sentences_and_characters_are_where_they_are_said(
    job: Any, tape: Any, speech: Any, tmp_path: Path, drops_silence: bool
) -> None:
    folder, known = tape
    alone = tmp_path / "alone"
    alone.mkdir()
    for number, (sound, said) in enumerate(speech):
        (alone / f"{number:02d}.wav").write_bytes(encoded(sound))
        (alone / f"{number:02d}.txt").write_text(said)
    hear_folder(folder, tmp_path / "out", reading=ReadSettings(vad=drops_silence, drops_silence=drops_silence))
    hear_folder(alone, tmp_path / "alone-out")
    status, told, _ = job(where(tmp_path / "out"), main=align.main)
    assert (status, told["recordings"], told["suspicious"]) == (0, 1, 0)
    assert job(where(tmp_path / "alone-out"), main=align.main)[0] == 0
    rows = aligned_rows(tmp_path / "out")
    assert len(rows) > 5
    assert "".join(row["reference"] for row in rows) == (folder / "tape.txt").read_text()
    words, place = [each for row in rows for each in row["words"]], 0
    starts, ends, characters = list[float](), list[float](), list[float]()
    by_text = {"".join(each["token"] for each in row["tokens"]): row for row in aligned_rows(tmp_path / "alone-out")}
    for said, begin, end in known:
        own = words[place : place + len(said)]
        place += len(said)
        assert "".join(each["word"] for each in own).strip("，。") == said
        starts.append(own[0]["start_s"] - begin)
        ends.append(own[-1]["end_s"] - end)
        sound = next(sound for sound, other in speech if other == said)
        offset = begin - onset_and_end(sound)[0]
        characters += [
            left["start_s"] - offset - right["start_s"] for left, right in zip(own, by_text[said]["words"], strict=True)
        ]
    for errors in (starts, ends, characters):
        assert np.median(np.abs(errors)) < 0.1
    assert np.quantile(np.abs(starts), 0.9) < 0.3
    assert all(left["end_s"] <= right["start_s"] + 1e-9 for left, right in pairwise(words))


def test_a_word_after_a_pause_is_where_it_is_said(job: Any, speech: Any, tmp_path: Path) -> None:
    """Characters whose times are known: those beside a silence that was put into a sentence, between two of them."""
    plain, cut = tmp_path / "plain", tmp_path / "cut"
    for folder in (plain, cut):
        folder.mkdir()
        for number, (_, said) in enumerate(speech):
            (folder / f"{number:02d}.txt").write_text(said)
    for number, (sound, _) in enumerate(speech):
        (plain / f"{number:02d}.wav").write_bytes(encoded(sound))
    hear_folder(plain, tmp_path / "plain-out")
    assert job(where(tmp_path / "plain-out"), main=align.main)[0] == 0
    places = dict[str, tuple[int, float]]()
    for row in aligned_rows(tmp_path / "plain-out"):
        words = row["words"]
        at = len(words) // 2
        places[row["recording_id"]] = (at, (words[at - 1]["end_s"] + words[at]["start_s"]) / 2)
    for number, (sound, _) in enumerate(speech):
        name = f"{number:02d}.wav"
        sample = int(places[name][1] * RATE)
        quiet = (
            sample - 800 + int(np.argmin(np.convolve(sound[sample - 800 : sample + 800] ** 2, np.ones(160), "same")))
        )
        places[name] = (places[name][0], quiet / RATE)
        (cut / name).write_bytes(encoded(np.concatenate([sound[:quiet], np.zeros(2 * RATE), sound[quiet:]])))
    hear_folder(cut, tmp_path / "cut-out")
    assert job(where(tmp_path / "cut-out"), main=align.main)[0] == 0
    errors = list[float]()
    for row in aligned_rows(tmp_path / "cut-out"):
        at, second = places[row["recording_id"]]
        errors.append(abs(row["words"][at - 1]["end_s"] - second))
        errors.append(abs(row["words"][at]["start_s"] - second - 2.0))
    assert np.median(errors) < 0.1


def noisy(sound: np.ndarray, decibels: float, draw: np.random.Generator) -> np.ndarray:
    noise = draw.standard_normal(len(sound))
    mixed = sound + noise * np.sqrt((sound**2).mean() / 10 ** (decibels / 10))
    return mixed / np.abs(mixed).max()


def test_shuffled_references_score_below_right_ones(job: Any, speech: Any, tmp_path: Path) -> None:
    """Also in noise of which a quarter of the characters is not understood, and of a similar length."""
    draw, folders = np.random.default_rng(6), (tmp_path / "right", tmp_path / "wrong")
    for folder in folders:
        folder.mkdir()
    by_length = sorted(speech, key=lambda each: len(each[1]))
    following = {said: other for (_, said), (_, other) in pairwise([*by_length, by_length[0]])}
    for number in range(8 * len(speech)):
        sound, said = speech[number % len(speech)]
        name = f"{number:03d}"
        content = encoded(noisy(sound, draw.uniform(-9, 20), draw))
        for folder, reference in zip(folders, (said, following[said]), strict=True):
            (folder / f"{name}.wav").write_bytes(content)
            (folder / f"{name}.txt").write_text(reference)
    scores = list[dict[str, float]]()
    for folder in folders:
        output = folder.parent / f"{folder.name}-out"
        hear_folder(folder, output)
        status, told, _ = job(where(output), main=align.main)
        assert status == 0
        scores.append({row["recording_id"]: row["recording_score"] for row in aligned_rows(output)})
    right, wrong = scores
    assert len(right) == 8 * len(speech)
    assert sum(score is None for score in wrong.values()) <= 0.01 * len(right)  # aligned, too, and told by its score
    below = [wrong[name] < right[name] for name in right if wrong[name] is not None]
    assert np.mean(below) >= 0.99
    assert told["suspicious"] >= 0.99 * len(right)  # by the default min_score


# The job


@pytest.fixture
def output(speech: Any, tmp_path: Path) -> Path:
    """Three recordings with references, one of them wrong, one without, and one that is broken."""
    folder = tmp_path / "audio"
    folder.mkdir()
    for number, (sound, said) in enumerate(speech[:4]):
        (folder / f"{number}.wav").write_bytes(encoded(sound))
        if number != 3:
            (folder / f"{number}.txt").write_text(said)
    (folder / "2.txt").write_text(speech[1][1])
    (folder / "broken.wav").write_bytes(b"RIFF")
    (folder / "broken.txt").write_text("今天")
    hear_folder(folder, tmp_path / "out")
    return tmp_path / "out"


def test_the_job_writes_columns_and_tells_what_does_not_fit(job: Any, output: Path, speech: Any) -> None:
    status, told, seen = job(where(output), main=align.main)
    assert status == 0
    assert (told["recordings"], told["segments"], told["suspicious"], told["without_reference"]) == (3, 3, 1, 1)
    assert told["unaligned"]["not_heard"] == 1
    assert told["scores"]["0.5"] == 0
    assert seen.index("2.wav") < seen.index("0.wav")  # the lowest first
    rows = {row["recording_id"]: row for row in aligned_rows(output)}
    assert list(rows) == ["0.wav", "1.wav", "2.wav", "broken.wav"]
    assert (rows["0.wav"]["reference"], rows["0.wav"]["score"]) == (speech[0][1], pytest.approx(0, abs=0.1))
    assert [each["token"] for each in rows["0.wav"]["tokens"]] == list(speech[0][1])
    assert rows["2.wav"]["score"] < -3
    broken = rows["broken.wav"]
    assert (broken["reference"], broken["unaligned"], broken["words"]) == ("今天", "not_heard", None)


def test_a_second_run_writes_the_same_and_removes_what_is_old(job: Any, output: Path) -> None:
    assert job(where(output), main=align.main)[0] == 0
    (path,) = (output / "_align").iterdir()
    content = path.read_bytes()
    for name in ("aligned-0a.00ff.parquet", "aligned-0b.00ff.parquet", "mine.parquet"):
        (output / "_align" / name).write_bytes(b"x")
    assert job(where(output), main=align.main)[0] == 0
    assert {each.name for each in (output / "_align").iterdir()} == {path.name, "mine.parquet"}
    assert path.read_bytes() == content


def test_what_is_needed_is_named(job: Any, output: Path, tmp_path: Path, lively_model: Callable[..., Path]) -> None:
    status, told, _ = job(where(tmp_path / "none"), main=align.main)
    assert (status, "run python -m jobs.transcribe first" in told["error"]) == (2, True)
    other = lively_model("other letters")
    status, told, _ = job(where(output), f"model.name={other}", main=align.main)
    assert (status, "another model" in told["error"]) == (2, True)
    hear_folder(tmp_path / "audio", tmp_path / "without", keeps=False)
    status, told, _ = job(where(tmp_path / "without"), main=align.main)
    assert (status, "output.emissions=true" in told["error"]) == (2, True)
    status, told, _ = job(where(output), "export.text=reference", main=export.main)
    assert (status, "run python -m jobs.align first" in told["error"]) == (2, True)
    for path in (tmp_path / "audio").glob("*.txt"):
        path.unlink()
    hear_folder(tmp_path / "audio", tmp_path / "mute")
    status, told, _ = job(where(tmp_path / "mute"), main=align.main)
    assert (status, "no recording has a reference" in told["error"]) == (2, True)


def test_recordings_without_reference_need_no_emissions(job: Any, output: Path, speech: Any, tmp_path: Path) -> None:
    mute, told_of = tmp_path / "mute", tmp_path / "told"
    for folder in (mute, told_of):
        folder.mkdir()
        for name in ("a", "b"):
            (folder / f"{name}.wav").write_bytes(encoded(speech[0][0]))
    (mute / "a.txt").write_text(" \n")
    (told_of / "b.txt").write_text(speech[0][1])
    hear_folder(mute, output, keeps=False, unit_id="0b")
    status, told, seen = job(where(output), main=align.main)
    assert (status, told["recordings"], "no emissions" in seen) == (0, 3, False)
    hear_folder(told_of, output, keeps=False, unit_id="0c")
    status, told, seen = job(where(output), main=align.main)
    assert (status, told["recordings"]) == (1, 3)
    assert "1 recordings of " in seen


def test_aligned_references_below_an_input_are_no_recordings(job: Any, output: Path, tmp_path: Path) -> None:
    audio, options = tmp_path / "audio", (where(output), f"align.uri={tmp_path / 'audio' / 'times'}")
    before = list_input(Input(uri=str(audio)), str(output))
    assert job(*options, main=align.main)[0] == 0
    assert job(where(output), main=align.main)[0] == 0
    shutil.copytree(output / "_align", audio / "other" / "_align")
    for more in ({}, {"uri_column": "uri"}):
        found = list_input(Input.model_validate({"uri": str(audio), **more}), str(tmp_path / "new"))
        assert found.files.skipped["made by jobs.align"] == 2
        assert not any("aligned-" in each.uri for each in found.objects)
    assert list_input(Input(uri=str(audio)), str(tmp_path / "new")).objects == before.objects
    with pytest.raises(ConfigError, match=r"to transcribe: 9 excluded, 2 made by jobs\.align"):
        list_input(Input(uri=str(audio), format="parquet"), str(tmp_path / "new"))
    (path,) = (audio / "times").iterdir()
    with pytest.raises(ConfigError, match=r"yields nothing to transcribe: 1 made by jobs\.align"):
        list_input(Input(uri=str(audio / "times")), str(tmp_path / "new"))
    assert [each.format for each in list_input(Input(uri=str(path)), str(tmp_path / "new")).objects] == ["parquet"]


@pytest.mark.parametrize("name", [".", "_commits", "link"])
def test_references_are_not_written_among_the_files_of_runs(job: Any, output: Path, name: str) -> None:
    (output.parent / "link").symlink_to(output)
    place = output.parent / "link" if name == "link" else output / name
    status, told, _ = job(where(output), f"align.uri={place}", main=align.main)
    assert (status, "align.uri: " in told["error"]) == (2, True)
    assert not list(output.rglob("aligned-*"))


def harmed(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-9] + b"x" * 9)


@pytest.mark.parametrize("harm", [harmed, Path.unlink])
def test_a_part_without_its_emissions_costs_itself_alone(job: Any, output: Path, harm: Any, tmp_path: Path) -> None:
    hear_folder(tmp_path / "audio", output, unit_id="0b")
    (path,) = (output / "_emissions").glob("0a.*")
    harm(path)
    status, told, seen = job(where(output), main=align.main)
    assert (status, told["recordings"]) == (1, 3)
    assert "emissions" in seen
    assert [each.name[:10] for each in (output / "_align").iterdir()] == ["aligned-0b"]


def test_references_are_exported_with_their_times(job: Any, output: Path, speech: Any, tmp_path: Path) -> None:
    assert job(where(output), main=align.main)[0] == 0

    def exported(kind: str, *more: str) -> tuple[Path, dict[str, Any]]:
        into = tmp_path / kind
        status, told, _ = job(
            where(output), "export.text=reference", f"export.format={kind}", f"export.uri={into}", *more,
            main=export.main,
        )  # fmt: skip
        assert status == 0
        return into, told

    status, told, _ = job(where(output), "export.text=reference", main=export.main)
    assert (status, told["export"].endswith("/_export/srt-reference")) == (0, True)
    into, told = exported("srt")
    assert (told["recordings"], told["unaligned"]) == (3, 2)
    assert speech[1][1][:8] in (into / "2.srt").read_text()  # what the reference says, not what is said
    into, _ = exported("textgrid")
    assert f'text = "{speech[0][1]}"' in (into / "0.TextGrid").read_text()
    into, _ = exported("manifest", "export.min_confidence=0.2")
    lines = [json.loads(line) for line in (into / "all.json").read_text().splitlines()]
    assert [line["text"] for line in lines] == [speech[0][1], speech[1][1]]  # the wrong one is left out
    into, _ = exported("jsonl")
    first = json.loads((into / "all.jsonl").read_text().splitlines()[0])
    assert "".join(each["token"] for each in first["segments"][0]["tokens"]) == speech[0][1]


def test_a_reference_has_no_written_form_of_what_was_heard(
    job: Any, output: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert job(where(output), main=align.main)[0] == 0

    def with_written(*arguments: Any) -> Iterator[Transcript]:
        for each in recordings_of(*arguments):
            yield Transcript([row | {"written": "11"} for row in each.rows], fault=each.fault)

    monkeypatch.setattr(aligned_files, "recordings_of", with_written)
    keys = ("export.text=reference", "export.format=jsonl", f"export.uri={tmp_path / 'into'}")
    assert job(where(output), *keys, main=export.main)[0] == 0
    lines = [json.loads(line) for line in (tmp_path / "into" / "all.jsonl").read_text().splitlines()]
    assert [line["written"] for line in lines] == [None] * 3
    assert not any("written" in segment for line in lines for segment in line["segments"])


def test_damaged_columns_are_not_exported(job: Any, output: Path) -> None:
    assert job(where(output), main=align.main)[0] == 0
    (path,) = (output / "_align").iterdir()
    harmed(path)
    status, _, seen = job(where(output), "export.text=reference", main=export.main)
    assert (status, "run jobs.align" in seen) == (1, True)


def test_channels_with_one_reference_are_not_aligned_alone(job: Any, speech: Any, tmp_path: Path) -> None:
    folder = tmp_path / "calls"
    folder.mkdir()
    size = min(len(speech[0][0]), len(speech[1][0]))
    (folder / "call.wav").write_bytes(encoded(np.stack([speech[0][0][:size], speech[1][0][:size]], axis=1)))
    (folder / "call.txt").write_text(speech[0][1] + speech[1][1])
    hear_folder(folder, tmp_path / "out", reading=ReadSettings(channel="each"))
    status, told, seen = job(where(tmp_path / "out"), main=align.main)
    assert (status, told["recordings"], told["unaligned"]["of_all_channels"]) == (0, 0, 2)
    assert "of several channels at once" in seen


def test_many_parts_are_aligned_by_several_processes(
    job: Any, output: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number in range(1, 6):
        hear_folder(tmp_path / "audio", output, unit_id=f"0{number}")
    status, alone, seen = job(where(output), "align.shown=4", main=align.main)
    written = {each.name: each.read_bytes() for each in (output / "_align").iterdir()}
    monkeypatch.setattr(align, "FEW_PARTS", 2)
    monkeypatch.setattr("os.sched_getaffinity", lambda _: {0, 1})
    monkeypatch.setenv("NUMBA_CACHE_DIR", str(Path(compiled.COMPILER.folder).parent))  # where this process has its code
    again = job(where(output), "align.shown=4", main=align.main)
    assert again[:2] == (status, alone)
    assert again[2].split("Aligned references")[1] == seen.split("Aligned references")[1]
    assert (status, len(written)) == (0, 6)
    assert written == {each.name: each.read_bytes() for each in (output / "_align").iterdir()}
