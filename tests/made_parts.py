"""Commits units as the last stage does, but that what is heard of them is given as rows, and saying it anew leaves
their texts: as far as planning has to know of it."""

import io
from collections.abc import Mapping

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from actors.parts.commit import commit_unit
from actors.parts.made import Made
from actors.parts.part import PartWriter
from actors.parts.stored import COMMITS, Commit, part_name
from actors.parts.update import Describe, Updating
from actors.schema import EMISSION
from actors.sources.recordings import Recording
from actors.storage.listing import names
from actors.storage.place import Place
from actors.text.written.write import TextSettings, load_write
from actors.units import NO_EMISSIONS, Fingerprint, SourceObject, Unit, digest

SAID_ANEW = "said anew"  # the run of such rows
FRAMES = {"best": np.zeros(1, "<u2").tobytes(), "probability": np.ones(1, "<f4").tobytes()}


def commit_made(unit: Unit, rows: pa.Table, output: Place) -> None:
    """Commits a unit whose objects to hear have these rows, with emissions if its fingerprint says that they are
    kept."""
    if Fingerprint.emissions(unit.fingerprint) != NO_EMISSIONS:
        emission = {"start_s": 0.0, "end_s": 1.0, "frame_s": 0.08, "previous": None} | FRAMES
        rows = rows.append_column("emission", pa.array([emission] * rows.num_rows, EMISSION))
    updating = Updating(_as_it_is, load_write(TextSettings()), _described, SAID_ANEW)
    commit_unit(unit, [rows] if unit.objects else [], output, updating=updating)


def _as_it_is(rows: pa.Table, _: pa.ChunkedArray) -> pa.Table:
    return rows


def _described(source: SourceObject) -> Describe:
    return lambda _: Recording(source.name, source.uri, source.etag or "", None)


def write_made(unit_id: str, made: Made, output: Place) -> None:
    """Writes a committed part again with what it was made with, and its commit."""
    (old,) = (each for each in map(Commit.from_name, names(output / COMMITS, f"{unit_id}.")) if each)
    version = write_part(unit_id, made.to_metadata(), output)
    emissions = made.emissions.split(".")[2] if made.emissions else ""
    now = Commit(unit_id, old.fingerprint, digest([version]), old.recordings, old.errors, old.again, emissions)
    body = (output / COMMITS / old.name).read()
    (output / COMMITS / old.name).delete()
    (output / COMMITS / now.name).write(body)


def write_part(unit_id: str, metadata: Mapping[str, str], output: Place) -> str:
    """Writes a part again with other metadata, and without its commit; returns its version."""
    writer = PartWriter()
    writer.add(pq.read_table(io.BytesIO((output / part_name(unit_id)).read())))
    return (output / part_name(unit_id)).put(writer.finish(metadata))
