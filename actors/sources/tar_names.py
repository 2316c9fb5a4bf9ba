"""What the members of a tar are by their names, and which texts belong to which recordings."""

import os
import tarfile
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import NamedTuple

from actors.foreign.escape import escape_surrogates
from actors.formats import AUDIO_SUFFIXES
from actors.sources.recordings import COMPANION_SUFFIXES, is_apple_double, shortened_name
from actors.sources.tar_headers import Archive, members

MAX_SAMPLE_SOUNDS = 8  # recordings of one WebDataset key, such as channels, that share a text
MAX_DOTS = 64  # of a text's name, after which no recording is looked for
MAX_SUFFIX = 16  # characters of a suffix that is reported


class MemberName(NamedTuple):
    """The parts of a member's name. `key` is WebDataset's: the path up to the first dot of the file name; `stem` the
    path without the suffix. Both are without a leading "./". The suffix is in lower case."""

    full: str
    key: str
    stem: str
    suffix: str


class Member(NamedTuple):
    """A member of a tar, by its header. `reason` is why it is neither a recording nor a text, if so; `part` the number
    of its tar among several that were joined. It `is_own` if it belongs to the share of the tar that is read."""

    archive: Archive
    header: tarfile.TarInfo
    name: MemberName
    reason: str | None
    part: int = 0
    is_own: bool = True

    @property
    def is_sound(self) -> bool:
        return self.reason is None and self.name.suffix in AUDIO_SUFFIXES


def members_of(archive: Archive) -> Iterator[Member]:
    """The members of a tar, one by one. Raises tarfile.ReadError."""
    for header in members(archive):
        name = parse_name(header.name)
        yield Member(archive, header, name, _reason_to_skip(header, name.suffix), archive.part)


def parse_name(name: str) -> MemberName:
    """The parts of a member's name, each shortened if it is very long.

    WebDataset's rule: https://github.com/webdataset/webdataset, `base_plus_ext`.
    """
    path = without_dot(name)
    folder, slash, base = path.rpartition("/")
    root, suffix = os.path.splitext(base)
    key = root if "." not in root else root.split(".", 1)[0] or base
    full, key, stem = (shortened_name(each) for each in (name, folder + slash + key, folder + slash + root))
    return MemberName(full, key, stem, suffix.lower())


def without_dot(name: str) -> str:
    """A path without "./" at its beginning."""
    while name.startswith("./"):
        name = name[2:].lstrip("/")
    return name


def _reason_to_skip(member: tarfile.TarInfo, suffix: str) -> str | None:
    """Why a member is neither a recording nor a text, by its type or its name."""
    if member.isdir():
        return "folder"
    if is_apple_double(member.name):
        return "AppleDouble"
    if not (member.isreg() or member.islnk() or member.issym()):
        return "device or pipe" if member.isdev() else "unknown kind of tar member"
    if suffix in AUDIO_SUFFIXES or suffix in COMPANION_SUFFIXES:
        return None
    return f"unknown type {escape_surrogates(suffix[:MAX_SUFFIX]) or '(none)'}"


class Sound(NamedTuple):
    """A recording in a tar: its id and its member's name, which are unique in the tar, and the part that it is in."""

    recording_id: str
    member: str
    part: int


class _Text(NamedTuple):
    content: bytes
    is_own: bool
    part: int


@dataclass
class Matches:
    """The texts of a tar, matched with its recordings.

    `texts` are those of each recording, by its id, in the order in which they are merged. `with_sound` and
    `without_sound` count the texts of the share that is read. `keys` are the names by which texts find recordings.
    """

    texts: dict[str, list[tuple[str, bytes]]] = field(default_factory=dict)
    with_sound: int = 0
    without_sound: int = 0
    keys: list[str] = field(default_factory=list)


@dataclass
class NameIndex:
    """The recordings and texts of a tar, by name.

    A text belongs to the recordings of its stem. If there are none, it belongs to those of the longest stem that it
    extends (utt.words.txt to utt.wav) or, within a WebDataset sample, to all recordings of its key (utt.json to
    utt.left.wav and utt.right.wav). The text of a stem is never given to another one: where names have dots, as in
    dates, very many may share a key.
    """

    sounds: dict[str, list[Sound]] = field(default_factory=dict)  # by stem
    keys: dict[str, list[str]] = field(default_factory=dict)  # some of the stems with dots, by key
    ids: set[str] = field(default_factory=set)
    _texts: dict[tuple[str, str], tuple[MemberName, list[_Text]]] = field(default_factory=dict)  # by stem and suffix
    _copies: dict[str, int] = field(default_factory=dict)

    def add_sound(self, name: MemberName, part: int, has_siblings: bool) -> Sound:
        """Adds a recording, whose id is its key. If others have this key, adjacent ones (`has_siblings`) or earlier
        ones, it is its stem, else its name. The name of a second member of one name is numbered."""
        copy = self._copies[name.full] = self._copies.get(name.full, 0) + 1
        member = name.full if copy == 1 else f"{name.full} ({copy})"
        dot = name.full[: -len(path)] if name.full != (path := without_dot(name.full)) else ""
        candidates = (dot + name.stem, member) if has_siblings else (dot + name.key, dot + name.stem, member)
        recording_id = next((each for each in candidates if each not in self.ids), None)
        while recording_id is None or recording_id in self.ids:
            copy += 1
            recording_id = f"{name.full} ({copy})"
        self.ids.add(recording_id)
        sound = Sound(recording_id, member, part)
        if name.stem in self.sounds:
            self.sounds[name.stem].append(sound)
        else:
            self.sounds[name.stem] = [sound]
            if name.stem != name.key and len(stems := self.keys.setdefault(name.key, [])) <= MAX_SAMPLE_SOUNDS:
                stems.append(name.stem)
        return sound

    def add_text(self, member: Member, suffix: str, content: bytes) -> None:
        text = _Text(content, member.is_own, member.part)
        self._texts.setdefault((member.name.stem, suffix), (member.name, []))[1].append(text)

    def text_of(self, name: MemberName) -> bytes | None:
        """The content of the last text of a name."""
        found = self._texts.get((name.stem, name.suffix))
        return found[1][-1].content if found else None

    def match(self) -> Matches:
        """The texts of each recording: the more specific last, and a .txt after a .json. Each of several tars that were
        joined has its own; where one has several members of one name, each copy of a recording has that of the text."""
        result, merged = Matches(), dict[str, list[tuple[int, bool, tuple[str, bytes]]]]()
        keys_with_stems = {each.key for each, _ in self._texts.values() if each.stem in self.sounds}
        for (stem, suffix), (name, copies) in self._texts.items():
            sounds = self._recordings_of(name, name.key in keys_with_stems)
            parts = {sound.part for sound in sounds}
            result.with_sound += sum(each.is_own and each.part in parts for each in copies)
            result.without_sound += sum(each.is_own and each.part not in parts for each in copies)
            result.keys.append(stem if stem in self.sounds else name.key)
            for part in parts & {each.part for each in copies}:
                own = [each for each in sounds if each.part == part]
                texts = [each for each in copies if each.part == part]
                for number, sound in enumerate(own):
                    text = texts[_copy_of(number, len(own), len(texts))].content
                    merged.setdefault(sound.recording_id, []).append((len(stem), suffix == ".txt", (suffix, text)))
        result.texts = {each: [text for _, _, text in sorted(texts)] for each, texts in merged.items()}
        return result

    def _recordings_of(self, text: MemberName, has_own_stems: bool) -> list[Sound]:
        """The recordings of a text. With `has_own_stems`, some texts of its key have the stem of a recording, so that
        the key alone says nothing; nor does it if a number follows it, as in a date."""
        if text.stem in self.sounds:
            return self.sounds[text.stem]
        stem, dots = text.stem, 0
        while stem not in self.sounds and len(stem) > len(text.key) and dots < MAX_DOTS:
            stem, dots = stem.rpartition(".")[0], dots + 1
        stems = [stem] if stem in self.sounds else self.keys.get(text.key, [])
        if stem not in self.sounds and (has_own_stems or any(map(str.isdigit, text.stem[len(text.key) :].split(".")))):
            stems = [each for each in stems if each.startswith(text.stem + ".")]
        found = [sound for each in stems for sound in self.sounds[each]]
        return found if len(found) <= MAX_SAMPLE_SOUNDS else []


def _copy_of(number: int, sounds: int, texts: int) -> int:
    """Which of several texts of one name belongs to recording `number` of as many `sounds`."""
    if sounds % texts == 0:
        return number // (sounds // texts)
    return texts - 1 if number == sounds - 1 else min(number, texts - 1)
