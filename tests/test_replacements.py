"""What a file of pairs says is replaced, the longest first, and a mistake in it is named with its line."""

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from actors.schema import UsageError
from actors.text.lists import MAX_BYTES
from actors.text.written.replacements import MAX_PAIRS, Pair, pairs_in, read_pairs, replacing


def replaced(text: str, **pairs: str) -> str:
    return replacing([Pair(old, new, 1) for old, new in pairs.items()])(text)


@pytest.mark.parametrize(
    ("text", "pairs", "expected"),
    [
        ("我用阿帕奇", {"阿帕奇": "Apache"}, "我用Apache"),
        ("北京大学生", {"北京": "BJ", "北京大学": "PKU"}, "PKU生"),
        ("北京大雨", {"北京": "BJ", "北京大学": "PKU"}, "BJ大雨"),
        ("一二一", {"一二": "a", "二一": "b"}, "a一"),  # from the beginning on
        ("甲乙", {"甲": "乙", "乙": "甲"}, "乙甲"),  # what is put in is not looked at again
        ("甲甲甲", {"甲": "甲甲"}, "甲甲甲甲甲甲"),
        ("the cat in a category", {"cat": "dog"}, "the dog in a category"),
        ("cat", {"cat": "dog"}, "dog"),
        ("concat cat, cats", {"cat": "dog"}, "concat dog, cats"),
        ("cat cats", {"cat": "dog", "cats": "dogs"}, "dog dogs"),
        ("用cat吧", {"cat": "dog"}, "用dog吧"),
        ("new york city", {"new york": "New York", "new": "NEW"}, "New York city"),
        ("a.b c", {"a.b": "x"}, "x c"),
        ("^[a]-\\ z", {"^": "1", "]": "2", "-": "3", "\\": "4"}, "1[a234 z"),
        ("", {"a": "b"}, ""),
        ("nothing", {"a": "b"}, "nothing"),
    ],
)
def test_phrases_are_replaced(text: str, pairs: dict[str, str], expected: str) -> None:
    assert replaced(text, **pairs) == expected


def by_trying_all(text: str, pairs: dict[str, str]) -> str:
    """Of a script without spaces: at each place, the longest phrase that the text goes on with."""
    found = ""
    while text:
        fitting = [old for old in pairs if text.startswith(old)]
        old = max(fitting, key=len, default="")
        found += pairs.get(old, text[:1])
        text = text[len(old) or 1 :]
    return found


CHINESE = st.text("一二三四", min_size=1, max_size=4)


@settings(max_examples=500, deadline=None)
@given(text=st.text("一二三四五", max_size=30), pairs=st.dictionaries(CHINESE, CHINESE, min_size=1, max_size=8))
def test_what_is_replaced_is_what_trying_all_phrases_finds(text: str, pairs: dict[str, str]) -> None:
    assert replaced(text, **pairs) == by_trying_all(text, pairs)


@settings(max_examples=500, deadline=None)
@given(
    text=st.text(max_size=40), pairs=st.dictionaries(st.text(min_size=1, max_size=3), st.text(min_size=1), min_size=1)
)
def test_any_phrases_can_be_replaced_and_no_text_becomes_empty(text: str, pairs: dict[str, str]) -> None:
    assert bool(replaced(text, **pairs)) == bool(text)


def test_a_file_of_pairs(tmp_path: Path) -> None:
    lines = "# names\r\n\r\n阿帕奇\tApache\r\n  new york \t New York \r\n阿帕奇\tApache\r\n \t \r\n"
    (tmp_path / "pairs.txt").write_bytes(lines.encode("utf-8-sig"))
    assert read_pairs(tmp_path / "pairs.txt") == [Pair("阿帕奇", "Apache", 3), Pair("new york", "New York", 4)]
    (tmp_path / "pairs.txt").write_bytes("我们说的是中国话啊\t普通话".encode("gb18030"))
    assert read_pairs(tmp_path / "pairs.txt") == [Pair("我们说的是中国话啊", "普通话", 1)]


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "it has no pairs; a file of replacements has a pair a line"),
        (b"# only\n\n", "it has no pairs"),
        (b"a\tb\nc d\n", "line 2: it has no tab; a file of replacements has a pair a line, with a tab between"),
        (b"a\tb\tc\n", "line 1: it has 2 tabs"),
        (b"\n\ta\n", "line 2: there is nothing before the tab"),
        (b"x\ty\na\t \n", "line 2: there is nothing after the tab"),
        (b"a\tb\n\nc\td\na\te\n", "line 4: 'a' is replaced by something else on line 1"),
        (b"a\t" + b"x" * 501, "line 1: either side of a pair has at most 500 characters"),
        (b"x" * 501 + b"\ta", "line 1: either side of a pair has at most 500 characters"),
        (b"a\tb\n\xff\tc", "line 2: it is neither UTF-8"),
        (b"a\tb\n" + b"#" * MAX_BYTES, "it has more than 32 MiB; a file of replacements"),
        (b"".join(b"%d\t1\n" % number for number in range(MAX_PAIRS + 1)), "it has 1,000,001 pairs"),
    ],
    ids=lambda each: each[:20],
)
def test_what_is_no_file_of_pairs(content: bytes, said: str) -> None:
    with pytest.raises(UsageError) as told:
        pairs_in(content)
    assert str(told.value).startswith(said)
