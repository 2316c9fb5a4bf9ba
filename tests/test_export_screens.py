"""What a person sees of an export, on terminals of three widths."""

import shutil
from pathlib import Path
from typing import Any

import pytest
from screens import check_golden, shown, terminal
from test_export import output_of, row_of

from jobs import export

SAID = "今天天气很好"


@pytest.mark.parametrize("columns", [60, 80, 140])
def test_the_closing_table(columns: int, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    folder = Path("/tmp/citrascribe-screens")
    shutil.rmtree(folder, ignore_errors=True)
    try:
        rows = [row_of(f"2026/{number}.wav", text=SAID) for number in range(5)]
        failed: dict[str, Any] = {"error_kind": "crashed", "start_s": None, "end_s": None, "confidence": None}
        keys = ["configs/demo.yaml", f"output.uri={folder / 'out'}"]
        output_of([*rows, row_of("bad.wav", text=None, **failed)], folder / "out")
        assert export.main(keys) == 0
        shutil.rmtree(folder / "out" / "_commits")
        (part,) = (folder / "out").glob("part-*")
        part.unlink()
        output_of([*rows[:3], row_of("bad.wav", text=None, **failed)], folder / "out")
        with terminal(columns) as written:
            assert export.main(keys) == 0
        check_golden("export", columns, shown(written(), columns))
    finally:
        shutil.rmtree(folder, ignore_errors=True)
