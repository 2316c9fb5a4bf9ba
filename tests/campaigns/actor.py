"""What the actor takes beside the model: its own Python, which holds the GIL that a GPU's next batch waits for.

    git worktree add /tmp/before COMMIT
    python tests/campaigns/actor.py --against /tmp/before --rounds 5

The two take turns, each in a process of its own, on several hours of the demo's speech. The model runs once; then an
engine answers at once with what that said, so that all processor time is the actor's own: taking rows apart, batching,
and making the block that goes on. Prints the medians of milliseconds of processor time an hour of audio, and their
ratio.
"""

import argparse
import subprocess
import sys
from pathlib import Path
from statistics import median

from kept_results import add_write_option, publish

ROOT = Path(__file__).parents[2]
PASSES = 5  # in one process; the median counts

PROGRAM = """
import sys, time
from statistics import median
import pyarrow as pa
from actors import transcriber
from actors.engine.interface import EngineSettings
from actors.engine.models import resolve
from actors.pieces import Cut, cut_unit
from actors.reader import read_piece
from actors.sources.objects import ReadSettings
from actors.units import Unit
from jobs.cli.config import Input
from jobs.planning.listing import list_input

unit = Unit("0a", "f" * 64, tuple(list_input(Input(uri="demo/audio"), "/nowhere/out").objects))
speech = pa.concat_tables([read_piece(cut_unit(unit, Cut(36_000))[0], ReadSettings())] * 12)
hours = sum(len(each.as_buffer()) for each in speech.column("pcm") if each.is_valid) / 2 / 16_000 / 3_600

class Answering:
    busy_seconds = capacity = None

    def __init__(self, engine):
        self._engine, self._answers = engine, {}
        self.blank, self.frame_samples = engine.blank, engine.frame_samples
        if hasattr(engine, "text"):  # of a checkout whose actors made text
            self.text = engine.text

    def transcribe(self, batch):
        keys = [(len(each), each[:64].tobytes(), each[-64:].tobytes()) for each in batch]
        unknown = [at for at, key in enumerate(keys) if key not in self._answers]
        if unknown:
            answers = self._engine.transcribe([batch[at] for at in unknown])
            self._answers |= zip((keys[at] for at in unknown), answers, strict=True)
        return [self._answers[key] for key in keys]

load = transcriber.load_engine
transcriber.load_engine = lambda *given: Answering(load(*given))
model, settings = resolve("demo/citrinet_zh_demo.nemo", None, {}), ("fused", "cpu", "float32", 1, 3_600)
if hasattr(EngineSettings, "tokens"):
    made = transcriber.Transcriber(model, EngineSettings(*settings, tokens=sys.argv[2] == "tokens"), "run")
    transcribe = lambda: made(speech, "0a")
else:
    made = transcriber.Transcriber(model, EngineSettings(*settings))
    transcribe = lambda: made(speech)
transcribe()
times = []
for _ in range(int(sys.argv[1])):
    began = time.process_time()
    transcribe()
    times.append(time.process_time() - began)
print(1_000 * median(times) / hours)
"""


def milliseconds(checkout: Path, tokens: str) -> float:
    """Of processor time an hour of audio."""
    command = [sys.executable, "-c", PROGRAM, str(PASSES), tokens]
    done = subprocess.run(command, cwd=checkout, capture_output=True, text=True, check=True)
    return float(done.stdout)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--against", type=Path, required=True)
    parser.add_argument("--rounds", type=int, default=5)
    add_write_option(parser, "actor")
    options = parser.parse_args()
    rows = list[tuple[str, ...]]()
    for tokens in ("no tokens", "tokens"):
        took: dict[Path, list[float]] = {options.against: [], ROOT: []}
        for _ in range(options.rounds):
            for checkout, times in took.items():
                times.append(milliseconds(checkout, tokens))
        before, now = (median(times) for times in took.values())
        rows.append((tokens, f"{before:.1f}", f"{now:.1f}", f"{now / before:.3f}"))
        print(*rows[-1], sep="  ", flush=True)
    about = f"CPU milliseconds an hour of audio, medians of {options.rounds} rounds, alternating with another checkout."
    columns = ["output", "before, ms", "now, ms", "ratio"]
    publish("The actor beside the model, beside an earlier checkout", about, columns, rows, options.write)
    return 0


if __name__ == "__main__":
    sys.exit(main())
