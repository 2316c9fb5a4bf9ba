"""Samples, limits and runs of all of an archive after one another, in random order, while it changes, and runs are
killed or find another one at work.

No recording ever has rows twice. After each undisturbed run, what it was to read is there as it is read from nothing,
and everything else has the rows that it had; a limit or sample takes no rows away. After a last run of all, nothing is
left to do, and every recording has its rows.
"""

import io
import json
import os
import shutil
import tempfile
from collections import Counter
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from conftest import encoded
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule
from test_reading import tar_of
from transcribing import DIGESTS, HEXADECIMAL, MODEL

from actors.parts.keys import ObjectKey, object_keys
from actors.parts.stored import remove_unit
from actors.pieces import Cut, Piece, cut_unit
from actors.reader import read_piece
from actors.sources.objects import ReadSettings
from actors.storage.place import Place
from actors.units import ALL, SourceObject
from actors.writer import Writer, WriteSettings
from jobs.cli.config import Config
from jobs.planning.corrections import object_errors
from jobs.planning.limits import as_many_as_before
from jobs.planning.listing import Listing, list_input
from jobs.planning.object_verdicts import rows as told_of
from jobs.planning.plans import State, write_plan
from jobs.planning.recipe import recipe_digest
from jobs.planning.redo import objects_to_redo
from jobs.planning.state import load_state, made_of, units_with_errors
from jobs.planning.verdicts import Plan, Policy, make_plan

FILES = ("a.wav", "b.wav", "s/c.wav", "s/d.wav")
CONTAINERS = ("t.tar", "s/u.tar", "p.parquet", "s/nemo.tar")
LISTS = ("manifest.jsonl", "s/nemo.jsonl", "s/wav.scp")
COLUMNS = ("recording_id", "uri", "member", "offset_s", "stretch_s", "channel", "etag", "segment_index", "error_kind")
WAYS = st.sampled_from([None, None, ("sample", 3), ("sample", 9), ("sample", 14), ("limit", 2), ("limit", 7)])
Way = tuple[str, int] | None
Rows = Mapping[ObjectKey, list[tuple[object, ...]]]  # of an object: COLUMNS and the text of each


def sound(*seed: int) -> bytes:
    return encoded(np.random.default_rng(seed).uniform(-0.5, 0.5, 2_000))


def parquet_of(sounds: Iterable[bytes]) -> bytes:
    file = io.BytesIO()
    pq.write_table(pa.table({"audio": pa.array(list(sounds), pa.binary())}), file)
    return file.getvalue()


def key_of(row: ObjectKey) -> ObjectKey:
    """The key of the object that a row belongs to: all rows of a container are its own, whatever lines select in it."""
    return (row[0], ALL) if row[0].endswith((".tar", ".parquet")) else row


class Machine(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        self.root = Path(tempfile.mkdtemp())
        self.input, self.output = self.root / "in", Place.at(f"{self.root}/out")
        (self.input / "s").mkdir(parents=True)
        self.version = self.runs = 0
        self.precision, self.on_mismatch, self.on_deleted, self.minutes = "float32", "replace", "keep", 30.0
        self._read = dict[SourceObject, list[tuple[object, ...]]]()
        self._parts = dict[tuple[str, str], pa.Table]()
        (self.input / "first.wav").write_bytes(sound(0))
        for name in CONTAINERS:
            self.put_container(name, 5)

    def teardown(self) -> None:
        try:
            self.on_mismatch = "replace"
            self.run(("sample", 3))
            self.run(None)
            plan = self.prepare(None)[2]
            assert not plan.committed
            assert not plan.remove
            assert {each.kind for each in plan.verdicts.values()} == {"done"}
        finally:
            shutil.rmtree(self.root)

    @rule(name=st.sampled_from(FILES))
    def put_file(self, name: str) -> None:
        self.put(name, sound(self.new_version()))

    @rule(name=st.sampled_from(CONTAINERS), count=st.sampled_from([0, 2, 5]))
    def put_container(self, name: str, count: int) -> None:
        version = self.new_version()
        sounds = [sound(version, number) for number in range(count)]
        members = [(f"{number}.wav", each) for number, each in enumerate(sounds)]
        self.put(name, parquet_of(sounds) if name.endswith("parquet") else tar_of(members))

    @rule(name=st.sampled_from(LISTS), times=st.integers(1, 3))
    def put_list(self, name: str, times: int) -> None:
        lines: list[dict[str, object]] = [{"audio_filepath": "a.wav"}]
        lines += [{"audio_filepath": "b.wav", "offset": each * 0.01, "duration": 0.05} for each in range(times)]
        if name == "s/nemo.jsonl":
            lines = [{"audio_filepath": f"{each}.wav", "shard_id": 0, "text": f"{times}"} for each in range(3)]
            lines = [each | {"audio_filepath": f"nemo.tar/{each['audio_filepath']}"} for each in lines]
        text = "".join(f"{json.dumps(each)}\n" for each in lines)
        self.put(name, (f"x{times} c.wav\ny d.wav\n" if name.endswith(".scp") else text).encode())

    @rule(name=st.sampled_from((*FILES, *CONTAINERS, *LISTS)))
    def delete(self, name: str) -> None:
        (self.input / name).unlink(missing_ok=True)

    @rule(
        precision=st.sampled_from(["float32", "bfloat16"]),
        on_mismatch=st.sampled_from(["keep", "replace"]),
        on_deleted=st.sampled_from(["keep", "remove"]),
        minutes=st.sampled_from([0.0001, 30.0]),
    )
    def configure(self, **changes: Any) -> None:
        vars(self).update(changes)

    @rule(way=WAYS, redoes=st.booleans())
    def undisturbed(self, way: Way, redoes: bool) -> None:
        self.run(way, redoes)

    @rule(way=WAYS, units=st.integers(0, 2))
    def killed(self, way: Way, units: int) -> None:
        self.work(*self.claim(way), units)

    @rule(way=WAYS, others=st.lists(WAYS, min_size=1, max_size=2))
    def others_find_it_at_work(self, way: Way, others: list[Way]) -> None:
        """A run goes on while others begin, which plan, and then do nothing. One of these comes again."""
        at_work = self.claim(way)
        for other in others:
            self.claim(other)
        self.work(*at_work)
        self.run(others[0])

    @invariant()
    def none_is_there_twice(self) -> None:
        assert not [key for key, count in Counter(self.keys_of_rows()).items() if count > 1]

    def new_version(self) -> int:
        self.version += 1
        return self.version

    def put(self, name: str, content: bytes) -> None:
        (self.input / name).write_bytes(content)
        os.utime(self.input / name, ns=(self.new_version(),) * 2)

    def prepare(self, way: Way, redoes: bool = False) -> tuple[Listing, State, Plan]:
        taken = {way[0]: way[1]} if way else {}
        redo = ["first.wav"] if redoes and not way else []
        config = Config.model_validate(
            {
                "input": {"uri": str(self.input), "redo": redo, **taken},
                "output": {"uri": self.output.path},
                "model": {"name": "m"},
            }
        ).input
        listing = list_input(config, self.output.uri, keeps_files=True)
        asked, state = objects_to_redo(config, listing), load_state(self.output)
        if way:
            listing.objects = as_many_as_before(listing.objects, state, self.output)
        policy = Policy(
            target_seconds=self.minutes * 60,
            on_mismatch=self.on_mismatch,
            on_deleted=self.on_deleted,
            max_removed_fraction=1.0,
            retry=units_with_errors(frozenset(), state, self.output),
            redo=asked,
            made=lambda unit: made_of(unit, self.output),
            errors=lambda unit: object_errors(unit, self.output),
        )
        plan = make_plan(listing, state, self.settings, policy)
        self.check_told(listing, state, plan)
        return listing, state, plan

    @property
    def settings(self) -> dict[str, Any]:
        return {"heard": {"precision": self.precision}, "emissions": None, "said": {"tokens": False}, "written": {}}

    def claim(self, way: Way, redoes: bool = False) -> tuple[Plan, str]:
        self.runs += 1
        _, state, plan = self.prepare(way, redoes)
        recipe = recipe_digest(self.settings), self.settings
        assert write_plan(self.output, state, plan.objects, recipe, f"run-{self.runs}")
        return plan, f"run-{self.runs}"

    def work(self, plan: Plan, run_id: str, units: int | None = None) -> None:
        for unit_id in plan.remove:
            remove_unit(unit_id, self.output)
        writer = Writer(WriteSettings(MODEL, HEXADECIMAL, run_id, ReadSettings(), False), self.output, run_id)
        for unit in plan.committed[:units]:
            for piece in cut_unit(unit, Cut(1_800.0)):
                speech = read_piece(piece, ReadSettings()) if piece.objects else None
                writer(piece, pa.table({}) if speech is None else DIGESTS.hear(speech))

    def run(self, way: Way, redoes: bool = False) -> None:
        """An undisturbed run leaves the right rows, and takes none away that it is not to take."""
        before = self.rows()
        listing, _, _ = self.prepare(way, redoes)
        self.work(*self.claim(way, redoes))
        after, listed = self.rows(), {(each.uri, each.selection): each for each in listing.objects}
        for key, each in listed.items():
            assert after.get(key) == self.read(each), (way, each, before.get(key))
            if each.is_container and not each.uri.endswith("nemo.tar"):  # of which lines may select less than before
                kept = {row for row in before.get(key, ()) if row[COLUMNS.index("etag")] == each.etag}
                assert kept <= set(after[key]), (way, each, kept)
        removed = {known.object_key for known in load_state(self.output).objects.values() if known.removed}
        for key in before.keys() - listed.keys() - removed:
            assert after.get(key) == before[key], (way, key)
        assert not removed & after.keys()

    def read(self, source: SourceObject) -> list[tuple[object, ...]]:
        """The rows of an object, read by itself."""
        if source not in self._read:
            speech = read_piece(Piece("0a", "0" * 64, Cut(1_800.0), (source,)), ReadSettings())
            texts = Writer(WriteSettings(MODEL, HEXADECIMAL, "r", ReadSettings(), False), self.output, "r")
            heard = texts.said(texts.joined("0a", DIGESTS.hear(speech)), False)
            self._read[source] = rows_of(heard)
        return self._read[source]

    def tables(self) -> Iterable[pa.Table]:
        for path in (self.root / "out").glob("part-*.parquet"):
            key = path.name, str(path.stat().st_mtime_ns)
            if key not in self._parts:
                self._parts[key] = pq.read_table(path)
            yield self._parts[key]

    def rows(self) -> Rows:
        found = dict[ObjectKey, list[tuple[object, ...]]]()
        for table in self.tables():
            for key, row in zip(object_keys(table), rows_of(table), strict=True):
                found.setdefault(key_of(key), []).append(row)
        return found

    def keys_of_rows(self) -> Iterable[tuple[object, ...]]:
        for table in self.tables():
            yield from zip(*(table.column(name).to_pylist() for name in (*COLUMNS[1:6], "segment_index")), strict=True)

    def check_told(self, listing: Listing, state: State, plan: Plan) -> None:
        """Every object and every file is told of, once."""
        told = list(told_of(listing, state, plan))
        assert [each.uri for each in told] == sorted(each.uri for each in told)
        assert sum(each.file is not None for each in told) == listing.files.listed
        objects = [each for each in told if each.unit is not None]
        keys = Counter((each.uri, each.offset_s, each.stretch_s, each.channel) for each in objects)
        assert set(keys.values()) <= {1}
        assert {(each.uri, *each.selection) for each in listing.objects} <= keys.keys()


def rows_of(table: pa.Table) -> list[tuple[object, ...]]:
    return list(zip(*(table.column(name).to_pylist() for name in (*COLUMNS, "text")), strict=True))


TestHistories = Machine.TestCase
TestHistories.settings = settings(
    max_examples=int(os.environ.get("HISTORIES", "8")),
    stateful_step_count=20,
    deadline=None,
    suppress_health_check=list(HealthCheck),
)
