"""Messages that name the key and what would be right."""

from itertools import pairwise
from pathlib import Path

import pytest
from conftest import ROOT

from jobs.cli import config_page
from jobs.cli.config import Config, ConfigError
from jobs.cli.loading import load

BASE = "input: {uri: a}\noutput: {uri: b}\nmodel: {name: c}\n"


@pytest.fixture
def file(tmp_path: Path) -> str:
    path = tmp_path / "config.yaml"
    path.write_text(BASE)
    return str(path)


def test_overrides_replace_and_are_yaml(file: str) -> None:
    config = load(
        file, ["input.uri=[x, y]", "ray.actors=[2, 8]", "errors.max_fraction=0", "audio.channel=1", "input.limit=10"]
    )
    assert config.input.uris == ["x", "y"]
    assert config.ray.actors == (2, 8)
    assert (config.errors.max_fraction, config.audio.channel, config.input.limit) == (0, 1, 10)
    assert load(file, []).unit.target_minutes == "auto"


@pytest.mark.parametrize("name", ["demo", "local", "s3", "aishell2"])
def test_the_configs_that_come_with_the_project(name: str) -> None:
    load(f"configs/{name}.yaml", [])


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("input.fromat=tar", "input.fromat: no such key; did you mean input.format?"),
        ("modle.name=x", "did you mean model"),
        (
            "input.format=zip",
            "input.format: must be 'auto', 'audio', 'tar', 'parquet', 'manifest' or 'kaldi', not 'zip'",
        ),
        ("input.limit=0", "input.limit: must be a whole number above 0 or null, not 0"),
        ("ray.actors=[4, 2]", "the minimum (4) is more than the maximum (2)"),
        ("errors.max_fraction=5%", "errors.max_fraction"),
        ("input.uri", "an override is section.key=value"),
        ("limit=3", "an override is section.key=value"),
        ("input.uri=[a", "input.uri: a list begins with [ and must end with ]"),
        ("input.uri.deep=3", "'uri' is a value, not a section"),
        ("model.engine=fast", "model.engine"),
        ("decoding.candidates=0", "decoding.candidates: must be a whole number from 1 to 255, not 0"),
        ("decoding.candidates=256", "decoding.candidates: must be a whole number from 1 to 255, not 256"),
        ("output.emission=true", "did you mean output.emissions"),
    ],
)
def test_mistakes(file: str, override: str, message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        load(file, [override])
    assert message in str(caught.value)


def test_files_that_are_no_config(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="there is no config file"):
        load(str(tmp_path / "none.yaml"), [])
    for text in ("a: [", "- a list", "just words"):
        (tmp_path / "x.yaml").write_text(text)
        with pytest.raises(ConfigError, match=r"x\.yaml"):
            load(str(tmp_path / "x.yaml"), [])
    (tmp_path / "x.yaml").write_text("input: {uri: a}\n")
    with pytest.raises(ConfigError, match="output: this key is needed\nmodel: this key is needed"):
        load(str(tmp_path / "x.yaml"), [])


def test_secrets_come_from_the_environment(file: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for literal in (
        "input.storage_options.secret=hunter2",
        "output.storage_options={key: hunter2}",
        "model.storage_options={client_kwargs: {aws_session_token: hunter2}}",
    ):
        with pytest.raises(ConfigError, match="env:NAME") as caught:
            load(file, [literal])
        assert "hunter2" not in str(caught.value)
    config = load(file, ["input.storage_options={key: 'env:CITRA_KEY', endpoint_url: 'http://x'}"])
    assert "CITRA_KEY" not in repr(config.input)
    with pytest.raises(ConfigError, match="CITRA_KEY is not set"):
        config.input.options()
    monkeypatch.setenv("CITRA_KEY", "hunter2")
    assert config.input.options() == {"key": "hunter2", "endpoint_url": "http://x"}


@pytest.mark.parametrize(
    "key", ["input.uri", "output.uri", "export.uri", "evaluate.write", "model.name", "model.revision"]
)
@pytest.mark.parametrize("value", ['"a\\0b"', '"\\ud800"'], ids=["zero", "half"])
def test_a_name_that_storage_cannot_be_asked_for(file: str, key: str, value: str) -> None:
    with pytest.raises(ConfigError, match=f"{key}: contains a NUL byte or a lone surrogate"):
        load(file, [f"{key}={value}"])
    assert load(file, [r'input.uri="a\udcff"']).input.uri == "a\udcff"  # a byte that is not UTF-8


@pytest.mark.parametrize("key", ["export.min_seconds", "audio.max_hours", "output.lease_seconds", "evaluate.bootstrap"])
@pytest.mark.parametrize("value", [".inf", "1e308", "9223372036854775807", ".nan"])
def test_a_number_beyond_all_bounds(file: str, key: str, value: str) -> None:
    with pytest.raises(ConfigError, match=f"{key}: must be "):
        load(file, [f"{key}={value}"])


@pytest.mark.parametrize("inner", ["&a [*a]", "&a [x, {y: *a}]", "BOMB"])
def test_aliases_do_not_grow(file: str, inner: str) -> None:
    names = "abcdefghijk"
    lists = [f"&{new} [{', '.join([f'*{old}'] * 9)}]" for old, new in pairwise(names)]
    bomb = inner.replace("BOMB", f"[&a [x], {', '.join(lists)}]")
    told = "alias whose anchor|with aliases expanded"
    with pytest.raises(ConfigError, match=rf"input\.storage_options: it .*({told})"):
        load(file, [f"input.storage_options={{x: {bomb}}}"])
    Path(file).write_text(BASE + f"errors: {bomb}\n")
    with pytest.raises(ConfigError, match=told):
        load(file, [])


@pytest.mark.parametrize("override", ["--token hunter2", "input.secret hunter2", "input.secret:hunter2"])
def test_what_is_no_override_is_not_repeated(file: str, override: str) -> None:
    with pytest.raises(ConfigError, match=r"an override is section\.key=value") as caught:
        load(file, [override])
    assert "hunter2" not in str(caught.value)


def test_the_page_and_the_example_are_current() -> None:
    """`make docs` writes them."""
    assert (ROOT / config_page.PAGE).read_text() == config_page.page()
    assert (ROOT / config_page.LOCAL).read_text() == config_page.local_config()


def test_every_key_is_described() -> None:
    described = [line for line in config_page.page().splitlines() if line.startswith("| `")]
    keys = [f"{name}.{key}" for name, section in Config.model_fields.items() for key in section.annotation.model_fields]
    assert [line.split("`")[1] for line in described] == keys
    assert all(line.split(" | ")[-1].strip(" |") for line in described)


@pytest.mark.parametrize(
    ("keys", "message"),
    [
        (["segmentation.target_seconds=30"], "segmentation.target_seconds: 30 is more than max_seconds, 20"),
        (["export.min_seconds=9"], "export.min_seconds: 9 is more than max_seconds, 7"),
        (["ray.actors=[4, 2]"], "ray.actors: the minimum (4) is more than the maximum (2)"),
        (
            ["input.uri=https://me:pw@host/a"],
            "give the URL without it, and the login in input.storage_options as env:NAME",
        ),
    ],
)
def test_keys_that_contradict_each_other(file: str, keys: list[str], message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        load(file, keys)
    assert message in str(caught.value)
