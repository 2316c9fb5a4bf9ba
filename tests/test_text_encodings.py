"""Texts in the encodings that archives have: read as what they are, or refused, and never with wrong characters."""

import codecs
from contextlib import suppress

import pytest
from conftest import ROOT
from hypothesis import given
from hypothesis import strategies as st

from actors.foreign.errors import InvalidData
from actors.foreign.text import decode_text

SIMPLIFIED = [path.read_text(encoding="utf-8") for path in sorted(ROOT.glob("demo/audio/loose/*.txt"))]
TRADITIONAL = [
    "今天早上我們學習國語與歷史，還有數學。",
    "臺灣的歷史學者說：這是個問題",
    "這個錄音檔案沒有聲音，請重新錄製",
]
TEXTS = [*SIMPLIFIED, *TRADITIONAL, "u1 今天 ABC 123\nu2 早上，好！\n", "Ａ１２ 〇 …"]


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-32", "gb18030"])
def test_texts_are_read_in_the_encodings_that_are_common(encoding: str) -> None:
    assert SIMPLIFIED
    for text in [*TEXTS, "", "plain ASCII\n"]:
        assert decode_text(text.encode(encoding)) == text
    assert decode_text(codecs.BOM_UTF16_BE + TEXTS[0].encode("utf-16-be")) == TEXTS[0]
    assert decode_text("今天".encode("gbk")) == "今天"
    assert decode_text(("今天早上" * 3 + "㐀𠀀").encode("gb18030")).endswith("㐀𠀀")


@pytest.mark.parametrize(
    ("text", "encoding"),
    [
        ("déjà vu, Grüße aus München, ação", "latin-1"),
        ("ação", "latin-1"),
        ("Иван Петров сказал", "cp1251"),
        ("今日は良い天気ですね", "shift_jis"),
        *((text, "big5") for text in TRADITIONAL),
    ],
)
def test_other_encodings_are_refused(text: str, encoding: str) -> None:
    with pytest.raises(InvalidData, match=r"neither UTF-8, nor UTF-16 .*, nor GB 18030: byte \d+ is 0x"):
        decode_text(text.encode(encoding))


def test_damaged_texts_are_refused_and_not_taken_for_another_encoding() -> None:
    texts = [text.strip().encode() for text in SIMPLIFIED + TRADITIONAL if len(text) > 10]
    damaged = [wrong for text in texts for at in range(6, len(text)) for wrong in (text[:at], text[:at] + b"\xff")]
    for data in damaged:
        try:
            data.decode()
        except UnicodeDecodeError:
            with pytest.raises(InvalidData):
                decode_text(data)
    with pytest.raises(InvalidData, match="not UTF-16, as its first bytes say: byte 2 is 0x61"):
        decode_text(b"\xff\xfea")
    with pytest.raises(InvalidData, match="not UTF-8, as its first bytes say"):
        decode_text(codecs.BOM_UTF8 + b"\xff")


@given(st.binary(max_size=40))
def test_any_bytes_are_text_or_refused(data: bytes) -> None:
    with suppress(InvalidData):
        text = decode_text(data)
        assert "\ufffd" not in text or data == text.encode() or data.startswith((b"\xff\xfe", b"\xfe\xff"))


@pytest.mark.parametrize("text", ["안녕하세요 오늘 날씨가 좋습니다", "대한민국서울특별시강남구역삼동에있는회사입니다"])
def test_korean_is_not_taken_for_chinese(text: str) -> None:
    with pytest.raises(InvalidData):
        decode_text(text.encode("euc-kr"))
