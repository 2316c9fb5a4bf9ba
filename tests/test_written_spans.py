"""A written form has the times of what was said: which characters each piece of it stands for."""

import random
import sys
from itertools import pairwise
from types import FrameType
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from actors.text.written.spans import units_of


def spans(text: str, written: str) -> list[tuple[str, str]]:
    """Pieces, each beside what it stands for."""
    return [(each.written, text[each.begin : each.end]) for each in units_of(text, written)]


@pytest.mark.parametrize(
    ("text", "written", "expected"),
    [
        ("二零二六年十一月二十五日", "2026年11月25日", "2026=二零二六 年=年 11=十一 月=月 25=二十五 日=日"),
        ("增长百分之三十点五和百分之二十", "增长30.5%和20%", "增=增 长=长 30.5%=百分之三十点五 和=和 20%=百分之二十"),
        ("十点十分十分准时", "10:10十分准时", "10:10=十点十分 十=十 分=分 准=准 时=时"),
        ("八点十五分开", "8点15分开", "8=八 点=点 15=十五 分=分 开=开"),
        ("三，四", "3，4", "3=三 ，=， 4=四"),
        ("买十二块五的", "买12.5元的", "买=买 12.5=十二块五 元=十二块五 的=的"),
        ("今天很好明天再说", "今天很好，明天再说。", "今=今 天=天 很=很 好，=好 明=明 天=天 再=再 说。=说"),
        ("三天四点", "3天，4点", "3=三 天，=天 4=四 点=点"),
        ("一二三四五六", "一二三，四五六", "一=一 二=二 三，=三 四=四 五=五 六=六"),
        ("一一一一百", "一，一，一，100", "一，=一 一，=一 一，=一 100=一百"),
        ("他说好的", "他说：“好的”", "他=他 说：=说 “好=好 的”=的"),
        ("嗯好的嗯啊", "好的", "好=嗯好 的=的嗯啊"),
        ("用英伟达的卡", "用NVIDIA的卡", "用=用 NVIDIA=英伟达 的=的 卡=卡"),
        ("好的", "100%好的", "100%=好 好=好 的=的"),
        ("年前", "年初之前", "年=年 初=年 之=年 前=前"),
        ("二零年", "《20年》", "《20=二零 年》=年"),
        ("好", "？！", "？！=好"),
        ("好", "", ""),
        ("\U00020bb7野家五块", "\U00020bb7野家5块", "\U00020bb7=\U00020bb7 野=野 家=家 5=五 块=块"),
        ("五👨\u200d👩\u200d👧人", "5👨\u200d👩\u200d👧人", "5=五 👨\u200d👩\u200d👧=👨\u200d👩\u200d👧 人=人"),
        ("cafe\u0301五", "cafe\u03015", "cafe\u0301=cafe\u0301 5=五"),
    ],
)
def test_each_piece_stands_for_what_was_said(text: str, written: str, expected: str) -> None:
    assert spans(text, written) == [tuple(each.split("=")) for each in expected.split()]


def test_words_with_spaces() -> None:
    text = "hello two hundred and five people and dogs on may fifth"
    assert spans(text, "Hello, 205 people and dogs on May 5.") == [
        ("Hello,", "hello"),
        (" 205", " two hundred and five"),
        *((f" {word}", f" {word}") for word in ("people", "and", "dogs", "on")),
        (" May", " may"),
        (" 5.", " fifth"),
    ]
    assert spans("it's five", "It's 5 ") == [("It's", "it's"), (" 5 ", " five")]
    assert units_of("", "") == []
    assert units_of("", "5元") == [("5", 0, 0), ("元", 0, 0)]
    assert spans(" ", " 5 ") == [(" 5 ", " ")]


_PIECES = st.sampled_from(
    [
        *"一二十百点年月日元今天很好，。“”、5aé\u0301👨\u200d\U00020bb7\u0e01\u0e31 \n-%$",
        "2026",
        "30.5%",
        " the",
        "GPU",
        "twenty",
    ]
)
_TEXTS = st.lists(_PIECES, max_size=40).map("".join) | st.text(max_size=40)


@settings(max_examples=500, deadline=None)
@given(text=_TEXTS, written=_TEXTS)
def test_all_that_is_written_stands_for_all_that_was_said(text: str, written: str) -> None:
    units = units_of(text, written)
    assert "".join(each.written for each in units) == written
    assert all(each.written for each in units)
    if units:
        assert (units[0].begin, units[-1].end) == (0, len(text))
    assert all(each.begin < each.end for each in units if text)
    assert all(right.begin == left.end or right[1:] == left[1:] for left, right in pairwise(units))
    assert units == units_of(text, written)


@settings(max_examples=300, deadline=None)
@given(parts=st.lists(st.tuples(st.text("今天很好一二三十百点", max_size=6), st.sampled_from("，。？、…"))))
def test_punctuation_moves_nothing(parts: list[tuple[str, str]]) -> None:
    """Each unit of a text to which only punctuation is added stands for itself."""
    text = "".join(own for own, _ in parts)
    units = units_of(text, "".join(own + mark for own, mark in parts))
    assert all(each.written.strip("，。？、…") == text[each.begin : each.end] for each in units)


@settings(max_examples=300, deadline=None)
@given(
    st.lists(
        st.tuples(
            st.text("今很好明再说的这那", min_size=1, max_size=5),
            st.sampled_from([("二零二六", "2026"), ("百分之三十点五", "30.5%"), ("十二块五", "12.5元"), ("三", "3")]),
        ),
        max_size=8,
    )
)
def test_numbers_stand_for_their_words(parts: list[tuple[str, tuple[str, str]]]) -> None:
    text = "".join(own + said for own, (said, _) in parts)
    units = units_of(text, "".join(own + number for own, (_, number) in parts))
    numbers = [text[each.begin : each.end] for each in units if each.written[0].isdecimal()]
    assert numbers == [said for _, (said, _) in parts]
    assert all(each.written in (text[each.begin : each.end], "元") for each in units if not each.written[0].isdecimal())


def test_any_two_texts_take_linear_time() -> None:
    """Ten times as much takes ten times as many steps, and a third more at worst; what is quadratic takes a hundred
    times."""
    chosen = random.Random(1)
    mixed = "".join(chosen.choices("今天很好明再说一二三四五", k=5_000))
    for text, written in (
        ("十" * 5_000, "1" * 5_000),
        ("今" * 5_000, "天" * 5_000),
        ("今天" * 2_500, "天好" * 2_500),
        (mixed, mixed[::-1]),
        (mixed, "".join(chosen.choices("今天很好明再说一二三四五", k=5_000))),
        ("甲" + "一二" * 2_500, "一二" * 2_500 + "甲"),
        ("，好" * 2_500, "，" * 5_000),
        (mixed, mixed.replace("一二", "12").replace("好", "好，")),
        (" " * 5_000, "好"),
        ("a" * 5_000, "b" * 5_000),
    ):
        assert steps(text, written) < 14 * steps(text[:500], written[:500])


def steps(text: str, written: str) -> int:
    """How many lines are run to align them."""
    lines = 0

    def trace(frame: FrameType, event: str, _: object) -> Any:
        nonlocal lines
        if frame.f_globals.get("__name__") != units_of.__module__:
            return None
        lines += event == "line"
        return trace

    before = sys.gettrace()
    sys.settrace(trace)
    try:
        units_of(text, written)
    finally:
        sys.settrace(before)
    return lines
