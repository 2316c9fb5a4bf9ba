"""Files of kept emissions, and what parts say that they were made with: read back as written, or refused."""

import base64
import json
import os
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from conftest import encoded, tone
from hostile_emissions import GOOD, HOSTILE, Fields, as_column, fields_of
from hypothesis import given, settings
from hypothesis import strategies as st
from mutants import mutant
from test_bombs import arrow_file

from actors.foreign.arrow import arrow_batches
from actors.foreign.errors import InvalidData
from actors.parts import emissions as emissions_file
from actors.parts.emissions import EMISSIONS, EmissionFile, EmissionWriter, digest_of, emissions_name
from actors.parts.made import KEY, Made, MadeOf, object_id
from actors.parts.part import MAX_FOOTER_BYTES, PartWriter
from actors.parts.stored import open_part, part_name, read_made
from actors.schema import EMISSION, PART_SCHEMA
from actors.storage.place import Place
from actors.text.emissions import MAX_FRAMES
from actors.units import Version
from jobs.cli.config import Input
from jobs.planning.listing import list_input
from jobs.planning.sizing import MAX_OBJECTS, group_by_size

FINGERPRINT = "f" * 64


def content_of(*tables: pa.ChunkedArray) -> bytes:
    writer = EmissionWriter()
    for each in tables:
        writer.add(each)
    return writer.finish()


def stored(folder: Path, content: bytes, name: str = "") -> tuple[str, Place]:
    name = name or emissions_name("0a", FINGERPRINT, digest_of(content))
    (folder / EMISSIONS).mkdir(exist_ok=True)
    (folder / EMISSIONS / name).write_bytes(content)
    return name, Place.at(str(folder))


NAMED = st.one_of(st.none(), st.binary(max_size=5).map(fields_of))


@settings(max_examples=40, deadline=None)
@given(tables=st.lists(st.lists(NAMED, max_size=9), min_size=1, max_size=6), data=st.data())
def test_what_is_kept_is_read_back(
    tmp_path_factory: pytest.TempPathFactory, tables: list[list[Fields | None]], data: st.DataObject
) -> None:
    rows = [row for table in tables for row in table]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(emissions_file, "BATCH_ROWS", data.draw(st.integers(1, 12)))
        writer = EmissionWriter()
        for table in tables:
            column = as_column(None, *table, None)  # of which a slice is added
            writer.add(column.slice(1, len(table)))
        content = writer.finish()
    name, output = stored(tmp_path_factory.mktemp("kept"), content)
    file, found = EmissionFile(name, output), list[Fields | None]()
    assert file.rows == len(rows)
    while len(found) < len(rows):
        taken = file.take(min(data.draw(st.integers(0, 8)), len(rows) - len(found)))
        assert taken.type == EMISSION
        found += taken.to_pylist()
    assert found == rows
    assert len(file.take(0)) == 0
    with pytest.raises(InvalidData, match="fewer rows"):
        file.take(1)


def test_large_emissions_are_in_several_batches() -> None:
    frames = np.zeros(50_000, "<u2").tobytes()
    row = (
        GOOD | {"best": frames, "probability": bytes(200_000)} | dict.fromkeys(("counts", "ids", "log_probs", "blank"))
    )
    content = content_of(*[as_column(*[row] * 10)] * 20)
    assert 1 < pa.ipc.open_file(content).num_record_batches < 10


def test_a_file_is_what_its_name_says(tmp_path: Path) -> None:
    content, other = content_of(as_column(GOOD, None)), content_of(as_column(None, GOOD))
    name, output = stored(tmp_path, content)
    assert EmissionFile(name, output).rows == 2
    wrong, _ = stored(tmp_path, other, emissions_name("0a", FINGERPRINT, digest_of(content)[::-1]))
    with pytest.raises(InvalidData, match="not that which its name states"):
        EmissionFile(wrong, output)
    strangers = [
        "",
        "x",
        "../part-0a.parquet",
        "0A.f.0123456789abcdef.arrow",
        "0a.f.0123456789abcde.arrow",
        name + "\n",
    ]
    for stranger in [*strangers, f"../{EMISSIONS}/{name}", name.replace(".arrow", ".parquet"), f"{name}.tmp"]:
        with pytest.raises(InvalidData, match="is not the name"):
            EmissionFile(stranger, output)
    with pytest.raises(FileNotFoundError):
        EmissionFile(emissions_name("0b", FINGERPRINT, digest_of(content)), output)


@pytest.mark.parametrize("kind", ["link", "folder", "pipe", "sparse", "link in a circle"])
def test_what_is_no_file_is_not_followed(tmp_path: Path, kind: str) -> None:
    content = content_of(as_column(GOOD))
    name, output = stored(tmp_path, content)
    path = tmp_path / EMISSIONS / name
    os.rename(path, tmp_path / "aside")
    if kind == "link":
        path.symlink_to(tmp_path / "aside")
    elif kind == "link in a circle":
        path.symlink_to(path)
    elif kind == "folder":
        path.mkdir()
    elif kind == "pipe":
        os.mkfifo(path)
    else:
        with path.open("wb") as file:
            file.truncate(emissions_file.MAX_FILE_BYTES + 1)
    with pytest.raises(InvalidData):
        EmissionFile(name, output)
    assert (tmp_path / "aside").read_bytes() == content


COLUMN = pa.schema([pa.field("emission", EMISSION)])


def table_of(*rows: Fields | None) -> pa.Table:
    return pa.Table.from_arrays([as_column(*rows)], schema=COLUMN)


@pytest.mark.parametrize("name", HOSTILE)
def test_a_file_of_hostile_emissions_is_refused(tmp_path: Path, name: str) -> None:
    content = arrow_file(table_of(GOOD, None, HOSTILE[name]))
    with pytest.raises(InvalidData):
        EmissionFile(*stored(tmp_path, content))


def test_bombs_are_told_before_memory_is_taken(tmp_path: Path) -> None:
    rows = [fields_of(b"x" * (MAX_FRAMES // 2))] * 8
    content = arrow_file(table_of(*rows))
    assert EmissionFile(*stored(tmp_path, content)).rows == 8
    size = (2 * MAX_FRAMES * len(rows)).to_bytes(8, "little")
    assert content.count(size)
    for claim in (1 << 41, (1 << 63) - 1):
        bomb = content.replace(size, claim.to_bytes(8, "little"))
        with pytest.raises(InvalidData, match="would expand to more than"):
            EmissionFile(*stored(tmp_path, bomb))
    others = pa.table({"emission": ["x"]}), table_of(GOOD).append_column("more", pa.array([1])), pa.table({})
    for other in others:
        with pytest.raises(InvalidData, match="columns are not those"):
            EmissionFile(*stored(tmp_path, arrow_file(other)))
    for foreign in (b"", b"ARROW1", content[:-1], content[8:], b"PAR1" * 100):
        with pytest.raises(InvalidData):
            EmissionFile(*stored(tmp_path, foreign))


@settings(max_examples=300, deadline=None)
@given(st.integers(0, 1_000_000))
def test_mutants_are_read_or_refused(tmp_path_factory: pytest.TempPathFactory, seed: int) -> None:
    content = mutant(content_of(as_column(GOOD, None, *[GOOD] * 5)), seed)
    try:
        file = EmissionFile(*stored(tmp_path_factory.getbasetemp(), content))
    except InvalidData:
        return
    assert file.take(file.rows).validate(full=True) is None


HEX = "0123456789abcdef"


def digits(count: int) -> st.SearchStrategy[str]:
    return st.text(HEX, min_size=count, max_size=count)


@given(
    st.dictionaries(digits(16), st.builds(MadeOf, *[digits(8)] * 4, *[digits(16)] * 2), max_size=5),
    st.sampled_from(["", emissions_name("0a", FINGERPRINT, "0" * 16)]),
)
def test_what_a_part_was_made_with_is_read_back(objects: dict[str, MadeOf], emissions: str) -> None:
    made = Made(objects, emissions)
    metadata = {key.encode(): value.encode() for key, value in made.to_metadata().items()}
    assert Made.from_metadata(metadata) == made
    assert Made.from_metadata({}) == Made.from_metadata(None) == Made()


def stated(fields: Any) -> bytes:
    return zlib.compress(fields if isinstance(fields, bytes) else json.dumps(fields).encode())


OF = "f" * 64
STATED: dict[str, bytes] = {
    "no base64": b"\xff*",
    "half of base64": base64.b64encode(stated({"objects": {}, "emissions": ""}))[:-3],
    "no zlib": base64.b64encode(b"objects"),
    **{
        name: base64.b64encode(content)
        for name, content in {
            "cut off": stated({"objects": {"0" * 16: OF}, "emissions": ""})[:-5],
            "bomb": zlib.compress(bytes(500_000_000)),
            "deep": stated(b"[" * 100_000),
            "no JSON": stated(b"{"),
            "no text": stated(b"\xff"),
            "a list": stated([]),
            "no objects": stated({"emissions": ""}),
            "no emissions": stated({"objects": {}}),
            "a list of objects": stated({"objects": [OF], "emissions": ""}),
            "emissions of a number": stated({"objects": {}, "emissions": 1}),
            "emissions elsewhere": stated({"objects": {}, "emissions": "../../x"}),
            "emissions in a part": stated({"objects": {}, "emissions": "part-0a.parquet"}),
            "short": stated({"objects": {"0" * 16: OF[:-1]}, "emissions": ""}),
            "long": stated({"objects": {"0" * 16: OF + "f"}, "emissions": ""}),
            "number": stated({"objects": {"0" * 16: 1}, "emissions": ""}),
            "null": stated({"objects": {"0" * 16: None}, "emissions": ""}),
        }.items()
    },
}


@pytest.mark.parametrize("name", STATED)
def test_what_no_run_says_of_a_part_is_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(InvalidData):
        Made.from_metadata({KEY.encode(): STATED[name]})
    (tmp_path / part_name("0a")).write_bytes(PartWriter().finish({KEY: STATED[name].decode("latin-1")}))
    with pytest.raises(InvalidData):
        read_made("0a", Place.at(str(tmp_path)))


def test_the_largest_unit_fits_the_footer_of_its_part(tmp_path: Path) -> None:
    draw = np.random.default_rng(1)
    of = MadeOf("0" * 8, "1" * 8, "2" * 8, "3" * 8, "", "")
    objects = {
        object_id(f"s3://x/{n}"): of._replace(version=draw.bytes(8).hex(), companions=draw.bytes(8).hex())
        for n in range(MAX_OBJECTS)
    }
    made = Made(objects, emissions_name("0a", FINGERPRINT, "0" * 16))
    content = PartWriter().finish(made.to_metadata())
    assert len(content) < MAX_FOOTER_BYTES / 2
    (tmp_path / part_name("0a")).write_bytes(content)
    output = Place.at(str(tmp_path))
    assert read_made("0a", output) == Made.from_metadata(open_part("0a", output).metadata()) == made
    assert pa.parquet.read_schema(tmp_path / part_name("0a")).equals(PART_SCHEMA)
    wanted = MadeOf.wanted("0" * 64, Version("1"))
    assert made.of("s3://x/0") != wanted


def test_files_of_no_size_are_in_units_of_a_size_that_fits(tmp_path: Path) -> None:
    for number in range(4):
        (tmp_path / f"{number}.wav").write_bytes(b"" if number % 2 else encoded(tone(1)))
    objects = list_input(Input(uri=str(tmp_path)), "/nowhere/out").objects
    groups = group_by_size(objects * (MAX_OBJECTS // 2), 10.0**9, lambda each: 0.0)
    assert max(map(len, groups)) == MAX_OBJECTS
    assert sum(map(len, groups)) == 2 * MAX_OBJECTS


def test_a_batch_of_emissions_is_bounded() -> None:
    content = content_of(as_column(*[GOOD] * 50))
    schema = pa.schema([pa.field("emission", EMISSION)])
    (batch,) = arrow_batches(content, schema, 1_000_000, 100_000)
    with pytest.raises(InvalidData, match="one of its batches would expand to more than"):
        list(arrow_batches(content, schema, 1_000_000, batch.nbytes // 2))


@pytest.mark.parametrize("digits", ["/../../x" + "0" * 56, "A" * 64, "é" * 64, "0" * 63, "0" * 65, "0" * 63 + "\n"])
def test_what_a_part_was_made_with_is_in_hexadecimal_digits(digits: str) -> None:
    fields = json.dumps({"objects": {"0" * 16: digits}, "emissions": ""})
    stated = base64.b64encode(zlib.compress(fields.encode()))
    with pytest.raises(InvalidData):
        Made.from_metadata({KEY.encode(): stated})
