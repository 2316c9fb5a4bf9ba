"""Hears a folder of recordings and commits it as one unit with its emissions, as a run does but for Ray."""

from pathlib import Path

from conftest import DEMO_MODEL

from actors.engine.interface import EngineSettings
from actors.engine.models import read_vocabulary, resolve
from actors.pieces import Cut, cut_unit
from actors.reader import read_piece
from actors.sources.objects import ReadSettings
from actors.storage.place import Place
from actors.transcriber import Transcriber
from actors.units import NO_EMISSIONS, Unit
from actors.writer import Writer, WriteSettings
from jobs.cli.config import Input
from jobs.planning.listing import list_input

_MADE_WITH = "ab" * 4  # of each section of a recipe


def hear_folder(
    folder: Path,
    output: Path,
    keeps: bool = True,
    model: Path = DEMO_MODEL,
    reading: ReadSettings | None = None,
    unit_id: str = "0a",
) -> None:
    """Commits all recordings of a folder, read with some settings, with their references."""
    known, reading = resolve(str(model), None, {}), reading or ReadSettings()
    recipe = _MADE_WITH + (_MADE_WITH if keeps else NO_EMISSIONS) + 2 * _MADE_WITH
    unit = Unit.of(unit_id, recipe, list_input(Input(uri=str(folder)), str(output)).objects)
    (piece,) = cut_unit(unit, Cut(36_000.0))
    settings = EngineSettings("fused", "cpu", "float32", 2, 30, candidates=32)
    emissions = Transcriber(known, settings)(read_piece(piece, reading))
    writing = WriteSettings(known, read_vocabulary(known), "run", reading)
    Writer(writing, Place.at(str(output)), "run")(piece, emissions)
