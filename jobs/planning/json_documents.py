"""Reads a JSON document that lists recordings, in pieces: an array of objects, an object of objects by id (as
SpeechBrain writes them), or objects one after another, on any lines."""

import codecs
import json
import re
from collections.abc import Iterator
from typing import BinaryIO

from actors.foreign.plain_json import InvalidJson

MAX_ELEMENT_CHARACTERS = 4_000_000  # of one recording's object
_CHUNK_BYTES = 1_000_000
_NUMBER_CHARACTERS = 400  # more than the rest of a number has
_DECODER = json.JSONDecoder()
_SPACE = re.compile(r"[ \t\r\n]*")
#: What no JSON lines of objects begin with: an array of objects, and an object that goes on in the next line.
_BEGINNING = re.compile(r"[ \t\r\n]*(\[[ \t\r\n]*[{\]]|\{[ \t\r]*\n)")
_OBJECT_OF_OBJECTS = re.compile(r'[ \t\r\n]*\{[ \t]*"[^"\\\n]{0,1000}"[ \t]*:[ \t]*\{')


def is_document(head: str, is_json: bool) -> bool:
    """Whether a text that begins like this is a document, not JSON lines; `is_json` tells if its name ends in .json."""
    return bool(_BEGINNING.match(head) or (is_json and _OBJECT_OF_OBJECTS.match(head)))


def elements(file: BinaryIO) -> Iterator[tuple[str | None, object]]:
    """Yields a document's elements, each with its id if it is in an object of objects. Of a text in UTF-8.

    Raises InvalidJson where the document breaks off, or an element is too long.
    """
    text = _Text(file)
    while first := text.peek():
        if first == "[":
            yield from ((None, value) for value in _array(text))
        elif first == "{":
            yield from _object(text)
        else:
            raise InvalidJson("it goes on with what is neither an array nor an object")


def _array(text: "_Text") -> Iterator[object]:
    text.take("[")
    while text.peek() != "]":
        yield text.value()
        if text.peek() != "]":
            text.take(",")
    text.take("]")


def _object(text: "_Text") -> Iterator[tuple[str | None, object]]:
    try:
        value = text.value()
    except InvalidJson:  # too long, or it breaks off
        pass
    else:
        if isinstance(value, dict) and value and all(isinstance(inner, dict) for inner in value.values()):
            yield from value.items()
        else:
            yield None, value
        return
    text.take("{")
    while text.peek() != "}":
        name = text.value()
        text.take(":")
        text.peek()
        yield str(name), text.value()
        if text.peek() != "}":
            text.take(",")
    text.take("}")


class _Text:
    """A file's text, of which no more is held than an element, and at which position it is read."""

    def __init__(self, file: BinaryIO) -> None:
        self._file, self._held, self._at, self._forgotten = file, "", 0, 0
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")

    def peek(self) -> str:
        """The next character that is no white space; "" at the end."""
        while True:
            space = _SPACE.match(self._held, self._at)
            self._at = space.end() if space else self._at
            if self._at < len(self._held):
                return self._held[self._at]
            if not self._read_on():
                return ""

    def take(self, character: str) -> None:
        if self.peek() != character:
            raise InvalidJson(f"not JSON: {character} is missing {self._where()}")
        self._at += 1

    def value(self) -> object:
        """The value at this position."""
        while True:
            try:
                value, end = _DECODER.raw_decode(self._held, self._at)
                may_go_on = isinstance(value, int | float) and len(self._held) - end < _NUMBER_CHARACTERS
                if not may_go_on or not self._read_on():
                    self._at = end
                    return value
            except RecursionError:
                raise InvalidJson("it has arrays or objects that are nested too deep") from None
            except ValueError:  # it may go on
                if len(self._held) - self._at > MAX_ELEMENT_CHARACTERS or not self._read_on():
                    raise InvalidJson(f"not JSON: there is no value {self._where()}") from None

    def _where(self) -> str:
        """This position in words; not what stands there, which may be a private text."""
        return f"at character {self._forgotten + self._at + 1:,}"

    def _read_on(self) -> bool:
        """Reads more text, and forgets that before this position. False at the end."""
        if not (chunk := self._file.read(_CHUNK_BYTES)):
            return False
        self._forgotten += self._at
        self._held, self._at = self._held[self._at :] + self._decoder.decode(chunk), 0
        return True
