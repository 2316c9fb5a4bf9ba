"""How fast a checkout reads, against another: WAV, FLAC, tars and Parquet files, decoded to a piece's rows.

    git worktree add /tmp/before COMMIT
    python tests/campaigns/reading.py --against /tmp/before --rounds 5

The two take turns, each in a process of its own, on the same files of the demo's speech. Prints the medians of the
seconds of processor time that each took, and their ratio: below 1, this checkout is the faster.
"""

import argparse
import io
import json
import subprocess
import sys
import tarfile
import tempfile
from collections.abc import Callable
from pathlib import Path
from statistics import median

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import soundfile
from kept_results import add_write_option, publish

ROOT = Path(__file__).parents[2]
PASSES = 3  # over the files, in one process; the fastest counts

PROGRAM = """
import sys, time
try:
    from actors.sources.objects import ReadSettings
    from actors.reader import read_piece
    from jobs.cli.config import Input
    from jobs.planning.listing import list_input
except ImportError:  # a checkout from before the modules had rooms
    from actors.objects import ReadSettings
    from actors.reading import read_piece
    from jobs.config import Input
    from jobs.listing import list_input
from actors.units import Unit
unit = Unit("0a", "f", tuple(list_input(Input(uri=sys.argv[1]), "/nowhere/out").objects))
try:
    from actors.pieces import Cut, cut_unit
    (piece,) = cut_unit(unit, Cut(36_000))
except ImportError:  # from before a piece had objects of its own
    from actors.units import Piece
    piece = Piece(unit, 36_000)
times = []
for _ in range(int(sys.argv[2])):
    began = time.process_time()
    rows = read_piece(piece, ReadSettings()).num_rows
    times.append(time.process_time() - began)
print(min(times), rows)
"""


def sounds(count: int) -> list[np.ndarray]:
    """Recordings of five to fifteen seconds, int16."""
    paths = sorted(ROOT.glob("demo/audio/*/*.flac"))
    speech = np.concatenate([soundfile.read(path, dtype="int16", always_2d=True)[0][:, 0] for path in paths])
    draw, found = np.random.default_rng(0), []
    for _ in range(count):
        length = int(draw.integers(5, 16)) * 16_000
        start = int(draw.integers(0, len(speech) - length))
        found.append(speech[start : start + length])
    return found


def encoded(sound: np.ndarray, kind: str) -> bytes:
    file = io.BytesIO()
    soundfile.write(file, sound, 16_000, format=kind)
    return file.getvalue()


def loose(kind: str) -> Callable[[Path], None]:
    def make(folder: Path) -> None:
        for number, sound in enumerate(sounds(400)):
            (folder / f"{number:03d}.{kind.lower()}").write_bytes(encoded(sound, kind))

    return make


def tar(folder: Path, mode: str = "w", suffix: str = "tar") -> None:
    with tarfile.open(folder / f"a.{suffix}", mode) as archive:
        for number, sound in enumerate(sounds(400)):
            for name, data in ((f"{number:03d}.flac", encoded(sound, "FLAC")), (f"{number:03d}.txt", b"what was said")):
                header = tarfile.TarInfo(name)
                header.size = len(data)
                archive.addfile(header, io.BytesIO(data))


def parquet(folder: Path, count: int = 250) -> None:
    audio = [encoded(sound, "FLAC") for sound in sounds(count)]
    table = pa.table({"audio": audio, "text": ["what was said"] * count, "speaker": list(range(count))})
    pq.write_table(table, folder / "a.parquet", row_group_size=100)


KINDS: dict[str, Callable[[Path], None]] = {
    "WAV files": loose("WAV"),
    "FLAC files": loose("FLAC"),
    "a tar of FLAC": tar,
    "a tar.gz of FLAC": lambda folder: tar(folder, "w:gz", "tar.gz"),
    "a Parquet file of 35 MB": parquet,
    "a Parquet file of 100 MB": lambda folder: parquet(folder, 700),
}


def seconds(checkout: Path, folder: Path) -> tuple[float, int]:
    """Of processor time that a checkout takes to read a folder, and the rows that it makes."""
    command = [sys.executable, "-c", PROGRAM, str(folder), str(PASSES)]
    done = subprocess.run(command, cwd=checkout, capture_output=True, text=True, check=True)
    took, rows = done.stdout.split()
    return float(took), int(rows)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--against", type=Path, required=True)
    parser.add_argument("--rounds", type=int, default=5)
    add_write_option(parser, "reading")
    options = parser.parse_args()
    rows_shown = list[tuple[str, ...]]()
    for name, make in KINDS.items():
        took: dict[Path, list[float]] = {options.against: [], ROOT: []}
        with tempfile.TemporaryDirectory(prefix="citrascribe-reading-") as folder:
            make(Path(folder))
            for _ in range(options.rounds):
                rows = set[int]()
                for checkout, times in took.items():
                    second, count = seconds(checkout, Path(folder))
                    times.append(second)
                    rows.add(count)
                assert len(rows) == 1, json.dumps(sorted(rows))
        before, now = (median(times) for times in took.values())
        rows_shown.append((name, f"{before:.2f}", f"{now:.2f}", f"{now / before:.3f}"))
        print(*rows_shown[-1], sep="  ", flush=True)
    about = f"CPU seconds, medians of {options.rounds} rounds that alternate with another checkout."
    columns = ["read", "before, s", "now, s", "ratio"]
    publish("Reading, beside an earlier checkout", about, columns, rows_shown, options.write)
    return 0


if __name__ == "__main__":
    sys.exit(main())
