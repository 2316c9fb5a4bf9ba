"""Bombs through the whole job: what a few kilobytes, or files that claim much, take of memory, and that each is a row.

    python tests/campaigns/bombs.py
    python tests/campaigns/bombs.py --bomb members

Each is an input of its own, transcribed with the demo's model. Prints a line each: how it ended, and the peak resident
memory of the largest of all processes. Status 1 where one took more than 2.5 GB, or ended otherwise than it should.
"""

import argparse
import bz2
import gzip
import io
import os
import subprocess
import sys
import tarfile
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import soundfile
from long import watch

from jobs.cli.terminal import read_json

MAX_GB = 2.5
DEMO = Path("demo/audio/loose/00.wav")


class Zeros(io.RawIOBase):
    """A file of zeros that takes no memory."""

    def __init__(self, size: int) -> None:
        self._left = size

    def read(self, size: int = -1) -> bytes:
        size = min(size, self._left)
        self._left -= size
        return bytes(size)


def sparse(path: Path, size: int = 2_000_000_000) -> None:
    with path.open("wb") as file:
        file.truncate(size)


def tar_of(file: BinaryIO, members: dict[str, int]) -> None:
    with tarfile.open(fileobj=file, mode="w") as archive:
        for name, size in members.items():
            header = tarfile.TarInfo(name)
            header.size = size
            archive.addfile(header, Zeros(size))


def packed(folder: Path) -> None:
    with bz2.open(folder / "a.tar.bz2", "wb") as file:
        tar_of(file, {f"{number}.wav": 500_000_000 for number in range(6)})


def members(folder: Path) -> None:
    with gzip.open(folder / "a.tar.gz", "wb", compresslevel=1) as file:
        tar_of(file, {f"{number:07d}.wav": 1 for number in range(1_000_000)})


def texts(folder: Path) -> None:
    with gzip.open(folder / "a.tar.gz", "wb", compresslevel=1) as file:
        tar_of(file, {f"{number:03d}.{kind}": 3_900_000 for number in range(300) for kind in ("wav", "txt")})


def dictionary(folder: Path) -> None:
    big = pa.array([bytes(400_000_000)], pa.large_binary())
    column = pa.DictionaryArray.from_arrays(pa.array([0] * 64, pa.int32()), big)
    options: dict[str, Any] = {"compression": "zstd", "store_schema": False, "dictionary_pagesize_limit": 1 << 30}
    pq.write_table(pa.table({"audio": column}), folder / "a.parquet", **options)
    cell = pa.table({"audio": pa.array([bytes(2_000_000_000)], pa.large_binary())})
    pq.write_table(cell, folder / "b.parquet", compression="zstd", use_dictionary=False)
    below = pa.DictionaryArray.from_arrays(column.indices, pa.array([bytes(250_000_000)], pa.large_binary()))
    pq.write_table(pa.table({"audio": below}), folder / "c.parquet", **options)


def flac(folder: Path) -> None:
    """Hours of one value, in kilobytes: several of just more than audio.max_hours is here, and a long one."""
    soundfile.write(folder / "0.flac", np.full(16_000 * 60 * 115, 1_000, np.int16), 16_000)
    for number in range(1, 8):
        (folder / f"{number}.flac").write_bytes((folder / "0.flac").read_bytes())
    soundfile.write(folder / "long.flac", np.full(8_000 * 3_600 * 25, 1_000, np.int16), 8_000)


def companions(folder: Path) -> None:
    for number in range(8):
        (folder / f"{number}.wav").write_bytes(DEMO.read_bytes())
        sparse(folder / f"{number}.txt")


def lists(folder: Path) -> None:
    (folder / "a.wav").write_bytes(DEMO.read_bytes())
    for name in ("m.jsonl", "n.jsonl", "wav.scp", "text"):
        sparse(folder / name)
    (folder / "o.jsonl").write_text("".join(f"line {number}\n" for number in range(2_000_000)))


def endless(folder: Path) -> None:
    (folder / "a.wav").write_bytes(DEMO.read_bytes())
    (folder / "wav.scp").write_text("u a.wav\n")
    (folder / "text").symlink_to("/dev/zero")
    (folder / "b.wav").symlink_to("/dev/zero")
    os.mkfifo(folder / "c.wav")


FLAC_HOURS = 1.9

#: How each is made, and the errors that it ends with, by kind.
BOMBS: dict[str, tuple[Callable[[Path], None], dict[str, int]]] = {
    "packed": (packed, {"not_audio": 6}),
    "members": (members, {"not_audio": 1_000_000}),
    "texts": (texts, {"not_audio": 300}),
    "dictionary": (dictionary, {"too_large": 65, "not_audio": 64}),
    "flac": (flac, {"too_long": 9}),
    "companions": (companions, {}),
    "lists": (lists, {"too_large": 4, "bad_entry": 1_001}),
    "endless": (endless, {"outside_input": 2, "bad_entry": 1}),
}


def tried(name: str) -> tuple[bool, str]:
    """Whether a bomb ended as it should, and a line that says how."""
    make, wanted = BOMBS[name]
    with tempfile.TemporaryDirectory(prefix="citrascribe-bomb-") as folder:
        source = Path(folder, "in")
        source.mkdir()
        make(source)
        peaks, ended = dict[str, float](), threading.Event()
        thread = threading.Thread(target=watch, args=(peaks, ended))
        thread.start()
        began = time.monotonic()
        where = [f"input.uri={source}", f"output.uri={folder}/out", "errors.max_fraction=1", "unit.target_minutes=30"]
        where += [f"audio.max_hours={FLAC_HOURS}"] if name == "flac" else []
        done = subprocess.run(
            [sys.executable, "-m", "jobs.transcribe", "configs/demo.yaml", *where], capture_output=True, text=True
        )
        seconds = time.monotonic() - began
        ended.set()
        thread.join()
    errors = read_json(done.stdout)["errors"] if done.stdout else {"said": done.stderr[-300:]}
    process, peak = max(peaks.items(), key=lambda each: each[1])
    is_right = done.returncode == 0 and errors == wanted and peak < MAX_GB
    told = f"| {name} | {done.returncode} | {errors} | {peak:.2f} ({process}) | {seconds:.0f} |"
    return is_right, f"{told} {'' if is_right else 'wrong'} |"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--bomb", choices=[*BOMBS, "all"], default="all")
    options = parser.parse_args()
    print("| bomb | status | errors | largest process, GB | s | |\n| --- | --- | --- | --- | --- | --- |")
    all_right = True
    for name in BOMBS if options.bomb == "all" else [options.bomb]:
        is_right, told = tried(name)
        print(told, flush=True)
        all_right = all_right and is_right
    return 0 if all_right else 1


if __name__ == "__main__":
    sys.exit(main())
