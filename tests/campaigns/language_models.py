"""How long it takes to convert a large ARPA file, and how much memory.

    python tests/campaigns/language_models.py --ngrams 10_000_000

Makes a 5-gram model of 4,000 characters from random text of their frequencies, converts it in a process of its own, and
prints a line of JSON: seconds and peak memory of the conversion, and of loading what was converted.
"""

import argparse
import json
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np

ORDER, CHARACTERS = 5, 4_000
FIRST = 0x4E00  # of the CJK characters
_PROGRAM = """
import json, os, resource, sys, time
from pathlib import Path
from actors.engine.vocabulary import Vocabulary
from actors.text.language_model import load_language_model
folder = Path(sys.argv[1])
os.environ["CITRASCRIBE_CACHE"] = str(folder / "cache")
vocabulary = Vocabulary(tuple(map(chr, range({first}, {first} + {characters}))))
began = time.perf_counter()
model = load_language_model(folder / "lm.arpa", "0" * 64, vocabulary)
seconds = time.perf_counter() - began
peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
print(json.dumps(dict(
    seconds=round(seconds, 2), peak_gb=round(peak / 1e6, 2), states=len(model.backoffs), arcs=len(model.labels),
    megabytes=round(sum(each.nbytes for each in model[:-1]) / 1e6))))
"""


def write_model(path: Path, ngrams: int) -> int:
    """Writes an ARPA file of about so many n-grams; returns how many."""
    random = np.random.default_rng(1)
    size = int(ngrams / 1.9)  # so many n-grams of such text are different
    text = np.minimum(random.zipf(1.25, size) - 1, CHARACTERS - 1).astype(np.uint64)
    characters = [chr(FIRST + number) for number in range(CHARACTERS)]
    levels: list[np.ndarray] = []
    for order in range(1, ORDER + 1):
        keys = np.zeros(size - order + 1, np.uint64)
        for offset in range(order):
            keys = keys * np.uint64(4096) + text[offset : offset + len(keys)]
        levels.append(np.unique(keys))
    levels[0] = np.arange(CHARACTERS, dtype=np.uint64)
    with path.open("w", encoding="utf-8") as file:
        file.write("\\data\\\n")
        file.writelines(f"ngram {order}={len(each) + 3 * (order == 1)}\n" for order, each in enumerate(levels, 1))
        for order, keys in enumerate(levels, 1):
            file.write(f"\n\\{order}-grams:\n")
            if order == 1:
                file.write("-99\t<s>\t-0.3\n-1.5\t</s>\n-5\t<unk>\n")
            for begin in range(0, len(keys), 1_000_000):
                part = keys[begin : begin + 1_000_000]
                numbers = random.random((len(part), 2)).tolist()
                shifts = [12 * place for place in reversed(range(order))]
                words = (" ".join([characters[(key >> shift) & 4095] for shift in shifts]) for key in part.tolist())
                if order < ORDER:
                    file.writelines(
                        f"{-4 * a:.7f}\t{text}\t{-b:.7f}\n" for (a, b), text in zip(numbers, words, strict=True)
                    )
                else:
                    file.writelines(f"{-4 * a:.7f}\t{text}\n" for (a, _), text in zip(numbers, words, strict=True))
        file.write("\n\\end\\\n")
    return sum(map(len, levels))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--ngrams", type=int, default=10_000_000)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        path = Path(name) / "lm.arpa"
        count = write_model(path, options.ngrams)
        program = _PROGRAM.format(first=FIRST, characters=CHARACTERS)
        converted, loaded = (
            json.loads(subprocess.run([sys.executable, "-c", program, name], check=True, capture_output=True).stdout)
            for _ in range(2)
        )
        print(
            json.dumps(
                {
                    "ngrams": count,
                    "file_mb": round(path.stat().st_size / 1e6),
                    "converting": converted,
                    "loading": loaded,
                }
            )
        )


if __name__ == "__main__":
    main()
