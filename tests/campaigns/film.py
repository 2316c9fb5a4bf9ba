"""A two-hour film, worked in pieces: three tracks that begin late and have a gap, and sentences whose times are known.

    python tests/campaigns/film.py --minutes 120 --containers matroska mp4 --tracks libmp3lame aac ac3

For each container and each track, the film is transcribed in pieces by the demo's model. Its segments must follow each
other without a hole, each sentence be heard within 0.1 s of its place, and its text be read there. Ends with status 1
if anything is elsewhere.
"""

import argparse
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

sys.path[:0] = [str(Path(__file__).parents[2]), str(Path(__file__).parents[1])]  # this checkout, and its tests' helpers
from audio_files import demo_sentences  # noqa: E402
from conftest import DEMO_MODEL  # noqa: E402
from films import Script, holes, misread, write_film  # noqa: E402
from test_pieces import cut, unit_of, worked  # noqa: E402
from transcribing import Transcribing  # noqa: E402

from actors.audio.decode import DecodeRequest, decode  # noqa: E402
from actors.engine.interface import EngineSettings  # noqa: E402
from actors.engine.models import resolve  # noqa: E402
from actors.sources.objects import ReadSettings  # noqa: E402
from actors.storage.place import Place  # noqa: E402
from actors.storage.stored_file import StoredFile  # noqa: E402

SUFFIXES = {"matroska": "mkv", "mp4": "mp4"}
EVERY_S = 25.0  # a sentence, on average


def faults(path: Path, track: int, script: Script, stretches: int, out: Path, transcribe: Any) -> Iterator[str]:
    """What is wrong with the rows of one of a film's tracks, and with its sound."""
    pieces = cut(unit_of(path), stretches=stretches, seconds=script.seconds / stretches)
    rows = worked(pieces, out, transcribe, settings=ReadSettings(track=track))
    told = {str(row["error_detail"]) for row in rows if row["error_kind"]}
    if told:
        yield from told
        return
    yield from (f"a hole: {each}" for each in holes(rows))
    yield from misread(script, rows)
    sound = decode(StoredFile(Place.at(str(path)), path.stat().st_size), DecodeRequest(track=track))
    yield from script.misplaced(sound.pcm)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=120.0)
    parser.add_argument("--stretches", type=int, default=8)
    parser.add_argument("--containers", nargs="+", choices=list(SUFFIXES), default=list(SUFFIXES))
    parser.add_argument("--tracks", nargs="+", default=["libmp3lame", "aac", "ac3"])
    options = parser.parse_args()
    script = Script.of(demo_sentences(), 60 * options.minutes, EVERY_S)
    engine = EngineSettings("fused", "cpu", "float32", 2, 30)
    transcribe = Transcribing(resolve(str(DEMO_MODEL), None, {}), engine, tokens=True)
    is_right = True
    with tempfile.TemporaryDirectory(prefix="citrascribe-film-") as folder:
        for container in options.containers:
            path, began = Path(folder) / f"film.{SUFFIXES[container]}", time.monotonic()
            write_film(path, container, options.tracks, script)
            print(f"{path.name}: made in {time.monotonic() - began:.0f} s", flush=True)
            for track, codec in enumerate(options.tracks):
                out, began = Path(folder) / f"out-{container}-{codec}", time.monotonic()
                wrong = list(faults(path, track, script, options.stretches, out, transcribe))
                is_right = is_right and not wrong
                took = f"worked in {time.monotonic() - began:.0f} s"
                print(
                    f"{path.name} {codec}: {len(script.sentences)} sentences, {len(wrong)} faults ({took})", flush=True
                )
                print("".join(f"    {each}\n" for each in wrong[:10]), end="", flush=True)
            path.unlink()
    return 0 if is_right else 1


if __name__ == "__main__":
    sys.exit(main())
