"""Kaldi's data folders, AISHELL-2's among them, as manifest lines: wav.scp with the files beside it.

Format: https://kaldi-asr.org/doc/data_prep.html. AISHELL-2 calls its `text` trans.txt.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from typing import TYPE_CHECKING

from actors import storage

if TYPE_CHECKING:
    from jobs.listing import File

LIST = "wav.scp"
BESIDE = frozenset({"trans.txt", "text", "segments", "utt2spk", "spk2utt", "utt2dur", "spk2gender"})


def as_manifest(file: File) -> Iterator[str]:
    """The lines of a manifest that says what a wav.scp and its neighbours say: of each utterance the audio, the stretch
    of it, the text, the speaker, and the folder that it is listed in."""
    folder = os.path.dirname(file.path)
    audio = _table(file.filesystem, file.path)
    texts = _table(file.filesystem, f"{folder}/trans.txt") or _table(file.filesystem, f"{folder}/text")
    speakers = _table(file.filesystem, f"{folder}/utt2spk")
    segments = _table(file.filesystem, f"{folder}/segments")
    for utterance, place in (segments or {name: name for name in audio}).items():
        recording, *times = place.split()
        fields: dict[str, object] = {"audio_filepath": audio.get(recording, ""), "id": utterance}
        if len(times) == 2:
            start, end = map(_number, times)
            fields |= {"offset": start, "duration": max(end - start, 0.0) if end >= 0 else None}
        fields |= {"text": texts[utterance]} if utterance in texts else {}
        fields |= {"speaker": speakers[utterance]} if utterance in speakers else {}
        fields |= {"folder": os.path.dirname(file.name)} if os.path.dirname(file.name) else {}
        yield json.dumps(fields, ensure_ascii=False)


def _table(filesystem: storage.Filesystem, path: str) -> dict[str, str]:
    """A file of Kaldi's: a key, then what is said of it. Nothing where there is no such file."""
    try:
        lines = storage.read(filesystem, path).decode("utf-8-sig", "replace").splitlines()
    except FileNotFoundError:
        return {}
    pairs = (line.split(maxsplit=1) for line in lines if line.strip())
    return {key: rest[0].strip() if rest else "" for key, *rest in pairs}


def _number(text: str) -> float:
    """Seconds; -1, which is no offset and no duration, where that is no number."""
    try:
        return float(text)
    except ValueError:
        return -1.0
