"""What the last stage takes for a unit of 150 minutes whose emissions are kept: joining, saying and committing it.

    python tests/campaigns/last_stage.py --minutes 150 --noisy 0.3

Prints the seconds and the peak memory of a process that does nothing else: first of a unit that was heard, then of its
rewrite from the kept emissions. Of the frames, that share have 32 candidates, which is the most that is kept.
"""

import argparse
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

sys.path[:0] = [str(Path(__file__).parents[2]), str(Path(__file__).parents[1])]  # this checkout, and its tests' helpers
from transcribing import MODEL, WORK  # noqa: E402

from actors.engine.interface import Candidates, Emission  # noqa: E402
from actors.engine.vocabulary import Vocabulary  # noqa: E402
from actors.outcomes import Committed  # noqa: E402
from actors.pieces import Cut, Piece, cut_unit  # noqa: E402
from actors.schema import EMISSION_SCHEMA, FRAME_SAMPLES, SAMPLE_RATE  # noqa: E402
from actors.sources.objects import ReadSettings  # noqa: E402
from actors.storage.place import Place  # noqa: E402
from actors.text.decoding import DecodingSettings  # noqa: E402
from actors.text.emissions import to_columns  # noqa: E402
from actors.units import Carried, SourceObject, Unit  # noqa: E402
from actors.writer import Writer, WriteSettings  # noqa: E402

FRAME, SEGMENT_S, CONTEXT_S, CANDIDATES = 1_280, 12, 1.6, 32
VOCABULARY = Vocabulary(tuple(chr(0x4E00 + number) for number in range(5_206)))
RECORDING_S = 3_600  # so a unit has a few long ones
TOKENS_PER_S = 4


def recordings(minutes: int) -> list[SourceObject]:
    uris = [f"s3://archive/{number}.flac" for number in range(-(-60 * minutes // RECORDING_S))]
    return [SourceObject(uri, uri, uri[-6:], "audio", "1", 60_000_000) for uri in uris]


def emission(draw: np.random.Generator, frames: int, noisy: float) -> Emission:
    blank = len(VOCABULARY.tokens)
    is_token = draw.random(frames) < TOKENS_PER_S * FRAME / SAMPLE_RATE
    best = np.where(is_token, draw.integers(0, blank, frames), blank)
    counts = np.where(draw.random(frames) < noisy, CANDIDATES, is_token).astype(np.uint8)
    ids = draw.integers(0, blank, counts.sum(dtype=int), np.uint16)
    codes = draw.integers(0, 40_000, len(ids), np.uint16), draw.integers(0, 40_000, frames, np.uint16)
    return Emission(best, draw.random(frames, np.float32), Candidates(counts, ids, *codes))


def heard(sources: list[SourceObject], minutes: int, noisy: float) -> pa.Table:
    """What an actor returns of recordings, whose every segment overlaps its neighbours."""
    draw, rows = np.random.default_rng(1), list[dict[str, Any]]()
    each = RECORDING_S // SEGMENT_S
    context = int(CONTEXT_S * SAMPLE_RATE)
    for number in range(60 * minutes // SEGMENT_S):
        source, index = sources[number // each], number % each
        rows.append({"recording_id": source.name, "uri": source.uri, "etag": "1", "segment_index": index, "own": True})
        rows[-1] |= {"start_s": float(SEGMENT_S * index), "end_s": float(SEGMENT_S * (index + 1))}
        rows[-1] |= {"before": context if index else 0, "after": context, "duration_s": float(RECORDING_S)}
        rows[-1]["samples"] = SEGMENT_S * SAMPLE_RATE + rows[-1]["before"] + rows[-1]["after"]
    emissions = [emission(draw, row["samples"] // FRAME + 1, noisy) for row in rows]
    table = pa.Table.from_pylist(rows, schema=EMISSION_SCHEMA)
    for name, column in to_columns(emissions).items():
        table = table.set_column(table.schema.get_field_index(name), EMISSION_SCHEMA.field(name), column)
    return table.replace_schema_metadata(WORK | {FRAME_SAMPLES: str(FRAME)})


def piece_of(unit: Unit) -> Piece:
    (piece,) = cut_unit(unit, Cut(9_000))
    return piece


def work(folder: Path, sources: list[SourceObject], is_rewrite: bool, beam: int | None) -> None:
    """The last stage of a run that hears a unit, or of one that decodes it otherwise."""
    began = time.monotonic()
    recipe = "a" * 16 + ("d" if is_rewrite else "c") * 8 + "e" * 8
    carried = [Carried(each.key, each.version, each.uri, source=each) for each in sources]
    unit = Unit.of("0a", recipe, () if is_rewrite else sources, carried if is_rewrite else ())
    with pa.memory_map(str(folder / "heard.arrow")) as file:
        table = EMISSION_SCHEMA.empty_table() if is_rewrite else pa.ipc.open_stream(file.read_buffer()).read_all()
        settings = WriteSettings(MODEL, VOCABULARY, "run", ReadSettings(), True, DecodingSettings(beam))
        told = Writer(settings, Place.at(str(folder / "out")), "one")(piece_of(unit), table)
    assert isinstance(told, Committed)
    took = time.monotonic() - began
    peak = next(line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmHWM"))
    kept = sum(each.stat().st_size for each in (folder / "out" / "_emissions").iterdir())
    name = "rewritten from emissions" if is_rewrite else "heard, said and committed"
    print(f"{name}: {took:.2f} s, {int(peak.split()[1]) / 1e6:.2f} GB; emissions of {kept / 1e6:.1f} MB")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=int, default=150)
    parser.add_argument("--noisy", type=float, default=0.3)
    parser.add_argument("--folder", type=Path, help="where the unit lies that was heard, to say and commit it")
    parser.add_argument("--rewrite", action="store_true", help="of a folder: commit it again from its emissions")
    parser.add_argument("--beam", type=int, help="decode with a beam of this width")
    options = parser.parse_args()
    sources = recordings(options.minutes)
    if options.folder:
        work(options.folder, sources, options.rewrite, options.beam)
        return 0
    with tempfile.TemporaryDirectory(prefix="citrascribe-last-stage-") as folder:
        table = heard(sources, options.minutes, options.noisy)
        with pa.ipc.new_stream(f"{folder}/heard.arrow", table.schema) as writer:
            writer.write_table(table)
        command = [sys.executable, __file__, *sys.argv[1:], "--folder", folder]
        return max(subprocess.run([*command, *more]).returncode for more in ([], ["--rewrite"]))


if __name__ == "__main__":
    sys.exit(main())
