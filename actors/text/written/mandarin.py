"""Mandarin as it is written: numerals become digits where their context says that they are a number.

A text is searched for runs of numerals; each run is then judged by what stands right before and after it, and what
comes of it is a list of edits. All else stays as it was said. No run is looked at more than a few times, so any text
takes time in proportion to its length.
"""

import re
from collections.abc import Callable, Iterator

from actors.text.written import mandarin_words as words
from actors.text.written.mandarin_amounts import DIGIT_RUN, fraction, measure_and_more, money, point, signed
from actors.text.written.mandarin_numbers import LONGEST, NUMERALS, ZEROS, Edit, Judged, digits_of, shown, value_of
from actors.text.written.mandarin_times import formal_time, month, year

#: Characters of the rules that are written otherwise in traditional Mandarin; each is one character in both.
_SIMPLIFIED = str.maketrans(
    "點塊萬億號樓兩層單棟幢時鐘鍾週間線門廳館機車庫負華氏釐兆噸個錢頁級會歲條張幾來後",
    "点块万亿号楼两层单栋幢时钟钟周间线门厅馆机车库负华氏厘兆吨个钱页级会岁条张几来后",
)
_UNITS = str.maketrans("万亿", "萬億")
_TRADITIONAL = re.compile("[點塊萬億號樓兩層負釐噸個錢條歲張幾來後線單]")
#: A run of numerals; a single digit only where what stands beside it may make a number of it.
_RUN = re.compile(
    f"[{NUMERALS}](?:(?<=[十百千万亿])|(?=[{NUMERALS}点年月{words.MEASURE_STARTS}]|个百分)|(?<=[第负上下].)(?=[行层页排列度])"
    f"|(?=[日号][到至][{NUMERALS}]{{1,3}}[日号])|(?<=[日号][到至].)(?=[日号]))"
    f"[{NUMERALS}]*+"
)
_TO_A_DAY = re.compile(f"[日号][到至][{NUMERALS}]{{1,3}}[日号]")
_DAYS_TO = frozenset(["日到", "日至", "号到", "号至"])
#: Who judges a run by what follows it; None from one of them is said of any other number.
_BY_UNIT: dict[str, Callable[[str, int, int], Judged | None]] = {
    "点": point,
    "时": formal_time,
    "年": year,
    "月": month,
    **dict.fromkeys("元块毛角分", money),
    **dict.fromkeys("米度", measure_and_more),
}
_WEEKDAYS = "一二三四五六"
_PAIRS = re.compile(r"(.)\1(?!\1)(.)\2")  # 七七八八


def written_mandarin(text: str) -> str:
    """A Mandarin text with its numbers in digits.

    >>> written_mandarin("二零二六年十一月二十五日百分之三十点五")
    '2026年11月25日30.5%'
    >>> written_mandarin("万一十分方便")
    '万一十分方便'
    """
    parts, done = list[str](), 0
    for edits in numbers_in(text):
        for edit in edits:
            parts += text[done : edit.begin], edit.text
            done = edit.end
    return "".join([*parts, text[done:]]) if parts else text


def numbers_in(text: str) -> Iterator[list[Edit]]:
    """The edits of each number of a text, in order.

    >>> list(numbers_in("五塊錢"))
    [[Edit(begin=0, end=1, text='5')]]
    """
    is_traditional = bool(_TRADITIONAL.search(text))
    plain = text.translate(_SIMPLIFIED) if is_traditional else text
    at = 0
    while run := _RUN.search(plain, at):
        at, edits = _judged(plain, *run.span())
        if edits:
            yield [_as_in(text, edit) for edit in edits] if is_traditional else edits


def _as_in(text: str, edit: Edit) -> Edit:
    """An edit of a text in traditional characters, with its 萬 and 億 if it has any."""
    if {"萬", "億"}.isdisjoint(text[edit.begin : edit.end]):
        return edit
    return edit._replace(text=edit.text.translate(_UNITS))


def _judged(plain: str, begin: int, end: int) -> Judged:
    """Where to go on, and the edits, for the run of numerals plain[begin:end]."""
    before, after = plain[begin - 1 : begin], plain[end : end + 1]
    if before in (".", ":", "%") or before.isdigit():
        return end, []  # half in digits already
    if before in ("周", "期", "拜") and end - begin > 1 and _is_weekday(plain, begin):
        begin, before = begin + 1, ""
    if after == "分" and plain.startswith("之", end + 1):
        return fraction(plain, begin, end)
    is_vague = before in words.VAGUE and plain[begin] in "十百千万亿"
    if before in ("几", "来", "多") and _is_numeral(plain[max(begin - 2, 0) : begin - 1]):
        return end, []  # 十几二十个
    if is_vague or before in words.NAMES or (begin > 1 and plain[begin - 2 : begin] in words.NAMED):
        return end, []
    judge = _BY_UNIT.get(after)
    return (judge and judge(plain, begin, end)) or (end, _number(plain, begin, end))


def _is_weekday(plain: str, begin: int) -> bool:
    """Whether the numeral ends the name of a weekday, as in 周三十点; 两周三十天 has none."""
    counted = plain[begin - 2 : begin - 1] if begin > 1 else ""
    return plain[begin] in _WEEKDAYS and counted not in (*NUMERALS, "几", "每") and not counted.isdigit()


def _is_numeral(char: str) -> bool:
    """Whether a character is part of a number, said or written."""
    return char.isdigit() or char == "%" or (char != "" and char in NUMERALS)


def _number(plain: str, begin: int, end: int) -> list[Edit]:
    """A number by itself, or before what it counts."""
    run = plain[begin:end]
    if end - begin == 1 and run not in "十百千万亿":
        return _single(plain, begin, end)
    if DIGIT_RUN.fullmatch(run):
        return [Edit(begin, end, digits_of(run))] if _is_code(plain, begin, end, run) else []
    if len(run) > LONGEST:
        return []
    if _ends_before_last(run, plain[end : end + 1]):
        run, end = run[:-1], end - 1
    value = value_of(run)
    if value is None or value < 10 or plain[end : end + 1] in ("几", "来"):
        return []
    if plain[end : end + 1] == "世" and plain[end + 1 : end + 2] not in ("纪", "界"):
        return []  # 约翰二十三世
    if (saying := words.SAYINGS.match(plain, begin)) and saying.end() >= end:
        return []
    if value < 100 and not _is_counted(plain, begin, end, run):
        return []
    begin, sign = signed(plain, begin)
    return [Edit(begin, end, sign + shown(value))]


def _ends_before_last(run: str, after: str) -> bool:
    """Whether the last numeral of a run belongs to what follows: 一百两, 二十一直, 二十万一张."""
    if run[-1] == "一":
        return after in words.WORDS_WITH_ONE or (after in words.ONE_OF and run[-2] not in f"十{ZEROS}")
    return run[-1] == "两"


def _is_counted(plain: str, begin: int, end: int, run: str) -> bool:
    """Whether a number below 100 has something by which it is one."""
    after, before = plain[end : end + 1], plain[begin - 1 : begin]
    if run == "十":
        return bool(words.MEASURED_TEN.match(plain, end))
    if (before == "年" and run == "三十") or (before == "月" and after not in ("日", "号", "天", "个")):
        return False  # 大年三十, 正月十五
    if run[0] != "十" and len(run) == 3:
        return True
    is_latin = before.isascii() and before.isalpha()
    is_last = not after.isalpha() and after != "-"
    return is_last or after in words.COUNTED or before in words.COUNTING or is_latin


def _single(plain: str, begin: int, end: int) -> list[Edit]:
    """A single digit before a measure, or in the number of a floor, a line or a room."""
    run, before, after = plain[begin:end], plain[begin - 1 : begin], plain[end : end + 1]
    if run in f"{ZEROS}幺" or before == "同" or (before == "、" and _is_numeral(plain[max(begin - 2, 0) : begin - 1])):
        return []  # 三、四楼 would be half in digits
    is_number = bool(words.MEASURED.match(plain, end)) and (run != "一" or after in ("号", "单", "楼"))
    is_number = is_number or bool(_TO_A_DAY.match(plain, end))
    is_number = is_number or (after in ("日", "号") and plain[max(begin - 2, 0) : begin] in _DAYS_TO)
    is_number = is_number or (before == "第" and bool(words.NUMBERED.match(plain, end)))
    is_number = is_number or (
        after == "度" and (before == "负" or plain[max(begin - 2, 0) : begin] in ("零下", "零上"))
    )
    if not is_number or plain.startswith("分钟热", end):
        return []
    begin, sign = signed(plain, begin)
    return [Edit(begin, end, sign + digits_of(run))]


def _is_code(plain: str, begin: int, end: int, run: str) -> bool:
    """Whether digits said one by one are a code, and not counting (一二三), days (一三五) or an estimate (三四)."""
    before, after = plain[begin - 1 : begin], plain[end : end + 1]
    if len(run) == 2:
        return (after == "后" and run[1] in "零五" and run[0] not in "二三四") or (
            after == "折" and run not in words.UP
        )
    if after == "几" or plain[end : end + 2] in words.HISTORY:
        return False
    is_counting = run in words.UP or run in words.DOWN or run in words.SEQUENCES or bool(_PAIRS.fullmatch(run))
    return not is_counting or before in words.LABELS or after in ("室", "房")
