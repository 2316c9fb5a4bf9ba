"""Committed transcripts, recording by recording, for the jobs that read them."""

from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from itertools import islice
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from actors.foreign.errors import InvalidData
from actors.parts.commit import open_part, part_name
from actors.parts.part import Part, check_rows
from actors.parts.summary import rows_in
from actors.sources.recordings import fields_of
from actors.storage import files as storage
from actors.text.normalise import join
from jobs.cli.command import DONE, FAILED
from jobs.cli.config import Config, ConfigError, with_secrets
from jobs.cli.terminal import say
from jobs.planning.state import load_state

AHEAD = 4  # parts that are read while one is worked on
_COLUMNS = ["recording_id", "uri", "member", "offset_s", "segment_index", "start_s", "end_s", "duration_s", "text"]
_COLUMNS += ["confidence", "tokens", "reference", "extra", "error_kind", "error_detail"]

_OF_A_TEXT = ("start_s", "end_s", "duration_s", "confidence")
_OF_A_TOKEN = ("token", "start_s", "end_s", "confidence")
MAX_SECONDS = 1e8  # seconds of a recording; three years
MAX_TEXT = 200_000  # bytes of a segment, which has two minutes at most; 1,500 tokens have 20 kB

Row = dict[str, Any]


@dataclass
class Transcript:
    """A recording: its rows, of which the first is of its first segment."""

    rows: list[Row] = field(default_factory=list)

    @property
    def first(self) -> Row:
        """What is the same in all rows stands in the first, and so does what came with the audio."""
        return self.rows[0]

    @property
    def text(self) -> str:
        return join(row["text"] for row in self.rows)

    @property
    def is_heard(self) -> bool:
        """Whether any of it was transcribed; if not, its rows say why."""
        return any(row["text"] is not None for row in self.rows)

    @property
    def fields(self) -> dict[str, Any]:
        """What came with the audio."""
        return fields_of(self.first["extra"]) if self.first["extra"] else {}


def transcripts(config: Config, wrong: list[str]) -> Iterator[Transcript]:
    """All recordings of the committed parts of an output, part by part. Raises ConfigError where there are none.

    Of each part that is not what it should be, a sentence is added to `wrong`; the others go on.
    """
    options = with_secrets(config.output.storage_options, "output.storage_options")
    filesystem, root = storage.connect(config.output.uri, options)
    try:
        state = load_state(filesystem, root)
    except PermissionError as problem:
        raise ConfigError(f"output.uri: {problem}") from None
    units = sorted(unit for unit in state.parts if state.commit_of(unit))
    if not units:
        where = storage.canonical(filesystem, root)
        raise ConfigError(f"output.uri: {where} holds no committed transcripts; jobs.transcribe makes them")

    def read(unit: str) -> Part | None:
        try:
            return open_part(unit, filesystem, root, _check)
        except PermissionError as problem:
            wrong.append(f"{problem}; what it holds is left out")
            return None
        except (InvalidData, FileNotFoundError) as problem:
            where = storage.canonical(filesystem, f"{root}/{part_name(unit)}")
            why = problem if isinstance(problem, InvalidData) else "it went meanwhile"
            wrong.append(
                f"{where} is no part of this version of the job: {why}; remove it, and jobs.transcribe makes it"
            )
            return None

    left = iter(units)
    with ThreadPoolExecutor(AHEAD) as pool:
        under_way = [pool.submit(read, unit) for unit in islice(left, AHEAD)]
        while under_way:
            part = under_way.pop(0).result()
            under_way += [pool.submit(read, unit) for unit in islice(left, 1)]
            if part:
                yield from in_tables(table.select(_COLUMNS) for table in part.tables())


def _check(rows: pa.Table) -> None:
    """Raises InvalidData where rows, of PART_SCHEMA, have texts or tokens that nobody can have said."""
    check_rows(rows)
    said = rows.filter(pc.is_valid(rows.column("text")))
    tokens = pc.list_flatten(said.column("tokens"))
    for name in _OF_A_TEXT:
        if said.column(name).null_count:
            raise InvalidData(f"it has texts without {name}")
    if tokens.null_count or any(pc.struct_field(tokens, name).null_count for name in _OF_A_TOKEN):
        raise InvalidData("it has tokens without text, times or confidence")
    starts, ends = said.column("start_s"), said.column("end_s")
    in_order = pc.and_(pc.greater_equal(starts, 0), pc.greater_equal(ends, starts))
    times = [ends, said.column("duration_s"), *(pc.abs(pc.struct_field(tokens, name)) for name in ("start_s", "end_s"))]
    if not all(
        pc.all(each).as_py() is not False for each in (in_order, *(pc.less(time, MAX_SECONDS) for time in times))
    ):
        raise InvalidData("it has times that cannot be")
    if (pc.max(pc.binary_length(said.column("text"))).as_py() or 0) > MAX_TEXT:
        raise InvalidData(f"it has a segment of more than {MAX_TEXT:,} bytes of text")


def tell_wrong(wrong: Iterable[str]) -> int:
    """Shows what `transcripts` found wrong, and returns the job's exit status: what is there was done, but not all."""
    status = DONE
    for sentence in wrong:
        say(f"output.uri: {sentence}", "red")
        status = FAILED
    return status


def in_tables(tables: Iterable[pa.Table]) -> Iterator[Transcript]:
    """The recordings of a part, whose rows lie one after the other."""
    now = Transcript()
    for row in rows_in(tables):
        if row["segment_index"] == 0 and now.rows:
            yield now
            now = Transcript()
        now.rows.append(row)
    if now.rows:
        yield now
