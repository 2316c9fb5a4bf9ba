"""Reads texts: lines of text files, a column of Parquet files or of manifests, and the references of an output."""

import codecs
import math
import os
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import BinaryIO

from actors.foreign.errors import InvalidData
from actors.foreign.gzipped import unzipped
from actors.foreign.parquet_rows import read_rows
from actors.foreign.plain_json import InvalidJson, parse_json, to_json
from actors.formats import AUDIO_SUFFIXES
from actors.parts.recordings import have_one_reference
from actors.schema import RecordingError, UsageError
from actors.sources.recordings import MAX_COMPANION_BYTES, UNREAD_TEXT, companion_fields
from actors.storage.answers import OF_ONE_FILE
from actors.storage.place import Place
from jobs.cli.config import Config, ConfigError
from jobs.planning.entries import parse_entry
from jobs.planning.files import PARQUET_SUFFIXES, File, suffix_of
from jobs.planning.finding import Found, Scope, find_files, place_of
from jobs.planning.json_documents import elements, is_document
from jobs.planning.lists import HEAD_BYTES, MAX_LINE_BYTES, ListReader, NamesNoAudio
from jobs.planning.patterns import is_pattern
from jobs.transcripts.halves import is_held_back
from jobs.transcripts.made import is_part, made_by_jobs
from jobs.transcripts.read import conversations, transcripts

MAX_CHARACTERS = 100_000  # of a line, or bytes; the rest is a text of its own
MANIFEST_SUFFIXES = (".jsonl", ".json", ".ndjson", ".manifest")
OF_JOBS = "made by jobs"  # what files of outputs are counted as, instead of a suffix
MAX_PROBLEMS = 1_000  # that are kept
_TEXT_SUFFIXES = (".txt", ".text")
_MAX_UNPACKED_BYTES = 1 << 30  # of a column in a row group


class Texts:
    """The texts of input.uri, which can be read once. `counts` has what was met: files, those that failed, references
    of outputs, those held back, what has no text, lines that were cut; `skipped` the files that were passed over, by
    suffix; `problems` sentences about files of a folder, and parts of an output, that could not be read."""

    def __init__(self, config: Config, say: Callable[[str], None]) -> None:
        self._config, self._say = config, say
        self._column = config.language_model.column
        self.counts, self.skipped = Counter[str](), Counter[str]()
        self.problems = list[str]()
        self._recordings = set[str]()  # URIs of audio, without their suffixes

    def __iter__(self) -> Iterator[str]:
        """Raises ConfigError for a file that input.uri names and that cannot be read, with its line, and OSError if the
        storage fails."""
        source = self._config.input
        outputs = [uri for uri in source.uris if _is_output(Place.at(uri, source.options()))]
        for uri in outputs:
            yield from self._references(uri)
        others = [uri for uri in source.uris if uri not in outputs]
        if not others:
            return
        scope = Scope(source, Place.at(self._config.output.uri))
        found = find_files(
            source.model_copy(update={"uri": others}),
            scope,
            [],
            source.options(),
            lambda n: self._say(f"{n:,} files …"),
        )
        if found.mistakes:
            raise ConfigError(*found.mistakes)
        named = [(uri, place_of(uri, source.options())) for uri in others]
        _refuse_parts(found, [place for uri, place in named if not is_pattern(uri) or place.exists()])
        made = made_by_jobs(found)
        for file in (*found.files.values(), *(file for file, _ in found.passed_over.values())):
            if suffix_of(file) in AUDIO_SUFFIXES:
                self._recordings.add(os.path.splitext(file.uri)[0])
        for file in sorted(found.files.values(), key=lambda file: file.uri):
            if file.uri in made:
                self.skipped[OF_JOBS] += 1
            else:
                yield from self._of_file(file)

    def _references(self, uri: str) -> Iterator[str]:
        """The references of the recordings that were transcribed to an output."""
        place = {"uri": uri, "storage_options": self._config.input.storage_options}
        config = self._config.model_copy(update={"output": self._config.output.model_copy(update=place)})
        self._say(f"references of the transcripts in {uri} …")
        try:
            for each in conversations(transcripts(config, self.problems), have_one_reference):
                reference = each.first["reference"]
                if not self._is_left_out(reference):
                    self.counts["references"] += reference is not None
                    yield from self._of_value(reference)
        except (ConfigError, UsageError) as problem:
            raise ConfigError(str(problem).replace("output.uri", "input.uri", 1)) from None

    def _of_file(self, file: File) -> Iterator[str]:
        suffix = _suffix_of_content(file)
        is_companion = os.path.splitext(file.uri)[0] in self._recordings and not file.is_explicit
        if not file.is_explicit and not _holds_texts(file, suffix, is_companion):
            self.skipped[suffix or "(none)"] += 1
            return
        try:
            if file.fault:
                raise InvalidData("it does not exist" if file.fault == "absent" else file.fault)
            self.counts["files"] += 1
            if suffix in PARQUET_SUFFIXES:
                yield from self._of_parquet(file)
            elif is_companion and file.size <= MAX_COMPANION_BYTES:
                yield from self._of_companion(file)
            else:
                yield from self._of_lines(file, suffix in MANIFEST_SUFFIXES)
        except (InvalidData, RecordingError) as problem:
            self._fail(file, str(problem))
        except OF_ONE_FILE as problem:
            if file.is_explicit:
                raise
            self._fail(file, "it was deleted meanwhile" if isinstance(problem, FileNotFoundError) else str(problem))

    def _fail(self, file: File, why: str) -> None:
        """Notes why a file is not read, or no further. Raises ConfigError if input.uri names it."""
        if file.is_explicit:
            raise ConfigError(f"input.uri: {file.uri}: {why}")
        self.counts["failed"] += 1
        if len(self.problems) < MAX_PROBLEMS:
            self.problems.append(f"{file.uri}: {why}; its texts from there on are left out")

    def _of_parquet(self, file: File) -> Iterator[str]:
        with file.place.open() as opened:
            for row in read_rows(opened, [self._column], _MAX_UNPACKED_BYTES, has_others=False):
                yield from self._of_value(row[self._column])

    def _of_companion(self, file: File) -> Iterator[str]:
        """The text beside a recording, as jobs.transcribe reads its reference."""
        fields = companion_fields(".txt", file.place.read(MAX_COMPANION_BYTES))
        if UNREAD_TEXT in fields:
            raise InvalidData(str(fields[UNREAD_TEXT]))
        if not self._is_left_out(fields["text"]):
            yield from self._of_value(fields["text"])

    def _of_lines(self, file: File, is_manifest: bool) -> Iterator[str]:
        # What is gzipped is in no encoding, so it comes as it is.
        stream = unzipped(ListReader(math.inf).open_text(file.place), file.size)
        if is_manifest:
            for fields in _objects(stream, file.name.lower().endswith(".json")):
                if not self._is_left_out(fields.get(self._column), fields):
                    yield from self._of_value(fields.get(self._column))
            return
        for _, line, is_end in _lines(stream, MAX_CHARACTERS):
            self.counts["cut"] += not is_end
            yield line

    def _is_left_out(self, value: object, fields: Mapping[str, object] | None = None) -> bool:
        """Whether a text is a reference that jobs.tune holds back, and is counted so. One of a manifest is a reference
        if its `fields` name audio."""
        if self._config.language_model.held_back == "use" or not isinstance(value, str) or not value.strip():
            return False
        is_left_out = is_held_back(value) and (fields is None or self._names_audio(fields))
        self.counts["held_back"] += is_left_out
        return is_left_out

    def _names_audio(self, fields: Mapping[str, object]) -> bool:
        try:
            parse_entry(to_json(fields), self._config.input.uri_column, lambda _: False)
        except RecordingError as problem:
            return not isinstance(problem, NamesNoAudio)
        return True

    def _of_value(self, value: object) -> Iterator[str]:
        """The lines of a value, within limits."""
        self.counts["without_text"] += not isinstance(value, str)
        for line in value.split("\n") if isinstance(value, str) else ():
            for begin in range(0, len(line), MAX_CHARACTERS):
                self.counts["cut"] += begin > 0
                yield line[begin : begin + MAX_CHARACTERS]


def _lines(stream: BinaryIO, limit: int) -> Iterator[tuple[int, str, bool]]:
    """The lines of a text in UTF-8, in pieces of at most `limit` bytes: the number of the line, the piece, and whether
    it is the line's last. Raises InvalidData, with the number of the line, for what is no such text."""
    number, decoder = 1, codecs.getincrementaldecoder("utf-8")()
    while piece := stream.readline(limit):
        is_end = piece.endswith(b"\n") or len(piece) < limit
        try:
            line = decoder.decode(piece, final=is_end)
        except UnicodeDecodeError:
            raise InvalidData(f"its line {number:,} is no text in UTF-8; convert the file, as with iconv") from None
        if "\0" in line:
            raise InvalidData(f"its line {number:,} has NUL bytes: it is no text")
        yield number, line.removeprefix("\ufeff") if number == 1 else line, is_end
        number += is_end


def _objects(stream: BinaryIO, is_json: bool) -> Iterator[dict[str, object]]:
    """The objects of a manifest, which has one in each line, or is a JSON document of them. Raises InvalidData."""
    if stream.seekable():
        start = stream.tell()
        is_whole = is_document(stream.read(HEAD_BYTES).decode("utf-8", "replace"), is_json)
        stream.seek(start)
        if is_whole:
            for number, (_, value) in enumerate(elements(stream), 1):
                if not isinstance(value, dict):
                    raise InvalidData(f"its element {number:,} is no JSON object, such as a manifest has")
                yield value
            return
    for number, line, is_end in _lines(stream, MAX_LINE_BYTES):
        if not is_end:
            raise InvalidData(f"its line {number:,} has more than {MAX_LINE_BYTES:,} bytes")
        if line.strip():
            yield _fields(line, number)


def _fields(line: str, number: int) -> dict[str, object]:
    try:
        fields = parse_json(line)
    except InvalidJson as problem:
        raise InvalidData(f"its line {number:,}: {problem}; a manifest has an object in each line") from None
    if not isinstance(fields, dict):
        raise InvalidData(f"its line {number:,} is no JSON object, such as a manifest has in each line")
    return fields


def _suffix_of_content(file: File) -> str:
    """The suffix that tells what a file holds, gzipped or not: .txt for a bare .gz; of what is no text, all of it."""
    stem, suffix = os.path.splitext(file.name.lower())
    if suffix != ".gz":
        return suffix
    inner = os.path.splitext(stem)[1]
    if not inner:
        return ".txt"
    return inner if inner in (*_TEXT_SUFFIXES, *MANIFEST_SUFFIXES) else inner + suffix


def _holds_texts(file: File, suffix: str, is_companion: bool) -> bool:
    """Whether a file that is merely found has texts by its name. A .json is a manifest if it is named so and lies
    beside no recording, as in planning."""
    if suffix == ".json":
        return "manifest" in file.name.rpartition("/")[2].lower() and not is_companion
    return suffix in (*_TEXT_SUFFIXES, *MANIFEST_SUFFIXES, *PARQUET_SUFFIXES)


def _refuse_parts(found: Found, named: Sequence[Place]) -> None:
    """Raises ConfigError if a pattern, or input.uri itself, names parts of outputs; `named` are files and folders."""
    folders = tuple(place.uri.rstrip("/") + "/" for place in named)
    for file in found.files.values():
        if is_part(file) and not file.uri.startswith(folders):
            raise ConfigError(
                f"input.uri: {file.uri} is a part of an output of jobs.transcribe, whose texts are transcripts; give"
                " the output's folder, of which the references are read"
            )


def _is_output(place: Place) -> bool:
    """Whether a folder is the output of jobs.transcribe."""
    return (place / "_runs").exists() or (place / "_commits").exists()
