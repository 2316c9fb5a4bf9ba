"""English numbers as digits: dates, times, amounts, percentages, years, large numbers.

The digits are made by wetext (https://github.com/pengzhendong/wetext), which runs NeMo's grammar of English
(https://github.com/NVIDIA/NeMo-text-processing) without the library that compiles it. It is given only what is surely
a number, for it is eager: of a text it makes `2nd hand`, `mr. smith` and 2047 of `twenty four seven`, trims blanks and
stumbles over quotes. So what is a number is decided here, and nothing around it is touched.
"""

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache, lru_cache

from actors.extras import how_to_install
from actors.text.written import english_grammar as grammar

EXTRA = f"English numbers need the package wetext: {how_to_install('written-en')}"
#: How far before a run is looked, in characters: `a quarter past` and some words.
REACH = 40
#: Stay words by themselves.
SMALL = set("zero one two three four five six seven eight nine ten eleven twelve".split())
#: A hundred, a hundred thousand, a million: as they were said.
SCALES = set("hundred thousand million billion trillion".split())
#: Counting aloud is no number, but for what is named digit by digit.
COUNTING = ("one two three four five six seven eight nine", "nine eight seven six five four three two one")
NAMED_BY_DIGITS = set("number room flight code extension dial call press bus route channel line gate".split())
#: Beside which march and may, with a first, second or third, are months.
BEFORE_DATES = set("on by until till since from before after of for is was".split())

Span = tuple[int, int, str]
"""Where a number begins and ends in the text, and what the library is given for it."""


@dataclass(frozen=True)
class Run:
    """A row of number words in a text."""

    text: str
    start: int
    end: int

    @property
    def words(self) -> str:
        """In lower case, one space between them."""
        return " ".join(self.text[self.start : self.end].lower().replace("-", " ").split())

    @property
    def before(self) -> str:
        return self.text[max(0, self.start - REACH) : self.start]

    def word_before(self, nth: int = 1) -> str:
        words = self.before.lower().split()
        return words[-nth] if len(words) >= nth else ""

    def after(self, pattern: re.Pattern[str]) -> re.Match[str] | None:
        return pattern.match(self.text, self.end)

    def span(self, before: int = 0, after: re.Match[str] | None = None, spoken: str = "") -> Span:
        """With `before` characters before it and what was found after it."""
        found = after[0].lower() if after else ""
        return self.start - before, after.end() if after else self.end, spoken or self.words + found


def written_english(text: str) -> str:
    """A text with its numbers as digits; as it is where it has none. Never empty, and the same when done again.

    Small numbers by themselves (to twelve, and to ninth) stay words, as does what words alone do not make a number.
    Raises ModuleNotFoundError, which names the extra, where a number is met and the library is missing.

    >>> written_english("on may fifth two thousand twelve no one paid twenty three dollars and fifty cents")
    'on may 5 2012 no one paid $23.50'
    """
    pieces, done = [], 0
    for found in grammar.RUN.finditer(text):
        if found.start() < done:  # was taken with the number before it
            continue
        for run in _alone(Run(text, found.start(), found.end())):
            span = next((span for kind in KINDS if (span := kind(run)) is not None and span[0] >= done), None)
            if span is not None:
                pieces += [text[done : span[0]], _written(span[2], text[span[0] : span[1]])]
                done = span[1]
    return "".join(pieces) + text[done:] if pieces else text


def _alone(run: Run) -> Iterator[Run]:
    """The run, or its numbers where `and` joins two; none where it is part of a word, or of a number unknown."""
    joined = run.text[run.start - 1 : run.start] in ("-", "'", "’") if run.start else False
    joined = joined or re.match(r"['’]\w", run.text[run.end : run.end + 2]) is not None
    neighbours = {run.word_before(), *run.text[run.end : run.end + REACH].lower().split()[:1]}
    if joined or run.word_before() == "point" or neighbours & {"oh", "o"}:
        return
    whole = (f"one {run.words}", run.words)  # a hundred and one
    if " and " not in run.words or any(grammar.WITH_AND.fullmatch(each) for each in whole):
        yield run
        return
    begun = run.start
    for joint in re.finditer(r"\band\b", run.text[run.start : run.end], re.IGNORECASE):
        part = run.text[begun : run.start + joint.start()]
        yield Run(run.text, begun, begun + len(part.rstrip()))
        begun = run.start + joint.end() + 1
    yield Run(run.text, begun, run.end)


def _date(run: Run) -> Span | None:
    words, month = run.words, grammar.MONTH_BEFORE.search(run.before)
    dated = grammar.DAY_AND_YEAR.fullmatch(words)
    if month is not None and not re.search(r"\d(?:st|nd|rd|th) of $", run.before[: month.start()]):
        first = words in ("first", "second", "third")
        verb = month[1].lower() in ("may", "march")
        word_before = run.before[: month.start()].lower().split()[-1:]
        sure = not first or run.after(grammar.NOT_A_DAY) is None
        sure = sure and not (first and verb and not set(word_before) & BEFORE_DATES)
        if dated or grammar.YEAR.fullmatch(words) or (grammar.DAY.fullmatch(words) and sure):
            return run.span(len(month[0]), spoken=f"{month[1].lower()} {words}")
    elif grammar.DAY.fullmatch(words) and run.word_before() not in ("a", "one", "every"):
        of_month = run.after(grammar.OF_MONTH_AFTER)
        return run.span(0, of_month) if of_month else None
    return None


def _time(run: Run) -> Span | None:
    words, part = run.words, grammar.PART_OF_HOUR_BEFORE.search(run.before)
    if part is not None and words in SMALL - {"zero"}:
        return run.span(len(part[0]), spoken=f"{part[1].lower()} {words}")
    clock = grammar.CLOCK.fullmatch(words)
    if clock:  # the library takes two oh five for the number of a room, but not five past two
        words = f"{clock[2] or clock[3]} past {clock[1]}"
    day_half = run.after(grammar.HALF_OF_DAY_AFTER) if clock or words in SMALL - {"zero"} else None
    if day_half is not None and run.word_before() not in ("no", "the", "this", "that"):
        return run.span(0, day_half, f"{words} {day_half[0].lower().replace(' ', '')}")
    if words in SMALL - {"zero"} and (o_clock := run.after(grammar.O_CLOCK_AFTER)):
        return run.span(0, o_clock)
    if grammar.MINUTES.fullmatch(words) and (past := run.after(grammar.PAST_HOUR_AFTER)):
        return run.span(0, past)
    if run.word_before() == "at" and not run.after(grammar.COUNTED_AFTER) and clock:
        return run.span(spoken=words)
    return None


def _amount(run: Run) -> Span | None:
    """A number with what it counts: money, measures, percentages, degrees below zero."""
    before, words = 0, run.words
    if run.word_before() == "a" and grammar.CARDINAL.fullmatch(f"one {words}") and len(words.split()) > 1:
        if run.word_before(2) in ("half", "many", "quite", "such") or set(words.split()) <= SCALES:
            return None
        before, words = len(run.before) - len(run.before.rstrip()[:-1]), f"one {words}"
    if grammar.MONEY_BEFORE.search(run.before):
        return None  # a dollar fifty
    decimal = grammar.DECIMAL.fullmatch(words)
    if not decimal and not grammar.CARDINAL.fullmatch(words):
        return None
    if grammar.MINUTES.fullmatch(words) and run.after(grammar.TO_HOUR_AFTER):
        return None  # twenty to three, which may be a time
    words = _with_zeros(words)
    unit = None  # five or six dollars are no five or $6
    if not (run.word_before() in grammar.ENUMERATED and _is_number(run.word_before(2))):
        units = (grammar.PERCENT_AFTER, grammar.MONEY_AFTER, grammar.MEASURE_AFTER)
        unit = next((found for pattern in units if (found := run.after(pattern))), None)
    if unit is not None and not (unit[0] == " cents" and run.word_before() in ("my", "your", "his", "her", "our")):
        cents = grammar.CENTS_AFTER.match(run.text, unit.end()) if "dollar" in unit[0].lower() else None
        counted = re.sub("per cent", "percent", unit[0].lower()) + (f" and {cents[1].lower()} cents" if cents else "")
        return run.start - before, (cents or unit).end(), words + counted
    if run.word_before() == "minus" and not _is_number(run.word_before(2)):
        minus = grammar.MINUS_BEFORE.search(run.before)
        return run.span(len(minus[0]), spoken=f"minus {words}") if minus and words not in SMALL else None
    if decimal and words.startswith("one point") and run.word_before() in ("at", "the", "this", "that", "some"):
        return None  # at one point two people left
    return run.span(before, spoken=words) if words not in SMALL else None


def _with_zeros(words: str) -> str:
    return re.sub(r"\boh?\b", "zero", words)


def _is_number(word: str) -> bool:
    return bool(grammar.NUMBER_WORD.fullmatch(word) or re.search(r"\d", word))


def _year(run: Run) -> Span | None:
    sure = grammar.YEAR.fullmatch(run.words) and not run.after(grammar.COUNTED_AFTER)
    return run.span() if sure or grammar.DECADE.fullmatch(run.words) else None


def _digits(run: Run) -> Span | None:
    counting = any(run.words in each for each in COUNTING) and run.word_before() not in NAMED_BY_DIGITS
    return run.span(spoken=_with_zeros(run.words)) if grammar.DIGITS.fullmatch(run.words) and not counting else None


def _ordinal(run: Run) -> Span | None:
    if not grammar.ORDINAL.fullmatch(run.words) or run.word_before() in ("a", "an"):
        return None
    second = run.words.endswith(" second") and not run.after(grammar.AFTER_NTH_SECOND)  # a thirty second break
    return None if second else run.span()


KINDS: tuple[Callable[[Run], Span | None], ...] = (_date, _time, _amount, _year, _digits, _ordinal)
"""What a run may be, the surest first."""


def _written(spoken: str, replaced: str) -> str:
    """What the library makes of a number, as people write it; what was there where it makes no digits of it."""
    written = _by_library(spoken).replace(" %", "%")
    month = grammar.MONTH.search(replaced)
    if month is not None:
        written = written.replace(month[0].lower(), month[0])
    written = re.sub(r"^0(\d:\d\d)", r"\1", written)
    written = re.sub(r"(?<=\d) ([ap])m$", r" \1.m.", written)
    return written if re.search(r"\d", written) else replaced


@lru_cache(maxsize=4096)  # numbers come back, and each costs 1 ms
def _by_library(spoken: str) -> str:
    return str(_normalizer()(spoken))


@cache
def _normalizer() -> Callable[[str], str]:
    try:
        from wetext import Normalizer
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError(EXTRA, name=error.name) from error
    normalise: Callable[[str], str] = Normalizer(lang="en", operator="itn").normalize
    return normalise
