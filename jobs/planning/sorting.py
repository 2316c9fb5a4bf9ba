"""Sorts the files of an input by what they are taken for, by name alone, and accounts for them once that is known."""

import os
from collections import Counter, defaultdict
from collections.abc import Container, Mapping
from dataclasses import dataclass, field

from actors.foreign.escape import escape_surrogates
from actors.formats import AUDIO_SUFFIXES
from actors.schema import ErrorKind
from actors.sources.recordings import COMPANION_SUFFIXES
from actors.units import Format, SourceObject
from jobs.planning import account
from jobs.planning.account import Files
from jobs.planning.containment import ADVICE
from jobs.planning.files import PARQUET_SUFFIXES, SIDECARS, TABLES, WAV_SCP, File, format_of, is_aligned, suffix_of
from jobs.planning.finding import Found


@dataclass
class Sorted:
    """The files of an input. `objects` are by URI; `tables` are Kaldi's beside a wav.scp; `companions` have the URI of
    a recording that each goes with; `skipped` has the reasons why others are skipped, by URI; `spoken_of` are the URIs
    of those that are read through a manifest, once they are accounted for."""

    found: Found
    requested: str  # input.format
    uri_column: str | None  # input.uri_column
    objects: dict[str, SourceObject] = field(default_factory=dict)
    manifests: list[File] = field(default_factory=list)
    tables: list[File] = field(default_factory=list)
    companions: dict[str, str] = field(default_factory=dict)
    skipped: dict[str, str] = field(default_factory=dict)
    spoken_of: set[str] = field(default_factory=set)

    @classmethod
    def of(cls, found: Found, requested: str, uri_column: str | None = None) -> "Sorted":
        """Sorts files by name."""
        made, loose, faulty = cls(found, requested, uri_column), list[tuple[File, Format]](), list[File]()
        texts = defaultdict[str, list[File]](list)  # by stem
        made.skipped = {uri: reason for uri, (_, reason) in found.passed_over.items()}
        kaldi_folders = made._kaldi_folders()
        for uri, file in found.files.items():
            if kaldi_folders and file.place.name in SIDECARS and os.path.dirname(uri) in kaldi_folders:
                made._add_table(file)
                continue
            if file.fault:
                faulty.append(file)
                continue
            kind = format_of(file, requested, uri_column)
            if kind == "manifest" and not made._is_companion(file):
                made.manifests.append(file)
            elif kind is not None and kind != "manifest":
                loose.append((file, kind))
            elif suffix_of(file) in COMPANION_SUFFIXES:
                texts[os.path.splitext(uri)[0]].append(file)
            else:
                made.skipped[uri] = made._why_not_taken(file)
        for beside in texts.values():
            beside.sort(key=_preference)
        made.objects = {file.uri: _object_of(file, kind, texts) for file, kind in loose}
        for file in faulty:
            made._add_faulty(file)
        if texts:
            made._add_texts(texts)
        return made

    def _kaldi_folders(self) -> set[str]:
        """The folders with a wav.scp that is read."""
        lists = (file for uri, file in self.found.files.items() if uri.endswith("/" + WAV_SCP))
        return {
            os.path.dirname(file.uri)
            for file in lists
            if format_of(file, self.requested, self.uri_column) == "manifest"
        }

    def _is_companion(self, file: File) -> bool:
        """Whether a .json with "manifest" in its name lies beside a recording of that name."""
        stem, suffix = os.path.splitext(file.uri)
        if file.is_explicit or suffix.lower() != ".json" or self.requested != "auto":
            return False
        cases = (case(name) for name in AUDIO_SUFFIXES for case in (str, str.upper, str.title))  # as .wav, .WAV, .Wav
        return any(stem + each in self.found.files for each in cases)

    def _add_table(self, file: File) -> None:
        if file.place.name not in TABLES:
            self.skipped[file.uri] = account.UNUSED_TABLE
        elif file.fault == "dangling":
            self.skipped[file.uri] = account.DANGLING
        else:
            self.tables.append(file)  # one that is a link elsewhere has a row

    def _add_faulty(self, file: File) -> None:
        is_known = format_of(file, self.requested, self.uri_column) is not None or suffix_of(file) in COMPANION_SUFFIXES
        if file.fault == "circle":
            self.skipped[file.uri] = account.CIRCLE
        elif is_known or file.fault in ("outside", "absent"):
            self.objects[file.uri] = _refused_object(file)
        else:
            self.skipped[file.uri] = account.DANGLING if file.fault == "dangling" else account.SPECIAL

    def _add_texts(self, texts: Mapping[str, list[File]]) -> None:
        """Adds the .txt and .json files, the one that a recording uses first of each stem."""
        self.companions = {each.companion: each.uri for each in self.objects.values() if each.companion}
        for first, *others in texts.values():
            is_used = first.uri in self.companions
            for file in others if is_used else (first, *others):
                self.skipped[file.uri] = account.SECOND_COMPANION if is_used else self._why_not_taken(file)

    def _why_not_taken(self, file: File) -> str:
        """Why a file that no format takes is skipped."""
        if is_aligned(file):
            return account.ALIGNED
        suffix = suffix_of(file)
        is_text = suffix in COMPANION_SUFFIXES and self.requested != "audio"
        if self.requested != "auto" and (is_text or format_of(file, "auto") is not None):
            return account.EXCLUDED
        return f"{account.UNKNOWN_TYPE} {suffix or '(none)'}"

    def drop_lists(self, reasons: Mapping[str, str]) -> None:
        """Takes files that have the name of a list and are none, given with the reasons by URI, for what they are: a
        Parquet file that is no table of URIs holds the audio itself, anything else is skipped."""
        self.manifests = [each for each in self.manifests if each.uri not in reasons]
        for uri, reason in reasons.items():
            if uri.lower().endswith(PARQUET_SUFFIXES):
                self.objects[uri] = _object_of(self.found.files[uri], "parquet", {})
            else:
                self.skipped[uri] = reason

    def nameable(self) -> dict[str, SourceObject]:
        """The objects that a manifest may name: audio that is hidden or excluded too, so that its version is known."""
        passed_over = (file for file, reason in self.found.passed_over.values() if reason != account.BELOW_OUTPUT)
        others = (file for uri, file in self.found.files.items() if self.skipped.get(uri) == account.EXCLUDED)
        files = (file for file in (*passed_over, *others) if not file.fault and format_of(file, "auto") == "audio")
        return {file.uri: _object_of(file, "audio", {}) for file in files} | self.objects

    def account(
        self, standing: Container[str] | None, named: set[str], not_standing: str = account.OVER_LIMIT
    ) -> Files:
        """Accounts for all files, and completes `skipped`. `standing` are the URIs of the objects that input.limit or
        input.sample leaves, None without either, and `not_standing` why others are skipped; `named` are the URIs that a
        manifest names."""
        spoken_of = {uri for uri in named if uri in self.objects or self._is_nameable(uri)}
        for uri in spoken_of:
            self.skipped.pop(uri, None)
        over = set[str]()
        if standing is not None:
            over = {uri for uri in self.objects.keys() | spoken_of if uri not in standing}
            spoken_of -= over
            self.skipped |= dict.fromkeys(over, not_standing)
        if not_files := spoken_of | over:
            in_use = {each.companion for uri, each in self.objects.items() if uri not in not_files}
            self.skipped |= {
                uri: account.COMPANION_UNUSED if recording in spoken_of else not_standing
                for uri, recording in self.companions.items()
                if uri not in in_use
            }
        self.spoken_of = spoken_of
        lists = [each for each in (*self.manifests, *self.tables) if each.uri not in self.skipped]
        return Files(
            listed=self.found.listed,
            read=len(lists) + len(self.objects) - sum(uri in self.objects for uri in not_files),
            companions=sum(each not in self.skipped for each in self.companions),
            spoken_of=len(spoken_of),
            skipped=Counter(self.skipped.values()),
        )

    def _is_nameable(self, uri: str) -> bool:
        return self.skipped.get(uri, account.BELOW_OUTPUT) != account.BELOW_OUTPUT


def _preference(text: File) -> tuple[int, bool, str]:
    """Sorts the companions of a recording: .txt before .json, lower case before upper."""
    suffix = suffix_of(text)
    return COMPANION_SUFFIXES.index(suffix), not text.uri.endswith(suffix), text.uri


def _object_of(file: File, kind: Format, texts: Mapping[str, list[File]]) -> SourceObject:
    """The object of a file, with its companion if it is audio."""
    companions = texts.get(os.path.splitext(file.uri)[0], ()) if texts and kind == "audio" else ()
    companion, version = None, ""
    if companions:  # a .txt that becomes a .json is read otherwise
        companion, version = companions[0].uri, f"{companions[0].version}/{suffix_of(companions[0])}"
    key = escape_surrogates(file.uri)
    return SourceObject(key, file.uri, file.name, kind, file.version, file.size, companion, text_version=version)


def _refused_object(file: File) -> SourceObject:
    """An object in place of a file that cannot be read."""
    kind, detail = {
        "outside": (ErrorKind.OUTSIDE_INPUT, f"it is a link to outside the input; {ADVICE}"),
        "dangling": (ErrorKind.MISSING, "it is a link to a file that does not exist"),
        "special": (ErrorKind.BAD_ENTRY, "it is a pipe or a device, not a file"),
        "absent": (ErrorKind.MISSING, "a pattern in input.uri names it, and there is no such file"),
    }[file.fault]
    return SourceObject(escape_surrogates(file.uri), file.uri, file.name, "audio", None, 0, refusal=(str(kind), detail))
