"""Reads committed transcripts, recording by recording."""

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import groupby, islice
from typing import TypeVar

import pyarrow as pa
import pyarrow.compute as pc

from actors.foreign.errors import InvalidData, one_line
from actors.parts.part import Part
from actors.parts.recordings import Row, as_dialogue, identity, recordings_in
from actors.parts.stored import open_part, part_name
from actors.schema import KEY
from actors.sources.recordings import fields_of
from actors.storage.answers import OF_ONE_FILE
from actors.storage.outputs import OUTPUT
from actors.storage.place import Place
from actors.text.normalise import join_texts
from jobs.cli.called import how_to_call
from jobs.cli.command import DONE, FAILED
from jobs.cli.config import Config, ConfigError
from jobs.cli.terminal import say
from jobs.planning.plans import State
from jobs.planning.state import load_state

READ_AHEAD = 4  # parts read in advance while one is processed
_COLUMNS = ["recording_id", *KEY, "segment_index", "start_s", "end_s", "duration_s", "text", "written"]
_COLUMNS += ["confidence", "tokens", "reference", "extra", "error_kind", "error_detail", "warning"]

_REQUIRED_WITH_TEXT = ("start_s", "end_s", "duration_s")
_TOKEN_FIELDS = ("token", "start_s", "end_s", "confidence")
MAX_SECONDS = 1e8  # of a recording; three years
MAX_TEXT = 200_000  # bytes of a segment; it has two minutes at most, so 1,500 tokens, which take 20 kB
MAX_WRITTEN = 4_000_000  # bytes of what replacements may make of it

Opened = TypeVar("Opened")
Found = TypeVar("Found")


@dataclass
class Transcript:
    """A recording as its rows, one per segment, in order; or a dialogue: several that are the channels of one sound, in
    the order of time. `fault` says what is impossible in the rows of one that must not be used."""

    rows: list[Row]
    is_dialogue: bool = False
    fault: str = ""

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
    """Joins adjacent recordings whose first rows `are_one` to one transcript. One with a fault stays alone."""
    found = list[Transcript]()
    for each in recordings:
        if found and (each.fault or found[-1].fault or not are_one(found[-1].first, each.first)):
            yield _joined(found)
            found = []
        found.append(each)
    if found:
        yield _joined(found)


def _joined(channels: Sequence[Transcript]) -> Transcript:
    return channels[0] if len(channels) == 1 else Transcript([*as_dialogue([each.rows for each in channels])], True)


def transcripts(config: Config, problems: list[str], more: Sequence[str] = ()) -> Iterator[Transcript]:
    """Yields all recordings in committed parts of the output, as `transcripts_in`."""
    return transcripts_in(config.output.asked_place(), OUTPUT, problems, more)


def transcripts_in(output: Place, key: str, problems: list[str], more: Sequence[str] = ()) -> Iterator[Transcript]:
    """Yields all recordings in committed parts of an output, part by part, with `more` columns than transcripts need.
    Raises ConfigError, which names `key`, if there are none, and OSError if the storage fails.

    A part that cannot be read is skipped. Recordings of which a row is impossible have a fault. A sentence about each
    such part is added to `problems`.
    """
    state = _committed(output, key)

    def opened(unit: str) -> Part:
        return open_part(unit, output, lambda _: None)  # its rows are checked as they come

    def recordings(unit: str, part: Part) -> Iterator[Transcript]:
        return recordings_of(part.tables(), output / part_name(unit), problems, more)

    yield from each_part(output, committed_units(state), opened, recordings, problems)


def committed(config: Config) -> tuple[Place, State]:
    """The output and its state. Raises ConfigError if it has no committed part, and OSError if the storage fails."""
    output = config.output.asked_place()
    return output, _committed(output, OUTPUT)


def _committed(output: Place, key: str) -> State:
    try:
        state = load_state(output, key)
    except PermissionError as problem:
        raise ConfigError(f"{key}: {problem}") from None
    if not committed_units(state):
        raise ConfigError(f"{key}: {output.uri} has no committed transcripts; run {how_to_call('transcribe')} first")
    return state


def committed_units(state: State) -> list[str]:
    return sorted(unit for unit in state.parts if state.commit_of(unit))


def each_part(
    output: Place,
    units: Iterable[str],
    opened: Callable[[str], Opened],
    read: Callable[[str, Opened], Iterable[Found]],
    problems: list[str],
) -> Iterator[Found]:
    """Yields what is read from each part, which is opened in advance, in a thread. One that cannot be opened or read is
    skipped; a sentence about it is added to `problems`. Raises OSError if the storage fails."""

    def try_open(unit: str) -> Opened | Exception:
        try:
            return opened(unit)
        except Exception as problem:  # noqa: BLE001 - of this part, unless it is the storage's
            return problem

    remaining = iter(units)
    with ThreadPoolExecutor(READ_AHEAD) as pool:
        pending = deque((unit, pool.submit(try_open, unit)) for unit in islice(remaining, READ_AHEAD))
        while pending:
            unit, opening = pending.popleft()
            part = opening.result()
            pending.extend((unit, pool.submit(try_open, unit)) for unit in islice(remaining, 1))
            try:
                if isinstance(part, Exception):
                    raise part
                yield from read(unit, part)
            except FileNotFoundError:
                problems.append(_invalid(output / part_name(unit), "it was deleted meanwhile"))
            except OF_ONE_FILE as problem:
                problems.append(f"{problem}; its recordings are left out")
            except OSError:
                raise
            except Exception as problem:  # noqa: BLE001 - InvalidData, or what nobody foresaw: only this part is lost
                told = (
                    str(problem)
                    if isinstance(problem, InvalidData)
                    else f"{type(problem).__name__}: {one_line(problem)}"
                )
                problems.append(_invalid(output / part_name(unit), told))


def _invalid(place: Place, why: str) -> str:
    return f"{place.uri} is not a valid part for this version: {why}; delete it and run jobs.transcribe again"


def recordings_of(
    tables: Iterable[pa.Table], place: Place, problems: list[str], more: Sequence[str] = ()
) -> Iterator[Transcript]:
    """The recordings of a part, from its tables, with `more` columns than transcripts need. If some have a fault, a
    sentence about the part is added to `problems`."""
    count, example = 0, ""
    for rows in recordings_in(_with_faults(table, more) for table in tables):
        for number, (_, group) in enumerate(groupby(rows, identity)):
            own = list(group)
            fault = (
                "its first segment is not there" if number else next((row["fault"] for row in own if row["fault"]), "")
            )
            if fault:
                count += 1
                example = example or f"{own[0]['recording_id']}: {fault}"
            yield Transcript(own, fault=fault)
    if count:
        problems.append(
            _invalid(place, f"{count} of its recordings cannot be used and are left out, such as {example}")
        )


def _with_faults(rows: pa.Table, more: Sequence[str]) -> pa.Table:
    """The columns that transcripts need of rows of PART_SCHEMA, more of them, and `fault`: what is impossible in a
    row."""
    found = None
    if _fault(rows):
        found = pa.array([_fault(rows.slice(number, 1)) for number in range(rows.num_rows)], pa.string())
    return rows.select([*_COLUMNS, *(name for name in more if name not in _COLUMNS)]).append_column(
        "fault", pa.nulls(rows.num_rows, pa.string()) if found is None else found
    )


def _fault(rows: pa.Table) -> str | None:
    """What is impossible in rows of PART_SCHEMA: texts, tokens or times; None if nothing is."""
    with_text = rows.filter(pc.is_valid(rows.column("text")))
    tokens = pc.list_flatten(rows.column("tokens"))
    for name in _REQUIRED_WITH_TEXT:
        if with_text.column(name).null_count:
            return f"it has texts without {name}"
    has_words = pc.greater(pc.binary_length(with_text.column("text")), 0)
    if with_text.column("confidence").filter(has_words).null_count:
        return "it has texts without confidence"
    if tokens.null_count or any(pc.struct_field(tokens, name).null_count for name in _TOKEN_FIELDS):
        return "it has tokens without text, times or confidence"
    starts, ends, duration = (rows.column(name) for name in ("start_s", "end_s", "duration_s"))
    in_order = pc.and_(pc.greater_equal(starts, 0), pc.greater_equal(ends, starts))
    times = [ends, duration, *(pc.abs(pc.struct_field(tokens, name)) for name in ("start_s", "end_s"))]
    if not all(
        pc.all(each).as_py() is not False for each in (in_order, *(pc.less(time, MAX_SECONDS) for time in times))
    ):
        return "it has impossible times"
    for name, most in (("text", MAX_TEXT), ("written", MAX_WRITTEN)):
        if (pc.max(pc.binary_length(rows.column(name))).as_py() or 0) > most:
            return f"it has a segment of more than {most:,} bytes of {name}"
    return None


def report_problems(problems: Iterable[str], key: str = OUTPUT) -> int:
    """Prints the problems that `transcripts_in` found, and returns the exit status: FAILED if there were any."""
    status = DONE
    for sentence in problems:
        say(f"{key}: {sentence}", "red")
        status = FAILED
    return status
