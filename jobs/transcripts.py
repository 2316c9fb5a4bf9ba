"""Committed transcripts, recording by recording, for the jobs that read them."""

import io
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from itertools import islice
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from actors import storage
from actors.parts import part_name
from actors.recordings import fields_of
from actors.texts import join
from jobs.config import Config, ConfigError, with_secrets
from jobs.state import load_state

AHEAD = 4  # parts that are read while one is worked on
_COLUMNS = ["recording_id", "uri", "member", "offset_s", "segment_index", "start_s", "end_s", "duration_s", "text"]
_COLUMNS += ["confidence", "tokens", "reference", "extra", "error_kind", "error_detail"]

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


def transcripts(config: Config) -> Iterator[Transcript]:
    """All recordings of the committed parts of an output, part by part. Raises ConfigError where there are none."""
    options = with_secrets(config.output.storage_options, "output.storage_options")
    filesystem, root = storage.connect(config.output.uri, options)
    state = load_state(filesystem, root)
    units = sorted(unit for unit in state.parts if state.commit_of(unit))
    if not units:
        where = storage.canonical(filesystem, root)
        raise ConfigError(f"output.uri: {where} holds no committed transcripts; jobs.transcribe makes them")

    def read(unit: str) -> pa.Table:
        data = storage.read(filesystem, f"{root}/{part_name(unit)}")
        return pq.read_table(io.BytesIO(data), columns=_COLUMNS)

    left = iter(units)
    with ThreadPoolExecutor(AHEAD) as pool:
        under_way = [pool.submit(read, unit) for unit in islice(left, AHEAD)]
        while under_way:
            table = under_way.pop(0).result()
            under_way += [pool.submit(read, unit) for unit in islice(left, 1)]
            yield from in_table(table)


def in_table(table: pa.Table) -> Iterator[Transcript]:
    """The recordings of a part, whose rows lie one after the other."""
    now = Transcript()
    for batch in table.to_batches(max_chunksize=1_000):
        for row in batch.to_pylist():
            if row["segment_index"] == 0 and now.rows:
                yield now
                now = Transcript()
            now.rows.append(row)
    if now.rows:
        yield now
