"""Names the recordings with an error of a run, and tells where all of them are."""

import re
from collections.abc import Mapping, Sequence

from jobs.cli.called import how_to_call
from jobs.cli.terminal import show_table


def show_failing(
    named: Sequence[Mapping[str, object]], total: int, output: str, run_id: str, shown: int | None = None, run: str = ""
) -> None:
    """Shows the first recordings of a run that are `named`, of a total with an error; what is in jobs.history of the
    `run`, or only in the parts, is told below."""
    rows = [(row["recording_id"], row["error_kind"], row["error_detail"]) for row in named[:shown]]
    below = ""
    if len(rows) < len(named) == total:
        below = f"all of them: {how_to_call('history')} CONFIG history.run={run}"
    elif len(rows) < total and re.fullmatch(r"[\w-]+", run_id):  # it may be read from storage, and is pasted by people
        below = f"all of them: {query(output, run_id)}"
    recordings = "recording" if total == 1 else "recordings"
    count = f"{total:,}" if len(rows) == total else f"{len(rows):,} of {total:,}"
    show_table(f"{count} {recordings} with an error", ("recording", "kind", "what is wrong"), rows, below)


def query(output: str, run_id: str) -> str:
    """A command for a shell that lists the recordings of a run that have an error."""
    parts = f"{output.removeprefix('file://')}/part-*.parquet".replace("'", "''")
    where = f"run_id = '{run_id}' AND error_kind IS NOT NULL"
    asked = f"SELECT DISTINCT recording_id, error_kind, error_detail FROM '{parts}' WHERE {where}"
    return 'duckdb -c "{}"'.format(re.sub(r'([$`"\\])', r"\\\1", asked))
