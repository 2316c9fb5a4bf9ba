"""A listed file, and what its name says of it."""

import os
import re
from dataclasses import dataclass

from actors.sources.recordings import AUDIO_SUFFIXES, COMPANION_SUFFIXES
from actors.storage import files as storage
from actors.storage.entry import Fault
from actors.units import Format

WAV_SCP = "wav.scp"  # Kaldi's list of recordings
#: Of Kaldi's data folders: what says more of that which a wav.scp beside it lists.
SIDECARS = frozenset({"trans.txt", "text", "segments", "utt2spk", "spk2utt", "utt2dur", "spk2gender"})


@dataclass(frozen=True, slots=True)
class File:
    """A listed file: `name` is its path below the input's `root`, `asked` whether it was named itself, not found.

    `size` is in bytes, `version` its ETag or modification time, `fault` why it is none that may be read.
    """

    filesystem: storage.Filesystem
    uri: str
    name: str
    size: int
    version: str
    asked: bool
    root: str
    fault: Fault = ""

    @property
    def path(self) -> str:
        return storage.path_of(self.filesystem, self.uri)


def format_of(file: File, asked: str) -> Format | None:
    """The format that a file's name stands for, or None; `asked` is input.format.

    A .json is a manifest where it says so in its name or was named itself, for the fields of a recording are also
    kept in files of that suffix.
    """
    name = os.path.basename(file.name).lower()
    suffix = os.path.splitext(name)[1]
    known: Format | None = None
    if suffix in AUDIO_SUFFIXES:
        known = "audio"
    elif re.search(r"\.(tar|tgz|tar\.(gz|bz2|xz))$", name):
        known = "tar"
    elif suffix in (".parquet", ".pq"):
        known = "parquet"
    elif _names_a_manifest(name, suffix) or (suffix == ".json" and file.asked):
        known = "manifest"
    if asked == "kaldi":
        return known if name == WAV_SCP else None
    if asked == "auto" or known == asked:
        return known
    return asked if file.asked or (known is None and suffix not in COMPANION_SUFFIXES) else None  # type: ignore[return-value]


def _names_a_manifest(name: str, suffix: str) -> bool:
    return name == WAV_SCP or suffix in (".jsonl", ".ndjson") or (suffix == ".json" and "manifest" in name)
