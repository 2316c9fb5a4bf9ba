"""Compares recordings with their references, one by one, and writes the counts of each to a file."""

from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace

import pyarrow as pa
import pyarrow.parquet as pq

from actors.parts.recordings import have_one_reference
from actors.schema import KEY
from actors.storage.place import Place
from actors.text.normalise import Normalisation, normalise
from jobs.transcripts.failures import Failures
from jobs.transcripts.out_files import atomic_file
from jobs.transcripts.read import Transcript, conversations
from jobs.transcripts.scoring import Edits, compare

COUNTS = ("tokens", "substitutions", "deletions", "insertions", "errors")
ROWS_AT_ONCE = 20_000

_SCORES = pa.schema(
    [
        ("recording_id", pa.string()),
        ("uri", pa.string()),
        ("member", pa.string()),
        ("offset_s", pa.float64()),
        ("stretch_s", pa.float64()),
        ("channel", pa.int16()),
        ("group", pa.string()),
        ("reference", pa.string()),
        ("transcript", pa.string()),
        ("error_kind", pa.string()),
        *((f"{unit}_{name}", pa.int32()) for unit in ("character", "word") for name in COUNTS),
    ]
)
Score = dict[str, object]  # a row of it


@dataclass(frozen=True)
class Compared:
    """A recording, or a dialogue with one reference, and its edits. Texts are normalised; those of words have spaces
    also where those of characters are compared without."""

    of: Transcript
    group: str
    reference: str
    transcript: str
    reference_words: str
    transcript_words: str
    characters: Edits
    words: Edits

    @property
    def key(self) -> tuple[object, ...]:
        """What identifies it: the columns of KEY, without the channel of a dialogue."""
        return tuple(None if name == "channel" and self.of.is_dialogue else self.of.first[name] for name in KEY)

    @property
    def score(self) -> Score:
        """Its row of scores."""
        row: Score = {name: self.of.first[name] for name in ("recording_id", "error_kind")}
        row |= dict(zip(KEY, self.key, strict=True))
        row |= {"group": self.group, "reference": self.reference, "transcript": self.transcript}
        for unit, edits in (("character", self.characters), ("word", self.words)):
            row |= {f"{unit}_{name}": getattr(edits, name) for name in COUNTS}
        return row


@dataclass
class Account:
    """How many recordings have no reference, or an error, and which could not be compared."""

    failed: Failures = field(default_factory=Failures)
    without_reference: int = 0
    with_error: int = 0


def compared(
    recordings: Iterable[Transcript],
    normalisation: Normalisation,
    group_of: Callable[[Transcript], str],
    account: Account,
    confusions: Counter[tuple[str, str]] | None = None,
) -> Iterator[Compared]:
    """Compares recordings that have a reference, with the name of the group of each; the others are counted in
    `account`."""
    for transcript in conversations(recordings, have_one_reference):
        if transcript.fault:
            account.failed.add(transcript.first["recording_id"], transcript.fault)
            continue
        if not transcript.first["reference"]:
            account.without_reference += 1
            continue
        try:
            found = _compared(transcript, normalisation, group_of(transcript), confusions)
        except Exception as problem:  # noqa: BLE001 - of this recording: nothing is stored here
            account.failed.add(transcript.first["recording_id"], problem)
            continue
        account.with_error += not transcript.is_transcribed
        yield found


def _compared(
    transcript: Transcript, normalisation: Normalisation, group: str, confusions: Counter[tuple[str, str]] | None
) -> Compared:
    spaced = replace(normalisation, spaces=False)
    texts = transcript.first["reference"], transcript.text
    words = normalise(texts[0], spaced, beside=texts[1]), normalise(texts[1], spaced, beside=texts[0])
    reference = normalise(texts[0], normalisation, beside=texts[1])  # not from the words: where there is
    hypothesis = normalise(texts[1], normalisation, beside=texts[0])  # a space, numbers are not made equal
    return Compared(
        of=transcript,
        group=group,
        reference=reference,
        transcript=hypothesis,
        reference_words=words[0],
        transcript_words=words[1],
        characters=compare(reference, hypothesis, confusions),
        words=compare(words[0].split(), words[1].split()),
    )


@contextmanager
def scores_file(place: Place | None) -> Iterator[Callable[[Score], None]]:
    """A function that takes rows of scores, and writes them to a Parquet file if there is a place for it."""
    if place is None:
        yield lambda row: None
        return
    rows = list[Score]()
    with atomic_file(place) as file, pq.ParquetWriter(file, _SCORES) as writer:

        def flush() -> None:
            writer.write_table(pa.Table.from_pylist(rows, schema=_SCORES))
            rows.clear()

        def write(row: Score) -> None:
            rows.append(row)
            if len(rows) >= ROWS_AT_ONCE:
                flush()

        yield write
        flush()
