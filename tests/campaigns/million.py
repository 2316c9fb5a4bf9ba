"""A unit of very many rows, such as a tar of a million members of a byte: what committing its pieces takes.

    python tests/campaigns/million.py --rows 1000000 --pieces 50

Prints the wall time and the peak memory of the process that commits, with the rows kept in pieces before.
"""

import argparse
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import pyarrow as pa

sys.path[:0] = [str(Path(__file__).parents[2]), str(Path(__file__).parents[1])]  # this checkout, and its tests' helpers
from transcribing import commit_piece, emitted  # noqa: E402

from actors.parts.kept import keep  # noqa: E402
from actors.pieces import Cut, Piece, cut_unit  # noqa: E402
from actors.schema import HEARD_SCHEMA  # noqa: E402
from actors.storage.place import Place  # noqa: E402
from actors.units import SourceObject, Unit  # noqa: E402

URI = "s3://archive/shard-000001.tar"


def pieces_of(count: int) -> list[Piece]:
    source = SourceObject(URI, URI, "shard-000001.tar", "tar", "e", 1_500_000_000)
    return cut_unit(Unit.of("0a", "f" * 32, (source,)), Cut(1_800, count))


def rows_of(first: int, count: int) -> pa.Table:
    row = {
        "uri": URI,
        "etag": "e",
        "segment_index": 0,
        "error_kind": "not_audio",
        "error_detail": "its first bytes belong to no known audio container",
        **dict.fromkeys(("model", "model_sha256", "run_id", "unit"), "m"),
        "transcribed_at": 0,
    }
    names = [f"folder/recording_{number:07d}.wav" for number in range(first, first + count)]
    rows = [row | {"recording_id": f"{URI}/{name}", "member": name} for name in names]
    return pa.Table.from_pylist(rows, HEARD_SCHEMA)


def commit(folder: str, count: int, pieces: int) -> None:
    output = Place.at(folder)
    last = pieces_of(pieces)[-1]
    each = count // pieces
    began = time.monotonic()
    rows = rows_of(each * (pieces - 1), each).append_column("own", pa.array([True] * each))
    told = commit_piece(last, emitted(rows, [None] * each), output, "one")
    assert told.counts.recordings == told.counts.errors["not_audio"] == each * pieces, told
    peak = next(line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmHWM"))
    took = f"{time.monotonic() - began:.1f} s, {int(peak.split()[1]) / 1e6:.2f} GB"
    print(f"{each * pieces:,} rows in {pieces} pieces: {took}")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--pieces", type=int, default=50)
    parser.add_argument("--folder", help="where the pieces are kept already, to commit them")
    options = parser.parse_args()
    if options.folder:
        commit(options.folder, options.rows, options.pieces)
        return 0
    each = options.rows // options.pieces
    with tempfile.TemporaryDirectory(prefix="citrascribe-million-") as folder:
        for piece in pieces_of(options.pieces)[:-1]:
            keep(piece, rows_of(piece.range * each, each), Place.at(folder))
        return subprocess.run([sys.executable, __file__, *sys.argv[1:], "--folder", folder]).returncode


if __name__ == "__main__":
    sys.exit(main())
