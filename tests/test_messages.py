"""Mistakes, each told in one sentence that names the key or the file and what would be right."""

import gzip
import json
import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
from conftest import ROOT

from actors.engine.models import resolve
from actors.schema import UsageError
from jobs import transcribe
from jobs.cli.config import Config, ConfigError
from jobs.cli.kinds import kinds_of
from jobs.cli.loading import load
from jobs.planning.recipe import differences
from jobs.running.budget import advice_to_retry

CONFIG = {"input": {"uri": "a"}, "output": {"uri": "b"}, "model": {"name": "c"}}
KEYS = [(name, key) for name, section in Config.model_fields.items() for key in section.annotation.model_fields]
WRONG = ["", "4", "-1", "0", "x", "left", "[]", "[8,1]", "[0, 1]", "[a, b]", "[1, 2, 3]", "[[a]]", "{a: 1}", "{", "["]
WRONG += ["true", "1e30", "null", "1.5", "~", "'", '"a', "NaN", "\N{ESCAPE}[31m", "今天", "x" * 500]
OF_THE_VALIDATOR = (
    "Input should",
    "validation error",
    "pydantic",
    "ErrorKind",
    "None",
    "Literal",
    "constrained",
    "tuple",
)


def sentences(*overrides: str) -> tuple[str, ...]:
    """What is told of a mistake; nothing if there is none."""
    try:
        load(str(ROOT / "configs/demo.yaml"), [*overrides])
    except ConfigError as problem:
        return problem.args
    return ()


@pytest.mark.parametrize(
    ("override", "told"),
    [
        (
            "ray.actors=4",
            "ray.actors: must be 'auto' or a list of two whole numbers, such as [1, 8], not 4; write [4, 4] for exactly"
            " 4, or [1, 4] for up to 4",
        ),
        ("ray.actors=[8,1]", "ray.actors: the minimum (8) is more than the maximum (1); write [1, 8]"),
        ("ray.actors=[]", "ray.actors: must be 'auto' or a list of two whole numbers, such as [1, 8]"),
        ("ray.actors=[0, 4]", "ray.actors: must be 'auto' or a list of two whole numbers, such as [1, 8], not 0"),
        ("audio.channel=left", "audio.channel: must be 'average', 'each' or a whole number from 0, not 'left'"),
        (
            "audio.track=english",
            "audio.track: must be best, or the number of one audio track from 0, or its language as in ISO 639, such as"
            " eng, not 'english'",
        ),
        ("history.run=first", "history.run: must be 'last', a whole number above 0 or null, not 'first'"),
        ("errors.retry=mising", "errors.retry: must be a list of kinds of error, not 'mising'; did you mean missing?"),
        ("input.include=", "input.include: must be a list of names, and is empty; write [] for none"),
        ("output.uri=", "output.uri: must be text, and is empty"),
        ("output.max_removed_fraction=5", "output.max_removed_fraction: must be a number from 0 to 1, not 5"),
        ("input.storage_options=4", "input.storage_options: must be a mapping, such as {anon: true}"),
        (
            "device=cuda",
            "'device': an override is section.key=value, such as input.sample=10; did you mean model.device?",
        ),
        ("model=x", "'model': an override is section.key=value, such as input.sample=10; did you mean model.name?"),
        ("input.on_mismatch=keep", "input.on_mismatch: no such key; did you mean output.on_mismatch?"),
        ("history.x=3", "history.x: no such key; history has run, limit"),
        ("modle.name=x", "modle: no such section; did you mean model?"),
    ],
)
def test_one_sentence_tells_a_mistake(override: str, told: str) -> None:
    assert sentences(override) == (told,)


def test_what_a_new_section_would_be_is_told_by_all_there_are() -> None:
    (told,) = sentences("zzz.x=3")
    assert told.startswith("zzz: no such section; there are input, output, model, ")


def test_the_kinds_of_error_are_told() -> None:
    (told,) = sentences("errors.retry=zzz")
    assert told.startswith(
        "errors.retry: must be a list of kinds of error, not 'zzz'; the kinds are archived, bad_entry,"
    )


def test_an_override_in_several_words_is_one_mistake() -> None:
    (told,) = sentences("input.limit", "=", "hunter2")
    assert "in one word, such as input.sample=10, without spaces" in told
    assert "hunter2" not in told


@pytest.mark.parametrize("key", [".".join(each) for each in KEYS])
def test_a_wrong_value_is_one_sentence_that_begins_with_its_key(key: str) -> None:
    for value in WRONG:
        told = sentences(f"{key}={value}")
        assert len(told) <= 1, told
        for sentence in told:
            assert sentence.startswith(f"{key}: "), sentence
            assert not any(word in sentence for word in OF_THE_VALIDATOR), sentence
            assert len(sentence) < 400, sentence
            assert "\n" not in sentence


@pytest.mark.parametrize("key", [".".join(each) for each in KEYS if each[1] not in ("storage_options",)])
def test_a_file_s_value_of_another_type_is_one_sentence(key: str, tmp_path: Path) -> None:
    name, of_section = key.split(".")
    values: dict[str, dict[str, object]] = {"input": {"uri": "a"}, "output": {"uri": "b"}, "model": {"name": "c"}}
    annotation = Config.model_fields[name].annotation
    assert annotation
    is_list = kinds_of(annotation.model_fields[of_section].annotation).items is not None
    for wrong in ({"a": 1}, [[["x"]]], [{"a": "b"}]):
        told = values | {name: values.get(name, {}) | {of_section: wrong}}
        (tmp_path / "config.yaml").write_text(json.dumps(told))
        with pytest.raises(ConfigError) as caught:
            load(str(tmp_path / "config.yaml"), [])
        (sentence,) = caught.value.args
        assert sentence.startswith(f"{key}: must be ")
        assert sentence.endswith(("a mapping", "a list")) or is_list
        assert not any(word in sentence for word in OF_THE_VALIDATOR), sentence


@pytest.mark.parametrize(
    ("key", "names"),
    [
        ("input.include", ["*.wav"]),
        ("input.exclude", ["*.wav"]),
        ("input.redo", ["a.wav"]),
        ("input.allowed_roots", ["/data"]),
        ("errors.retry", ["missing"]),
        ("errors.accept", ["missing"]),
        ("export.channel_names", ["caller"]),
        ("benchmark.sides", ["fused"]),
    ],
)
def test_one_name_is_a_list_of_one(key: str, names: list[str]) -> None:
    name, of_section = key.split(".")
    assert getattr(getattr(load(str(ROOT / "configs/demo.yaml"), [f"{key}={names[0]}"]), name), of_section) == names


@pytest.mark.parametrize(
    ("name", "told"),
    [
        ("configs", "configs is a folder; give a YAML file, such as configs/demo.yaml"),
        (
            "configs/none.yaml",
            "there is no config file 'configs/none.yaml'; python -m jobs.init writes one to begin with",
        ),
        ("input.uri=s3://key:hunter2@b", "the first argument must be a YAML file, such as configs/demo.yaml"),
        ("demo/citrinet_zh_demo.nemo", "demo/citrinet_zh_demo.nemo is not UTF-8 text; give a YAML file"),
        ("a\0b", "cannot be read: embedded null byte"),
    ],
)
def test_what_is_no_config_file(name: str, told: str) -> None:
    with pytest.raises(ConfigError) as caught:
        load(name, [])
    (sentence,) = caught.value.args
    assert told in sentence
    assert "hunter2" not in sentence


def test_a_job_without_arguments_shows_how_it_is_called() -> None:
    command = [sys.executable, "-m", "jobs.transcribe"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=100)
    assert done.returncode == 2
    told = json.loads(done.stdout)
    assert told["error"] == "no configuration is given, as in: python -m jobs.transcribe configs/demo.yaml"
    assert done.stderr.startswith("usage: python -m jobs.transcribe")
    assert done.stderr.splitlines()[-1].endswith(told["error"])


NEMO = ROOT / "demo/citrinet_zh_demo.nemo"
NO_MODELS = {
    "empty": (b"", "it is empty"),
    "text": (b"hello\n", "it is a text file"),
    "chinese text": ("今天天气很好\n".encode() * 100, "it is a text file"),
    "pointer": (
        b"version https://git-lfs.github.com/spec/v1\noid sha256:0\n",
        "it is a pointer of Git LFS; run git lfs pull",
    ),
    "page": (b"<!DOCTYPE html>\n<html>", "it is a web page; give the URL of the file itself"),
    "noise": (bytes(range(256)) * 40, "it is no tar"),
    "half": (NEMO.read_bytes()[:200_000], "it ends early; copy or download it again"),
    "head": (NEMO.read_bytes()[:700], "it ends early; copy or download it again"),
    "half of a gzip": (gzip.compress(NEMO.read_bytes())[:100_000], "it ends early; copy or download it again"),
    "gzipped text": (gzip.compress(b"hello\n" * 300), "it is no tar"),
}


@pytest.mark.parametrize("kind", NO_MODELS)
def test_what_is_no_model(kind: str, tmp_path: Path) -> None:
    content, told = NO_MODELS[kind]
    path = tmp_path / "model.nemo"
    path.write_bytes(content)
    with pytest.raises(UsageError) as caught:
        resolve(str(path), None, {})
    assert str(caught.value).startswith(f"model.name: {path}: it is not a .nemo file: {told}")


def test_archives_of_other_kinds_are_no_models(tmp_path: Path) -> None:
    path = tmp_path / "model.zip"
    with zipfile.ZipFile(path, "w") as file:
        file.writestr("archive/data.pkl", "x")
    with pytest.raises(
        UsageError, match=r"model\.zip: it is not a \.nemo file: it is a zip archive, as .*\.ckpt.* are"
    ):
        resolve(str(path), None, {})
    shutil.make_archive(str(tmp_path / "other"), "tar", ROOT / "configs")
    with pytest.raises(UsageError, match=r"other\.tar: it is not a \.nemo file: it holds no model_config\.yaml"):
        resolve(str(tmp_path / "other.tar"), None, {})


def test_a_folder_is_no_model(tmp_path: Path) -> None:
    folder = tmp_path / "models.nemo"
    folder.mkdir()
    with pytest.raises(UsageError, match=r"models\.nemo: it is a folder; give a \.nemo file$"):
        resolve(str(folder), None, {})
    shutil.copy(NEMO, folder / "zh.nemo")
    with pytest.raises(UsageError, match=r"it is a folder; give a \.nemo file, such as .*/models\.nemo/zh\.nemo$"):
        resolve(str(folder), None, {})


def test_a_gpu_is_asked_for_where_there_is_none(
    tmp_path: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    keys = [f"output.uri={tmp_path / 'out'}", "input.uri=demo/audio/loose/00.wav", "model.device=cuda"]
    assert transcribe.main(["configs/demo.yaml", *keys]) == 2
    seen = capfd.readouterr()
    told = "model.device: cuda is asked for, and this machine has no GPU that can be used; set model.device=cpu"
    assert json.loads(seen.out.splitlines()[-1])["error"] == f"configuration: {told}"
    assert "starting Ray" not in seen.err


MOUNTS = subprocess.run(["unshare", "-rm", "true"]).returncode == 0


def on_a_full_disk(folder: Path, size: str, command: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """What a command does where `folder` is a disk of that size."""
    folder.mkdir(exist_ok=True)
    script = f"mount -t tmpfs -o mode=700,size={size} none {folder}\n{sys.executable} -m {command}\n"
    called = ["unshare", "-rm", "sh", "-c", script]
    return subprocess.run(called, cwd=ROOT, env=os.environ | environment, capture_output=True, text=True, timeout=200)


def told_by(done: subprocess.CompletedProcess[str]) -> str:
    assert "Traceback" not in done.stderr
    return str(json.loads(done.stdout.splitlines()[-1])["error"])


@pytest.mark.skipif(not MOUNTS, reason="may not mount")
def test_a_full_disk_is_named_for_the_output_the_cache_and_the_temporary_folder(tmp_path: Path) -> None:
    full, run = tmp_path / "full", "jobs.transcribe configs/demo.yaml input.uri=demo/audio/loose/00.wav"
    done = on_a_full_disk(full, "4k", f"{run} output.uri={full}/out")
    told = told_by(done)
    assert done.returncode == 1
    assert told.startswith(f"storage: [Errno 28] No space left on device: '{full}/out/_runs/")
    assert told.endswith("; free some room on that disk, and run the job again")
    done = on_a_full_disk(full, "4k", f"{run} output.uri={tmp_path}/out", CITRASCRIBE_CACHE=f"{full}/cache")
    assert done.returncode == 2
    assert f"the cache folder {full}/cache/" in told_by(done)
    assert told_by(done).endswith("free some there, or set CITRASCRIBE_CACHE to another folder")
    done = on_a_full_disk(full, "16k", f"{run} output.uri={tmp_path}/out", RAY_TMPDIR=str(full))
    assert done.returncode == 2
    assert f"needs 30 MB of room in {full}, which has less; free some there, or set RAY_TMPDIR to" in told_by(done)


def test_a_file_of_the_cache_may_be_refused_by_a_limit(tmp_path: Path) -> None:
    script = (
        "import resource\n"
        "from pathlib import Path\n"
        "from actors.storage.cache import new_file\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))\n"
        f"with new_file(Path({str(tmp_path / 'a' / 'b.bin')!r})) as path:\n"
        "    path.write_bytes(bytes(2000))\n"
    )
    done = subprocess.run([sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, timeout=100)
    assert f"MachineError: the cache folder {tmp_path / 'a'} is on a disk that is full, and has no room" in done.stderr
    assert not list((tmp_path / "a").iterdir())


@pytest.mark.parametrize(
    ("errors", "told"),
    [
        ({}, None),
        ({"empty": 3, "not_audio": 1, "unreachable": 2}, None),
        ({"missing": 2, "empty": 1}, "2 missing: runs do not try these again by themselves while the files stay"),
        ({"missing": 1, "crashed": 2}, "2 crashed, 1 missing: runs do not try"),
    ],
)
def test_errors_that_may_be_tried_again_say_how(errors: dict[str, int], told: str | None) -> None:
    said = advice_to_retry(errors)
    assert (said is None) == (told is None)
    if said and told:
        assert said.startswith(told)
        kinds = said.partition("errors.retry=")[2].partition("'")[0]
        config = load(str(ROOT / "configs/demo.yaml"), [f"errors.retry={kinds}"])
        assert set(config.errors.retry) == {"missing", "crashed"} & set(errors)


def test_only_what_changed_is_told_with_both_values() -> None:
    before = Config.model_validate(CONFIG).audio.recipe()
    audio = CONFIG | {"audio": {"track": "eng", "max_hours": 3, "channel": 1}}
    now = Config.model_validate(audio).audio.recipe()
    heard = {"precision": "bfloat16", "segmentation": {"vad": "none", "max_seconds": 20.0}}
    other = {"segmentation": {"max_seconds": 20.0, "vad": "silero"}, "precision": "int8"}
    assert sorted(differences(heard | {"audio": before}, {"audio": now} | other)) == [
        "audio.channel was average and is 1",
        "audio.max_hours was 24 and is 3",
        "audio.track was best and is eng",
        "model.precision was bfloat16 and is int8",
        "segmentation.vad was none and is silero",
    ]
    assert differences({"tokens": True}, {"tokens": False}) == ["output.tokens was true and is false"]
