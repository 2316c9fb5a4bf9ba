"""Frames a second that a core decodes and aligns: what `jobs.benchmark` measures as `decoding`, for other sizes.

python tests/campaigns/decoding.py --arcs 8000000 --phrases 10000 --beam 16 64
"""

import argparse
import sys
import time
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).parents[2]))  # this checkout
from actors.benchmark.decoding import (
    ARCS,
    BEAM,
    PHRASES,
    SEGMENT,
    SOUNDS,
    TOKENS,
    frames_of_text,
    fusions,
    random_text,
)
from actors.text.alignment import align_tokens
from actors.text.beam import Fusion, search
from actors.text.frames import Frames


def frames_a_second(segments: list[Frames], fusion: Fusion, beam: int, repeats: int) -> tuple[float, float]:
    """Of searching and of aligning what was found; the best of so many passes, in seconds of CPU."""
    frames, searching, aligning = sum(len(each.blank) for each in segments), list[float](), list[float]()
    for _ in range(repeats + 1):  # the first compiles
        began = time.process_time()
        found = [search(each, beam, fusion)[0] for each in segments]
        searched = time.process_time()
        for each, text in zip(segments, found, strict=True):
            align_tokens(text.ids, each)
        searching.append(searched - began)
        aligning.append(time.process_time() - searched)
    return frames / min(searching), frames / min(aligning)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--arcs", type=int, default=ARCS, help="of the language model")
    parser.add_argument("--phrases", type=int, default=PHRASES)
    parser.add_argument("--beam", type=int, nargs="+", default=[BEAM])
    parser.add_argument("--segments", type=int, default=60, help="of 30 s")
    parser.add_argument("--repeats", type=int, default=5)
    options = parser.parse_args()
    rng = np.random.default_rng(1)
    text = random_text(options.arcs * 3 // 4, rng, rng.integers(0, TOKENS, (TOKENS, 60)))
    both = fusions(options.arcs, options.phrases, text, rng)
    nothing, everything = both.values()
    print(f"{len(everything.lm.labels):,} arcs, {len(everything.lm.finals):,} states")
    ways = {
        "nothing": nothing,
        "LM": everything._replace(phrases=nothing.phrases),
        "phrases": nothing._replace(phrases=everything.phrases),
        "LM and phrases": everything,
    }
    for name, (mean, fall) in SOUNDS.items():
        begins = rng.integers(0, len(text) - SEGMENT, options.segments)
        segments = [frames_of_text(text[begin:], SEGMENT, mean, fall, rng) for begin in begins]
        each = sum(len(frames.ids) for frames in segments) / (SEGMENT * len(segments))
        for beam in options.beam:
            for fused, fusion in ways.items():
                searched, aligned = frames_a_second(segments, fusion, beam, options.repeats)
                print(
                    f"{name} ({each:.2f} candidates a frame), beam {beam}, {fused}:"
                    f" {searched / 1e3:,.0f} k frames/s, aligning {aligned / 1e3:,.0f} k"
                )


if __name__ == "__main__":
    main()
