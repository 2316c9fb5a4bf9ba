"""Reads a piece: decodes its recordings, cuts them into segments, and returns rows of PCM.

Whatever happens to one recording becomes its row; only what concerns the storage as a whole, or the machine, is raised.
"""

import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from itertools import groupby

import pyarrow as pa

from actors.audio.decode import SoundLimitExceeded
from actors.audio.speech import Companions, SpeechRows, TextBudget
from actors.foreign.escape import escape_surrogates
from actors.isolation import STARTUP_S, Isolated
from actors.outcomes import READS, reads_text
from actors.pieces import NeedsRecut, Piece
from actors.reading.costs import Costs
from actors.reading.faults import error_of
from actors.reading.measure import Heard, max_seconds
from actors.reading.pages import decline_huge_pages
from actors.reading.patience import Patience
from actors.reading.rows import Decoder, Row, to_rows, to_sent_rows, witnesses
from actors.schema import SAMPLE_RATE, RecordingError
from actors.sources.account import Entries
from actors.sources.memory import MemoryBudget
from actors.sources.objects import Reading, ReadSettings, place_of, read_objects, recording_of
from actors.sources.recordings import Recording, companions
from actors.sources.tar_ranges import Chain
from actors.sources.tar_texts import merge_texts
from actors.units import SourceObject

MIN_BUDGET_BYTES = 256_000_000  # for the recordings of a piece that are being decoded, however low the limit for one
CONCURRENT_FETCHES = 8  # storage takes tens of milliseconds to respond, so several requests are in flight


def read_piece(piece: Piece, settings: ReadSettings) -> pa.Table:
    """Reads a piece's recordings to a table of SPEECH_SCHEMA, in the order of its objects; at least one row per object.

    A share without a recording is a row without sound and without an error. The schema's metadata hold what was found
    in containers, what reading took, and for a range of a tar the summary of its chain of headers. Raises NeedsRecut if
    there is more sound than a piece may hold, StorageUnavailable, and RuntimeError if an entry of a container is not
    accounted for.
    """
    decline_huge_pages()
    groups = [list(group) for _, group in groupby(piece.objects, key=lambda each: (each.uri, each.format))]
    chains, heard = list[Chain](), Heard(piece, settings.segmentation)
    budget, texts = MemoryBudget(max(settings.max_bytes, MIN_BUDGET_BYTES)), TextBudget()

    def rows_of(group: list[SourceObject]) -> tuple[SpeechRows, Entries]:
        reading, rows = Reading(piece, settings, budget, patience.finished, chains=chains), SpeechRows(texts)
        with costs.of(group[0]):
            for number, recording in enumerate(_recordings(group, reading)):
                decoded = decode_one(recording)
                patience.finished()
                heard.add(group[min(number, len(group) - 1)], recording, decoded)
                costs.decoded(group[0], decoded)
                rows.add(decoded)
                del recording, decoded  # before the next one is read: each may be half a gigabyte
            rows.add_texts(_texts_in_tar(reading, piece, texts))
        return rows, reading.entries

    costs = Costs()
    patience = Patience(settings.patience_s + (2 * STARTUP_S if settings.isolated else 0))
    decoder = isolated_decoder(piece, settings) if settings.isolated else shared_decoder(piece, settings)
    with patience, decoder as decode_one, ThreadPoolExecutor(CONCURRENT_FETCHES) as pool:
        whole, entries = SpeechRows(texts), Entries()
        one_by_one = settings.isolated or len(groups) == 1  # in this thread: another one gets its memory anew
        try:
            for rows, found in map(rows_of, groups) if one_by_one else pool.map(rows_of, groups):
                whole.extend(rows)
                entries += found
        except SoundLimitExceeded as exceeded:
            raise NeedsRecut(heard.finer_cut(exceeded)) from None
    metadata = {"chain": chains[0].summary().to_text()} if chains else {}
    if entries.found:
        metadata["entries"] = entries.to_text()
    table = whole.table()
    if not settings.isolated:  # else a child process decodes
        metadata[READS.decode()] = reads_text(costs.reads())
    return table.replace_schema_metadata(metadata)


def _recordings(group: list[SourceObject], reading: Reading) -> Iterator[Recording]:
    """The recordings of objects that share a stored file. What goes wrong while they are read is an error of those not
    read yet; raises what `error_of` raises, and RuntimeError if an entry of a container is not accounted for."""
    number, first = 0, group[0]
    try:
        for recording in read_objects(group, reading):
            yield recording
            number += 1
            del recording
    except Exception as problem:  # noqa: BLE001 - one file's, and no other's
        files = witnesses(reading.piece, reading.settings)
        error = error_of(problem, place_of(first, reading.settings), files)
        reading.entries.skip("not read", reading.entries.unaccounted)
        for source in group[:1] if first.is_container else group[number:]:
            yield recording_of(source, source.etag or "", error, reading.settings)
    else:
        if reading.entries.unaccounted:
            raise RuntimeError(f"{first.uri}: {reading.entries.unaccounted} of its entries are not accounted for")


def _texts_in_tar(reading: Reading, piece: Piece, texts: TextBudget) -> dict[str, Companions]:
    """The texts found in a tar, by recording_id. They belong to first rows, so only a first stretch has them."""
    texts_by_id = dict[str, Companions]()
    for key, texts_found in reading.texts.items() if not piece.stretch else ():
        reference, extra = merge_texts(texts_found)
        texts_by_id[escape_surrogates(key)] = texts.admit(*companions(reference, extra).values())
    return texts_by_id


@contextmanager
def shared_decoder(piece: Piece, settings: ReadSettings) -> Iterator[Decoder]:
    """Decodes in this process, in any number of threads, which share the sound that the piece may hold."""
    lock, samples, limit = threading.Lock(), 0, max_seconds(piece, settings.segmentation) * SAMPLE_RATE

    def admit(added: int) -> bool:
        nonlocal samples
        with lock:
            samples += added
        return samples <= limit

    yield partial(to_rows, piece=piece, settings=settings, admit=admit)


@contextmanager
def isolated_decoder(piece: Piece, settings: ReadSettings) -> Iterator[Decoder]:
    """Decodes in a child process; a recording that crashes it becomes a row with that error."""
    child = Isolated(partial(partial, to_sent_rows, piece=piece, settings=settings), settings.patience_s)

    def decode_one(recording: Recording) -> list[Row]:
        try:
            rows: list[Row] = child(recording)
        except RecordingError as problem:
            rows = to_rows(replace(recording, content=problem), piece, settings)
        return rows

    try:
        yield decode_one
    finally:
        child.close()
