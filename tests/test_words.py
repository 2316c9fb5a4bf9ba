"""Subtitles break between words: of Chinese, of Latin scripts, and never within a number, a date or before a mark."""

import random
from itertools import pairwise
from typing import Any

import pytest

from jobs.transcripts.subtitles import SubtitleLayout, cues_of
from jobs.transcripts.words import CLOSING, OPENING, joined, word_ends, words_of


def row_of(text: str, start: float = 0.0, step: float = 0.25) -> dict[str, Any]:
    """A segment of `step` seconds a character, whose words have no times of their own."""
    return {"text": text, "tokens": None, "start_s": start, "end_s": start + step * len(text)}


def words_in(*texts: str, gap: float = 0.0) -> list[str]:
    start, pieces = 0.0, []
    for text in texts:
        row = row_of(text, start)
        pieces += words_of(row)
        start = row["end_s"] + gap
    return [joined(pieces[begin:end]).text for begin, end in pairwise([0, *word_ends(pieces)])]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("小红坐飞机从香港到天津", ["小红", "坐飞机", "从", "香港", "到", "天津"]),
        ("人工智能技术的发展", ["人工智能", "技术的", "发展"]),
        ("你喜欢喝茶吗？好", ["你", "喜欢", "喝茶吗？", "好"]),
        ("一共八万二千零三十八元", ["一共", "八万二千零三十八元"]),
        ("百分之六百六十九电话", ["百分之六百六十九", "电话"]),
        ("在2026年3月5日去", ["在", "2026年3月5日", "去"]),
        ("到晚上10点半开始", ["到", "晚上", "10点半", "开始"]),
        ("增长了30.5%，", ["增长了", "30.5%，"]),
        ("她说：「今天」（真的）好", ["她", "说：", "「今天」", "（真的）", "好"]),
        ("the quick (brown) fox.", [" the", " quick", " (brown)", " fox."]),
        ("我用iPhone手机", ["我用", "iPhone", "手机"]),
        ("don't用GPT-4", ["don't", "用", "GPT-4"]),
        ("internationalization", ["internationalization"]),
        ("好👩‍🚀👍🏽cafe\u0301", ["好", "👩‍🚀", "👍🏽", "cafe\u0301"]),
        ("今", ["今"]),
        ("\ud800今天\x00", ["\ud800", "今天", "\x00"]),
    ],
)
def test_words(text: str, words: list[str]) -> None:
    assert words_in(text) == words


def test_a_word_may_begin_in_one_segment_and_end_in_the_next_unless_there_is_a_pause() -> None:
    assert words_in("我们坐飞", "机去") == ["我们", "坐飞机", "去"]
    assert words_in("我们坐飞", "机去", gap=2.0) == ["我们", "坐飞", "机", "去"]


def test_a_word_that_would_stay_too_long_is_broken() -> None:
    cues = cues_of([row_of("今天天气", step=3.0)], SubtitleLayout(16))
    assert [cue.text for cue in cues] == ["今天", "天气"]
    assert all(cue.end - cue.start <= 7 for cue in cues)


def test_a_word_alone_in_a_segment_has_a_space_before_it_where_the_others_have_spaces() -> None:
    rows = [row_of("how are you"), row_of("fine", 3.0), row_of("thanks", 4.2), row_of("and you", 6.0)]
    said = [cue.text.replace("\n", " ") for cue in cues_of(rows, SubtitleLayout(30))]
    assert " ".join(said) == "how are you fine thanks and you"
    assert len(said) < 3


def test_a_number_without_end_is_broken_at_last() -> None:
    assert max(map(len, words_in("一二三四五六七八九十" * 20))) <= 12


@pytest.mark.parametrize("characters", [8, 12, 16])
def test_lines_and_cues_end_between_words(characters: int) -> None:
    draw = random.Random(5)
    texts = [
        "今天天气很好",
        "我们坐飞机从北京到广州",
        "电话号码是13800138000",
        "（真的吗？）",
        "增长了30.5%。",
        "人工智能",
    ]
    texts += ["在2026年3月5日", "百分之三十五", "「好」", "李医生", "iPhone", "八万二千元"]
    for _ in range(50):
        text = "".join(draw.choices(texts, k=12))
        pieces = words_of(row_of(text))
        borders = {0}
        for end in word_ends(pieces):
            borders.add(sum(len(piece.text) for piece in pieces[:end]))
        at = 0
        for cue in cues_of([row_of(text)], SubtitleLayout(characters)):
            for line in cue.text.split("\n"):
                assert at in borders, (text[:at], line)
                assert line[0] not in CLOSING
                assert line[-1] not in OPENING
                at += len(line)
        assert at == len(text)


def test_no_cue_has_a_single_character_where_a_neighbour_has_room() -> None:
    rows = [row_of("我们去学校"), row_of("吃", 1.4), row_of("苹果和香蕉", 1.8)]
    assert all(len(cue.text) > 1 for cue in cues_of(rows, SubtitleLayout()))
