"""Planning at scale: a run over an archive of which every object is committed, from a recorded listing of S3.

    python tests/campaigns/scale.py --objects 1000000 --per-unit 10 --latency-ms 50

The listing is served page by page, each page of 1,000 keys late by the stated time, by a process of its own on this
machine. Prints a table of wall time and peak memory of the first plan and of a run that finds nothing left to do.
"""

import argparse
import contextlib
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable, Iterator
from pathlib import Path

import pyarrow as pa

from actors.parts.stored import COMMITS, Commit, part_name
from actors.storage.place import Place
from actors.units import digest
from jobs.cli.loading import load
from jobs.planning.plans import write_plan
from jobs.planning.prepare import prepare
from jobs.planning.recipe import Devices

sys.path[:0] = [str(Path(__file__).parents[1])]  # where the tests' own helpers are
from conftest import S3_KEY, S3_SECRET  # noqa: E402
from kept_results import add_write_option, publish  # noqa: E402
from recorded_storage import Recorded  # noqa: E402

ROOT = Path(__file__).parents[2]
SECONDS = 10  # of audio in an object
RECORDINGS_A_SPEAKER, SPEAKERS_A_MONTH = 500, 170


def archive(objects: int) -> Iterator[Recorded]:
    """Keys like those of a real archive, of 10 s of FLAC each."""
    for number in range(objects):
        speaker = number // RECORDINGS_A_SPEAKER
        folder = f"archive/2026/{speaker // SPEAKERS_A_MONTH + 1:02d}/speaker_{speaker:05d}"
        yield f"{folder}/recording_{number:07d}.flac", SECONDS * 16_000, digest([str(number)]) * 2


@contextlib.contextmanager
def served(recording: Iterable[Recorded], latency_s: float) -> Iterator[str]:
    """The URL of a server, in a process of its own, that serves a recording."""
    names = ("key", "size", "etag")
    table = pa.table(dict(zip(names, map(list, zip(*recording, strict=True)), strict=True)))
    with tempfile.TemporaryDirectory(prefix="citrascribe-scale-") as folder:
        path = f"{folder}/recording.arrow"
        with pa.ipc.new_file(path, table.schema) as writer:
            writer.write_table(table)
        command = [sys.executable, str(ROOT / "tests" / "recorded_storage.py"), path, str(latency_s)]
        server = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        try:
            assert server.stdout
            yield server.stdout.readline().strip()
        finally:
            server.terminate()
            server.wait()


def keys_of(url: str, per_unit: int) -> list[str]:
    options = json.dumps({"endpoint_url": url})
    keys = [
        "input.uri=s3://bucket/archive",
        "output.uri=s3://bucket/out",
        f"unit.target_minutes={per_unit * SECONDS / 60}",
    ]
    return ["configs/demo.yaml", *keys, *(f"{part}.storage_options={options}" for part in ("input", "output"))]


def measured(job: str, keys: list[str]) -> tuple[float, float, dict[str, object]]:
    """Wall seconds and peak memory in GB of a job in a process of its own, and its last line."""
    run = subprocess.run(
        [sys.executable, __file__, "--alone", job, *keys], stdout=subprocess.PIPE, text=True, check=True
    )
    *_, said, figures = run.stdout.splitlines()
    return *json.loads(figures), json.loads(said)


def alone(job: str, keys: list[str]) -> None:
    import importlib

    began = time.monotonic()
    status = importlib.import_module(job).main(keys)
    peak = next(line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmHWM"))
    print(json.dumps([time.monotonic() - began, int(peak.split()[1]) / 1e6]))
    sys.exit(status)


def commit_all(url: str, per_unit: int) -> list[Recorded]:
    """Writes the plan of a first run, and returns what its parts and commits look like in a listing."""
    prepared = prepare(load(keys_of(url, per_unit)[0], keys_of(url, per_unit)[1:]), Devices.of_this_machine)
    recipe = prepared.recipe.digest, prepared.recipe.settings
    write_plan(prepared.output, prepared.state, prepared.plan.objects, recipe, "r")
    etag = digest(["part"]) * 2
    made = list[Recorded]()
    for unit in prepared.plan.units:
        commit = Commit(unit.id, unit.fingerprint, digest([etag]), len(unit.objects), 0)
        made += [(f"out/{part_name(unit.id)}", 1_000_000, etag), (f"out/{COMMITS}/{commit.name}", 20, etag)]
    return made


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--objects", type=int, default=1_000_000)
    parser.add_argument("--per-unit", type=int, default=10)
    parser.add_argument("--latency-ms", type=float, default=50)
    add_write_option(parser, "planning")
    options = parser.parse_args()
    os.environ |= {"AWS_ACCESS_KEY_ID": S3_KEY, "AWS_SECRET_ACCESS_KEY": S3_SECRET}
    recording, rows = list(archive(options.objects)), []
    with served(recording, options.latency_ms / 1_000) as url:
        rows.append(("jobs.plan, nothing done yet", *measured("jobs.plan", keys_of(url, options.per_unit))))
        made = commit_all(url, options.per_unit)
        plan = Place.at("s3://bucket/out/_runs/000001/plan.arrow", {"endpoint_url": url}).read()
    with served(recording + made, options.latency_ms / 1_000) as url:
        Place.at("s3://bucket/out/_runs/000001/plan.arrow", {"endpoint_url": url}).write(plan)
        rows.append(("jobs.transcribe, all done", *measured("jobs.transcribe", keys_of(url, options.per_unit))))
    assert rows[0][3]["units"] == {"new": len(made) // 2, "redo": 0, "done": 0, "remove": 0}, rows
    assert rows[1][3]["units"] == {"planned": 0, "skipped": len(made) // 2, "done": 0}, rows
    about = (
        f"{options.objects:,} objects, {len(made) // 2:,} parts with a commit each; pages of 1,000 keys are served by a"
    )
    about += f" process on the same machine, each {options.latency_ms:g} ms late."
    shown = [(name, f"{seconds:.1f}", f"{gigabytes:.2f}") for name, seconds, gigabytes, _ in rows]
    publish("Planning at scale", about, ["", "wall s", "peak GB"], shown, options.write)
    return 0


if __name__ == "__main__":
    if sys.argv[1:2] == ["--alone"]:
        alone(sys.argv[2], sys.argv[3:])
    sys.exit(main())
