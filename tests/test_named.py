"""Recordings that a person names in a file: what a query on the parts returns, saved as people save it."""

import json
import tracemalloc
from collections.abc import Callable
from pathlib import Path
from typing import Any

import duckdb
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from actors.schema import KEY, PART_SCHEMA
from actors.storage.place import Place
from jobs.cli.config import ConfigError
from jobs.planning.named import Named, read_named

ROWS = [
    ("file:///in/a, b.wav", None, None, None, None),
    ("file:///in/t.tar", "x/1.wav", None, None, None),
    ("file:///in/m.wav", None, 0.1, 2.5, None),
    ("s3://b/每日.wav", None, None, None, 1),
]
OTHERS = [
    ("file:///in/a, b.wav", "x/1.wav", None, None, None),
    ("file:///in/t.tar", None, None, None, None),
    ("file:///in/t.tar", "x/2.wav", None, None, None),
    ("file:///in/m.wav", None, 0.1, 2.6, None),
    ("s3://b/每日.wav", None, None, None, 0),
    ("file:///in/c.wav", None, None, None, None),
]


def named_in(path: Path, *roots: str, max_bytes: float = 1e6) -> Named:
    named = Named(frozenset(roots))
    read_named(named, Place.at(str(path)), "errors.accept", max_bytes)
    return named


@pytest.fixture
def query(tmp_path: Path) -> pd.DataFrame:
    """A part's rows, asked of DuckDB."""
    fields = [field for field in PART_SCHEMA if field.name in KEY]
    columns = [pa.array(column, field.type) for column, field in zip(zip(*ROWS, strict=True), fields, strict=True)]
    pq.write_table(pa.Table.from_arrays(columns, schema=pa.schema(fields)), tmp_path / "part.parquet")
    return duckdb.sql(f"SELECT *, 'not_audio' AS error_kind FROM '{tmp_path}/part.parquet'").df()


def by_duckdb(suffix: str, options: str = "") -> Callable[[pd.DataFrame, Path], None]:
    def save(query: pd.DataFrame, path: Path) -> None:
        source = path.parent / "part.parquet"
        duckdb.sql(f"COPY (SELECT *, 'why' AS error_detail FROM '{source}') TO '{path}' {options}")

    save.__name__ = suffix
    return save


SAVED: dict[str, tuple[str, Callable[[pd.DataFrame, Path], Any]]] = {
    "duckdb csv": ("csv", by_duckdb("csv")),
    "duckdb tsv": ("tsv", by_duckdb("tsv", "(DELIMITER '\t')")),
    "duckdb csv by another name": ("txt", by_duckdb("txt", "(FORMAT csv, HEADER, DELIMITER ';')")),
    "duckdb json": ("json", by_duckdb("json")),
    "duckdb array": ("json", by_duckdb("json", "(ARRAY true)")),
    "duckdb parquet": ("parquet", by_duckdb("parquet")),
    "pandas csv": ("csv", lambda query, path: query.to_csv(path)),
    "pandas tsv": ("tsv", lambda query, path: query.to_csv(path, sep="\t", index=False)),
    "pandas jsonl": ("jsonl", lambda query, path: query.to_json(path, orient="records", lines=True)),
    "pandas json": ("json", lambda query, path: query.to_json(path, orient="records", indent=2)),
    "pandas parquet": ("pq", lambda query, path: query.to_parquet(path)),
    "excel": ("csv", lambda query, path: query.to_csv(path, index=False, encoding="utf-8-sig", lineterminator="\r\n")),
}


@pytest.mark.parametrize("how", SAVED)
def test_a_query_on_parts_is_saved_and_names_exactly_its_rows(how: str, query: pd.DataFrame, tmp_path: Path) -> None:
    suffix, save = SAVED[how]
    path = tmp_path / f"known.{suffix}"
    save(query, path)
    named = named_in(path)
    assert named.count == 4
    assert not any(named.holds(key) for key in OTHERS)
    assert named.missing == 4
    assert all(named.holds(key) for key in ROWS)
    assert named.missing == 0


def test_a_uri_on_each_line_names_all_that_is_in_it(tmp_path: Path) -> None:
    path = tmp_path / "known"
    lines = ["# looked at", "file:///in/t.tar", "", "/in/./c.wav", "s3a://b/x.wav", "deep/d.wav"]
    path.write_text("\r\n".join(lines))
    named = named_in(path, "file:///in", "s3://b")
    keys = [(uri, *[None] * 4) for uri in ("file:///in/t.tar", "file:///in/c.wav", "s3://b/x.wav")]
    for key in (*keys, ("file:///in/t.tar", "x", None, None, 3), ("s3://b/deep/d.wav", *[None] * 4)):
        assert named.holds(key)
    assert (named.count, named.missing) == (4, 0)


def test_a_table_of_uris_alone_names_all_that_is_in_them(tmp_path: Path) -> None:
    path = tmp_path / "known.csv"
    path.write_text("uri\nfile:///in/t.tar\n")
    assert all(named_in(path).holds(("file:///in/t.tar", member, None, None, None)) for member in (None, "a", "b"))
    (tmp_path / "known.json").write_text('["file:///in/t.tar"]')
    assert named_in(tmp_path / "known.json").count == 1
    path.write_text("")
    assert named_in(path.rename(tmp_path / "none.txt")).count == 0


@pytest.mark.parametrize(
    ("name", "content", "why"),
    [
        ("k.csv", b"path,kind\na.wav,empty\n", "it has no column uri"),
        ("k.parquet", b"PAR1 and no more", "Parquet"),
        ("k.txt", b"RIFF\0\0\0\0WAVE", "not a text"),
        ("k.txt", b"\xff\xfe\xff\xd8 \xe9\xe8", "is no list of recordings|is not"),
        ("k.jsonl", b'{"uri": "a"}\n{"uri": \n', "not JSON"),
        ("k.json", b'[{"uri": "a"}, 7]', "'7' names no recording"),
        ("k.json", b'[{"path": "a"}]', "entry 1 names no recording"),
        ("k.csv", b"uri,offset_s\na.wav,soon\n", "offset_s is 'soon', not a number"),
        ("k.csv", b'uri\n"a.wav\n', "no list of recordings"),
        (
            "k.csv",
            b"uri\na.wav\nb,c.wav\n",
            "its line 3 has more fields than the heading; put values with ',' in quotes",
        ),
        ("k", b"uri\r\na,b.wav\r\n", "its line 2 has more fields"),
        ("k.tsv", b"uri\tmember\na.wav\tx\ty\n", "its line 2 has more fields"),
        ("k.txt", b"a.wav\n" * 1_000, "max_list_megabytes"),
        ("k.csv", b"uri\n" + b"a.wav\n" * 1_000, "max_list_megabytes"),
        ("k.json", b"[" + b'"a",' * 1_000 + b'"a"]', "max_list_megabytes"),
        ("k.json", b"[" * 100_000, "nested|no list"),
    ],
)
def test_what_is_no_list_is_refused_by_the_key_and_the_file(
    name: str, content: bytes, why: str, tmp_path: Path
) -> None:
    path = tmp_path / name
    path.write_bytes(content)
    with pytest.raises(ConfigError, match=why) as told:
        named_in(path, max_bytes=100_000)
    assert str(told.value).startswith("errors.accept: ")
    assert str(path) in str(told.value)


def test_a_table_of_a_parquet_file_without_a_column_uri(tmp_path: Path) -> None:
    pq.write_table(pa.table({"path": ["a"]}), tmp_path / "k.parquet")
    with pytest.raises(ConfigError, match="no column of texts named uri"):
        named_in(tmp_path / "k.parquet")


def test_what_is_no_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"errors\.accept: there is no file .*none\.txt"):
        named_in(tmp_path / "none.txt")
    with pytest.raises(ConfigError, match=r"errors\.accept: .*is not a file"):
        named_in(tmp_path)


def test_a_large_parquet_of_one_value_is_bounded(tmp_path: Path) -> None:
    pq.write_table(pa.table({"uri": pa.array(["x" * 1_000] * 50_000).dictionary_encode()}), tmp_path / "k.parquet")
    with pytest.raises(ConfigError, match="max_list_megabytes"):
        named_in(tmp_path / "k.parquet", max_bytes=1e6)
    assert json.dumps(named_in(tmp_path / "k.parquet", max_bytes=1e8).count) == "50000"


def test_texts_are_without_white_space_around_them_and_values_of_tables_as_they_are(tmp_path: Path) -> None:
    path = tmp_path / "known"
    path.write_text("\ta.wav  \n  # a comment\n \nb c.wav\u3000\n")
    assert named_in(path, "s3://b").times == {("a.wav", ()): 1, ("b c.wav", ()): 1}
    for name, content in (("k.csv", 'uri\n" a.wav "\n'), ("k.jsonl", '{"uri": " a.wav "}\n')):
        (tmp_path / name).write_text(content)
        assert named_in(tmp_path / name, "s3://b").times == {(" a.wav ", ()): 1}


def test_a_path_may_be_as_find_prints_it(tmp_path: Path) -> None:
    path = tmp_path / "known"
    path.write_text("./a/1.wav\na/./2.wav\n.hidden/3.wav\na.//4.wav\n")
    named = named_in(path, "s3://b/in")
    for name in ("a/1.wav", "a/2.wav", ".hidden/3.wav", "a.//4.wav"):
        assert named.holds((f"s3://b/in/{name}", *[None] * 4))
    assert named.missing == 0


@pytest.mark.parametrize("root", ["file:", "s3://b", "s3://b/x", "https://h", "file:///in"])
def test_a_path_is_below_any_root(root: str) -> None:
    named = Named(frozenset({root, "s3://other"}))
    named.add("d/a.wav", ())
    uri = f"{root}///d/a.wav" if root == "file:" else f"{root}/d/a.wav"
    assert named.has_uri(uri)
    assert named.holds((uri, "member", None, None, None))
    for other in (f"{uri}x", uri.replace("/d/", "/e/"), uri.replace("/d/", "/")):
        assert not named.has_uri(other)


class Counted(str):
    """A text that counts how often it is compared with another of its kind."""

    comparisons = 0
    __hash__ = str.__hash__

    def __eq__(self, other: object) -> bool:
        Counted.comparisons += 1
        return str.__eq__(self, other)


@pytest.mark.parametrize("is_stated", [True, False])
def test_names_in_one_container_are_looked_up_in_one_step_each(is_stated: bool) -> None:
    """Each of a shard's members is named, or the shard as often as it has members, as queries return it."""
    named, count = Named(), 3_000
    for number in range(count):
        named.add("s3://b/t.tar", ((1, Counted(number)), (4, None)) if is_stated else ())
    Counted.comparisons = 0
    assert all(named.holds(("s3://b/t.tar", Counted(number), None, None, None)) for number in range(count))
    assert not named.holds(("s3://b/t.tar", "other", None, None, 1)) if is_stated else True
    assert (named.count, named.missing) == (count, 0)
    assert Counted.comparisons < 10 * count
    assert len(named.found) == (count if is_stated else 1)


def test_a_path_is_one_name_however_many_roots_there_are(tmp_path: Path) -> None:
    path = tmp_path / "known"
    path.write_text("".join(f"{number}.wav\n" for number in range(2_000)))
    roots = [f"s3://b/{number:03}" for number in range(512)]
    tracemalloc.start()
    named = named_in(path, *roots)
    used = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert used < 2_000 * 2_000 + 1_000_000
    assert named.holds(("s3://b/511/1999.wav", *[None] * 4))
    assert named.holds(("s3://b/000/1999.wav", *[None] * 4))
    assert named.missing == 1_999
