"""Large objects through the whole job: what they take of time and memory, and that nothing of them is lost.

    python tests/campaigns/long.py --hours 15 --kind mp3 flac tar

Makes the object of the demo's speech, transcribes it with the demo's model in pieces, and prints a line with the peak
resident memory of the largest of all processes.
"""

import argparse
import contextlib
import io
import os
import subprocess
import sys
import tarfile
import tempfile
import threading
import time
from collections.abc import Iterator
from itertools import cycle, pairwise
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import soundfile
import soxr
from kept_results import add_write_option, publish

from actors.audio.decode import decode
from actors.audio.pcm import as_float
from jobs.cli.terminal import read_json

KINDS = {"flac": ("FLAC", "PCM_16"), "mp3": ("MP3", "MPEG_LAYER_III"), "wav": ("WAV", "PCM_16")}
SHOULD_TAKE_GB = {"tar": 3, "tar.gz": 3}  # else 4


def speech() -> Iterator[np.ndarray]:
    """The demo's loose recordings, over and over."""
    paths = sorted(Path("demo/audio").rglob("*.flac"))
    return cycle([as_float(decode(path.read_bytes()).pcm) for path in paths])


def make(path: Path, kind: str, hours: float) -> int:
    """Writes the object; returns how many recordings it holds."""
    if kind in KINDS:
        sounds = [soxr.resample(each, 16_000, 44_100) for _, each in zip(range(20), speech(), strict=False)]
        block = np.repeat(np.concatenate(sounds)[:, None], 2, axis=1).astype(np.float32)
        # An MP3 may be appended to an MP3, as recorders do, which spares encoding all of it.
        left = round((hours if kind != "mp3" else 1) * 3_600 * 44_100)
        with soundfile.SoundFile(path, "w", 44_100, 2, format=KINDS[kind][0], subtype=KINDS[kind][1]) as file:
            while left > 0:
                for start in range(0, min(len(block), left), 44_100):
                    file.write(block[start : min(start + 44_100, left)])
                left -= len(block)
        if kind == "mp3":
            path.write_bytes(path.read_bytes() * round(hours))
        return 1
    count, seconds = 0, 0.0
    with tarfile.open(path, "w:gz" if kind == "tar.gz" else "w") as archive:
        for sound in speech():
            if seconds >= hours * 3_600:
                return count
            encoded = io.BytesIO()
            soundfile.write(encoded, np.concatenate([sound] * 3), 16_000, format="FLAC")
            header = tarfile.TarInfo(f"{count:06d}.flac")
            header.size = len(encoded.getvalue())
            archive.addfile(header, io.BytesIO(encoded.getvalue()))
            count, seconds = count + 1, seconds + 3 * len(sound) / 16_000
    return count


def watch(peaks: dict[str, float], ended: threading.Event) -> None:
    """The most resident memory, in GB, that processes below this one had, by their names."""
    while not ended.wait(0.2):
        for process in below(os.getpid()):
            with contextlib.suppress(OSError):
                said = dict(line.split(":", 1) for line in Path(f"/proc/{process}/status").read_text().splitlines())
                if "VmHWM" in said:
                    name = said["Name"].strip()
                    peaks[name] = max(peaks.get(name, 0.0), int(said["VmHWM"].split()[0]) / 1e6)


def below(process: int) -> Iterator[int]:
    with contextlib.suppress(OSError):
        for thread in Path(f"/proc/{process}/task").iterdir():
            for child in map(int, (thread / "children").read_text().split()):
                yield child
                yield from below(child)


def measured(kind: str, hours: float) -> tuple[tuple[str, ...], bool]:
    """A row of the table, and whether all is there within the memory that it should take."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / f"long.{kind}"
        recordings = make(path, kind, hours)
        peaks, ended = dict[str, float](), threading.Event()
        thread = threading.Thread(target=watch, args=(peaks, ended))
        thread.start()
        size = path.stat().st_size
        began = time.monotonic()
        where = [f"input.uri={path}", f"output.uri={folder}/out", "unit.target_minutes=30"]
        command = [sys.executable, "-m", "jobs.transcribe", "configs/demo.yaml", *where]
        said = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True).stdout
        seconds = time.monotonic() - began
        ended.set()
        thread.join()
        summary = read_json(said)
        (part,) = Path(folder, "out").glob("part-*.parquet")
        rows = pq.read_table(part, columns=["recording_id", "segment_index", "start_s", "end_s"]).to_pylist()
        gaps = [right["start_s"] - left["end_s"] for left, right in pairwise(rows) if right["segment_index"]]
        whole = len({row["recording_id"] for row in rows}) == recordings and not any(gaps)
        name, peak = max(peaks.items(), key=lambda each: each[1])
    row = (kind, f"{size / 1e9:.2f}", f"{summary['audio_hours']:.2f}", f"{len(rows):,}", "yes" if whole else "NO")
    speed = f"{summary['audio_hours'] * 3_600 / seconds:.0f}"
    return (*row, speed, f"{peak:.2f} ({name})"), whole and peak < SHOULD_TAKE_GB.get(kind, 4)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--hours", type=float, default=15)
    parser.add_argument("--kind", choices=[*KINDS, "tar", "tar.gz"], default=["mp3"], nargs="+")
    add_write_option(parser, "large_objects")
    options = parser.parse_args()
    found = [measured(kind, options.hours) for kind in options.kind]
    columns = ["object", "GB", "hours", "segments", "all there", "x real time", "largest process, GB"]
    about = "Memory is the peak of the largest process; the speed is that of the demo's model, and of the whole job."
    publish("Large objects through the whole job", about, columns, [row for row, _ in found], options.write)
    return 0 if all(is_right for _, is_right in found) else 1


if __name__ == "__main__":
    sys.exit(main())
