"""Punctuation of a recording by a model, so that a cut between segments is no sentence's end.

onnxruntime runs the model directly, and not sherpa-onnx's OfflinePunctuation: that one changes the text (blanks go,
30.5% becomes 30 . 5 %), takes time with the square of a text's length where it finds no mark, writes 。 for a comma
after 200 tokens, and ends the process on a model that it does not like. What both do is FunASR's
(https://github.com/modelscope/FunASR/blob/main/runtime/python/onnxruntime/funasr_onnx/punc_bin.py): characters and
words are tokens, in lower case, and what follows a sentence's end is punctuated anew.
"""

import logging
import re
from collections.abc import Sequence

from actors.text.punctuation_model import COMMA, PAUSE, QUESTION, STOP, PunctuationModel
from actors.text.written.marks import Mark, place_marks

#: Tokens that the model sees at once, as FunASR's at most.
WINDOW = 200
#: Of a window, what is taken from it at least, so that a text is gone through twice at most.
STEP = 100
ENDS = {STOP, QUESTION}
MARKS = {STOP, QUESTION, COMMA, PAUSE}
#: A word, number or address in Latin letters, or one character; with the accents that are written as ones of their own.
TOKEN = re.compile(r"(?:[!-\u024f\u2019]+|\S)[\u0300-\u036f\ufe0e\ufe0f]*")

_log = logging.getLogger(__name__)


class Punctuator:
    """Adds 。，、？ to the segments of a recording; nothing else of them changes.

    The model sees the recording as a whole, in windows of 200 tokens that begin where a sentence does, so that time
    goes with length. A recording ends a sentence; a segment only where the model says so.
    """

    def __init__(self, path: str):
        """Raises UsageError, which says what is wrong, where the file is no such model."""
        self._model = PunctuationModel(path)
        self._failed = False

    def __call__(
        self, segments: Sequence[str], written: Sequence[str] | None = None, is_whole: bool = True
    ) -> list[str]:
        """The written forms of a recording's segments, in their order, punctuated; as they were where the model fails.

        The marks are found in the segments as they were said, which are punctuated themselves if no written forms are
        given. If they are not all of the recording (`is_whole`), the last one ends without a mark.
        """
        written = segments if written is None else written
        found = [list(TOKEN.finditer(segment)) for segment in segments]
        tokens = [token[0] for each in found for token in each]
        try:
            marks = iter(self._marks(tokens, is_whole))
        except MemoryError:
            raise  # which says nothing of the text: it is tried again
        except self._model.faults as error:
            if not self._failed:
                _log.warning("the model of punctuation failed, and what it failed on stays without: %s", error)
            self._failed = True
            return list(written)
        marked = [[Mark(token.end(), next(marks)) for token in each] for each in found]
        return [
            place_marks(segment, form, [each for each in of_it if each.mark])
            for segment, form, of_it in zip(segments, written, marked, strict=True)
        ]

    def _marks(self, tokens: list[str], is_whole: bool) -> list[str]:
        """The mark after each token: one of MARKS, or nothing."""
        marks: list[str] = []
        while len(marks) < len(tokens):
            window = tokens[len(marks) : len(marks) + WINDOW]
            found = [self._model.marks[index] for index in self._model(window)]
            if len(marks) + len(window) < len(tokens):
                found = found[: _sentences_end(found)]
            marks += found
        if marks and not is_whole:  # the model takes the end of what it sees for one of a sentence
            marks[-1] = ""
        elif marks and marks[-1] not in ENDS:
            marks[-1] = STOP
        return [mark if mark in MARKS else "" for mark in marks]


def _sentences_end(marks: list[str]) -> int:
    """How many of a window's marks are sure: to its last sentence's end, or else comma, behind the first STEP.

    The last mark is not: the model takes the end of what it sees for one of a sentence.
    """
    for wanted in (ENDS, {COMMA, PAUSE}):
        for index in range(len(marks) - 2, STEP - 2, -1):
            if marks[index] in wanted:
                return index + 1
    return STEP
