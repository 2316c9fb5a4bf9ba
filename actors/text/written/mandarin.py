"""Mandarin as it is written: numerals become digits where their context says that they are a number.

A text is searched for runs of numerals; each run is then judged by what stands right before and after it, and what it
makes is a list of edits. All else stays as it was said. Every run is looked at a bounded number of times, so any text
takes time in proportion to its length.
"""

import re
from typing import NamedTuple

from actors.text.written import mandarin_words as words
from actors.text.written.mandarin_numbers import DIGIT_NUMERALS, LONGEST, NUMERALS, digits_of, shown, value_of

_SIMPLIFIED = str.maketrans(
    "點塊萬億號樓兩層單棟幢時鐘鍾週間線門廳館機車庫負華氏釐兆噸個開",
    "点块万亿号楼两层单栋幢时钟钟周间线门厅馆机车库负华氏厘兆吨个开",
)
_TRADITIONAL = re.compile("[點塊萬億號樓兩層負釐噸]")
#: A run of numerals; a single digit only before what may make a number of it.
_RUN = re.compile(
    f"[{NUMERALS}](?:(?<=[十百千万亿])|(?=[{NUMERALS}点年月元块毛角分楼号公千厘毫微纳英海平立伏赫摄华小秒美欧日港韩卢单线比字兆吨米克个度层行页排列室层]))"
    f"[{NUMERALS}]*+"
)
_DIGITS = re.compile(f"[{DIGIT_NUMERALS}]++")
_AFTER = re.compile(f"[{NUMERALS}]++")
_FRACTION = re.compile(f"分之([{NUMERALS}]++)(?:点([{DIGIT_NUMERALS}]++))?")
_MONTH = re.compile("([一二三四五六七八九十]{1,2})月(?:([一二三四五六七八九十]{1,3})(?=[日号]))?")
_DAY = re.compile("月([一二三四五六七八九十]{1,3})(?=[日号])")
_FRACTIONAL = re.compile(f"([{DIGIT_NUMERALS}]++)(万亿|[万亿]|百万|千万|千(?=[米克瓦赫伏卡]))?")
_MINUTES = re.compile("[一二三四五]?十[一二三四五六七八九]?|零[一二三四五六七八九]")
_SECONDS = re.compile("分([一二三四五六七八九十零]{1,3})秒")
_IP_ADDRESS = re.compile(f"[{DIGIT_NUMERALS}]{{2,3}}(?:点[{DIGIT_NUMERALS}]{{1,3}}){{3}}(?![{NUMERALS}点])")
_ORDINAL_SINGLE = frozenset("行层页排列")
_ASCENDING = "一二三四五六七八九"


class _Edit(NamedTuple):
    """What is written instead of text[begin:end]."""

    begin: int
    end: int
    text: str


def written_mandarin(text: str) -> str:
    """A Mandarin text with its numbers in digits.

    >>> written_mandarin("二零二六年十一月二十五日百分之三十点五")
    '2026年11月25日30.5%'
    >>> written_mandarin("万一十分方便")
    '万一十分方便'
    """
    plain = text.translate(_SIMPLIFIED) if _TRADITIONAL.search(text) else text
    parts, done, at = list[str](), 0, 0
    while run := _RUN.search(plain, at):
        at, edits = _judged(plain, *run.span())
        for edit in edits:
            parts += text[done : edit.begin], edit.text
            done = edit.end
    return "".join([*parts, text[done:]]) if parts else text


def _judged(plain: str, begin: int, end: int) -> tuple[int, list[_Edit]]:
    """Where to go on, and the edits, for the run of numerals plain[begin:end]."""
    before = plain[begin - 1 : begin]
    if before and (before in "0123456789.:%"):
        return end, []
    if before in _WEEK and _is_weekday(plain, begin) and end - begin > 1:
        begin += 1
        before = ""
    after = plain[end : end + 1]
    if after == "分" and plain.startswith("之", end + 1):
        return _fraction(plain, begin, end)
    if before and before in words.VAGUE:
        return end, []
    if after == "点":
        return _point(plain, begin, end)
    if after == "年" and (found := _year(plain, begin, end)):
        return found
    if after == "月" and (found := _month(plain, begin, end)):
        return found
    if after and after in "元块毛角分" and (found := _money(plain, begin, end)):
        return found
    return end, _number(plain, begin, end)


_WEEK = ("周", "期", "拜")


def _is_weekday(plain: str, begin: int) -> bool:
    return plain[begin] in "一二三四五六" and plain[begin - 2 : begin - 1] not in (*NUMERALS, "几", "每", "学", "日")


def _fraction(plain: str, begin: int, end: int) -> tuple[int, list[_Edit]]:
    """百分之三十点五 is 30.5%; other fractions are left as they are."""
    found = _FRACTION.match(plain, end)
    if not found:
        return end, []
    stop, (part, decimals) = found.end(), found.groups()
    if plain[begin:end] != "百" or (part == "百" and not decimals):
        return stop, []
    if decimals is None and len(part) > 1 and part[-1] == "一" and plain[stop : stop + 1] in (*words.WORDS_WITH_ONE,):
        part, stop = part[:-1], stop - 1
    value = value_of(part)
    after = plain[stop : stop + 1]
    if value is None or after in ("几", "来", "分") or (after in ("到", "至") and _DIGITS.match(plain, stop + 1)):
        return found.end(), []
    begin, sign = _signed(plain, begin)
    return found.end(), [_Edit(begin, stop, f"{sign}{value}{_decimals(decimals)}%")]


def _decimals(run: str | None) -> str:
    return f".{digits_of(run)}" if run else ""


def _signed(plain: str, begin: int) -> tuple[int, str]:
    """Where a number begins, and its sign."""
    if plain[begin - 1 : begin] == "负" and plain[begin - 2 : begin - 1] not in words.NOT_MINUS:
        return begin - 1, "-"
    return begin, ""


def _point(plain: str, begin: int, end: int) -> tuple[int, list[_Edit]]:
    """A time of day, or a decimal number."""
    if address := _IP_ADDRESS.match(plain, begin):
        return address.end(), [_Edit(begin, address.end(), digits_of(address[0]).replace("点", "."))]
    run = plain[begin:end]
    hour = value_of(run) if len(run) <= 3 else None
    hour = hour if hour is not None and hour <= 24 else None
    in_day = plain[begin - 2 : begin] in words.PARTS_OF_DAY if begin > 1 else False
    found = _AFTER.match(plain, end + 1)
    if not found:
        return end, _hour(plain, begin, end, hour, in_day)
    said, stop = found[0], found.end()
    after = plain[stop : stop + 1]
    if after in ("几", "多", "来") and "十" in said:
        return stop, []
    if hour is not None and (edits := _time(plain, _Edit(begin, end, str(hour)), found.span(), in_day)):
        return max(edits[-1].end, stop), edits
    parts = _FRACTIONAL.fullmatch(said)
    if parts is None or after == "点" or (after == "刻" and hour is not None):
        return end + 1, []
    whole = digits_of(run) if _DIGITS.fullmatch(run) else value_of(run)
    if whole is None or (len(run) == len(said) == 1 and not _is_decimal(plain, begin, stop, said)):
        return stop, []
    if after in ("分", "半") and not (after == "分" and plain[begin - 1 : begin] in ("得", "打", "评", "到", "了")):
        return stop, []
    begin, sign = _signed(plain, begin)
    return stop, [_Edit(begin, stop, f"{sign}{whole}{_decimals(parts[1])}{parts[2] or ''}")]


_STRONG = frozenset("万亿倍米元公千厘毫斤克吨升度平小折寸英美%")


def _is_decimal(plain: str, begin: int, stop: int, said: str) -> bool:
    """Whether a digit, 点 and a digit is a number, and not 一点 (a bit) or 三点 (of a list) before another word."""
    after, before = plain[stop : stop + 1], plain[begin - 1 : begin]
    if not after or after in _STRONG:
        return True
    if said == "一":
        return False
    if plain[begin] == "一":
        return before not in words.BEFORE_A_BIT and after in words.COUNTED
    return before not in ("这", "那", "下", "第")


def _hour(plain: str, begin: int, end: int, hour: int | None, in_day: bool) -> list[_Edit]:
    """The hour alone, where it is one."""
    after, before = plain[end + 1 : end + 2], plain[begin - 2 : begin]
    if hour is None or after in ("几", "儿"):
        return []
    is_hour = after in ("半", "整", "钟") and plain[end + 2 : end + 3] != "点"
    if in_day:
        is_hour = is_hour or plain[begin:end] != "一" or after not in ("都", "也", "没", "不", "吧", "啊")
    is_hour = is_hour or hour >= 10 or before in ("点到", "点至", "半到", "半至")
    is_hour = is_hour or bool(re.compile(f"[到至][{NUMERALS}]{{1,3}}点").match(plain, end + 1))
    return [_Edit(begin, end, str(hour))] if is_hour else []


def _time(plain: str, hour: _Edit, minutes: tuple[int, int], in_day: bool) -> list[_Edit]:
    """The edits of an hour, its minutes and seconds; none where it is no time of day."""
    said, after = plain[slice(*minutes)], plain[minutes[1] : minutes[1] + 1]
    edits = [hour]
    if said in ("一", "三") and after == "刻":
        return edits
    if said == "十" and (after != "分" or plain[hour.begin - 1 : hour.begin] in words.BEFORE_A_BIT):
        return []
    if _MINUTES.fullmatch(said):
        if said[0] == "零" and not (after == "分" or in_day):
            return []
        value = digits_of(said) if said[0] == "零" else str(value_of(said))
    elif len(said) == 1 and said in _ASCENDING and after == "分" and in_day:
        value = digits_of(said)
    else:
        return []
    edits.append(_Edit(*minutes, value))
    if seconds := _SECONDS.match(plain, minutes[1]):
        value = digits_of(seconds[1]) if seconds[1][0] == "零" else str(value_of(seconds[1]) or "")
        edits += [_Edit(*seconds.span(1), value)] if value else []
    return edits


def _year(plain: str, begin: int, end: int) -> tuple[int, list[_Edit]] | None:
    run = plain[begin:end]
    if not _DIGITS.fullmatch(run) or len(run) not in (2, 3, 4):
        return None
    month = _MONTH.match(plain, end + 1)
    if len(run) == 2 and not month and (run in _ASCENDING or run in ("三五", "一两")):
        return None
    edits = [_Edit(begin, end, digits_of(run))]
    if not month:
        return end, edits
    value, day = value_of(month[1]), value_of(month[2] or "一")
    if not value or value > 12 or not day or day > 31:
        return end, edits
    edits.append(_Edit(*month.span(1), str(value)))
    if month[2]:
        edits.append(_Edit(*month.span(2), str(day)))
    return month.end(), edits


def _month(plain: str, begin: int, end: int) -> tuple[int, list[_Edit]] | None:
    value = value_of(plain[begin:end])
    if not value or value > 12 or plain[begin] in "两零〇":
        return end, []
    edits = [_Edit(begin, end, str(value))]
    found = _DAY.match(plain, end)
    day = value_of(found[1]) if found else None
    if found and day and day <= 31:
        return found.end(), [*edits, _Edit(*found.span(1), str(day))]
    after, before = plain[end + 1 : end + 2], plain[begin - 1 : begin]
    is_month = before == "年" or after == "份" or (value > 10 and after not in ("饼", "亮", "光", "球", "初"))
    is_month = is_month or plain[begin - 2 : begin] in ("月到", "月至")
    is_month = is_month or bool(re.compile("[到至][一二三四五六七八九十]{1,2}月").match(plain, end + 1))
    return end, edits if is_month else []


def _money(plain: str, begin: int, end: int) -> tuple[int, list[_Edit]] | None:
    """An amount of more than one part, or of one digit."""
    value, unit = value_of(plain[begin:end]), plain[end]
    if value is None or unit == "分":
        return None
    edits, stop = [_Edit(begin, end, shown(value))], end
    while found := _AFTER.match(plain, stop + 1):
        said, after = found[0], plain[found.end() : found.end() + 1]
        if len(said) == 2 and said[1] == "一" and after in words.ONE_OF and said[0] in _ASCENDING:
            return found.end(), [*edits, _Edit(found.start(), found.start() + 1, digits_of(said[0]))]
        if (
            len(said) > 1
            or said not in _ASCENDING
            or after in ("块", "元", "点")
            or (said == "一" and after in words.ONE_OF)
        ):
            break
        edits.append(_Edit(*found.span(), digits_of(said)))
        stop = found.end()
        if after not in ("毛", "角", "分"):
            break
    if len(edits) > 1:
        return stop, edits
    if value >= 10:
        return None
    after = plain[end + 1 : end + 2]
    run = plain[begin:end]
    if after == "钱" or (unit == "块" and found and found[0] == "一"):
        return end, edits
    if unit == "元" and run not in "一二三零":
        return end, edits
    return end, []


def _number(plain: str, begin: int, end: int) -> list[_Edit]:
    """A number by itself, or before what it counts."""
    run, after, before = plain[begin:end], plain[end : end + 1], plain[begin - 1 : begin]
    if _DIGITS.fullmatch(run):
        if len(run) == 1:
            return _single(plain, begin, end)
        is_code = len(run) > 2 and (before in words.LABELS or after in ("室", "房") or _is_code(run))
        is_code = (
            is_code
            or (len(run) == 2 and run[1] in "零五" and after == "后")
            or (after == "折" and run not in _ASCENDING)
        )
        return [_Edit(begin, end, digits_of(run))] if is_code else []
    if run == "两":
        return _single(plain, begin, end)
    if len(run) > LONGEST:
        return []
    if run[-1] == "两" or (
        run[-1] == "一"
        and (after in (*words.WORDS_WITH_ONE,) or (after in (*words.ONE_OF,) and run[-2] not in "十零〇"))
    ):
        run, end = run[:-1], end - 1
        after = plain[end : end + 1]
    value = value_of(run)
    if value is None or value < 10 or after in ("几", "来") or words.SAYINGS.match(plain, begin):
        return []
    if value < 100 and not _is_counted(plain, begin, end, run):
        return []
    begin, sign = _signed(plain, begin)
    return [_Edit(begin, end, sign + shown(value))]


def _is_counted(plain: str, begin: int, end: int, run: str) -> bool:
    """Whether a number below 100 has something by which it is one."""
    after, before = plain[end : end + 1], plain[begin - 1 : begin]
    if run == "十":
        return bool(MEASURED_TEN.match(plain, end)) and not (
            after == "分" and plain[end + 1 : end + 2] not in ("钟", "钱")
        )
    if before == "年" and run == "三十":
        return False
    if run[0] != "十" and len(run) == 3:
        return True
    return not after or after in words.COUNTED or before in (*"第共是到有至约近于满负加减乘除",) or before.isascii()


MEASURED_TEN = re.compile(f"{words.MEASURED.pattern}|[块元楼]|号|分钟|倍|岁|分钱|[乘]")


def _single(plain: str, begin: int, end: int) -> list[_Edit]:
    """A single digit before a measure, or in the number of a floor, a line or a room."""
    run, before = plain[begin:end], plain[begin - 1 : begin]
    after = plain[end : end + 1]
    is_ordinal = before == "第" and after in _ORDINAL_SINGLE
    is_measured = bool(words.MEASURED.match(plain, end)) and run not in "零〇幺"
    if run == "一":
        is_measured = is_measured and after in ("号", "单", "楼")
    is_degree = after == "度" and (plain[begin - 2 : begin] in ("零下", "零上") or before == "负")
    if (
        not (is_ordinal or is_measured or is_degree)
        or words.SAYINGS.match(plain, begin)
        or plain.startswith("分钟热", end)
    ):
        return []
    begin, sign = _signed(plain, begin)
    return [_Edit(begin, end, sign + digits_of(run))]


def _is_code(run: str) -> bool:
    """Whether digits said one by one are a code, and not counting (一二三) or days (一三五)."""
    return run not in words.SEQUENCES and run not in _ASCENDING
