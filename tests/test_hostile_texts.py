"""Names and texts of others: they neither steer a screen, nor forge a line, nor break the JSON that others read."""

import ast
import json
import math
import os
import subprocess
import sys
import unicodedata
from datetime import UTC, date, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import duckdb
import pytest
from conftest import ROOT, encoded, piece_of, tone
from hypothesis import given
from hypothesis import strategies as st

from actors.foreign.escape import control_characters, for_terminal, single_line, without_credentials
from actors.foreign.plain_json import MAX_DEPTH, InvalidJson, parse_json, to_json
from actors.reading.rows import to_rows
from actors.sources.objects import ReadSettings
from actors.sources.recordings import Recording, companion_fields, split_fields
from jobs import plan
from jobs.cli import terminal

NAMES = [
    b"x.\x1b]0;title\x1b\x1b[31mFAKE",
    b"z.\nstatus 0 forged line",
    "r.\u202egnp".encode(),
    b"b.\xff\xfe",
    "l.\u2028\u2029\u0085forged".encode(),
    "h.\u200b\u2060\ufeff\U000e0041".encode(),
    "c.\u009b2J".encode(),
    b"m.[red]:smile:[link=x]",
    "w.今天e\u0301אب👨".encode(),
]


def hostile_folder(folder: Path) -> Path:
    folder.mkdir()
    (folder / "a.wav").write_bytes(encoded(tone(1)))
    for name in NAMES:
        Path(os.fsdecode(os.fsencode(folder) + b"/" + name)).write_bytes(b"")
    return folder


def strict(text: str) -> Any:
    """A JSON text as a strict reader takes it: no NaN, no half of a surrogate pair."""

    def refuse(word: str) -> None:
        raise AssertionError(f"{word} is no JSON")

    value = json.loads(text, parse_constant=refuse)
    json.dumps(value, ensure_ascii=False).encode("utf-8")
    return value


def is_calm(seen: str) -> bool:
    return not control_characters(seen.replace("\n", ""))


@pytest.mark.parametrize(
    "surroundings",
    [
        {},
        {"PYTHONIOENCODING": "ascii"},
        {"PYTHONIOENCODING": "latin-1"},
        {"LC_ALL": "C", "PYTHONCOERCECLOCALE": "0", "PYTHONUTF8": "0"},
    ],
    ids=["utf-8", "ascii", "latin-1", "C"],
)
def test_names_cannot_forge_what_a_plan_says(surroundings: dict[str, str], tmp_path: Path) -> None:
    command = [sys.executable, "-m", "jobs.plan", "configs/demo.yaml", f"input.uri={hostile_folder(tmp_path / 'in')}"]
    done = subprocess.run(
        [*command, f"output.uri={tmp_path / 'out'}"], cwd=ROOT, capture_output=True, env={**os.environ, **surroundings}
    )
    assert done.returncode == 0, done.stderr.decode(errors="replace")
    out = done.stdout.decode("utf-8")  # strict: in Latin-1 it would be none
    assert out.count("\n") == 1
    assert len(out.splitlines()) == 1  # this splits at U+2028 and U+0085 as well
    files = strict(out)["files"]
    assert (files["listed"], files["read"]) == (len(NAMES) + 1, 1)
    assert sum(files["skipped"].values()) == len(NAMES)
    assert "unknown type .\\udcff\\udcfe" in files["skipped"]
    assert is_calm(out)
    assert "today" not in out
    seen = done.stderr.decode("utf-8")
    assert is_calm(seen)
    assert "\nstatus 0 forged line" not in seen
    assert "\\x1b]0;title" in seen.replace("\n", "")


def test_markup_is_text(capsys: pytest.CaptureFixture[str]) -> None:
    text = "[red]a[/red] :smile: [link=https://x]b[/link] [/]"
    terminal.say(text, "red")
    terminal.show_table(text, [text], [[text]])
    terminal.StatusLine().say(text, is_last=True)
    assert capsys.readouterr().err.count(text) >= 4


def test_a_terminal_gets_no_escape_but_the_jobs_own(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    terminal.StatusLine().say("a\x1b[2J\rb\nc" + "d" * 10_000)
    seen = capsys.readouterr().err
    assert seen.startswith("\ra\\x1b[2J\\rb\\nc")
    assert seen.endswith("\x1b[K")
    assert len(seen) < 200


@given(st.text(st.characters()))
def test_what_is_shown_is_calm_and_stays_what_it_is(text: str) -> None:
    assert is_calm(for_terminal(text))
    assert not set("\n\r\x1b") & set(for_terminal(text))
    assert for_terminal(text) == text or control_characters(text) or "://" in text
    line = to_json({text: [text, {"x": text}]})
    assert (is_calm(line), len(line.splitlines())) == (True, 1)
    line.encode("utf-8")
    if all(unicodedata.category(char) != "Cs" for char in text):
        assert strict(line) == {text: [text, {"x": text}]}
        assert strict(to_json([text], is_ascii=True)) == [text]


def test_letters_of_any_script_stay() -> None:
    for text in ("今天天气很好。　", "e\u0301 o\u0308", "שלום، مرحبا", "👍🏽 🇩🇪 1️⃣", "हिन्दी", "🫠"):
        assert for_terminal(text) == text
        assert single_line(text).strip() == text.strip()
    for text in (
        "می\u200cخواهم",
        "क\u094d\u200dष",
        "👨\u200d👩\u200d👧",
        "🏴\U000e0067\U000e0062\U000e007f",
        "\u06dd٣",
    ):
        assert single_line(text) == text
    assert single_line("a\u202eb\x1b[0mc\u2028d\x00\ufeff") == "ab[0mc d"
    assert for_terminal("x" * 5_000).count("x") < 1_001
    assert for_terminal("x" * 5_000 + " is wrong; do y").endswith("is wrong; do y")


def test_urls_are_shown_without_credentials() -> None:
    for url, bare in (
        ("https://user:pa@ss@host/a?b=c", "https://host/a"),
        ("https://token@host/a", "https://host/a"),
        ("s3://bucket/key?X-Amz-Signature=abc", "s3://bucket/key"),
        ("https://x.blob.core.windows.net/c?sv=1&sig=abc%3D", "https://x.blob.core.windows.net/c"),
        ("sftp://user:secret@host/a", "sftp://host/a"),
        ("zip::https://u:p?w@host/a.zip", "zip::https://host/a.zip"),
        ("abfs://container@account.dfs.core.windows.net/a", "abfs://container@account.dfs.core.windows.net/a"),
        ("file:///what?.wav", "file:///what?.wav"),
        ("http://127.0.0.1:9000/a@b", "http://127.0.0.1:9000/a@b"),
    ):
        assert without_credentials(f"'{url}': is wrong, see {url}") == f"'{bare}': is wrong, see {bare}"
    report_line = strict(terminal.summary_json({"export": "https://user:pass@host/x?sig=1"}))
    assert report_line == {"export": "https://host/x"}


def test_only_the_report_prints() -> None:
    for path in [*ROOT.glob("actors/**/*.py"), *ROOT.glob("jobs/**/*.py")]:
        if path.name != "terminal.py":
            calls = [node.func for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.Call)]
            said = {each.id if isinstance(each, ast.Name) else getattr(each, "attr", "") for each in calls}
            assert not said & {"print", "Console", "writelines"}, path


HARD = {
    "nan": [math.nan, math.inf, -math.inf, 1.5],
    "surrogate \ud800": "\udfff",
    "large": 10**400,
    "bytes": {"raw": b"\x00\xff"},
    "when": [datetime(2026, 1, 2, tzinfo=UTC), date(2026, 1, 2)],
    "price": Decimal("1.50"),
    "lines": "a\u2028b\u0085c\n\x9b",
    3: {None: (1, 2)},
}


def test_extra_is_json_for_others(tmp_path: Path) -> None:
    deep: Any = "bottom"
    for _ in range(5_000):
        deep = [deep]
    recording = Recording("a", "file:///a.wav", "e", None, extra=HARD | {"deep": deep})
    (row,) = to_rows(recording, piece_of(()), ReadSettings())
    told = strict(row["extra"])
    assert told["nan"] == [None, None, None, 1.5]
    assert told["surrogate \\ud800"] == "\\udfff"
    assert told["large"] is None
    assert told["bytes"] == {"raw": "AP8="}
    assert told["when"] == ["2026-01-02T00:00:00+00:00", "2026-01-02"]
    assert (told["price"], told["lines"], told["3"]) == ("1.50", "a\u2028b\u0085c\n\x9b", {"None": [1, 2]})
    assert subprocess.run(["jq", "-e", "."], input=row["extra"].encode(), capture_output=True).returncode == 0
    asked = "SELECT json_extract($1::JSON, '$.nan[3]'), json_valid($1)"
    assert duckdb.execute(asked, [row["extra"]]).fetchall() == [("1.5", True)]


@pytest.mark.parametrize(
    "text",
    [
        "[" * 100_000,
        "[" * 800 + "]" * 800,
        '{"a":' * 500 + "1" + "}" * 500,
        "7" * 5_000,
        f'{{"n": -{"1" * 400}}}',
        "{",
        "",
    ],
)
def test_json_that_is_none_is_a_companion_that_says_so(text: str) -> None:
    with pytest.raises(InvalidJson):
        parse_json(text)
    fields = companion_fields(".json", text.encode())
    assert fields == {"unreadable_json": text[:200]}
    assert strict(to_json(split_fields(fields)[1]))


def test_json_of_python_is_read() -> None:
    fields = companion_fields(
        ".json", b'{"text": "a", "text": "b", "snr": NaN, "n": 1e999, "s": "\\ud800", "t": "\\u2028"}'
    )
    reference, extra = split_fields(fields)
    assert reference == "b"
    assert strict(to_json(extra)) == {"snr": None, "n": None, "s": "\\ud800", "t": "\u2028"}
    edge = "[" * MAX_DEPTH + "]" * MAX_DEPTH
    assert to_json(parse_json(edge)) == edge


def test_configuration_mistakes_are_a_line_each(job: Any, tmp_path: Path) -> None:
    where = (f"output.uri={tmp_path / 'out'}", "model.engine=fast", "input.limit=0")
    status, _, seen = job(*where, main=plan.main)
    assert status == 2
    assert [line.split(":")[1].strip() for line in seen.splitlines()] == ["input.limit", "model.engine"]
    status, _, seen = job("input.uri='ftp\x1b[31m\u202e://x'", main=plan.main)
    assert (status, is_calm(seen)) == (2, True)
    status, _, seen = job(f'input.uri="{tmp_path}/no\\nstatus 0 [red]\\u202e"', main=plan.main)
    assert (status, is_calm(seen), "[red]" in seen) == (2, True, True)
    assert "\nstatus 0" not in seen
