"""Reads what was heard of recordings: their rows with the emissions that an output kept."""

from collections import deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import pyarrow as pa
import pyarrow.compute as pc

from actors.foreign.errors import InvalidData
from actors.parts.emissions import EMISSIONS, EmissionFile
from actors.parts.made import Made
from actors.parts.part import Part
from actors.parts.recordings import Row
from actors.parts.stored import Commit, open_part, part_name
from actors.storage.place import Place
from actors.text.emissions import Heard, heard_in
from jobs.cli.config import Config, ConfigError
from jobs.transcripts.read import committed, committed_units, each_part, recordings_of

HOW_TO_KEEP = "run jobs.transcribe with output.emissions=true, and with input.redo for what is transcribed already"


@dataclass
class HeardRecording:
    """A recording's rows, one per segment, in order, with the columns of a transcript and `model_sha256`; what was
    heard of each, None where there was nothing: on error, and where nobody speaks; and the commit of their part."""

    rows: list[Row]
    heard: list[Heard | None]
    commit: Commit

    @property
    def first(self) -> Row:
        """The first row, which has everything that applies to the whole recording, its reference included."""
        return self.rows[0]

    @property
    def has_reference(self) -> bool:
        return is_reference(self.first["reference"])

    @property
    def is_kept(self) -> bool:
        """Whether there is an emission of each segment that was heard. Only those have a confidence."""
        return all(heard or row["confidence"] is None for row, heard in zip(self.rows, self.heard, strict=True))


@dataclass
class Kept:
    """How many recordings have emissions, and how many with a reference have none."""

    recordings: int = 0
    lacking: int = 0

    def check(self, output: Place, problems: list[str]) -> None:
        """Adds a sentence about those that have none to the problems. Raises ConfigError if there is nothing else."""
        if not self.lacking:
            return
        if not self.recordings and not problems:
            raise ConfigError(f"output.uri: {output.uri} has no emissions; {HOW_TO_KEEP}")
        told = f"{self.lacking} recordings of {output.uri} that have a reference have no emissions and are left out"
        problems.append(f"{told}; {HOW_TO_KEEP}")


def committed_parts(config: Config) -> tuple[Place, list[Commit]]:
    """The output, and the commits of its parts. Raises as `committed`."""
    output, state = committed(config)
    return output, [commit for unit in committed_units(state) if (commit := state.commit_of(unit))]


def heard_in_parts(
    output: Place, commits: Iterable[Commit], problems: list[str], kept: Kept
) -> Iterator[HeardRecording]:
    """Yields all recordings of some parts whose emissions are kept, part by part; those with an error, too.

    A part that cannot be read is skipped, and a recording with an impossible row, or of which nothing is kept, left
    out. A sentence about each such part is added to `problems`; in `kept` are counted those that have emissions, and
    those that have a reference and none. Raises OSError if the storage fails.
    """
    by_unit = {each.unit: each for each in commits}

    def opened(unit: str) -> tuple[Part, EmissionFile | None]:
        part = open_part(unit, output, lambda _: None)  # its rows are checked as they come
        return part, _emissions_of(unit, part, output)

    def recordings(unit: str, found: tuple[Part, EmissionFile | None]) -> Iterator[HeardRecording]:
        part, emissions = found
        if emissions is None:
            kept.lacking += sum(map(_references_in, part.tables()))
            return
        for rows, heard in _recordings(part, emissions, output / part_name(unit), problems):
            recording = HeardRecording(rows, heard, by_unit[unit])
            if recording.is_kept:
                kept.recordings += 1
                yield recording
            else:
                kept.lacking += recording.has_reference

    yield from each_part(output, by_unit, opened, recordings, problems)


def is_reference(text: str | None) -> bool:
    """Whether there is any text."""
    return bool(text and text.strip())


def _references_in(rows: pa.Table) -> int:
    """How many recordings with a reference begin in rows of a part."""
    firsts = rows.filter(pc.equal(rows.column("segment_index"), 0))
    return sum(map(is_reference, firsts.column("reference").to_pylist()))


def _emissions_of(unit: str, part: Part, output: Place) -> EmissionFile | None:
    """The emissions of a part; None if none were kept. Raises InvalidData."""
    name = Made.from_metadata(part.metadata()).emissions_of(unit)
    if not name:
        return None
    try:
        emissions = EmissionFile(name, output)
        if emissions.rows != part.rows:
            raise InvalidData("it has other rows than its part")
    except FileNotFoundError:
        return None
    except InvalidData as problem:
        raise InvalidData(f"its emissions in {EMISSIONS}/{name} cannot be used, {problem}") from None
    return emissions


def _recordings(
    part: Part, emissions: EmissionFile, place: Place, problems: list[str]
) -> Iterator[tuple[list[Row], list[Heard | None]]]:
    """The rows of each recording of a part, with what was heard of them, but for those with a fault."""
    waiting = deque[Heard | None]()

    def tables() -> Iterator[pa.Table]:
        for table in part.tables():
            waiting.extend(heard_in(emissions.take(table.num_rows)))
            yield table

    for each in recordings_of(tables(), place, problems, ("model_sha256",)):
        heard = [waiting.popleft() for _ in each.rows]
        if not each.fault:
            yield each.rows, heard
