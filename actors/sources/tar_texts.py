"""Keeps the texts of a tar until all its recordings are known, within bounds, and matches them with these."""

import json
from collections.abc import Callable
from dataclasses import dataclass, field

from actors.schema import RecordingError
from actors.sources.account import Entries
from actors.sources.recordings import MAX_COMPANION_BYTES, UNREAD_TEXT, companion_fields, split_fields
from actors.sources.tar_links import target_of
from actors.sources.tar_names import Member, NameIndex, parse_name

MAX_TEXTS = 256_000_000  # bytes of texts that are kept until the whole tar is read
TEXT_BYTES = 400  # overhead of a text beside its content

_NOTE = ".JSON"  # the suffix of a note: read as JSON, and not taken for a member's, which is in lower case

Texts = list[tuple[str, bytes]]  # of a recording: suffixes and contents


@dataclass
class KeptTexts:
    """The texts of a tar. `keys` are the names by which they found their recordings, `has_lost_links` says whether
    links point to texts that were not seen."""

    names: NameIndex
    entries: Entries
    keys: list[str] = field(default_factory=list)
    has_lost_links: bool = False
    _links: list[Member] = field(default_factory=list)
    _bytes: int = 0

    def keep(self, member: Member, read: Callable[[Member], bytes | RecordingError]) -> RecordingError | None:
        """Keeps a text, or a note on one that is too large. Returns the error of one that cannot be read."""
        header, name = member.header, member.name
        self._bytes += len(name.full) + len(name.stem) + len(name.key) + TEXT_BYTES
        if self._bytes > 2 * MAX_TEXTS:  # the notes on texts that were not read are limited as well
            self.entries.skip("over the limit of texts", int(member.is_own))
        elif not header.isreg():
            self._links.append(member)
        elif header.size > MAX_COMPANION_BYTES or self._bytes + header.size > MAX_TEXTS:
            self._note(member, f"{header.size} bytes")
        else:
            self._bytes += header.size
            content = read(member)
            if isinstance(content, RecordingError):
                return content
            self.names.add_text(member, name.suffix, content)
        return None

    def match(self) -> dict[str, Texts]:
        """The texts of each recording, by its id. Accounts for all texts."""
        for link in self._links:
            content = self.names.text_of(parse_name(target_of(link.header)))
            self.has_lost_links |= content is None
            if content is not None:
                self.names.add_text(link, link.name.suffix, content)
            elif link.header.islnk():
                self._note(link, f"a link to {link.header.linkname[:200]}, which is not in the tar")
            else:
                self.entries.skip("symbolic link", int(link.is_own))
        matches = self.names.match()
        self.keys = matches.keys
        self.entries.companions += matches.with_sound
        self.entries.skip("text without a recording", matches.without_sound)
        return matches.texts

    def _note(self, member: Member, problem: str) -> None:
        """Keeps a note in place of a text that was not read."""
        note = json.dumps({UNREAD_TEXT: problem}).encode()
        self.names.add_text(member, _NOTE, note)


def merge_texts(texts: Texts) -> tuple[str | None, dict[str, object]]:
    """The reference and the other fields in the texts of a sample; of two values of a field the last counts."""
    fields = dict[str, object]()
    for suffix, text in texts:
        fields.update(companion_fields(suffix, text))
    return split_fields(fields)
