"""The kinds of file that say what the input holds, or hold it: a mutant of one ends as rows, and of what lies outside
none has sound."""

import io
import json
import tarfile
from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
from conftest import encoded, piece_of, tone

from actors.foreign.plain_json import parse_json
from actors.reader import read_piece
from actors.sources.objects import ReadSettings
from jobs.cli.config import Input
from jobs.planning.listing import list_input

NAMES = ("a.wav", "b.wav", "c/d.wav")
TEXTS = ("今天早上司机在公园买东西", "two\u2028words", "")


def _input_in(folder: Path) -> Path:
    """A folder of recordings, beside one that lies outside."""
    root = folder / "in"
    (root / "c").mkdir(parents=True)
    for name in NAMES:
        (root / name).write_bytes(encoded(tone(0.3)))
    (folder / "x").write_bytes(encoded(tone(0.3)))
    return root


def _read(root: Path) -> str:
    """Lists and reads an input."""
    objects = list_input(Input(uri=str(root)), "/nowhere/out").objects
    rows = read_piece(piece_of(objects), ReadSettings()).to_pylist()
    assert {row["uri"] for row in rows} >= {each.uri for each in objects}, "an object has no row"
    heard = [row for row in rows if row["error_kind"] is None]
    assert all(row["uri"].startswith(f"file://{root}/") for row in heard), "a file outside was read"
    for row in rows:
        parse_json(row["extra"] or "{}")
    return "rows"


def manifest(folder: Path) -> tuple[bytes, Callable[[bytes], str]]:
    root = _input_in(folder)
    lines = [
        {"audio_filepath": name, "offset": 0.1 * at, "duration": 0.1, "text": text, "speaker": at, "id": f"u{at}"}
        for at, (name, text) in enumerate(zip(NAMES, TEXTS, strict=True))
    ]
    lines.append({"audio_filepath": f"file://{root}/a.wav", "text": "by its URL", "snr": float("nan"), "more": [1, {}]})
    good = "".join(json.dumps(line, ensure_ascii=False) + "\n" for line in lines).encode()

    def read(mutant: bytes) -> str:
        (root / "manifest.jsonl").write_bytes(mutant)
        return _read(root)

    return good, read


def kaldi(folder: Path) -> tuple[bytes, Callable[[bytes], str]]:
    """All files of a folder; a mutant is of all of them together."""
    root, cut = _input_in(folder), b"\n====\n"
    files = {
        "wav.scp": "r1 a.wav\nr2 c/d.wav\nr3 sox b.wav -t wav - |\n",
        "text": f"u1 {TEXTS[0]}\nu2 two words\nu3\n",
        "segments": "u1 r1 0.0 0.2\nu2 r2 0.1 0.3\nu3 r1 0.1 -1\n",
        "utt2spk": "u1 s1\nu2 s2\nu3 s1\n",
    }

    def read(mutant: bytes) -> str:
        contents = mutant.split(cut)
        for at, name in enumerate(files):
            (root / name).write_bytes(contents[at] if at < len(contents) else b"")
        return _read(root)

    return cut.join(text.encode() for text in files.values()), read


def shard(folder: Path) -> tuple[bytes, Callable[[bytes], str]]:
    """A Parquet file as input."""
    root, sink = _input_in(folder), io.BytesIO()
    table = {"audio": [encoded(tone(0.1 * at)) for at in range(1, 9)], "text": TEXTS[:2] * 4, "n": list(range(8))}
    pq.write_table(pa.table(table), sink, row_group_size=3, compression="zstd")

    def read(mutant: bytes) -> str:
        (root / "a.parquet").write_bytes(mutant)
        return _read(root)

    return sink.getvalue(), read


def tar(folder: Path) -> tuple[bytes, Callable[[bytes], str]]:
    """A compressed tar, and its members' texts."""
    root, sink = _input_in(folder), io.BytesIO()
    with tarfile.open(fileobj=sink, mode="w:gz", compresslevel=1) as archive:
        for at in range(4):
            for name, data in ((f"{at}.wav", encoded(tone(0.1))), (f"{at}.json", b'{"text": "x", "n": 1}')):
                header = tarfile.TarInfo(name)
                header.size = len(data)
                archive.addfile(header, io.BytesIO(data))

    def read(mutant: bytes) -> str:
        (root / "a.tar.gz").write_bytes(mutant)
        return _read(root)

    return sink.getvalue(), read
