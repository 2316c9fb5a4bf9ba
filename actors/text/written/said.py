"""How numbers are said in Mandarin: digit by digit, as a quantity, as a date or a time of day."""

import calendar

_DIGITS = str.maketrans("0123456789", "零一二三四五六七八九")
_PLACES = ("千", "百", "十", "")
MAX_DIGITS = 16  # of a quantity: a thousand 万亿; what is longer is nothing that is counted


def digit_by_digit(digits: str) -> str:
    """ASCII digits, one after the other: 302 is 三零二."""
    return digits.translate(_DIGITS)


def quantity(digits: str) -> str:
    """A whole number of ASCII digits, as it is counted: 10500 is 一万零五百, 2000 两千, 200 二百, 12 十二. Above
    MAX_DIGITS, digit by digit."""
    digits = digits.lstrip("0") or "0"
    if len(digits) > MAX_DIGITS:
        return digit_by_digit(digits)
    said = _whole(digits)
    return said[1:] if said.startswith("一十") else said


def _whole(digits: str) -> str:
    for size, unit in ((8, "亿"), (4, "万")):
        if len(digits) > size:
            high, low = digits[:-size], digits[-size:]
            rest = low.lstrip("0")
            zero = "零" if rest and low[0] == "0" else ""
            said = "两" if high == "2" else _whole(high)
            return said + unit + zero + (_whole(rest) if rest else "")
    return _below_ten_thousand(digits)


def _below_ten_thousand(digits: str) -> str:
    said, is_open = "", False  # whether a zero is to be said before the next digit
    for digit, place in zip(digits, _PLACES[-len(digits) :], strict=True):
        if digit == "0":
            is_open = bool(said)
            continue
        name = "两" if (digit, place) == ("2", "千") else digit_by_digit(digit)
        said += ("零" if is_open else "") + name + place
        is_open = False
    return said or "零"


def decimal(whole: str, fraction: str) -> str:
    """30.5 is 三十点五, 0.05 零点零五."""
    return f"{quantity(whole)}点{digit_by_digit(fraction)}"


def time_of_day(hour: str, minute: str, second: str | None = None) -> str | None:
    """13:15 is 十三点十五分, 9:05 九点零五分, 8:00 八点; None if it is no time of day."""
    parts = [minute] if second is None else [minute, second]
    if len(hour) > 2 or int(hour) > 24 or any(len(each) != 2 or int(each) > 59 for each in parts):
        return None
    said = ("两" if int(hour) == 2 else quantity(hour)) + "点"
    if second is not None:
        return f"{said}{_two_digits(minute)}分{_two_digits(second)}秒"
    return said + (f"{_two_digits(minute)}分" if int(minute) else "")


def _two_digits(digits: str) -> str:
    return "零" + quantity(digits) if digits[0] == "0" and digits != "00" else quantity(digits)


def date(year: str, month: str, day: str) -> str | None:
    """2025-11-26 is 二零二五年十一月二十六日; None if the calendar has no such day."""
    if len(year) != 4 or len(month) > 2 or len(day) > 2 or not 1 <= int(month) <= 12 or int(year) == 0:
        return None
    if not 1 <= int(day) <= calendar.monthrange(int(year), int(month))[1]:
        return None
    return f"{digit_by_digit(year)}年{quantity(month)}月{quantity(day)}日"
