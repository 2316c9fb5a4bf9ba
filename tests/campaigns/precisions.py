"""What the precisions of the engine cost in character errors: the demo's model in float32, bfloat16 and int8, on CPUs.

    python tests/campaigns/precisions.py
    python tests/campaigns/precisions.py --copies 12 --folder build/more

Speech is the demo's held-out set, 12,003 characters that espeak-ng speaks as those of the training (none of the
sentences is among them); and the demo's 132 single sentences at -9 to -2 dB of signal to noise, each several times
under other noise, where the model errs often and a small loss shows. espeak-ng is needed (`apt-get install espeak-ng`).

Prints a table: the difference to bfloat16 is that of jobs.evaluate with evaluate.against, recording by recording, with
its 95 % interval. Status 1 where int8 makes more errors than bfloat16 by over 0.1 points on the first, or 0.3 on the
second. In build/precisions everything can be looked at afterwards.
"""

import argparse
import shutil
import sys
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[2]
sys.path[:0] = [str(ROOT), str(Path(__file__).parents[1])]  # this checkout, and its tests' helpers
from kept_results import add_write_option, publish  # noqa: E402
from noisy import job  # noqa: E402
from noisy_speech import sentences, write_noisy  # noqa: E402

from demo.synthesize import make_set, take_characters  # noqa: E402

HELD_OUT, NOISY = "held_out", "noisy"
BASE = "bfloat16"
PRECISIONS = (BASE, "float32", "int8")  # against BASE
MOST_MORE = {HELD_OUT: 0.001, NOISY: 0.003}  # of CER, int8's above that of BASE
CHARACTERS, SEED = 12_000, 1  # as demo.synthesize has them


@dataclass(frozen=True)
class Measured:
    """Errors of a precision on a set, and how many more than those of BASE, as shares of the references' characters."""

    speech: str
    precision: str
    characters: int
    errors: int
    more: float
    interval: tuple[float, float] | None


def make_speech(folder: Path, copies: int) -> None:
    """Writes both sets."""
    make_set(folder / "audio" / HELD_OUT, take_characters(CHARACTERS, SEED), SEED + 1)
    write_noisy(folder / "audio" / NOISY, sentences(), copies, SEED)


def measured(folder: Path, speech: str, precision: str) -> Measured:
    """Transcribes a set and compares it with the references, and with what BASE made of it."""
    out = folder / "out" / speech
    where = (f"input.uri={folder}/audio/{speech}", f"output.uri={out}/{precision}")
    job("jobs.transcribe", *where, "model.device=cpu", f"model.precision={precision}", "unit.target_minutes=30")
    against = () if precision == BASE else (f"evaluate.against={out}/{BASE}",)
    rates = job("jobs.evaluate", f"output.uri={out}/{precision}", "evaluate.group=none", *against)
    edits = rates["all"]["characters"]
    pair = rates["against"] if against else {"difference": 0.0, "interval": None}
    errors = edits["substitutions"] + edits["deletions"] + edits["insertions"]
    found = Measured(speech, precision, edits["tokens"], errors, pair["difference"], pair["interval"])
    print(found, flush=True)
    return found


def cells(rows: list[Measured]) -> list[list[str]]:
    """The rows of the table."""
    return [
        [
            each.speech,
            each.precision,
            f"{each.characters:,}",
            str(each.errors),
            f"{each.errors / each.characters:.2%}",
            "" if each.precision == BASE else f"{100 * each.more:+.2f}",
            "{:+.2f} to {:+.2f}".format(*(100 * one for one in each.interval)) if each.interval else "",
        ]
        for each in rows
    ]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--folder", type=Path, default=Path("build/precisions"), help="emptied first; default: %(default)s"
    )
    parser.add_argument(
        "--copies", type=int, default=6, help="of each noisy sentence, under other noise; default: %(default)s"
    )
    add_write_option(parser, "precisions")
    options = parser.parse_args()
    folder = options.folder.resolve()
    shutil.rmtree(folder, ignore_errors=True)
    make_speech(folder, options.copies)
    rows = [measured(folder, speech, precision) for speech in (HELD_OUT, NOISY) for precision in PRECISIONS]
    about = (
        "The demo's model on its held-out characters and on its sentences at -9 to -2 dB of signal to noise, greedy, on"
        " CPUs. Differences are to bfloat16, in points of CER, with 95 % intervals over recordings."
    )
    columns = ["speech", "precision", "characters", "errors", "CER", "difference", "95 % interval"]
    publish("What precisions cost in errors", about, columns, cells(rows), options.write)
    return 0 if all(each.more <= MOST_MORE[each.speech] for each in rows if each.precision == "int8") else 1


if __name__ == "__main__":
    sys.exit(main())
