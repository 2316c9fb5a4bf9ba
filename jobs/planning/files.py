"""A listed file, and the format that its name implies."""

import os
import re
from dataclasses import dataclass
from typing import Literal

from actors.formats import AUDIO_SUFFIXES
from actors.sources.recordings import COMPANION_SUFFIXES
from actors.storage.entry import Fault
from actors.storage.place import Place
from actors.storage.urls import address_of, is_web
from actors.units import HEX, Format

TAR_SUFFIXES = (".tar", ".tgz", ".tbz", ".tbz2", ".txz", ".tar.gz", ".tar.bz2", ".tar.xz")
PARQUET_SUFFIXES = (".parquet", ".pq")
LINES_SUFFIXES = (".jsonl", ".ndjson")
WAV_SCP = "wav.scp"  # Kaldi's list of recordings
#: Files of a Kaldi data folder that describe the utterances of the wav.scp beside them: those that are read, and all.
TABLES = frozenset({"trans.txt", "text", "segments", "utt2spk"})
SIDECARS = TABLES | {"spk2utt", "utt2dur", "spk2gender"}

KNOWN = f"audio ({' '.join(sorted(AUDIO_SUFFIXES))}), {' '.join((*TAR_SUFFIXES, *PARQUET_SUFFIXES, *LINES_SUFFIXES))}, "
KNOWN += f"a .json with manifest in its name, {WAV_SCP}, metadata.csv, Common Voice's tables"

EXPORT_FOLDER = "_export"  # below an output; what it holds was made by jobs.export
ALIGNED_NAME = re.compile(rf"aligned-({HEX})\.({HEX})\.parquet")  # of a file that jobs.align writes, wherever that is
DELIMITED_SUFFIXES = (".csv", ".tsv")
_TABLE_SUFFIXES = (*PARQUET_SUFFIXES, *DELIMITED_SUFFIXES, *LINES_SUFFIXES, ".json")
_AUDIO_FOLDER = "metadata.csv"  # https://huggingface.co/docs/datasets/audio_dataset#audiofolder
#: Common Voice's tables: https://github.com/common-voice/cv-dataset#fields. The parts of it may repeat each other.
COMMON_VOICE = frozenset(f"{part}.tsv" for part in ("train", "dev", "test", "validated", "invalidated", "other"))


@dataclass(frozen=True, slots=True)
class File:
    """A listed file. `name` is its path below `root`, the folder of its input, which all files of the input share.

    `size` is in bytes, `version` the ETag or modification time. `is_explicit` tells whether input.uri names the file
    itself, rather than a folder or pattern. `fault` is the reason why it cannot be read, if any; a file that a pattern
    of shards names, and that does not exist, is "absent".
    """

    root: Place
    uri: str
    name: str
    size: int
    version: str
    is_explicit: bool
    fault: Fault | Literal["absent"] = ""

    @property
    def place(self) -> Place:
        return self.root.with_uri(self.uri)


def format_of(file: File, requested: str, uri_column: str | None = None) -> Format | None:
    """The format of a file by its name, or None if unknown; `requested` is input.format, `uri_column` the column that
    names the audio in tables, which are read if there is one.

    A .json is a manifest only if its name contains "manifest" or input.uri names it, because a recording's companion
    has that suffix too. What jobs.align wrote has no format, unless input.uri names the file.
    """
    if is_aligned(file):
        return None
    name = (address_of(file.uri) if is_web(file.uri) else file.name).rpartition("/")[2].lower()
    suffix = os.path.splitext(name)[1]
    detected: Format | None = None
    if suffix in AUDIO_SUFFIXES:
        detected = "audio"
    elif name.endswith(TAR_SUFFIXES):
        detected = "tar"
    elif uri_column is not None and suffix in _TABLE_SUFFIXES:
        detected = "manifest"
    elif suffix in PARQUET_SUFFIXES:
        detected = "parquet"
    elif _names_a_manifest(name, suffix) or (suffix == ".json" and file.is_explicit):
        detected = "manifest"
    if requested == "auto" or detected == requested:
        return detected
    if requested == "kaldi":
        return detected if name == WAV_SCP else None
    return requested if file.is_explicit or (detected is None and suffix not in COMPANION_SUFFIXES) else None  # type: ignore[return-value]


def is_aligned(file: File) -> bool:
    """Whether a file has the name of aligned references, and input.uri does not name it itself."""
    return not file.is_explicit and ALIGNED_NAME.fullmatch(file.place.name) is not None


def suffix_of(file: File) -> str:
    """The suffix of a file's name, in lower case."""
    return os.path.splitext(file.name)[1].lower()


def _names_a_manifest(name: str, suffix: str) -> bool:
    is_named_so = name in (WAV_SCP, _AUDIO_FOLDER) or name in COMMON_VOICE or suffix in LINES_SUFFIXES
    return is_named_so or (suffix == ".json" and "manifest" in name)
