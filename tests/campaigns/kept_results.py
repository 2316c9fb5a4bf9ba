"""What a campaign measured, printed as a table and kept beside the benchmarks."""

import argparse
from collections.abc import Sequence
from pathlib import Path

from actors.benchmark.results import Result, Table
from actors.benchmark.sides import device_name


def add_write_option(parser: argparse.ArgumentParser, name: str) -> None:
    parser.add_argument("--write", type=Path, help=f"a JSON file to keep the result in: docs/benchmarks/{name}.json")


def publish(
    title: str, about: str, columns: Sequence[str], rows: Sequence[Sequence[object]], write: Path | None
) -> None:
    """Prints a table; with `write` keeps it as a result, of which `make benchmarks` makes the page."""
    table = Table(columns, [[str(cell) for cell in row] for row in rows])
    print(f"\n{table.to_markdown()}", flush=True)
    if write:
        write.write_text(Result(title, about, [table], device_name("cpu")).to_json(), encoding="utf-8")
