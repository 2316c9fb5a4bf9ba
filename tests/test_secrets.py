"""Secrets do not stand on a command line, wherever they are put there, nor in what is said of mistakes."""

import json
from pathlib import Path
from typing import Any

import pytest
import yaml

from jobs import plan
from jobs.cli.errors import ConfigError
from jobs.cli.loading import load
from jobs.cli.secrets import with_secrets
from jobs.cli.terminal import summary_json
from jobs.running.facts import facts_of_config

HIDDEN = "hunter2"
NO_URLS = [  # refused in a file, too
    "input.uri=//user:hunter2@host/a",
    "input.uri=https:user:hunter2@host/a",
    "input.uri=user:hunter2@host/a",
]
SECRETS = [
    "input.storage_options.client_kwargs.headers=[[Authorization, hunter2]]",
    "input.storage_options.client_kwargs.headers=[[X-Any, 1], [Cookie, hunter2]]",
    "input.storage_options={client_kwargs: {headers: {X-Auth-Token: hunter2}}}",
    "input.storage_options={headers: [{name: Authorization, value: hunter2}]}",
    "input.storage_options.headers=['Authorization: hunter2']",
    "input.storage_options.headers=[[X-Any, Bearer hunter2]]",
    "output.storage_options.client_kwargs.aws_secret_access_key=hunter2",
    "output.storage_options.token.access=hunter2",
    "output.storage_options.token=[hunter2]",
    "output.storage_options.account_key=hunter2",
    "output.storage_options.AccountKey=hunter2",
    "output.storage_options.connection_string='AccountName=a;AccountKey=hunter2'",
    "output.storage_options.settings='AccountName=a;AccountKey=hunter2;x=y'",
    "output.storage_options.settings=\"{'private_key': 'hunter2'}\"",
    "export.storage_options.passphrase=hunter2",
    "export.storage_options.pwd=hunter2",
    "export.storage_options.passwd=hunter2",
    "export.storage_options.pass=hunter2",
    "export.storage_options.password=1234567",
    "export.storage_options.auth=[user, hunter2]",
    "export.storage_options.bearer=hunter2",
    "export.storage_options.signature=hunter2",
    "export.storage_options.key='env:hunter2 and more'",
    "model.storage_options.proxy=http://user:hunter2@proxy:3128",
    "input.uri=https://user:hunter2@host/a.tar",
    "input.uri=[a, 'https://host/a.tar?X-Amz-Signature=hunter2']",
    "output.uri=az://container?sv=1&sig=hunter2",
    "model.name=https://hunter2@host/model.nemo",
    "evaluate.write=sftp://user:hunter2@host/scores.parquet",
    "input.storage_options.sécret=hunter2",
    "input.storage_options.ｓｅｃｒｅｔ=hunter2",
    "input.storage_options.pw=hunter2",
    *NO_URLS,
    "input.uri=https://host/a;token=hunter2",
]


@pytest.fixture
def file(tmp_path: Path) -> str:
    path = tmp_path / "config.yaml"
    path.write_text("input: {uri: a}\noutput: {uri: b}\nmodel: {name: c}\n")
    return str(path)


@pytest.mark.parametrize("override", SECRETS)
def test_a_secret_is_refused(file: str, override: str) -> None:
    with pytest.raises(ConfigError, match="env:NAME") as caught:
        load(file, [override])
    assert HIDDEN not in str(caught.value)


@pytest.mark.parametrize(
    "override",
    [
        "input.storage_options={anon: true, endpoint_url: 'http://127.0.0.1:9000', profile: archive}",
        "input.storage_options.client_kwargs.region_name=eu-central-1",
        "input.storage_options.config_kwargs={signature_version: s3v4}",
        "output.storage_options.s3_additional_kwargs={ServerSideEncryption: 'aws:kms', SSEKMSKeyId: 'arn:aws:kms:x'}",
        "output.storage_options={account_name: a, username: u, keyfile: /etc/ssh/id}",
        "output.storage_options={key: 'env:MINIO_KEY', secret: env:MINIO_SECRET, token: null}",
        "output.storage_options.headers=[[Authorization, 'env:HEADER'], [Accept, text/plain]]",
        "output.storage_options.headers=[{name: Authorization, value: 'env:HEADER'}]",
        "output.tokens=true",
        "input.uri=https://host/get?id=5",
        "input.uri=abfs://container@account.dfs.core.windows.net/a",
        "input.uri='/archive/what?key=1.wav'",
        "input.uri=/archive/12:30@home/a.wav",
        "input.uri=https://host/a;version=2?id=5",
    ],
)
def test_what_is_no_secret_is_taken(file: str, override: str) -> None:
    load(file, [override])


@pytest.mark.parametrize(
    "override",
    [
        "input.storage_options={secret: hunter2",
        "input.storage_options=*hunter2",
        "storage_options={secret: hunter2}",
        "input.storage_options=hunter2",
        "input=[{storage_options: {secret: hunter2}}]",
        "input.storage_options=&a [*a, hunter2]",
        "model.engine=https://user:hunter2@host",
        "model.engine=//user:hunter2@host",
        "input.limit=user:hunter2@host/a",
    ],
)
def test_no_mistake_shows_a_secret(file: str, override: str) -> None:
    with pytest.raises(ConfigError) as caught:
        load(file, [override])
    assert HIDDEN not in str(caught.value)


def test_an_option_that_is_none_is_named_without_its_value(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        plan.main(["configs/demo.yaml", "--storage_options.secret=hunter2", "--\x1b[31m=x"])
    seen = capsys.readouterr().err
    assert "--storage_options.secret" in seen
    assert HIDDEN not in seen
    assert "\x1b" not in seen


def test_a_url_in_a_config_is_shown_without_its_password(job: Any, tmp_path: Path) -> None:
    text = Path("configs/demo.yaml").read_text()
    page = tmp_path / "config.yaml"
    page.write_text(text.replace("demo/citrinet_zh_demo.nemo", "nothing://user:hunter2@host/m.nemo?sig=hunter2"))
    status, _, seen = job(config=str(page), main=plan.main)
    assert (status, HIDDEN in seen) == (2, False)
    assert "nothing://host/m.nemo" in seen


def test_names_in_lists_are_filled(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CITRA_KEY", HIDDEN)
    options = {"client_kwargs": {"headers": [["Authorization", "env:CITRA_KEY"], "env:CITRA_KEY"]}, "x": 1}
    filled = {"client_kwargs": {"headers": [["Authorization", HIDDEN], HIDDEN]}, "x": 1}
    assert with_secrets(options, "x") == filled
    with pytest.raises(ConfigError, match="CITRA_GONE is not set"):
        with_secrets({"a": [["env:CITRA_GONE"]]}, "x")


@pytest.mark.parametrize("override", sorted({*SECRETS} - {*NO_URLS}))
def test_no_secret_of_a_config_is_kept_with_a_run(tmp_path: Path, override: str) -> None:
    keys, _, text = override.partition("=")
    values: dict[str, Any] = {"input": {"uri": "a"}, "output": {"uri": "b"}, "model": {"name": "c"}}
    *sections, key = keys.split(".")
    section = values
    for name in sections:
        section = section.setdefault(name, {})
    section[key] = yaml.safe_load(text)
    values["output"].setdefault("storage_options", {})["other"] = {"a": ["env:CITRA_KEY", "x"]}
    page = tmp_path / "config.yaml"
    page.write_text(yaml.safe_dump(values, allow_unicode=True))
    config = load(str(page), [])
    kept = summary_json(facts_of_config(config))
    assert HIDDEN not in kept
    assert "1234567" not in kept
    assert json.loads(kept)["settings"]["output"]["storage_options"] == {"other": {"a": ["env:CITRA_KEY"]}}


def test_settings_are_kept_as_used_and_bounded(file: str) -> None:
    config = load(file, [f"input.include=[{','.join('abc' * 100)}]", "ray.actors=[2, 8]", "errors.retry=missing"])
    kept = json.loads(summary_json(facts_of_config(config)))["settings"]
    assert len(kept["input"]["include"]) == 101
    assert kept["input"]["include"][-1] == "… and 200 more"
    assert (kept["ray"]["actors"], kept["errors"]["retry"], kept["input"]["uri"]) == ([2, 8], ["missing"], "a")
    assert {name: list(section) for name, section in kept.items()} == {
        name: list(section) for name, section in config.model_dump().items()
    }


@pytest.mark.parametrize(
    "text",
    [
        "s3:/key:hunter2@bucket/out",
        "s3:key:hunter2@bucket/out",
        "S3:///key:hunter2@bucket/out",
        "s3//key:hunter2@bucket/out",
        "s3://key:hunter2@bucket/out",
        "s3;//key:hunter2@bucket/out",
        "key:hunter2@bucket/out",
        "https:/host/x?X-Amz-Signature=hunter2",
        "https:host/x?X-Amz-Signature=hunter2",
        "HTTPS//host/x?X-Amz-Signature=hunter2",
        "host/x?X-Amz-Signature=hunter2",
        "gs:/bucket/hunter2",
        *(each.partition("=")[2] for each in NO_URLS),
    ],
)
@pytest.mark.parametrize(
    "key", ["input.uri", "input.redo", "output.uri", "export.uri", "errors.accept", "evaluate.write", "model.name"]
)
def test_a_mistyped_url_is_no_folder_and_is_not_shown(key: str, text: str, tmp_path: Path) -> None:
    values: dict[str, Any] = {"input": {"uri": "a"}, "output": {"uri": "b"}, "model": {"name": "c"}}
    section, name = key.split(".")
    values.setdefault(section, {})[name] = [text] if name in ("redo", "accept") else text
    (tmp_path / "c.yaml").write_text(yaml.safe_dump(values))
    with pytest.raises(ConfigError) as told:
        load(str(tmp_path / "c.yaml"), [])
    assert [each.split(": ")[0] for each in told.value.args] == [key]
    assert HIDDEN not in str(told.value)


@pytest.mark.parametrize(
    ("text", "hint"),
    [
        (
            "s3:/b/out",
            "begins with s3:/, which no URL does; did you mean s3://BUCKET/… (or, for a local path, ./s3:/…)?",
        ),
        ("S3:b", "did you mean s3://BUCKET/…"),
        ("s3:///b", "did you mean s3://BUCKET/…"),
        ("https:/h/x", "did you mean https://HOST/…"),
        ("sftp:/h/x", "did you mean sftp://HOST/…"),
    ],
)
def test_what_was_meant_is_told(file: str, text: str, hint: str) -> None:
    for override in (f"output.uri={text}", f"input.uri=[a, '{text}']"):
        with pytest.raises(ConfigError) as told:
            load(file, [override])
        (sentence,) = told.value.args
        assert hint in sentence


@pytest.mark.parametrize(
    "text",
    [
        "s3",
        "s3/out",
        "S3://bucket/out",
        "./s3:/out",
        "/data/s3:/out",
        "12:30/out",
        "data:2026/out",
        "hdfs:///out",
        "sftp:///out",
        "abfs://container@account.dfs.core.windows.net/out",
        "./host/x?token=a",
        "me@home/out",
        "file:///out",
    ],
)
def test_paths_may_have_colons_and_urls_other_forms(file: str, text: str) -> None:
    assert load(file, [f"output.uri={text}"]).output.uri == text


def test_a_file_url_may_have_one_slash(file: str) -> None:
    assert load(file, ["output.uri=file:/data/out"]).output.place().path == "/data/out"
    assert load(file, ["input.uri=[File:/a, b]"]).input.uris == ["file:///a", "b"]
