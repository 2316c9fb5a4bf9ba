"""A nightly over known errors, on the command line: red, looked at, accepted, green, and red again for new ones."""

from pathlib import Path
from typing import Any

import duckdb
import pytest
from conftest import DEMO_MODEL, encoded

from jobs import plan


@pytest.mark.usefixtures("ray_two_cpus")
def test_a_nightly_over_errors_that_were_looked_at(job: Any, speech: Any, tmp_path: Path) -> None:
    archive, out, known = tmp_path / "in", tmp_path / "out", tmp_path / "known.csv"
    archive.mkdir()
    for number in range(8):
        (archive / f"{number}.wav").write_bytes(encoded(speech[number % len(speech)][0]))
    (archive / "bad.wav").write_bytes(b"no sound at all")
    (archive / "empty.wav").write_bytes(b"")
    where = (f"input.uri={archive}", f"output.uri={out}", f"model.name={DEMO_MODEL}")
    where += ("errors.max_fraction=0.05", "unit.target_minutes=30")

    status, summary, seen = job(*where)
    assert status == 3
    assert "20.0% of the recordings have an error (2 of 10 in the output), more than errors.max_fraction" in seen
    duckdb.sql(f"COPY (SELECT * FROM '{out}/part-*.parquet' WHERE error_kind IS NOT NULL) TO '{known}'")
    for accept in (str(known), f"[empty, {known}]", "[not_audio, empty]"):
        status, summary, seen = job(*where, f"errors.accept={accept}")
        assert (status, summary["units"]["planned"]) == (0, 0)
        assert summary["totals"] == {"recordings": 10, "errors": 2, "accepted": 2}
        assert "2 of them accepted" in seen
    assert job(*where, "errors.accept=empty")[0] == 3
    for bad in ("mising", f"{tmp_path}/none.csv", str(archive / "0.wav")):
        status, summary, seen = job(*where, f"errors.accept={bad}")
        assert status == 2
        assert "configuration: errors.accept: " in seen
        assert bad in seen

    (archive / "new.wav").write_bytes(b"")
    status, summary, seen = job(
        *where, f"errors.accept={known}", "errors.max_fraction=1", "errors.max_new_fraction=0.5"
    )
    assert (status, summary["recordings"], summary["accepted"]) == (3, 1, 0)
    assert "100.0% of this run's recordings have an error (1 of 1 committed by it)" in seen
    _, dry, seen = job(*where, "input.redo=[3.wav]", main=plan.main)
    assert dry["asked"] == {"units": 1, "recordings": 10}
    limits = ("output.on_excluded=remove", "output.max_removed_fraction=0.5", "input.exclude=[bad.wav, empty.wav]")
    _, dry, seen = job(*where, *limits, main=plan.main)
    assert dry["removed"] == {"deleted": 0, "excluded": 2}
    assert dry["reasons"]["redo"] == {"2 objects excluded": 1}
    assert job(*where, "input.redo=[9.wav]")[0] == 2
