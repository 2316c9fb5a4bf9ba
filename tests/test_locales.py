"""Names of files are bytes in any locale, and nothing that is printed is lost for want of a character."""

import ast
import io
import json
import os
import shutil
import subprocess
import sys
import tarfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from conftest import ROOT, encoded, piece_of, tone
from test_export import row_of

from actors.parts.commit import commit_unit
from actors.schema import PART_SCHEMA
from actors.storage.place import Place
from actors.units import SourceObject, Unit
from jobs.cli.terminal import read_json

LOCALES = {"gbk": ("zh_CN", "GBK"), "euc-jp": ("ja_JP", "EUC-JP"), "euc-kr": ("ko_KR", "EUC-KR")}
LOCALES |= {"latin-1": ("de_DE", "ISO-8859-1"), "big5": ("zh_TW", "BIG5")}
UTF8 = {"LC_ALL": "C.UTF-8"}
#: Names in UTF-8, in GBK and in none.
NAMES = [
    "今天.wav".encode(),
    "会议/录音 1.wav".encode(),
    "会议".encode("gbk") + b"2.wav",
    b"a\xff\x81.wav",
    "é.wav".encode(),
]


@pytest.fixture(scope="session")
def locales(tmp_path_factory: pytest.TempPathFactory) -> dict[str, dict[str, str]]:
    """Environments by the encoding of their locale. glibc's locales are made for the test, where that can be."""
    made = {"ascii": {"LC_ALL": "C", "PYTHONCOERCECLOCALE": "0", "PYTHONUTF8": "0"}}
    folder = tmp_path_factory.mktemp("locales")
    for encoding, (name, charmap) in LOCALES.items() if shutil.which("localedef") else ():
        path = folder / f"{name}.{charmap}"
        subprocess.run(["localedef", "-i", name, "-f", charmap, str(path)], capture_output=True, check=False)
        if path.is_dir():
            made[encoding] = {"LC_ALL": path.name, "LOCPATH": str(folder)}
    return made


@pytest.fixture(params=["ascii", "gbk", "latin-1", "euc-jp"])
def foreign(request: pytest.FixtureRequest, locales: dict[str, dict[str, str]]) -> dict[str, str]:
    if request.param not in locales:
        pytest.skip(f"no localedef here that makes a locale of {request.param}")
    return locales[request.param]


def run(
    module: str, environment: Mapping[str, str], *arguments: str | bytes, config: str = "configs/demo.yaml"
) -> tuple[int, bytes, bytes]:
    """Status, standard output and standard error of a job in an environment without other settings of locales."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("LC_", "LANG", "PYTHON"))}
    command = [sys.executable, "-m", f"jobs.{module}", config, *arguments]
    done = subprocess.run(command, env=kept | environment, cwd=ROOT, capture_output=True, timeout=120, check=False)
    return done.returncode, done.stdout, done.stderr


def write_names(folder: Path) -> Path:
    for name in NAMES:
        path = os.path.join(os.fsencode(folder), name)
        os.makedirs(os.path.dirname(path), exist_ok=True)
        Path(os.fsdecode(path)).write_bytes(encoded(tone(1)))
    return folder


def output_of(folder: Path, names: list[str]) -> Path:
    rows = [row_of(name, text="今天天气", uri="file:///a.tar", member=name, reference="今天") for name in names]
    unit = Unit("0a", "f", (SourceObject("file:///a.tar", "file:///a.tar", "a.tar", "tar", "e", 9),))
    commit_unit(unit, [pa.Table.from_pylist(rows, schema=PART_SCHEMA)], Place.at(str(folder)))
    return folder


@pytest.mark.usefixtures("ray_two_cpus")
def test_what_is_done_is_done_in_every_locale(job: Any, tmp_path: Path, locales: dict[str, dict[str, str]]) -> None:
    where = [f"input.uri={write_names(tmp_path / '输入')}", f"output.uri={tmp_path / '输出'}"]
    status, summary, _ = job(*where)
    assert (status, summary["recordings"], summary["errors"]) == (0, len(NAMES), {})
    parts = {path: path.stat().st_mtime_ns for path in (tmp_path / "输出").glob("part-*")}
    for encoding, environment in locales.items():
        status, out, err = run("plan", environment, *map(os.fsencode, where))
        assert status == 0, err
        assert b"Traceback" not in err
        units = json.loads(out)["units"]
        assert (units["new"], units["redo"], units["remove"]) == (0, 0, 0), encoding
    name = "gbk" if "gbk" in locales else "ascii"
    status, out, err = run("transcribe", locales[name], *map(os.fsencode, where))
    assert (status, json.loads(out)["recordings"], json.loads(out)["totals"]["recordings"]) == (0, 0, len(NAMES)), err
    assert {path: path.stat().st_mtime_ns for path in (tmp_path / "输出").glob("part-*")} == parts


def test_a_run_in_a_foreign_locale_reads_what_is_there(tmp_path: Path, locales: dict[str, dict[str, str]]) -> None:
    """Its workers, too: they inherit the mode."""
    where = [f"input.uri={write_names(tmp_path / '输入')}", f"output.uri={tmp_path / '输出'}"]
    name = "gbk" if "gbk" in locales else "ascii"
    status, out, err = run("transcribe", locales[name], *map(os.fsencode, where))
    assert (status, json.loads(out)["recordings"], json.loads(out)["errors"]) == (0, len(NAMES), {}), err
    rows = [row for part in (tmp_path / "输出").glob("part-*") for row in pq.read_table(part).to_pylist()]
    names = {name.decode("utf-8", "surrogateescape") for name in NAMES}
    assert {row["recording_id"] for row in rows} == {
        name.encode("utf-8", "backslashreplace").decode() for name in names
    }
    status, out, _ = run("plan", UTF8, *where)
    assert json.loads(out)["units"] == {"new": 0, "redo": 0, "done": 1, "remove": 0}


def test_names_are_exported_as_they_are(tmp_path: Path, foreign: dict[str, str]) -> None:
    output = output_of(tmp_path / "输出", ["会议/今天.wav", "é.wav", "\N{GRINNING FACE}.wav"])
    for kind in ("srt", "jsonl"):
        where = [f"output.uri={output}", f"export.uri={tmp_path / '字幕'}", f"export.format={kind}"]
        status, out, err = run("export", foreign, *map(os.fsencode, where))
        assert (status, json.loads(out)["recordings"]) == (0, 3), err
        assert json.loads(out)["export"] == f"file://{tmp_path / '字幕'}"
    found = sorted(str(path.relative_to(tmp_path / "字幕")) for path in (tmp_path / "字幕").rglob("*.srt"))
    assert found == sorted(["会议/今天.srt", "é.srt", "\N{GRINNING FACE}.srt"])
    assert "今天天气" in (tmp_path / "字幕" / "all.jsonl").read_text(encoding="utf-8")
    assert "\n今天\n" in (tmp_path / "字幕" / "é.srt").read_text(encoding="utf-8")
    status, out, err = run("evaluate", foreign, os.fsencode(f"output.uri={output}"))
    assert (status, json.loads(out)["all"]["recordings"]) == (0, 3), err
    assert b"Traceback" not in err


def test_a_configuration_is_utf_8_in_every_locale(tmp_path: Path, foreign: dict[str, str]) -> None:
    folder = write_names(tmp_path / "录音")
    text = (ROOT / "configs" / "demo.yaml").read_text(encoding="utf-8").replace("demo/audio", str(folder))
    (tmp_path / "配置.yaml").write_text(text, encoding="utf-8")
    where = os.fsencode(f"output.uri={tmp_path / 'out'}")
    status, out, err = run("plan", foreign, where, config=str(tmp_path / "配置.yaml"))
    assert (status, json.loads(out)["objects"]) == (0, {"audio": len(NAMES)}), err
    status, _, err = run("plan", foreign, where, f"input.uri={tmp_path / '没有'}")
    assert (status, err.splitlines()[-1].startswith(b"configuration: input.uri:")) == (2, True)
    assert b"Traceback" not in err


@pytest.mark.parametrize("locale", [{}, {"LC_ALL": "C", "PYTHONCOERCECLOCALE": "0", "PYTHONUTF8": "0"}])
def test_commands_need_no_environment(tmp_path: Path, locale: dict[str, str]) -> None:
    """As cron starts them: without HOME, LANG and TERM, and with standard input closed."""
    shutil.copy(ROOT / "demo" / "audio" / "loose" / "00.wav", tmp_path / "今天.wav")

    def run(*arguments: str) -> tuple[int, str, str]:
        command = ["/bin/sh", "-c", 'exec "$@" 0<&-', "sh", sys.executable, "-m", "jobs", *arguments]
        environment = locale | {"PATH": "/usr/bin:/bin", "PYTHONPATH": str(ROOT)}
        environment["CITRASCRIBE_CACHE"] = os.environ["CITRASCRIBE_CACHE"]
        done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=120)
        return done.returncode, done.stdout, done.stderr

    model = f"model.name={ROOT / 'demo' / 'citrinet_zh_demo.nemo'}"
    status, _, err = run("init", "配置.yaml", "input.uri=今天.wav", "output.uri=文字", model)
    assert status == 0, err
    status, out, err = run("plan", "配置.yaml")
    assert (status, json.loads(out)["objects"]) == (0, {"audio": 1}), err
    status, out, err = run("transcribe-file", "今天.wav", "--config", "配置.yaml", "--json")
    found = json.loads(out)
    assert (status, found["recording_id"], found["text"]) == (0, "今天.wav", "今天早上司机在公园买东西"), err


@pytest.mark.parametrize(
    "streams",
    ["ascii", "gbk", "gbk:strict", "utf-16", "cp1252", "latin-1:ignore", "utf-8-sig", "cp037"],
)
def test_a_standard_output_of_any_encoding_loses_no_json(tmp_path: Path, streams: str) -> None:
    name = "会议/今天\N{GRINNING FACE}.wav"
    output = output_of(tmp_path / "输出", [name])
    (tmp_path / "into" / "会议" / "今天\N{GRINNING FACE}.srt").mkdir(parents=True)
    where = (f"output.uri={output}", f"export.uri={tmp_path / 'into'}")
    status, out, err = run("export", UTF8 | {"PYTHONIOENCODING": streams}, *where)
    summary = read_json(out.decode(streams.partition(":")[0]))
    assert (status, summary["failures"][0]["recording_id"]) == (1, name)
    text = err.decode(streams.partition(":")[0], "replace")
    assert "Traceback" not in text
    assert "files that could not be written" in text


@pytest.mark.parametrize("streams", ["ascii", "utf-16"])
@pytest.mark.parametrize("module", ["plan", "transcribe", "export", "evaluate", "benchmark"])
def test_help_is_printed_in_any_encoding(module: str, streams: str) -> None:
    status, out, err = run(module, UTF8 | {"PYTHONIOENCODING": streams}, config="--help")
    assert (status, err) == (0, b"")
    assert f"jobs.{module}" in out.decode(streams)


def test_what_cannot_start_anew_is_refused_by_name(tmp_path: Path, locales: dict[str, dict[str, str]]) -> None:
    """A caller within Python cannot; nor can an interpreter that is told to ignore the environment."""
    name, environment = next((each for each in locales.items() if each[0] != "ascii"), ("ascii", locales["ascii"]))
    kept = {each: value for each, value in os.environ.items() if not each.startswith(("LC_", "LANG", "PYTHON"))}
    call = f"import sys; from jobs import plan; sys.exit(plan.main(['configs/demo.yaml', 'output.uri={tmp_path}/out']))"
    ignoring = ["-X", "utf8=0", "-m", "jobs.plan", "configs/demo.yaml", f"output.uri={tmp_path}/out"]
    for arguments in (["-c", call], ignoring):
        command = [sys.executable, *arguments]
        done = subprocess.run(command, env=kept | environment, cwd=ROOT, capture_output=True, timeout=60, check=False)
        assert done.returncode == 2, done.stderr
        assert f"reads file names as {name.replace('latin-1', 'iso8859-1')}".encode() in done.stderr
        assert b"set PYTHONUTF8=1" in done.stderr
        assert b"Traceback" not in done.stderr


WORKER = """
import sys
from actors import stages
from actors.blocks import outcome_of, start
from actors.engine.models import ModelFile
from actors.engine.vocabulary import Vocabulary
from actors.sources.objects import ReadSettings
from actors.storage.place import Place
from actors.writer import WriteSettings
import pyarrow as pa
block = pa.Table.from_pylist([{"piece": sys.stdin.buffer.read().decode("ascii")}])
print(outcome_of(stages.ReadBlock(None, Place.at(sys.argv[1]))(block)).reason)
settings = WriteSettings(ModelFile("m", "m"), Vocabulary(("a",)), "run", ReadSettings())
print(outcome_of(stages.CommitBlock(settings, Place.at(sys.argv[1]), "a")(block)).reason)
"""


def test_a_worker_in_another_locale_makes_no_rows(tmp_path: Path, foreign: dict[str, str]) -> None:
    uri = f"file://{write_names(tmp_path / 'in')}/今天.wav"
    piece = piece_of([SourceObject(uri, uri, "今天.wav", "audio", "e", 9)])
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("LC_", "LANG", "PYTHON"))}
    done = subprocess.run(
        [sys.executable, "-c", WORKER, str(tmp_path / "out")],
        input=piece.to_json().encode("ascii"),
        env=kept | foreign,
        cwd=ROOT,
        capture_output=True,
        timeout=60,
        check=False,
    )
    assert done.stdout.count(b"set PYTHONUTF8=1 in the environment, of `ray start` too") == 2, done.stderr
    assert not (tmp_path / "out").exists()


TAR = """
import sys
from actors.sources.tar_headers import members, open_plain_tar, open_tar
from actors.sources.tar_streams import GuardedFile
for opened in (open_tar(open(sys.argv[1], "rb")), open_plain_tar(open(sys.argv[1], "rb"))):
    for member in members(opened):
        print(ascii(member.name))
"""


def test_names_in_tars_do_not_depend_on_the_locale(tmp_path: Path, foreign: dict[str, str]) -> None:
    with tarfile.open(tmp_path / "a.tar", "w", format=tarfile.GNU_FORMAT, encoding="utf-8") as archive:
        for name in NAMES:
            archive.addfile(tarfile.TarInfo(name.decode("utf-8", "surrogateescape")), io.BytesIO())
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("LC_", "LANG", "PYTHON"))}
    command = [sys.executable, "-c", TAR, str(tmp_path / "a.tar")]
    done = subprocess.run(command, env=kept | foreign, cwd=ROOT, capture_output=True, timeout=60, check=False)
    expected = [ascii(name.decode("utf-8", "surrogateescape")) for name in NAMES]
    assert done.stdout.decode("ascii").splitlines() == expected * 2, done.stderr


FILES = sorted(path.relative_to(ROOT) for top in ("jobs", "actors", "demo") for path in ROOT.glob(f"{top}/**/*.py"))


@pytest.mark.parametrize("path", FILES, ids=str)
def test_text_has_a_named_encoding(path: Path) -> None:
    """What reads or writes text says in which encoding, or it would be the locale's."""
    for node in ast.walk(ast.parse((ROOT / path).read_text(encoding="utf-8"))):
        if not isinstance(node, ast.Call):
            continue
        call, named = ast.unparse(node.func), {each.arg for each in node.keywords}
        modes = "".join(str(each.value) for each in node.args[-1:] if isinstance(each, ast.Constant))
        is_text = call.endswith((".read_text", ".write_text")) or call == "tarfile.open"
        is_text |= call in ("open", "os.fdopen") and "b" not in modes
        is_text |= call.startswith("subprocess.") and bool(named & {"text", "universal_newlines"})
        assert not is_text or "encoding" in named, f"{path}:{node.lineno}: {ast.unparse(node)}"
