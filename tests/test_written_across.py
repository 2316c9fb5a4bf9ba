"""Numbers that the cut between two segments of a recording halves, or takes from what tells that they are numbers."""

import re
from itertools import pairwise

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from actors.schema import KEY
from actors.text.written.across import written_across
from actors.text.written.forms import written_form
from actors.text.written.write import TextSettings, load_write


def in_mandarin(text: str) -> str:
    return written_form(text, "zh")


@pytest.mark.parametrize(
    ("texts", "written"),
    [
        ("涨了百分之六|百六十九的人", "涨了百分之六|百六十九的人"),
        ("二零二六年十一|月二十五日开会", "2026年11|月25日开会"),
        ("百分之三十|点五的人", "百分之三十|点五的人"),
        ("走了三|公里路", "走了3|公里路"),
        ("二零二|六年", "二零二|六年"),
        ("有一百|二十|三个人", "有一百|二十|三个人"),
        ("一共三百人|二零二六年", "一共300人|2026年"),
        ("今天很好|十分方便", "今天很好|十分方便"),
        ("共三十人|", "共30人|"),
        ("|三十个人", "|30个人"),
        ("三十个人", "30个人"),
    ],
)
def test_a_number_that_a_cut_falls_in_stays_as_it_was_said(texts: str, written: str) -> None:
    assert "|".join(written_across(texts.split("|"), in_mandarin, "")) == written


def test_words_stay_words_where_texts_have_spaces() -> None:
    pytest.importorskip("wetext")
    for texts, written in (
        ("it costs twenty|five dollars now", "it costs twenty|five dollars now"),
        ("he has twenty five|people here", "he has 25|people here"),
        ("nothing here|at all", "nothing here|at all"),
    ):
        assert "|".join(written_across(texts.split("|"), lambda text: written_form(text, "en"), " ")) == written


def test_nothing_is_nothing() -> None:
    assert written_across([], in_mandarin, "") == []


@given(
    st.lists(
        st.sampled_from(
            ["百分之六百六十九", "二零二六年十一月二十五日", "一万两千三百", "三点五公里", "的人", "在", "好"]
        )
    ),
    st.sets(st.integers(0, 60)),
)
def test_no_cut_makes_another_number(words: list[str], cuts: set[int]) -> None:
    whole = "".join(words)
    edges = [0, *sorted(cut for cut in cuts if 0 < cut < len(whole)), len(whole)]
    texts = [whole[begin:end] for begin, end in pairwise(edges)]
    written = written_across(texts, in_mandarin, "")
    numbers = set(re.findall(r"[\d.]+%?", in_mandarin(whole)))
    assert {number for text in written for number in re.findall(r"[\d.]+%?", text)} <= numbers
    assert all(bool(text) == bool(said) for text, said in zip(written, texts, strict=True))


@given(st.lists(st.text("一二三十百千万亿点分之年月日元百 ab的零两第", max_size=8)))
def test_any_texts_keep_their_places(texts: list[str]) -> None:
    written = written_across(texts, in_mandarin, "")
    assert len(written) == len(texts)
    assert all(bool(text) == bool(said) for text, said in zip(written, texts, strict=True))


def test_no_number_goes_on_beyond_silence_or_an_error() -> None:
    texts = ["涨了百分之六", "", "十五个人", "涨了百分之六", None, "十五个人", "涨了百分之六", "十五个人"]
    columns = {name: [None] * len(texts) for name in ("recording_id", *KEY)}
    rows = pa.table({"text": texts, "segment_index": range(len(texts))} | columns)
    written = load_write(TextSettings("zh"))(rows).to_pylist()
    assert written == ["涨了6%", "", "15个人", "涨了6%", None, "15个人", "涨了百分之六", "十五个人"]
