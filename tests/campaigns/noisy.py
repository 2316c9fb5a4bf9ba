"""What a language model and phrases mend where the demo's model hears badly: character errors, recall and precision.

    python tests/campaigns/noisy.py
    python tests/campaigns/noisy.py --copies 10 --lm other.arpa

Speech is the demo's 132 single sentences at -9 to -2 dB of signal to noise, each several times under other noise: half
of the sentences for the weights, the others for the figures. The language model is of 20,000 sentences of the
training set, in which none of them is. The audio is heard once; every decoding is of the emissions that were kept. The
ten phrases are demo/lm/phrases.txt; 40 foreign ones are characters of the model in an order that no sentence has.

Prints a table. Status 1 where the character error rate falls by less than 40 % of itself with the default weights, or
by less than 45 % with tuned ones; where ten phrases raise recall by less than 15 points, or their precision is below
0.85; or where the foreign ones, alone, cost more than 0.1 points. What they cost beside the language model is shown,
with the beam as it is and four times as wide. In build/noisy everything can be looked at afterwards.

No figure is flattered: no sentence of the test set was in the language model's texts, nor is one in the set on which
jobs.tune searches, of which it holds half of the sentences back.
"""

import argparse
import random
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from kept_results import add_write_option, publish

from jobs.cli.terminal import read_json

ROOT = Path(__file__).parents[2]
sys.path[:0] = [str(ROOT), str(Path(__file__).parents[1])]  # this checkout, and its tests' helpers
from noisy_speech import sentences, write_noisy  # noqa: E402

from demo.sentences import alphabet  # noqa: E402

PHRASES, FOREIGN = ROOT / "demo" / "lm" / "phrases.txt", 40
BESIDE, WIDE_WEIGHTS = "language model and 40 foreign phrases", "beam=64"
WIDE = f"decoding.{WIDE_WEIGHTS}"
LEAST_OF_DEFAULTS, LEAST_OF_TUNED = 0.40, 0.45  # of the greedy text's errors
LEAST_RECALL, LEAST_PRECISION, MOST_COST = 0.15, 0.85, 0.001


@dataclass(frozen=True)
class Decoded:
    """What a decoding brought on the test set."""

    name: str
    weights: str
    cer: float
    interval: tuple[float, float] | None
    recall: float
    precision: float


def job(module: str, *overrides: str) -> dict[str, Any]:
    """The summary of a job."""
    command = [sys.executable, "-m", module, "configs/demo.yaml", *overrides]
    done = subprocess.run(command, cwd=ROOT, stdout=subprocess.PIPE, text=True, check=True)
    return read_json(done.stdout)


def hear(folder: Path, copies: int) -> None:
    """Makes both sets of noisy speech, and transcribes them."""
    spoken = sentences()
    sets = {"tuning": spoken[::2], "test": spoken[1::2]}
    for seed, (name, own) in enumerate(sets.items(), 1):
        write_noisy(folder / "audio" / name, own, copies, seed)
        decode(folder, name)


def decode(folder: Path, name: str, *overrides: str) -> None:
    """Transcribes a set: the first time it is heard, and afterwards decoded from its emissions."""
    where = (f"input.uri={folder}/audio/{name}", f"output.uri={folder}/out/{name}", "output.emissions=true")
    job("jobs.transcribe", *where, "unit.target_minutes=30", *overrides)


def language_model(folder: Path) -> Path:
    """Makes the language model of 20,000 training sentences."""
    texts, path = folder / "texts.txt", folder / "lm.arpa"
    subprocess.run([sys.executable, "-m", "demo.sentences", "--out", str(texts)], cwd=ROOT, check=True)
    job("jobs.language_model", f"input.uri={texts}", f"output.uri={path}")
    return path


def foreign_phrases(path: Path, texts: str) -> Path:
    """Writes phrases of two to four characters of the model that no text has."""
    draw, found = random.Random(1), set[str]()
    while len(found) < FOREIGN:
        phrase = "".join(draw.sample(alphabet(), draw.randint(2, 4)))
        if phrase not in texts:
            found.add(phrase)
    path.write_text("".join(f"{each}\n" for each in sorted(found)), encoding="utf-8")
    return path


def measured(folder: Path, name: str, *overrides: str) -> Decoded:
    """Decodes the test set, and measures it."""
    decode(folder, "test", *overrides)
    rates = job("jobs.evaluate", f"output.uri={folder}/out/test", f"evaluate.phrases={PHRASES}", "evaluate.group=none")
    stated = (each.removeprefix("decoding.").split("=") for each in overrides)
    weights = " ".join(f"{key}={value}" for key, value in stated if key not in ("lm", "phrases"))
    overall, found = rates["all"], rates["phrases"]
    print(name, weights, f"{overall['cer']:.2%}", flush=True)
    return Decoded(name, weights, overall["cer"], overall["interval"], found["recall"], found["precision"])


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--folder", type=Path, default=Path("build/noisy"), help="emptied first, but for --again; default: %(default)s"
    )
    parser.add_argument(
        "--copies", type=int, default=6, help="of each sentence, under other noise; default: %(default)s"
    )
    parser.add_argument("--again", action="store_true", help="decode what an earlier run heard, with as many copies")
    parser.add_argument("--lm", type=Path, help="another language model")
    add_write_option(parser, "noisy")
    options = parser.parse_args()
    folder = options.folder.resolve()
    if not options.again:
        shutil.rmtree(folder, ignore_errors=True)
        hear(folder, options.copies)
    lm = f"decoding.lm={options.lm.resolve() if options.lm else language_model(folder)}"
    ten = f"decoding.phrases={PHRASES}"
    texts = "\n".join(path.read_text(encoding="utf-8") for path in (folder / "audio").rglob("*.txt"))
    foreign = f"decoding.phrases={foreign_phrases(folder / 'foreign.txt', texts)}"
    tuned = job("jobs.tune", f"output.uri={folder}/out/tuning", lm)["best"]
    weights = [f"{key}={value}" for key, value in tuned.items()]
    rows = [
        measured(folder, "greedy"),
        measured(folder, "language model", lm),
        measured(folder, "language model, tuned", lm, *weights),
        measured(folder, "ten phrases", ten),
        measured(folder, "both", lm, ten),
        measured(folder, "both, tuned", lm, ten, *weights),
        measured(folder, "40 foreign phrases", foreign),
        measured(folder, BESIDE, lm, foreign),
        measured(folder, "language model", lm, WIDE),
        measured(folder, BESIDE, lm, foreign, WIDE),
    ]
    about = (
        "The demo's model on its sentences at -9 to -2 dB of signal to noise, an LM of 20,000 training sentences, and"
        " ten names. Weights are the defaults, or those that jobs.tune found on other sentences. Recall and precision"
        " are of the ten names."
    )
    columns = ["decoding", "weights", "CER", "95 % interval", "against greedy", "recall", "precision"]
    publish("A language model and phrases on noisy speech", about, columns, cells(rows), options.write)
    by_name = {each.name: each for each in rows if WIDE_WEIGHTS not in each.weights}
    greedy, lm_alone, phrased = by_name["greedy"], by_name["language model"], by_name["ten phrases"]
    is_right = [
        lm_alone.cer <= (1 - LEAST_OF_DEFAULTS) * greedy.cer,
        by_name["language model, tuned"].cer <= (1 - LEAST_OF_TUNED) * greedy.cer,
        phrased.recall >= greedy.recall + LEAST_RECALL and phrased.precision >= LEAST_PRECISION,
        by_name["40 foreign phrases"].cer <= greedy.cer + MOST_COST,
    ]
    print(f"40 foreign phrases beside the language model: {by_name[BESIDE].cer - lm_alone.cer:+.2%} of CER,", end=" ")
    print(f"and with {WIDE_WEIGHTS}: {rows[-1].cer - rows[-2].cer:+.2%}")
    return 0 if all(is_right) else 1


def cells(rows: list[Decoded]) -> list[list[str]]:
    """The rows of the table."""
    return [
        [
            each.name,
            each.weights,
            f"{each.cer:.2%}",
            "{:.1%} to {:.1%}".format(*each.interval) if each.interval else "–",
            f"{each.cer / rows[0].cer - 1:+.0%}" if each is not rows[0] else "",
            f"{each.recall:.1%}",
            f"{each.precision:.2f}",
        ]
        for each in rows
    ]


if __name__ == "__main__":
    sys.exit(main())
