"""Percentages, decimal numbers and money in Mandarin, as they are written."""

import re

from actors.text.written import mandarin_words as words
from actors.text.written.mandarin_numbers import (
    DIGIT_NUMERALS,
    NUMERALS,
    ZEROS,
    Edit,
    Judged,
    digits_of,
    shown,
    value_of,
)
from actors.text.written.mandarin_times import hour_alone, hour_of, time

NUMERAL_RUN = re.compile(f"[{NUMERALS}]++")
DIGIT_RUN = re.compile(f"[{DIGIT_NUMERALS}]++")
_FRACTION = re.compile(f"分之([{NUMERALS}]++)(?:点([{DIGIT_NUMERALS}]++))?")
_TO_A_NUMBER = re.compile(f"[到至][{NUMERALS}]++(?!分之)")
_FRACTIONAL = re.compile(f"([{DIGIT_NUMERALS}]++)(万亿|[万亿]|百万|千万|千)?")
_IP_ADDRESS = re.compile(f"[{DIGIT_NUMERALS}]{{2,3}}(?:点[{DIGIT_NUMERALS}]{{1,3}}){{3}}(?![{NUMERALS}点])")
_AND_MORE = re.compile(f"[米度]([一二三四五六七八九]{{1,2}})(?![{NUMERALS}])")
_SCORED = frozenset("得打评了扣获")


def fraction(plain: str, begin: int, end: int) -> Judged:
    """The edit of a percentage, before 分之; other fractions, and what is said for all (百分之百), stay."""
    found = _FRACTION.match(plain, end)
    if not found:
        return end, []
    stop, (part, decimals) = found.end(), found.groups()
    if plain[begin:end] != "百" or (part == "百" and not decimals):
        return stop, []
    if not decimals and len(part) > 1 and part[-1] == "一" and plain[stop : stop + 1] in words.WORDS_WITH_ONE:
        part, stop = part[:-1], stop - 1
    if span := _TO_A_NUMBER.match(plain, stop):
        return span.end(), []  # 百分之三到五 has no other order
    value = value_of(part)
    if value is None or plain[stop : stop + 1] in ("几", "来", "分"):
        return found.end(), []
    begin, sign = signed(plain, begin)
    return found.end(), [Edit(begin, stop, f"{sign}{value}{_decimals(decimals)}%")]


def signed(plain: str, begin: int) -> tuple[int, str]:
    """Where a number begins, and its sign."""
    is_minus = plain[begin - 1 : begin] == "负" and (begin < 2 or plain[begin - 2] not in words.NOT_MINUS)
    return (begin - 1, "-") if is_minus else (begin, "")


def _decimals(run: str | None) -> str:
    return f".{digits_of(run)}" if run else ""


def point(plain: str, begin: int, end: int) -> Judged:
    """The edits of an IP address, a time of day or a decimal number, before 点."""
    if address := _IP_ADDRESS.match(plain, begin):
        return address.end(), [Edit(begin, address.end(), digits_of(address[0]).replace("点", "."))]
    said = NUMERAL_RUN.match(plain, end + 1)
    if not said:
        return end, hour_alone(plain, begin, end)
    after = plain[said.end() : said.end() + 1]
    if after in ("几", "来") or (after == "多" and "十" in said[0]):
        return said.end(), []
    if edits := time(plain, begin, end, said):
        return max(edits[-1].end, said.end()), edits
    if after == "点" or (after == "刻" and hour_of(plain[begin:end]) is not None):
        return end + 1, hour_alone(plain, begin, end)  # hours one after the other, or 一点一点
    return said.end(), _decimal(plain, begin, end, said)


def _decimal(plain: str, begin: int, end: int, said: re.Match[str]) -> list[Edit]:
    run, after = plain[begin:end], plain[said.end() : said.end() + 1]
    parts = _FRACTIONAL.fullmatch(said[0])
    whole = digits_of(run) if DIGIT_RUN.fullmatch(run) else value_of(run)
    if parts is None or whole is None or (parts[2] == "千" and after not in ("米", "克", "瓦", "赫", "卡", "伏")):
        return []
    if len(run) == len(said[0]) == 1 and not _is_decimal(plain, begin, said):
        return []
    before = plain[begin - 1 : begin]
    is_score = before in _SCORED or plain.startswith("分钟", said.end())
    if after == "半" or (after == "分" and not is_score):
        return []  # 九点五分 may be a time
    begin, sign = signed(plain, begin)
    return [Edit(begin, said.end(), f"{sign}{whole}{_decimals(parts[1])}{parts[2] or ''}")]


def _is_decimal(plain: str, begin: int, said: re.Match[str]) -> bool:
    """Whether a digit, 点 and a digit is a number, and not 一点 (a bit) or 三点 (of a list) before another word."""
    after, before = plain[said.end() : said.end() + 1], plain[begin - 1 : begin]
    if (not after.isalpha() and after != "-") or after in words.QUANTITY or said[0] in ZEROS:
        return True
    if said[0] == "一":
        return False  # 一点一滴, 三点一线
    if plain[begin] == "一":
        return before not in words.BEFORE_A_BIT and after in words.COUNTED
    return before not in ("这", "那", "下", "第")


def money(plain: str, begin: int, end: int) -> Judged | None:
    """The edits of an amount, before 元, 块, 毛, 角 or 分; None where it is like any other number."""
    run, unit = plain[begin:end], plain[end]
    value = value_of(run)
    if value is None or unit == "分":
        return None
    edits, stop = [Edit(begin, end, shown(value))], end
    while said := NUMERAL_RUN.match(plain, stop + 1):
        after = plain[said.end() : said.end() + 1]
        if said[0] == "一" and after in words.ONE_OF and unit == "块" and run != "一":
            return said.end(), edits  # 五块一个
        if len(said[0]) == 2 and said[0][1] == "一" and after in words.ONE_OF and said[0][0] in words.UP[1:]:
            return said.end(), [*edits, Edit(said.start(), said.end() - 1, digits_of(said[0][0]))]  # 三块五一斤
        if said[0] not in words.UP[1:] or len(said[0]) > 1 or not _is_part(plain[stop], said[0], after):
            break
        edits.append(Edit(*said.span(), digits_of(said[0])))
        stop = said.end()
        if after not in ("毛", "角", "分"):
            break
    if len(edits) > 1:
        return stop, edits
    after = plain[end + 1 : end + 2]
    if value >= 10:
        return None
    if after == "钱" or (unit == "元" and run not in "一二三零" and after not in (*"数论化组素桥",)):
        return end, edits
    return end, []


def _is_part(unit: str, digit: str, after: str) -> bool:
    """Whether a digit after 元, 块, 毛 or 角 is of the same amount: 三块五, but not 五块三斤."""
    if after in ("毛", "角", "分"):
        return True
    if unit == "元" or after in ("块", "元", "点") or after in words.ONE_OF:
        return False
    return digit != "一" or after in ("的", "钱") or not after.isalpha()


def measure_and_more(plain: str, begin: int, end: int) -> Judged | None:
    """The edits of 一米七五 and 三十七度五, before 米 or 度; None where it is like any other number."""
    value, more = value_of(plain[begin:end]), _AND_MORE.match(plain, end)
    if value is None or not more or (plain[end] == "度" and value < 10):
        return None
    after = plain[more.end() : more.end() + 1]
    if after in words.COUNTED | words.WORDS_WITH_ONE | words.ONE_OF or (more[1] == "一" and after.isalpha()):
        return None
    return more.end(), [Edit(begin, end, str(value)), Edit(*more.span(1), digits_of(more[1]))]
