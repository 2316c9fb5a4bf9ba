"""Reads the n-grams of an ARPA file, and links each to its suffix."""

from typing import NamedTuple

import numpy as np

from actors.text.compiled import allocating, compiled
from actors.text.compiled.search import find

SPACE, TAB, NEWLINE, RETURN, BACKSLASH = 32, 9, 10, 13, 92
MAX_LINE = 1 << 14  # bytes
LN_10 = np.log(10)

# What a stretch of lines may be wrong by; 0 if nothing is.
NOT_A_NUMBER, NOT_A_LOG_PROB, WRONG_FIELDS, TOO_LONG, TOO_FEW, NO_UNIGRAM, NO_CONTEXT = range(1, 8)


class Words(NamedTuple):
    """A hash table of the words that count: `slots` have the number of a word or -1, the bytes of word i are begins[i]
    to begins[i + 1] of `text`, and `ids` has its id. Those of `first` and `last` stand only at the ends of n-grams."""

    slots: np.ndarray
    text: np.ndarray
    begins: np.ndarray
    ids: np.ndarray
    first: int
    last: int


class Trie(NamedTuple):
    """The n-grams of lower orders: those that continue n-gram i by one word are begins[i] to begins[i + 1], in the
    order of these `words`. The first ones are the unigrams, each at the id of its word, if it `is_there`."""

    words: np.ndarray
    begins: np.ndarray
    is_there: np.ndarray


class Parsed(NamedTuple):
    """How far lines were read: the position after them, their number, how many were n-grams, how many of these were
    kept, and what is wrong with the next one."""

    position: int
    lines: int
    seen: int
    kept: int
    problem: int


@compiled
def _hash(data: np.ndarray, begin: int, end: int) -> int:
    """FNV-1a, of 64 bits."""
    value = np.uint64(0xCBF29CE484222325)
    for position in range(begin, end):
        value = (value ^ np.uint64(data[position])) * np.uint64(0x100000001B3)
    return value ^ (value >> np.uint64(32))


@compiled
def fill_slots(slots: np.ndarray, text: np.ndarray, begins: np.ndarray) -> None:
    """Enters words in a table whose size is a power of two; of equal ones the first counts."""
    mask = np.uint64(len(slots) - 1)
    for word in range(len(begins) - 1):
        if _find_word(slots, text, begins, text, begins[word], begins[word + 1]) >= 0:
            continue
        slot = _hash(text, begins[word], begins[word + 1]) & mask
        while slots[slot] >= 0:
            slot = (slot + np.uint64(1)) & mask
        slots[slot] = word


@compiled
def _find_word(slots: np.ndarray, text: np.ndarray, begins: np.ndarray, data: np.ndarray, begin: int, end: int) -> int:
    mask = np.uint64(len(slots) - 1)
    slot = _hash(data, begin, end) & mask
    while slots[slot] >= 0:
        word = slots[slot]
        start, size = begins[word], begins[word + 1] - begins[word]
        if size == end - begin:
            same = True
            for offset in range(size):
                if text[start + offset] != data[begin + offset]:
                    same = False
                    break
            if same:
                return word
        slot = (slot + np.uint64(1)) & mask
    return -1


@compiled
def _number(data: np.ndarray, begin: int, end: int) -> float:
    """A decimal number, NaN if it is none."""
    position, sign = begin, 1.0
    if position < end and (data[position] == 45 or data[position] == 43):
        sign = -1.0 if data[position] == 45 else 1.0
        position += 1
    mantissa, exponent, digits, is_fraction = np.int64(0), 0, 0, False
    while position < end:
        digit = np.int64(data[position]) - 48
        if 0 <= digit <= 9:
            digits += 1
            if mantissa < 100_000_000_000_000_000:
                mantissa = mantissa * 10 + digit
                exponent -= is_fraction
            else:
                exponent += not is_fraction
        elif data[position] == 46 and not is_fraction:
            is_fraction = True
        else:
            break
        position += 1
    if digits == 0:
        return np.nan
    if position < end:
        if data[position] | 32 != 101:
            return np.nan
        position += 1
        negative = False
        if position < end and (data[position] == 45 or data[position] == 43):
            negative = data[position] == 45
            position += 1
        if position == end:
            return np.nan
        stated = 0
        while position < end:
            digit = np.int64(data[position]) - 48
            if not 0 <= digit <= 9:
                return np.nan
            stated = min(stated * 10 + digit, 10_000)
            position += 1
        exponent += -stated if negative else stated
    if mantissa == 0:
        return sign * 0.0
    if exponent < 0:
        return sign * (mantissa / 10.0 ** min(-exponent, 300)) if exponent >= -300 else 0.0
    return sign * (mantissa * 10.0**exponent) if exponent < 300 else sign * np.inf


@compiled
def _split(data: np.ndarray, begin: int, end: int, starts: np.ndarray, ends: np.ndarray) -> int:
    """Finds the fields of a line, as many as there is room for; returns how many it has, one more at most."""
    fields, position = 0, begin
    while fields <= len(starts):
        while position < end and (data[position] == SPACE or data[position] == TAB or data[position] == RETURN):
            position += 1
        if position == end:
            break
        start = position
        while position < end and data[position] != SPACE and data[position] != TAB and data[position] != RETURN:
            position += 1
        if fields < len(starts):
            starts[fields], ends[fields] = start, position
        fields += 1
    return fields


@compiled
def _key(data: np.ndarray, order: int, table: Words, trie: Trie, starts: np.ndarray, ends: np.ndarray) -> int:
    """The key of an n-gram, -1 if it is not kept; what is wrong with it as a number below that, -1 - problem."""
    context, token = np.int64(0), np.int64(0)
    for number in range(order):
        word = _find_word(table.slots, table.text, table.begins, data, starts[number + 1], ends[number + 1])
        if word < 0:
            return -1
        token = table.ids[word]
        if (token == table.first and number > 0) or (token == table.last and number + 1 < order):
            return -1
        if order > 1 and not trie.is_there[token]:
            return -1 - NO_UNIGRAM
        if number + 1 == order:
            break
        context = token if number == 0 else find(trie.words, trie.begins[context], trie.begins[context + 1], token)
        if context < 0:
            return -1 - NO_CONTEXT
    return (context << 32) | token


@allocating
def parse_ngrams(
    data: np.ndarray,
    position: int,
    order: int,
    wanted: int,
    lowest: float,
    table: Words,
    trie: Trie,
    keys: np.ndarray,
    log_probs: np.ndarray,
    backoffs: np.ndarray,
) -> Parsed:
    """Reads whole lines of `data` from a position on, until `wanted` n-grams of an order are seen.

    Kept are those of words of the table, <s> and </s> in their places: `keys` have the number of the n-gram that is all
    but the last word, shifted by 32 bits, and that word's id; of unigrams the id alone. Logarithms are decimal in the
    text, from `lowest` to 0, back-off weights as far to either side, and natural in the arrays.
    """
    lines, seen, kept, end = 0, 0, 0, len(data)
    starts, ends = np.empty(order + 2, np.int64), np.empty(order + 2, np.int64)
    while seen < wanted:
        stop = position
        while stop < end and data[stop] != NEWLINE:
            stop += 1
        if stop - position > MAX_LINE:
            return Parsed(position, lines, seen, kept, TOO_LONG)
        if stop == end:
            break
        fields = _split(data, position, stop, starts, ends)
        if fields > 0:
            if data[starts[0]] == BACKSLASH:
                return Parsed(position, lines, seen, kept, TOO_FEW)
            if fields != order + 1 and fields != order + 2:
                return Parsed(position, lines, seen, kept, WRONG_FIELDS)
            log_prob = _number(data, starts[0], ends[0])
            backoff = _number(data, starts[order + 1], ends[order + 1]) if fields == order + 2 else 0.0
            if np.isnan(log_prob) or np.isnan(backoff):
                return Parsed(position, lines, seen, kept, NOT_A_NUMBER)
            if not (lowest <= log_prob <= 0.0 and abs(backoff) <= -lowest):
                return Parsed(position, lines, seen, kept, NOT_A_LOG_PROB)
            key = _key(data, order, table, trie, starts, ends)
            if key < -1:
                return Parsed(position, lines, seen, kept, -1 - key)
            if key >= 0:
                keys[kept], log_probs[kept], backoffs[kept] = key, log_prob * LN_10, backoff * LN_10
                kept += 1
            seen += 1
        position, lines = stop + 1, lines + 1
    return Parsed(position, lines, seen, kept, 0)


@compiled
def link_suffixes(
    trie: Trie, contexts: np.ndarray, is_state: np.ndarray, links: np.ndarray, first: int, last: int
) -> None:
    """Finds for the n-grams `first` to `last` of the trie, whose suffixes' own links are known, the longest suffix that
    is a state, -1 if none is. `contexts` has for each n-gram the one without its last word."""
    for ngram in range(first, last):
        word = trie.words[ngram]
        suffix = links[contexts[ngram]]
        links[ngram] = -1
        while True:
            if suffix < 0:
                if is_state[word]:
                    links[ngram] = word
                break
            found = find(trie.words, trie.begins[suffix], trie.begins[suffix + 1], word)
            if found >= 0 and is_state[found]:
                links[ngram] = found
                break
            suffix = links[suffix]
