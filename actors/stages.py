"""The three stages of the graph as Ray Data calls them: block in, block out."""

import pyarrow as pa

from actors.blocks import advance
from actors.engine.interface import EngineSettings
from actors.engine.models import ModelFile
from actors.outcomes import Committed, Kept
from actors.parts.kept import is_kept
from actors.pieces import Piece
from actors.reader import read_piece
from actors.schema import SPEECH_SCHEMA
from actors.sources.objects import ReadSettings
from actors.storage.encoding import check_names
from actors.storage.place import Place
from actors.transcriber import Transcriber
from actors.writer import commit_piece


def read_block(block: pa.Table, settings: ReadSettings, output: Place) -> pa.Table:
    """Reads and decodes a piece; one that an earlier run kept is not read again."""

    def read(piece: Piece, _: pa.Table) -> pa.Table:
        _check_names(piece, output)
        return SPEECH_SCHEMA.empty_table() if is_kept(piece, output) else read_piece(piece, settings)

    return advance(block, read)


class TranscribeBlock:
    """Transcribes pieces, in an actor that holds one engine."""

    def __init__(self, model: ModelFile, engine: EngineSettings, run_id: str) -> None:
        self._transcriber = Transcriber(model, engine, run_id)

    def __call__(self, block: pa.Table) -> pa.Table:
        return advance(block, lambda piece, speech: self._transcriber(speech, piece.unit))


def commit_block(block: pa.Table, output: Place, attempt: str) -> pa.Table:
    """Commits a piece: writes its rows, and returns its outcome."""

    def commit(piece: Piece, rows: pa.Table) -> Committed | Kept:
        _check_names(piece, output)
        return commit_piece(piece, rows, output, attempt)

    return advance(block, commit)


def _check_names(piece: Piece, output: Place) -> None:
    """Raises UsageError if the piece concerns files on disks, whose names this worker reads as no key has them: its
    locale may be another one than the driver's."""
    if output.is_local or any(each.uri.startswith("file:") for each in piece.objects):
        check_names()
