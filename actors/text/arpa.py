"""Reads n-gram models in the ARPA format (https://cmusphinx.github.io/wiki/arpaformat/), as KenLM, SRILM and others
write them."""

import re
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from numpy.typing import NDArray

from actors.foreign.errors import InvalidData
from actors.foreign.gzipped import unzipped
from actors.schema import UsageError
from actors.text.arpa_lines import Lines

if TYPE_CHECKING:
    from actors.text.compiled.arpa import Words

MAX_ORDER = 6
MAX_NGRAMS = 1 << 30  # of all orders
LOWEST = -1000.0  # decimal logarithm of a probability, and the greatest of a back-off weight without its sign
BEGIN, END, UNKNOWN = "<s>", "</s>", "<unk>"
#: How a token that is a space is written, besides as itself: words end at one.
SPACES = ("<space>", "▁")

_HEADER_BYTES = 1 << 20  # before \\data\\
_COUNT = re.compile(r"ngram\s+([0-9]{1,3})\s*=\s*([0-9]+)", re.ASCII | re.IGNORECASE)
_KENLM = b"mmap lm http://kheafield.com/code"


class Ngrams(NamedTuple):
    """The n-grams of a model that are of known words. Those of order n are `orders[n - 1]` to `orders[n]`, the unigrams
    at the ids of their words, where `is_there` says whether there is one: tokens, then <s>, </s> and <unk>.

    Those that continue n-gram i by one of `words` (n-grams,) are begins[i] to begins[i + 1], in the order of these;
    `contexts` is i again. `log_probs` and `backoffs` are natural logarithms. Of the `stated` words that are not <s>,
    </s> and <unk>, `known` are tokens.
    """

    orders: list[int]
    is_there: NDArray[np.bool_]
    words: NDArray[np.uint32]
    contexts: NDArray[np.uint32]
    begins: NDArray[np.int64]
    log_probs: NDArray[np.float32]
    backoffs: NDArray[np.float32]
    stated: int
    known: int


def read_arpa(path: Path, tokens: Sequence[str]) -> Ngrams:
    """The n-grams of a file, plain or gzipped, that are of tokens, with <s> only at the beginning and </s> at the end.

    Raises UsageError, without the name of the file, for what is no such model.
    """
    with path.open("rb") as file:
        if file.peek(len(_KENLM)).startswith(_KENLM):
            raise UsageError("it is a binary file of KenLM; give the ARPA file that it was made from")
        try:
            return _read(Lines(unzipped(file, path.stat().st_size)), tokens)
        except InvalidData as problem:
            raise UsageError(str(problem)) from None


def _read(lines: Lines, tokens: Sequence[str]) -> Ngrams:
    counts, line = _counts(lines)
    reader = _Reader(lines, tokens, len(counts))
    for order, count in enumerate(counts, 1):
        if line is None or line.lower() != f"\\{order}-grams:":
            raise UsageError(f"{_found(line, lines)} where its {order}-grams should begin, with \\{order}-grams:")
        reader.read(order, count)
        if order == 1:
            reader.check_fit()
        line = lines.line()
    if line is None:
        raise UsageError("it has no \\end\\ line: it is incomplete")
    if line.lower() != "\\end\\":
        raise UsageError(f"{_found(line, lines)} where it should end, with \\end\\")
    return reader.ngrams()


def _found(line: str | None, lines: Lines) -> str:
    if line is None:
        return "it is incomplete: it ends"
    return f"its line {lines.number:,} is {line if len(line) <= 40 else line[:40] + '…'!r}"


def _counts(lines: Lines) -> tuple[list[int], str | None]:
    """How many n-grams of each order a file states, and the line after."""
    while (line := lines.line()) is not None and line.lower() != "\\data\\":
        if lines.bytes_before > _HEADER_BYTES:
            line = None
            break
    if line is None:
        raise UsageError("it is no ARPA file: it has no line \\data\\")
    counts = list[int]()
    while (line := lines.line()) is not None and not line.startswith("\\"):
        match = _COUNT.fullmatch(line)
        if not match:
            raise UsageError(f"{_found(line, lines)}, not a count such as ngram 1=5000")
        order, digits = int(match[1]), match[2].lstrip("0") or "0"
        if order != len(counts) + 1:
            raise UsageError(f"its line {lines.number:,} counts n-grams of order {order}, not {len(counts) + 1}")
        if order > MAX_ORDER:
            raise UsageError(f"it is of an order above {MAX_ORDER}, the highest that is supported")
        if len(digits) > 12 or sum(counts) + int(digits) > MAX_NGRAMS:
            raise UsageError(
                f"its line {lines.number:,} states more n-grams than the {MAX_NGRAMS:,} that are supported"
            )
        counts.append(int(digits))
    if not counts or not counts[0]:
        raise UsageError("it is no ARPA file, or an empty one: it states no unigrams")
    return counts, line


class _Reader:
    """Reads the n-grams of one order after another."""

    def __init__(self, lines: Lines, tokens: Sequence[str], order: int) -> None:
        from actors.text.compiled import arpa

        self._compiled = arpa
        self._lines = lines
        self._order = order
        self._words = _table(tokens)
        self._names = [*tokens, BEGIN, END, UNKNOWN]
        size = len(tokens) + 3
        self._specials = {len(tokens), len(tokens) + 1, len(tokens) + 2}
        self._orders = [0, size]
        self._trie = arpa.Trie(np.arange(size, dtype=np.uint32), np.zeros(size + 1, np.int64), np.zeros(size, np.bool_))
        self._contexts = np.zeros(size, np.uint32)
        self._log_probs = [np.zeros(size, np.float32)]
        self._backoffs = [np.zeros(size, np.float32)]
        self._stated = self._known = 0
        self._is_of_characters = all(len(token) == 1 for token in tokens if not token.startswith(("<", "[")))

    def read(self, order: int, count: int) -> None:
        keys, log_probs, backoffs = self._parse(order, count)
        in_order = np.argsort(keys, kind="stable")
        keys, log_probs, backoffs = keys[in_order], log_probs[in_order], backoffs[in_order]
        twice = np.flatnonzero(keys[1:] == keys[:-1])
        if len(twice):
            raise UsageError(f"it has the {order}-gram {self._text(int(keys[twice[0]]), order)!r} twice")
        words = (keys & np.uint64(0xFFFFFFFF)).astype(np.uint32)
        if order == 1:
            self._trie.is_there[words] = True
            self._log_probs[0][words], self._backoffs[0][words] = log_probs, backoffs
            specials = sum(int(word) in self._specials for word in words)
            self._stated, self._known = self._stated - specials, len(words) - specials
            return
        first, last = self._orders[-2:]
        contexts = (keys >> np.uint64(32)).astype(np.uint32)
        own = last + np.searchsorted(contexts, np.arange(first, last + 1, dtype=np.uint32))
        begins = np.concatenate([self._trie.begins[:first], own, np.full(len(words), last + len(words), np.int64)])
        self._trie = self._trie._replace(words=np.concatenate([self._trie.words, words]), begins=begins)
        self._contexts = np.concatenate([self._contexts, contexts])
        self._log_probs.append(log_probs)
        self._backoffs.append(backoffs)
        self._orders.append(last + len(words))

    def check_fit(self) -> None:
        """Raises UsageError if most words are no tokens of the model."""
        if 2 * self._known >= self._stated and self._known:
            return
        need = "characters" if self._is_of_characters else "the model's own tokens"
        share = self._known / max(self._stated, 1)
        raise UsageError(
            f"{self._known:,} of its {self._stated:,} words ({share:.0%}) are tokens of the model; it seems to be of"
            f" words, or made for another model, where {need} are needed: train one with jobs.language_model"
        )

    def _text(self, key: int, order: int) -> str:
        """The words of an n-gram."""
        context, words = key >> 32, [key & 0xFFFFFFFF]
        for _ in range(order - 1):
            words.insert(0, int(self._trie.words[context]))
            context = int(self._contexts[context])
        return " ".join(self._names[word] for word in words)

    def ngrams(self) -> Ngrams:
        return Ngrams(
            self._orders,
            self._trie.is_there,
            self._trie.words,
            self._contexts,
            self._trie.begins,
            np.concatenate(self._log_probs),
            np.concatenate(self._backoffs),
            self._stated,
            self._known,
        )

    def _parse(self, order: int, count: int) -> tuple[NDArray[np.uint64], NDArray[np.float32], NDArray[np.float32]]:
        """Keys, as of `parse_ngrams`, and weights of the n-grams of an order that are of known words."""
        lines, seen = self._lines, 0
        parts: list[tuple[NDArray[np.uint64], NDArray[np.float32], NDArray[np.float32]]] = []
        while seen < count:
            most = min(lines.block.count(b"\n", lines.position), count - seen)
            part = np.empty(most, np.uint64), np.empty(most, np.float32), np.empty(most, np.float32)
            block = np.frombuffer(lines.block, np.uint8)
            parsed = self._compiled.parse_ngrams(
                block, lines.position, order, count - seen, LOWEST, self._words, self._trie, *part
            )
            lines.number += parsed.lines
            if parsed.problem:
                raise UsageError(self._problem(parsed.problem, order, seen + parsed.seen, count))
            lines.position = parsed.position
            seen += parsed.seen
            parts.append(tuple(each[: parsed.kept].copy() for each in part))  # type: ignore[arg-type]
            lines.skipped(parsed.lines - parsed.seen)
            if seen < count and not lines.more():
                raise UsageError(f"it is incomplete: it ends after {seen:,} of its {count:,} {order}-grams")
        if order == 1:
            self._stated = seen
        if not parts:
            return np.empty(0, np.uint64), np.empty(0, np.float32), np.empty(0, np.float32)
        keys, log_probs, backoffs = zip(*parts, strict=True)
        return np.concatenate(keys), np.concatenate(log_probs), np.concatenate(backoffs)

    def _problem(self, problem: int, order: int, seen: int, count: int) -> str:
        line = f"its line {self._lines.number + 1:,}"
        arpa = self._compiled
        return {
            arpa.NOT_A_NUMBER: f"{line} has a log-probability or a back-off weight that is no number",
            arpa.NOT_A_LOG_PROB: f"{line} has a log-probability that is not from {LOWEST:g} to 0, or such a weight",
            arpa.WRONG_FIELDS: f"{line} is no {order}-gram: a log-probability, {order} words, and perhaps a weight",
            arpa.TOO_LONG: f"{line} is longer than any of an ARPA file",
            arpa.TOO_FEW: f"{line} ends the {order}-grams after {seen:,} of the {count:,} that \\data\\ states",
            arpa.NO_UNIGRAM: f"{line} has a word that is not among its unigrams",
            arpa.NO_CONTEXT: f"{line} continues an n-gram that it has not: every {order}-gram needs its first"
            f" {order - 1} words as a {order - 1}-gram",
        }[problem]


def _table(tokens: Sequence[str]) -> "Words":
    """The words that count; of equal ones the first."""
    from actors.text.compiled import arpa

    size = len(tokens)
    ids = {BEGIN: size, END: size + 1, UNKNOWN: size + 2, UNKNOWN.upper(): size + 2}
    for token, text in enumerate(tokens):
        ids.setdefault(text, token)
    if " " in ids:
        ids |= {name: ids[" "] for name in SPACES if name not in ids}
    texts = [text.encode("utf-8", "surrogatepass") for text in ids]
    begins = np.cumsum([0, *map(len, texts)], dtype=np.int64)
    slots = np.full(1 << (4 * len(texts)).bit_length(), -1, np.int64)
    joined = np.frombuffer(b"".join(texts), np.uint8)
    arpa.fill_slots(slots, joined, begins)
    return arpa.Words(slots, joined, begins, np.array(list(ids.values()), np.int64), size, size + 1)
