"""Kept emissions: a file for each unit, with one row for each row of its part, in the same order.

It is written before the part, whose metadata name it, as the commit does. Whoever reads the part and the file together
can say anew what was heard. The name has a digest of the content, so a file is never replaced by another content.
"""

import hashlib
import io
import re
from collections.abc import Iterator

import pyarrow as pa

from actors.foreign.arrow import arrow_batches
from actors.foreign.errors import InvalidData
from actors.schema import EMISSION
from actors.storage import outputs
from actors.storage.place import Place
from actors.text.emissions import check_emissions
from actors.units import HEX, Fingerprint

EMISSIONS = "_emissions"
MAX_FILE_BYTES = 1_000_000_000  # of a unit's emissions; an hour takes up to 1.3 MB
MAX_EXPANDED_BYTES = 8_000_000_000
MAX_BATCH_BYTES = 256_000_000  # of a batch: of one segment, or of many as below
BATCH_BYTES, BATCH_ROWS = 16_000_000, 5_000  # of a record batch, about
DIGITS = 16  # of the digest
_NAME = re.compile(rf"({HEX})\.({HEX})\.([0-9a-f]{{{DIGITS}}})\.arrow")
_SCHEMA = pa.schema([pa.field("emission", EMISSION)])


def emissions_name(unit: str, fingerprint: str, digest: str) -> str:
    """The name of the file with the emissions of a unit: `<unit>.<what they depend on>.<digest>.arrow`."""
    return f"{unit}.{Fingerprint.of_hearing(fingerprint)}.{digest}.arrow"


def parse_emissions_name(name: str) -> tuple[str, str] | None:
    """The unit and the digest in the name of such a file; None for any other name."""
    match = _NAME.fullmatch(name)
    return (match[1], match[3]) if match else None


class EmissionWriter:
    """Writes the emissions of a unit to memory, compressed."""

    def __init__(self) -> None:
        self._sink = io.BytesIO()
        options = pa.ipc.IpcWriteOptions(compression="zstd")
        self._writer = pa.ipc.new_file(self._sink, _SCHEMA, options=options)
        self._waiting, self._rows, self._bytes = list[pa.Array](), 0, 0

    def add(self, emissions: pa.ChunkedArray) -> None:
        """Adds the emissions of rows, of the type EMISSION, null where there are none."""
        self._waiting += emissions.chunks
        self._rows, self._bytes = self._rows + len(emissions), self._bytes + emissions.nbytes
        if self._rows >= BATCH_ROWS or self._bytes >= BATCH_BYTES:
            self._flush()

    def finish(self) -> bytes:
        """Finishes the file; returns its content."""
        self._flush()
        self._writer.close()
        return self._sink.getvalue()

    def _flush(self) -> None:
        if self._rows:
            table = pa.Table.from_arrays([pa.chunked_array(self._waiting, EMISSION)], schema=_SCHEMA).combine_chunks()
            self._writer.write_table(table)
        self._waiting, self._rows, self._bytes = [], 0, 0


def digest_of(content: bytes) -> str:
    """The digest of a file of emissions."""
    return hashlib.sha256(content).hexdigest()[:DIGITS]


class EmissionFile:
    """The emissions of a unit, which were read once from start to end and are valid."""

    def __init__(self, name: str, output: Place) -> None:
        """Raises FileNotFoundError, and InvalidData if the file is not what its name says."""
        parsed = parse_emissions_name(name)
        if not parsed:
            raise InvalidData(f"{name[:80]!r} is not the name of a file of emissions")
        self._data = outputs.read(output / EMISSIONS / name, MAX_FILE_BYTES)
        if parsed[1] != digest_of(self._data):
            raise InvalidData("its content is not that which its name states")
        self.rows = 0
        for batch in self._batches():
            check_emissions(pa.chunked_array([batch.column(0)]))
            self.rows += batch.num_rows
        self._rest, self._following = pa.nulls(0, EMISSION), self._batches()

    def take(self, rows: int) -> pa.ChunkedArray:
        """The emissions of the next rows. Raises InvalidData if there are not so many."""
        taken = list[pa.Array]()
        while rows:
            if not len(self._rest):
                batch = next(self._following, None)
                if batch is None:
                    raise InvalidData("it has fewer rows than its part")
                self._rest = batch.column(0)
            taken.append(self._rest.slice(0, rows))
            self._rest, rows = self._rest.slice(rows), rows - len(taken[-1])
        return pa.chunked_array(taken, EMISSION)

    def _batches(self) -> Iterator[pa.RecordBatch]:
        return arrow_batches(self._data, _SCHEMA, MAX_EXPANDED_BYTES, MAX_BATCH_BYTES)
