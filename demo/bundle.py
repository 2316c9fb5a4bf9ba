"""Makes the bundled demo audio, `demo/audio`, out of held-out speech: every layout and codec, two long
recordings, and three broken files.

python -m demo.bundle [--data build/demo/held_out] [--out demo/audio]
"""

import argparse
import io
import json
import shutil
import tarfile
from fractions import Fraction
from itertools import islice
from pathlib import Path

import av
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import soundfile
import soxr

RATE = 16_000

#: Loose files: suffix, sample rate, channels, libsndfile's format and subtype.
LOOSE = [
    ("wav", 8_000, 1, "WAV", "PCM_16"),
    ("wav", 16_000, 1, "WAV", "PCM_U8"),
    ("wav", 16_000, 2, "WAV", "PCM_16"),
    ("wav", 24_000, 1, "WAV", "PCM_16"),
    ("wav", 16_000, 1, "WAV", "PCM_24"),
    ("wav", 44_100, 1, "WAV", "PCM_16"),
    ("wav", 48_000, 1, "WAV", "PCM_16"),
    ("wav", 16_000, 1, "WAV", "FLOAT"),
    ("flac", 48_000, 2, "FLAC", "PCM_24"),
    ("flac", 22_050, 1, "FLAC", "PCM_16"),
    ("mp3", 44_100, 2, "MP3", "MPEG_LAYER_III"),
    ("mp3", 16_000, 1, "MP3", "MPEG_LAYER_III"),
    ("ogg", 44_100, 1, "OGG", "VORBIS"),
    ("ogg", 16_000, 2, "OGG", "VORBIS"),
    ("opus", 48_000, 1, "OGG", "OPUS"),
    ("opus", 16_000, 1, "OGG", "OPUS"),
    ("m4a", 44_100, 2, "", ""),
    ("m4a", 16_000, 1, "", ""),
]


def encode(samples: np.ndarray, rate: int, channels: int, kind: str, subtype: str) -> bytes:
    """Mono float samples at 16 kHz as a file's bytes; AAC in MP4 where no libsndfile format is given."""
    samples = soxr.resample(samples, RATE, rate, "HQ").clip(-1, 1)
    sound = np.repeat(samples[:, None], channels, axis=1)
    file = io.BytesIO()
    if kind:
        with soundfile.SoundFile(file, "w", rate, channels, subtype, format=kind) as sink:
            for start in range(0, len(sound), rate):  # at once, libsndfile's Vorbis overflows its stack
                sink.write(sound[start : start + rate])
        return file.getvalue()
    with av.open(file, "w", format="mp4") as container:
        stream = container.add_stream("aac", rate=rate, layout="stereo" if channels == 2 else "mono")
        frame = av.AudioFrame.from_ndarray(
            np.ascontiguousarray(sound.T.astype(np.float32)), "fltp", stream.codec_context.layout.name
        )
        frame.sample_rate, frame.time_base, frame.pts = rate, Fraction(1, rate), 0
        container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return file.getvalue()


def flac(samples: np.ndarray) -> bytes:
    return encode(samples, RATE, 1, "FLAC", "PCM_16")


def write_tar(path: Path, members: list[tuple[str, bytes]], mode: str) -> None:
    with tarfile.open(path, mode, encoding="utf-8") as archive:
        for name, data in members:
            header = tarfile.TarInfo(name)
            header.size = len(data)
            archive.addfile(header, io.BytesIO(data))


def write_long(
    path: Path, pieces: list[tuple[np.ndarray, str]], pauses: tuple[float, float], kind: str, subtype: str
) -> None:
    """One recording of many, with pauses of so many seconds between, in a little noise; and its words beside it."""
    draw = np.random.default_rng(len(pieces))
    parts = list[np.ndarray]()
    for samples, _ in pieces:
        sounding = np.flatnonzero(np.abs(samples) > 0.02)
        parts += [samples[sounding[0] : sounding[-1] + 1], np.zeros(round(draw.uniform(*pauses) * RATE))]
    sound = np.concatenate(parts)
    path.write_bytes(encode(sound + draw.normal(0, 0.002, len(sound)), RATE, 1, kind, subtype))
    path.with_suffix(".txt").write_text("".join(text for _, text in pieces) + "\n", encoding="utf-8")


def main() -> None:
    parser = argparse.ArgumentParser(description="Makes the bundled demo audio.")
    parser.add_argument("--data", type=Path, default=Path("build/demo/held_out"), help="default: %(default)s")
    parser.add_argument("--out", type=Path, default=Path("demo/audio"), help="default: %(default)s")
    options = parser.parse_args()
    entries = map(json.loads, (options.data / "manifest.jsonl").read_text(encoding="utf-8").splitlines())
    speech = ((soundfile.read(options.data / each["audio_filepath"])[0], each["text"]) for each in entries)
    shutil.rmtree(options.out, ignore_errors=True)
    for folder in ("loose", "shards", "parquet", "manifest", "long"):
        (options.out / folder).mkdir(parents=True)
    loose, shards = options.out / "loose", options.out / "shards"

    for number, (layout, (samples, text)) in enumerate(zip(LOOSE, speech)):  # noqa: B905 - speech goes on
        suffix, *how = layout
        (loose / f"{number:02d}.{suffix}").write_bytes(encode(samples, *how))
        (loose / f"{number:02d}.txt").write_text(text + "\n", encoding="utf-8")
    (loose / "broken-empty.wav").write_bytes(b"")
    (loose / "broken-text.wav").write_text("this is not sound\n", encoding="utf-8")
    (loose / "broken-half.m4a").write_bytes(encode(next(speech)[0], *LOOSE[-1][1:])[:2_000])

    members = list[tuple[str, bytes]]()
    for number, (samples, text) in enumerate(islice(speech, 16)):
        members += [(f"a/{number:03d}.flac", flac(samples)), (f"a/{number:03d}.txt", text.encode())]
    write_tar(shards / "speech-000.tar", members, "w")
    members = []
    for number, (samples, text) in enumerate(islice(speech, 12)):
        fields = json.dumps({"text": text, "speaker": f"s{number % 4}"}, ensure_ascii=False)
        members.insert(0, (f"b/{number:03d}.mp3", encode(samples, RATE, 1, "MP3", "MPEG_LAYER_III")))
        members.append((f"b/{number:03d}.json", fields.encode()))  # texts long after their sound: any order is fine
    write_tar(shards / "speech-001.tar.gz", members, "w:gz")

    rows = [
        {"audio": {"bytes": encode(samples, 48_000, 1, "OGG", "OPUS"), "path": f"{number:03d}.opus"}, "sentence": text}
        for number, (samples, text) in enumerate(islice(speech, 12))
    ]
    pq.write_table(pa.Table.from_pylist(rows), options.out / "parquet" / "speech.parquet", compression="none")

    lines, tape = list[dict[str, object]](), list[np.ndarray]()
    at = 0
    for samples, text in islice(speech, 8):  # one long file, of which each line names a stretch
        lines.append(
            {"audio_filepath": "tape.flac", "offset": at / RATE, "duration": len(samples) / RATE, "text": text}
        )
        tape.append(samples)
        at += len(samples)
    (options.out / "manifest" / "tape.flac").write_bytes(flac(np.concatenate(tape)))
    for number, (samples, text) in enumerate(islice(speech, 6)):
        name = f"clip-{number}.flac"
        (options.out / "manifest" / name).write_bytes(flac(samples))
        lines.append({"audio_filepath": name, "duration": len(samples) / RATE, "text": text, "lang": "zh"})
    text = "".join(json.dumps(line, ensure_ascii=False) + "\n" for line in lines)
    (options.out / "manifest" / "manifest.jsonl").write_text(text, encoding="utf-8")

    long = options.out / "long"
    write_long(long / "interview.mp3", list(islice(speech, 60)), (0.3, 2.0), "MP3", "MPEG_LAYER_III")
    write_long(long / "reading.ogg", list(islice(speech, 72)), (0, 0), "OGG", "VORBIS")


if __name__ == "__main__":
    main()
