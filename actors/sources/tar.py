"""Reads recordings from tar shards, plain or compressed, in WebDataset's and NeMo's layouts."""

import tarfile
from collections.abc import Callable, Generator, Iterator
from contextlib import AbstractContextManager, ExitStack, closing
from dataclasses import dataclass, field
from functools import partial
from itertools import groupby
from typing import NamedTuple

from actors.schema import ErrorKind, RecordingError
from actors.sources.account import Entries
from actors.sources.memory import MemoryBudget
from actors.sources.recordings import Recording
from actors.sources.tar_headers import member_content, open_tar
from actors.sources.tar_lines import Fields, ManifestLines, recordings_of
from actors.sources.tar_links import Targets, target_of
from actors.sources.tar_names import Member, NameIndex, Sound, members_of
from actors.sources.tar_ranges import Chain
from actors.sources.tar_streams import GuardedFile
from actors.sources.tar_texts import KeptTexts, Texts
from actors.storage.place import Place
from actors.storage.stored_file import StoredFile
from actors.units import SourceObject

READ_AHEAD_BYTES = 8_000_000  # a tar is read sequentially in requests of this size
MAX_NAMES = 256_000_000  # bytes of the recordings' names; the rows hold them again
MAX_RECORDINGS = 1_000_000  # of a tar; each is a row of some hundred bytes at least

Walk = Callable[[], Generator[Member, None, None]]  # goes through the members of a tar, or of a range of one
Content = bytes | RecordingError


class _Later(NamedTuple):
    """A recording that is read when all members are known, from the member whose header is at `offset`, None if that is
    unknown: a link, or what NeMo calls by another name."""

    sound: Sound
    lines: list[Fields]
    member: Member
    offset: int | None


@dataclass
class Shard:
    """Turns the members of a tar into recordings, one by one, and collects `texts`, which are complete at the end.

    WebDataset's layout: members that share a name up to the first dot of its last part belong together, wherever they
    are. NeMo's: the manifest's lines refer to members by name, perhaps several to one. The names of all members are
    known to each share of the tar; `entries` accounts for its own ones.
    """

    source: SourceObject
    etag: str
    max_bytes: int
    budget: MemoryBudget
    texts: dict[str, Texts] = field(default_factory=dict)
    entries: Entries = field(default_factory=Entries)

    def __post_init__(self) -> None:
        self._names, self._lines, self._targets = NameIndex(), ManifestLines(self.source.lines), Targets()
        self._kept_texts = KeptTexts(self._names, self.entries)
        self._later, self._stretches, self._keys = list[_Later](), dict[str, _Later](), list[str]()
        self._sounds = self._names_bytes = 0
        self._last: Member | None = None
        self._problem: tarfile.TarError | RecordingError | None = None
        self._is_told = self._has_lost_links = False
        self._selected = set[tuple[object, ...]]()  # of members, by lines

    def read(self, walk: Walk, is_last: bool = True, is_in_run: Callable[[], bool] = bool) -> Iterator[Recording]:
        """The recordings of the members, whose content is held until the next one is requested; then those of links,
        those that the manifest names and the tar does not contain, and one for damage if that is this share's to tell.

        `is_in_run` says whether members with the first one's key precede it. Raises RecordingError (too_large) if there
        are too many recordings.
        """
        try:
            for number, (_, run) in enumerate(groupby(self._enumerate(walk()), key=lambda member: member.name.key)):
                yield from self._read_run(run, not number and is_in_run())
                if self._problem:
                    break
        except tarfile.TarError as problem:
            self._problem = problem
        yield from self._read_later(walk)
        self.texts.update(self._kept_texts.match())
        if isinstance(self._problem, RecordingError):
            raise self._problem
        for name in self._lines.left() if self.source.limit is None else ():
            missing = RecordingError(ErrorKind.MISSING, f"the manifest names {name!r}, which the tar does not contain")
            yield Recording(name, self.source.uri, self.etag, missing, name)
        if self._problem and not self._is_told and (self._last.is_own if self._last else is_last):
            yield Recording(self.source.name, self.source.uri, self.etag, self._damage(self._problem))

    def describe(self, chain: Chain) -> None:
        """Adds to the chain of a range which names must be in one range together, and which in no other."""
        lines = (f"\0{each}" for each in self._lines.present)
        chain.sounds = list(dict.fromkeys((*self._names.ids, *self._names.sounds, *lines)))
        chain.keys, chain.texts = list(self._names.keys), self._kept_texts.keys + self._keys
        if self._has_lost_links or self._kept_texts.has_lost_links:
            chain.ended = None

    def _enumerate(self, walk: Iterator[Member]) -> Iterator[Member]:
        """The recordings and texts among the members, all of which are counted."""
        for member in walk:
            self._last = member
            self.entries.found += member.is_own
            if reason := member.reason or self._reason_to_skip(member):
                self.entries.skip(reason, int(member.is_own))
                if member.header.isreg():
                    self._targets.add(member.header)
            else:
                yield member
            if self._problem:
                return
        if self._last and self._last.is_own and self._last.archive.has_foreign_end:
            self.entries.found += 1
            self.entries.skip("bytes after the end of the tar")

    def _reason_to_skip(self, member: Member) -> str | None:
        """Why a recording or a text is not read."""
        if not member.is_sound:
            return "text that a manifest replaces" if self.source.lines is not None else None
        if self.source.limit is not None and self._sounds >= self.source.limit:
            return self.source.over_limit
        if self._sounds >= MAX_RECORDINGS or self._names_bytes > MAX_NAMES:
            detail = f"the tar contains more than {self._sounds:,} recordings; the others were not read"
            self._problem = RecordingError(ErrorKind.TOO_LARGE, detail)
            return "over the limit of recordings"
        self._sounds += 1
        self._names_bytes += len(member.name.key) + len(member.name.full) + len(self.source.uri)
        return None

    def _read_run(self, run: Iterator[Member], has_siblings: bool) -> Iterator[Recording]:
        """The recordings of members with one key that follow one another. The id of the first depends on whether there
        is a second: if its name has further dots, it waits for that."""
        waiting: tuple[Member, Content | None] | None = None
        with ExitStack() as held:
            try:
                for member in run:
                    if not member.is_sound:
                        yield from self._keep_text(member)
                    elif not has_siblings and not waiting and member.name.stem != member.name.key:
                        held.enter_context(self._hold(member))
                        waiting = member, self._content(member)
                    else:
                        if waiting:
                            yield from self._recordings_of(*waiting, has_siblings=True)
                            waiting, has_siblings = None, True
                            held.close()
                        with self._hold(member):
                            yield from self._recordings_of(member, self._content(member), has_siblings)
                        has_siblings = True
            except tarfile.TarError as problem:
                self._problem = problem
            if waiting:
                yield from self._recordings_of(*waiting, has_siblings=False)

    def _keep_text(self, member: Member) -> Iterator[Recording]:
        """Keeps a text. If the tar breaks off in it, it is a recording with that error."""
        problem = self._kept_texts.keep(member, self._read)
        if problem and member.is_own:
            self.entries.recordings += 1
            yield Recording(member.name.full, self.source.uri, self.etag, problem, member.name.full)

    def _hold(self, member: Member) -> AbstractContextManager[None]:
        is_read = member.is_own and member.header.isreg() and member.header.size <= self.max_bytes
        return self.budget.hold(member.header.size if is_read else 0)

    def _content(self, member: Member) -> Content | None:
        """The content of a recording; None if it is another share's, or a link."""
        header = member.header
        if not member.is_own or not header.isreg():
            return None
        if header.size > self.max_bytes:
            detail = f"{header.size / 1e6:.0f} MB, more than audio.max_megabytes ({self.max_bytes / 1e6:g})"
            return RecordingError(ErrorKind.TOO_LARGE, detail)
        return self._read(member)

    def _read(self, member: Member) -> Content:
        """The content of a member; its error if the tar breaks off in it."""
        try:
            return member_content(member.archive, member.header)
        except tarfile.TarError as problem:
            self._problem, self._is_told = problem, True
            return self._damage(problem)

    def _damage(self, problem: Exception) -> RecordingError:
        kind = ErrorKind.TRUNCATED if self._last else ErrorKind.UNREADABLE
        return RecordingError(kind, f"the tar is damaged after {self._sounds} recordings: {problem}")

    def _recordings_of(self, member: Member, content: Content | None, has_siblings: bool) -> Iterator[Recording]:
        """The recordings of a member, if it is this share's."""
        header, name = member.header, member.name
        sound = self._names.add_sound(name, member.part, has_siblings)
        lines = self._lines.take(header.name, member.is_own)
        for each in self._lines.stretches(header.name) if header.isreg() else ():
            self._stretches.setdefault(each, _Later(sound, [], member, header.offset))
        if content is not None:
            self.entries.recordings += 1
            yield from self._with_lines(sound, lines, content)
        elif member.is_own:
            offset = self._targets.offset(target_of(header)) if header.islnk() else None  # of those before it
            self._later.append(_Later(sound, lines, member, offset))
        self._targets.add(header)

    def _with_lines(self, sound: Sound, lines: list[Fields], content: Content) -> Iterator[Recording]:
        """The recordings that the manifest's lines make of a member; a single one if there are no lines."""
        recording = Recording(sound.recording_id, self.source.uri, self.etag, content, sound.member)
        return recordings_of(recording, lines, self._selected)

    def _read_later(self, walk: Walk) -> Iterator[Recording]:
        """The recordings of links and of NeMo's stretches: their members are found by going through the tar again."""
        for name, later in self._stretches.items():
            if (lines := self._lines.take_stretch(name)) and later.member.is_own:
                self._keys.append(f"\0{name}")
                self._later.append(later._replace(lines=lines))
        by_offset = dict[int, list[_Later]]()
        for later in self._later:
            header = later.member.header
            offset = self._targets.offset(target_of(header)) if later.offset is None else later.offset
            if not header.isreg():
                self._has_lost_links |= offset is None
                if offset is None and header.issym() and not later.lines:
                    self.entries.skip("symbolic link")
                    continue
                self.entries.recordings += 1
            if offset is None:
                detail = f"a link to {header.linkname[:200]!r}, which is not in the tar"
                yield from self._with_lines(later.sound, later.lines, RecordingError(ErrorKind.UNREADABLE, detail))
            else:
                by_offset.setdefault(offset, []).append(later)
        if not by_offset:
            return
        with closing(walk()) as again:
            damage = RecordingError(ErrorKind.CHANGED, "the tar was replaced during the run")
            try:
                for member in again:
                    if laters := by_offset.pop(member.header.offset, None):
                        own = member._replace(is_own=True)
                        with self._hold(own):
                            yield from self._all_with_lines(laters, self._content(own) or b"")
                    if not by_offset:
                        return
            except tarfile.TarError as problem:
                damage = self._damage(problem)
        for laters in by_offset.values():
            yield from self._all_with_lines(laters, damage)

    def _all_with_lines(self, laters: list[_Later], content: Content) -> Iterator[Recording]:
        for each in laters:
            yield from self._with_lines(each.sound, each.lines, content)


def read_tar(
    stored: StoredFile, shard: Shard, share: tuple[int, int] = (0, 1), progress: Callable[[], None] = lambda: None
) -> Iterator[Recording]:
    """Reads the recordings of a tar, plain or compressed, in the order of their audio, from front to back.

    At most the source's `limit`. `share` is (number, count): the recordings whose headers are read with this one of
    several shares of the tar's stored bytes, or, if its size is unknown, every count-th recording. `progress` is called
    with each read.
    """
    return shard.read(partial(_members, stored, *share, progress), is_last=share[0] == share[1] - 1)


def _members(stored: StoredFile, number: int, count: int, progress: Callable[[], None]) -> Generator[Member]:
    """The members of a tar, of which some are a share's own."""
    sounds = 0
    with stored.place.open(READ_AHEAD_BYTES) as opened:
        file = GuardedFile(opened, progress)
        with open_tar(file) as archive:
            for member in members_of(archive):
                share = min(file.position * count // stored.size, count - 1) if stored.size else sounds % count
                sounds += member.is_sound
                yield member if share == number else member._replace(is_own=False)


def count_in_tar(place: Place, enough: int) -> int:
    """The number of recordings in a tar, counted up to `enough`; damage counts as one, for the row with its error."""
    count = 0
    with place.open(READ_AHEAD_BYTES) as file:
        try:
            for member in members_of(open_tar(GuardedFile(file))):
                count += member.is_sound
                if count >= enough:
                    break
        except tarfile.TarError:
            count += 1
    return count
