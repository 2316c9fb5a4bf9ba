"""English numbers as digits: the project's cases, every number and date, and texts of any kind."""

import json
import subprocess
import sys
from datetime import date

import pytest
from conftest import ROOT
from hypothesis import example, given, settings
from hypothesis import strategies as st

from actors.text.written import english_grammar
from actors.text.written.english import written_english

CASES = [json.loads(line) for line in (ROOT / "tests/written_cases_en.jsonl").read_text("utf-8").splitlines()]
SMALL = (
    "zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen seventeen "
    "eighteen nineteen"
).split()
TENS = "twenty thirty forty fifty sixty seventy eighty ninety".split()
NTH = "first second third fourth fifth sixth seventh eighth ninth tenth eleventh twelfth thirteenth".split()
MONTHS = "january february march april may june july august september october november december".split()
#: What grammar looks at, and what stands around it.
WORDS = [
    *SMALL, *TENS, *NTH, "twentieth", *"hundred thousand million eighties and point oh o a the of to or in on at minus "
    "half quarter past p m am o'clock percent per cent dollars cents euros meters people may march november i no "
    "second's 20 $5 3:20".split(),
]  # fmt: skip


def spoken(number: int, joint: str = "") -> str:
    """A number below a trillion in words; `joint` stands behind hundred: " and" or nothing."""
    for value, name in ((10**9, "billion"), (10**6, "million"), (1000, "thousand"), (100, "hundred")):
        if number >= value:
            rest = number % value
            between = joint if rest and name == "hundred" else ""
            return f"{spoken(number // value, joint)} {name}{between}" + (f" {spoken(rest, joint)}" if rest else "")
    if number < 20:
        return SMALL[number]
    return TENS[number // 10 - 2] + (f" {SMALL[number % 10]}" if number % 10 else "")


def nth(number: int) -> str:
    words = spoken(number).split()
    last = words[-1]
    ends = {name: NTH[value - 1] for value, name in enumerate(SMALL[:14]) if value}
    return " ".join([*words[:-1], ends.get(last) or (last[:-1] + "ieth" if last.endswith("y") else last + "th")])


@pytest.mark.parametrize("case", CASES, ids=lambda case: case["spoken"])
def test_a_case(case: dict[str, object]) -> None:
    assert written_english(str(case["spoken"])) in case["written"]  # type: ignore[operator]


def test_a_third_of_the_cases_stay_as_they_are() -> None:
    assert len(CASES) >= 60
    assert sum(case["written"] == [case["spoken"]] for case in CASES) >= len(CASES) / 3


@given(st.integers(13, 10**9 - 1), st.sampled_from(["", " and"]))
@settings(max_examples=300, deadline=None)
@example(1_000_001, "")
@example(900_000, "")
def test_a_number(number: int, joint: str) -> None:
    written = written_english(f"about {spoken(number, joint)} of us")
    before, digits, rest = written.split(" ", 2)
    millions = rest.startswith("million ")
    assert (before, rest.removeprefix("million ")) == ("about", "of us")
    assert int(digits) * (10**6 if millions else 1) == number


@given(st.integers(0, 999), st.text("0123456789", min_size=1, max_size=6), st.booleans())
@settings(max_examples=200, deadline=None)
def test_a_decimal(whole: int, digits: str, percent: bool) -> None:
    said = f"{spoken(whole)} point {' '.join(SMALL[int(digit)] for digit in digits)}" + " percent" * percent
    assert written_english(said) == f"{whole}.{digits}" + "%" * percent


@given(st.dates(date(1810, 1, 1), date(2099, 12, 31)), st.booleans())
@settings(max_examples=200, deadline=None)
def test_a_date(day: date, first: bool) -> None:
    century, years = divmod(day.year, 100)
    year = f"{spoken(century)} {spoken(years) if years > 9 else 'oh ' + spoken(years)}"
    if years == 0 or (century == 20 and years < 10):
        year = "nineteen hundred" if day.year == 1900 else spoken(day.year)
    month = MONTHS[day.month - 1]
    if first:
        suffix = "th" if day.day in (11, 12, 13) else {1: "st", 2: "nd", 3: "rd"}.get(day.day % 10, "th")
        assert (
            written_english(f"the {nth(day.day)} of {month} {year}") == f"the {day.day}{suffix} of {month} {day.year}"
        )
    else:
        assert written_english(f"on {month} {nth(day.day)} {year}") == f"on {month} {day.day} {day.year}"


@pytest.mark.parametrize("hour", range(1, 13))
def test_a_time(hour: int) -> None:
    for minute in (0, 5, 10, 15, 30, 59):
        said = spoken(hour) + {0: "", 5: " oh five"}.get(minute, f" {spoken(minute)}")
        assert written_english(f"{said} p m") == f"{hour}:{minute:02} p.m."


@given(st.lists(st.sampled_from(WORDS), max_size=12), st.sampled_from([" ", " ", "-", "  ", ", "]))
@settings(max_examples=600, deadline=None)
def test_it_is_done_once_and_for_all(words: list[str], gap: str) -> None:
    text = gap.join(words)
    written = written_english(text)
    assert bool(written) == bool(text)
    assert written_english(written) == written


@given(st.text())
@example("\ud800 twenty three \x00")
@example('twenty three \\ [forty four] "fifty five" {x: "y"} ﬁve ＴＷＥＮＴＹ')
def test_any_text(text: str) -> None:
    written = written_english(text)
    assert bool(written) == bool(text)
    if not english_grammar.RUN.search(text):
        assert written is text


@pytest.mark.parametrize("word", ["one ", "twenty ", "twenty-", "hundred and ", "one's ", "-one ", "november ", "a m "])
def test_a_megabyte_of_a_word(word: str) -> None:
    """In linear time: what is quadratic would take the rest of the day."""
    assert written_english(word * (10**6 // len(word)))


def test_what_has_no_number_word_asks_no_library() -> None:
    program = (
        "import sys\nfrom actors.text.written.english import written_english\n"
        "assert written_english('no one said a word of it for a second') \n"
        "assert 'wetext' not in sys.modules\nassert written_english('forty two') == '42'\n"
        "assert 'wetext' in sys.modules"
    )
    subprocess.run([sys.executable, "-c", program], cwd=ROOT, check=True)


def test_a_missing_library_names_the_extra() -> None:
    program = (
        "import sys\nfrom actors.text.written.english import written_english\n"
        "sys.modules['wetext'] = None  # as where it is not installed\nwritten_english('forty two')"
    )
    done = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True)
    last = done.stderr.strip().splitlines()[-1]
    assert last.startswith("ModuleNotFoundError: ")
    assert "[written-en]" in last
