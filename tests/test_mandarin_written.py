"""Mandarin as it is written. The cases are of the kinds that people complain of to the makers of such rules."""

import json
import re
import time
from pathlib import Path

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from actors.text.written.forms import written_form

CASES = [
    json.loads(line)
    for line in (Path(__file__).parent / "written_cases_zh.jsonl").read_text(encoding="utf-8").splitlines()
]
NUMERALS = "零〇○一二三四五六七八九幺两十百千万亿萬億兩"
#: What rules may look at, so that random strings of it come upon many of them.
TELLING = (
    list(NUMERALS) * 2
    + list(
        "点點年月日号號元块塊毛角分楼层行页米度时秒周期第负下上到至多几来个半刻钟后折室房初数同、-这有人张直的 a1.%:3"
    )
    + ["百分之", "分之", "公里", "早上", "下午", "零下", "美元", "分钟", "号线", "一点"]
)
MEGABYTE = 1_000_000


def written(text: str) -> str:
    return written_form(text, "zh")


# What is said, and digits read aloud: independent of the rules.


def digits_said(digits: str) -> str:
    return "".join("零一二三四五六七八九"[int(digit)] for digit in digits)


def said(number: int) -> str:
    """An integer below 10^12 as it is said in full: 十五, 一百零五, 二万三千."""
    text, has_gap = "", False
    for unit, size in (("亿", 10**8), ("万", 10**4), ("", 1)):
        section = number // size % 10_000
        if section:
            zero = "零" if text and (has_gap or section < 1000) else ""
            text += zero + _section_said(section) + unit
        has_gap = bool(text) and not section
    return re.sub("^一十", "十", text) or "零"


def _section_said(section: int) -> str:
    text, has_gap = "", False
    for unit, size in (("千", 1000), ("百", 100), ("十", 10), ("", 1)):
        if digit := section // size % 10:
            text += ("零" if has_gap else "") + digits_said(str(digit)) + unit
        has_gap = bool(text) and not digit
    return text


def read_aloud(text: str) -> str:
    """A text with its digits as they are said: years of four digits, and minutes with a zero, digit by digit."""

    def read(found: re.Match[str]) -> str:
        sign, whole, decimals, percent = found.groups()
        is_code = (len(whole) == 4 and text.startswith("年", found.end())) or (whole[0] == "0" and len(whole) > 1)
        number = digits_said(whole) if is_code else said(int(whole))
        number += "点" + digits_said(decimals[1:]) if decimals else ""
        return ("负" if sign else "") + ("百分之" if percent else "") + number

    return re.sub(r"(-?)(\d+)(\.\d+)?(%?)", read, text)


def test_what_the_reader_says() -> None:
    numbers = {0: "零", 10: "十", 110: "一百一十", 1005: "一千零五", 20_300: "二万零三百", 100_000_010: "一亿零一十"}
    assert {number: said(number) for number in numbers} == numbers
    assert said(120_000_000) == "一亿二千万"
    assert read_aloud("2026年8点05分-30.5%1亿2000万") == "二零二六年八点零五分负百分之三十点五一亿二千万"


def test_there_are_many_cases_of_which_a_third_stay() -> None:
    stay = sum(case["spoken"] == case["written"] for case in CASES)
    assert len(CASES) >= 150
    assert stay >= len(CASES) / 3
    assert len({case["spoken"] for case in CASES}) == len(CASES)


@pytest.mark.parametrize("kind", sorted({case["kind"] for case in CASES}))
def test_cases(kind: str) -> None:
    cases = [case for case in CASES if case["kind"] == kind]
    assert [written(case["spoken"]) for case in cases] == [case["written"] for case in cases]


@pytest.mark.parametrize("kind", sorted({case["kind"] for case in CASES}))
def test_cases_inside_a_sentence(kind: str) -> None:
    """What stands around a case does not change it, where it is no word of the rules itself."""
    for case in CASES:
        if case["kind"] == kind and case["kind"] not in ("large", "traditional"):
            assert written(f"他说的是，{case['spoken']}，对吗") == f"他说的是，{case['written']}，对吗"


def test_a_text_without_numerals_is_the_same_object() -> None:
    for text in ("", "今天天气很好", "hello 3.5%", "万一", "\ud800", "\udfff点"):
        assert written(text) is text


def test_lone_surrogates_and_other_scripts_stay() -> None:
    assert written("\ud800三点五\udfff") == "\ud8003.5\udfff"
    assert written("abc 二十五 公里 пять 三百 km") == "abc 25 公里 пять 300 km"
    assert written("1.5万五 100％ 3点五十") == "1.5万五 100％ 3点50"
    assert written("3五十个 1.三百元 二十%三十个") == "3五十个 1.三百元 20%三十个"


def test_a_language_without_rules_is_refused() -> None:
    with pytest.raises(ValueError, match=r"no written form for the language 'xx'; there are .*zh"):
        written_form("三点五", "xx")


@settings(max_examples=2000, deadline=None)
@given(st.lists(st.sampled_from(TELLING), max_size=14).map("".join))
@example("十点二點半三个塊")
@example("周天十四负三公里刻九三日")
@example("早上一点三点半")
@example("二十多三十个")
def test_idempotent_and_nothing_else_changes(text: str) -> None:
    once = written(text)
    assert written(once) == once
    assert bool(once) == bool(text)
    kept = str.maketrans("", "", NUMERALS + "点點负分之0123456789.-%")
    assert once.translate(kept) == text.translate(kept)


@settings(max_examples=300, deadline=None)
@given(st.text(st.characters(codec=None) | st.sampled_from(NUMERALS)))
def test_any_text(text: str) -> None:
    once = written(text)
    assert written(once) == once
    assert bool(once) == bool(text)


@settings(max_examples=1000, deadline=None)
@given(st.integers(0, 1_000_000_000))
@example(100_000)
@example(100_120_000)
@example(100_002_000)
@example(110_000_005)
def test_numbers_read_aloud_give_what_was_said(number: int) -> None:
    spoken = f"一共{said(number)}个"
    result = written(spoken)
    assert read_aloud(result) == spoken
    assert number <= 10 or re.search(r"\d", result)


@settings(max_examples=500, deadline=None)
@given(st.integers(0, 10_000_000), st.text("0123456789", min_size=1, max_size=8), st.booleans())
def test_decimals_and_percentages_read_aloud(whole: int, decimals: str, is_negative: bool) -> None:
    number = said(whole) + "点" + digits_said(decimals)
    sign = "负" if is_negative else ""
    for spoken in (f"增长{sign}百分之{number}", f"增长{sign}百分之{said(whole + 1)}"):
        if spoken.endswith("百分之一百"):
            continue
        result = written(spoken)
        assert read_aloud(result) == spoken
        assert result.endswith("%")
    spoken = f"是{sign}{number}公里"
    if not re.fullmatch("[零一二三四五]?十?[一二三四五六七八九]?点[一二三四五]?十.?公里", number):
        assert read_aloud(written(spoken)) == spoken
        assert "." in written(spoken)


@settings(max_examples=500, deadline=None)
@given(st.dates())
def test_dates_read_aloud(date: object) -> None:
    year, month, day = map(int, str(date).split("-"))
    spoken = f"在{digits_said(f'{year:04}')}年{said(month)}月{said(day)}日"
    assert written(spoken) == f"在{year:04}年{month}月{day}日"
    assert read_aloud(written(spoken)) == spoken
    assert read_aloud(written(f"{said(month)}月{said(day)}号")) == f"{said(month)}月{said(day)}号"
    assert written(f"{said(month)}月{said(day)}号") == f"{month}月{day}号"


@settings(max_examples=500, deadline=None)
@given(st.integers(0, 24), st.integers(1, 59), st.integers(1, 59))
def test_times_of_day_read_aloud(hour: int, minute: int, second: int) -> None:
    minutes = ("零" if minute < 10 else "") + said(minute)
    spoken = f"{said(hour)}点{minutes}分"
    assert written(spoken) == f"{hour}点{minute:02}分"
    assert read_aloud(written(spoken)) == spoken
    assert read_aloud(written(f"{spoken}{said(second)}秒")) == f"{spoken}{said(second)}秒"
    assert written(f"{spoken}{said(second)}秒") == f"{hour}点{minute:02}分{second}秒"


@pytest.mark.parametrize(
    ("part", "result"),
    [
        ("十", "十"),
        ("点", "点"),
        ("一", "1"),
        ("万", "万"),
        ("百分之", "百分之"),
        ("百分之一点", "1%点"),
        ("一点", "一点"),
        ("一块", "一块"),
        ("分之一", "分之一"),
        ("一百", "一百"),
        ("八点十分", "8点10分"),
        ("年十一月", "年11月"),
        ("負五點", "負五點"),
        ("第三行", "第3行"),
        ("\ud800一", "\ud800一"),
    ],
)
def test_a_megabyte_of_anything(part: str, result: str) -> None:
    count = MEGABYTE // len(part)
    assert written(part * count) == result * count


def test_a_megabyte_of_tens_takes_less_than_a_second() -> None:
    began = time.process_time()
    assert written("十" * MEGABYTE) == "十" * MEGABYTE
    assert time.process_time() - began < 1
