"""A listed file, and the format that its name implies."""

import os
import re
from dataclasses import dataclass

from actors.sources.recordings import AUDIO_SUFFIXES, COMPANION_SUFFIXES
from actors.storage.entry import Fault
from actors.storage.place import Place
from actors.storage.urls import address_of, is_web
from actors.units import Format

WAV_SCP = "wav.scp"  # Kaldi's list of recordings
#: Files of a Kaldi data folder that describe the utterances of the wav.scp beside them.
SIDECARS = frozenset({"trans.txt", "text", "segments", "utt2spk", "spk2utt", "utt2dur", "spk2gender"})


@dataclass(frozen=True, slots=True)
class File:
    """A listed file. `name` is its path below `root`, the folder of its input, which all files of the input share.

    `size` is in bytes, `version` the ETag or modification time. `is_explicit` tells whether input.uri names the file
    itself, rather than a folder or pattern. `fault` is the reason why it cannot be read, if any.
    """

    root: Place
    uri: str
    name: str
    size: int
    version: str
    is_explicit: bool
    fault: Fault = ""

    @property
    def place(self) -> Place:
        return self.root.with_uri(self.uri)


def format_of(file: File, requested: str) -> Format | None:
    """The format of a file by its name, or None if unknown; `requested` is input.format.

    A .json is a manifest only if its name contains "manifest" or input.uri names it, because a recording's companion
    has that suffix too.
    """
    name = os.path.basename(address_of(file.name) if is_web(file.uri) else file.name).lower()
    suffix = os.path.splitext(name)[1]
    detected: Format | None = None
    if suffix in AUDIO_SUFFIXES:
        detected = "audio"
    elif re.search(r"\.(tar|tgz|tar\.(gz|bz2|xz))$", name):
        detected = "tar"
    elif suffix in (".parquet", ".pq"):
        detected = "parquet"
    elif _names_a_manifest(name, suffix) or (suffix == ".json" and file.is_explicit):
        detected = "manifest"
    if requested == "kaldi":
        return detected if name == WAV_SCP else None
    if requested == "auto" or detected == requested:
        return detected
    return requested if file.is_explicit or (detected is None and suffix not in COMPANION_SUFFIXES) else None  # type: ignore[return-value]


def _names_a_manifest(name: str, suffix: str) -> bool:
    return name == WAV_SCP or suffix in (".jsonl", ".ndjson") or (suffix == ".json" and "manifest" in name)
