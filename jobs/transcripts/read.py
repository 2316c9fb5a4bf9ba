"""Reads committed transcripts, recording by recording."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import islice

import pyarrow as pa
import pyarrow.compute as pc

from actors.foreign.errors import InvalidData
from actors.parts.commit import open_part, part_name
from actors.parts.part import Part, check_rows
from actors.parts.recordings import Row, as_dialogue, recordings_in
from actors.schema import KEY
from actors.sources.recordings import fields_of
from actors.text.normalise import join_texts
from jobs.cli.command import DONE, FAILED
from jobs.cli.config import Config, ConfigError
from jobs.cli.terminal import say
from jobs.planning.state import load_state

READ_AHEAD = 4  # parts read in advance while one is processed
_COLUMNS = ["recording_id", *KEY, "segment_index", "start_s", "end_s", "duration_s", "text"]
_COLUMNS += ["confidence", "tokens", "reference", "extra", "error_kind", "error_detail", "warning"]

_REQUIRED_WITH_TEXT = ("start_s", "end_s", "duration_s", "confidence")
_TOKEN_FIELDS = ("token", "start_s", "end_s", "confidence")
MAX_SECONDS = 1e8  # of a recording; three years
MAX_TEXT = 200_000  # bytes of a segment; it has two minutes at most, so 1,500 tokens, which take 20 kB


@dataclass
class Transcript:
    """A recording as its rows, one per segment, in order; or a dialogue: several that are the channels of one sound, in
    the order of time."""

    rows: list[Row]
    is_dialogue: bool = False

    @property
    def first(self) -> Row:
        """The first row, which has everything that applies to the whole recording, metadata included."""
        return self.rows[0]

    @property
    def key(self) -> tuple[object, ...]:
        """What identifies the recording: the columns of KEY."""
        return tuple(self.first[name] for name in KEY)

    @property
    def channels(self) -> list["Transcript"]:
        """The recording, or those of a dialogue by the number of their channel."""
        if not self.is_dialogue:
            return [self]
        numbers = sorted({row["channel"] for row in self.rows})
        return [Transcript([row for row in self.rows if row["channel"] == number]) for number in numbers]

    @property
    def text(self) -> str:
        return join_texts(row["text"] for row in self.rows)

    @property
    def is_transcribed(self) -> bool:
        """Whether any segment was transcribed; if not, its rows have the error."""
        return any(row["text"] is not None for row in self.rows)

    @property
    def fields(self) -> dict[str, object]:
        """Metadata that came with the audio."""
        return fields_of(self.first["extra"]) if self.first["extra"] else {}


def conversations(recordings: Iterable[Transcript], are_one: Callable[[Row, Row], bool]) -> Iterator[Transcript]:
    """Joins adjacent recordings whose first rows `are_one` to one transcript."""
    found = list[Transcript]()
    for each in recordings:
        if found and not are_one(found[-1].first, each.first):
            yield _joined(found)
            found = []
        found.append(each)
    if found:
        yield _joined(found)


def _joined(channels: Sequence[Transcript]) -> Transcript:
    return channels[0] if len(channels) == 1 else Transcript([*as_dialogue([each.rows for each in channels])], True)


def transcripts(config: Config, problems: list[str]) -> Iterator[Transcript]:
    """Yields all recordings in committed parts of an output, part by part. Raises ConfigError if there are none.

    A part that is invalid is skipped, and a sentence about it is added to `problems`.
    """
    output = config.output.place()
    try:
        state = load_state(output)
    except PermissionError as problem:
        raise ConfigError(f"output.uri: {problem}") from None
    units = sorted(unit for unit in state.parts if state.commit_of(unit))
    if not units:
        raise ConfigError(f"output.uri: {output.uri} has no committed transcripts; run jobs.transcribe first")

    def read(unit: str) -> Part | None:
        try:
            return open_part(unit, output, _check)
        except PermissionError as problem:
            problems.append(f"{problem}; its recordings are left out")
            return None
        except (InvalidData, FileNotFoundError) as problem:
            where = (output / part_name(unit)).uri
            why = problem if isinstance(problem, InvalidData) else "it was deleted meanwhile"
            problems.append(
                f"{where} is not a valid part for this version: {why}; delete it and run jobs.transcribe again"
            )
            return None

    remaining = iter(units)
    with ThreadPoolExecutor(READ_AHEAD) as pool:
        pending = [pool.submit(read, unit) for unit in islice(remaining, READ_AHEAD)]
        while pending:
            part = pending.pop(0).result()
            pending += [pool.submit(read, unit) for unit in islice(remaining, 1)]
            if part:
                yield from map(Transcript, recordings_in(table.select(_COLUMNS) for table in part.tables()))


def _check(rows: pa.Table) -> None:
    """Raises InvalidData if rows (of PART_SCHEMA) have impossible texts, tokens or times."""
    check_rows(rows)
    with_text = rows.filter(pc.is_valid(rows.column("text")))
    tokens = pc.list_flatten(with_text.column("tokens"))
    for name in _REQUIRED_WITH_TEXT:
        if with_text.column(name).null_count:
            raise InvalidData(f"it has texts without {name}")
    if tokens.null_count or any(pc.struct_field(tokens, name).null_count for name in _TOKEN_FIELDS):
        raise InvalidData("it has tokens without text, times or confidence")
    starts, ends = with_text.column("start_s"), with_text.column("end_s")
    in_order = pc.and_(pc.greater_equal(starts, 0), pc.greater_equal(ends, starts))
    times = [
        ends,
        with_text.column("duration_s"),
        *(pc.abs(pc.struct_field(tokens, name)) for name in ("start_s", "end_s")),
    ]
    if not all(
        pc.all(each).as_py() is not False for each in (in_order, *(pc.less(time, MAX_SECONDS) for time in times))
    ):
        raise InvalidData("it has impossible times")
    if (pc.max(pc.binary_length(with_text.column("text"))).as_py() or 0) > MAX_TEXT:
        raise InvalidData(f"it has a segment of more than {MAX_TEXT:,} bytes of text")


def report_problems(problems: Iterable[str]) -> int:
    """Prints the problems that `transcripts` found, and returns the exit status: FAILED if there were any."""
    status = DONE
    for sentence in problems:
        say(f"output.uri: {sentence}", "red")
        status = FAILED
    return status
