"""Writes the list of a plan's objects, to Parquet or CSV, a few rows in memory at a time."""

import csv
import io
from collections import Counter
from collections.abc import Iterator, Sequence
from itertools import islice
from typing import BinaryIO, TypedDict

import pyarrow as pa
import pyarrow.parquet as pq

from actors.storage.place import Place
from actors.storage.preflight import check_target
from jobs.cli.config import Config, ConfigError
from jobs.planning.object_verdicts import Row, rows
from jobs.planning.prepare import Prepared

KEY = "plan.list"
ROWS_AT_ONCE = 20_000
_FORMULA = ("=", "+", "-", "@", "\t", "\r")  # how a cell begins that a spreadsheet would compute

_SCHEMA = pa.schema(
    [
        ("uri", pa.string()),
        ("offset_s", pa.float64()),
        ("stretch_s", pa.float64()),
        ("channel", pa.int16()),
        ("name", pa.string()),
        ("verdict", pa.string()),
        ("reason", pa.string()),
        ("file", pa.string()),
        ("format", pa.string()),
        ("size_bytes", pa.int64()),
        ("estimated_s", pa.float64()),
        ("listed_by", pa.string()),
        ("unit", pa.string()),
        ("unit_verdict", pa.string()),
    ]
)


class Written(TypedDict):
    """The file of plan.list, with the number of its rows by verdict."""

    uri: str
    verdicts: dict[str, int]


def list_place(config: Config) -> Place | None:
    """Where the list goes, None if none is wanted. Raises UsageError if it cannot be written there, and
    OSError if the storage does not answer."""
    if config.plan.list is None:
        return None
    place = Place.at(config.plan.list, config.plan.options() or config.output.options())
    check_target(place, KEY)
    return place


def write_list(file: BinaryIO, place: Place, prepared: Prepared) -> Written:
    """Writes every object of a plan, and every file that is none itself, to the open file of a place.

    Raises ConfigError if the next run would take that file for one of the archive's.
    """
    _refuse_to_be_input(place, prepared)
    verdicts = Counter[str]()
    found = _counted(rows(prepared.listing, prepared.state, prepared.plan), verdicts)
    (_write_csv if place.path.lower().endswith(".csv") else _write_parquet)(file, found)
    return {"uri": place.uri, "verdicts": dict(verdicts.most_common())}


def _refuse_to_be_input(place: Place, prepared: Prepared) -> None:
    is_below = any(place.uri.startswith(f"{root}/") for root in prepared.listing.roots)
    if is_below and not place.uri.startswith(f"{prepared.output_uri}/") and place.path.lower().endswith(".parquet"):
        raise ConfigError(f"{KEY}: {place.uri} is below the input, so that a run would read it; give another folder")


def listed_in(written: Written) -> str:
    """The list of a plan in a sentence."""
    counts = ", ".join(f"{count:,} {verdict}" for verdict, count in written["verdicts"].items())
    return f"{KEY}: {counts}, in {written['uri']}"


def _counted(found: Iterator[Row], verdicts: Counter[str]) -> Iterator[Row]:
    for row in found:
        verdicts[row.verdict] += 1
        yield row


def _write_parquet(file: BinaryIO, rows: Iterator[Row]) -> None:
    with pq.ParquetWriter(file, _SCHEMA, compression="zstd") as writer:
        while some := list(islice(rows, ROWS_AT_ONCE)):
            columns = [
                pa.array(column, field.type) for column, field in zip(zip(*some, strict=True), _SCHEMA, strict=True)
            ]
            writer.write_batch(pa.record_batch(columns, schema=_SCHEMA))


def _write_csv(file: BinaryIO, rows: Iterator[Row]) -> None:
    text = io.TextIOWrapper(file, "utf-8", newline="")
    writer = csv.writer(text)
    writer.writerow(_SCHEMA.names)
    writer.writerows(_cells(row) for row in rows)
    text.flush()
    text.detach()


def _cells(row: Row) -> Sequence[object]:
    """A row's values; a text that a spreadsheet would take for a formula gets an apostrophe before it."""
    return [f"'{value}" if isinstance(value, str) and value.startswith(_FORMULA) else value for value in row]
