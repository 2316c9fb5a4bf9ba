"""Which English words are a number: what may be handed to a library, as regular expressions.

A run is the longest row of number words; a form says what the whole of it may be read as. What fits no form
(`twenty four seven`, `fifty fifty`) is not a number that a rule can know, and stays. Forms are over lower case with
one space between words, and none repeats a repetition, so that each is linear.
"""

import re

_DIGIT = "(?:one|two|three|four|five|six|seven|eight|nine)"
_TEENS = "(?:ten|eleven|twelve|thirteen|fourteen|fifteen|sixteen|seventeen|eighteen|nineteen)"
_TENS = "(?:twenty|thirty|forty|fifty|sixty|seventy|eighty|ninety)"
_FIRST = "(?:first|second|third|fourth|fifth|sixth|seventh|eighth|ninth)"
_TENTH = (
    "(?:tenth|eleventh|twelfth|thirteenth|fourteenth|fifteenth|sixteenth|seventeenth|eighteenth|nineteenth|"
    "twentieth|thirtieth|fortieth|fiftieth|sixtieth|seventieth|eightieth|ninetieth)"
)
_DECADE = "(?:twenties|thirties|forties|fifties|sixties|seventies|eighties|nineties)"
_MONTH = "(?:january|february|march|april|may|june|july|august|september|october|november|december)"

_WORD = (
    rf"(?:zero|{_DIGIT}|{_TEENS}|{_TENS}|hundred|thousand|million|billion|trillion|{_FIRST}|{_TENTH}|{_DECADE}|"
    r"hundredth|thousandth|millionth)\b"
)
_GAP = r"(?:[^\S\r\n]+|-)"
#: The longest row of number words. `and`, `point` and `oh` belong to it only between two of them.
RUN = re.compile(rf"\b{_WORD}(?:{_GAP}(?:(?:and|point|oh|o){_GAP}){{0,2}}{_WORD})*+", re.IGNORECASE)

_TO_99 = rf"(?:{_TENS} {_DIGIT}|{_TENS}|{_TEENS}|{_DIGIT})"
_TO_999 = rf"(?:{_DIGIT} hundred(?: and)? {_TO_99}|{_DIGIT} hundred|{_TO_99})"
_THOUSANDS = "".join(
    rf"(?:{_TO_999} {scale}(?: and\b)?(?: |$))?" for scale in "trillion billion million thousand".split()
)
_HUNDREDS = rf"(?:{_TEENS}|{_TENS} {_DIGIT}) hundred(?:(?: and)? {_TO_99})?"  # twelve hundred and fifty
_DAY = (
    rf"(?:{_FIRST}|tenth|eleventh|twelfth|(?:thir|four|fif|six|seven|eigh|nine)teenth|"
    rf"(?:twenty|thirty) {_FIRST}|twentieth|thirtieth)"
)
_YEAR = (
    rf"(?:(?:thirteen|fourteen|fifteen|sixteen|seventeen|eighteen|nineteen|twenty) "
    rf"(?:{_TENS} {_DIGIT}|{_TENS}|{_TEENS}|(?:oh|o) {_DIGIT})|two thousand(?: and)? {_TO_99}|two thousand|"
    rf"nineteen hundred(?: and {_TO_99})?)"
)

CARDINAL = re.compile(rf"(?=.){_THOUSANDS}(?:{_TO_999})?(?<! )|{_HUNDREDS}")
_SPELT = rf"(?:zero|oh|o|{_DIGIT})"
DECIMAL = re.compile(
    rf"(?:zero|(?:{_TO_999} thousand (?:and )?)?{_TO_999}) point {_SPELT}(?: {_SPELT})*(?: (?:m|b|tr)illion)?"
)
#: Of ten and more: first to ninth are words (first of all, second hand), but for days.
ORDINAL = re.compile(
    rf"(?:{_DIGIT} hundred (?:and )?(?:{_TENS} )?{_FIRST}|{_TENS} {_FIRST}|(?:{_DIGIT} hundred (?:and )?)?{_TENTH})"
)
WITH_AND = re.compile(rf"{CARDINAL.pattern}|{DECIMAL.pattern}|{ORDINAL.pattern}")
YEAR = re.compile(_YEAR)
DECADE = re.compile(rf"(?:sixteen|seventeen|eighteen|nineteen|twenty) {_DECADE}")
DAY = re.compile(_DAY)
DAY_AND_YEAR = re.compile(rf"(?:{_DAY}|{_TO_99}) {_YEAR}")
DIGITS = re.compile(rf"(?:zero|{_DIGIT})(?: {_SPELT}){{2,30}}")
CLOCK = re.compile(
    rf"({_DIGIT}|ten|eleven|twelve) (?:oh? ({_DIGIT})|({_TEENS}|(?:twenty|thirty|forty|fifty)(?: {_DIGIT})?))"
)
MINUTES = re.compile(rf"(?:{_TEENS}|five|twenty five|twenty)")

#: What may stand around a run.
MONTH = re.compile(rf"\b{_MONTH}\b", re.IGNORECASE)
MONTH_BEFORE = re.compile(rf"\b({_MONTH})[^\S\r\n]+$", re.IGNORECASE)
PART_OF_HOUR_BEFORE = re.compile(r"\b(?:a )?((?:half|quarter) past|quarter to) $", re.IGNORECASE)
MINUS_BEFORE = re.compile(r"\bminus $", re.IGNORECASE)
OF_MONTH_AFTER = re.compile(rf" of {_MONTH}(?: {_YEAR})?\b", re.IGNORECASE)
HALF_OF_DAY_AFTER = re.compile(r" (?:[ap] m|[ap]m)\b(?! i\b)", re.IGNORECASE)
O_CLOCK_AFTER = re.compile(r" o'clock\b", re.IGNORECASE)
TO_HOUR_AFTER = re.compile(rf" to (?:{_DIGIT}|ten|eleven|twelve)\b(?![ -](?:{_WORD}))", re.IGNORECASE)
PAST_HOUR_AFTER = re.compile(rf" past (?:{_DIGIT}|ten|eleven|twelve)\b(?![ -](?:{_WORD}))", re.IGNORECASE)
PERCENT_AFTER = re.compile(r" per ?cent\b", re.IGNORECASE)
MONEY_AFTER = re.compile(r" (?:dollars?|euros?|yen|rupees|pounds sterling|cents)\b", re.IGNORECASE)
CENTS_AFTER = re.compile(rf"(?: and)? ({_TO_99}) cents?\b", re.IGNORECASE)
MEASURE_AFTER = re.compile(
    r" (?:(?:kilo)?meters per (?:hour|second)|miles per hour|(?:kilo|centi|milli)?meters|(?:kilo|milli)?grams)\b"
    r"(?! (?:per|an?|of)\b)",
    re.IGNORECASE,
)
#: Two numbers before these are two numbers: twenty thirty people, nineteen ninety nine dollars.
COUNTED_AFTER = re.compile(
    r"[ -](?:per ?cent|dollars?|cents?|euros?|pounds?|bucks|people|times|years?|months?|weeks?|days?|hours?|minutes?|"
    r"seconds?|miles?|feet|foot|meters|kilometers|vision|hindsight)\b",
    re.IGNORECASE,
)
ENUMERATED = {"to", "or", "and", "by", "through"}
NUMBER_WORD = re.compile(_WORD, re.IGNORECASE)
#: After a first, second or third behind a month's name, which is then no day.
NOT_A_DAY = re.compile(r" (?:of|hand|time|and|to|in)\b", re.IGNORECASE)
AFTER_NTH_SECOND = re.compile(r" (?:century|anniversary|birthday|floor|street|avenue|amendment)\b", re.IGNORECASE)
